//! TransactWriteItems: up to 100 writes, all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use serde_json::Value as Json;
use siphasher::sip::SipHasher13;

use super::batch_write_item::target;
use super::body::Body;
use super::metrics::Collections;
use super::put_item::refuse_oversize;
use super::writes;
use crate::api::capacity::{Consumed, Direction, Report, TRANSACTION_FACTOR, read_units};
use crate::api::params::{self, Checked, Styles, Substitutes, Wording, admit_values, item_member};
use crate::api::throttle::{self, Held};
use crate::api::{Backend, Constraints, Fields, enums, fields};
use crate::expression::{ExpressionKind, parse_update};
use crate::item::{Item, KeyError, size::item_size};
use crate::replica::catalog::TableDef;
use crate::replica::request::{ItemOutcome, ItemWrite, WriteAction, WriteRequest, WriteResponse};
use crate::replica::{ApiError, collection};
use crate::store::ReadTxn;

/// The most actions of a transaction.
pub(crate) const ACTIONS_MAX: usize = 100;
/// The most bytes of items in a transaction.
pub(crate) const BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest ClientRequestToken.
pub(crate) const TOKEN_MAX: usize = 36;

const WORDING: Wording = Wording::Bare;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Check,
    Put,
    Delete,
    Update,
}

impl Kind {
    /// Member name, path name and name of the member that holds the item or key.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kind::Check => ("ConditionCheck", "conditionCheck", "Key"),
            Kind::Put => ("Put", "put", "Item"),
            Kind::Delete => ("Delete", "delete", "Key"),
            Kind::Update => ("Update", "update", "Key"),
        }
    }
}

/// One action, its JSON types checked.
struct ActionParams {
    kind: Kind,
    table: Option<String>,
    /// The item or key.
    item: Option<Checked<Item>>,
    update: Option<String>,
    condition: Option<String>,
    substitutes: Substitutes,
    on_failure: Option<String>,
}

struct Request {
    writes: Vec<ItemWrite>,
    token: Option<(String, u64)>,
    report: Report,
    metrics: bool,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let Request {
        writes,
        token,
        report,
        metrics,
    } = admit(fields)?;
    let (tables, consumed) = commit(backend, &writes, token).await?;
    let mut body = Body::new();
    if metrics {
        let mut collections = Collections::default();
        let writing = writes
            .iter()
            .filter(|w| !matches!(w.action, WriteAction::Check { .. }));
        for write in writing {
            if let Some(table) = tables.get(&write.table) {
                let item = target(&write.action);
                let size = |txn: &dyn ReadTxn| collection::of_item(txn, table, item);
                collections.add(table, item, params::snapshot(backend, size)?);
            }
        }
        if !collections.is_empty() {
            collections.write(body.member("ItemCollectionMetrics"));
        }
    }
    body.capacities(report, consumed.values());
    Ok(body.finish())
}

type Tables = BTreeMap<String, TableDef>;

