//! What a lapsed region brings back that nobody else has (replication.md section 10).
//!
//! The others went on without it: deletions that would have beaten its writes may be forgotten, so its commits
//! cannot be applied as they are. One sponsor decides about each mutation, in one transaction with what comes
//! of it, and what it decides is replicated like any write of its own:
//!
//! - The item is there, deletions included, and older: the mutation is written again. It keeps its rank, so that it
//!   wins over what it would have won over and over nothing else; commit and issue stamp are the sponsor's, so
//!   that it is waited for like any other. What it replaces unseen goes to the conflict log.
//! - The item is newer: the mutation goes to the conflict log.
//! - There is nothing: a deletion may have been forgotten, and is taken to have won. The mutation goes to the
//!   conflict log, from where it can be restored.
//! - Its stamp is ahead of the sponsor's clock by more than clocks may be apart: its maker's clock was wrong, and
//!   it would win over all that is written until that time comes. The mutation goes to the conflict log.
//!
//! Expiries are nobody's writes and are left out: whatever is written again expires again. A rank names one
//! mutation, so all of it may be done twice, by two sponsors even.

use std::sync::Arc;

use bincode::{Decode, Encode};

use super::catalog::{TableDef, TableUid};
use super::conflict::Conflict;
use super::keys::{self, meta};
use super::mutation::{
    Change, Commit, Dot, Frontier, GroupId, ItemKey, LogId, Mutation, Rank, RankKind, Version,
};
use super::record::Record;
use super::{PlantedBug, RemoteError, Replica, TableState, entry, log, stable, work};
use crate::clock::Now;
use crate::clock::policy::MAX_OFFSET_US;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// Commits of one log that only a lapsed region has, in order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Tail {
    pub log: LogId,
    /// The causal context of the first of them; later ones carry what changed.
    pub context: Frontier,
    pub commits: Vec<Vec<u8>>,
}

/// What became of mutations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Outcome {
    /// Written again.
    pub written: u64,
    /// In the conflict log.
    pub conflicts: u64,
    /// Changes of tables that newer ones have replaced; conflicts are of items only.
    pub tables: u64,
}

impl Outcome {
    pub fn add(&mut self, other: Outcome) {
        self.written += other.written;
        self.conflicts += other.conflicts;
        self.tables += other.tables;
    }
}

/// All that this region has done as a sponsor.
pub fn totals(txn: &dyn ReadTxn) -> Result<Outcome, StoreError> {
    let kept = txn.get(Db::Meta, meta::RESCUED)?;
    Ok(kept.map(work::decode).transpose()?.unwrap_or_default())
}

/// One commit of a lapsed region.
struct Castaway<'a> {
    commit: &'a Commit,
    /// What its maker had applied of other logs.
    context: &'a Frontier,
}

impl Castaway<'_> {
    /// Whether its maker knew of that version: it had applied it, or made it itself.
    fn knew(&self, version: Version) -> bool {
        let maker = self.commit.dot.log.origin.region;
        let applied = self.context.get(&version.dot.log);
        applied.is_some_and(|seq| version.dot.seq <= *seq) || version.rank.stamp.region == maker
    }
}

impl Replica {
    /// Decides about every mutation of a tail.
    pub(super) fn rescue(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        tail: &Tail,
    ) -> Result<Result<Outcome, RemoteError>, StoreError> {
        let mut outcome = Outcome::default();
        let mut commits = Vec::with_capacity(tail.commits.len());
        for sealed in &tail.commits {
            match log::open(sealed) {
                Ok(commit) if commit.dot.log == tail.log => commits.push(commit),
                Ok(commit) => return Ok(Err(RemoteError::Forged(commit.dot))),
                Err(error) => return Ok(Err(error.into())),
            }
        }
        let mut context = tail.context.clone();
        for commit in &commits {
            if let Some(newer) = &commit.context {
                context.clone_from(newer);
            }
            let context = &context;
            let castaway = Castaway { commit, context };
            outcome.add(self.rescue_commit(txn, now, &castaway)?);
        }
        let mut all = totals(txn.as_read())?;
        all.add(outcome);
        txn.put(Db::Meta, meta::RESCUED, &work::encode(&all)?)?;
        Ok(Ok(outcome))
    }

