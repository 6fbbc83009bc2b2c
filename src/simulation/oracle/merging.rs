//! O21: tables that merge. What their items are in the end is told by what clients asked and what each region had
//! applied when it did it, never by the versions that regions made of it (docs/merging.md).

use std::collections::{BTreeMap, BTreeSet};

use super::super::merging::MergeAct;
use super::super::plan::{Operation, OperationKind};
use super::super::report::OracleId;
use super::super::workload;
use super::Oracles;
use crate::clock::RegionId;
use crate::item::{Item, codec};
use crate::replica::catalog::TableUid;
use crate::replica::mutation::{Change, Commit, Dot, ItemKey, Origin, Rank, RankKind};
use crate::replica::{ApiError, buckets, conflict, read};
use crate::store::{ReadTxn, StoreError};

/// A write to a table that merges, as a client asked it.
#[derive(Clone, Copy, Debug)]
struct Write {
    dot: Dot,
    rank: Rank,
    act: MergeAct,
}

/// The rank of the newest write of an item, and the item.
type Outcome = (Rank, Option<Item>);

/// What is known of the table that merges.
#[derive(Debug, Default)]
pub(super) struct Merging {
    table: Option<TableUid>,
    /// By key.
    writes: BTreeMap<ItemKey, Vec<Write>>,
}

impl Write {
    fn number(&self) -> Option<i64> {
        match self.act {
            MergeAct::Count(by) => Some(by),
            _ => None,
        }
    }

    /// What the write assigns to an attribute: `None` = nothing.
    fn assigns(&self, name: &str) -> Option<Option<i64>> {
        let id = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
        match self.act {
            MergeAct::Put(at) => Some((name == workload::COUNT).then(|| id(at) % 100)),
            MergeAct::Delete => Some(None),
            MergeAct::Assign(to, at) if name == workload::attribute(to) => Some(Some(id(at))),
            MergeAct::Reset(to) if name == workload::COUNT => Some(Some(to)),
            _ => None,
        }
    }
}

impl Oracles {
    /// Whether a change is of the table that merges; the other oracles leave it alone.
    pub(super) fn is_merged(&mut self, change: &Change) -> bool {
        match change {
            Change::Merged { .. } => true,
            Change::Item { table, .. } => Some(*table) == self.merging.table,
            Change::Table { name, uid, .. } if name == workload::MERGED => {
                self.merging.table = Some(*uid);
                true
            }
            _ => false,
        }
    }

    /// A client's write became durable at its origin.
    pub(super) fn remember_merged(&mut self, commit: &Commit, operation: &Operation) {
        let OperationKind::Merge { act, .. } = operation.kind else {
            return;
        };
        for mutation in &commit.mutations {
            let (Change::Merged { key, .. } | Change::Item { key, .. }) = &mutation.change else {
                continue;
            };
            let write = Write {
                dot: commit.dot,
                rank: Rank {
                    stamp: commit.issued,
                    kind: RankKind::Write,
                },
                act,
            };
            self.merging
                .writes
                .entry(key.clone())
                .or_default()
                .push(write);
        }
    }

    /// Conflicts that were recorded of other tables than the one that merges; and those dropped.
    pub(super) fn other_conflicts(&self, txn: &dyn ReadTxn) -> Result<(u64, u64), StoreError> {
        let tallies = conflict::table_tallies(txn)?;
        let others = tallies
            .iter()
            .filter(|(uid, _)| Some(*uid) != self.merging.table);
        let (recorded, dropped) = others.fold((0, 0), |(recorded, dropped), (_, tally)| {
            (recorded + tally.recorded, dropped + tally.dropped)
        });
        Ok((recorded, dropped))
    }

