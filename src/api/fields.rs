//! A typed reader of request members: JSON types against the model (errors-and-validation.md section 4).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::replica::ApiError;

/// The text for a mismatch deep inside nested generics (`RequestItems`, `Keys`).
pub(crate) const GENERICS_MISMATCH: &str = "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be \
     cast to class java.lang.Class (sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and java.lang.Class \
     are in module java.base of loader 'bootstrap')";

const STRUCTURE_NOT_EXPECTED: &str = "Start of structure or map found where not expected";
const UNEXPECTED_FIELD: &str = "Unexpected field type";
const UNEXPECTED_VALUE: &str = "Unexpected value type in payload";
const UNEXPECTED_TOKEN: &str = "Unexpected token received from parser";
const SHAPES: &str = "com.amazonaws.dynamodb.v20120810";

/// The longest table name that is not an ARN, and the shortest.
const NAME_MAX: usize = 255;
const NAME_MIN: usize = 3;
/// The longest `TableName`, which may be an ARN.
const NAME_OR_ARN_MAX: usize = 1024;

/// The members of one request structure. Each reader takes its member out; `null` counts as absent and
/// unknown members are never looked at. Take every member before checking any constraint: DynamoDB checks
/// all types first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields {
    members: Map<String, Value>,
}

/// A SerializationException with DynamoDB's text.
pub(crate) fn serialization(text: impl Into<String>) -> ApiError {
    ApiError::Serialization(Some(text.into()))
}

impl Fields {
    pub(crate) fn new(members: Map<String, Value>) -> Self {
        Fields { members }
    }

    /// A structure that is an element of a list or the value of a map; `shape` is its name in the model.
    pub(crate) fn from_element(value: Value, shape: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(members) => Ok(Fields { members }),
            Value::Array(_) => Err(unrecognized_shape(shape)),
            _ => Err(serialization(UNEXPECTED_VALUE)),
        }
    }

    /// The member as it is.
    pub(crate) fn raw(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    /// True when the member is there and not null. Takes nothing.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn string(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.raw(name).map(string_of).transpose()
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        self.raw(name).map(boolean_of).transpose()
    }

    /// A 32-bit member. Fractions are cut off, as DynamoDB does; numbers out of range saturate.
    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        self.raw(name)
            .map(|value| integer_of(value, "Integer"))
            .transpose()
    }

    /// A 64-bit member.
    pub(crate) fn long(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        self.raw(name)
            .map(|value| integer_of(value, "Long"))
            .transpose()
    }

    /// A structure; `shape` is its name in the model (`KeysAndAttributes`).
    pub(crate) fn structure(
        &mut self,
        name: &str,
        shape: &str,
    ) -> Result<Option<Fields>, ApiError> {
        match self.raw(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Fields { members })),
            Some(Value::Array(_)) => Err(unrecognized_shape(shape)),
            Some(_) => Err(serialization(UNEXPECTED_FIELD)),
        }
    }

    /// A list of anything.
    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.raw(name) {
            None => Ok(None),
            Some(Value::Array(elements)) => Ok(Some(elements)),
            Some(Value::Object(_)) => Err(serialization(STRUCTURE_NOT_EXPECTED)),
            Some(_) => Err(serialization(UNEXPECTED_FIELD)),
        }
    }

    /// A list of structures.
    pub(crate) fn structures(
        &mut self,
        name: &str,
        shape: &str,
    ) -> Result<Option<Vec<Fields>>, ApiError> {
        let Some(elements) = self.list(name)? else {
            return Ok(None);
        };
        elements
            .into_iter()
            .filter(|e| !e.is_null())
            .map(|e| Fields::from_element(e, shape))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A list of strings.
    pub(crate) fn strings(&mut self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(elements) = self.list(name)? else {
            return Ok(None);
        };
        elements
            .into_iter()
            .filter(|e| !e.is_null())
            .map(string_of)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A map; `of` is the full Java name of its values' type, which only the error for an array names.
    pub(crate) fn map_of(
        &mut self,
        name: &str,
        of: &str,
    ) -> Result<Option<Map<String, Value>>, ApiError> {
        match self.raw(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(Value::Array(_)) => Err(serialization(format!(
                "Unrecognized collection type java.util.Map<java.lang.String, {of}>"
            ))),
            Some(_) => Err(serialization(UNEXPECTED_FIELD)),
        }
    }

    /// A map of attribute values (`Key`, `Item`, `ExpressionAttributeValues`), still as JSON: an object,
    /// whose values are checked by `item::json`.
    pub(crate) fn attributes(&mut self, name: &str) -> Result<Option<Value>, ApiError> {
        Ok(self
            .map_of(name, &format!("{SHAPES}.AttributeValue"))?
            .map(Value::Object))
    }

    /// A map of strings (`ExpressionAttributeNames`).
    pub(crate) fn string_map(
        &mut self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, ApiError> {
        let Some(members) = self.map_of(name, "java.lang.String")? else {
            return Ok(None);
        };
        let strings = members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| Ok((name, string_of(value)?)));
        strings.collect::<Result<_, _>>().map(Some)
    }
}

fn unrecognized_shape(shape: &str) -> ApiError {
    serialization(format!(
        "Unrecognized collection type class {SHAPES}.{shape}"
    ))
}

/// The name DynamoDB's parser gives the token of a scalar.
fn token(value: &Value) -> &'static str {
    match value {
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(n) if n.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        _ => "STRING_VALUE",
    }
}

