//! How far apart regions are: measured round trips between AWS regions.
//!
//! The figures are CloudPing.co's (MIT, Matt Adorjan): p50 and p90 of TCP connects over the year to July
//! 2025, as shipped in the crate `commonware-estimator` 2026.10.0 (MIT OR Apache-2.0). One way is half a
//! round trip, and its spread half of p90 - p50.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const ROUND_TRIPS: &str = include_str!("aws-inter-region-rtt.csv");

/// One direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// The median, microseconds.
    pub base_us: u64,
    /// What nine of ten frames stay within beyond it, microseconds.
    pub spread_us: u64,
    /// 0: no limit.
    #[serde(default)]
    pub bytes_per_second: u64,
    /// Of a million packets, how many are lost.
    #[serde(default)]
    pub loss_ppm: u64,
}

/// The distances of all known regions.
#[derive(Debug)]
pub struct Geography {
    delays: BTreeMap<(&'static str, &'static str), Delay>,
}

impl Geography {
    /// The 33 AWS regions.
    pub fn aws() -> Self {
        let rows = ROUND_TRIPS.lines().skip(1).filter_map(row);
        Geography {
            delays: rows.collect(),
        }
    }

    /// Every region's name, in order.
    pub fn names(&self) -> Vec<&'static str> {
        let on_diagonal = self.delays.keys().filter(|(from, to)| from == to);
        on_diagonal.map(|(from, _)| *from).collect()
    }

    /// The delay from one region to another, if both are known.
    pub fn delay(&self, from: &str, to: &str) -> Option<Delay> {
        let key = self.delays.range((from, to)..).next();
        key.filter(|(names, _)| **names == (from, to))
            .map(|(_, delay)| *delay)
    }
}

fn row(line: &'static str) -> Option<((&'static str, &'static str), Delay)> {
    let mut fields = line.split(',');
    let (from, to) = (fields.next()?, fields.next()?);
    let (p50_us, p90_us) = (micros(fields.next()?)?, micros(fields.next()?)?);
    let delay = Delay {
        base_us: p50_us / 2,
        spread_us: p90_us.saturating_sub(p50_us) / 2,
        ..Delay::default()
    };
    Some(((from, to), delay))
}

/// Milliseconds with decimals as microseconds, without floating point.
fn micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some(whole.parse::<u64>().ok()? * 1_000 + fraction.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_33_regions_has_a_delay() {
        let aws = Geography::aws();
        let names = aws.names();
        assert_eq!(names.len(), 33);
        for from in &names {
            for to in &names {
                assert!(aws.delay(from, to).is_some(), "{from} to {to}");
            }
        }
        let ireland = aws.delay("us-east-1", "eu-west-1").unwrap();
        assert!((30_000..40_000).contains(&ireland.base_us), "{ireland:?}");
        assert_eq!(aws.delay("us-east-1", "mars"), None);
    }

    #[test]
    fn milliseconds_are_read_exactly() {
        assert_eq!(micros("347.55"), Some(347_550));
        assert_eq!(micros("4.4"), Some(4_400));
        assert_eq!(micros("12"), Some(12_000));
        assert_eq!(micros("x"), None);
    }
}
