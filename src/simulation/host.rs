//! One region: the production replica and replicator on a disk of the simulator, driven as the writer thread
//! of a daemon drives them.
//!
//! The disk is modelled by time: a group of jobs begins, and its transaction is made, durable and visible
//! at once when the sync has taken its time. Only then is anyone answered and the replicator told. A crash
//! in between loses the group, or, as a coin decides, only the answers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::changed::{Changed, Noting};
use super::done::{finish, refuse};
use super::plan::{Operation, index};
use super::service::Begun;
use super::skew::SkewedClock;
use super::volume::{Volume, Volumes};
use crate::clock::policy::FenceLine;
use crate::clock::{Now, RegionId, Stamp};
use crate::config::Compression;
use crate::replica::buckets::Offer;
use crate::replica::manifest::{Change, Manifest};
use crate::replica::mutation::{Frontier, GroupId, Origin};
use crate::replica::request::{WriteRequest, WriteResponse};
use crate::replica::rescue::{Outcome, Tail};
use crate::replica::silence::{self, Silences};
use crate::replica::snapshot::{self, Portion};
use crate::replica::stable::Stability;
use crate::replica::vote::{self, MemberVote};
use crate::replica::wipe;
use crate::replica::{ApiError, Job, OpenError, Replica, ReplicaConfig};
use crate::replication::{
    Action, Burden, Event, Lacks, PeerStatus, Replicator, ReplicatorConfig, SilenceLimits,
};
use crate::store::{MemStore, ReadTxn, Store, StoreError, WriteTxn};

/// The cluster that all worlds are of.
pub(super) const CLUSTER_ID: [u8; 16] = *b"simulated world.";

/// Who asked for a write.
#[derive(Clone, Debug)]
pub enum Asker {
    /// Nobody: the table is created when the world begins.
    World,
    Client(Operation),
    /// A client of a script; its request has this number.
    Script(u64),
}

/// One job of the writer.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "jobs are moved once and never kept in bulk"
)]
pub enum Work {
    Write {
        asker: Asker,
        request: Box<WriteRequest>,
    },
    Remote {
        from: RegionId,
        commits: Vec<Vec<u8>>,
    },
    Stable(Stability),
    Snapshot(Box<Portion>),
    Reborn {
        above: u32,
    },
    Whole(Option<GroupId>),
    Repair(Offer),
    Silences(Silences),
    Adopt(Arc<Manifest>),
    Vote(Box<MemberVote>),
    Rescue {
        from: RegionId,
        tail: Box<Tail>,
    },
    Wipe(Outcome),
}

/// One job that has been done.
#[derive(Debug)]
pub enum Done {
    Write {
        asker: Asker,
        answer: Result<WriteResponse, ApiError>,
    },
    Remote {
        from: RegionId,
        commits: Vec<Vec<u8>>,
        ok: bool,
    },
    Snapshot {
        portion: Box<Portion>,
        ok: bool,
    },
    Vote {
        ok: bool,
    },
    Rescue {
        from: RegionId,
        tail: Box<Tail>,
        outcome: Option<Outcome>,
    },
}

/// One group whose transaction is durable, or was refused by a full disk.
#[derive(Debug)]
pub struct Finished {
    pub done: Vec<Done>,
    pub origin: Origin,
    pub manifest: Arc<Manifest>,
    pub before: Frontier,
    pub after: Frontier,
    pub watermark: Stamp,
    pub changed: Changed,
    /// The disk was full: nothing of it has happened.
    pub refused: bool,
    /// The region has forgotten what it shared.
    pub wiped: bool,
    /// What the region took for the time when it was made.
    pub wall_us: u64,
}

/// A group under way: what it does, or, where it ships before its sync, what it did.
#[derive(Debug)]
enum Group {
    Waiting(Vec<Work>),
    ShippedEarly(Box<Finished>),
}

struct Process {
    replica: Replica,
    replicator: Replicator,
    queue: VecDeque<Work>,
    /// What the replica is told before its next group.
    fence: Option<FenceLine>,
    cut_off: Option<bool>,
    group: Option<Group>,
}

impl Process {
    fn learn_fence(&mut self) {
        if let Some(line) = self.fence.take() {
            self.replica.set_fence(line);
        }
        if let Some(cut_off) = self.cut_off.take() {
            self.replica.set_cut_off(cut_off);
        }
    }
}

/// What a world decides about all its regions.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    pub part_bytes_max: usize,
    pub max_offset_us: u64,
    pub anti_entropy_us: u64,
    pub limits: SilenceLimits,
    pub ship_before_sync: bool,
}

