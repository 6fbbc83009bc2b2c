//! Offset probes: what a peer's wall clock says, by four timestamps as in NTP (replication.md section 3).
//!
//! A probe carries our monotonic time there and back, and the peer's wall time twice. The difference of the
//! middles is its clock's shift, wrong by half the round trip at most; of the last eight the one with the
//! least error counts. Our own wall clock is not part of it, and may be set at any time.

use std::collections::VecDeque;

use crate::clock::Now;
use crate::clock::policy::Reading;

/// Samples kept of one peer.
const SAMPLES_MAX: usize = 8;
/// A reply later than this tells nothing.
const LATE_US: u64 = 30_000_000;
/// How far two clocks may drift apart, per million: both may be slewed by NTP's 500.
const DRIFT_PPM: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
struct Sample {
    shift_us: i64,
    rtt_us: u64,
    at_us: u64,
}

impl Sample {
    /// Half the round trip, and more as it ages.
    fn error_us(&self, now: Now) -> u64 {
        let age_us = now.mono_us.saturating_sub(self.at_us);
        let drift_us = age_us.saturating_mul(DRIFT_PPM) / 1_000_000;
        (self.rtt_us.div_ceil(2)).saturating_add(drift_us)
    }
}

/// The answer to a probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    /// Our monotonic time when we asked.
    pub sent_us: u64,
    /// The peer's wall time when it heard, and when it answered.
    pub heard_wall_us: u64,
    pub answered_wall_us: u64,
}

/// What is known of one peer's clock. Outlives connections: a clock runs on while it is not heard.
#[derive(Debug, Default)]
pub(super) struct PeerClock {
    samples: VecDeque<Sample>,
    /// The one with the least error: all age alike, so it stays that until another comes.
    best: Option<Sample>,
    /// When it was last asked.
    pub asked_us: Option<u64>,
}

impl PeerClock {
    /// Takes in a reply. Says whether it told something.
    pub fn heard(&mut self, now: Now, reply: Reply) -> bool {
        let held_us = reply.answered_wall_us.checked_sub(reply.heard_wall_us);
        let away_us = now.mono_us.checked_sub(reply.sent_us);
        let (Some(held_us), Some(away_us)) = (held_us, away_us.filter(|us| *us <= LATE_US)) else {
            return false;
        };
        let Some(rtt_us) = away_us.checked_sub(held_us) else {
            // Its clock was set in between.
            return false;
        };
        let middle = i128::from(reply.heard_wall_us) + i128::from(held_us / 2)
            - i128::from(reply.sent_us)
            - i128::from(away_us / 2);
        let Ok(shift_us) = i64::try_from(middle) else {
            return false;
        };
        let sample = Sample {
            shift_us,
            rtt_us,
            at_us: now.mono_us,
        };
        // A clock that was set, or that stands still, contradicts what it said before.
        self.samples.retain(|old| {
            let apart_us = old.shift_us.abs_diff(shift_us);
            apart_us <= old.error_us(now).saturating_add(sample.error_us(now)) + 1
        });
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        let least = self.samples.iter().min_by_key(|s| s.error_us(now));
        self.best = least.copied();
        true
    }

    /// The best sample.
    pub fn reading(&self, now: Now) -> Option<Reading> {
        let best = self.best?;
        Some(Reading {
            shift_us: best.shift_us,
            error_us: best.error_us(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(mono_us: u64) -> Now {
        Now {
            wall_us: 7,
            mono_us,
        }
    }

    /// A probe sent at `sent_us`, to a peer whose wall clock is 1 s ahead of our monotonic one.
    fn ask(clock: &mut PeerClock, sent_us: u64, there_us: u64, back_us: u64, set_us: u64) -> bool {
        let heard_wall_us = sent_us + there_us + 1_000_000 + set_us;
        let reply = Reply {
            sent_us,
            heard_wall_us,
            answered_wall_us: heard_wall_us + 10,
        };
        clock.heard(at(sent_us + there_us + 10 + back_us), reply)
    }

    #[test]
    fn the_best_of_eight_counts_and_a_set_clock_begins_anew() {
        let mut clock = PeerClock::default();
        assert_eq!(clock.reading(at(0)), None);
        assert!(ask(&mut clock, 5_000, 90_000, 10_000, 0));
        let first = clock.reading(at(105_010)).expect("one sample");
        assert_eq!((first.shift_us, first.error_us), (1_040_000, 50_000));
        assert!(ask(&mut clock, 1_000_000, 1_000, 1_000, 0));
        let best = clock.reading(at(1_002_010)).expect("two samples");
        assert_eq!((best.shift_us, best.error_us), (1_000_000, 1_000));
        assert!(ask(&mut clock, 2_000_000, 50_000, 50_000, 9_000_000));
        let set = clock.reading(at(2_100_010)).expect("a sample");
        assert_eq!(set.shift_us, 10_000_000);
    }

    #[test]
    fn replies_that_cannot_be_tell_nothing() {
        let mut clock = PeerClock::default();
        let reply = |sent_us, heard_wall_us, answered_wall_us| Reply {
            sent_us,
            heard_wall_us,
            answered_wall_us,
        };
        assert!(!clock.heard(at(50), reply(60, 1, 1)));
        assert!(!clock.heard(at(50), reply(40, 9, 1)));
        assert!(!clock.heard(at(50), reply(40, 1, 100)));
        assert!(!clock.heard(at(90_000_000), reply(40, 1, 1)));
        assert_eq!(clock.reading(at(50)), None);
    }

    proptest! {
        /// However the delay is divided, the truth is within the error.
        #[test]
        fn the_truth_is_within_the_error(delays in prop::collection::vec((0u64..900_000, 0u64..900_000), 1..20)) {
            let mut clock = PeerClock::default();
            for (n, (there, back)) in (1u64..).zip(delays) {
                ask(&mut clock, n * 2_000_000, there, back, 0);
                let reading = clock.reading(at(n * 2_000_000 + there + back + 10)).expect("a sample");
                prop_assert!(reading.shift_us.abs_diff(1_000_000) <= reading.error_us + 1);
            }
        }

        #[test]
        fn nothing_overflows(now in any::<u64>(), sent_us in any::<u64>(), a in any::<u64>(), b in any::<u64>()) {
            let mut clock = PeerClock::default();
            clock.heard(at(now), Reply { sent_us, heard_wall_us: a, answered_wall_us: b });
            clock.reading(at(b));
        }
    }
}
