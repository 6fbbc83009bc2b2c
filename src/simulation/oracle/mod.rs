//! The oracles: what the world knows and no region does, held against what regions do.
//!
//! Online oracles look at every durable group ([`groups`]), at every read ([`reads`]) at what regions
//! hold to be stable ([`stable`]) and when disks are lost ([`disks`]); the last ones ([`last`]) when all is calm. They keep their own account of which commits were made and which were
//! applied where, by counting, never by asking the code they judge.

mod bounds;
mod derived;
mod disks;
mod groups;
mod holds;
mod lapse;
mod last;
mod merging;
mod movers;
mod reads;
mod stable;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::meter::Meter;
use super::plan::Config;
use super::report::{OracleId, Violation};
use super::workload;
use crate::clock::{RegionId, Stamp};
use crate::replica::catalog::{Member, TableDef, TableUid};
use crate::replica::mutation::{Dot, GroupId, ItemKey, LogId, Rank, Version};
use crate::replica::{log, read};
use crate::replication::wire::{self, Message};
use crate::store::{ReadTxn, StoreError};

/// A commit that became durable at its origin.
#[derive(Debug)]
struct Made {
    hash: u64,
    issued: Stamp,
    at_us: u64,
    /// How many commits of each log its origin had applied when it was made, in the order of logs: true causality.
    seen: Box<[(LogId, u64)]>,
    changes: Vec<MadeChange>,
    /// What it says of the replicas of the table.
    replicas: Vec<Member>,
    /// A client asked for it, or an item expired; not of what regions tell each other of replicas.
    of_clients: bool,
}

/// One item that a commit changed.
#[derive(Clone, Copy, Debug)]
struct MadeChange {
    key: usize,
    version: Version,
    deletes: bool,
    /// The second at which the new image expires.
    expires: Option<u64>,
}

/// What an item should be in one region.
#[derive(Clone, Copy, Debug)]
struct Shadow {
    version: Version,
    deleted: bool,
    expires: Option<u64>,
}

/// Two versions of an item, by key number and ranks, the winner's first.
type Pair = (usize, Rank, Rank);

/// How many pairs met in a group.
#[derive(Debug, Default, PartialEq, Eq)]
struct Met {
    first: usize,
    /// Again: in a copy that was begun anew, or in a log after a copy.
    again: u64,
}

impl Made {
    /// How many commits of that log its origin had applied.
    fn seen_of(&self, log: LogId) -> Option<u64> {
        let at = self.seen.binary_search_by_key(&log, |(log, _)| *log).ok()?;
        self.seen.get(at).map(|(_, seq)| *seq)
    }
}

/// A version of an item and the hash of its image.
type Folded = (Version, Option<u64>);

/// One region, as the world knows it.
#[derive(Clone, Debug, Default)]
struct Known {
    /// How many commits of each log have been applied here.
    applied: BTreeMap<LogId, u64>,
    /// By key number.
    shadows: Vec<Option<Shadow>>,
    /// The keys whose shadows are deletions.
    tombstones: BTreeSet<usize>,
    /// The pairs of versions that met here and must have been recorded, once each.
    conflicts: BTreeSet<Pair>,
    /// Of those, how often one met again after its record was dropped, and was recorded anew.
    recorded_anew: u64,
    /// What the region was told of its replica of the table.
    stay: Option<movers::Stay>,
    /// Changes of an item that a reader here could see.
    visible: u64,
    last_issued: Option<Stamp>,
    /// The greatest stable stamp the region has found, per group, and its logs' floors.
    stable: BTreeMap<GroupId, Stamp>,
    floors: BTreeMap<LogId, u64>,
    /// The most that it had applied of each log before its disk was lost.
    ever: BTreeMap<LogId, u64>,
    /// How many records its streams had when it forgot what it shared.
    forgot_at: BTreeSet<u64>,
}

impl Known {
    fn shadow(&self, key: usize) -> Option<Shadow> {
        self.shadows.get(key).copied().flatten()
    }

