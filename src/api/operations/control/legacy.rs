//! What the operations of the global tables of 2017.11.29 share: they are refused word for word as AWS
//! refuses them (global-tables.md section 10). They cannot see the tables of 2019.11.21.

use super::super::tables::{invalid, name_constraints};
use crate::api::{Constraints, Fields};
use crate::replica::ApiError;

/// Takes `GlobalTableName`.
pub(super) fn name(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    fields.string("GlobalTableName")
}

/// Checks `GlobalTableName`.
pub(super) fn constrain(name: Option<&str>, c: &mut Constraints) {
    name_constraints(c, "globalTableName", name);
}

/// That version of global tables is offered no more.
pub(super) fn not_supported() -> ApiError {
    invalid(
        "DynamoDB global tables version 2017.11.29 is not supported. We recommend using DynamoDB global tables \
         version 2019.11.21, instead of version 2017.11.29 (Legacy).",
    )
}

/// There is no such global table, in the short wording.
pub(super) fn does_not_exist(name: &str) -> String {
    format!("Global table with name: '{name}' does not exist.")
}

/// There is no such global table, in the long wording.
pub(super) fn not_found(name: &str) -> ApiError {
    ApiError::GlobalTableNotFound(format!("Global table not found: {}", does_not_exist(name)))
}
