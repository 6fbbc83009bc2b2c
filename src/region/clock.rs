//! The only place of a region that asks what time it is.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::clock::Now;

/// The process's clocks. Copies agree on the monotonic start.
#[derive(Clone, Copy, Debug)]
pub(super) struct RegionClock {
    started: Instant,
    /// Added to the wall clock, for tests of what a wrong clock does.
    offset_us: i64,
}

impl RegionClock {
    pub fn start(offset_us: i64) -> Self {
        RegionClock {
            started: Instant::now(),
            offset_us,
        }
    }

    pub fn now(self) -> Now {
        // A clock before 1970 counts as 1970: the HLC goes on from what it has seen.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            wall_us: micros(wall).saturating_add_signed(self.offset_us),
            mono_us: micros(self.started.elapsed()),
        }
    }
}

/// A duration in microseconds, as the replica counts time.
pub(super) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
