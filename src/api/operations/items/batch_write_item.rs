//! BatchWriteItem: up to 25 unconditional puts and deletes. Everything is validated before anything is
//! written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::body::{Body, write_list};
use super::metrics::Collections;
use super::put_item::refuse_oversize;
use super::writes;
use crate::api::capacity::{Consumed, Direction, Report, write_string};
use crate::api::fields::{GENERICS_MISMATCH, serialization};
use crate::api::params::{self, Checked, Wording, admit_values, item_member};
use crate::api::throttle::{self, Held};
use crate::api::{Backend, Constraints, Fields, enums, fields};
use crate::item::{Item, KeyError, json};
use crate::replica::ApiError;
use crate::replica::catalog::TableDef;
use crate::replica::request::{ItemOutcome, ItemWrite, WriteAction, WriteRequest, WriteResponse};

const WRITES_MAX: usize = 25;

/// One element of the request, its JSON types checked.
#[derive(Default)]
struct WriteParams {
    put: Option<Option<Checked<Item>>>,
    delete: Option<Option<Checked<Item>>>,
}

struct TableParams {
    writes: Vec<WriteParams>,
    /// How the list prints in a constraint violation.
    shown: String,
}

struct Request {
    writes: Vec<ItemWrite>,
    report: Report,
    metrics: bool,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let request = admit(fields)?;
    let tables = params::snapshot(backend, |txn| {
        let mut tables = BTreeMap::new();
        for write in &request.writes {
            if !tables.contains_key(&write.table) {
                tables.insert(
                    write.table.clone(),
                    params::table(backend, txn, &write.table)?,
                );
            }
        }
        admit_keys(&request.writes, &tables)?;
        Ok(tables)
    })?;
    let (writes, unprocessed, held) = within_capacity(backend, request.writes, &tables)?;
    let written: Vec<_> = addressed(&writes, &tables)
        .map(|(table, item)| (table.name.clone(), table.keys.key_of(item)))
        .collect();
    let names: Vec<String> = writes.iter().map(|write| write.table.clone()).collect();
    let outcomes = match backend.write(WriteRequest::Batch(writes)).await? {
        WriteResponse::Items(outcomes) => outcomes,
        other => return Err(params::unexpected(&other)),
    };
    let mut collections = Collections::default();
    for ((name, key), outcome) in written.iter().zip(&outcomes) {
        if let Some(table) = tables.get(name) {
            collections.add(table, key, outcome.collection_bytes);
        }
    }
    let mut body = Body::new();
    let consumed = consumed(&names, &outcomes, &tables);
    for (name, units) in &consumed {
        if let Some(table) = tables.get(name) {
            throttle::settle(backend, table, &held, units, Direction::Write);
        }
    }
    write_unprocessed(&unprocessed, body.member("UnprocessedItems"));
    if request.metrics && !collections.is_empty() {
        collections.write(body.member("ItemCollectionMetrics"));
    }
    body.capacities(request.report, consumed.values());
    Ok(body.finish())
}

/// The writes that may have the capacity they need, those that may not, and what is held for the first. All
/// refused is an error.
fn within_capacity(
    backend: &dyn Backend,
    writes: Vec<ItemWrite>,
    tables: &BTreeMap<String, TableDef>,
) -> Result<(Vec<ItemWrite>, Vec<ItemWrite>, Held), ApiError> {
    let (mut admitted, mut refused) = (Vec::new(), Vec::new());
    let mut held = Held::default();
    let mut reason = None;
    for write in writes {
        let table = tables
            .get(&write.table)
            .ok_or_else(ApiError::resource_not_found)?;
        match throttle::admit_write(backend, table, &write.action, 1.0) {
            Ok(more) => {
                held.add(more);
                admitted.push(write);
            }
            Err(error) => {
                reason = Some(error);
                refused.push(write);
            }
        }
    }
    match reason {
        Some(error) if admitted.is_empty() => Err(error),
        _ => Ok((admitted, refused, held)),
    }
}

