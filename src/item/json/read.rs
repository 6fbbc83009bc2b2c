//! Values from JSON.
//!
//! DynamoDB reads in two passes: first the JSON types of the whole document are held against the model
//! (SerializationException), then the values against the rules (ValidationException). [`check_item`] and
//! [`check_value`] are the first pass alone, for callers that have other parameters to check between.

use std::collections::{BTreeMap, BTreeSet};

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine};
use serde_json::{Map, Value as Json};

use crate::item::value::NESTING_MAX;
use crate::item::{Item, Number, NumberError, Value};

/// Why JSON is not a value. The text is DynamoDB's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// JSON of the wrong types: a SerializationException.
    #[error("{0}")]
    Serialization(String),
    /// A value that breaks a rule: a ValidationException.
    #[error("{0}")]
    Validation(String),
}

impl From<NumberError> for ValueError {
    fn from(error: NumberError) -> Self {
        ValueError::Validation(error.to_string())
    }
}

/// The longest attribute name, in bytes.
const NAME_SIZE_MAX: usize = 65_535;

const EMPTY: &str =
    "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
const SEVERAL: &str = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes";
const NESTED: &str = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit";
const INVALID: &str = "One or more parameter values were invalid: ";

/// Reads one AttributeValue.
pub fn value_from_json(json: Json) -> Result<Value, ValueError> {
    check_value(&json)?;
    value(json, 0)
}

/// Reads a map of names to AttributeValues.
pub fn item_from_json(json: Json) -> Result<Item, ValueError> {
    check_item(&json)?;
    match json {
        Json::Object(members) => fields(members, 0),
        _ => Ok(Item::new()),
    }
}

/// The first pass over one AttributeValue: its JSON types.
pub fn check_value(json: &Json) -> Result<(), ValueError> {
    check_structure(json, 0)
}

/// The first pass over a map of names to AttributeValues: its JSON types.
pub fn check_item(json: &Json) -> Result<(), ValueError> {
    check_map(json, 0)
}

fn serialization<T>(text: impl Into<String>) -> Result<T, ValueError> {
    Err(ValueError::Serialization(text.into()))
}

fn validation<T>(text: impl Into<String>) -> Result<T, ValueError> {
    Err(ValueError::Validation(text.into()))
}

fn invalid<T>(text: impl AsRef<str>) -> Result<T, ValueError> {
    validation(format!("{INVALID}{}", text.as_ref()))
}

// First pass. What lies deeper than a value may nest is left to the second pass, which refuses it.

