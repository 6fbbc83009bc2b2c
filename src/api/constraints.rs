//! Constraint violations, collected and reported together (errors-and-validation.md section 3.1).

use std::fmt::Display;

use crate::replica::ApiError;

/// DynamoDB names at most this many violations.
const REPORTED_MAX: usize = 10;

/// `RETURN_*` and the other enumerations, in the order in which AWS prints them.
pub(crate) mod enums {
    pub(crate) const SELECT: &[&str] = &[
        "SPECIFIC_ATTRIBUTES",
        "COUNT",
        "ALL_ATTRIBUTES",
        "ALL_PROJECTED_ATTRIBUTES",
    ];
    pub(crate) const RETURN_CONSUMED_CAPACITY: &[&str] = &["INDEXES", "TOTAL", "NONE"];
    pub(crate) const RETURN_VALUES: &[&str] =
        &["ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"];
    pub(crate) const RETURN_ITEM_COLLECTION_METRICS: &[&str] = &["SIZE", "NONE"];
    pub(crate) const RETURN_VALUES_ON_FAILURE: &[&str] = &["ALL_OLD", "NONE"];
    pub(crate) const CONDITIONAL_OPERATOR: &[&str] = &["OR", "AND"];
    pub(crate) const KEY_TYPE: &[&str] = &["HASH", "RANGE"];
    pub(crate) const ATTRIBUTE_TYPE: &[&str] = &["B", "N", "S"];
    pub(crate) const PROJECTION_TYPE: &[&str] = &["ALL", "INCLUDE", "KEYS_ONLY"];
    pub(crate) const BILLING_MODE: &[&str] = &["PROVISIONED", "PAY_PER_REQUEST"];
    pub(crate) const STREAM_VIEW_TYPE: &[&str] =
        &["NEW_AND_OLD_IMAGES", "OLD_IMAGE", "NEW_IMAGE", "KEYS_ONLY"];
    pub(crate) const SHARD_ITERATOR_TYPE: &[&str] = &[
        "AFTER_SEQUENCE_NUMBER",
        "LATEST",
        "AT_TIMESTAMP",
        "AT_SEQUENCE_NUMBER",
        "TRIM_HORIZON",
    ];
    pub(crate) const SHARD_FILTER_TYPE: &[&str] = &["CHILD_SHARDS"];
    pub(crate) const SSE_TYPE: &[&str] = &["AES256", "KMS"];
    pub(crate) const TABLE_CLASS: &[&str] = &["STANDARD", "STANDARD_INFREQUENT_ACCESS"];
}

/// Collects violations in model order; [`Constraints::finish`] turns them into one ValidationException.
#[derive(Clone, Debug, Default)]
pub(crate) struct Constraints {
    found: Vec<String>,
}

impl Constraints {
    /// Records that `value` (as printed, with its quotes) at `path` breaks `text`.
    pub(crate) fn violate(&mut self, value: impl Display, path: &str, text: impl Display) {
        self.found.push(format!(
            "Value {value} at '{path}' failed to satisfy constraint: {text}"
        ));
    }

    pub(crate) fn required<T>(&mut self, path: &str, value: Option<&T>) {
        if value.is_none() {
            self.violate("null", path, "Member must not be null");
        }
    }

    /// The length of a string, in characters.
    pub(crate) fn length(&mut self, path: &str, value: &str, min: usize, max: usize) {
        self.count(path, value.chars().count(), &format!("'{value}'"), min, max);
    }

    /// The number of elements of a list or map that prints as `shown` (with its quotes: `'[a, b]'`).
    pub(crate) fn count(&mut self, path: &str, count: usize, shown: &str, min: usize, max: usize) {
        if count < min {
            self.violate(
                shown,
                path,
                format!("Member must have length greater than or equal to {min}"),
            );
        }
        if count > max {
            self.violate(
                shown,
                path,
                format!("Member must have length less than or equal to {max}"),
            );
        }
    }

    /// The value of a number; absent is fine.
    pub(crate) fn range(&mut self, path: &str, value: Option<i64>, min: i64, max: i64) {
        let Some(value) = value else { return };
        if value < min {
            self.violate(
                format!("'{value}'"),
                path,
                format!("Member must have value greater than or equal to {min}"),
            );
        }
        if value > max {
            self.violate(
                format!("'{value}'"),
                path,
                format!("Member must have value less than or equal to {max}"),
            );
        }
    }

    /// One of an enumeration, given in print order; absent is fine.
    pub(crate) fn one_of(&mut self, path: &str, value: Option<&str>, allowed: &[&str]) {
        if let Some(value) = value.filter(|v| !allowed.contains(v)) {
            let set = allowed.join(", ");
            self.violate(
                format!("'{value}'"),
                path,
                format!("Member must satisfy enum value set: [{set}]"),
            );
        }
    }

    /// The characters of table, index and backup names.
    pub(crate) fn name_pattern(&mut self, path: &str, value: &str) {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if value.is_empty() || !value.chars().all(legal) {
            self.violate(
                format!("'{value}'"),
                path,
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
            );
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Ok when nothing was violated.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let count = self.found.len().min(REPORTED_MAX);
        if count == 0 {
            return Ok(());
        }
        let plural = if count == 1 { "" } else { "s" };
        let list = self
            .found
            .into_iter()
            .take(REPORTED_MAX)
            .collect::<Vec<_>>()
            .join("; ");
        Err(ApiError::Validation(format!(
            "{count} validation error{plural} detected: {list}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_joined_in_order_and_counted() {
        let mut c = Constraints::default();
        assert!(c.is_empty());
        c.required::<u8>("key", None);
        c.one_of("returnValues", Some("hi"), enums::RETURN_VALUES);
        c.range("limit", Some(0), 1, 100);
        assert_eq!(
            c.finish().unwrap_err().to_string(),
            "3 validation errors detected: Value null at 'key' failed to satisfy constraint: Member must not be null; \
             Value 'hi' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: \
             [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]; Value '0' at 'limit' failed to satisfy constraint: \
             Member must have value greater than or equal to 1"
        );
    }

    #[test]
    fn at_most_ten_are_reported() {
        let mut c = Constraints::default();
        (0..12).for_each(|_| c.required::<u8>("a", None));
        let text = c.finish().unwrap_err().to_string();
        assert!(text.starts_with("10 validation errors detected: "));
        assert_eq!(text.matches("Value null").count(), 10);
    }
}
