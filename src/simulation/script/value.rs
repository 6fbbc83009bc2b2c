//! Values: TOML's as DynamoDB's, and DynamoDB's as a person reads them.
//!
//! A string is an `S`, a number an `N`, a boolean a `BOOL`, an array an `L`, a table an `M`. A table of one member
//! that is named as a type is that type: `{ SS = ["a", "b"] }`, `{ B = "aGk=" }`, `{ M = { S = "a map" } }`.
//! `{ time = "20s" }` is the second at which the scenario is 20 s old, as Time To Live wants it.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::fields::{Flaw, Node, Read, flaw, list, plain, start, text};
use crate::item::{Item, Value, json as wire};
use crate::simulation::scenario::Span;

const TYPES: [&str; 10] = ["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"];
/// A time that is not known before the scenario begins.
const TIME: &str = "time";

/// A map of attributes. Checked, but for times.
pub fn attributes(node: &Node<'_>) -> Read<Json> {
    let map = map(node)?;
    wire::item_from_json(resolve(&map, 0)).map_err(|error| Flaw {
        at: start(node),
        reason: error.to_string(),
    })?;
    Ok(map)
}

fn map(node: &Node<'_>) -> Read<Json> {
    let Some(table) = node.get_ref().as_table() else {
        return flaw(start(node), "a table of attributes is needed here");
    };
    let members = table.iter();
    let members = members.map(|(key, value)| Ok((key.get_ref().to_string(), attribute(value)?)));
    members.collect::<Read<Map<_, _>>>().map(Json::Object)
}

fn attribute(node: &Node<'_>) -> Read<Json> {
    Ok(match node.get_ref() {
        DeValue::String(text) => json!({"S": text}),
        DeValue::Integer(_) | DeValue::Float(_) => json!({"N": number(node)?}),
        DeValue::Boolean(is) => json!({"BOOL": is}),
        DeValue::Array(list) => {
            let list = list.iter().map(attribute).collect::<Read<Vec<_>>>()?;
            json!({"L": list})
        }
        DeValue::Datetime(_) => {
            let hint = "write a string or a number, or { time = \"20s\" }";
            return flaw(
                start(node),
                format!("DynamoDB has no dates\n  hint: {hint}"),
            );
        }
        DeValue::Table(table) => {
            let mut members = table.iter();
            match (members.next(), members.next()) {
                (Some((key, inner)), None) if TYPES.contains(&key.get_ref().as_ref()) => {
                    let kind = key.get_ref().as_ref();
                    json!({kind: typed(kind, inner)?})
                }
                (Some((key, inner)), None) if key.get_ref() == TIME => {
                    let span: Span = plain(inner)?;
                    json!({"N": {TIME: span.us}})
                }
                _ => json!({"M": map(node)?}),
            }
        }
    })
}

fn typed(kind: &str, node: &Node<'_>) -> Read<Json> {
    Ok(match kind {
        "N" => number(node)?.into(),
        "NS" => list(node)?
            .iter()
            .map(number)
            .collect::<Read<Vec<_>>>()?
            .into(),
        "L" => {
            let list = list(node)?.iter().map(attribute);
            list.collect::<Read<Vec<_>>>()?.into()
        }
        "M" => map(node)?,
        _ => literal(node)?,
    })
}

/// A number's text; numbers that TOML's types cannot hold are strings.
fn number(node: &Node<'_>) -> Read<String> {
    match node.get_ref() {
        DeValue::Integer(number) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(
                |_| flaw(start(node), "the number is too long"),
                |number| Ok(number.to_string()),
            )
        }
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        _ => Ok(text(node)?.to_owned()),
    }
}

/// A value of TOML as it is, in JSON: for members of requests that are no attribute values.
pub fn literal(node: &Node<'_>) -> Read<Json> {
    Ok(match node.get_ref() {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(_) => plain::<i64>(node)?.into(),
        DeValue::Float(_) => plain::<f64>(node)?.into(),
        DeValue::Boolean(is) => (*is).into(),
        DeValue::Datetime(_) => return flaw(start(node), "no date is possible here"),
        DeValue::Array(list) => list.iter().map(literal).collect::<Read<Vec<_>>>()?.into(),
        DeValue::Table(table) => {
            let members = table.iter();
            let members = members.map(|(k, v)| Ok((k.get_ref().to_string(), literal(v)?)));
            members.collect::<Read<Map<_, _>>>()?.into()
        }
    })
}

