//! BatchGetItem: up to 100 items of several tables, in no order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::body::Body;
use super::get_item::{damaged, write_stored};
use crate::api::capacity::{Consumed, Direction, Report, read_units, write_string};
use crate::api::fields::{GENERICS_MISMATCH, serialization};
use crate::api::params::{
    self, Checked, ProjectionParams, Styles, Substitutes, Wording, admit_values, checked_item,
};
use crate::api::projection::{Projection, refuse_paths_into_keys};
use crate::api::throttle::{self, Held};
use crate::api::{Backend, Constraints, Fields, fields};
use crate::item::{Item, codec, size::ITEM_SIZE_MAX};
use crate::replica::catalog::TableDef;
use crate::replica::{ApiError, read};
use crate::store::ReadTxn;

const KEYS_MAX: usize = 100;
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What is read of one partition, in the sense of DynamoDB's storage: a small table is one, and so are ours.
/// It reads until it has 1 MB, in an order of its own: whatever the order, never more than this.
const PARTITION_BYTES_MAX: usize = 1024 * 1024 + ITEM_SIZE_MAX;

/// What one table is asked, its JSON types checked.
struct TableParams {
    keys: Option<Vec<(Json, Checked<Item>)>>,
    consistent: bool,
    projection: ProjectionParams,
    substitutes: Substitutes,
    raw: Map<String, Json>,
}

/// What one table is asked.
struct TableRead {
    /// Each key as it came and as it was read.
    keys: Vec<(Json, Item)>,
    consistent: bool,
    projection: Projection,
    /// The request as it came, for UnprocessedKeys.
    raw: Map<String, Json>,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let (reads, report) = admit(fields)?;
    params::snapshot(backend, |txn| {
        let mut tables = Vec::with_capacity(reads.len());
        for name in reads.keys() {
            let table = params::table(backend, txn, &short_name(name)?)?;
            tables.push(table);
        }
        answer(backend, txn, &tables, &reads, report)
    })
}

fn short_name(given: &str) -> Result<String, ApiError> {
    fields::item_table_name(Some(given.to_owned()), &mut Constraints::default())
}

fn admit(mut fields: Fields) -> Result<(BTreeMap<String, TableRead>, Report), ApiError> {
    let report = fields.string("ReturnConsumedCapacity")?;
    let requests = fields.map_of(
        "RequestItems",
        "com.amazonaws.dynamodb.v20120810.KeysAndAttributes",
    )?;
    let mut tables = BTreeMap::new();
    let given = requests.is_some();
    for (name, request) in requests.unwrap_or_default() {
        if !request.is_null() {
            tables.insert(name, take_table(request)?);
        }
    }

    let mut constraints = Constraints::default();
    params::constrain_report(report.as_deref(), &mut constraints);
    if !given {
        constraints.required::<Json>("requestItems", None);
    }
    constrain_tables(&tables, &mut constraints);
    constraints.finish()?;
    if tables.is_empty() {
        return Err(ApiError::validation(
            "The requestItems parameter is required for BatchGetItem",
        ));
    }
    admit_sizes(&tables)?;
    let mut reads = BTreeMap::new();
    for (name, table) in tables {
        short_name(&name)?;
        reads.insert(name, admit_table(table)?);
    }
    Ok((reads, params::report(report.as_deref())))
}

fn take_table(request: Json) -> Result<TableParams, ApiError> {
    let raw = request.as_object().cloned().unwrap_or_default();
    let mut fields = Fields::from_element(request, "KeysAndAttributes")?;
    let keys = match fields.list("Keys")? {
        None => None,
        Some(keys) => Some(
            keys.into_iter()
                .map(|key| Ok((key.clone(), take_key(key)?)))
                .collect::<Result<Vec<_>, ApiError>>()?,
        ),
    };
    Ok(TableParams {
        keys,
        consistent: fields.boolean("ConsistentRead")?.unwrap_or(false),
        projection: ProjectionParams::take(&mut fields)?,
        substitutes: Substitutes::names_only(&mut fields)?,
        raw,
    })
}

/// A key inside a list: a map inside generics, which DynamoDB's parser words in its own way.
fn take_key(key: Json) -> Result<Checked<Item>, ApiError> {
    match key {
        Json::Object(_) => checked_item(key),
        Json::Array(_) => Err(serialization(
            "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>",
        )),
        _ => Err(serialization(GENERICS_MISMATCH)),
    }
}

fn constrain_tables(tables: &BTreeMap<String, TableParams>, constraints: &mut Constraints) {
    for (name, table) in tables {
        let path = format!("requestItems.{name}.member.keys");
        constraints.required(&path, table.keys.as_ref());
        if let Some(keys) = &table.keys {
            constraints.count(&path, keys.len(), "'[]'", 1, usize::MAX);
        }
        table.projection.constrain(
            &format!("requestItems.{name}.member.attributesToGet"),
            constraints,
        );
    }
}

fn admit_sizes(tables: &BTreeMap<String, TableParams>) -> Result<(), ApiError> {
    let count = |table: &TableParams| table.keys.as_ref().map_or(0, Vec::len);
    if let Some((name, _)) = tables.iter().find(|(_, table)| count(table) > KEYS_MAX) {
        return Err(ApiError::validation(format!(
            "1 validation error detected: Value at 'RequestItems.{name}.member.Keys' failed to satisfy constraint: \
             Member must have length less than or equal to {KEYS_MAX}"
        )));
    }
    if tables.values().map(count).sum::<usize>() > KEYS_MAX {
        return Err(ApiError::validation(
            "Too many items requested for the BatchGetItem call",
        ));
    }
    Ok(())
}

