//! Dates as SigV4 writes them: `20261124T123000Z`.

use crate::clock::calendar;

/// How far a request's date may be from ours, either way.
const SKEW_SECONDS: u64 = 15 * 60;

/// Seconds since 1970 of a date in ISO 8601's basic format; `None` if it is none.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let digits = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(date, 8) || !digits(time, 6) {
        return None;
    }
    let number = |part: &str, from: usize, to: usize| part.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (
        number(date, 0, 4)?,
        number(date, 4, 6)?,
        number(date, 6, 8)?,
    );
    let (hour, minute, second) = (
        number(time, 0, 2)?,
        number(time, 2, 4)?,
        number(time, 4, 6)?,
    );
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = calendar::days_since_1970(year, month, day)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Seconds since 1970 as a date.
pub(super) fn format(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = calendar::civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Why a request with this date is not taken now, in AWS's words.
pub(super) fn out_of_time(date: &str, seconds: u64, now: u64) -> Option<String> {
    let oldest = now.saturating_sub(SKEW_SECONDS);
    let newest = now.saturating_add(SKEW_SECONDS);
    if seconds < oldest {
        Some(format!(
            "Signature expired: {date} is now earlier than {} ({} - 15 min.)",
            format(oldest),
            format(now)
        ))
    } else if seconds > newest {
        Some(format!(
            "Signature not yet current: {date} is still later than {} ({} + 15 min.)",
            format(newest),
            format(now)
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (1_795_392_000, "20261123T000000Z"),
            (33_136_131_661, "30200117T010101Z"),
        ] {
            assert_eq!(format(seconds), text);
            assert_eq!(parse(text), Some(seconds));
        }
        for bad in [
            "",
            "20261123",
            "20261123T000000",
            "20261323T000000Z",
            "20261123T240000Z",
            "2026-11-23T00:00:00Z",
            "19691231T235959Z",
            "+2026123T000000Z",
            "20261123T00000\u{660}Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn fifteen_minutes_either_way() {
        let now = parse("20261123T120000Z").unwrap();
        let at = |text: &str| out_of_time(text, parse(text).unwrap(), now);
        assert_eq!(at("20261123T114500Z"), None);
        assert_eq!(at("20261123T121500Z"), None);
        assert_eq!(
            at("20261123T114459Z").unwrap(),
            "Signature expired: 20261123T114459Z is now earlier than 20261123T114500Z (20261123T120000Z - 15 min.)"
        );
        assert_eq!(
            at("20261123T121501Z").unwrap(),
            "Signature not yet current: 20261123T121501Z is still later than 20261123T121500Z (20261123T120000Z + 15 min.)"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0_u64..200_000_000_000) {
            prop_assert_eq!(parse(&format(seconds)), Some(seconds));
        }

        #[test]
        fn any_text_is_a_date_or_none(text in ".{0,20}") {
            let _ = parse(&text);
        }
    }
}
