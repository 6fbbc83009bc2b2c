//! A stream's label: when it was enabled, in UTC (streams-ttl-backup.md section 1.1).

use crate::clock::calendar;

/// A time as `2026-11-23T10:00:00.000`. Labels sort as their times do.
pub fn label(us: u64) -> String {
    calendar::date_time(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_dates() {
        assert_eq!(label(0), "1970-01-01T00:00:00.000");
        assert_eq!(label(951_782_400_123_456), "2000-02-29T00:00:00.123");
        assert_eq!(label(1_795_392_000_000_000), "2026-11-23T00:00:00.000");
    }
}
