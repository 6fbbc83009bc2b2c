//! The receiving end of one log: what came, what is being applied, and whom to ask for the rest.

use std::collections::VecDeque;

use super::{APPLY_IN_FLIGHT_MAX, BATCH_BYTES_MAX, INTAKE_BYTES_MAX, RETRY_MAX_US, RETRY_US};
use crate::clock::{Now, RegionId, Stamp};
use crate::maybe;

#[derive(Debug)]
struct Parcel {
    from: RegionId,
    issued: Stamp,
    sealed: Vec<u8>,
}

/// A `Want` that has not been answered in full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub server: RegionId,
    /// When it was sent, or something last came of it.
    pub at_us: u64,
}

/// The next commits to apply.
#[derive(Debug)]
pub(super) struct Load {
    pub from: RegionId,
    pub commits: Vec<Vec<u8>>,
}

/// One log that another region originates.
#[derive(Debug)]
pub(super) struct Intake {
    /// Every seq up to here is durable, being applied, or queued.
    received: u64,
    queue: VecDeque<Parcel>,
    queued_bytes: usize,
    in_flight: usize,
    /// An apply failed: what follows it is dropped, then fetched again.
    failed: bool,
    /// Applies that failed, and nothing became durable since.
    failures: u32,
    /// No `Want` before this.
    retry_us: u64,
    pub progress_us: u64,
    /// Since when some peer has been seen ahead of us.
    pub behind_since_us: Option<u64>,
    /// The peer that relays this log to us, while its origin does not deliver.
    pub server: Option<RegionId>,
    pub wanted: Option<Wanted>,
    gap_wanted_us: Option<u64>,
}

impl Intake {
    pub fn new(now: Now, durable: u64) -> Self {
        Intake {
            received: durable,
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: 0,
            failed: false,
            failures: 0,
            retry_us: 0,
            progress_us: now.mono_us,
            behind_since_us: None,
            server: None,
            wanted: None,
            gap_wanted_us: None,
        }
    }

    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Applies under way.
    pub fn applies(&self) -> usize {
        self.in_flight
    }

    pub fn received(&self) -> u64 {
        self.received
    }

    /// The durable frontier moved, by whatever way.
    pub fn advance(&mut self, now: Now, durable: u64) {
        self.progress_us = now.mono_us;
        self.failures = 0;
        if durable > self.received {
            self.received = durable;
            self.queue.clear();
            self.queued_bytes = 0;
        }
    }

