//! Parameters that several data operations share: values, expressions and their legacy equivalents,
//! return options, tables and keys (api.md section 2, expressions.md sections 3 and 9).
//!
//! DynamoDB checks JSON types before anything else. Readers here therefore fail at once on a wrong JSON
//! type, but keep what is wrong with a value as [`Checked`], to be reported when its turn comes.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::capacity::Report;
use super::projection::Projection;
use super::{Backend, Constraints, Fields, enums};
use crate::expression::legacy::{self, LegacyError};
use crate::expression::{Condition, ExpressionKind, Path, Placeholders};
use crate::expression::{parse_condition, parse_projection};
use crate::item::json::{ValueError, item_from_json, value_from_json};
use crate::item::{Item, KeyError, Value};
use crate::replica::catalog::TableDef;
use crate::replica::request::WriteResponse;
use crate::replica::{ApiError, read};
use crate::store::ReadTxn;

/// A value of the right JSON type, or DynamoDB's message on what is wrong with it.
pub(crate) type Checked<T> = Result<T, String>;

const INVALID_PARAMETER: &str = "One or more parameter values were invalid: ";
const ENVELOPE: &str = "1 validation error detected: ";

/// The longest attribute name, in bytes.
const ATTRIBUTE_NAME_MAX: usize = 65_535;
/// The most names that `AttributesToGet` may hold.
const ATTRIBUTES_TO_GET_MAX: usize = 255;

const COMPARISON_OPERATORS: &[&str] = &[
    "IN",
    "NULL",
    "BETWEEN",
    "LT",
    "NOT_CONTAINS",
    "EQ",
    "GT",
    "NOT_NULL",
    "NE",
    "LE",
    "BEGINS_WITH",
    "GE",
    "CONTAINS",
];

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

// --- values -------------------------------------------------------------------------------------------

/// Turns JSON into an item: JSON types fail at once, all else is kept for its turn.
pub(crate) fn checked_item(json: Json) -> Result<Checked<Item>, ApiError> {
    match item_from_json(json) {
        Ok(item) => Ok(checked_names(item)),
        Err(ValueError::Validation(message)) => Ok(Err(message)),
        Err(ValueError::Serialization(message)) => Err(ApiError::Serialization(Some(message))),
    }
}

fn checked_names(item: Item) -> Checked<Item> {
    for name in item.keys() {
        if name.is_empty() {
            return Err(format!(
                "{INVALID_PARAMETER}Attribute name must not be empty"
            ));
        }
        if name.len() > ATTRIBUTE_NAME_MAX {
            return Err(format!(
                "{INVALID_PARAMETER}Attribute name is too large, must be less than 65536 bytes"
            ));
        }
    }
    Ok(item)
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

// --- expressions --------------------------------------------------------------------------------------

/// `ExpressionAttributeNames` and `ExpressionAttributeValues`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Substitutes {
    pub(crate) names: Option<BTreeMap<String, String>>,
    pub(crate) values: Option<BTreeMap<String, Checked<Value>>>,
}

impl Substitutes {
    pub(crate) fn names_only(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Substitutes {
            names: fields.string_map("ExpressionAttributeNames")?,
            values: None,
        })
    }

    pub(crate) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let mut substitutes = Substitutes::names_only(fields)?;
        if let Some(Json::Object(members)) = fields.attributes("ExpressionAttributeValues")? {
            let mut values = BTreeMap::new();
            for (name, json) in members.into_iter().filter(|(_, json)| !json.is_null()) {
                let value = match value_from_json(json) {
                    Ok(value) => Ok(value),
                    Err(ValueError::Validation(message)) => Err(message),
                    Err(ValueError::Serialization(message)) => {
                        return Err(ApiError::Serialization(Some(message)));
                    }
                };
                values.insert(name, value);
            }
            substitutes.values = Some(values);
        }
        Ok(substitutes)
    }

    /// The placeholders, checked: maps not empty, then their keys, then the values.
    pub(crate) fn placeholders(self, wording: Wording) -> Result<Placeholders, ApiError> {
        let mut wrong = None;
        let values = self.values.map(|values| {
            let substitute = |(name, value): (String, Checked<Value>)| {
                let value = value.unwrap_or_else(|message| {
                    wrong.get_or_insert((name.clone(), message));
                    Value::Null
                });
                (name, value)
            };
            values.into_iter().map(substitute).collect()
        });
        let placeholders = Placeholders::new(self.names, values).map_err(|e| wording.request(e))?;
        match wrong {
            None => Ok(placeholders),
            Some((name, message)) => {
                let wrapped = format!(
                    "ExpressionAttributeValues contains invalid value: {message} for key {name}"
                );
                Err(wording.value(&message, wrapped))
            }
        }
    }
}

/// Which of an operation's expressions and legacy parameters a request has, in DynamoDB's order.
pub(crate) struct Styles<'a> {
    pub(crate) expressions: &'a [(&'static str, bool)],
    pub(crate) legacy: &'a [(&'static str, bool)],
}