/// The same with every time put in, for a scenario that began at `start_us` of the wall clock.
pub fn resolve(json: &Json, start_us: u64) -> Json {
    match json {
        Json::Object(members) => {
            if let Some(after_us) = members.get("N").and_then(|n| n.get(TIME)?.as_i64()) {
                let second = start_us.saturating_add_signed(after_us).div_ceil(1_000_000);
                return json!({"N": second.to_string()});
            }
            let members = members.iter();
            let members = members.map(|(name, value)| (name.clone(), resolve(value, start_us)));
            Json::Object(members.collect())
        }
        Json::Array(list) => list.iter().map(|value| resolve(value, start_us)).collect(),
        other => other.clone(),
    }
}

/// An item that an answer or the file holds; nothing where it is no item.
pub fn item(json: &Json) -> Item {
    wire::item_from_json(json.clone()).unwrap_or_default()
}

/// Whether `item` has every attribute of `wanted`, with that value.
pub fn has(item: &Item, wanted: &Item) -> bool {
    wanted
        .iter()
        .all(|(name, value)| item.get(name) == Some(value))
}

/// An item as the file would have it.
pub fn show(item: &Item) -> String {
    let members: Vec<String> = item
        .iter()
        .map(|(name, value)| format!("{name} = {}", show_value(value)))
        .collect();
    match members.is_empty() {
        true => "{ }".to_owned(),
        false => format!("{{ {} }}", members.join(", ")),
    }
}

fn show_value(value: &Value) -> String {
    let listed = |list: Vec<String>| format!("[{}]", list.join(", "));
    match value {
        Value::S(text) => format!("{text:?}"),
        Value::N(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        Value::L(list) => listed(list.iter().map(show_value).collect()),
        Value::M(map) => show(map),
        Value::Ss(set) => {
            let set = set.iter().map(|text| format!("{text:?}"));
            format!("{{ SS = {} }}", listed(set.collect()))
        }
        Value::Ns(set) => {
            let set = set.iter().map(ToString::to_string);
            format!("{{ NS = {} }}", listed(set.collect()))
        }
        Value::Null => "{ NULL = true }".to_owned(),
        Value::B(_) | Value::Bs(_) => {
            let mut out = Vec::new();
            wire::write_value(value, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn read(text: &str) -> Read<Json> {
        let document = DeTable::parse(text).expect("TOML");
        let node = document.get_ref().get("v").expect("a value");
        attributes(node)
    }

    #[test]
    fn plain_values_become_dynamodbs_and_types_are_an_escape() {
        for (toml, wanted) in [
            (r#"{ a = "x" }"#, json!({"a": {"S": "x"}})),
            ("{ a = 1_000 }", json!({"a": {"N": "1000"}})),
            ("{ a = -1.5 }", json!({"a": {"N": "-1.5"}})),
            ("{ a = [true] }", json!({"a": {"L": [{"BOOL": true}]}})),
            (
                "{ a = { b = 1, c = 2 } }",
                json!({"a": {"M": {"b": {"N": "1"}, "c": {"N": "2"}}}}),
            ),
            (r#"{ a = { SS = ["x"] } }"#, json!({"a": {"SS": ["x"]}})),
            (
                r#"{ a = { NS = [1, "2e3"] } }"#,
                json!({"a": {"NS": ["1", "2e3"]}}),
            ),
            (r#"{ a = { B = "aGk=" } }"#, json!({"a": {"B": "aGk="}})),
            (
                r#"{ a = { M = { S = "x" } } }"#,
                json!({"a": {"M": {"S": {"S": "x"}}}}),
            ),
        ] {
            assert_eq!(read(&format!("v = {toml}")), Ok(wanted), "{toml}");
        }
        for wrong in [
            "2026-01-01",
            "{ N = \"x\" }",
            "{ SS = [] }",
            "{ B = \"!\" }",
            "nan",
        ] {
            assert!(read(&format!("v = {{ a = {wrong} }}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_seconds_of_the_wall_clock_rounded_up() {
        let read = read(r#"v = { list = [{ time = "1500ms" }] }"#).expect("valid");
        let at = resolve(&read, 10_000_000);
        assert_eq!(at, json!({"list": {"L": [{"N": "12"}]}}));
    }

    #[test]
    fn items_are_shown_as_a_file_has_them() {
        let text =
            r#"{ a = [1, "x"], b = { SS = ["y"] }, c = { NULL = true }, d = { e = 1, f = 2 } }"#;
        let item = item(&read(&format!("v = {text}")).expect("valid"));
        assert_eq!(show(&item), text);
        assert!(has(&item, &Item::new()) && !has(&Item::new(), &item));
    }
}