/// A region and, while it is alive, its process.
pub struct Region {
    pub name: String,
    pub clock: SkewedClock,
    /// How much longer each sync takes at present.
    pub stall_us: u64,
    /// Its disk takes nothing more.
    pub full: bool,
    /// Counts its processes; what was meant for an earlier one is dropped.
    pub life: u64,
    /// Counts its syncs.
    pub syncs: u64,
    config: ReplicaConfig,
    tuning: Tuning,
    volumes: Volumes,
    store: Volume,
    /// The disk as it was copied once.
    backup: Option<Volume>,
    /// Nothing was stamped above this.
    high_us: u64,
    /// The disk is not what the process left on it.
    doubtful: bool,
    /// `ship_before_sync` only: what the disk holds while a group is under way.
    synced: Option<Volume>,
    process: Option<Process>,
}

impl Region {
    pub fn new(config: ReplicaConfig, clock: SkewedClock, tuning: Tuning) -> Self {
        Region {
            name: config.region_name.clone(),
            clock,
            stall_us: 0,
            full: false,
            life: 0,
            syncs: 0,
            config,
            tuning,
            volumes: Volumes::in_memory(),
            store: Volume::Memory(MemStore::new()),
            backup: None,
            high_us: 0,
            doubtful: false,
            synced: None,
            process: None,
        }
    }

    /// Has its disks made here. For a region that has not been started.
    pub fn set_volumes(&mut self, volumes: Volumes) -> Result<(), StoreError> {
        assert!(self.life == 0, "a region is moved before its first life");
        self.volumes = volumes;
        self.store = self.volumes.create()?;
        Ok(())
    }

    /// The disk, for whoever reads it while the region lives.
    pub fn share(&self) -> Arc<dyn Store> {
        self.store.share()
    }

