//! Parameters that several data operations share: values, expressions and their legacy equivalents,
//! return options, tables and keys (api.md section 2, expressions.md sections 3 and 9).
//!
//! DynamoDB checks JSON types before anything else. Readers here therefore fail at once on a wrong JSON
//! type, but keep what is wrong with a value as [`Checked`], to be reported when its turn comes.

use serde_json::Value as Json;

use super::capacity::Report;
use super::{Backend, Constraints, Fields, enums};
use crate::item::json::{ValueError, item_from_json};
use crate::item::{Item, KeyError};
use crate::replica::catalog::{Busy, TableDef};
use crate::replica::request::WriteResponse;
use crate::replica::{ApiError, read};
use crate::store::ReadTxn;

mod expressions;

pub(crate) use expressions::{
    ConditionParams, ProjectionParams, Styles, Substitutes, condition, constrain_operators,
    legacy_error, legacy_map,
};

/// A value of the right JSON type, or DynamoDB's message on what is wrong with it.
pub(crate) type Checked<T> = Result<T, String>;

const INVALID_PARAMETER: &str = "One or more parameter values were invalid: ";
const ENVELOPE: &str = "1 validation error detected: ";

/// The longest attribute name, in bytes.
const ATTRIBUTE_NAME_MAX: usize = 65_535;

/// How an operation words the families of errors that PutItem and UpdateItem put into the
/// `1 validation error detected: ` envelope (errors-and-validation.md section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wording {
    Bare,
    Enveloped,
}

impl Wording {
    /// An error of an enveloped family.
    pub(crate) fn request(self, error: impl Into<ApiError>) -> ApiError {
        match (self, error.into()) {
            (Wording::Enveloped, ApiError::Validation(message)) => {
                ApiError::Validation(format!("{ENVELOPE}{message}"))
            }
            (_, error) => error,
        }
    }

    /// An error in an attribute value: of sets and NULL enveloped, all others bare. `context` is what
    /// the message is wrapped in.
    pub(crate) fn value(self, message: &str, wrapped: String) -> ApiError {
        let detail = message.strip_prefix(INVALID_PARAMETER).unwrap_or(message);
        let family = [
            "An string set",
            "An number set",
            "Binary sets",
            "Input collection",
            "Null attribute value types",
        ];
        if family.iter().any(|start| detail.starts_with(start)) {
            self.request(ApiError::Validation(wrapped))
        } else {
            ApiError::Validation(wrapped)
        }
    }
}

/// `One or more parameter values were invalid: {detail}`.
pub(crate) fn invalid_parameter(detail: impl std::fmt::Display) -> ApiError {
    ApiError::Validation(format!("{INVALID_PARAMETER}{detail}"))
}

/// A key that does not fit its schema.
pub(crate) fn key_error(error: KeyError) -> ApiError {
    ApiError::Validation(error.to_string())
}

/// The writer's answer has the shape of the request; anything else is a bug of ours that the client sees
/// as an unknown outcome.
pub(crate) fn unexpected(response: &WriteResponse) -> ApiError {
    debug_assert!(false, "a write was answered with {response:?}");
    ApiError::InternalServer("the write was answered with something else".into())
}

/// Turns JSON into an item: JSON types fail at once, all else is kept for its turn.
pub(crate) fn checked_item(json: Json) -> Result<Checked<Item>, ApiError> {
    match item_from_json(json) {
        Ok(item) => Ok(checked_names(item)),
        Err(ValueError::Validation(message)) => Ok(Err(message)),
        Err(ValueError::Serialization(message)) => Err(ApiError::Serialization(Some(message))),
    }
}

fn checked_names(item: Item) -> Checked<Item> {
    check_names(item.keys())?;
    Ok(item)
}

/// What is wrong with the first bad one of these attribute names.
pub(crate) fn check_names<'n>(names: impl IntoIterator<Item = &'n String>) -> Checked<()> {
    for name in names {
        let fault = match name.len() {
            0 => "Empty attribute name",
            1..=ATTRIBUTE_NAME_MAX => continue,
            _ => "Attribute name is too large, must be less than 65536 bytes",
        };
        return Err(format!("{INVALID_PARAMETER}{fault}"));
    }
    Ok(())
}