/// Writes of UnprocessedItems, to be sent again as they are.
fn write_unprocessed(writes: &[ItemWrite], out: &mut Vec<u8>) {
    let mut by_table: BTreeMap<&str, Vec<&ItemWrite>> = BTreeMap::new();
    for write in writes {
        by_table.entry(&write.table).or_default().push(write);
    }
    out.push(b'{');
    for (position, (table, writes)) in by_table.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_string(table, out);
        out.push(b':');
        write_list(out, writes, |out, write| {
            let (kind, member) = match write.action {
                WriteAction::Put { .. } => ("PutRequest", "Item"),
                _ => ("DeleteRequest", "Key"),
            };
            out.extend_from_slice(format!("{{\"{kind}\":{{\"{member}\":").as_bytes());
            json::write_item(target(&write.action), out);
            out.extend_from_slice(b"}}");
        });
    }
    out.push(b'}');
}

fn admit(mut fields: Fields) -> Result<Request, ApiError> {
    let report = fields.string("ReturnConsumedCapacity")?;
    let metrics = fields.string("ReturnItemCollectionMetrics")?;
    let requests = fields.map_of(
        "RequestItems",
        "java.util.List<com.amazonaws.dynamodb.v20120810.WriteRequest>",
    )?;
    let given = requests.is_some();
    let mut tables = BTreeMap::new();
    for (name, list) in requests.unwrap_or_default() {
        if !list.is_null() {
            tables.insert(name, take_table(list)?);
        }
    }

    let mut constraints = Constraints::default();
    params::constrain_report(report.as_deref(), &mut constraints);
    constraints.one_of(
        "returnItemCollectionMetrics",
        metrics.as_deref(),
        enums::RETURN_ITEM_COLLECTION_METRICS,
    );
    if !given {
        constraints.required::<Json>("requestItems", None);
    }
    constrain_tables(&tables, &mut constraints);
    constraints.finish()?;
    if tables.is_empty() {
        return Err(ApiError::validation(
            "The requestItems parameter is required for BatchWriteItem",
        ));
    }
    if tables
        .values()
        .map(|table| table.writes.len())
        .sum::<usize>()
        > WRITES_MAX
    {
        return Err(ApiError::validation(
            "Too many items requested for the BatchWriteItem call",
        ));
    }
    let mut writes = Vec::new();
    for (name, table) in tables {
        let name = fields::item_table_name(Some(name), &mut Constraints::default())?;
        for write in table.writes {
            writes.push(admit_write(&name, write)?);
        }
    }
    Ok(Request {
        writes,
        report: params::report(report.as_deref()),
        metrics: metrics.as_deref() == Some("SIZE"),
    })
}

fn take_table(list: Json) -> Result<TableParams, ApiError> {
    let Json::Array(elements) = list else {
        return Err(serialization(match list {
            Json::Object(_) => "Start of structure or map found where not expected",
            _ => GENERICS_MISMATCH,
        }));
    };
    let shown = params::shown_list(&elements, WRITES_MAX);
    let writes = elements
        .into_iter()
        .map(take_write)
        .collect::<Result<_, _>>()?;
    Ok(TableParams { writes, shown })
}

fn take_write(element: Json) -> Result<WriteParams, ApiError> {
    if element.is_null() {
        return Ok(WriteParams::default());
    }
    let mut fields = Fields::from_element(element, "WriteRequest")?;
    let put = match fields.structure("PutRequest", "PutRequest")? {
        Some(mut put) => Some(item_member(&mut put, "Item")?),
        None => None,
    };
    let delete = match fields.structure("DeleteRequest", "DeleteRequest")? {
        Some(mut delete) => Some(item_member(&mut delete, "Key")?),
        None => None,
    };
    Ok(WriteParams { put, delete })
}

