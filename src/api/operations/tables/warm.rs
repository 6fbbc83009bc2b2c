//! Warm throughput (api.md section 4): what a table could take at once, on AWS. Recorded and echoed; like
//! there it only grows, with the highest throughput ever provisioned too.

use serde_json::{Value, json};

use super::settings::{Pair, recorded, set};
use super::{ApiError, invalid};
use crate::replica::catalog::{IndexDef, IndexKind, TableDef};

pub(super) const MEMBER: &str = "WarmThroughput";
pub(super) const NAMES: [&str; 2] = ["ReadUnitsPerSecond", "WriteUnitsPerSecond"];
/// What an on-demand table begins with.
const ON_DEMAND: (u64, u64) = (12_000, 4_000);
const GUIDE: &str =
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput.html";

fn key(index: Option<&str>) -> String {
    index.map_or_else(|| MEMBER.to_owned(), |index| format!("{MEMBER}/{index}"))
}

fn owner(index: Option<&str>) -> String {
    index.map_or_else(|| "table".into(), |index| format!("index {index}"))
}

/// What billing mode and throughput alone give.
fn initial(def: &TableDef, index: Option<&IndexDef>) -> (u64, u64) {
    match def.throughput {
        None => ON_DEMAND,
        Some(units) => index.map_or(units, |i| i.throughput.unwrap_or(units)),
    }
}

/// The warm throughput of a table or GSI.
pub(super) fn of(def: &TableDef, index: Option<&IndexDef>) -> (u64, u64) {
    let (read, write) = initial(def, index);
    let kept = recorded(def, &key(index.map(|i| i.name.as_str())));
    let part = |name: &str| {
        kept.as_ref()
            .and_then(|k| k.get(name))
            .and_then(Value::as_u64)
    };
    let [read_name, write_name] = NAMES;
    (
        part(read_name).map_or(read, |n| n.max(read)),
        part(write_name).map_or(write, |n| n.max(write)),
    )
}

/// Of CreateTable: not below what the table has anyway.
pub(super) fn create(
    def: &mut TableDef,
    index: Option<&str>,
    given: &Pair,
) -> Result<(), ApiError> {
    let of_index = index.and_then(|name| def.index(name)).cloned();
    let (read, write) = initial(def, of_index.as_ref());
    for ((name, value), floor) in given.units(NAMES).into_iter().zip([read, write]) {
        if value.is_some_and(|value| value < floor) {
            let owner = owner(index);
            let than = if def.throughput.is_none() {
                format!("initial throughput for OnDemand. See: {GUIDE}")
            } else if name.starts_with("Read") {
                "ReadCapacityUnits of ProvisionedThroughput".into()
            } else {
                "WriteCapacityUnits of ProvisionedThroughput".into()
            };
            return Err(invalid(format!(
                "Requested {name} for WarmThroughput for {owner} is lower than {than}"
            )));
        }
    }
    keep(def, index, given, (read, write));
    Ok(())
}

/// Of UpdateTable: it only grows; what is not sent stays.
pub(super) fn grow(def: &mut TableDef, index: Option<&str>, given: &Pair) -> Result<(), ApiError> {
    let of_index = index.and_then(|name| def.index(name)).cloned();
    let current = of(def, of_index.as_ref());
    for ((name, value), floor) in given.units(NAMES).into_iter().zip([current.0, current.1]) {
        if value.is_some_and(|value| value < floor) {
            let owner = owner(index);
            return Err(invalid(format!(
                "Requested {name} for WarmThroughput for {owner} is lower than current WarmThroughput, \
                 decreasing WarmThroughput is not supported"
            )));
        }
    }
    keep(def, index, given, current);
    Ok(())
}

fn keep(def: &mut TableDef, index: Option<&str>, given: &Pair, (read, write): (u64, u64)) {
    let [(read_name, new_read), (write_name, new_write)] = given.units(NAMES);
    set(
        def,
        &key(index),
        json!({read_name: new_read.unwrap_or(read), write_name: new_write.unwrap_or(write)}),
    );
}

/// Keeps in `def` what was reached in `before`, whose throughput or billing mode was another.
pub(super) fn carry(before: &TableDef, def: &mut TableDef) {
    let global = |i: &&IndexDef| i.kind == IndexKind::Global;
    let mut owners: Vec<Option<IndexDef>> = vec![None];
    owners.extend(def.indexes.iter().filter(global).cloned().map(Some));
    for owner in owners {
        let name = owner.as_ref().map(|i| i.name.as_str());
        let (was_read, was_write) = of(before, name.and_then(|n| before.index(n)));
        let (read, write) = of(def, owner.as_ref());
        if (was_read, was_write) != (read, write) {
            let [read_name, write_name] = NAMES;
            let reached = json!({read_name: read.max(was_read), write_name: write.max(was_write)});
            set(def, &key(name), reached);
        }
    }
}

/// As descriptions show it.
pub(super) fn describe(def: &TableDef, index: Option<&IndexDef>) -> Value {
    let (read, write) = of(def, index);
    let [read_name, write_name] = NAMES;
    json!({read_name: read, write_name: write, "Status": "ACTIVE"})
}
