//! The one thread that changes anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use super::clock::RegionClock;
use super::full_disk::FullDisk;
use super::measure::Measure;
use super::queue::{Answer, Order, Queue};
use crate::api::RegionInfo;
use crate::clock::{Now, RegionId, Stamp};
use crate::replica::manifest::Manifest;
use crate::replica::mutation::{Frontier, GroupId, Origin};
use crate::replica::rescue::Outcome;
use crate::replica::{ApiError, Job, JobResult, RemoteError, Replica};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// An idle writer still runs an empty group this often, so that its watermark rises and peers can tell
/// silence from loss. Costs one sync every two seconds or so, when the clock's bound is raised.
const IDLE: Duration = Duration::from_secs(1);

/// What the writer tells replication after each group.
#[derive(Debug)]
pub(super) struct News {
    /// What is durable now, and a stamp below which nothing more will come; absent when the group failed.
    pub durable: Option<(Frontier, Stamp)>,
    /// The peers' batches of the group, in order, and whether they were applied.
    pub applied: Vec<(RegionId, bool)>,
    /// Of which groups parts of copies were taken in, or not.
    pub copied: Vec<(GroupId, bool)>,
    /// Whether votes were kept, in order.
    pub votes: Vec<bool>,
    /// Whose commits were decided about, and how; `None` where the disk was full.
    pub rescued: Vec<(RegionId, Option<Outcome>)>,
    /// This region forgot all it shared: what is durable is all there is.
    pub wiped: bool,
    /// Of what origin commits made here are from now on.
    pub origin: Origin,
    /// Who the members are, durably.
    pub members: Arc<Manifest>,
}

pub(super) struct Writer {
    pub store: Arc<dyn Store>,
    pub replica: Replica,
    pub clock: RegionClock,
    pub queue: Arc<Queue>,
    /// Bounded in effect: a group has at most as many peers' batches as the replicator has asked for.
    pub news: mpsc::UnboundedSender<News>,
    /// What readers can see, for those who wait for it.
    pub visible: watch::Sender<Frontier>,
    pub metrics: Arc<Metrics>,
    pub info: RegionInfo,
    pub full: FullDisk,
}

/// Who waits for a job.
enum Receipt {
    Client(Answer),
    Peer(RegionId),
    /// Replication, which copies this group.
    Copy(GroupId),
    /// Replication, which answers other voters.
    Vote,
    /// The lapsed region that these commits are of.
    Rescue(RegionId),
    Nobody,
}

impl Writer {
    /// Runs until the queue is closed and drained.
    pub fn run(mut self) {
        let _guard = AbortOnPanic("writer");
        while let Some(group) = self.queue.next_group(self.patience()) {
            self.run_group(group);
        }
        debug!("writer stopped");
    }

    fn patience(&self) -> Duration {
        if self.replica.has_chores() {
            Duration::ZERO
        } else {
            IDLE
        }
    }