impl Styles<'_> {
    /// Refuses mixed styles and placeholders without an expression to use them.
    pub(crate) fn check(
        &self,
        substitutes: &Substitutes,
        wording: Wording,
    ) -> Result<(), ApiError> {
        let refuse = |message: String| Err(wording.request(ApiError::Validation(message)));
        let expressions = present(self.expressions);
        let legacy = present(self.legacy);
        if !expressions.is_empty() && !legacy.is_empty() {
            return refuse(format!(
                "Can not use both expression and non-expression parameters in the same request: \
                 Non-expression parameters: {{{}}} Expression parameters: {{{}}}",
                legacy.join(", "),
                expressions.join(", ")
            ));
        }
        if substitutes.names.is_some() && expressions.is_empty() {
            return refuse(
                "ExpressionAttributeNames can only be specified when using expressions".into(),
            );
        }
        let takes_values = |name: &&(&'static str, bool)| name.0 != "ProjectionExpression";
        if substitutes.values.is_some()
            && !self
                .expressions
                .iter()
                .filter(takes_values)
                .any(|(_, there)| *there)
        {
            let names: Vec<_> = self
                .expressions
                .iter()
                .filter(takes_values)
                .map(|(name, _)| *name)
                .collect();
            let are = if names.len() == 1 { "is" } else { "are" };
            return refuse(format!(
                "ExpressionAttributeValues can only be specified when using expressions: {} {are} null",
                names.join(" and ")
            ));
        }
        Ok(())
    }
}

fn present(parameters: &[(&'static str, bool)]) -> Vec<&'static str> {
    parameters
        .iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| *name)
        .collect()
}

/// `ConditionExpression`, or `Expected` with `ConditionalOperator`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConditionParams {
    pub(crate) expression: Option<String>,
    pub(crate) expected: Option<Json>,
    pub(crate) operator: Option<String>,
}

impl ConditionParams {
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(ConditionParams {
            expression: fields.string("ConditionExpression")?,
            expected: legacy_map(fields, "Expected", "ExpectedAttributeValue")?,
            operator: fields.string("ConditionalOperator")?,
        })
    }

    pub(crate) fn constrain(&self, constraints: &mut Constraints) {
        constraints.one_of(
            "conditionalOperator",
            self.operator.as_deref(),
            enums::CONDITIONAL_OPERATOR,
        );
        constrain_operators("expected", self.expected.as_ref(), false, constraints);
    }

    /// The condition of the legacy parameters, if they are used.
    pub(crate) fn from_legacy(&self) -> Result<Option<Condition>, ApiError> {
        legacy::expected_to_condition(self.expected.as_ref(), self.operator.as_deref())
            .map_err(legacy_error)
    }

    /// The condition of the expression, if there is one.
    pub(crate) fn from_expression(
        &self,
        placeholders: &mut Placeholders,
        wording: Wording,
    ) -> Result<Option<Condition>, ApiError> {
        condition(
            ExpressionKind::Condition,
            self.expression.as_deref(),
            placeholders,
            wording,
        )
    }
}

/// Parses a condition or filter, if there is one.
pub(crate) fn condition(
    kind: ExpressionKind,
    text: Option<&str>,
    placeholders: &mut Placeholders,
    wording: Wording,
) -> Result<Option<Condition>, ApiError> {
    text.map(|text| parse_condition(kind, text, placeholders).map_err(|e| wording.request(e)))
        .transpose()
}

/// What is wrong with a legacy parameter.
pub(crate) fn legacy_error(error: LegacyError) -> ApiError {
    match error {
        LegacyError::Serialization(message) => ApiError::Serialization(Some(message)),
        LegacyError::Validation(message) => ApiError::Validation(message),
    }
}

/// A legacy parameter: a map of structures of the named shape.
pub(crate) fn legacy_map(
    fields: &mut Fields,
    name: &str,
    shape: &str,
) -> Result<Option<Json>, ApiError> {
    let map = fields.map_of(name, &format!("com.amazonaws.dynamodb.v20120810.{shape}"))?;
    if let Some(map) = &map {
        for value in map.values().filter(|value| !value.is_null()) {
            check_legacy_types(Fields::from_element(value.clone(), shape)?)?;
        }
    }
    Ok(map.map(Json::Object))
}

/// Checks the JSON types of one legacy condition or update.
fn check_legacy_types(mut entry: Fields) -> Result<(), ApiError> {
    entry.string("ComparisonOperator")?;
    entry.string("Action")?;
    entry.boolean("Exists")?;
    let mut values = entry.list("AttributeValueList")?.unwrap_or_default();
    values.extend(entry.clone().raw("Value"));
    entry.structure("Value", "AttributeValue")?;
    for value in values.into_iter().filter(|v| !v.is_null()) {
        if let Err(ValueError::Serialization(message)) = value_from_json(value) {
            return Err(ApiError::Serialization(Some(message)));
        }
    }
    Ok(())
}