    /// What readers see now.
    pub fn snapshot(&self) -> Result<Box<dyn ReadTxn + '_>, StoreError> {
        self.store.begin_read()
    }

    /// Changes what the disk holds, behind everyone's back.
    pub fn on_disk(
        &mut self,
        change: impl FnOnce(&mut dyn WriteTxn, RegionId) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let mut txn = self.store.begin_write()?;
        let changed = change(&mut *txn, self.config.region)?;
        txn.commit()?;
        Ok(changed)
    }

    pub fn id(&self) -> RegionId {
        self.config.region
    }

    pub fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    pub fn is_idle(&self) -> bool {
        let idle = |p: &Process| p.group.is_none() && p.queue.is_empty() && !p.replica.has_chores();
        self.process.as_ref().is_some_and(idle)
    }

    /// What its replica has applied, while it is alive.
    pub fn frontier(&self) -> Option<&Frontier> {
        self.process.as_ref().map(|p| p.replica.frontier())
    }

    /// What its replicator knows of the others.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let status = |p: &Process| p.replicator.status();
        self.process.as_ref().map(status).unwrap_or_default()
    }

    /// The lowest stable stamp of all groups on the wall clock, and how many commits are held.
    pub fn stable_and_held(&self) -> Option<(Option<u64>, u64)> {
        let replicator = &self.process.as_ref()?.replicator;
        let stamps = replicator.stability().stamps.values();
        let held = replicator.clocks().held.into_iter();
        let held: usize = held.map(|log| log.commits).sum();
        let stable_us = stamps.map(|stamp| stamp.physical_us).min();
        Some((stable_us.filter(|us| *us > 0), index(held)))
    }

    /// The most bytes it holds of any one log or peer.
    pub fn burden(&self) -> Burden {
        self.process
            .as_ref()
            .map(|p| p.replicator.burden())
            .unwrap_or_default()
    }

    /// Bytes of peers' commits that wait for the writer.
    pub fn queued_bytes(&self) -> usize {
        let bytes = |work: &Work| match work {
            Work::Remote { commits, .. } => commits.iter().map(Vec::len).sum(),
            _ => 0,
        };
        self.process.iter().flat_map(|p| &p.queue).map(bytes).sum()
    }

    /// Starts the process on what the disk holds.
    pub fn boot(&mut self, now: Now, chance: u32) -> Result<(), OpenError> {
        assert!(self.process.is_none(), "a region has one process");
        let replica = Replica::open(self.store.share(), self.config.clone(), now, chance)?;
        let config = ReplicatorConfig {
            region: self.config.region,
            region_name: self.name.clone(),
            manifest: Arc::clone(replica.manifest()),
            replicate_all: self.config.replicate_all,
            origin: replica.origin(),
            lacks: Lacks {
                newborn: replica.is_newborn()?,
                joining: snapshot::joining(&*self.store.begin_read()?)?,
                wiping: wipe::wiping(&*self.store.begin_read()?)?.is_some(),
            },
            part_bytes_max: self.tuning.part_bytes_max,
            max_offset_us: self.tuning.max_offset_us,
            anti_entropy_us: self.tuning.anti_entropy_us,
            silences: silence::silences(&*self.store.begin_read()?)?,
            limits: self.tuning.limits,
            vote: vote::stored(&*self.store.begin_read()?)?,
            planted: self.config.planted,
            compression: Compression::Auto,
        };
        let replicator = Replicator::new(config, replica.frontier().clone());
        self.life += 1;
        self.process = Some(Process {
            replica,
            replicator,
            queue: VecDeque::new(),
            fence: None,
            cut_off: None,
            group: None,
        });
        Ok(())
    }

    /// Lets the replicator take in an event.
    pub fn step(&mut self, now: Now, event: Event) -> Result<Vec<Action>, StoreError> {
        let mut actions = Vec::new();
        if let Some(process) = &mut self.process {
            let txn = self.store.begin_read()?;
            process.replicator.step(now, &*txn, event, &mut actions)?;
        }
        Ok(actions)
    }

    /// Goes before the next group that is made.
    pub fn set_fence(&mut self, line: FenceLine) {
        if let Some(process) = &mut self.process {
            process.fence = Some(line);
        }
    }

    /// The same: goes before the next group.
    pub fn set_cut_off(&mut self, cut_off: bool) {
        if let Some(process) = &mut self.process {
            process.cut_off = Some(cut_off);
        }
    }

    /// By how much it believes its clock to be ahead, while it takes no writes.
    pub fn fenced(&self, now: Now) -> Option<u64> {
        self.process.as_ref()?.replica.fenced(now)
    }

    /// Whose commits its replicator takes for its own.
    pub fn origin(&self) -> Option<Origin> {
        self.process.as_ref().map(|p| p.replicator.origin())
    }

    /// The epoch of the members that its replicator goes by.
    pub fn epoch(&self) -> Option<u64> {
        self.process.as_ref().map(|p| p.replicator.epoch())
    }

    /// Who the members are, as far as it knows; while it is alive.
    pub fn members(&self) -> Option<&Arc<Manifest>> {
        self.process.as_ref().map(|p| p.replica.manifest())
    }

    /// Whether an operator would ask it to change the members.
    pub fn takes_wishes(&self) -> bool {
        let active = |m: &Arc<Manifest>| m.voters().contains(self.config.region);
        self.members().is_some_and(active)
    }

    pub fn wish(&mut self, now: Now, change: Change) {
        if let Some(process) = &mut self.process {
            // It may be busy with another, or know better: the operator asks again.
            let _ = process.replicator.wish(now.mono_us, change);
        }
    }

    /// The others do not let it in.
    pub fn set_unwelcome(&mut self, unwelcome: bool) {
        if let Some(process) = &mut self.process {
            process.replicator.set_unwelcome(unwelcome);
        }
    }

    /// Queues a job. False when there is nobody to do it.
    pub fn enqueue(&mut self, work: Work) -> bool {
        let process = self.process.as_mut();
        process.map(|p| p.queue.push_back(work)).is_some()
    }

    /// Begins a group of up to `most` jobs, unless one is under way; without jobs only if `idle` or when
    /// chores go on.
    pub fn begin_group(
        &mut self,
        now: Now,
        most: usize,
        idle: bool,
    ) -> Result<Option<Begun>, StoreError> {
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        let idle = idle || process.replica.has_chores();
        if process.group.is_some() || (process.queue.is_empty() && !idle) {
            return Ok(None);
        }
        let count = process.queue.len().min(most);
        let work: Vec<Work> = process.queue.drain(..count).collect();
        let mut begun = Begun::with(&work);
        if !self.tuning.ship_before_sync {
            process.group = Some(Group::Waiting(work));
            return Ok(Some(begun));
        }
        let image = self.volumes.fork(&self.store)?;
        let disk = std::mem::replace(&mut self.store, image);
        self.synced = Some(disk);
        process.learn_fence();
        let finished = run(&mut process.replica, &self.store, self.full, now, work)?;
        begun.early = Some(Event::Durable(finished.after.clone(), finished.watermark));
        process.group = Some(Group::ShippedEarly(Box::new(finished)));
        Ok(Some(begun))
    }

    /// The sync of the group under way is done.
    pub fn finish_group(&mut self, now: Now) -> Result<Option<Finished>, StoreError> {
        self.synced = None;
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        let finished = match process.group.take() {
            None => return Ok(None),
            Some(Group::ShippedEarly(finished)) => *finished,
            Some(Group::Waiting(work)) => {
                process.learn_fence();
                run(&mut process.replica, &self.store, self.full, now, work)?
            }
        };
        self.high_us = self.high_us.max(finished.watermark.physical_us);
        if finished.wiped {
            self.drop_backup();
        }
        Ok(Some(finished))
    }

    /// The disk is copied, between two syncs.
    pub fn back_up(&mut self) -> Result<bool, StoreError> {
        if self.synced.is_none() {
            self.backup = Some(self.volumes.fork(&self.store)?);
        }
        Ok(self.synced.is_none())
    }

    /// No copy is put back any more: a region has lapsed since, and whoever comes from before does not know it; or
    /// this one has come back since (docs/operating.md).
    pub fn drop_backup(&mut self) {
        self.backup = None;
    }

    /// The disk is lost, or, if it may be and a copy was made, put back as it was. Says whether it was.
    ///
    /// A copy that is older than a store that began empty is not put back any more, as operators are told
    /// (docs/storage-format.md): while that store lived, all regions agreed on what there was without the
    /// commits that only the copy has, and have forgotten deletions by it (I8). Nobody can tell afterwards
    /// whether what such a commit wrote was deleted since.
    pub fn lose_disk(&mut self, restore: bool) -> Result<bool, StoreError> {
        assert!(self.process.is_none(), "disks are lost by the dead");
        let backup = self.backup.as_ref().filter(|_| restore);
        let restored = backup.is_some();
        self.store = match backup {
            Some(backup) => self.volumes.fork(backup)?,
            None => self.volumes.create()?,
        };
        if !restored {
            self.backup = None;
        }
        self.doubtful = true;
        Ok(restored)
    }

    /// Whether clients are served.
    pub fn serves(&self) -> bool {
        let serves = |p: &Process| p.replicator.closed().is_none();
        self.process.as_ref().is_some_and(serves)
    }

    /// What the clock of such a store must show at least.
    pub fn clock_floor_us(&self) -> u64 {
        if self.doubtful {
            self.high_us + 2_000_000
        } else {
            0
        }
    }

    /// A store that forgot what it has stamped needs a clock that did not go back meanwhile, which operators see
    /// to when they put in a new disk.
    pub fn mind_the_clock(&mut self, true_us: u64) {
        let floor_us = self.clock_floor_us();
        self.doubtful = false;
        let by_us = floor_us.saturating_sub(self.clock.now(true_us).wall_us);
        self.clock.step(i64::try_from(by_us).unwrap_or(0));
    }

    /// The process dies. With `commit_survives`, a group under way reaches the disk all the same.
    pub fn crash(
        &mut self,
        now: Now,
        commit_survives: bool,
    ) -> Result<Option<Finished>, StoreError> {
        let finished = if commit_survives {
            self.finish_group(now)?
        } else {
            None
        };
        if let Some(disk) = self.synced.take() {
            self.store = disk;
        }
        self.process = None;
        let closed = std::mem::replace(&mut self.store, Volume::Memory(MemStore::new()));
        self.store = closed.reopened()?;
        Ok(finished)
    }
}

