//! What waits for the writer: client writes, bounded, and peers' commits, bounded by the replicator.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::RegionId;
use crate::clock::policy::FenceLine;
use crate::replica::ApiError;
use crate::replica::buckets::Offer;
use crate::replica::manifest::Manifest;
use crate::replica::mutation::GroupId;
use crate::replica::request::{WriteRequest, WriteResponse};
use crate::replica::rescue::{Outcome, Tail};
use crate::replica::silence::Silences;
use crate::replica::snapshot::Portion;
use crate::replica::stable::Stability;
use crate::replica::vote::MemberVote;

/// Client writes that may wait; more are refused as throttled.
pub(super) const WRITES_MAX: usize = 4096;
/// What client writes may hold in memory while they wait, bytes; a single one is always taken.
pub(super) const WRITES_BYTES_MAX: usize = 64 << 20;
/// The most that one durable commit covers: past this, fewer syncs no longer pay for the wait.
pub(super) const GROUP_JOBS_MAX: usize = 256;
/// Peers' batches in one group; each is up to a quarter of a megabyte.
pub(super) const GROUP_REMOTE_MAX: usize = 16;
/// Peers' commits in one group, bytes; exceeded by one batch at most. In a catch-up a client's write waits
/// for two such groups at worst, some 50 ms: larger ones would hardly be faster, as a sync is short
/// against them.
pub(super) const GROUP_REMOTE_BYTES: usize = 1 << 20;

/// Peers' buckets that may wait.
const REPAIRS_MAX: usize = 64;

pub(super) type Answer = oneshot::Sender<Result<WriteResponse, ApiError>>;

/// One thing for the writer to do, and who wants to know.
pub(super) enum Order {
    Write(Box<WriteRequest>, Answer),
    Remote {
        from: RegionId,
        commits: Vec<Vec<u8>>,
    },
    /// A part of a copy of a group.
    Snapshot(Box<Portion>),
    /// What replication found out about this region's own store; see [`Job`](crate::replica::Job).
    Reborn {
        above: u32,
    },
    Whole(Option<GroupId>),
    /// What replication found to be durable everywhere.
    Stable(Stability),
    /// Where local writes are fenced from now on.
    Fence(FenceLine),
    /// Whether local writes are refused because no majority is reached.
    CutOff(bool),
    /// Whether local writes are throttled because of what silent regions hold back.
    Throttle(bool),
    /// For how long the others have been silent.
    Silences(Silences),
    /// What this region binds itself to about the next record of the members.
    Vote(Box<MemberVote>),
    /// Commits that only a lapsed region has.
    Rescue {
        from: RegionId,
        tail: Box<Tail>,
    },
    /// This region lapsed and begins anew.
    Wipe(Outcome),
    /// What a peer has in a bucket that differs.
    Repair(Offer),
    /// A newer record of the members.
    Adopt(Arc<Manifest>),
}

/// Why a write was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

#[derive(Default)]
struct Waiting {
    /// Everything from replication but `stable`: its order matters.
    remote: VecDeque<Order>,
    /// What `writes` holds.
    write_bytes: usize,
    /// Each with its share of `write_bytes`.
    writes: VecDeque<(Box<WriteRequest>, Answer, usize)>,
    stable: Option<Stability>,
    fence: Option<FenceLine>,
    cut_off: Option<bool>,
    throttled: Option<bool>,
    silences: Option<Silences>,
    repairs: VecDeque<Offer>,
    closed: bool,
}

/// The writer's inbox, and what it could not take of it.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Why the newest commits of a peer were refused; for `status`.
    refused: Mutex<BTreeMap<RegionId, String>>,
    arrived: Condvar,
}

