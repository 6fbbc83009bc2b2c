//! When a region takes no writes of its own: its clock is ahead of the others' (replication.md section 3), or it
//! has long not reached a majority of them (section 10). Reads and replication go on.

use super::{ApiError, Replica};
use crate::clock::Now;
use crate::clock::policy::FenceLine;

impl Replica {
    /// Replication measured where the others' clocks are. Not within a group: what a group and its
    /// watermark take for the time must be one.
    pub fn set_fence(&mut self, line: FenceLine) {
        self.fence = Some(line);
    }

    /// Whether this region has not reached a majority for so long that it takes no writes: the others may
    /// have gone on without it. Not within a group.
    pub fn set_cut_off(&mut self, cut_off: bool) {
        self.cut_off = cut_off;
    }

    /// Whether it takes no writes for that.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// Whether silent members hold back more of the log than there may be. Not within a group.
    pub fn set_throttled(&mut self, throttled: bool) {
        self.throttled = throttled;
    }

    /// By how much this region's clock is ahead, when that is so much that local writes are fenced.
    pub fn fenced(&self, now: Now) -> Option<u64> {
        self.fence.and_then(|line| line.ahead_us(now))
    }

    /// The time to go by: the others' while ours is fenced, for what is stamped all the same (watermarks, tables that
    /// travel again).
    pub fn trusted(&self, now: Now) -> Now {
        match self.fence.filter(|line| line.ahead_us(now).is_some()) {
            Some(line) => Now {
                wall_us: line.others_us(now),
                ..now
            },
            None => now,
        }
    }
}

/// What a write meets while the clock is ahead. Retryable.
pub(super) fn ahead(by_us: Option<u64>) -> ApiError {
    let by_ms = by_us.unwrap_or(0) / 1_000;
    ApiError::ServiceUnavailable(format!(
        "The clock of this region is {by_ms} ms ahead of the other regions, so it takes no writes: they would \
         win over later ones. Set the clock right (look at NTP); writes go on by themselves then. Reads and \
         replication go on; other regions take writes."
    ))
}

/// What a write meets while no majority is reached. Retryable.
pub(super) fn cut_off() -> ApiError {
    ApiError::ServiceUnavailable(
        "This region has long not reached a majority of the regions, so it takes no writes: the others may have \
         gone on without it. Mend its links; writes go on by themselves then. Reads go on; other regions take \
         writes."
            .to_owned(),
    )
}

/// What a write meets in a region that the others have given up. Retryable.
pub(super) fn lapsed() -> ApiError {
    ApiError::ServiceUnavailable(
        "This region was silent for so long that the others went on without it. It hands over what only it has, \
         then it is given everything and serves again. Use another region meanwhile."
            .to_owned(),
    )
}

/// What a write meets while silent members hold back more of the log than there may be. Retryable.
pub(super) fn log_full() -> ApiError {
    ApiError::Throttling(
        "The log holds more for a silent region than --log-max-bytes allows. Start that region or mend its links, or \
         give it up (`meridian region lapse`); writes go on by themselves then."
            .to_owned(),
    )
}