    /// Whether applies of this log are under way.
    pub fn is_applying(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether more may be asked for or taken in.
    pub fn has_room(&self, now: Now) -> bool {
        !self.failed && self.queued_bytes < INTAKE_BYTES_MAX && now.mono_us >= self.retry_us
    }

    /// Queues the commit after the last one received. False when the queue is full: the sender has
    /// ignored its window, and will have to send it again.
    pub fn push(
        &mut self,
        now: Now,
        from: RegionId,
        (seq, issued): (u64, Stamp),
        sealed: Vec<u8>,
    ) -> bool {
        assert_eq!(
            seq,
            self.received + 1,
            "I4: commits are taken in without gaps"
        );
        let full = self.queued_bytes >= INTAKE_BYTES_MAX || maybe!("full intake", from, seq, now);
        if self.failed || full {
            return false;
        }
        self.received = seq;
        self.progress_us = now.mono_us;
        self.queued_bytes += sealed.len();
        self.queue.push_back(Parcel {
            from,
            issued,
            sealed,
        });
        true
    }

    /// The next commits to apply, as long as few are in flight. What is stamped beyond `horizon_us` waits,
    /// and all behind it: stamps rise within a log.
    pub fn take(&mut self, horizon_us: u64) -> Option<Load> {
        if self.in_flight >= APPLY_IN_FLIGHT_MAX {
            return None;
        }
        let due = |parcel: &Parcel| parcel.issued.physical_us <= horizon_us;
        let first = self.queue.front()?;
        if !due(first) {
            crate::mark!("hold");
            return None;
        }
        let from = first.from;
        let (mut commits, mut bytes) = (Vec::new(), 0);
        let short = maybe!("short load", from, first.issued.physical_us);
        let bytes_max = if short { 1 } else { BATCH_BYTES_MAX };
        while bytes < bytes_max {
            if self.queue.front().is_none_or(|p| p.from != from || !due(p)) {
                break;
            }
            let Some(parcel) = self.queue.pop_front() else {
                break;
            };
            bytes += parcel.sealed.len();
            commits.push(parcel.sealed);
        }
        self.queued_bytes -= bytes;
        self.in_flight += 1;
        Some(Load { from, commits })
    }

    /// How many commits are queued, and the stamp of the first.
    pub fn waiting(&self) -> Option<(usize, Stamp)> {
        let first = self.queue.front()?;
        Some((self.queue.len(), first.issued))
    }

    /// One apply ended. After a failure everything not durable is forgotten and fetched again, once
    /// all that was in flight has ended too.
    pub fn applied(&mut self, now: Now, ok: bool, durable: u64) {
        assert!(self.in_flight > 0, "an apply can only end after it began");
        self.in_flight -= 1;
        if !ok {
            crate::mark!("apply failed");
            self.failed = true;
            self.queue.clear();
            self.queued_bytes = 0;
        }
        if self.failed && self.in_flight == 0 {
            self.failed = false;
            self.received = durable;
            let rest_us = RETRY_US.saturating_mul(1 << self.failures.min(16));
            self.retry_us = now.mono_us.saturating_add(rest_us.min(RETRY_MAX_US));
            self.failures = self.failures.saturating_add(1);
            self.wanted = None;
        }
    }

    /// Whether a gap may be reported now; at most once per `every_us`.
    pub fn may_report_gap(&mut self, now: Now, every_us: u64) -> bool {
        let recent = |at_us: u64| now.mono_us.saturating_sub(at_us) < every_us;
        if !self.has_room(now) || self.gap_wanted_us.is_some_and(recent) {
            return false;
        }
        self.gap_wanted_us = Some(now.mono_us);
        true
    }

    /// What waits must not be applied any more: who made it is not counted.
    pub fn drop_waiting(&mut self, durable: u64) {
        self.queue.clear();
        self.queued_bytes = 0;
        self.wanted = None;
        if self.in_flight == 0 {
            self.received = durable;
        } else {
            self.failed = true;
        }
    }

    /// The connection to `peer` is gone.
    pub fn forget(&mut self, peer: RegionId) {
        if self.server == Some(peer) {
            self.server = None;
        }
        if self.wanted.is_some_and(|w| w.server == peer) {
            self.wanted = None;
        }
        self.gap_wanted_us = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_horizon_waits_and_all_behind_it() {
        let now = Now {
            wall_us: 0,
            mono_us: 0,
        };
        let mut intake = Intake::new(now, 0);
        for (seq, physical_us) in [(1, 10), (2, 20), (3, 21)] {
            let issued = Stamp {
                physical_us,
                ..Stamp::MIN
            };
            assert!(intake.push(now, RegionId(1), (seq, issued), vec![0]));
        }
        let taken =
            |intake: &mut Intake, horizon_us| intake.take(horizon_us).map(|l| l.commits.len());
        assert_eq!(taken(&mut intake, 9), None);
        assert_eq!(taken(&mut intake, 15), Some(1));
        assert_eq!(taken(&mut intake, 15), None);
        assert_eq!(
            intake.waiting().map(|(count, s)| (count, s.physical_us)),
            Some((2, 20))
        );
        assert_eq!(taken(&mut intake, 21), Some(2));
        assert_eq!(intake.waiting(), None);
    }

    #[test]
    fn a_log_that_fails_again_and_again_is_left_alone_for_longer() {
        let mut at = Now {
            wall_us: 0,
            mono_us: 0,
        };
        let mut intake = Intake::new(at, 0);
        let mut rests_us = Vec::new();
        for _ in 0..8 {
            assert!(intake.push(at, RegionId(1), (1, Stamp::MIN), vec![0]));
            assert!(intake.take(u64::MAX).is_some());
            intake.applied(at, false, 0);
            let failed_us = at.mono_us;
            while !intake.has_room(at) {
                at.mono_us += RETRY_US / 2;
            }
            rests_us.push(at.mono_us - failed_us);
        }
        assert_eq!(rests_us[..3], [RETRY_US, 2 * RETRY_US, 4 * RETRY_US]);
        assert_eq!(rests_us[7], RETRY_MAX_US);
        intake.advance(at, 1);
        assert!(intake.push(at, RegionId(1), (2, Stamp::MIN), vec![0]));
        assert!(intake.take(u64::MAX).is_some());
        intake.applied(at, false, 1);
        at.mono_us += RETRY_US;
        assert!(intake.has_room(at), "what came in between counts");
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let now = Now {
            wall_us: 0,
            mono_us: 0,
        };
        let mut intake = Intake::new(now, 0);
        let commit = vec![0; 100_000];
        let taken = (1..)
            .take_while(|seq| intake.push(now, RegionId(1), (*seq, Stamp::MIN), commit.clone()));
        let taken = taken.count() * commit.len();
        assert!(taken < INTAKE_BYTES_MAX + commit.len(), "{taken}");
        assert_eq!(intake.queued_bytes(), taken);
    }
}