/// The error for a list or a structure where a scalar belongs, if `value` is one.
fn not_scalar(value: &Value, class: &str) -> Option<ApiError> {
    match value {
        Value::Object(_) => Some(serialization(STRUCTURE_NOT_EXPECTED)),
        Value::Array(_) => Some(serialization(format!(
            "Unrecognized collection type class java.lang.{class}"
        ))),
        _ => None,
    }
}

fn string_of(value: Value) -> Result<String, ApiError> {
    if let Some(error) = not_scalar(&value, "String") {
        return Err(error);
    }
    match value {
        Value::String(text) => Ok(text),
        other => Err(serialization(format!(
            "{} cannot be converted to String",
            token(&other)
        ))),
    }
}

fn boolean_of(value: Value) -> Result<bool, ApiError> {
    if let Some(error) = not_scalar(&value, "Boolean") {
        return Err(error);
    }
    match value {
        Value::Bool(set) => Ok(set),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => Err(serialization(UNEXPECTED_TOKEN)),
        },
        other => Err(serialization(format!(
            "{} cannot be converted to Boolean",
            token(&other)
        ))),
    }
}

fn integer_of(value: Value, class: &str) -> Result<i64, ApiError> {
    if let Some(error) = not_scalar(&value, class) {
        return Err(error);
    }
    match &value {
        Value::Number(number) => Ok(whole(number)),
        other => Err(serialization(format!(
            "{} cannot be converted to {class}",
            token(other)
        ))),
    }
}

/// The number without its fraction, saturating.
fn whole(number: &serde_json::Number) -> i64 {
    if let Some(exact) = number.as_i64() {
        return exact;
    }
    if number.as_u64().is_some() {
        return i64::MAX;
    }
    // A float-to-integer `as` saturates and cuts the fraction off, which is what is wanted.
    #[allow(clippy::cast_possible_truncation)]
    let cut = number.as_f64().unwrap_or(0.0) as i64;
    cut
}

/// The error for a required parameter that is not there (`name` as in the API: `TableName`).
pub(crate) fn missing(name: &str) -> ApiError {
    ApiError::Validation(format!(
        "The parameter '{name}' is required but was not present in the request"
    ))
}

/// The `TableName` of the operations on tables, CreateTable excepted: required, a name or a table ARN,
/// reported alone. Returns the short name.
pub(crate) fn table_name(given: Option<String>) -> Result<String, ApiError> {
    let given = given.ok_or_else(|| missing("TableName"))?;
    if !given.starts_with("arn:") {
        refuse_name_length(&given)?;
    }
    named(given)
}

/// The `TableName` of the operations on items: when absent it is one of the violations collected in
/// `constraints`, and what is returned does not matter; when wrong it is reported alone.
pub(crate) fn item_table_name(
    given: Option<String>,
    constraints: &mut super::Constraints,
) -> Result<String, ApiError> {
    let Some(given) = given else {
        constraints.required::<String>("tableName", None);
        return Ok(String::new());
    };
    let given = named(given)?;
    refuse_name_length(&given)?;
    Ok(given)
}