/// A member that is a map of attribute values: `Key`, `Item`, `ExclusiveStartKey`.
pub(crate) fn item_member(
    fields: &mut Fields,
    name: &str,
) -> Result<Option<Checked<Item>>, ApiError> {
    fields.attributes(name)?.map(checked_item).transpose()
}

/// The item, or the error in its turn.
pub(crate) fn admit_values(item: Checked<Item>, wording: Wording) -> Result<Item, ApiError> {
    item.map_err(|message| {
        let wrapped = message.clone();
        wording.value(&message, wrapped)
    })
}

/// The `ReturnValues` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReturnValues {
    #[default]
    None,
    AllOld,
    UpdatedOld,
    AllNew,
    UpdatedNew,
}

impl ReturnValues {
    /// Call it after the constraint has been checked: anything unknown counts as absent.
    pub(crate) fn of(text: Option<&str>) -> Self {
        match text {
            Some("ALL_OLD") => ReturnValues::AllOld,
            Some("UPDATED_OLD") => ReturnValues::UpdatedOld,
            Some("ALL_NEW") => ReturnValues::AllNew,
            Some("UPDATED_NEW") => ReturnValues::UpdatedNew,
            _ => ReturnValues::None,
        }
    }
}

/// The `ReturnConsumedCapacity` parameter, as text until its constraint has been checked.
pub(crate) fn report(text: Option<&str>) -> Report {
    match text {
        Some("TOTAL") => Report::Total,
        Some("INDEXES") => Report::Indexes,
        _ => Report::None,
    }
}

pub(crate) fn constrain_report(text: Option<&str>, constraints: &mut Constraints) {
    constraints.one_of(
        "returnConsumedCapacity",
        text,
        enums::RETURN_CONSUMED_CAPACITY,
    );
}

/// How a list of 1 to `max` elements prints inside a constraint violation; empty when it breaks none. AWS
/// prints Java's own text, which clients can not rely on; ours is JSON.
pub(crate) fn shown_list(elements: &[Json], max: usize) -> String {
    if (1..=max).contains(&elements.len()) {
        return String::new();
    }
    let shown: Vec<_> = elements.iter().map(Json::to_string).collect();
    format!("'[{}]'", shown.join(", "))
}

/// Runs `reader` on one snapshot and returns what it returns.
pub(crate) fn snapshot<T>(
    backend: &dyn Backend,
    reader: impl FnOnce(&dyn ReadTxn) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let mut reader = Some(reader);
    let mut answer = None;
    backend.read(&mut |txn| {
        let reader = reader
            .take()
            .ok_or_else(|| ApiError::InternalServer("a snapshot was read twice".into()))?;
        answer = Some(reader(txn)?);
        Ok(())
    })?;
    answer.ok_or_else(|| ApiError::InternalServer("a snapshot was not read".into()))
}

/// The table of that name in this region. One that is still being created is not there yet (api.md section
/// 3), and one that is being deleted no more.
pub(crate) fn table(
    backend: &dyn Backend,
    txn: &dyn ReadTxn,
    name: &str,
) -> Result<TableDef, ApiError> {
    let found = read::table(txn, backend.region().id, name)?;
    let def = found.ok_or_else(ApiError::resource_not_found)?;
    match backend.busy(txn, &def)? {
        Some(Busy::Creating | Busy::Deleting) => Err(ApiError::resource_not_found()),
        Some(Busy::Updating) | None => Ok(def),
    }
}

/// Checks the item of a put against the keys of the table and of all its indexes.
pub(crate) fn admit_put(table: &TableDef, item: &Item) -> Result<(), ApiError> {
    table.keys.admit_item(item).map_err(key_error)?;
    for index in &table.indexes {
        index
            .keys
            .admit_index(&index.name, item)
            .map_err(key_error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_families_of_value_errors_are_enveloped() {
        let set = format!("{INVALID_PARAMETER}An string set  may not be empty");
        let error = Wording::Enveloped.value(&set, set.clone());
        assert_eq!(error.to_string(), format!("{ENVELOPE}{set}"));
        let number = "The parameter cannot be converted to a numeric value: An string set";
        let error = Wording::Enveloped.value(number, number.into());
        assert_eq!(error.to_string(), number);
        assert_eq!(Wording::Bare.value(&set, set.clone()).to_string(), set);
    }
}
