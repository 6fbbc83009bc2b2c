//! What a run would come to at AWS list prices, for comparison: transfer between regions, and what DynamoDB
//! would bill for the same writes. The file of the prices says which of them were checked, and against what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::figures::LinkFigures;
use super::plan::{Operation, OperationKind};

const PRICES: &str = include_str!("world-data/aws-list-prices.csv");
/// What the report calls the prices.
pub const WHAT: &str = "list prices, about 2025";
/// A month as AWS counts it: 730 hours.
const MONTH_US: u64 = 730 * 3_600 * 1_000_000;
/// What an item of the simulator's has besides its padding: its key and its few attributes.
const ATTRIBUTES_BYTES: u64 = 60;

/// Prices of one region, in millionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    pub transfer_microusd_per_gb: Option<u64>,
    pub rwru_microusd_per_million: Option<u64>,
}

/// What a region sends and writes, as if the run went on for a month. Absent: the price is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub region: String,
    /// To all other regions.
    pub bytes_sent: u64,
    pub bytes_sent_per_month: u64,
    pub transfer_microusd_per_month: Option<u64>,
    /// What DynamoDB counts for a replica here: one for each KB of each item written in any region, two for
    /// each of a transaction that was asked here.
    pub replicated_write_units: u64,
    pub replicated_write_units_per_month: u64,
    pub dynamodb_writes_microusd_per_month: Option<u64>,
}

/// The list prices of the regions that AWS has, and of pairs of them that have their own.
#[derive(Debug)]
pub struct Prices {
    rows: BTreeMap<&'static str, Price>,
}

impl Prices {
    pub fn aws() -> Prices {
        let lines = PRICES.lines().filter(|line| !line.starts_with('#'));
        Prices {
            rows: lines.skip(1).filter_map(row).collect(),
        }
    }

    pub fn of(&self, region: &str) -> Price {
        self.rows.get(region).copied().unwrap_or_default()
    }

    /// What a link costs in a month. Absent: nobody knows the price.
    pub fn link(&self, from: &str, to: &str, bytes_per_month: u64) -> Option<u64> {
        let pair = self.rows.get(format!("{from}/{to}").as_str());
        let price = pair.copied().unwrap_or_else(|| self.of(from));
        Some(scaled(
            bytes_per_month,
            price.transfer_microusd_per_gb?,
            1_000_000_000,
        ))
    }
}

fn row(line: &'static str) -> Option<(&'static str, Price)> {
    let mut fields = line.split(',');
    let region = fields.next()?;
    let (transfer, _, rwru) = (fields.next()?, fields.next()?, fields.next()?);
    let price = Price {
        transfer_microusd_per_gb: micros(transfer),
        rwru_microusd_per_million: micros(rwru),
    };
    Some((region, price))
}

/// A decimal as millionths.
fn micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some(whole.parse::<u64>().ok()? * 1_000_000 + fraction.parse::<u64>().ok()?)
}

/// `value * times / of`, which fits wherever a month's figures do.
fn scaled(value: u64, times: u64, of: u64) -> u64 {
    let wide = u128::from(value) * u128::from(times) / u128::from(of.max(1));
    u64::try_from(wide).unwrap_or(u64::MAX)
}

/// What happened in `virtual_us`, if it went on for a month.
pub fn per_month(value: u64, virtual_us: u64) -> u64 {
    scaled(value, MONTH_US, virtual_us)
}

/// The units that an acknowledged write counts in its own region, and in each other.
pub fn write_units(operation: &Operation, cohort_keys: u32) -> (u64, u64) {
    let padding = match operation.kind {
        OperationKind::Put { padding, .. } => padding.max(operation.bytes),
        _ => operation.bytes,
    };
    let bytes = u64::try_from(padding)
        .unwrap_or(u64::MAX)
        .saturating_add(ATTRIBUTES_BYTES);
    let units = bytes.div_ceil(1_024);
    match operation.kind {
        OperationKind::Transaction { .. } => {
            let all = units * u64::from(cohort_keys);
            (2 * all, all)
        }
        OperationKind::Put { .. }
        | OperationKind::PutIfAbsent { .. }
        | OperationKind::Update { .. }
        | OperationKind::Delete { .. }
        | OperationKind::PutExpiring { .. }
        | OperationKind::Refresh { .. }
        | OperationKind::Merge { .. } => (units, units),
        _ => (0, 0),
    }
}

/// The costs of every region. `units` are those counted in each.
pub fn costs(
    regions: &[String],
    links: &[LinkFigures],
    units: &BTreeMap<usize, u64>,
    virtual_us: u64,
) -> Vec<Cost> {
    let prices = Prices::aws();
    let cost = |(at, region): (usize, &String)| {
        let from_here = || links.iter().filter(|link| link.from == *region);
        let bytes_sent = from_here().map(LinkFigures::bytes).sum();
        let transfer = from_here().map(|link| link.transfer_microusd_per_month);
        let units = units.get(&at).copied().unwrap_or(0);
        let units_month = per_month(units, virtual_us);
        let price = prices.of(region).rwru_microusd_per_million;
        Cost {
            region: region.clone(),
            bytes_sent,
            bytes_sent_per_month: per_month(bytes_sent, virtual_us),
            transfer_microusd_per_month: transfer.sum(),
            replicated_write_units: units,
            replicated_write_units_per_month: units_month,
            dynamodb_writes_microusd_per_month: price
                .map(|price| scaled(units_month, price, 1_000_000)),
        }
    };
    regions.iter().enumerate().map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::super::geography::Geography;
    use super::*;

    #[test]
    fn prices_are_of_regions_that_are_there() {
        let prices = Prices::aws();
        let known = Geography::aws().names();
        for region in prices.rows.keys() {
            assert!(
                region.split('/').all(|part| known.contains(&part)),
                "{region}"
            );
        }
        assert_eq!(
            prices.of("us-east-1").transfer_microusd_per_gb,
            Some(20_000)
        );
        assert_eq!(
            prices.of("eu-central-1").rwru_microusd_per_million,
            Some(762_500)
        );
        assert_eq!(prices.of("ap-southeast-4"), Price::default());
    }

    #[test]
    fn a_month_of_a_link_is_priced_by_its_source() {
        let prices = Prices::aws();
        // 100 GB.
        let month = |from: &str, to: &str| prices.link(from, to, 100_000_000_000);
        assert_eq!(month("us-east-1", "eu-west-1"), Some(2_000_000));
        assert_eq!(month("us-east-1", "us-east-2"), Some(1_000_000));
        assert_eq!(month("sa-east-1", "us-east-1"), Some(13_800_000));
        assert_eq!(month("mars", "us-east-1"), None);
        assert_eq!(per_month(1, 3_600_000_000), 730);
    }

    #[test]
    fn units_are_kilobytes_begun() {
        let write = |bytes: usize, kind: OperationKind| Operation {
            id: 1,
            client: 0,
            region: 0,
            way: None,
            bytes,
            kind,
        };
        let (key, index) = (1, None);
        assert_eq!(
            write_units(&write(100, OperationKind::Update { key, index }), 3),
            (1, 1)
        );
        assert_eq!(
            write_units(&write(1_000, OperationKind::Delete { key }), 3),
            (2, 2)
        );
        let transaction = OperationKind::Transaction {
            cohort: 0,
            order: vec![0, 1, 2],
        };
        assert_eq!(write_units(&write(100, transaction), 3), (6, 3));
        assert_eq!(
            write_units(&write(100, OperationKind::Read { key }), 3),
            (0, 0)
        );
    }
}
