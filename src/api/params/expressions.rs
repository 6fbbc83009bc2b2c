//! Expressions and the legacy parameters that say the same (expressions.md sections 3 and 9).

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Checked, Wording, check_names, invalid_parameter};
use crate::api::projection::Projection;
use crate::api::{Constraints, Fields, enums};
use crate::expression::legacy::{self, LegacyError};
use crate::expression::{Condition, ExpressionKind, Path, Placeholders};
use crate::expression::{parse_condition, parse_projection};
use crate::item::Value;
use crate::item::json::{ValueError, value_from_json};
use crate::replica::ApiError;

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
    pub(crate) fn legacy(&self) -> Result<Option<Condition>, ApiError> {
        legacy::expected_to_condition(self.expected.as_ref(), self.operator.as_deref())
            .map_err(legacy_error)
    }

    /// The condition of the expression, if there is one.
    pub(crate) fn parse(
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

    /// `AttributesToGet` names each attribute once, by a name that an attribute can have.
    pub(crate) fn refuse_duplicates(&self) -> Result<(), ApiError> {
        let names = self.attributes.as_deref().unwrap_or_default();
        check_names(names).map_err(ApiError::Validation)?;
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
        Ok(match self.attributes {
            Some(names) => Projection::Paths(names.into_iter().map(Path::attribute).collect()),
            None => Projection::All,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(json: Json) -> Fields {
        Fields::from_element(json, "Test").expect("an object")
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

    fn attributes_to_get(json: serde_json::Value) -> Result<ProjectionParams, ApiError> {
        let body = serde_json::json!({ "AttributesToGet": json });
        ProjectionParams::take(&mut Fields::from_element(body, "GetItem")?)
    }

    #[test]
    fn attributes_to_get_are_whole_names() {
        let params = attributes_to_get(serde_json::json!(["a.b", "a"])).expect("two names");
        params.refuse_duplicates().expect("they differ");
        let parsed = params.parse(&mut Placeholders::default()).expect("paths");
        let whole = ["a.b", "a"].map(Path::attribute);
        assert_eq!(parsed.paths(), whole);
    }

    #[test]
    fn attributes_to_get_are_strings_and_some() {
        match attributes_to_get(serde_json::json!([1])) {
            Err(ApiError::Serialization(Some(text))) => {
                assert_eq!(text, "NUMBER_VALUE cannot be converted to String");
            }
            other => panic!("{other:?}"),
        }
        let mut constraints = Constraints::default();
        let params = attributes_to_get(serde_json::json!([])).expect("a list");
        params.constrain("attributesToGet", &mut constraints);
        let error = constraints.finish().unwrap_err().to_string();
        let start = "1 validation error detected: Value '[]' at 'attributesToGet'";
        assert!(error.starts_with(start), "{error}");
    }

    #[test]
    fn duplicate_attributes_are_named() {
        let names = serde_json::json!(["a", "b", "a"]);
        let params = attributes_to_get(names).expect("three names");
        assert_eq!(
            params.refuse_duplicates().unwrap_err().to_string(),
            "One or more parameter values were invalid: Duplicate value in attribute name: a"
        );
    }
}
