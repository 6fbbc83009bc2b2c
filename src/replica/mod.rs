//! The heart: `execute` evaluates and stamps, `apply` is the one door for every change.
//!
//! A [`Replica`] is a synchronous state machine over one store. Its driver (the writer thread of a region,
//! or the simulator) opens a write transaction, calls [`Replica::run_group`] with the jobs that are
//! waiting, commits, and calls [`Replica::committed`]; only then may anyone be answered or any peer be told
//! (I3). Time is passed in; nothing here touches a socket, a thread or a random number.
//!
//! Invariants (replication.md section 2), asserted where they bind:
//! - I1, I2: dots are dense per log and stamps rise with them (`commit_local`); each life has its own (`life`)
//! - I4: the frontier is saved in the transaction of the commits it counts (`flush`)
//! - I5: the stored version of an item has the greatest rank seen (`apply`)
//! - I7: index entries and counts change with the item (`apply`, `index`)
//! - I9: a tombstone goes only once every member has it ([`stable`])
//! - I10: a version beaten by a concurrent one is recorded (`conflict`)
//! - I11: a stamp issued is greater than all before, across restarts (`flush` keeps the bound)
//! - I12: every visible change of a table with a stream has one record, densely numbered (`apply`, [`stream`])
//!
//! Files: [`mutation`] and [`catalog`] are what is replicated, [`request`] what is asked; `execute`, `tables`, [`ttl`]
//! and `chores` plan changes; `apply`, `build`, `index`, [`collection`], [`conflict`] make them; [`log`] seals them;
//! [`read`] and `page` answer. `work` remembers heavy work: `build`, `purge` and `relog` do it in steps.
//! `definition` says which definition of a table counts, [`members`] and `departure` let replicas come and go;
//! [`manifest`] says which regions there are.

mod apply;
pub mod buckets;
mod build;
pub mod catalog;
pub mod check;
mod chores;
pub mod collection;
mod config;
pub mod conflict;
mod definition;
pub mod deletion;
mod departure;
mod entry;
mod error;
mod execute;
mod fence;
mod index;
mod keys;
mod life;
mod local;
pub mod log;
pub mod manifest;
pub mod members;
mod merge;
pub mod mutation;
mod noted;
mod page;
mod planted;
mod purge;
pub mod read;
mod record;
mod relog;
#[cfg(test)]
mod repair_tests;
pub mod request;
pub mod rescue;
pub mod residency;
pub mod silence;
pub mod snapshot;
pub mod stable;
pub mod stream;
mod tables;
#[cfg(test)]
mod tests;
pub mod ttl;
pub mod vote;
pub mod wipe;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use error::ExecuteError;
pub use error::{ApiError, CancellationReason, ThrottlingReason};

use crate::clock::policy::FenceLine;
use crate::clock::{Hlc, Now, RegionId, Stamp};
use crate::maybe;
use crate::store::{Db, ReadTxn, Store, StoreError, WriteTxn};
use buckets::Offer;
use catalog::{TableDef, TableUid};
pub use config::{Limits, ReplicaConfig};
use keys::meta;
use log::SealError;
use manifest::{Manifest, ManifestError};
use mutation::{Dot, Frontier, GroupId, LogId, Mutation, Origin};
pub use noted::{Arrived, Noted};
pub use planted::PlantedBug;
use request::{WriteRequest, WriteResponse};
use rescue::{Outcome, Tail};
use silence::Silences;
use snapshot::Portion;
use stable::Stability;
use vote::MemberVote;

/// How far ahead of the clock the durable bound is raised, microseconds.
const CLOCK_BOUND_WINDOW_US: u64 = 3_000_000;
/// The bound is raised when less than this is left of it, microseconds.
const CLOCK_BOUND_SLACK_US: u64 = 1_000_000;

