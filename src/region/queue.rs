//! What waits for the writer: client writes, bounded, and peers' commits, bounded by the replicator.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::RegionId;
use crate::clock::policy::FenceLine;
use crate::replica::ApiError;
use crate::replica::buckets::Offer;
use crate::replica::request::{WriteRequest, WriteResponse};
use crate::replica::stable::Stability;

/// Client writes that may wait; more are refused as throttled.
pub(super) const WRITES_MAX: usize = 4096;
/// The most that one durable commit covers: past this, fewer syncs no longer pay for the wait.
pub(super) const GROUP_JOBS_MAX: usize = 256;
/// Peers' batches in one group; each is up to a quarter of a megabyte.
pub(super) const GROUP_REMOTE_MAX: usize = 16;

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
    /// What replication found to be durable everywhere.
    Stable(Stability),
    /// Where local writes are fenced from now on.
    Fence(FenceLine),
    /// What a peer has in a bucket that differs.
    Repair(Offer),
}

/// Why a write was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

#[derive(Default)]
struct Waiting {
    writes: VecDeque<(Box<WriteRequest>, Answer)>,
    remote: VecDeque<(RegionId, Vec<Vec<u8>>)>,
    stable: Option<Stability>,
    fence: Option<FenceLine>,
    repairs: VecDeque<Offer>,
    closed: bool,
}

/// The writer's inbox.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Queue {
    pub fn push_write(&self, request: WriteRequest, answer: Answer) -> Result<(), Refused> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Refused::Closed);
        }
        if waiting.writes.len() >= WRITES_MAX {
            return Err(Refused::Full);
        }
        waiting.writes.push_back((Box::new(request), answer));
        self.arrived.notify_one();
        Ok(())
    }

    pub fn push_remote(&self, from: RegionId, commits: Vec<Vec<u8>>) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.remote.push_back((from, commits));
            self.arrived.notify_one();
        }
    }

    /// Goes with the next group; no hurry.
    pub fn set_stable(&self, found: Stability) {
        self.lock().stable = Some(found);
    }

    /// Goes before the next group; no hurry.
    pub fn set_fence(&self, line: FenceLine) {
        self.lock().fence = Some(line);
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
        let remote = waiting.remote.len().min(GROUP_REMOTE_MAX);
        for (from, commits) in waiting.remote.drain(..remote) {
            group.push(Order::Remote { from, commits });
        }
        group.extend(waiting.stable.take().map(Order::Stable));
        group.extend(waiting.fence.take().map(Order::Fence));
        group.extend(waiting.repairs.pop_front().map(Order::Repair));
        let writes = waiting.writes.len().min(GROUP_JOBS_MAX - group.len());
        for (request, answer) in waiting.writes.drain(..writes) {
            group.push(Order::Write(request, answer));
        }
        (!group.is_empty() || !waiting.closed).then_some(group)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            queue.push_remote(RegionId(1), Vec::new());
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
