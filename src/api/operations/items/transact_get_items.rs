//! TransactGetItems: up to 100 items of one consistent snapshot.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::body::{Body, write_list};
use super::get_item::damaged;
use super::transact_write_items::{ACTIONS_MAX, BYTES_MAX, empty_key, too_large};
use crate::api::capacity::{Consumed, Direction, Report, TRANSACTION_FACTOR, read_units};
use crate::api::params::{
    self, Checked, ProjectionParams, Styles, Substitutes, Wording, admit_values, item_member,
};
use crate::api::projection::{Projection, refuse_paths_into_keys};
use crate::api::throttle::{self, Held};
use crate::api::{Backend, Constraints, Fields, fields};
use crate::item::{Item, codec, json};
use crate::replica::catalog::TableDef;
use crate::replica::{ApiError, CancellationReason, read};
use crate::store::ReadTxn;

/// One `Get`, its JSON types checked.
struct GetParams {
    table: Option<String>,
    key: Option<Checked<Item>>,
    projection: ProjectionParams,
    substitutes: Substitutes,
}

struct Get {
    table: String,
    key: Item,
    projection: Projection,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let (gets, report) = admit(fields)?;
    params::snapshot(backend, |txn| {
        let mut tables = BTreeMap::new();
        for get in &gets {
            if !tables.contains_key(&get.table) {
                tables.insert(get.table.clone(), params::table(backend, txn, &get.table)?);
            }
        }
        admit_keys(&gets, &tables)?;
        let held = within_capacity(backend, &gets, &tables)?;
        answer(backend, txn, (&gets, &held), &tables, report)
    })
}

fn admit(mut fields: Fields) -> Result<(Vec<Get>, Report), ApiError> {
    let report = fields.string("ReturnConsumedCapacity")?;
    let elements = fields.list("TransactItems")?;
    let shown = elements
        .as_deref()
        .map(|list| params::shown_list(list, ACTIONS_MAX));
    let mut gets = Vec::new();
    for element in elements.unwrap_or_default() {
        gets.push(take(element)?);
    }

    let mut constraints = Constraints::default();
    params::constrain_report(report.as_deref(), &mut constraints);
    constraints.required("transactItems", shown.as_ref());
    if let Some(shown) = &shown {
        constraints.count("transactItems", gets.len(), shown, 1, ACTIONS_MAX);
    }
    for (position, get) in gets.iter().enumerate() {
        let path = format!("transactItems.{}.member.get", position + 1);
        constraints.required(&path, get.as_ref());
        if let Some(get) = get {
            constraints.required(&format!("{path}.tableName"), get.table.as_ref());
            constraints.required(&format!("{path}.key"), get.key.as_ref());
        }
    }
    constraints.finish()?;
    let gets = gets
        .into_iter()
        .flatten()
        .map(admit_get)
        .collect::<Result<_, _>>()?;
    Ok((gets, params::report(report.as_deref())))
}

fn take(element: Json) -> Result<Option<GetParams>, ApiError> {
    if element.is_null() {
        return Ok(None);
    }
    let mut fields = Fields::from_element(element, "TransactGetItem")?;
    let Some(mut get) = fields.structure("Get", "Get")? else {
        return Ok(None);
    };
    Ok(Some(GetParams {
        table: get.string("TableName")?,
        key: item_member(&mut get, "Key")?,
        projection: ProjectionParams {
            expression: get.string("ProjectionExpression")?,
            attributes: None,
        },
        substitutes: Substitutes::names_only(&mut get)?,
    }))
}

fn admit_get(get: GetParams) -> Result<Get, ApiError> {
    let table = fields::item_table_name(get.table, &mut Constraints::default())?;
    let styles = Styles {
        expressions: &[("ProjectionExpression", get.projection.expression.is_some())],
        legacy: &[],
    };
    styles.check(&get.substitutes, Wording::Bare)?;
    let key = admit_values(get.key.unwrap_or_else(|| Ok(Item::new())), Wording::Bare)?;
    let mut placeholders = get.substitutes.placeholders(Wording::Bare)?;
    let projection = get.projection.parse(&mut placeholders)?;
    placeholders.finish()?;
    Ok(Get {
        table,
        key,
        projection,
    })
}

