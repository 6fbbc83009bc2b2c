//! A stream's label: when it was enabled, in UTC (streams-ttl-backup.md section 1.1).

/// A time as `2026-11-23T10:00:00.000`. Labels sort as their times do.
pub fn label(us: u64) -> String {
    let (days, in_day) = (us / 86_400_000_000, us % 86_400_000_000);
    let (year, month, day) = civil(days);
    let seconds = in_day / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let milli = in_day / 1000 % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}")
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level
/// date algorithms").
pub fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
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
