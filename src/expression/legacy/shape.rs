//! The JSON of legacy parameters, checked for shape (errors-and-validation.md section 4).
//!
//! Every shape is checked before any rule: a SerializationException anywhere in the request comes before
//! a ValidationException. So a value that is well-formed JSON but not a valid value is kept as its
//! message until its turn comes.

use serde_json::{Map, Value as Json};

use super::LegacyError;
use crate::item::Value;
use crate::item::json::{ValueError, value_from_json};

/// A name and the structure it stands for.
type Member<'a> = (&'a str, &'a Map<String, Json>);

/// A value, or the ValidationException it will cause.
pub(super) type Decoded = Result<Value, String>;

const STRUCTURE: &str = "Start of structure or map found where not expected";
const FIELD_TYPE: &str = "Unexpected field type";
const PAYLOAD_TYPE: &str = "Unexpected value type in payload";
const PACKAGE: &str = "com.amazonaws.dynamodb.v20120810";
const EMPTY_VALUE: &str =
    "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";

fn refuse<T>(message: impl Into<String>) -> Result<T, LegacyError> {
    Err(LegacyError::Serialization(message.into()))
}

/// A member that is there. JSON `null` counts as absent.
pub(super) fn member<'a>(entry: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    entry.get(name).filter(|json| !json.is_null())
}

/// A map of structures, in name order.
pub(super) fn entries<'a>(
    json: Option<&'a Json>,
    shape: &str,
) -> Result<Vec<Member<'a>>, LegacyError> {
    let map = match json {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Object(map)) => map,
        Some(Json::Array(_)) => {
            return refuse(format!(
                "Unrecognized collection type java.util.Map<java.lang.String, {PACKAGE}.{shape}>"
            ));
        }
        Some(_) => return refuse(FIELD_TYPE),
    };
    let mut entries: Vec<Member> = Vec::with_capacity(map.len());
    for (name, entry) in map {
        if !entry.is_null() {
            entries.push((name, structure(entry, shape, PAYLOAD_TYPE)?));
        }
    }
    entries.sort_by_key(|(name, _)| *name);
    Ok(entries)
}

fn structure<'a>(
    json: &'a Json,
    shape: &str,
    scalar: &str,
) -> Result<&'a Map<String, Json>, LegacyError> {
    match json {
        Json::Object(map) => Ok(map),
        Json::Array(_) => refuse(format!(
            "Unrecognized collection type class {PACKAGE}.{shape}"
        )),
        _ => refuse(scalar),
    }
}

/// How the deserialiser calls a scalar.
fn token(json: &Json) -> &'static str {
    match json {
        Json::Bool(true) => "TRUE_VALUE",
        Json::Bool(false) => "FALSE_VALUE",
        Json::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Json::Number(_) => "NUMBER_VALUE",
        Json::String(_) => "STRING_VALUE",
        Json::Null | Json::Array(_) | Json::Object(_) => "VALUE",
    }
}

pub(super) fn string(json: &Json) -> Result<&str, LegacyError> {
    match json {
        Json::String(text) => Ok(text),
        Json::Array(_) => refuse("Unrecognized collection type class java.lang.String"),
        Json::Object(_) => refuse(STRUCTURE),
        scalar => refuse(format!("{} cannot be converted to String", token(scalar))),
    }
}

pub(super) fn boolean(json: &Json) -> Result<bool, LegacyError> {
    match json {
        Json::Bool(value) => Ok(*value),
        Json::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => refuse("Unexpected token received from parser"),
        },
        Json::Array(_) => refuse("Unrecognized collection type class java.lang.Boolean"),
        Json::Object(_) => refuse(STRUCTURE),
        scalar => refuse(format!("{} cannot be converted to Boolean", token(scalar))),
    }
}

pub(super) fn list(json: &Json) -> Result<&[Json], LegacyError> {
    match json {
        Json::Array(list) => Ok(list),
        Json::Object(_) => refuse(STRUCTURE),
        _ => refuse(FIELD_TYPE),
    }
}

/// A `Value` member.
pub(super) fn value(json: &Json) -> Result<Decoded, LegacyError> {
    structure(json, "AttributeValue", FIELD_TYPE)?;
    decode(json)
}

/// An `AttributeValueList` member.
pub(super) fn values(json: &Json) -> Result<Vec<Decoded>, LegacyError> {
    let element = |json: &Json| {
        if json.is_null() {
            return Ok(Err(EMPTY_VALUE.into()));
        }
        structure(json, "AttributeValue", PAYLOAD_TYPE)?;
        decode(json)
    };
    list(json)?.iter().map(element).collect()
}

fn decode(json: &Json) -> Result<Decoded, LegacyError> {
    match value_from_json(json.clone()) {
        Ok(value) => Ok(Ok(value)),
        Err(ValueError::Validation(message)) => Ok(Err(message)),
        Err(ValueError::Serialization(message)) => refuse(message),
    }
}
