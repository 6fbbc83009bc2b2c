//! What a region makes of the others' clocks, by direction (replication.md section 3): behind the majority
//! is harmless, ahead of it fences local writes, and two regions alone cannot say which of them is wrong.
//!
//! Pure functions of readings and a time. Everything is measured against the monotonic clock, so that a wall
//! clock that is set tells at once, without another probe.

use super::Now;

/// How far clocks may be apart, unless the cluster says otherwise.
pub const MAX_OFFSET_US: u64 = 500_000;
/// A commit stamped further ahead than this waits for a person.
pub const QUARANTINE_US: u64 = 3_600_000_000;

/// One peer's wall clock, as measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its wall clock less our monotonic one, at the same moment.
    pub shift_us: i64,
    /// The truth is within this of `shift_us`.
    pub error_us: u64,
}

impl Reading {
    /// How far the peer's wall clock is ahead of ours.
    pub fn offset_us(&self, now: Now) -> i64 {
        self.shift_us.saturating_sub(shift(now))
    }
}

/// Where local writes are fenced, on the scale of wall less monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceLine {
    /// Above this our wall clock is ahead of too many.
    pub limit_us: i64,
    /// Where the others' clocks are.
    pub reference_us: i64,
}

impl FenceLine {
    /// No clock is above it.
    pub const OPEN: FenceLine = FenceLine {
        limit_us: i64::MAX,
        reference_us: 0,
    };

    /// By how much our clock is too far ahead; `None` = it is not.
    pub fn ahead_us(&self, now: Now) -> Option<u64> {
        let lead_us = shift(now).saturating_sub(self.reference_us);
        (shift(now) > self.limit_us).then(|| u64::try_from(lead_us).unwrap_or(0))
    }

    /// The time as the others have it.
    pub fn others_us(&self, now: Now) -> u64 {
        now.mono_us.saturating_add_signed(self.reference_us)
    }
}

/// What our wall clock is, compared with the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No peer has been measured yet.
    Unknown,
    Good,
    /// Alarm only: what others stamp drags our stamps forward.
    Behind {
        by_us: u64,
    },
    /// Local writes are fenced: an ahead clock wins conflicts that it should lose.
    Ahead {
        by_us: u64,
    },
    /// The only peer measured has another time, and nobody can say who is wrong. Alarm only.
    Apart {
        by_us: i64,
    },
}

/// A verdict, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// `None` with fewer than two peers measured: then nothing is fenced.
    pub fence: Option<FenceLine>,
    /// What the time is: our wall clock, unless the majority says otherwise.
    pub time_us: u64,
}

impl Judgement {
    /// Before anything is known.
    pub fn unknown(now: Now) -> Judgement {
        Judgement {
            verdict: Verdict::Unknown,
            fence: None,
            time_us: now.wall_us,
        }
    }
}

/// Judges our wall clock by the readings of the peers, as many as there are.
///
/// A clock is off only where it is by more than `max_offset_us` for every error of the readings: a slow link
/// fences nobody.
pub fn judge(max_offset_us: u64, readings: &[Reading], now: Now) -> Judgement {
    let slack = |r: &Reading| i64::try_from(max_offset_us.saturating_add(r.error_us));
    let slack = |r: &Reading| slack(r).unwrap_or(i64::MAX);
    let [one] = readings else {
        return judge_many(readings, slack, now);
    };
    let by_us = one.offset_us(now);
    let verdict = if by_us.saturating_abs() > slack(one) {
        Verdict::Apart { by_us }
    } else {
        Verdict::Good
    };
    Judgement {
        verdict,
        ..Judgement::unknown(now)
    }
}

fn judge_many(readings: &[Reading], slack: impl Fn(&Reading) -> i64, now: Now) -> Judgement {
    // A majority of those measured, and never a single one.
    let quorum = (readings.len() / 2 + 1).max(2);
    let upper = nth(readings, quorum, |r| r.shift_us.saturating_add(slack(r)));
    let earliest = nth(readings, quorum, |r| r.shift_us);
    let (Some(limit_us), Some(reference_us)) = (upper, earliest) else {
        return Judgement::unknown(now);
    };
    let line = FenceLine {
        limit_us,
        reference_us,
    };
    // The same from the other end: the greatest of which a quorum is at least as far ahead.
    let negated = |value: i64| value.saturating_neg();
    let lower = nth(readings, quorum, |r| {
        negated(r.shift_us.saturating_sub(slack(r)))
    });
    let latest = nth(readings, quorum, |r| negated(r.shift_us));
    let (lower, latest) = (lower.map_or(i64::MIN, negated), latest.map_or(0, negated));
    let here = shift(now);
    let (verdict, time_us) = if let Some(by_us) = line.ahead_us(now) {
        (Verdict::Ahead { by_us }, line.others_us(now))
    } else if here < lower {
        let by_us = u64::try_from(latest.saturating_sub(here)).unwrap_or(0);
        let time_us = now.mono_us.saturating_add_signed(latest);
        (Verdict::Behind { by_us }, time_us)
    } else {
        (Verdict::Good, now.wall_us)
    };
    Judgement {
        verdict,
        fence: Some(line),
        time_us,
    }
}