/// One thing for the writer to do.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "jobs are moved once and never kept in bulk"
)]
pub enum Job {
    Write(WriteRequest),
    /// Sealed commits of one log, in order, from a peer.
    Remote(Vec<Vec<u8>>),
    /// What replication found to be durable everywhere.
    Stable(Stability),
    /// A part of a copy of a group, from its sponsor.
    Snapshot(Box<Portion>),
    /// Peers know incarnations of this region up to this one.
    Reborn {
        above: u32,
    },
    /// The copy of a group is whole; with `None`, what a new store lacked is here.
    Whole(Option<GroupId>),
    /// What a peer has in a bucket that differs.
    Repair(Offer),
    /// For how long the others have been silent, to be kept.
    Silences(Silences),
    /// A newer record of the members.
    Adopt(Arc<Manifest>),
    /// What this region binds itself to about the next record of the members.
    Vote(Box<MemberVote>),
    /// Commits that only a lapsed region has, to decide about.
    Rescue(Box<Tail>),
    /// This region lapsed, and others have what only it had: it begins anew.
    Wipe(Outcome),
}

#[derive(Debug)]
pub enum JobResult {
    Write(Result<WriteResponse, ApiError>),
    Remote(Result<(), RemoteError>),
    Stable,
    Snapshot,
    Noted,
    Repair,
    Rescue(Result<Outcome, RemoteError>),
}

/// Why a peer's commits were refused. Nothing of them is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("commit {found} of {log:?} came where {expected} was due")]
    Gap {
        log: LogId,
        expected: u64,
        found: u64,
    },
    #[error("a commit of group {0:?} does not concern this region")]
    Foreign(GroupId),
    #[error("a commit's stamp is impossible: {0}")]
    Stamp(#[from] crate::clock::HlcError),
    #[error("commit {0:?} was made by a region that is no member as far as is known here")]
    Stranger(Dot),
    #[error("this region is no member any more")]
    Departed,
    #[error("a peer sent a commit in this region's own name that it never made: {0:?}")]
    Forged(Dot),
}

/// Why a store could not be opened as a replica.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}\n  hint: the data folder is another cluster's, or a newer program wrote it")]
    Manifest(#[from] ManifestError),
    #[error("{0} is no member of its own cluster")]
    NoMember(RegionId),
}

/// One region's copy of its tables, and the only writer of them.
pub struct Replica {
    config: ReplicaConfig,
    manifest: Arc<Manifest>,
    /// Every table that this region sees to has its replicas where the members are.
    resident: bool,
    store: Arc<dyn Store>,
    origin: Origin,
    /// The incarnation that commits of this life may have; another one is begun first.
    lived: Option<u32>,
    /// What tells this life from others that began from the same store.
    chance: u32,
    hlc: Hlc,
    /// What is durable as the clock's bound, microseconds.
    clock_bound: u64,
    frontier: Frontier,
    /// Logs whose frontier changed in the open group.
    dirty: BTreeSet<LogId>,
    /// `FrontierLate` only: what the group before should have saved.
    late: BTreeSet<LogId>,
    /// Per group, the causal context that the last own commit there carried or inherited.
    contexts: BTreeMap<GroupId, Frontier>,
    /// Definitions by uid as last read; `None` = dropped or replaced. Cleared by every change of a table.
    tables: BTreeMap<TableUid, Option<Arc<TableDef>>>,
    /// Definitions by name, of tables with a replica here. Cleared together with `tables`.
    names: BTreeMap<String, Arc<TableDef>>,
    /// Item and byte counts of tables and indexes changed in the open group.
    counts: BTreeMap<(TableUid, u32), read::TableCounts>,
    /// Indexes being built.
    builds: work::Builds,
    /// Heavy work may be under way.
    heavy: bool,
    /// What was found in the open group to have to travel on: to whom, and the commit that brought it.
    forwards: Vec<(GroupId, Dot, Mutation)>,
    /// The table that a replica becomes in the open transaction: its rows have moved already.
    departed: Option<TableUid>,
    /// What every member has, as replication last said.
    stable: Stability,
    /// Groups are being copied: what is here is not yet as anyone had it, and nothing expires.
    rebuilding: bool,
    /// While a part of a copy is taken in: the frontier it has as its base.
    copying: Option<Frontier>,
    /// Where local writes are fenced, once that is known.
    fence: Option<FenceLine>,
    /// This region has not reached a majority for long: it takes no writes.
    cut_off: bool,
    /// Silent members hold back more of the log than there may be: local writes are throttled.
    throttled: bool,
    /// The open group ends a wipe, or the last one did.
    wiped: bool,
    /// The fingerprints changed in the open group.
    buckets: buckets::Buckets,
    /// Where in the tombstone queue the next look begins.
    collecting: Option<Vec<u8>>,
    /// The place in the streams' records.
    changes: stream::Changes,
    sweep: ttl::Sweep,
    /// What the driver counts.
    noted: Noted,
    /// See [`Replica::is_repeatable`].
    repeatable: bool,
    /// A chore has more to do at once.
    chores_left: bool,
    /// When chores look for work again, on the monotonic clock.
    next_chores_us: u64,
}