/// Makes the writes of a transaction, or finds that its token did before: their tables, and the units.
pub(crate) async fn commit(
    backend: &dyn Backend,
    writes: &[ItemWrite],
    token: Option<(String, u64)>,
) -> Result<(Tables, BTreeMap<String, Consumed>), ApiError> {
    let tables = params::snapshot(backend, |txn| {
        let mut tables = BTreeMap::new();
        for write in writes {
            match params::table(backend, txn, &write.table) {
                Ok(table) => drop(tables.insert(write.table.clone(), table)),
                Err(ApiError::ResourceNotFound(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(tables)
    })?;
    admit_targets(writes, &tables)?;
    let held = within_capacity(backend, writes, &tables)?;
    let request = WriteRequest::Transaction {
        writes: writes.to_vec(),
        token,
    };
    let consumed = match backend.write(request).await? {
        WriteResponse::Items(outcomes) => {
            let consumed = written(writes, &outcomes, &tables);
            for table in tables.values() {
                if let Some(units) = consumed.get(&table.name) {
                    throttle::settle(backend, table, &held, units, Direction::Write);
                }
            }
            consumed
        }
        WriteResponse::Replayed(sizes) => replayed(writes, &sizes, &tables),
        other => return Err(params::unexpected(&other)),
    };
    Ok((tables, consumed))
}

// --- the request --------------------------------------------------------------------------------------

fn admit(mut fields: Fields) -> Result<Request, ApiError> {
    let report = fields.string("ReturnConsumedCapacity")?;
    let metrics = fields.string("ReturnItemCollectionMetrics")?;
    let token = fields.string("ClientRequestToken")?;
    let elements = fields.list("TransactItems")?;
    let shown = elements
        .as_deref()
        .map(|list| params::shown_list(list, ACTIONS_MAX));
    let elements = elements.unwrap_or_default();
    let token = token.map(|token| (token, digest(&elements)));
    let mut actions = Vec::with_capacity(elements.len());
    for element in elements {
        actions.push(take(element)?);
    }

    let mut constraints = Constraints::default();
    params::constrain_report(report.as_deref(), &mut constraints);
    constraints.one_of(
        "returnItemCollectionMetrics",
        metrics.as_deref(),
        enums::RETURN_ITEM_COLLECTION_METRICS,
    );
    constraints.required("transactItems", shown.as_ref());
    if let Some(shown) = &shown {
        constraints.count("transactItems", actions.len(), shown, 1, ACTIONS_MAX);
    }
    if let Some((token, _)) = &token {
        constraints.length("clientRequestToken", token, 1, TOKEN_MAX);
    }
    for (position, action) in actions.iter().enumerate() {
        for action in action {
            constrain(position + 1, action, &mut constraints);
        }
    }
    constraints.finish()?;
    let mut writes = Vec::with_capacity(actions.len());
    for action in only_actions(actions)? {
        writes.push(admit_action(action)?);
    }
    refuse_large(&writes)?;
    Ok(Request {
        writes,
        token,
        report: params::report(report.as_deref()),
        metrics: metrics.as_deref() == Some("SIZE"),
    })
}

/// What identifies the parameters of a token: stable across restarts, the same for the same JSON in any
/// order of members.
pub(crate) fn digest(elements: &[Json]) -> u64 {
    let mut hasher = SipHasher13::new();
    for element in elements {
        hash(element, &mut hasher);
    }
    hasher.finish()
}

fn hash(json: &Json, hasher: &mut SipHasher13) {
    match json {
        Json::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().filter(|(_, v)| !v.is_null()).collect();
            hasher.write(b"{");
            for (name, value) in members {
                hash(&Json::String(name.clone()), hasher);
                hash(value, hasher);
            }
            hasher.write(b"}");
        }
        Json::Array(elements) => {
            hasher.write(b"[");
            elements.iter().for_each(|element| hash(element, hasher));
            hasher.write(b"]");
        }
        scalar => hasher.write(format!("{scalar},").as_bytes()),
    }
}

/// All actions that an element names; there should be one.
fn take(element: Json) -> Result<Vec<ActionParams>, ApiError> {
    if element.is_null() {
        return Ok(Vec::new());
    }
    let mut fields = Fields::from_element(element, "TransactWriteItem")?;
    let mut actions = Vec::new();
    for kind in [Kind::Check, Kind::Put, Kind::Delete, Kind::Update] {
        let (member, _, holder) = kind.names();
        let Some(mut action) = fields.structure(member, member)? else {
            continue;
        };
        actions.push(ActionParams {
            kind,
            table: action.string("TableName")?,
            item: item_member(&mut action, holder)?,
            update: action.string("UpdateExpression")?,
            condition: action.string("ConditionExpression")?,
            substitutes: Substitutes::take(&mut action)?,
            on_failure: action.string("ReturnValuesOnConditionCheckFailure")?,
        });
    }
    Ok(actions)
}

fn constrain(position: usize, action: &ActionParams, constraints: &mut Constraints) {
    let (_, name, holder) = action.kind.names();
    let path = format!("transactItems.{position}.member.{name}");
    constraints.required(&format!("{path}.tableName"), action.table.as_ref());
    constraints.required(
        &format!("{path}.{}", holder.to_lowercase()),
        action.item.as_ref(),
    );
    if action.kind == Kind::Check {
        constraints.required(
            &format!("{path}.conditionExpression"),
            action.condition.as_ref(),
        );
    }
    if action.kind == Kind::Update {
        constraints.required(&format!("{path}.updateExpression"), action.update.as_ref());
    }
    constraints.one_of(
        &format!("{path}.returnValuesOnConditionCheckFailure"),
        action.on_failure.as_deref(),
        enums::RETURN_VALUES_ON_FAILURE,
    );
}

fn only_actions(actions: Vec<Vec<ActionParams>>) -> Result<Vec<ActionParams>, ApiError> {
    if actions.iter().any(|element| element.len() != 1) {
        return Err(ApiError::validation(
            "TransactItems can only contain one of Check, Put, Update or Delete",
        ));
    }
    Ok(actions.into_iter().flatten().collect())
}

fn admit_action(action: ActionParams) -> Result<ItemWrite, ApiError> {
    let table = fields::item_table_name(action.table, &mut Constraints::default())?;
    let updates = action.kind == Kind::Update;
    let condition = ("ConditionExpression", action.condition.is_some());
    let with_update = [("UpdateExpression", action.update.is_some()), condition];
    let styles = Styles {
        expressions: if updates {
            &with_update
        } else {
            &with_update[1..]
        },
        legacy: &[],
    };
    styles.check(&action.substitutes, WORDING)?;
    let item = admit_values(action.item.unwrap_or_else(|| Ok(Item::new())), WORDING)?;
    let mut placeholders = action.substitutes.placeholders(WORDING)?;
    let action_of_item = match action.kind {
        Kind::Check => WriteAction::Check { key: item },
        Kind::Put => WriteAction::Put { item },
        Kind::Delete => WriteAction::Delete { key: item },
        Kind::Update => {
            let text = action.update.unwrap_or_default();
            WriteAction::Update {
                key: item,
                update: parse_update(&text, &mut placeholders)?,
            }
        }
    };
    let condition = params::condition(
        ExpressionKind::Condition,
        action.condition.as_deref(),
        &mut placeholders,
        WORDING,
    )?;
    placeholders.finish()?;
    Ok(ItemWrite {
        table,
        action: action_of_item,
        condition,
        return_old_on_failure: action.on_failure.as_deref() == Some("ALL_OLD"),
    })
}

/// Items of puts are known to the request, so their sizes are: of each, and of all.
pub(crate) fn refuse_large(writes: &[ItemWrite]) -> Result<(), ApiError> {
    let mut total: usize = 0;
    for write in writes {
        if let WriteAction::Put { item } = &write.action {
            refuse_oversize(item)?;
        }
        total = total.saturating_add(item_size(target(&write.action)));
    }
    if total > BYTES_MAX {
        // What counts is what was sent, not the items it meets: deleting large ones is fine.
        Err(ApiError::validation(format!(
            "Transaction payload size cannot exceed {BYTES_MAX} bytes"
        )))
    } else {
        Ok(())
    }
}

/// The items of a transaction are too large together.
pub(crate) fn too_large() -> ApiError {
    ApiError::validation(
        "Collection size of items exceeded, which can also be caused by the aggregate size of the items in the \
         transaction exceeding the 4MB limit",
    )
}

// --- keys ---------------------------------------------------------------------------------------------

/// Duplicates, then missing tables, then empty keys. All other mistakes in keys are reasons for
/// cancellation, which the writer finds together with failed conditions.
fn admit_targets(
    writes: &[ItemWrite],
    tables: &BTreeMap<String, TableDef>,
) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for write in writes {
        let Some(table) = tables.get(&write.table) else {
            continue;
        };
        if let Ok(key) = table.keys.bytes(target(&write.action))
            && !seen.insert((&table.name, key))
        {
            return Err(ApiError::validation(
                "Transaction request cannot include multiple operations on one item",
            ));
        }
    }
    if writes
        .iter()
        .any(|write| !tables.contains_key(&write.table))
    {
        return Err(ApiError::resource_not_found());
    }
    for write in writes {
        let Some(table) = tables.get(&write.table) else {
            continue;
        };
        if let Err(error) = admitted(table, &write.action)
            && empty_key(&error)
        {
            return Err(params::key_error(error));
        }
    }
    Ok(())
}

fn admitted(table: &TableDef, action: &WriteAction) -> Result<(), KeyError> {
    let WriteAction::Put { item } = action else {
        return table.keys.admit_key(target(action)).map(drop);
    };
    table.keys.admit_item(item)?;
    for index in &table.indexes {
        index.keys.admit_index(&index.name, item)?;
    }
    Ok(())
}

/// Inside transactions an empty key value fails the request rather than its action.
pub(crate) fn empty_key(error: &KeyError) -> bool {
    matches!(error, KeyError::Empty { .. } | KeyError::IndexEmpty { .. })
}

// --- capacity -----------------------------------------------------------------------------------------

/// Holds the capacity of all actions, or cancels the transaction.
fn within_capacity(
    backend: &dyn Backend,
    writes: &[ItemWrite],
    tables: &BTreeMap<String, TableDef>,
) -> Result<Held, ApiError> {
    let attempt = |write: &ItemWrite| {
        let table = tables
            .get(&write.table)
            .ok_or_else(ApiError::resource_not_found)?;
        Ok(throttle::admit_write(
            backend,
            table,
            &write.action,
            TRANSACTION_FACTOR,
        ))
    };
    let attempts: Vec<_> = writes
        .iter()
        .map(attempt)
        .collect::<Result<_, ApiError>>()?;
    throttle::hold_all(attempts)
}

/// Units by table. The transaction's factor applies to the table part only.
fn written(
    writes: &[ItemWrite],
    outcomes: &[ItemOutcome],
    tables: &BTreeMap<String, TableDef>,
) -> BTreeMap<String, Consumed> {
    let mut consumed = BTreeMap::new();
    for (write, outcome) in writes.iter().zip(outcomes) {
        let Some(table) = tables.get(&write.table) else {
            continue;
        };
        let units = entry(&mut consumed, &table.name, Direction::Write);
        units.add_table(writes::table_units(outcome) * TRANSACTION_FACTOR);
        units.add_indexes(table, &outcome.index_units);
    }
    consumed
}

/// A replay is charged as a transactional read of the images that the first call was charged by.
fn replayed(
    writes: &[ItemWrite],
    sizes: &[usize],
    tables: &BTreeMap<String, TableDef>,
) -> BTreeMap<String, Consumed> {
    let mut consumed = BTreeMap::new();
    for (write, size) in writes.iter().zip(sizes) {
        if let Some(table) = tables.get(&write.table) {
            entry(&mut consumed, &table.name, Direction::Read)
                .add_table(read_units(*size, true) * TRANSACTION_FACTOR);
        }
    }
    consumed
}

fn entry<'c>(
    consumed: &'c mut BTreeMap<String, Consumed>,
    table: &str,
    direction: Direction,
) -> &'c mut Consumed {
    consumed
        .entry(table.to_owned())
        .or_insert_with(|| Consumed::transactional(table, direction))
}

#[cfg(test)]
mod unit_tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_digest_ignores_order_of_members_but_not_of_actions() {
        let one: Json = serde_json::from_str(r#"{"a": 1, "b": [2, {"c": "x"}]}"#).expect("JSON");
        let two: Json =
            serde_json::from_str(r#"{"b": [2, {"c": "x"}], "a": 1, "d": null}"#).expect("JSON");
        assert_eq!(digest(std::slice::from_ref(&one)), digest(&[two]));
        assert_ne!(digest(&[one.clone(), json!(1)]), digest(&[json!(1), one]));
    }
}