/// Makes a group's transaction. A full disk refuses it, as the daemon's writer finds at the commit.
fn run(
    replica: &mut Replica,
    store: &Volume,
    full: bool,
    now: Now,
    work: Vec<Work>,
) -> Result<Finished, StoreError> {
    let before = replica.frontier().clone();
    let mut jobs = Vec::with_capacity(work.len());
    for one in &work {
        jobs.push(match one {
            Work::Write { request, .. } => Job::Write(WriteRequest::clone(request)),
            Work::Remote { commits, .. } => Job::Remote(commits.clone()),
            Work::Stable(found) => Job::Stable(found.clone()),
            Work::Snapshot(portion) => Job::Snapshot(portion.clone()),
            Work::Reborn { above } => Job::Reborn { above: *above },
            Work::Whole(group) => Job::Whole(*group),
            Work::Repair(offer) => Job::Repair(offer.clone()),
            Work::Silences(silences) => Job::Silences(silences.clone()),
            Work::Vote(vote) => Job::Vote(vote.clone()),
            Work::Adopt(manifest) => Job::Adopt(Arc::clone(manifest)),
            Work::Rescue { tail, .. } => Job::Rescue(tail.clone()),
            Work::Wipe(rescued) => Job::Wipe(*rescued),
        });
    }
    let mut txn = Noting::new(store.begin_write()?);
    let results = replica.run_group(&mut txn, now, jobs)?;
    let (done, changed) = if full {
        drop(txn);
        replica.aborted()?;
        let done = work.into_iter().filter_map(refuse).collect();
        (done, Changed::default())
    } else {
        let changed = txn.end()?;
        replica.committed();
        let done = work.into_iter().zip(results);
        let done = done.filter_map(|(work, result)| finish(work, result));
        (done.collect(), changed)
    };
    Ok(Finished {
        done,
        origin: replica.origin(),
        manifest: Arc::clone(replica.manifest()),
        before,
        after: replica.frontier().clone(),
        watermark: replica.watermark(now),
        changed,
        refused: full,
        wiped: replica.take_wiped(),
        wall_us: replica.trusted(now).wall_us,
    })
}
