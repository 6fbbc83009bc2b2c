//! DescribeTimeToLive (streams-ttl-backup.md section 2).

use serde_json::json;

use super::{busy, find};
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};
use crate::replica::catalog::Busy;
use crate::replica::{ApiError, ttl};

/// Runs DescribeTimeToLive. ENABLING and DISABLING last while this region's index of expiries is made or
/// removed: at once for a table of a few hundred items.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    let def = find(backend, &name)?;
    if busy(backend, &def)? == Some(Busy::Creating) {
        return Err(ApiError::validation(
            "Cannot describe time to live while table is in CREATING state: Current table state is CREATING",
        ));
    }
    let mut rebuilding = false;
    backend.read(&mut |txn| {
        rebuilding = ttl::is_rebuilding(txn, def.uid)?;
        Ok(())
    })?;
    let description = match (&def.ttl.attribute, rebuilding) {
        (Some(name), true) => json!({"TimeToLiveStatus": "ENABLING", "AttributeName": name}),
        (Some(name), false) => json!({"TimeToLiveStatus": "ENABLED", "AttributeName": name}),
        (None, true) => json!({"TimeToLiveStatus": "DISABLING"}),
        (None, false) => json!({"TimeToLiveStatus": "DISABLED"}),
    };
    Ok(error::object([("TimeToLiveDescription", description)]))
}
