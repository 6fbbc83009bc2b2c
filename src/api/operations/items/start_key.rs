//! `ExclusiveStartKey`: exactly the keys of table and index, right types, inside the query's bounds
//! (errors-and-validation.md section 5).

use crate::api::params::{Checked, key_error};
use crate::expression::{KeyCondition, KeyPredicate};
use crate::item::key::sort_bytes;
use crate::item::{Item, KeyAttribute, KeySchema, Value};
use crate::replica::ApiError;
use crate::replica::catalog::TableDef;

const INVALID: &str = "The provided starting key is invalid";
const MISMATCH: &str = "The provided key element does not match the schema";

/// The values of a start key, or the error in its turn. Messages on numbers and duplicates come bare.
pub(crate) fn admit_values(start: Checked<Item>) -> Result<Item, ApiError> {
    let bare = [
        "contains duplicates",
        "number set",
        "numeric value",
        "significant digits",
        "number with magnitude",
    ];
    start.map_err(|message| {
        if bare.iter().any(|part| message.contains(part)) {
            ApiError::Validation(message)
        } else {
            ApiError::validation(format!("{INVALID}: {message}"))
        }
    })
}

/// The number of attributes: the keys of the table and those of the index.
pub(crate) fn admit_count(
    start: &Item,
    table: &TableDef,
    index: Option<&KeySchema>,
    complaint: &str,
) -> Result<(), ApiError> {
    let only_index = |keys: &KeySchema| {
        let own = keys.names().filter(|name| !table.keys.contains(name));
        own.count()
    };
    let expected = table.keys.names().count() + index.map_or(0, only_index);
    if start.len() == expected {
        Ok(())
    } else {
        Err(ApiError::validation(complaint))
    }
}

/// What Scan of a table says of a wrong number of attributes.
pub(crate) fn scan_complaint() -> String {
    format!("{INVALID}: {MISMATCH}")
}

/// What all other reads say.
pub(crate) fn complaint() -> String {
    INVALID.to_owned()
}

/// Presence and types of some key attributes of the queried schema.
pub(crate) fn admit_attributes<'k>(
    start: &Item,
    keys: impl IntoIterator<Item = &'k KeyAttribute>,
) -> Result<(), ApiError> {
    for key in keys {
        match start.get(&key.name) {
            None => return Err(ApiError::validation(INVALID)),
            Some(value) if !key.kind.matches(value) => {
                return Err(ApiError::validation(MISMATCH));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The table's key inside the start key.
pub(crate) fn admit_table_key(start: &Item, table: &TableDef) -> Result<(), ApiError> {
    let key = table.keys.key_of(start);
    table.keys.admit_key(&key).map(drop).map_err(|error| {
        let ApiError::Validation(message) = key_error(error) else {
            return ApiError::validation(INVALID);
        };
        ApiError::validation(format!("{INVALID}: {message}"))
    })
}

/// A partition without a sort key holds one item, so nothing can come after it.
pub(crate) fn of_a_lone_item(start: &Item) -> ApiError {
    let shown = |(name, value): (&String, &Value)| {
        let mut json = Vec::new();
        crate::item::json::write_value(value, &mut json);
        let text = String::from_utf8_lossy(&json).replace('"', "");
        format!("{name}=AttributeValue: {text}")
    };
    let shown: Vec<_> = start.iter().map(shown).collect();
    ApiError::validation(format!(
        "The provided exclusive start key is invalid: ExclusiveStartKey: {{{}}}",
        shown.join(", ")
    ))
}

/// A start key lies in the queried partition and satisfies the condition on the sort key.
pub(crate) fn admit_bounds(
    start: &Item,
    keys: &KeySchema,
    condition: &KeyCondition,
) -> Result<(), ApiError> {
    for (key, predicate) in keys.sort.iter().zip(&condition.sort) {
        if !start
            .get(&key.name)
            .is_some_and(|value| satisfies(value, predicate))
        {
            return Err(ApiError::validation(
                "The provided starting key does not match the range key predicate",
            ));
        }
    }
    let inside = keys
        .partition
        .iter()
        .zip(&condition.partition)
        .all(|(key, value)| start.get(&key.name) == Some(value));
    if inside {
        return Ok(());
    }
    Err(ApiError::validation(if condition.sort.is_empty() {
        "The provided starting key is outside query boundaries based on provided conditions"
    } else {
        "The query can return at most one row and cannot be restarted"
    }))
}

/// Whether a sort key value satisfies a predicate. Order is that of key bytes.
fn satisfies(value: &Value, predicate: &KeyPredicate) -> bool {
    let Some(bytes) = sort_bytes(value) else {
        return false;
    };
    let compare = |bound: &Value| sort_bytes(bound).map(|bound| bytes.cmp(&bound));
    match predicate {
        KeyPredicate::Eq(bound) => value == bound,
        KeyPredicate::Lt(bound) => compare(bound).is_some_and(|order| order.is_lt()),
        KeyPredicate::Le(bound) => compare(bound).is_some_and(|order| order.is_le()),
        KeyPredicate::Gt(bound) => compare(bound).is_some_and(|order| order.is_gt()),
        KeyPredicate::Ge(bound) => compare(bound).is_some_and(|order| order.is_ge()),
        KeyPredicate::Between(low, high) => {
            compare(low).is_some_and(|order| order.is_ge())
                && compare(high).is_some_and(|order| order.is_le())
        }
        KeyPredicate::BeginsWith(prefix) => match (value, prefix) {
            (Value::S(text), Value::S(prefix)) => text.starts_with(prefix.as_str()),
            (Value::B(bytes), Value::B(prefix)) => bytes.starts_with(prefix),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{KeyType, Number};

    fn number(n: i64) -> Value {
        Value::N(Number::from(n))
    }

    fn text(s: &str) -> Value {
        Value::S(s.into())
    }

    #[test]
    fn predicates_follow_key_order() {
        assert!(satisfies(&number(10), &KeyPredicate::Gt(number(9))));
        assert!(satisfies(&number(-10), &KeyPredicate::Lt(number(-9))));
        assert!(satisfies(
            &text("abc"),
            &KeyPredicate::BeginsWith(text("ab"))
        ));
        assert!(satisfies(
            &text("b"),
            &KeyPredicate::Between(text("a"), text("b"))
        ));
        assert!(!satisfies(&text("c"), &KeyPredicate::Le(text("b"))));
    }

    #[test]
    fn bounds_have_three_complaints() {
        let keys = KeySchema::simple(("a", KeyType::S), Some(("b", KeyType::S)));
        let start: Item = [("a".into(), text("a")), ("b".into(), text("a"))].into();
        let ask = |partition: &str, sort: Vec<KeyPredicate>| {
            let condition = KeyCondition {
                partition: vec![text(partition)],
                sort,
            };
            admit_bounds(&start, &keys, &condition).map_err(|e| e.to_string())
        };
        assert_eq!(ask("a", vec![]), Ok(()));
        assert!(
            ask("b", vec![])
                .unwrap_err()
                .contains("outside query boundaries")
        );
        let after = KeyPredicate::Gt(text("b"));
        assert!(
            ask("b", vec![after])
                .unwrap_err()
                .contains("range key predicate")
        );
        let before = KeyPredicate::Lt(text("b"));
        assert!(
            ask("b", vec![before])
                .unwrap_err()
                .contains("cannot be restarted")
        );
    }
}