/// Duplicates and empty keys fail the request; the first other mistake in a key cancels the transaction.
fn admit_keys(gets: &[Get], tables: &BTreeMap<String, TableDef>) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    let mut invalid = None;
    for (position, get) in gets.iter().enumerate() {
        let Some(table) = tables.get(&get.table) else {
            continue;
        };
        match table.keys.admit_key(&get.key) {
            Ok(key) => {
                if !seen.insert((&table.name, key)) {
                    return Err(ApiError::validation(
                        "Transaction request cannot include multiple operations on one item",
                    ));
                }
            }
            Err(error) if empty_key(&error) => return Err(params::key_error(error)),
            Err(error) => {
                invalid.get_or_insert((position, error.to_string()));
            }
        }
        refuse_paths_into_keys(get.projection.paths(), table)?;
    }
    let Some((position, message)) = invalid else {
        return Ok(());
    };
    let mut reasons = vec![CancellationReason::default(); gets.len()];
    if let Some(reason) = reasons.get_mut(position) {
        reason.code = "ValidationError";
        reason.message = Some(message);
    }
    Err(ApiError::TransactionCanceled { reasons })
}

/// Holds the capacity of all reads, or cancels the transaction.
fn within_capacity(
    backend: &dyn Backend,
    gets: &[Get],
    tables: &BTreeMap<String, TableDef>,
) -> Result<Held, ApiError> {
    let attempt = |get: &Get| {
        let table = tables
            .get(&get.table)
            .ok_or_else(ApiError::resource_not_found)?;
        Ok(throttle::admit_read(
            backend,
            table,
            None,
            TRANSACTION_FACTOR,
        ))
    };
    let attempts: Vec<_> = gets.iter().map(attempt).collect::<Result<_, ApiError>>()?;
    throttle::hold_all(attempts)
}

fn answer(
    backend: &dyn Backend,
    txn: &dyn ReadTxn,
    (gets, held): (&[Get], &Held),
    tables: &BTreeMap<String, TableDef>,
    report: Report,
) -> Result<Vec<u8>, ApiError> {
    let mut consumed: BTreeMap<&str, Consumed> = BTreeMap::new();
    let mut items = Vec::with_capacity(gets.len());
    let mut total: usize = 0;
    for get in gets {
        let Some(table) = tables.get(&get.table) else {
            continue;
        };
        let key = table.keys.admit_key(&get.key).map_err(params::key_error)?;
        let stored = read::get_encoded(txn, table, &key)?;
        let size = stored
            .as_deref()
            .map(codec::item_size)
            .transpose()
            .map_err(damaged)?;
        let size = size.unwrap_or(0);
        total = total.saturating_add(size);
        consumed
            .entry(&table.name)
            .or_insert_with(|| Consumed::transactional(&table.name, Direction::Read))
            .add_table(read_units(size, true) * TRANSACTION_FACTOR);
        items.push((stored, &get.projection));
    }
    for table in tables.values() {
        if let Some(units) = consumed.get(table.name.as_str()) {
            throttle::settle(backend, table, held, units, Direction::Read);
        }
    }
    if total > BYTES_MAX {
        return Err(too_large());
    }
    let mut body = Body::new();
    let mut failure = None;
    write_list(
        body.member("Responses"),
        items,
        |out, (stored, projection)| {
            if let Err(error) = write_response(stored.as_deref(), projection, out) {
                failure = Some(error);
            }
        },
    );
    if let Some(error) = failure {
        return Err(error);
    }
    body.capacities(report, consumed.values());
    Ok(body.finish())
}

/// One response: no `Item` when there is none, or when nothing of it was asked for.
fn write_response(
    stored: Option<&[u8]>,
    projection: &Projection,
    out: &mut Vec<u8>,
) -> Result<(), ApiError> {
    let mut body = Body::new();
    if let Some(bytes) = stored {
        match projection {
            Projection::All => {
                codec::write_json(bytes, body.member("Item")).map_err(damaged)?;
            }
            paths => {
                let item = paths.apply(&codec::decode(bytes).map_err(damaged)?);
                if !item.is_empty() {
                    json::write_item(&item, body.member("Item"));
                }
            }
        }
    }
    out.extend_from_slice(&body.finish());
    Ok(())
}
