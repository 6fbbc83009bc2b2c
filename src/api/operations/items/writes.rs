//! What PutItem, UpdateItem and DeleteItem share: options, sending the write, the answer.

use super::body::Body;
use super::metrics;
use crate::api::capacity::{Consumed, Direction, Report, write_units};
use crate::api::params::{
    self, ConditionParams, ReturnValues, Styles, Substitutes, Wording, admit_values, item_member,
};
use crate::api::projection::touched_fragments;
use crate::api::{Backend, Constraints, Fields, enums, fields, throttle};
use crate::expression::{Condition, Placeholders};
use crate::item::Item;
use crate::replica::ApiError;
use crate::replica::catalog::TableDef;
use crate::replica::request::{ItemOutcome, ItemWrite, WriteRequest, WriteResponse};

/// The options of a single write, as text until their constraints have been checked.
pub(crate) struct OptionParams {
    return_values: Option<String>,
    report: Option<String>,
    metrics: Option<String>,
    on_failure: Option<String>,
}

/// The options of a single write.
pub(crate) struct Options {
    pub(crate) return_values: ReturnValues,
    report: Report,
    metrics: bool,
    pub(crate) return_old_on_failure: bool,
}

impl OptionParams {
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(OptionParams {
            return_values: fields.string("ReturnValues")?,
            report: fields.string("ReturnConsumedCapacity")?,
            metrics: fields.string("ReturnItemCollectionMetrics")?,
            on_failure: fields.string("ReturnValuesOnConditionCheckFailure")?,
        })
    }

    /// The enumerations in the order in which DynamoDB names them.
    fn enumerations(&self) -> [(&'static str, Option<&str>, &'static [&'static str]); 4] {
        [
            (
                "returnConsumedCapacity",
                self.report.as_deref(),
                enums::RETURN_CONSUMED_CAPACITY,
            ),
            (
                "returnItemCollectionMetrics",
                self.metrics.as_deref(),
                enums::RETURN_ITEM_COLLECTION_METRICS,
            ),
            (
                "returnValues",
                self.return_values.as_deref(),
                enums::RETURN_VALUES,
            ),
            (
                "returnValuesOnConditionCheckFailure",
                self.on_failure.as_deref(),
                enums::RETURN_VALUES_ON_FAILURE,
            ),
        ]
    }

    pub(crate) fn constrain(&self, constraints: &mut Constraints) {
        for (path, value, allowed) in self.enumerations() {
            constraints.one_of(path, value, allowed);
        }
    }

    /// UpdateItem names the first invalid enumeration only, of which ReturnValues comes first.
    pub(crate) fn constrain_first(&self, constraints: &mut Constraints) {
        let invalid = |(_, value, allowed): &(_, Option<&str>, &[&str])| {
            value.is_some_and(|value| !allowed.contains(&value))
        };
        let enumerations = self.enumerations();
        let return_values = enumerations
            .iter()
            .filter(|(path, ..)| *path == "returnValues");
        let first = return_values.chain(&enumerations).find(|e| invalid(e));
        if let Some((path, value, allowed)) = first.copied() {
            constraints.one_of(path, value, allowed);
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            return_values: ReturnValues::of(self.return_values.as_deref()),
            report: params::report(self.report.as_deref()),
            metrics: self.metrics.as_deref() == Some("SIZE"),
            return_old_on_failure: self.on_failure.as_deref() == Some("ALL_OLD"),
        }
    }
}

impl Options {
    /// PutItem and DeleteItem know no updated attributes.
    fn refuse_updated(&self, wording: Wording) -> Result<(), ApiError> {
        match self.return_values {
            ReturnValues::None | ReturnValues::AllOld => Ok(()),
            _ => Err(wording.request(ApiError::validation(
                "ReturnValues can only be ALL_OLD or NONE",
            ))),
        }
    }
}

/// What PutItem and DeleteItem are given: an item or a key, a condition, options.
pub(crate) struct Whole {
    pub(crate) table: String,
    pub(crate) item: Item,
    pub(crate) condition: Option<Condition>,
    pub(crate) options: Options,
}

impl Whole {
    /// Reads the request, whose `member` (at `path` in messages) holds the item or key, and checks it as
    /// far as it tells of itself. `check` is what more is asked of the item.
    pub(crate) fn admit(
        mut fields: Fields,
        member: &str,
        path: &str,
        wording: Wording,
        check: fn(&Item) -> Result<(), ApiError>,
    ) -> Result<Whole, ApiError> {
        let name = fields.string("TableName")?;
        let item = item_member(&mut fields, member)?;
        let condition = ConditionParams::take(&mut fields)?;
        let substitutes = Substitutes::take(&mut fields)?;
        let options = OptionParams::take(&mut fields)?;

        let mut constraints = Constraints::default();
        let table = fields::item_table_name(name, &mut constraints)?;
        constraints.required(path, item.as_ref());
        condition.constrain(&mut constraints);
        options.constrain(&mut constraints);
        constraints.finish()?;

        let options = options.options();
        let styles = Styles {
            expressions: &[("ConditionExpression", condition.expression.is_some())],
            legacy: &[("Expected", condition.expected.is_some())],
        };
        styles.check(&substitutes, wording)?;
        let item = admit_values(item.unwrap_or_else(|| Ok(Item::new())), wording)?;
        check(&item)?;
        options.refuse_updated(wording)?;
        let condition = only_condition(condition, substitutes, wording)?;
        Ok(Whole {
            table,
            item,
            condition,
            options,
        })
    }
}

/// The condition of a request that has no other expression, and its placeholders all used.
fn only_condition(
    condition: ConditionParams,
    substitutes: Substitutes,
    wording: Wording,
) -> Result<Option<Condition>, ApiError> {
    let legacy = condition.legacy()?;
    let mut placeholders: Placeholders = substitutes.placeholders(wording)?;
    let parsed = condition.parse(&mut placeholders, wording)?;
    placeholders.finish()?;
    Ok(parsed.or(legacy))
}

/// Sends one write of `table`, if it may have the capacity, and waits until it is durable.
pub(crate) async fn send(
    backend: &dyn Backend,
    table: &TableDef,
    write: ItemWrite,
) -> Result<ItemOutcome, ApiError> {
    let held = throttle::admit_write(backend, table, &write.action, 1.0)?;
    match backend.write(WriteRequest::Item(write)).await? {
        WriteResponse::Item(outcome) => {
            let consumed = consumed(table, &outcome);
            throttle::settle(backend, table, &held, &consumed, Direction::Write);
            Ok(*outcome)
        }
        other => Err(params::unexpected(&other)),
    }
}

/// Units that a write of one item consumed.
pub(crate) fn consumed(table: &TableDef, outcome: &ItemOutcome) -> Consumed {
    let mut consumed = Consumed::new(&table.name);
    consumed.add_table(table_units(outcome));
    consumed.add_indexes(table, &outcome.index_units);
    consumed
}

/// Units of the table part of a write.
pub(crate) fn table_units(outcome: &ItemOutcome) -> f64 {
    write_units(outcome.size())
}

/// The answer to a single write. `key` is the item or its key.
pub(crate) fn answer(
    table: &TableDef,
    key: &Item,
    options: &Options,
    outcome: &ItemOutcome,
) -> Vec<u8> {
    let mut body = Body::new();
    if let Some(attributes) = returned(options.return_values, outcome) {
        body.item("Attributes", &attributes);
    }
    if options.metrics && metrics::has_collections(table) {
        let bytes = outcome.collection_bytes;
        metrics::write_collection(table, key, bytes, body.member("ItemCollectionMetrics"));
    }
    body.capacity(options.report, &consumed(table, outcome));
    body.finish()
}

fn returned(values: ReturnValues, outcome: &ItemOutcome) -> Option<Item> {
    match values {
        ReturnValues::None => None,
        ReturnValues::AllOld => outcome.old.clone(),
        ReturnValues::AllNew => outcome.new.clone(),
        ReturnValues::UpdatedOld => touched_fragments(&outcome.touched, outcome.old.as_ref()),
        ReturnValues::UpdatedNew => touched_fragments(&outcome.touched, outcome.new.as_ref()),
    }
}