impl Replica {
    /// Opens the replica in `store`, beginning its first incarnation when the store is new. `chance` is drawn
    /// anew for every opening: two lives of one backup may have nothing else that tells them apart (`life`).
    pub fn open(
        store: Arc<dyn Store>,
        config: ReplicaConfig,
        now: Now,
        chance: u32,
    ) -> Result<Self, OpenError> {
        let mut txn = store.begin_write()?;
        let manifest = match manifest::stored(txn.as_read(), &config.manifest.cluster)? {
            Some(stored) => stored?,
            None => {
                manifest::save(txn.as_mut(), &config.manifest)?;
                config.manifest.clone()
            }
        };
        if manifest.member(config.region).is_none() {
            return Err(OpenError::NoMember(config.region));
        }
        let alone = manifest.counted() == GroupId::of([config.region]);
        let (origin, lived) = life::open(txn.as_mut(), &config, alone, now, chance)?;
        let saved = read::meta_u64(txn.as_read(), meta::CLOCK_BOUND)?.unwrap_or(0);
        let bound = Stamp {
            physical_us: saved,
            logical: 0,
            region: config.region,
        };
        // Even where the wall is past the bound: it may be set back before the first stamp is issued. Where the
        // store is older than it was, the wall is all there is to go by.
        if saved > now.wall_us {
            crate::mark!("clock behind");
        }
        let mut hlc = Hlc::resume(config.region, bound);
        hlc.observe(bound, now);
        let clock_bound = saved.max(now.wall_us) + CLOCK_BOUND_WINDOW_US;
        if config.planted != Some(PlantedBug::ClockBoundForgotten) {
            txn.put(Db::Meta, meta::CLOCK_BOUND, &clock_bound.to_be_bytes())?;
        }
        let frontier = log::frontier(txn.as_read())?;
        let changes = stream::Changes::load(txn.as_read())?;
        let rebuilding = !snapshot::joining(txn.as_read())?.is_empty();
        let builds = work::builds(txn.as_read())?;
        let buckets = buckets::Buckets::load(txn.as_read())?;
        txn.commit()?;
        Ok(Replica {
            config,
            manifest: Arc::new(manifest),
            resident: false,
            store,
            origin,
            lived,
            chance,
            hlc,
            clock_bound,
            frontier,
            dirty: BTreeSet::new(),
            late: BTreeSet::new(),
            contexts: BTreeMap::new(),
            tables: BTreeMap::new(),
            names: BTreeMap::new(),
            counts: BTreeMap::new(),
            builds,
            heavy: true,
            forwards: Vec::new(),
            departed: None,
            stable: Stability::default(),
            rebuilding,
            copying: None,
            fence: None,
            cut_off: false,
            throttled: false,
            wiped: false,
            buckets,
            collecting: None,
            changes,
            sweep: ttl::Sweep::default(),
            noted: Noted::default(),
            repeatable: false,
            chores_left: true,
            next_chores_us: 0,
        })
    }

