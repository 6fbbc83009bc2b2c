//! ExpressionAttributeNames and ExpressionAttributeValues: what they may hold, what they stand for and
//! whether all of them were used (expressions.md section 3).

use std::collections::{BTreeMap, BTreeSet};

use super::{ExpressionError, ExpressionKind};
use crate::item::Value;
use crate::item::size::value_size;

/// Longest attribute name, in bytes.
pub const NAME_BYTES_MAX: usize = 65_535;
/// Longest `#name` or `:value`, the first character included.
const KEY_BYTES_MAX: usize = 255;
/// Most bytes of names and values together.
const TOTAL_BYTES_MAX: usize = 2 << 20;
/// Most bytes that substitution may copy into the trees of one request. A short expression can name a
/// large value a thousand times; this bounds what that costs, far above any honest use.
const COPIED_BYTES_MAX: usize = 16 << 20;

/// The placeholders of one request. Each use is recorded, so that after all its expressions are parsed
/// [`Placeholders::finish`] can refuse the unused.
#[derive(Clone, Debug, Default)]
pub struct Placeholders {
    names: BTreeMap<String, String>,
    values: BTreeMap<String, Value>,
    used_names: BTreeSet<String>,
    used_values: BTreeSet<String>,
    copied_bytes: usize,
}

impl Placeholders {
    /// Checks the two maps of a request. `None` is an absent parameter, which differs from an empty map.
    pub fn new(
        names: Option<BTreeMap<String, String>>,
        values: Option<BTreeMap<String, Value>>,
    ) -> Result<Placeholders, ExpressionError> {
        if let Some(names) = &names {
            check_keys("ExpressionAttributeNames", '#', names)?;
            for (key, name) in names {
                check_name(key, name)?;
            }
        }
        if let Some(values) = &values {
            check_keys("ExpressionAttributeValues", ':', values)?;
        }
        let names = names.unwrap_or_default();
        let values = values.unwrap_or_default();
        let name_bytes: usize = names.iter().map(|(key, name)| key.len() + name.len()).sum();
        let value_bytes: usize = values
            .iter()
            .map(|(key, value)| key.len() + value_size(value))
            .sum();
        check_total(name_bytes + value_bytes, TOTAL_BYTES_MAX)?;
        let used_names = BTreeSet::new();
        let used_values = BTreeSet::new();
        Ok(Placeholders {
            names,
            values,
            used_names,
            used_values,
            copied_bytes: 0,
        })
    }

    /// The name that `key` (with its `#`) stands for; marks it used.
    pub(super) fn name(
        &mut self,
        kind: ExpressionKind,
        key: &str,
    ) -> Result<String, ExpressionError> {
        let Some(name) = self.names.get(key) else {
            return Err(kind.invalid(format!(
                "An expression attribute name used in the document path is not defined; attribute name: {key}"
            )));
        };
        self.used_names.insert(key.to_owned());
        self.copied_bytes += name.len();
        check_total(self.copied_bytes, COPIED_BYTES_MAX)?;
        Ok(name.clone())
    }

    /// The value that `key` (with its `:`) stands for; marks it used.
    pub(super) fn value(
        &mut self,
        kind: ExpressionKind,
        key: &str,
    ) -> Result<Value, ExpressionError> {
        let Some(value) = self.values.get(key) else {
            return Err(kind.invalid(format!(
                "An expression attribute value used in expression is not defined; attribute value: {key}"
            )));
        };
        self.used_values.insert(key.to_owned());
        self.copied_bytes += value_size(value);
        check_total(self.copied_bytes, COPIED_BYTES_MAX)?;
        Ok(value.clone())
    }

    /// Refuses placeholders that no expression of the request named, names before values.
    pub fn finish(&self) -> Result<(), ExpressionError> {
        check_used(
            "ExpressionAttributeNames",
            self.names.keys(),
            &self.used_names,
        )?;
        check_used(
            "ExpressionAttributeValues",
            self.values.keys(),
            &self.used_values,
        )
    }
}

fn check_keys<T>(
    parameter: &str,
    first: char,
    map: &BTreeMap<String, T>,
) -> Result<(), ExpressionError> {
    if map.is_empty() {
        return Err(ExpressionError(format!("{parameter} must not be empty")));
    }
    for key in map.keys() {
        let rest = key.strip_prefix(first).unwrap_or_default();
        let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if rest.is_empty() || key.len() > KEY_BYTES_MAX || !rest.bytes().all(part) {
            let detail = format!("{parameter} contains invalid key: Syntax error; key: \"{key}\"");
            return Err(ExpressionError(detail));
        }
    }
    Ok(())
}

