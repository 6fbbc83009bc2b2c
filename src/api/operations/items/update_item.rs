//! UpdateItem: changes attributes of one item, or creates it.

use serde_json::Value as Json;

use super::writes::{self, OptionParams, Options};
use crate::api::params::{
    self, ConditionParams, Styles, Substitutes, Wording, admit_values, invalid_parameter,
    item_member,
};
use crate::api::projection::refuse_paths_into_keys;
use crate::api::{Backend, Constraints, Fields, fields};
use crate::expression::{
    Condition, Path, Placeholders, SetOperand, SetValue, Update, legacy, parse_update,
};
use crate::item::{Item, KeyError};
use crate::replica::ApiError;
use crate::replica::catalog::TableDef;
use crate::replica::request::{ItemWrite, WriteAction};

const WORDING: Wording = Wording::Enveloped;

struct Request {
    table: String,
    key: Item,
    update: Update,
    condition: Option<Condition>,
    options: Options,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let request = admit(fields)?;
    let table = params::snapshot(backend, |txn| {
        let table = params::table(backend, txn, &request.table)?;
        table
            .keys
            .admit_key(&request.key)
            .map_err(params::key_error)?;
        admit_update(&table, &request.update)?;
        Ok(table)
    })?;
    let write = ItemWrite {
        table: request.table,
        action: WriteAction::Update {
            key: request.key.clone(),
            update: request.update,
        },
        condition: request.condition,
        return_old_on_failure: request.options.return_old_on_failure,
    };
    let outcome = writes::send(backend, &table, write).await?;
    Ok(writes::answer(
        &table,
        &request.key,
        &request.options,
        &outcome,
    ))
}

fn admit(mut fields: Fields) -> Result<Request, ApiError> {
    let name = fields.string("TableName")?;
    let key = item_member(&mut fields, "Key")?;
    let expression = fields.string("UpdateExpression")?;
    let updates = params::legacy_map(&mut fields, "AttributeUpdates", "AttributeValueUpdate")?;
    let condition = ConditionParams::take(&mut fields)?;
    let substitutes = Substitutes::take(&mut fields)?;
    let options = OptionParams::take(&mut fields)?;

    let mut constraints = Constraints::default();
    let table = fields::item_table_name(name, &mut constraints)?;
    constraints.required("key", key.as_ref());
    constrain_actions(updates.as_ref(), &mut constraints);
    condition.constrain(&mut constraints);
    options.constrain_first(&mut constraints);
    constraints.finish()?;

    let styles = Styles {
        expressions: &[
            ("UpdateExpression", expression.is_some()),
            ("ConditionExpression", condition.expression.is_some()),
        ],
        legacy: &[
            ("AttributeUpdates", updates.is_some()),
            ("Expected", condition.expected.is_some()),
        ],
    };
    styles.check(&substitutes, WORDING)?;
    let key = admit_values(key.unwrap_or_else(|| Ok(Item::new())), WORDING)?;
    let (mut update, condition) = expressions(expression, updates, condition, substitutes)?;
    update.surcharged = true;
    Ok(Request {
        table,
        key,
        update,
        condition,
        options: options.options(),
    })
}

fn expressions(
    expression: Option<String>,
    updates: Option<Json>,
    condition: ConditionParams,
    substitutes: Substitutes,
) -> Result<(Update, Option<Condition>), ApiError> {
    let names = updates.as_ref().and_then(Json::as_object);
    params::check_names(names.into_iter().flatten().map(|(name, _)| name))
        .map_err(ApiError::Validation)?;
    let legacy = legacy::attribute_updates_to_update(updates.as_ref());
    let legacy = legacy.map_err(params::legacy_error)?;
    let expected = condition.legacy()?;
    let mut placeholders: Placeholders = substitutes.placeholders(WORDING)?;
    let update = match expression {
        Some(text) => parse_update(&text, &mut placeholders).map_err(|e| WORDING.request(e))?,
        None => legacy,
    };
    let parsed = condition.parse(&mut placeholders, WORDING)?;
    placeholders.finish()?;
    Ok((update, parsed.or(expected)))
}

fn constrain_actions(updates: Option<&Json>, constraints: &mut Constraints) {
    for (attribute, entry) in updates.and_then(Json::as_object).into_iter().flatten() {
        let action = entry.get("Action").and_then(Json::as_str);
        let path = format!("attributeUpdates.{attribute}.member.action");
        constraints.one_of(&path, action, &["ADD", "PUT", "DELETE"]);
    }
}

/// Holds an update against the keys of its table, before any item is read: key attributes can not be
/// changed, index keys take only values of their type and no path leads into either (AttributeUpdates
/// word that on the result).
pub(crate) fn admit_update(table: &TableDef, update: &Update) -> Result<(), ApiError> {
    if let Some(path) = update
        .targets()
        .find(|path| table.keys.contains(&path.root))
    {
        return Err(invalid_parameter(format!(
            "Cannot update attribute {}. This attribute is part of the key",
            path.root
        )));
    }
    if update.legacy {
        return Ok(());
    }
    for index in &table.indexes {
        for key in index.keys.attributes() {
            let whole = |path: &Path| path.root == key.name && path.steps.is_empty();
            let expected = key.kind.name();
            let wrong = |(path, kind): &(&Path, &str)| whole(path) && *kind != expected;
            if let Some((_, actual)) = typed(update).find(wrong) {
                return Err(params::key_error(KeyError::IndexTypeMismatch {
                    name: key.name.clone(),
                    expected,
                    actual,
                    index: index.name.clone(),
                }));
            }
        }
    }
    refuse_paths_into_keys(update.targets().chain(update.sources()), table)
}

/// The targets whose new value has a type that the request alone tells.
fn typed(update: &Update) -> impl Iterator<Item = (&Path, &'static str)> {
    let set = update.set.iter().filter_map(|(path, value)| {
        let kind = match value {
            SetValue::Operand(SetOperand::Value(value)) => value.type_name(),
            SetValue::Operand(SetOperand::ListAppend(..)) => "L",
            SetValue::Plus(..) | SetValue::Minus(..) => "N",
            SetValue::Operand(_) => return None,
        };
        Some((path, kind))
    });
    let add = update.add.iter();
    set.chain(add.map(|(path, value)| (path, value.type_name())))
}