/// The short name of a name or an ARN that breaks no constraint.
fn named(given: String) -> Result<String, ApiError> {
    let is_arn = given.starts_with("arn:");
    let mut constraints = super::Constraints::default();
    let max = if is_arn { NAME_OR_ARN_MAX } else { NAME_MAX };
    constraints.length("tableName", &given, 1, max);
    if !is_arn && !given.is_empty() {
        constraints.name_pattern("tableName", &given);
    }
    constraints.finish()?;
    if is_arn {
        return name_in_arn(&given)
            .map(str::to_owned)
            .ok_or_else(|| ApiError::Validation(format!("Invalid table ARN: {given}")));
    }
    Ok(given)
}

fn refuse_name_length(name: &str) -> Result<(), ApiError> {
    if (NAME_MIN..=NAME_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "TableName must be at least {NAME_MIN} characters long and at most {NAME_MAX} characters long"
    )))
}

/// The table's name in `arn:aws:dynamodb:{region}:{account}:table/{name}[/...]`.
pub(crate) fn name_in_arn(arn: &str) -> Option<&str> {
    let resource = arn.splitn(6, ':').nth(5)?;
    let name = resource.strip_prefix("table/")?.split('/').next()?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::from_element(value, "Test").unwrap()
    }

    fn text<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        match result.unwrap_err() {
            ApiError::Serialization(Some(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wrong_json_types_have_dynamodbs_texts() {
        let mut f = fields(json!({"a": 1, "b": 1.5, "c": true, "d": false, "e": {}, "f": []}));
        assert_eq!(
            text(f.string("a")),
            "NUMBER_VALUE cannot be converted to String"
        );
        assert_eq!(
            text(f.string("b")),
            "DECIMAL_VALUE cannot be converted to String"
        );
        assert_eq!(
            text(f.string("c")),
            "TRUE_VALUE cannot be converted to String"
        );
        assert_eq!(
            text(f.string("d")),
            "FALSE_VALUE cannot be converted to String"
        );
        assert_eq!(
            text(f.string("e")),
            "Start of structure or map found where not expected"
        );
        assert_eq!(
            text(f.string("f")),
            "Unrecognized collection type class java.lang.String"
        );
        let mut f = fields(
            json!({"a": "1", "b": true, "c": 1, "d": "maybe", "e": {}, "f": "x", "g": [1], "h": []}),
        );
        assert_eq!(
            text(f.integer("a")),
            "STRING_VALUE cannot be converted to Integer"
        );
        assert_eq!(text(f.long("b")), "TRUE_VALUE cannot be converted to Long");
        assert_eq!(
            text(f.boolean("c")),
            "NUMBER_VALUE cannot be converted to Boolean"
        );
        assert_eq!(
            text(f.boolean("d")),
            "Unexpected token received from parser"
        );
        assert_eq!(
            text(f.list("e")),
            "Start of structure or map found where not expected"
        );
        assert_eq!(text(f.structure("f", "Shape")), "Unexpected field type");
        assert_eq!(
            text(f.structures("g", "Shape")),
            "Unexpected value type in payload"
        );
        assert_eq!(
            text(f.attributes("h")),
            "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>"
        );
    }

    #[test]
    fn null_is_absent_and_fractions_are_cut() {
        let mut f = fields(json!({"a": null, "b": 2.9, "c": -2.9, "d": 1e300}));
        assert!(!f.has("a"));
        assert_eq!(f.string("a").unwrap(), None);
        assert_eq!(f.integer("b").unwrap(), Some(2));
        assert_eq!(f.integer("c").unwrap(), Some(-2));
        assert_eq!(f.long("d").unwrap(), Some(i64::MAX));
    }

    #[test]
    fn table_names_may_be_arns() {
        assert_eq!(table_name(Some("abc".into())).unwrap(), "abc");
        assert_eq!(
            table_name(Some(
                "arn:aws:dynamodb:us-east-1:000000000000:table/abc".into()
            ))
            .unwrap(),
            "abc"
        );
        assert_eq!(
            table_name(None).unwrap_err().to_string(),
            "The parameter 'TableName' is required but was not present in the request"
        );
        assert_eq!(
            item_table_name(Some(String::new()), &mut Default::default())
                .unwrap_err()
                .to_string(),
            "1 validation error detected: Value '' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 1"
        );
        assert!(
            table_name(Some("a;cd".into()))
                .unwrap_err()
                .to_string()
                .contains("[a-zA-Z0-9_.-]+")
        );
        assert!(
            table_name(Some("ab".into()))
                .unwrap_err()
                .to_string()
                .starts_with("TableName must be at least 3")
        );
    }
}
