//! ListGlobalTables: none; tables of 2019.11.21 are never listed (global-tables.md section 10).

use serde_json::json;

use super::super::tables::name_constraints;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error};

/// Runs ListGlobalTables.
pub(crate) async fn run(_backend: &dyn Backend, mut fields: Fields) -> Answer {
    let start = fields.string("ExclusiveStartGlobalTableName")?;
    let limit = fields.integer("Limit")?;
    fields.string("RegionName")?;
    let mut c = Constraints::default();
    if let Some(start) = &start {
        name_constraints(&mut c, "exclusiveStartGlobalTableName", Some(start));
    }
    c.range("limit", limit, 1, i64::from(i32::MAX));
    c.finish()?;
    Ok(error::object([("GlobalTables", json!([]))]))
}
