//! Consumed capacity: how many units a request is charged and how it is reported (values-and-keys.md
//! section 6, api.md section 2).
//!
//! Clients budget by these numbers, and `throttle` charges them, so they are computed as DynamoDB computes
//! them: from the sizes of whole items, before any projection.

use std::collections::BTreeMap;

use crate::replica::catalog::{IndexKind, TableDef};

const READ_UNIT_BYTES: usize = 4096;
const WRITE_UNIT_BYTES: usize = 1024;

/// A transaction prepares and commits, so its table part is charged twice.
pub(crate) const TRANSACTION_FACTOR: f64 = 2.0;

/// The `ReturnConsumedCapacity` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Report {
    #[default]
    None,
    Total,
    Indexes,
}

/// Which way the units of a transaction went; ordinary requests do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// What one request consumed of one table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Consumed {
    table_name: String,
    table: f64,
    indexes: BTreeMap<String, (IndexKind, f64)>,
    direction: Option<Direction>,
}

/// Units of reading `bytes`: halves for eventually consistent reads, never less than one step.
pub(crate) fn read_units(bytes: usize, consistent: bool) -> f64 {
    let whole = units(bytes, READ_UNIT_BYTES);
    if consistent { whole } else { whole / 2.0 }
}

/// Units of a write whose larger image has `bytes` (0 = there is no item before or after).
pub(crate) fn write_units(bytes: usize) -> f64 {
    units(bytes, WRITE_UNIT_BYTES)
}

fn units(bytes: usize, unit: usize) -> f64 {
    let whole = bytes.div_ceil(unit).max(1);
    // No request touches 2^32 units: pages and items are bounded.
    f64::from(u32::try_from(whole).unwrap_or(u32::MAX))
}

impl Consumed {
    pub(crate) fn new(table_name: &str) -> Self {
        Consumed {
            table_name: table_name.to_owned(),
            table: 0.0,
            indexes: BTreeMap::new(),
            direction: None,
        }
    }

    /// The same for a transaction, which also names the direction of its units.
    pub(crate) fn transactional(table_name: &str, direction: Direction) -> Self {
        Consumed {
            direction: Some(direction),
            ..Consumed::new(table_name)
        }
    }

    pub(crate) fn add_table(&mut self, units: f64) {
        self.table += units;
    }

    pub(crate) fn add_index(&mut self, name: &str, kind: IndexKind, units: f64) {
        self.indexes.entry(name.to_owned()).or_insert((kind, 0.0)).1 += units;
    }

    /// Adds the units of index entries that a write changed, by index name.
    pub(crate) fn add_indexes(&mut self, table: &TableDef, units: &BTreeMap<String, f64>) {
        for (name, units) in units {
            if let Some(index) = table.index(name) {
                self.add_index(name, index.kind, *units);
            }
        }
    }

    /// Adds what another part of the same request consumed.
    pub(crate) fn add(&mut self, other: &Consumed) {
        self.table += other.table;
        for (name, (kind, units)) in &other.indexes {
            self.add_index(name, *kind, *units);
        }
    }

    /// What the table itself consumed.
    pub(crate) fn of_table(&self) -> f64 {
        self.table
    }

    /// What each index consumed.
    pub(crate) fn of_indexes(&self) -> impl Iterator<Item = (&str, f64)> {
        self.indexes
            .iter()
            .map(|(name, (_, units))| (name.as_str(), *units))
    }

    fn total(&self) -> f64 {
        self.table + self.indexes.values().map(|(_, units)| units).sum::<f64>()
    }

    /// Writes the `ConsumedCapacity` structure. Call it only when a report was asked for.
    pub(crate) fn write(&self, report: Report, out: &mut Vec<u8>) {
        assert!(
            report != Report::None,
            "capacity is written only when asked for"
        );
        out.extend_from_slice(b"{\"TableName\":");
        write_string(&self.table_name, out);
        out.push(b',');
        self.write_units(self.total(), out);
        if report == Report::Indexes {
            out.extend_from_slice(b",\"Table\":{");
            self.write_units(self.table, out);
            out.push(b'}');
            self.write_indexes("GlobalSecondaryIndexes", IndexKind::Global, out);
            self.write_indexes("LocalSecondaryIndexes", IndexKind::Local, out);
        }
        out.push(b'}');
    }

    fn write_indexes(&self, member: &str, kind: IndexKind, out: &mut Vec<u8>) {
        let mut first = true;
        for (name, (_, units)) in self.indexes.iter().filter(|(_, (k, _))| *k == kind) {
            if first {
                out.push(b',');
                write_string(member, out);
                out.extend_from_slice(b":{");
            } else {
                out.push(b',');
            }
            first = false;
            write_string(name, out);
            out.extend_from_slice(b":{");
            self.write_units(*units, out);
            out.push(b'}');
        }
        if !first {
            out.push(b'}');
        }
    }

    fn write_units(&self, units: f64, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("\"CapacityUnits\":{units:.1}").as_bytes());
        match self.direction {
            Some(Direction::Read) => {
                out.extend_from_slice(format!(",\"ReadCapacityUnits\":{units:.1}").as_bytes());
            }
            Some(Direction::Write) => {
                out.extend_from_slice(format!(",\"WriteCapacityUnits\":{units:.1}").as_bytes());
            }
            None => {}
        }
    }
}

/// Writes `text` as a JSON string.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    // Writing a string to memory cannot fail.
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "a string is always JSON");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(consumed: &Consumed, report: Report) -> serde_json::Value {
        let mut out = Vec::new();
        consumed.write(report, &mut out);
        serde_json::from_slice(&out).expect("valid JSON")
    }

    #[test]
    fn units_round_up_and_never_vanish() {
        assert_eq!(read_units(0, true), 1.0);
        assert_eq!(read_units(0, false), 0.5);
        assert_eq!(read_units(4096, true), 1.0);
        assert_eq!(read_units(4097, false), 1.0);
        assert_eq!(write_units(0), 1.0);
        assert_eq!(write_units(1025), 2.0);
    }

    #[test]
    fn total_sums_table_and_indexes() {
        let mut consumed = Consumed::new("t");
        consumed.add_table(2.0);
        consumed.add_index("g", IndexKind::Global, 1.0);
        consumed.add_index("l", IndexKind::Local, 1.0);
        assert_eq!(
            json(&consumed, Report::Total),
            serde_json::json!({"TableName": "t", "CapacityUnits": 4.0})
        );
        assert_eq!(
            json(&consumed, Report::Indexes),
            serde_json::json!({"TableName": "t", "CapacityUnits": 4.0, "Table": {"CapacityUnits": 2.0},
                "GlobalSecondaryIndexes": {"g": {"CapacityUnits": 1.0}},
                "LocalSecondaryIndexes": {"l": {"CapacityUnits": 1.0}}})
        );
    }

    #[test]
    fn transactions_name_the_direction() {
        let mut consumed = Consumed::transactional("t", Direction::Write);
        consumed.add_table(2.0);
        assert_eq!(
            json(&consumed, Report::Total),
            serde_json::json!({"TableName": "t", "CapacityUnits": 2.0, "WriteCapacityUnits": 2.0})
        );
    }
}
