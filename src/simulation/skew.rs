//! What a region believes the time is.

use crate::clock::Now;

/// Virtual time 0: 2024-01-01T00:00:00Z. A constant, never the real now.
pub const EPOCH_US: u64 = 1_704_067_200_000_000;

/// A region's clocks, made of the true time and their errors.
#[derive(Clone, Debug)]
pub struct SkewedClock {
    /// The wall clock's error, steps included, microseconds.
    pub offset_us: i64,
    /// How much too fast both clocks run, parts per million.
    pub drift_ppm: i64,
    /// The true time at which the wall clock stood still, if it does.
    pub frozen_us: Option<u64>,
    /// Where the monotonic clock began.
    pub mono_start_us: u64,
}

impl SkewedClock {
    /// What the region sees at the true virtual time `true_us`.
    pub fn now(&self, true_us: u64) -> Now {
        let signed = i64::try_from(true_us).unwrap_or(i64::MAX);
        let drift_us = signed.saturating_mul(self.drift_ppm) / 1_000_000;
        let mono_us = (self.mono_start_us + true_us).saturating_add_signed(drift_us);
        let shown_us = self.frozen_us.map_or(true_us, |us| us.min(true_us));
        let wall_us = (EPOCH_US + shown_us)
            .saturating_add_signed(drift_us)
            .saturating_add_signed(self.offset_us);
        Now { wall_us, mono_us }
    }

    /// The wall clock runs, and is set to the truth at `true_us` and `offset_us` besides.
    pub fn set_right(&mut self, true_us: u64, offset_us: i64) {
        self.frozen_us = None;
        let drift_us = i64::try_from(true_us).unwrap_or(i64::MAX) / 1_000_000 * self.drift_ppm;
        self.offset_us = offset_us.saturating_sub(drift_us);
    }

    /// The wall clock is set; the monotonic one does not notice.
    pub fn step(&mut self, by_us: i64) {
        self.offset_us = self.offset_us.saturating_add(by_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_move_the_wall_and_drift_moves_both() {
        let mut clock = SkewedClock {
            offset_us: 5,
            drift_ppm: -100,
            frozen_us: None,
            mono_start_us: 1_000,
        };
        let before = clock.now(1_000_000);
        assert_eq!(before.wall_us, EPOCH_US + 1_000_000 - 100 + 5);
        assert_eq!(before.mono_us, 1_000 + 1_000_000 - 100);
        clock.step(-50);
        assert_eq!(clock.now(1_000_000).wall_us, before.wall_us - 50);
        assert_eq!(clock.now(1_000_000).mono_us, before.mono_us);
    }
}