fn constrain_tables(tables: &BTreeMap<String, TableParams>, constraints: &mut Constraints) {
    for (name, table) in tables {
        for (position, write) in table.writes.iter().enumerate() {
            let path = format!("requestItems.{name}.member.{}.member", position + 1);
            if let Some(delete) = &write.delete {
                constraints.required(&format!("{path}.deleteRequest.key"), delete.as_ref());
            }
            if let Some(put) = &write.put {
                constraints.required(&format!("{path}.putRequest.item"), put.as_ref());
            }
        }
    }
    let wrong = |table: &TableParams| !(1..=WRITES_MAX).contains(&table.writes.len());
    if tables.values().any(wrong) {
        let shown: Vec<_> = tables
            .iter()
            .map(|(name, table)| format!("{name}={}", table.shown.trim_matches('\'')))
            .collect();
        constraints.violate(
            format!("'{{{}}}'", shown.join(", ")),
            "requestItems",
            format!(
                "Map value must satisfy constraint: [Member must have length less than or equal to {WRITES_MAX}, \
                 Member must have length greater than or equal to 1]"
            ),
        );
    }
}

fn admit_write(table: &str, write: WriteParams) -> Result<ItemWrite, ApiError> {
    let action = match (write.put.flatten(), write.delete.flatten()) {
        (Some(item), None) => {
            let item = admit_values(item, Wording::Bare)?;
            refuse_oversize(&item)?;
            WriteAction::Put { item }
        }
        (None, Some(key)) => WriteAction::Delete {
            key: admit_values(key, Wording::Bare)?,
        },
        // AWS's odd text for both and for neither.
        _ => {
            return Err(ApiError::validation(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported \
                 datatypes",
            ));
        }
    };
    Ok(ItemWrite {
        table: table.to_owned(),
        action,
        condition: None,
        return_old_on_failure: false,
    })
}

/// Each write's table and item or key.
fn addressed<'a>(
    writes: &'a [ItemWrite],
    tables: &'a BTreeMap<String, TableDef>,
) -> impl Iterator<Item = (&'a TableDef, &'a Item)> {
    writes
        .iter()
        .filter_map(|write| Some((tables.get(&write.table)?, target(&write.action))))
}

/// The item or key that a write is about.
pub(crate) fn target(action: &WriteAction) -> &Item {
    match action {
        WriteAction::Put { item } => item,
        WriteAction::Update { key, .. }
        | WriteAction::Delete { key }
        | WriteAction::Check { key } => key,
    }
}

fn admit_keys(writes: &[ItemWrite], tables: &BTreeMap<String, TableDef>) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for (write, (table, item)) in writes.iter().zip(addressed(writes, tables)) {
        let key = match write.action {
            WriteAction::Put { .. } => {
                // In a batch, key attributes that are missing or mistyped are not named.
                let key = table.keys.bytes(item);
                if key.is_err() {
                    return Err(params::key_error(KeyError::SchemaMismatch));
                }
                params::admit_put(table, item)?;
                key
            }
            _ => table.keys.admit_key(item),
        };
        if !seen.insert((&table.name, key.map_err(params::key_error)?)) {
            return Err(ApiError::validation(
                "Provided list of item keys contains duplicates",
            ));
        }
    }
    Ok(())
}

/// Units by table.
fn consumed(
    names: &[String],
    outcomes: &[ItemOutcome],
    tables: &BTreeMap<String, TableDef>,
) -> BTreeMap<String, Consumed> {
    let mut consumed: BTreeMap<String, Consumed> = BTreeMap::new();
    for (name, outcome) in names.iter().zip(outcomes) {
        let Some(table) = tables.get(name) else {
            continue;
        };
        let units = consumed
            .entry(name.clone())
            .or_insert_with(|| Consumed::new(name));
        units.add_table(writes::table_units(outcome));
        units.add_indexes(table, &outcome.index_units);
    }
    consumed
}