    fn rescue_commit(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        castaway: &Castaway<'_>,
    ) -> Result<Outcome, StoreError> {
        let commit = castaway.commit;
        let mut outcome = Outcome::default();
        let mut again: Vec<(GroupId, Rank, Change)> = Vec::new();
        for mutation in &commit.mutations {
            let version = mutation.version_in(commit.dot, commit.issued);
            match &mutation.change {
                Change::Item { table, key, image } => {
                    let item = (*table, key, image.as_deref());
                    match self.rescue_item(txn, now, castaway, version, item)? {
                        Fate::Again(group) => {
                            again.push((group, version.rank, mutation.change.clone()));
                            outcome.written += 1;
                        }
                        Fate::Conflict => outcome.conflicts += 1,
                        Fate::Known => {}
                    }
                }
                Change::Table { name, .. } => {
                    let stored = entry::entry(txn.as_read(), name)?.map(|e| e.version.rank);
                    if is_ahead(version, now) {
                        outcome.tables += 1;
                    } else if stored < Some(version.rank) {
                        let group = commit.dot.log.group;
                        again.push((group, version.rank, mutation.change.clone()));
                        outcome.written += 1;
                    } else if stored > Some(version.rank) {
                        outcome.tables += 1;
                    }
                }
                Change::Merged {
                    table, key, image, ..
                } => {
                    let item = (*table, key, image.as_deref());
                    match self.rescue_merged(txn, now, version, item)? {
                        Fate::Again(group) => {
                            again.push((group, version.rank, mutation.change.clone()));
                            outcome.written += 1;
                        }
                        Fate::Conflict => outcome.conflicts += 1,
                        Fate::Known => {}
                    }
                }
                // Of no consequence where the replica that it is about is not any more.
                Change::Expire { .. }
                | Change::Report { .. }
                | Change::Sent { .. }
                | Change::Restored { .. }
                | Change::Local { .. } => {}
            }
        }
        self.write_again(txn, now, again)?;
        Ok(outcome)
    }

    /// Commits mutations under their own ranks, those of one group together.
    fn write_again(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        mut again: Vec<(GroupId, Rank, Change)>,
    ) -> Result<(), StoreError> {
        while let Some(group) = again.first().map(|(group, ..)| *group) {
            crate::mark!("rescued by a write");
            let (together, rest): (Vec<_>, Vec<_>) =
                again.into_iter().partition(|(g, ..)| *g == group);
            again = rest;
            self.begin_life(txn, now)?;
            // What is written here from now on comes after it.
            for (_, rank, _) in &together {
                self.hlc.observe(rank.stamp, now);
            }
            let log = LogId {
                group,
                origin: self.origin,
            };
            let seq = self.frontier.get(&log).copied().unwrap_or(0) + 1;
            let (dot, issued) = (Dot { log, seq }, self.hlc.tick(now));
            let mutation = |(_, rank, change)| Mutation {
                version: Some(Version { rank, dot, issued }),
                change,
            };
            let mutations = together.into_iter().map(mutation).collect();
            self.commit_local(txn, now, group, mutations, issued)?;
        }
        Ok(())
    }

    fn rescue_item(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        castaway: &Castaway<'_>,
        version: Version,
        (uid, key, image): (TableUid, &ItemKey, Option<&[u8]>),
    ) -> Result<Fate, StoreError> {
        let def = self.table_here(txn.as_read(), uid)?;
        let row = keys::item_row(uid, key);
        let stored = txn.get(Db::Items, &row)?.map(<[u8]>::to_vec);
        let current = stored.as_deref().map(Record::decode).transpose()?;
        let incoming = Record {
            version,
            partition: &key.partition,
            image,
            marks: None,
        };
        let (Some(def), Some(current)) = (&def, &current) else {
            return self.keep_absent(txn, now, uid, def.as_deref(), key, &incoming);
        };
        if current.version.rank == version.rank {
            return Ok(Fate::Known);
        }
        let def = Some(def.as_ref());
        let known = castaway.knew(current.version);
        if current.version.rank < version.rank {
            if is_ahead(version, now) {
                return self.keep_aside(txn, now, (uid, def, key), &incoming, current.image);
            }
            if !known && current.version.rank.kind == RankKind::Write {
                self.record_conflict(txn, now, uid, def, key, &incoming, current)?;
            }
            let group = def.map_or(castaway.commit.dot.log.group, |def| def.group);
            return Ok(Fate::Again(group));
        }
        // Its maker replaced it itself: that is no loss.
        let replaced = current.version.rank.stamp.region == version.rank.stamp.region;
        let both_deleted = current.image.is_none() && image.is_none();
        if replaced || both_deleted {
            return Ok(Fate::Known);
        }
        crate::mark!("rescued to the conflict log");
        let is_new = self.record_conflict(txn, now, uid, def, key, current, &incoming)?;
        Ok(Fate::aside(is_new))
    }