fn admit_table(table: TableParams) -> Result<TableRead, ApiError> {
    let styles = Styles {
        expressions: &[(
            "ProjectionExpression",
            table.projection.expression.is_some(),
        )],
        legacy: &[("AttributesToGet", table.projection.attributes.is_some())],
    };
    styles.check(&table.substitutes, Wording::Bare)?;
    table.projection.refuse_duplicates()?;
    let mut placeholders = table.substitutes.placeholders(Wording::Bare)?;
    let projection = table.projection.parse(&mut placeholders)?;
    placeholders.finish()?;
    let mut keys = Vec::new();
    let mut spelled = BTreeSet::new();
    for (raw, key) in table.keys.unwrap_or_default() {
        keys.push((raw.clone(), admit_values(key, Wording::Bare)?));
        // AWS compares keys as they are spelled: `1` and `1.0` pass, and give their item once.
        if !spelled.insert(raw.to_string()) {
            return Err(ApiError::validation(
                "Provided list of item keys contains duplicates",
            ));
        }
    }
    Ok(TableRead {
        keys,
        consistent: table.consistent,
        projection,
        raw: table.raw,
    })
}

fn answer(
    backend: &dyn Backend,
    txn: &dyn ReadTxn,
    tables: &[TableDef],
    reads: &BTreeMap<String, TableRead>,
    report: Report,
) -> Result<Vec<u8>, ApiError> {
    for (table, read) in tables.iter().zip(reads.values()) {
        for (_, key) in &read.keys {
            table.keys.admit_key(key).map_err(params::key_error)?;
        }
        refuse_paths_into_keys(read.projection.paths(), table)?;
    }
    let mut body = Body::new();
    let mut budget = Budget {
        backend,
        room: ANSWER_BYTES_MAX,
        read: 0,
        refused: None,
    };
    let mut unprocessed = Map::new();
    let mut consumed = Vec::new();
    let out = body.member("Responses");
    out.push(b'{');
    for (position, (table, (name, read))) in tables.iter().zip(reads).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        let mut units = Consumed::new(&table.name);
        let rest = read_table(txn, table, read, &mut budget, &mut units, out)?;
        consumed.push(units);
        if !rest.is_empty() {
            let mut again = read.raw.clone();
            again.insert("Keys".into(), Json::Array(rest));
            unprocessed.insert(name.clone(), Json::Object(again));
        }
    }
    out.push(b'}');
    if let (0, Some(refused)) = (budget.read, budget.refused) {
        return Err(refused);
    }
    let rest = Json::Object(unprocessed).to_string();
    body.member("UnprocessedKeys")
        .extend_from_slice(rest.as_bytes());
    body.capacities(report, &consumed);
    Ok(body.finish())
}

/// What bounds the answer: its size, and the capacity of tables.
struct Budget<'b> {
    backend: &'b dyn Backend,
    room: usize,
    /// Keys that were read.
    read: usize,
    /// Why keys were refused for want of capacity.
    refused: Option<ApiError>,
}

/// Writes a table's items as a list, while there is room; returns the keys that found none.
fn read_table(
    txn: &dyn ReadTxn,
    table: &TableDef,
    request: &TableRead,
    budget: &mut Budget<'_>,
    consumed: &mut Consumed,
    out: &mut Vec<u8>,
) -> Result<Vec<Json>, ApiError> {
    let mut rest = Vec::new();
    let mut seen = BTreeSet::new();
    let mut first = true;
    let mut bytes_read: usize = 0;
    let mut held = Held::default();
    out.push(b'[');
    for (raw, key) in &request.keys {
        let key = table.keys.admit_key(key).map_err(params::key_error)?;
        if budget.room == 0 {
            rest.push(raw.clone());
            continue;
        }
        let sure = read_units(0, request.consistent);
        match throttle::admit_read(budget.backend, table, None, sure) {
            Ok(more) => held.add(more),
            Err(refused) => {
                budget.refused = Some(refused);
                rest.push(raw.clone());
                continue;
            }
        }
        budget.read += 1;
        let stored = read::get_encoded(txn, table, &key)?;
        if !seen.insert(key) {
            continue;
        }
        let size = stored
            .as_deref()
            .map(codec::item_size)
            .transpose()
            .map_err(damaged)?;
        let size = size.unwrap_or(0);
        if size > budget.room || bytes_read + size > PARTITION_BYTES_MAX {
            if size > budget.room {
                budget.room = 0;
            }
            // A key that is handed back has been looked at, and costs that.
            consumed.add_table(read_units(0, request.consistent));
            rest.push(raw.clone());
            continue;
        }
        budget.room -= size;
        bytes_read += size;
        consumed.add_table(read_units(size, request.consistent));
        if let Some(bytes) = &stored {
            if !first {
                out.push(b',');
            }
            first = false;
            write_stored(bytes, &request.projection, out)?;
        }
    }
    out.push(b']');
    throttle::settle(budget.backend, table, &held, consumed, Direction::Read);
    Ok(rest)
}