impl Queue {
    pub fn push_write(&self, request: WriteRequest, answer: Answer) -> Result<(), Refused> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Refused::Closed);
        }
        let bytes = request.bytes();
        let full = waiting.write_bytes.saturating_add(bytes) > WRITES_BYTES_MAX;
        if waiting.writes.len() >= WRITES_MAX || (full && !waiting.writes.is_empty()) {
            return Err(Refused::Full);
        }
        waiting.write_bytes = waiting.write_bytes.saturating_add(bytes);
        waiting.writes.push_back((Box::new(request), answer, bytes));
        self.arrived.notify_one();
        Ok(())
    }

    pub fn push_remote(&self, order: Order) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.remote.push_back(order);
            self.arrived.notify_one();
        }
    }

    /// Notes how a peer's commits fared. True when that is news.
    pub fn note_refused(&self, from: RegionId, reason: Option<String>) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => refused.insert(from, reason.clone()) != Some(reason),
            None => refused.remove(&from).is_some(),
        }
    }

    /// Why the newest commits of a peer were refused, if they were.
    pub fn refused(&self, from: RegionId) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(&from).cloned()
    }

    /// Goes with the next group; no hurry.
    pub fn set_stable(&self, found: Stability) {
        self.lock().stable = Some(found);
    }

    /// Goes before the next group; no hurry.
    pub fn set_fence(&self, line: FenceLine) {
        self.lock().fence = Some(line);
    }

    /// Goes before the next group; no hurry.
    pub fn set_cut_off(&self, cut_off: bool) {
        self.lock().cut_off = Some(cut_off);
    }

    /// Goes before the next group; no hurry.
    pub fn set_throttled(&self, throttled: bool) {
        self.lock().throttled = Some(throttled);
    }

    /// Goes with the next group; no hurry.
    pub fn set_silences(&self, silences: Silences) {
        self.lock().silences = Some(silences);
    }

    /// Goes with the next group; no hurry. What does not fit comes again in another round.
    pub fn push_repair(&self, offer: Offer) {
        let mut waiting = self.lock();
        if waiting.repairs.len() < REPAIRS_MAX {
            waiting.repairs.push_back(offer);
        }
    }

    /// Takes nothing more. What waits already is still handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// The next group, in order of arrival of each kind, peers' commits first: conditions should see
    /// the newest. Empty when nothing came within `patience`; `None` once closed and drained.
    pub fn next_group(&self, patience: Duration) -> Option<Vec<Order>> {
        let idle = |w: &mut Waiting| w.writes.is_empty() && w.remote.is_empty() && !w.closed;
        let (mut waiting, _timeout) = self
            .arrived
            .wait_timeout_while(self.lock(), patience, idle)
            .unwrap_or_else(PoisonError::into_inner);
        let mut group = Vec::new();
        let remote = remote_share(waiting.remote.iter());
        group.extend(waiting.remote.drain(..remote));
        group.extend(waiting.stable.take().map(Order::Stable));
        group.extend(waiting.fence.take().map(Order::Fence));
        group.extend(waiting.cut_off.take().map(Order::CutOff));
        group.extend(waiting.throttled.take().map(Order::Throttle));
        group.extend(waiting.silences.take().map(Order::Silences));
        group.extend(waiting.repairs.pop_front().map(Order::Repair));
        let writes = waiting.writes.len().min(GROUP_JOBS_MAX - group.len());
        let mut taken = 0;
        for (request, answer, bytes) in waiting.writes.drain(..writes) {
            taken += bytes;
            group.push(Order::Write(request, answer));
        }
        waiting.write_bytes = waiting.write_bytes.saturating_sub(taken);
        (!group.is_empty() || !waiting.closed).then_some(group)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of the peers' batches that wait the next group takes: all kinds of work get their part of it.
fn remote_share<'c>(orders: impl Iterator<Item = &'c Order>) -> usize {
    let mut bytes = 0;
    let fits = |order: &&Order| {
        let before = bytes;
        if let Order::Remote { commits, .. } = order {
            bytes += commits.iter().map(Vec::len).sum::<usize>();
        }
        before < GROUP_REMOTE_BYTES
    };
    orders.take(GROUP_REMOTE_MAX).take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Item, Value};
    use crate::replica::request::{ItemWrite, WriteAction};

    fn put(queue: &Queue, bytes: usize) -> Result<(), Refused> {
        let item = Item::from([("v".to_owned(), Value::S("x".repeat(bytes)))]);
        let write = ItemWrite {
            table: "t".into(),
            action: WriteAction::Put { item },
            condition: None,
            return_old_on_failure: false,
        };
        queue.push_write(WriteRequest::Item(write), oneshot::channel().0)
    }

    #[test]
    fn waiting_writes_are_bounded_in_bytes() {
        let queue = Queue::default();
        let (size, mut taken) = (1 << 20, 0);
        while put(&queue, size).is_ok() {
            taken += size;
        }
        assert!(taken <= WRITES_BYTES_MAX && taken + 2 * size > WRITES_BYTES_MAX);
        put(&queue, 100).expect("a small one fits still");
        while queue
            .next_group(Duration::ZERO)
            .is_some_and(|g| !g.is_empty())
        {}
        assert_eq!(queue.lock().write_bytes, 0);
        put(&queue, WRITES_BYTES_MAX).expect("a single one is always taken");
        assert_eq!(put(&queue, 1), Err(Refused::Full));
    }

    #[test]
    fn neither_clients_nor_peers_starve() {
        let queue = Queue::default();
        for _ in 0..64 {
            queue.push_remote(Order::Remote {
                from: RegionId(1),
                commits: vec![vec![0; 1_000]; 256],
            });
        }
        for _ in 0..1_000 {
            write(&queue).expect("has room");
        }
        for _ in 0..4 {
            let group = queue.next_group(Duration::ZERO).expect("open");
            let bytes = |order: &Order| match order {
                Order::Remote { commits, .. } => commits.iter().map(Vec::len).sum(),
                _ => 0,
            };
            let remote: usize = group.iter().map(bytes).sum();
            assert!((GROUP_REMOTE_BYTES..GROUP_REMOTE_BYTES + 256_000).contains(&remote));
            let writes = group.iter().filter(|o| matches!(o, Order::Write(..)));
            assert!(writes.count() > GROUP_JOBS_MAX - GROUP_REMOTE_MAX - 1);
        }
    }

    fn write(queue: &Queue) -> Result<(), Refused> {
        let (answer, _) = oneshot::channel();
        queue.push_write(WriteRequest::Batch(Vec::new()), answer)
    }

    #[test]
    fn full_queue_refuses_and_groups_are_bounded() {
        let queue = Queue::default();
        for _ in 0..WRITES_MAX {
            write(&queue).expect("has room");
        }
        assert_eq!(write(&queue), Err(Refused::Full));
        for _ in 0..=GROUP_REMOTE_MAX {
            queue.push_remote(Order::Remote {
                from: RegionId(1),
                commits: Vec::new(),
            });
        }
        let group = queue.next_group(Duration::ZERO).expect("open");
        assert_eq!(group.len(), GROUP_JOBS_MAX);
        let remote = |o: &Order| matches!(o, Order::Remote { .. });
        assert_eq!(group.iter().filter(|o| remote(o)).count(), GROUP_REMOTE_MAX);
        write(&queue).expect("has room again");
    }

    #[test]
    fn closed_queue_drains_then_ends() {
        let queue = Queue::default();
        assert_eq!(queue.next_group(Duration::ZERO).map(|g| g.len()), Some(0));
        write(&queue).expect("open");
        queue.close();
        assert_eq!(write(&queue), Err(Refused::Closed));
        assert_eq!(queue.next_group(Duration::ZERO).map(|g| g.len()), Some(1));
        assert!(queue.next_group(Duration::from_secs(60)).is_none());
    }
}