/// The `n`th smallest of a value of the readings, counting from 1.
fn nth(readings: &[Reading], n: usize, value: impl Fn(&Reading) -> i64) -> Option<i64> {
    let values = || readings.iter().map(&value);
    let least = |limit: &i64| values().filter(|v| v <= limit).count() >= n;
    values().filter(least).min().filter(|_| n > 0)
}

/// Wall less monotonic time.
pub fn shift(now: Now) -> i64 {
    let (wall, mono) = (i128::from(now.wall_us), i128::from(now.mono_us));
    i64::try_from(wall - mono).unwrap_or(if wall > mono { i64::MAX } else { i64::MIN })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Now = Now {
        wall_us: 1_000_000_000,
        mono_us: 400_000_000,
    };
    const SECOND: i64 = 1_000_000;

    /// Peers whose clocks are so far ahead of ours.
    fn verdict(offsets: &[i64]) -> Verdict {
        judged(offsets).verdict
    }

    fn judged(offsets: &[i64]) -> Judgement {
        let reading = |offset: &i64| Reading {
            shift_us: shift(NOW) + offset,
            error_us: 1_000,
        };
        let readings: Vec<Reading> = offsets.iter().map(reading).collect();
        judge(MAX_OFFSET_US, &readings, NOW)
    }

    #[test]
    fn nobody_and_one_peer_fence_nothing() {
        assert_eq!(verdict(&[]), Verdict::Unknown);
        assert_eq!(verdict(&[400_000]), Verdict::Good);
        for by_us in [-9 * SECOND, 9 * SECOND] {
            let judged = judged(&[by_us]);
            assert_eq!(judged.verdict, Verdict::Apart { by_us });
            assert_eq!((judged.fence, judged.time_us), (None, NOW.wall_us));
        }
    }

    #[test]
    fn ahead_of_two_and_of_a_majority_is_fenced() {
        let ahead = |by: i64| Verdict::Ahead {
            by_us: by.unsigned_abs(),
        };
        assert_eq!(verdict(&[-2 * SECOND, -3 * SECOND]), ahead(2 * SECOND));
        assert_eq!(verdict(&[-2 * SECOND, 0]), Verdict::Good);
        assert_eq!(verdict(&[-2 * SECOND, -3 * SECOND, 0, 0]), Verdict::Good);
        let three = [-2 * SECOND, -3 * SECOND, -4 * SECOND, 0];
        assert_eq!(verdict(&three), ahead(2 * SECOND));
    }

    #[test]
    fn behind_a_majority_goes_on_with_its_time() {
        let judged = judged(&[5 * SECOND, 7 * SECOND, 0]);
        assert_eq!(judged.verdict, Verdict::Behind { by_us: 5_000_000 });
        assert_eq!(judged.time_us, NOW.wall_us + 5_000_000);
        assert_eq!(verdict(&[5 * SECOND, -5 * SECOND]), Verdict::Good);
    }

    #[test]
    fn the_error_of_a_reading_is_given_the_benefit_of_the_doubt() {
        let reading = Reading {
            shift_us: shift(NOW) - SECOND,
            error_us: 600_000,
        };
        let verdict = judge(MAX_OFFSET_US, &[reading, reading], NOW).verdict;
        assert_eq!(verdict, Verdict::Good);
    }

    #[test]
    fn a_clock_that_is_set_crosses_the_line_by_itself() {
        let line = judged(&[0, 0]).fence.expect("two peers");
        assert_eq!(line.ahead_us(NOW), None);
        let set = Now {
            wall_us: NOW.wall_us + 2_000_000,
            ..NOW
        };
        assert_eq!(line.ahead_us(set), Some(2_000_000));
        assert_eq!(line.others_us(set), NOW.wall_us);
    }

    proptest! {
        #[test]
        fn nothing_overflows(
            readings in prop::collection::vec((any::<i64>(), any::<u64>()), 0..6),
            wall_us in any::<u64>(), mono_us in any::<u64>(), max in any::<u64>(),
        ) {
            let readings: Vec<Reading> = readings.into_iter()
                .map(|(shift_us, error_us)| Reading { shift_us, error_us }).collect();
            judge(max, &readings, Now { wall_us, mono_us });
        }

        /// A clock within bounds of all others is never fenced.
        #[test]
        fn within_bounds_is_good(offsets in prop::collection::vec(-500_000i64..=500_000, 1..8)) {
            prop_assert_eq!(verdict(&offsets), Verdict::Good);
        }
    }
}
