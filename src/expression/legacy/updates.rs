//! `AttributeUpdates` as an update.

use serde_json::Value as Json;

use super::{LegacyError, constraints, invalid, shape};
use crate::expression::ast::{Path, SetOperand, SetValue, Update};
use crate::item::Value;

/// `AttributeUpdates`. An empty map is an update without clauses: it creates the bare item.
pub fn attribute_updates_to_update(updates: Option<&Json>) -> Result<Update, LegacyError> {
    let mut entries = Vec::new();
    for (attribute, json) in shape::entries(updates, "AttributeValueUpdate")? {
        let action = shape::member(json, "Action")
            .map(shape::string)
            .transpose()?;
        let value = shape::member(json, "Value").map(shape::value).transpose()?;
        entries.push((attribute, action.unwrap_or("PUT"), value));
    }
    let unknown = entries
        .iter()
        .filter(|(_, action, _)| !["ADD", "PUT", "DELETE"].contains(action));
    let violation = |(attribute, action, _): &(&str, &str, _)| {
        format!(
            "Value '{action}' at 'attributeUpdates.{attribute}.member.action' failed to satisfy constraint: \
             Member must satisfy enum value set: [ADD, PUT, DELETE]"
        )
    };
    constraints(unknown.map(violation).collect(), None)?;
    let mut update = Update {
        legacy: true,
        ..Update::default()
    };
    for (attribute, action, value) in entries {
        let value = value.transpose().map_err(LegacyError::Validation)?;
        add_action(&mut update, Path::attribute(attribute), action, value)?;
    }
    Ok(update)
}

fn add_action(
    update: &mut Update,
    path: Path,
    action: &str,
    value: Option<Value>,
) -> Result<(), LegacyError> {
    match (action, value) {
        ("DELETE", None) => update.remove.push(path),
        (_, None) => {
            return Err(invalid(
                "Only DELETE action is allowed when no attribute value is specified",
            ));
        }
        ("DELETE", Some(value @ (Value::Ss(_) | Value::Ns(_) | Value::Bs(_)))) => {
            update.delete.push((path, value))
        }
        ("DELETE", Some(value)) => {
            let kind = value.type_name();
            return Err(invalid(format!(
                "DELETE action with value is not supported for the type {kind}"
            )));
        }
        (
            "ADD",
            Some(value @ (Value::N(_) | Value::Ss(_) | Value::Ns(_) | Value::Bs(_) | Value::L(_))),
        ) => {
            update.add.push((path, value));
        }
        ("ADD", Some(value)) => {
            let kind = value.type_name();
            return Err(invalid(format!(
                "ADD action is not supported for the type {kind}"
            )));
        }
        (_, Some(value)) => update
            .set
            .push((path, SetValue::Operand(SetOperand::Value(value)))),
    }
    Ok(())
}
