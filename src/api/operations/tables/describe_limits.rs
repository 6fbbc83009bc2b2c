//! DescribeLimits: AWS's default quotas; none of them is enforced.

use serde_json::json;

use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error};

const ACCOUNT_UNITS_MAX: u32 = 80_000;
const TABLE_UNITS_MAX: u32 = 40_000;

/// Runs DescribeLimits.
pub(crate) async fn run(_backend: &dyn Backend, _fields: Fields) -> Answer {
    Ok(error::object([
        ("AccountMaxReadCapacityUnits", json!(ACCOUNT_UNITS_MAX)),
        ("AccountMaxWriteCapacityUnits", json!(ACCOUNT_UNITS_MAX)),
        ("TableMaxReadCapacityUnits", json!(TABLE_UNITS_MAX)),
        ("TableMaxWriteCapacityUnits", json!(TABLE_UNITS_MAX)),
    ]))
}