    fn set_shadow(&mut self, key: usize, shadow: Option<Shadow>) {
        if self.shadows.len() <= key {
            self.shadows.resize(key + 1, None);
        }
        self.shadows[key] = shadow;
        if shadow.is_some_and(|s| s.deleted) {
            self.tombstones.insert(key);
        } else {
            self.tombstones.remove(&key);
        }
    }
}

/// All that the world knows.
#[derive(Debug)]
pub struct Oracles {
    seed: u64,
    regions: Vec<Known>,
    names: Vec<String>,
    logs: BTreeMap<LogId, Vec<Made>>,
    /// Keys are numbered as they appear.
    key_numbers: BTreeMap<(TableUid, ItemKey), usize>,
    keys: Vec<ItemKey>,
    /// The numbers of the keys in a partition, which is the same in whatever table.
    partitions: BTreeMap<u128, Vec<usize>>,
    /// Every version that was made, by key number.
    versions: Vec<Vec<Folded>>,
    /// The clients' table as each region has it, and the row that says so.
    tables: BTreeMap<RegionId, (Vec<u8>, Option<Arc<TableDef>>)>,
    /// Regions as they were when their disks were copied.
    backups: BTreeMap<usize, Known>,
    /// Logs of regions that lost their disks: some commits may be nowhere any more.
    doubted: BTreeSet<LogId>,
    /// Per client and key, the greatest rank it has written or read.
    sessions: BTreeMap<(u64, ItemKey), Rank>,
    merging: merging::Merging,
    /// Regions that are no members any more, and those that came later than the world.
    pub gone: GroupId,
    pub late: GroupId,
    /// Replicas of the table come and go.
    pub moving: bool,
    pub acknowledged: u64,
    pub lags_us: Vec<u64>,
    pub checks: BTreeMap<OracleId, u64>,
    pub violations: Vec<Violation>,
    pub meter: Meter,
    /// Clients are those of a script: what they ask, and of which tables, no oracle knows.
    pub scripted: bool,
    members: lapse::Members,
    /// In the end, as the first region has them.
    definitions: Option<Vec<TableDef>>,
    now_us: u64,
}

impl Known {
    /// How many conflicts should have been recorded here.
    fn conflicts(&self) -> u64 {
        self.conflicts.len() as u64 + self.recorded_anew
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

fn at(seq: u64) -> usize {
    usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX)
}

impl Oracles {
    pub fn new(seed: u64, config: &Config) -> Self {
        let names = config.regions.clone();
        Oracles {
            seed,
            regions: names.iter().map(|_| Known::default()).collect(),
            meter: Meter::new(names.clone()),
            names,
            logs: BTreeMap::new(),
            key_numbers: BTreeMap::new(),
            keys: Vec::new(),
            partitions: BTreeMap::new(),
            versions: Vec::new(),
            tables: BTreeMap::new(),
            backups: BTreeMap::new(),
            doubted: BTreeSet::new(),
            sessions: BTreeMap::new(),
            merging: merging::Merging::default(),
            gone: GroupId(0),
            late: GroupId(0),
            moving: config.movers > 0,
            acknowledged: 0,
            lags_us: Vec::new(),
            checks: BTreeMap::new(),
            violations: Vec::new(),
            scripted: false,
            members: lapse::Members::default(),
            definitions: None,
            now_us: 0,
        }
    }

    /// Whether replicas come and go, so that tables move between groups.
    pub(super) fn tables_move(&self) -> bool {
        self.moving || self.late != GroupId(0)
    }

    /// O8 is not looked at where tables move between groups: what a version that travels again has met is not
    /// known from its new place.
    pub(super) fn judges_conflicts(&self) -> bool {
        !self.tables_move()
    }