fn check_name(key: &str, name: &str) -> Result<(), ExpressionError> {
    let fault = match name.len() {
        0 => "Empty attribute name",
        1..=NAME_BYTES_MAX => return Ok(()),
        _ => "Attribute name is too large, must be less than 65536 bytes",
    };
    Err(ExpressionError(format!(
        "ExpressionAttributeNames contains invalid value: {fault} for key {key}"
    )))
}

fn check_total(bytes: usize, bytes_max: usize) -> Result<(), ExpressionError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let parameters = "ExpressionAttributeNames and ExpressionAttributeValues";
    Err(ExpressionError(format!(
        "{parameters} exceed the maximum allowed size; size: {bytes}"
    )))
}

fn check_used<'a>(
    parameter: &str,
    keys: impl Iterator<Item = &'a String>,
    used: &BTreeSet<String>,
) -> Result<(), ExpressionError> {
    let unused: Vec<&str> = keys
        .filter(|key| !used.contains(*key))
        .map(String::as_str)
        .collect();
    if unused.is_empty() {
        return Ok(());
    }
    let keys = unused.join(", ");
    Err(ExpressionError(format!(
        "Value provided in {parameter} unused in expressions: keys: {{{keys}}}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
        Some(
            pairs
                .iter()
                .map(|(key, name)| (key.to_string(), name.to_string()))
                .collect(),
        )
    }

    fn values(keys: &[&str]) -> Option<BTreeMap<String, Value>> {
        Some(
            keys.iter()
                .map(|key| (key.to_string(), Value::Bool(true)))
                .collect(),
        )
    }

    fn refusal(
        names: Option<BTreeMap<String, String>>,
        values: Option<BTreeMap<String, Value>>,
    ) -> String {
        Placeholders::new(names, values).map(|_| ()).unwrap_err().0
    }

    #[test]
    fn empty_maps_and_bad_keys_are_refused_names_first() {
        assert_eq!(
            refusal(names(&[]), values(&[])),
            "ExpressionAttributeNames must not be empty"
        );
        assert_eq!(
            refusal(None, values(&[])),
            "ExpressionAttributeValues must not be empty"
        );
        for key in ["a", "#", "#a-b", ":a", ""] {
            let expected = format!(
                "ExpressionAttributeNames contains invalid key: Syntax error; key: \"{key}\""
            );
            assert_eq!(refusal(names(&[(key, "a")]), values(&[])), expected);
        }
        let expected = "ExpressionAttributeValues contains invalid key: Syntax error; key: \"a\"";
        assert_eq!(refusal(names(&[("#1", "a")]), values(&["a"])), expected);
        assert!(refusal(names(&[("#a", "")]), None).contains("Empty attribute name"));
        assert!(refusal(names(&[("#a", &"x".repeat(65_536))]), None).contains("65536"));
        assert!(Placeholders::new(names(&[("#a", &"x".repeat(65_535))]), None).is_ok());
    }

    #[test]
    fn values_beyond_two_megabytes_are_refused() {
        let large = Some(BTreeMap::from([(
            ":v".to_owned(),
            Value::S("x".repeat(TOTAL_BYTES_MAX)),
        )]));
        assert!(refusal(None, large).contains("maximum allowed size"));
    }

    #[test]
    fn copying_a_large_value_over_and_over_is_refused() {
        let large = Some(BTreeMap::from([(
            ":v".to_owned(),
            Value::S("x".repeat(1 << 20)),
        )]));
        let mut placeholders = Placeholders::new(None, large).unwrap();
        let uses = (0..20).map(|_| placeholders.value(ExpressionKind::Filter, ":v"));
        assert_eq!(uses.filter(Result::is_err).count(), 4);
    }

    #[test]
    fn the_unused_are_listed_names_before_values() {
        let maps = (names(&[("#a", "a"), ("#b", "b")]), values(&[":a", ":b"]));
        let mut placeholders = Placeholders::new(maps.0, maps.1).unwrap();
        assert_eq!(
            placeholders.finish().unwrap_err().0,
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a, #b}"
        );
        let kind = ExpressionKind::Condition;
        assert_eq!(placeholders.name(kind, "#a").unwrap(), "a");
        assert_eq!(placeholders.name(kind, "#b").unwrap(), "b");
        assert_eq!(placeholders.value(kind, ":a").unwrap(), Value::Bool(true));
        assert_eq!(
            placeholders.finish().unwrap_err().0,
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:b}"
        );
        assert_eq!(
            placeholders.name(kind, "#c").unwrap_err().0,
            "Invalid ConditionExpression: An expression attribute name used in the document path is not \
             defined; attribute name: #c"
        );
        assert_eq!(
            placeholders.value(kind, ":c").unwrap_err().0,
            "Invalid ConditionExpression: An expression attribute value used in expression is not defined; \
             attribute value: :c"
        );
    }
}