    /// What merges is written again wherever there is something to merge with, older or newer: it takes nothing
    /// from it that it would not have taken before.
    fn rescue_merged(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        version: Version,
        (uid, key, image): (TableUid, &ItemKey, Option<&[u8]>),
    ) -> Result<Fate, StoreError> {
        let def = self.table_here(txn.as_read(), uid)?;
        let there = txn
            .get(Db::Items, &keys::item_row(uid, key))?
            .map(<[u8]>::to_vec);
        let incoming = Record {
            version,
            partition: &key.partition,
            image,
            marks: None,
        };
        if let (Some(def), Some(there)) = (&def, &there) {
            if !is_ahead(version, now) {
                return Ok(Fate::Again(def.group));
            }
            let current = Record::decode(there)?.image;
            return self.keep_aside(txn, now, (uid, Some(def), key), &incoming, current);
        }
        self.keep_absent(txn, now, uid, def.as_deref(), key, &incoming)
    }

    /// The table, if it is there and has a replica in this region.
    fn table_here(
        &mut self,
        txn: &dyn ReadTxn,
        uid: TableUid,
    ) -> Result<Option<Arc<TableDef>>, StoreError> {
        let here = self.config.region;
        Ok(match self.table_by_uid(txn, uid)? {
            TableState::Live(def) if def.group.contains(here) => Some(def),
            _ => None,
        })
    }

    /// There is nothing at the key: a deletion that is forgotten is taken to have won, as if it had removed
    /// just this version.
    fn keep_absent(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        uid: TableUid,
        def: Option<&TableDef>,
        key: &ItemKey,
        incoming: &Record<'_>,
    ) -> Result<Fate, StoreError> {
        if incoming.image.is_none() {
            return Ok(Fate::Known);
        }
        if self.has_bug(PlantedBug::RescueDropsAbsent) {
            return Ok(Fate::Conflict);
        }
        self.keep_aside(txn, now, (uid, def, key), incoming, None)
    }

    /// The mutation goes to the conflict log; the item stays as it is, `current`.
    fn keep_aside(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        (uid, def, key): (TableUid, Option<&TableDef>, &ItemKey),
        incoming: &Record<'_>,
        current: Option<&[u8]>,
    ) -> Result<Fate, StoreError> {
        crate::mark!("rescued to the conflict log");
        let version = incoming.version;
        let kind = RankKind::Expire;
        let winner = Version {
            rank: Rank {
                kind,
                ..version.rank
            },
            ..version
        };
        let name = match def {
            Some(def) => def.name.clone(),
            None => entry::name_of(txn.as_read(), uid)?,
        };
        let conflict = Conflict {
            table: name,
            uid,
            key: key.clone(),
            winner,
            loser: version,
            winner_image: current.map(<[u8]>::to_vec),
            loser_image: incoming.image.map(<[u8]>::to_vec),
            detected_us: now.wall_us,
        };
        Ok(Fate::aside(self.note_conflict(txn, &conflict)?))
    }
}

/// Whether a version was stamped by a clock that was further ahead than clocks may be.
fn is_ahead(version: Version, now: Now) -> bool {
    let lead_us = version.rank.stamp.physical_us.saturating_sub(now.wall_us);
    lead_us > MAX_OFFSET_US
}

/// What becomes of a mutation of an item.
enum Fate {
    /// It is written again, in this group.
    Again(GroupId),
    Conflict,
    /// It is there already, or was nobody's loss.
    Known,
}

impl Fate {
    /// Of what is in the conflict log: it may have come before.
    fn aside(is_new: bool) -> Self {
        match is_new {
            true => Fate::Conflict,
            false => Fate::Known,
        }
    }
}

/// Reads commits of a log as a tail: about so many bytes, at least one commit. `None` when there are none.
pub fn read_tail(
    txn: &dyn ReadTxn,
    log: LogId,
    from: u64,
    bytes_max: usize,
) -> Result<Option<(u64, Tail)>, StoreError> {
    let from = from.max(stable::log_start(txn, log)?);
    let commits = log::read(txn, log, from, bytes_max)?;
    let (Some((first, _)), Some((last, _))) = (commits.first(), commits.last()) else {
        return Ok(None);
    };
    let (context, last) = (log::context(txn, Dot { log, seq: *first })?, *last);
    let commits = commits.into_iter().map(|(_, sealed)| sealed).collect();
    let tail = Tail {
        log,
        context,
        commits,
    };
    Ok(Some((last, tail)))
}