fn check_structure(json: &Json, level: usize) -> Result<(), ValueError> {
    let members = match json {
        Json::Null => return Ok(()),
        Json::Object(members) => members,
        Json::Array(_) => {
            return serialization(
                "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue",
            );
        }
        _ => return serialization("Unexpected value type in payload"),
    };
    for (tag, member) in members.iter().filter(|(_, member)| !member.is_null()) {
        match tag.as_str() {
            "S" | "N" => check_string(member)?,
            "B" => check_binary(member)?,
            "BOOL" | "NULL" => boolean(member).map(drop)?,
            "SS" | "NS" => check_list(member, check_string)?,
            "BS" => check_list(member, check_binary)?,
            "L" if level < NESTING_MAX => {
                check_list(member, |json| check_structure(json, level + 1))?
            }
            "M" if level < NESTING_MAX => check_map(member, level + 1)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_map(json: &Json, level: usize) -> Result<(), ValueError> {
    match json {
        Json::Null => Ok(()),
        Json::Object(members) => members
            .values()
            .try_for_each(|json| check_structure(json, level)),
        Json::Array(_) => serialization(
            "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>",
        ),
        _ => serialization("Unexpected field type"),
    }
}

fn check_list(
    json: &Json,
    element: impl Fn(&Json) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    match json {
        Json::Array(list) => list
            .iter()
            .filter(|json| !json.is_null())
            .try_for_each(element),
        Json::Object(_) => serialization("Start of structure or map found where not expected"),
        _ => serialization("Unexpected field type"),
    }
}

fn check_string(json: &Json) -> Result<(), ValueError> {
    if json.is_string() {
        Ok(())
    } else {
        Err(not_scalar(json, "String", "java.lang.String"))
    }
}

fn check_binary(json: &Json) -> Result<(), ValueError> {
    binary(json).map(drop)
}

/// The error of JSON that is not the scalar it should be.
fn not_scalar(json: &Json, short: &str, class: &str) -> ValueError {
    let token = match json {
        Json::Object(_) => {
            let text = "Start of structure or map found where not expected";
            return ValueError::Serialization(text.to_owned());
        }
        Json::Array(_) => {
            let text = format!("Unrecognized collection type class {class}");
            return ValueError::Serialization(text);
        }
        Json::Null => {
            let text = format!("{INVALID}An string set may not have a null string as a member");
            return ValueError::Validation(text);
        }
        Json::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Json::Number(_) => "NUMBER_VALUE",
        Json::Bool(true) => "TRUE_VALUE",
        Json::Bool(false) => "FALSE_VALUE",
        Json::String(_) => "STRING_VALUE",
    };
    ValueError::Serialization(format!("{token} cannot be converted to {short}"))
}

/// A boolean; the words that DynamoDB's deserialiser takes for one count.
fn boolean(json: &Json) -> Result<bool, ValueError> {
    let text = match json {
        Json::Bool(value) => return Ok(*value),
        Json::String(text) => text,
        other => return Err(not_scalar(other, "Boolean", "java.lang.Boolean")),
    };
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    if ["true", "1", "yes"].iter().any(is) {
        Ok(true)
    } else if ["false", "0", "no"].iter().any(is) {
        Ok(false)
    } else {
        serialization("Unexpected token received from parser")
    }
}

fn binary(json: &Json) -> Result<Vec<u8>, ValueError> {
    let text = match json {
        Json::String(text) => text,
        Json::Object(_) | Json::Array(_) => {
            return Err(not_scalar(json, "ByteBuffer", "java.nio.ByteBuffer"));
        }
        _ => return serialization("only base-64-encoded strings are convertible to bytes"),
    };
    if text.len() % 4 != 0 {
        let length = text.len();
        return serialization(format!(
            "Base64 encoded length is expected a multiple of 4 bytes but found: {length}"
        ));
    }
    STANDARD.decode(text).or_else(|error| match error {
        DecodeError::InvalidByte(_, byte) if byte.is_ascii() && byte != b'=' => {
            serialization(format!("Invalid base 64 character: '{}'", char::from(byte)))
        }
        _ => serialization("Invalid last non-pad Base64 character dectected"),
    })
}

// Second pass.

/// The value that these members hold, `level` containers below the item. The order of the checks is
/// DynamoDB's; it shows when a value has several members.
fn value(json: Json, level: usize) -> Result<Value, ValueError> {
    let Json::Object(mut members) = json else {
        return validation(EMPTY);
    };
    let mut count = 0;
    let mut take = |members: &mut Map<String, Json>, tag| {
        let member = members.remove(tag).filter(|member| !member.is_null());
        count += usize::from(member.is_some());
        member
    };
    let number = take(&mut members, "N").map(number).transpose()?;
    let null = take(&mut members, "NULL").map(null).transpose()?;
    refuse_empty_sets(&members)?;
    let numbers = take(&mut members, "NS").map(number_set).transpose()?;
    let strings = take(&mut members, "SS").map(string_set).transpose()?;
    let binaries = take(&mut members, "BS").map(binary_set).transpose()?;
    let map = take(&mut members, "M")
        .map(|json| map(json, level))
        .transpose()?;
    let list = take(&mut members, "L")
        .map(|json| list(json, level))
        .transpose()?;
    let text = take(&mut members, "S")
        .map(|json| string(json).map(Value::S))
        .transpose()?;
    let bytes = take(&mut members, "B")
        .map(|json| binary(&json).map(Value::B))
        .transpose()?;
    let truth = take(&mut members, "BOOL")
        .map(|json| boolean(&json).map(Value::Bool))
        .transpose()?;
    if count > 1 {
        return validation(SEVERAL);
    }
    let scalar = text.or(number).or(bytes).or(truth).or(null);
    let value = scalar.or(strings).or(numbers).or(binaries).or(map).or(list);
    value.ok_or_else(|| ValueError::Validation(EMPTY.to_owned()))
}

fn fields(members: Map<String, Json>, level: usize) -> Result<BTreeMap<String, Value>, ValueError> {
    let mut fields = BTreeMap::new();
    for (name, json) in members {
        if name.is_empty() {
            return invalid("Empty attribute name");
        }
        if name.len() > NAME_SIZE_MAX {
            return invalid("Attribute name is too large, must be less than 65536 bytes");
        }
        fields.insert(name, value(json, level)?);
    }
    Ok(fields)
}

fn string(json: Json) -> Result<String, ValueError> {
    match json {
        Json::String(text) => Ok(text),
        other => Err(not_scalar(&other, "String", "java.lang.String")),
    }
}

fn number(json: Json) -> Result<Value, ValueError> {
    Ok(Value::N(Number::parse(&string(json)?)?))
}

fn null(json: Json) -> Result<Value, ValueError> {
    if boolean(&json)? {
        Ok(Value::Null)
    } else {
        invalid("Null attribute value types must have the value of true")
    }
}

fn refuse_empty_sets(members: &Map<String, Json>) -> Result<(), ValueError> {
    let empty = |tag| matches!(members.get(tag), Some(Json::Array(list)) if list.is_empty());
    if empty("SS") {
        return invalid("An string set  may not be empty");
    }
    if empty("NS") {
        return invalid("An number set  may not be empty");
    }
    if empty("BS") {
        return invalid("Binary sets should not be empty");
    }
    Ok(())
}

fn array(json: Json) -> Result<Vec<Json>, ValueError> {
    match json {
        Json::Array(list) => Ok(list),
        other => Err(check_list(&other, |_| Ok(()))
            .err()
            .unwrap_or_else(|| ValueError::Serialization("Unexpected field type".to_owned()))),
    }
}

fn number_set(json: Json) -> Result<Value, ValueError> {
    let list = array(json)?;
    let count = list.len();
    let mut set = BTreeSet::new();
    for element in list {
        set.insert(Number::parse(&string(element)?)?);
    }
    // Compared as numbers: 1 and 1.0 are one element.
    if set.len() < count {
        validation("Input collection contains duplicates")
    } else {
        Ok(Value::Ns(set))
    }
}

fn string_set(json: Json) -> Result<Value, ValueError> {
    let list = array(json)?
        .into_iter()
        .map(string)
        .collect::<Result<Vec<_>, _>>()?;
    let distinct: BTreeSet<&String> = list.iter().collect();
    if distinct.len() < list.len() {
        return invalid(format!(
            "Input collection [{}] contains duplicates.",
            list.join(", ")
        ));
    }
    Ok(Value::Ss(list.into_iter().collect()))
}

fn binary_set(json: Json) -> Result<Value, ValueError> {
    let list = array(json)?
        .iter()
        .map(binary)
        .collect::<Result<Vec<_>, _>>()?;
    let distinct: BTreeSet<&Vec<u8>> = list.iter().collect();
    if distinct.len() < list.len() {
        let shown: Vec<String> = list.iter().map(|bytes| STANDARD.encode(bytes)).collect();
        return invalid(format!(
            "Input collection [{}]of type BS contains duplicates.",
            shown.join(", ")
        ));
    }
    Ok(Value::Bs(list.into_iter().collect()))
}

/// The level of a container at this level's elements; refused beyond the 32nd.
fn deeper(level: usize) -> Result<usize, ValueError> {
    if level < NESTING_MAX {
        Ok(level + 1)
    } else {
        validation(NESTED)
    }
}

fn list(json: Json, level: usize) -> Result<Value, ValueError> {
    let level = deeper(level)?;
    let elements = array(json)?.into_iter().map(|json| value(json, level));
    elements.collect::<Result<Vec<_>, _>>().map(Value::L)
}

fn map(json: Json, level: usize) -> Result<Value, ValueError> {
    let level = deeper(level)?;
    match json {
        Json::Object(members) => fields(members, level).map(Value::M),
        other => Err(check_map(&other, level)
            .err()
            .unwrap_or_else(|| ValueError::Serialization("Unexpected field type".to_owned()))),
    }
}