    fn run_group(&mut self, group: Vec<Order>) {
        let mut jobs = Vec::with_capacity(group.len());
        let mut receipts = Vec::with_capacity(group.len());
        for order in group {
            let (job, receipt) = match order {
                Order::Write(request, answer) => (Job::Write(*request), Receipt::Client(answer)),
                Order::Remote { from, commits } => (Job::Remote(commits), Receipt::Peer(from)),
                Order::Snapshot(portion) => {
                    let group = portion.group;
                    (Job::Snapshot(portion), Receipt::Copy(group))
                }
                Order::Reborn { above } => {
                    warn!(
                        above,
                        "peers know more of this region than its data folder does: it was lost, restored or \
                         rolled back; beginning a new incarnation and getting its earlier commits back"
                    );
                    (Job::Reborn { above }, Receipt::Nobody)
                }
                Order::Whole(group) => {
                    info!("this region lacks nothing any more");
                    (Job::Whole(group), Receipt::Nobody)
                }
                Order::Stable(found) => (Job::Stable(found), Receipt::Nobody),
                Order::Repair(offer) => (Job::Repair(offer), Receipt::Nobody),
                Order::Adopt(manifest) => {
                    info!(epoch = manifest.epoch, "the members of the cluster changed");
                    (Job::Adopt(manifest), Receipt::Nobody)
                }
                Order::Fence(line) => {
                    self.replica.set_fence(line);
                    continue;
                }
                Order::CutOff(cut_off) => {
                    self.replica.set_cut_off(cut_off);
                    continue;
                }
                Order::Throttle(throttled) => {
                    self.replica.set_throttled(throttled);
                    continue;
                }
                Order::Vote(vote) => (Job::Vote(vote), Receipt::Vote),
                Order::Rescue { from, tail } => (Job::Rescue(tail), Receipt::Rescue(from)),
                Order::Wipe(rescued) => {
                    warn!(
                        written = rescued.written,
                        conflicts = rescued.conflicts,
                        "the others went on without this region; what only it had is with them now (written again, or \
                         in the conflict log), so it forgets what it shared and is given everything"
                    );
                    (Job::Wipe(rescued), Receipt::Nobody)
                }
                Order::Silences(silences) => (Job::Silences(silences), Receipt::Nobody),
            };
            jobs.push(job);
            receipts.push(receipt);
        }
        let now = self.clock.now();
        let measure = Measure::begin(now, &jobs);
        match self.commit_group(now, jobs) {
            Ok(results) => {
                let noted = self.replica.take_noted();
                measure.count(&self.metrics, &self.info, noted, self.clock.now());
                self.tell_done(now, results, receipts);
                if let Some(over) = self.full.taken(now) {
                    let (full_s, groups_refused) = (over.seconds(), over.groups);
                    info!(full_s, groups_refused, "the disk has room again");
                }
            }
            Err(full @ StoreError::Full) => {
                if self.full.refused(now) {
                    warn!(reason = %full, "writes are refused until the disk has room again");
                }
                self.metrics.groups_refused.add(1);
                let full_us = &self.metrics.store_full_us;
                full_us.store(now.mono_us.max(1), Ordering::Relaxed);
                if let Err(fatal) = self.replica.aborted() {
                    abort(&fatal);
                }
                self.tell_refused(&full, receipts);
            }
            Err(fatal) => abort(&fatal),
        }
    }

    /// Runs and commits one group: on `Ok` it is durable.
    fn commit_group(&mut self, now: Now, jobs: Vec<Job>) -> Result<Vec<JobResult>, StoreError> {
        let mut txn = self.store.begin_write()?;
        let results = self.replica.run_group(&mut *txn, now, jobs)?;
        if self.replica.is_repeatable() {
            // Half of a commit's time is over when it can be seen, and lag is what others wait for.
            txn.commit_visible()?;
            self.show();
            self.store.sync()?;
        } else {
            txn.commit()?;
            self.show();
        }
        self.replica.committed();
        Ok(results)
    }

    fn show(&self) {
        let frontier = self.replica.frontier();
        self.visible.send_if_modified(|visible| {
            let moved = visible != frontier;
            if moved {
                visible.clone_from(frontier);
            }
            moved
        });
    }