    /// The true time, which only oracles know.
    pub fn set_time(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    pub fn report(&mut self, oracle: OracleId, explanation: String) {
        self.violations.push(Violation {
            oracle,
            at_us: self.now_us,
            seed: self.seed,
            explanation,
        });
    }

    /// Notes that an oracle looked, and reports what it saw.
    pub(super) fn check(
        &mut self,
        oracle: OracleId,
        holds: bool,
        explain: impl FnOnce(&Self) -> String,
    ) {
        *self.checks.entry(oracle).or_default() += 1;
        if !holds {
            let explanation = explain(self);
            self.report(oracle, explanation);
        }
    }

    /// Commits that became durable at their origins.
    pub fn commits(&self) -> u64 {
        self.logs.values().map(|log| log.len() as u64).sum()
    }

    /// Conflicts that happened, all regions together.
    pub fn conflicts(&self) -> u64 {
        self.regions.iter().map(Known::conflicts).sum()
    }

    /// About how many rows there are to look at in a region.
    pub fn rows(&self, region: RegionId, streams: bool) -> u64 {
        let known = self.regions.get(usize::from(region.0));
        let records = known.map_or(0, |known| known.visible);
        self.keys.len() as u64 + if streams { records } else { 0 }
    }

    /// Whether every region has applied every commit there is, save for what only a lost disk had.
    pub fn all_applied(&self) -> bool {
        let everything = |(region, known): (RegionId, &Known)| {
            let has = |log: &LogId| known.applied.get(log).copied().unwrap_or(0);
            let mut its = self.logs.keys().filter(|log| log.group.contains(region));
            self.gone.contains(region) || its.all(|log| has(log) == self.required(*log))
        };
        let ids = (0u16..).map(RegionId);
        ids.zip(&self.regions).all(everything)
    }

    /// O10, as a frame leaves: every commit in it is durable at its origin, and the one of its dot.
    pub fn on_send(&mut self, from: RegionId, frame: &[u8]) {
        let Ok(Message::Batch { commits, .. }) = wire::decode(frame) else {
            return;
        };
        for sealed in &commits {
            let Ok((dot, _)) = log::header(sealed) else {
                self.report(
                    OracleId::Dots,
                    format!("{} sends what is not a commit", self.name(from)),
                );
                continue;
            };
            let known = self.made(dot).map(|made| made.hash);
            let hash = hash_of(sealed);
            self.check(OracleId::Dots, known == Some(hash), |world| {
                let what = match known {
                    None => "which is not durable at its origin",
                    Some(_) => "whose dot names another commit too",
                };
                format!("{} sends {}, {what}", world.name(from), world.show_dot(dot))
            });
        }
    }

    /// The clients' table, if the region has it.
    fn table(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
    ) -> Result<Option<Arc<TableDef>>, StoreError> {
        let row = read::table_row(txn, workload::TABLE)?.unwrap_or_default();
        if let Some((known, def)) = self.tables.get(&region)
            && known == row
        {
            return Ok(def.clone());
        }
        let def = read::table(txn, region, workload::TABLE)?.map(Arc::new);
        self.tables.insert(region, (row.to_vec(), def.clone()));
        Ok(def)
    }

    fn made(&self, dot: Dot) -> Option<&Made> {
        self.logs.get(&dot.log)?.get(at(dot.seq))
    }

    fn key_number(&mut self, table: TableUid, key: &ItemKey) -> usize {
        let named = (table, key.clone());
        if let Some(number) = self.key_numbers.get(&named) {
            return *number;
        }
        let number = self.keys.len();
        self.key_numbers.insert(named, number);
        let partition = read::partition_number(key);
        self.partitions.entry(partition).or_default().push(number);
        self.keys.push(key.clone());
        self.versions.push(Vec::new());
        number
    }

    /// The numbers of the keys in the partition of a row of items.
    fn numbers_near(&self, row: &[u8]) -> &[usize] {
        let partition = read::partition_of_row(row);
        let numbers = partition.and_then(|partition| self.partitions.get(&partition));
        numbers.map(Vec::as_slice).unwrap_or_default()
    }

    fn name(&self, region: RegionId) -> &str {
        let name = self.names.get(usize::from(region.0));
        name.map_or("an unknown region", String::as_str)
    }

    fn show_dot(&self, dot: Dot) -> String {
        let origin = dot.log.origin;
        let name = self.name(origin.region);
        format!("commit {} of {name}, life {}", dot.seq, origin.incarnation)
    }

    fn show_version(&self, version: Version) -> String {
        let issued = match version.issued == version.rank.stamp {
            true => String::new(),
            false => format!(", issued {}", version.issued),
        };
        let dot = self.show_dot(version.dot);
        format!("{} ({dot}{issued})", version.rank.stamp)
    }
}