    /// The table whose conflicts O8 looks at, where there is another one too.
    pub(super) fn judged_table(&self) -> Option<&'static str> {
        self.merging.table.map(|_| workload::TABLE)
    }

    /// O21: the items of a region are what all writes come to that are not lost with a disk.
    pub(super) fn check_merged(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
    ) -> Result<(), ApiError> {
        let Some(def) = read::table(txn, region, workload::MERGED)? else {
            return Ok(());
        };
        for (key, wanted) in self.merged_items() {
            let stored = read::version(txn, &def, &key)?;
            let image = stored.as_ref().and_then(|(_, image)| image.as_deref());
            let item = image.map(codec::decode).transpose().map_err(damaged)?;
            let (rank, wanted) = wanted.map_or((None, None), |(rank, item)| (Some(rank), item));
            let same_rank = item.is_none() || stored.map(|(version, _)| version.rank) == rank;
            self.check(OracleId::Merging, item == wanted && same_rank, |world| {
                let name = world.name(region);
                let key = workload::name_of(&key);
                format!("{name} has {item:?} at {key}, where the writes come to {wanted:?}")
            });
        }
        self.check_derived(txn, region, &def)?;
        let wrong = buckets::wrong(txn, def.uid)?;
        self.check(OracleId::DerivedState, wrong == 0, |world| {
            let name = world.name(region);
            format!("{name} keeps {wrong} wrong fingerprints of the table that merges")
        });
        Ok(())
    }

    /// What each key should be, and the rank of its newest write.
    fn merged_items(&self) -> Vec<(ItemKey, Option<Outcome>)> {
        let item = |(key, writes): (&ItemKey, &Vec<Write>)| {
            let mut writes = writes.clone();
            writes.sort_by_key(|write| write.rank);
            let known = self.known_to(&writes);
            let history = History {
                surviving: self.surviving(&writes, &known),
                writes: &writes,
                known: &known,
            };
            let newest = history.all().max_by_key(|write| write.rank);
            let item = newest.map(|newest| {
                let there = !matches!(newest.act, MergeAct::Delete);
                (newest.rank, there.then(|| self.fold_merged(key, &history)))
            });
            (key.clone(), item)
        };
        self.merging.writes.iter().map(item).collect()
    }

    /// For each write those that its writer knew of: what it had applied, and what that had known. A version
    /// holds all that its writer knew of the item.
    fn known_to(&self, writes: &[Write]) -> Vec<BTreeSet<usize>> {
        let mut known: Vec<BTreeSet<usize>> = Vec::with_capacity(writes.len());
        for (at, write) in writes.iter().enumerate() {
            let before = writes.iter().take(at).enumerate();
            let seen = before.filter(|(_, other)| self.saw(write.dot, other.dot));
            let mut all = BTreeSet::new();
            for (other, _) in seen {
                all.extend(&known[other]);
                all.insert(other);
            }
            known.push(all);
        }
        known
    }

    /// Whether each write is somewhere still: where some region has it, or one that knew of it.
    fn surviving(&self, writes: &[Write], known: &[BTreeSet<usize>]) -> BTreeSet<usize> {
        let there =
            |dot: Dot| !self.doubted.contains(&dot.log) || dot.seq <= self.required(dot.log);
        let mut all = BTreeSet::new();
        for (at, write) in writes.iter().enumerate() {
            if there(write.dot) {
                all.extend(&known[at]);
                all.insert(at);
            }
        }
        all
    }

    fn fold_merged(&self, key: &ItemKey, history: &History<'_>) -> Item {
        let mut item = workload::merged_key(key);
        for name in workload::merged_attributes() {
            let assigned = last_assigned(history.all(), &name);
            let rank = assigned.map(|(rank, _)| rank);
            let value = assigned.and_then(|(_, value)| value);
            let counts = name == workload::COUNT;
            let added = counts.then(|| history.added(rank)).flatten();
            let value = match (value, added) {
                (value, None) => value,
                (value, Some(added)) => Some(value.unwrap_or(0) + added),
            };
            item.extend(value.map(|value| (name, workload::signed(value))));
        }
        item
    }
}

/// The writes of one item that are not lost, and what each was made with knowledge of.
struct History<'a> {
    writes: &'a [Write],
    known: &'a [BTreeSet<usize>],
    surviving: BTreeSet<usize>,
}

impl<'a> History<'a> {
    fn of<'s>(&'s self, numbers: &'s BTreeSet<usize>) -> impl Iterator<Item = &'a Write> + 's {
        let writes = self.writes;
        numbers.iter().filter_map(move |at| writes.get(*at))
    }

    fn all(&self) -> impl Iterator<Item = &'a Write> + '_ {
        self.of(&self.surviving)
    }

    /// The sum of the additions that count on what was assigned at `rank`: of every run that began after it.
    fn added(&self, rank: Option<Rank>) -> Option<i64> {
        let mut since: BTreeMap<Origin, Rank> = BTreeMap::new();
        let mut sum = None;
        for at in &self.surviving {
            let (Some(write), Some(known)) = (self.writes.get(*at), self.known.get(*at)) else {
                continue;
            };
            let Some(by) = write.number() else { continue };
            let found = last_assigned(self.of(known), workload::COUNT);
            let found = found.map(|(rank, _)| rank);
            let began = since.entry(write.dot.log.origin).or_insert(write.rank);
            if Some(*began) <= found {
                *began = write.rank;
            }
            if Some(*began) > rank {
                sum = Some(sum.unwrap_or(0) + by);
            }
        }
        sum
    }
}

fn last_assigned<'a>(
    writes: impl Iterator<Item = &'a Write>,
    name: &str,
) -> Option<(Rank, Option<i64>)> {
    let assigned = writes.filter_map(|write| Some((write.rank, write.assigns(name)?)));
    assigned.max_by_key(|(rank, _)| *rank)
}

fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(error.to_string())
}