    pub fn config(&self) -> &ReplicaConfig {
        &self.config
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What has been applied, the last group included.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Issues a stamp that no commit has: every commit of this region so far is below it.
    pub fn watermark(&mut self, now: Now) -> Stamp {
        let now = self.trusted(now);
        self.hlc.tick(now)
    }

    /// Runs jobs in order in one transaction. A job that fails leaves nothing behind and fails alone; an
    /// `Err` fails the group: drop the transaction and call [`Replica::aborted`].
    pub fn run_group(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        jobs: Vec<Job>,
    ) -> Result<Vec<JobResult>, StoreError> {
        // Who does not ask for what was noted does not keep it either.
        self.noted = Noted::default();
        let of_peers = |job: &Job| matches!(job, Job::Remote(_) | Job::Stable(_));
        let only_peers = !jobs.is_empty() && jobs.iter().all(of_peers);
        let before = only_peers.then(|| self.given_out());
        let mut results = Vec::with_capacity(jobs.len());
        let fenced = (self.fenced(now)).filter(|_| !self.has_bug(PlantedBug::FenceForgotten));
        let now = self.trusted(now);
        for job in jobs {
            results.push(match job {
                Job::Write(_) if !self.takes_writes() => {
                    JobResult::Write(Err(self.write_refusal()))
                }
                Job::Write(_) if fenced.is_some() => {
                    crate::mark!("fence");
                    JobResult::Write(Err(fence::ahead(fenced)))
                }
                Job::Write(_) if self.cut_off => {
                    crate::mark!("self fence");
                    JobResult::Write(Err(fence::cut_off()))
                }
                Job::Write(_) if self.is_lapsed() => JobResult::Write(Err(fence::lapsed())),
                Job::Write(_) if self.throttled => JobResult::Write(Err(fence::log_full())),
                Job::Write(request) => {
                    JobResult::Write(store_errors_out(self.execute(txn, now, request))?)
                }
                Job::Remote(commits) => JobResult::Remote(self.absorb(txn, now, &commits)?),
                Job::Stable(found) => {
                    self.learn_stability(found);
                    JobResult::Stable
                }
                Job::Snapshot(portion) => {
                    self.copy_in(txn, now, &portion)?;
                    JobResult::Snapshot
                }
                Job::Reborn { above } => {
                    self.be_reborn(txn, now, above)?;
                    JobResult::Noted
                }
                Job::Whole(group) => {
                    self.be_whole(txn, group)?;
                    JobResult::Noted
                }
                Job::Repair(offer) => {
                    self.repair(txn, now, &offer)?;
                    JobResult::Repair
                }
                Job::Silences(silences) => {
                    silence::keep(txn, &silences)?;
                    JobResult::Noted
                }
                Job::Adopt(manifest) => {
                    self.adopt_members(txn, &manifest)?;
                    JobResult::Noted
                }
                Job::Vote(vote) => {
                    vote::keep(txn, &vote)?;
                    JobResult::Noted
                }
                Job::Rescue(tail) => JobResult::Rescue(self.rescue(txn, now, &tail)?),
                Job::Wipe(rescued) => {
                    self.begin_wipe(txn, rescued)?;
                    JobResult::Noted
                }
            });
        }
        self.forward(txn, now)?;
        // What this region makes now may never reach the others: nothing expires either.
        self.do_chores(txn, now, fenced.is_some() || self.cut_off)?;
        self.forward(txn, now)?;
        self.flush(txn, now)?;
        self.repeatable = before.is_some_and(|before| before == self.given_out())
            && self.noted.conflicts.is_empty();
        Ok(results)
    }

    /// Whether nobody is misled if readers see the last group and a crash undoes it. It holds only what peers made, who
    /// send it again, and has given out no number that another might be given afterwards: no commit or stamp of
    /// this region, no record of a stream, no conflict.
    pub fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    fn given_out(&self) -> (Origin, u64, u64, u64) {
        let own = self
            .frontier
            .iter()
            .filter(|(log, _)| log.origin == self.origin);
        let own = own.map(|(_, seq)| seq).sum();
        (self.origin, own, self.changes.next(), self.clock_bound)
    }

    /// The group's transaction is durable.
    pub fn committed(&mut self) {
        assert!(
            self.counts.is_empty() && self.dirty.is_empty(),
            "I4, I7: what a group changed is saved with it"
        );
    }

    /// The group's transaction was dropped: forget what it would have changed.
    pub fn aborted(&mut self) -> Result<(), StoreError> {
        crate::mark!("group undone");
        let store = Arc::clone(&self.store);
        let txn = store.begin_read()?;
        self.frontier = log::frontier(&*txn)?;
        self.changes = stream::Changes::load(&*txn)?;
        // An incarnation that began in the group has not: it is in `lived`, but not the origin's any more.
        if let Some(incarnation) = life::stored(&*txn)? {
            self.origin.incarnation = incarnation;
        }
        self.reload_manifest(&*txn)?;
        (self.copying, self.wiped) = (None, false);
        self.rebuilding = !snapshot::joining(&*txn)?.is_empty();
        self.clock_bound = read::meta_u64(&*txn, meta::CLOCK_BOUND)?.unwrap_or(0);
        self.dirty.clear();
        self.contexts.clear();
        self.forwards.clear();
        self.departed = None;
        self.forget_tables();
        self.counts.clear();
        self.noted = Noted::default();
        self.buckets.clear();
        self.builds = work::builds(&*txn)?;
        // After a rest, so that a full disk does not see the same step again at once.
        self.heavy = true;
        self.chores_left = false;
        Ok(())
    }

    /// Saves what the group changed besides items, in the group's own transaction (I4, I11).
    fn flush(&mut self, txn: &mut dyn WriteTxn, now: Now) -> Result<(), StoreError> {
        let mut save = std::mem::take(&mut self.dirty);
        if self.config.planted == Some(PlantedBug::FrontierLate) {
            std::mem::swap(&mut save, &mut self.late);
        }
        for log in save {
            if let Some(seq) = self.frontier.get(&log) {
                txn.put(Db::Meta, &meta::frontier(log), &seq.to_be_bytes())?;
            }
        }
        for ((uid, index), counts) in std::mem::take(&mut self.counts) {
            txn.put(Db::Meta, &meta::counts(uid, index), &counts.to_bytes())?;
        }
        self.changes.flush(txn)?;
        self.buckets.save(txn)?;
        let last_us = self.hlc.last().physical_us.max(now.wall_us);
        let early = maybe!("early clock bound", self.config.region, now);
        if early || last_us + CLOCK_BOUND_SLACK_US > self.clock_bound {
            self.clock_bound = last_us + CLOCK_BOUND_WINDOW_US;
            if self.config.planted != Some(PlantedBug::ClockBoundForgotten) {
                txn.put(Db::Meta, meta::CLOCK_BOUND, &self.clock_bound.to_be_bytes())?;
            }
        }
        assert!(
            self.hlc.last().physical_us < self.clock_bound,
            "I11: a stamp passed the clock's bound"
        );
        Ok(())
    }

    fn has_bug(&self, bug: PlantedBug) -> bool {
        self.config.planted == Some(bug)
    }

    /// A table changed, or its change was dropped: definitions are read anew.
    fn forget_tables(&mut self) {
        self.tables.clear();
        self.names.clear();
    }

    /// The definition of a table by uid, from the transaction, remembered until a table changes.
    fn table_by_uid(&mut self, txn: &dyn ReadTxn, uid: TableUid) -> Result<TableState, StoreError> {
        if let Some(known) = self.tables.get(&uid) {
            return Ok(known.clone().map_or(TableState::Dead, TableState::Live));
        }
        let state = entry::state_of(txn, uid)?;
        match &state {
            TableState::Live(def) => self.tables.insert(uid, Some(def.clone())),
            TableState::Dead => self.tables.insert(uid, None),
            TableState::Unknown => None,
        };
        Ok(state)
    }
}

/// What a region knows of a table's uid.
#[derive(Clone, Debug)]
enum TableState {
    Live(Arc<TableDef>),
    /// Deleted, or another table took its name: its mutations are dropped.
    Dead,
    /// Its definition has not arrived yet: items are kept, indexes wait.
    Unknown,
}

/// An error of the store ends the group; every other ends its job alone.
fn store_errors_out<T>(result: Result<T, ExecuteError>) -> Result<Result<T, ApiError>, StoreError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ExecuteError::Api(error)) => Ok(Err(error)),
        Err(ExecuteError::Store(error)) => Err(error),
    }
}
