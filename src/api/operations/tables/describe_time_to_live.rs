//! DescribeTimeToLive: no table has a TTL yet.

use serde_json::json;

use super::find;
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};

/// Runs DescribeTimeToLive.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    find(backend, &name)?;
    Ok(error::object([(
        "TimeToLiveDescription",
        json!({"TimeToLiveStatus": "DISABLED"}),
    )]))
}