/// Checks the enumerations inside a legacy parameter at `path`.
pub(crate) fn constrain_operators(
    path: &str,
    conditions: Option<&Json>,
    required: bool,
    constraints: &mut Constraints,
) {
    for (attribute, entry) in conditions.and_then(Json::as_object).into_iter().flatten() {
        let at = format!("{path}.{attribute}.member.comparisonOperator");
        let operator = entry.get("ComparisonOperator").and_then(Json::as_str);
        if required {
            constraints.required(&at, operator.as_ref());
        }
        constraints.one_of(&at, operator, COMPARISON_OPERATORS);
    }
}

/// `ProjectionExpression`, or `AttributesToGet`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProjectionParams {
    pub(crate) expression: Option<String>,
    pub(crate) attributes: Option<Vec<String>>,
}

impl ProjectionParams {
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(ProjectionParams {
            expression: fields.string("ProjectionExpression")?,
            attributes: fields.strings("AttributesToGet")?,
        })
    }

    pub(crate) fn constrain(&self, path: &str, constraints: &mut Constraints) {
        if let Some(names) = &self.attributes {
            let shown = format!("'[{}]'", names.join(", "));
            constraints.count(path, names.len(), &shown, 1, ATTRIBUTES_TO_GET_MAX);
        }
    }

    pub(crate) fn given(&self) -> bool {
        self.expression.is_some() || self.attributes.is_some()
    }

    /// `AttributesToGet` names each attribute once.
    pub(crate) fn refuse_duplicates(&self) -> Result<(), ApiError> {
        let names = self.attributes.as_deref().unwrap_or_default();
        for (position, name) in names.iter().enumerate() {
            if names.iter().take(position).any(|earlier| earlier == name) {
                return Err(invalid_parameter(format!(
                    "Duplicate value in attribute name: {name}"
                )));
            }
        }
        Ok(())
    }

    pub(crate) fn parse(self, placeholders: &mut Placeholders) -> Result<Projection, ApiError> {
        if let Some(text) = &self.expression {
            return Ok(Projection::Paths(parse_projection(text, placeholders)?));
        }
        let whole = |root| Path {
            root,
            steps: Vec::new(),
        };
        Ok(match self.attributes {
            Some(names) => Projection::Paths(names.into_iter().map(whole).collect()),
            None => Projection::All,
        })
    }
}

// --- options ------------------------------------------------------------------------------------------

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

/// How a list prints inside a constraint violation. AWS prints Java's own text, which clients can not
/// rely on; ours is JSON.
pub(crate) fn shown_list(elements: &[Json]) -> String {
    let shown: Vec<_> = elements.iter().map(Json::to_string).collect();
    format!("'[{}]'", shown.join(", "))
}

// --- tables -------------------------------------------------------------------------------------------

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

/// The table of that name in this region.
pub(crate) fn table(
    backend: &dyn Backend,
    txn: &dyn ReadTxn,
    name: &str,
) -> Result<TableDef, ApiError> {
    read::table(txn, backend.region().id, name)?.ok_or_else(ApiError::resource_not_found)
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
    use serde_json::json;

    fn fields(json: Json) -> Fields {
        Fields::from_element(json, "Test").expect("an object")
    }

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

    #[test]
    fn mixed_styles_are_named_in_order() {
        let styles = Styles {
            expressions: &[("UpdateExpression", true), ("ConditionExpression", false)],
            legacy: &[("AttributeUpdates", true), ("Expected", true)],
        };
        let error = styles
            .check(&Substitutes::default(), Wording::Bare)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Can not use both expression and non-expression parameters in the same request: Non-expression \
             parameters: {AttributeUpdates, Expected} Expression parameters: {UpdateExpression}"
        );
    }

    #[test]
    fn placeholders_need_an_expression() {
        let mut given = fields(json!({"ExpressionAttributeValues": {":a": {"S": "x"}}}));
        let substitutes = Substitutes::take(&mut given).expect("well typed");
        let styles = Styles {
            expressions: &[("UpdateExpression", false), ("ConditionExpression", false)],
            legacy: &[],
        };
        assert_eq!(
            styles
                .check(&substitutes, Wording::Bare)
                .unwrap_err()
                .to_string(),
            "ExpressionAttributeValues can only be specified when using expressions: UpdateExpression and \
             ConditionExpression are null"
        );
    }

    #[test]
    fn duplicate_attributes_are_named() {
        let params = ProjectionParams {
            expression: None,
            attributes: Some(vec!["a".into(), "b".into(), "a".into()]),
        };
        assert_eq!(
            params.refuse_duplicates().unwrap_err().to_string(),
            "One or more parameter values were invalid: Duplicate value in attribute name: a"
        );
    }
}