    fn tell_done(&mut self, now: Now, results: Vec<JobResult>, receipts: Vec<Receipt>) {
        assert_eq!(results.len(), receipts.len(), "every job has one result");
        let (mut applied, mut copied) = (Vec::new(), Vec::new());
        let (mut votes, mut rescued) = (Vec::new(), Vec::new());
        for (result, receipt) in results.into_iter().zip(receipts) {
            match (result, receipt) {
                (JobResult::Write(result), Receipt::Client(answer)) => {
                    // The client may have gone: its write stands all the same.
                    let _ = answer.send(result);
                }
                (JobResult::Remote(result), Receipt::Peer(from)) => {
                    self.report(from, &result);
                    applied.push((from, result.is_ok()));
                }
                (JobResult::Snapshot, Receipt::Copy(group)) => copied.push((group, true)),
                (JobResult::Noted, Receipt::Vote) => votes.push(true),
                (JobResult::Rescue(result), Receipt::Rescue(from)) => {
                    rescued.push((from, self.report_rescue(from, result)));
                }
                (JobResult::Stable | JobResult::Noted | JobResult::Repair, Receipt::Nobody) => {}
                _ => unreachable!("results come in the order of their jobs"),
            }
        }
        let wiped = self.replica.take_wiped();
        // Of the group's own time, so that the stamp stays below the clock's durable bound (I11).
        let watermark = self.replica.watermark(now);
        let durable = Some((self.replica.frontier().clone(), watermark));
        let _ = self.news.send(News {
            durable,
            applied,
            copied,
            votes,
            rescued,
            wiped,
            origin: self.replica.origin(),
            members: Arc::clone(self.replica.manifest()),
        });
    }

    /// Logs how a peer's commits fared, once: what cannot be read is fetched again, and fails again.
    fn report(&self, from: RegionId, result: &Result<(), RemoteError>) {
        match result {
            Ok(()) => {
                if self.queue.note_refused(from, None) {
                    info!(%from, "commits are taken again");
                }
            }
            // Ordinary after a cut: replication asks again from where the log ends.
            Err(error @ RemoteError::Gap { .. }) => debug!(%from, %error, "commits out of order"),
            Err(error) => {
                if self.queue.note_refused(from, Some(error.to_string())) {
                    warn!(%from, %error, "commits refused; they are asked for again, ever more rarely");
                }
            }
        }
    }

    /// Logs what became of a lapsed region's commits.
    fn report_rescue(
        &self,
        from: RegionId,
        result: Result<Outcome, RemoteError>,
    ) -> Option<Outcome> {
        match result {
            Ok(rescued) => {
                info!(
                    %from,
                    written = rescued.written,
                    conflicts = rescued.conflicts,
                    tables = rescued.tables,
                    "rescued what only a lapsed region had: written again, kept in the conflict log, changes of tables \
                     that newer ones replaced"
                );
                Some(rescued)
            }
            Err(error) => {
                warn!(%from, %error, "commits of a lapsed region cannot be rescued");
                None
            }
        }
    }

    fn tell_refused(&self, reason: &StoreError, receipts: Vec<Receipt>) {
        debug!(%reason, jobs = receipts.len(), "group refused");
        let (mut applied, mut copied) = (Vec::new(), Vec::new());
        let (mut votes, mut rescued) = (Vec::new(), Vec::new());
        for receipt in receipts {
            match receipt {
                Receipt::Client(answer) => {
                    let refusal = ApiError::ServiceUnavailable(reason.to_string());
                    let _ = answer.send(Err(refusal));
                }
                Receipt::Peer(from) => applied.push((from, false)),
                Receipt::Copy(group) => copied.push((group, false)),
                Receipt::Vote => votes.push(false),
                Receipt::Rescue(from) => rescued.push((from, None)),
                Receipt::Nobody => {}
            }
        }
        let _ = self.news.send(News {
            durable: None,
            applied,
            copied,
            votes,
            rescued,
            wiped: false,
            origin: self.replica.origin(),
            members: Arc::clone(self.replica.manifest()),
        });
    }
}

/// Ends the process: what the store holds is right, what memory holds may not be.
pub(super) fn abort(reason: &StoreError) -> ! {
    error!(%reason, "the store failed; ending this region, a restart recovers what was acknowledged");
    eprintln!(
        "error: {reason}\n  hint: the store failed and this region ended; check the disk, then start it again"
    );
    std::process::abort()
}

/// Aborts the process when the thread or task that holds it panics: a region without its writer or its
/// replication must not go on as if it had them.
pub(super) struct AbortOnPanic(pub &'static str);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "error: the {} of this region panicked; ending the process",
                self.0
            );
            std::process::abort();
        }
    }
}
