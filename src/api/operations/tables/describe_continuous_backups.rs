//! DescribeContinuousBackups: point-in-time recovery is never on yet.

use serde_json::json;

use super::lookup;
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};
use crate::replica::ApiError;

/// Runs DescribeContinuousBackups.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    if lookup(backend, &name)?.is_none() {
        return Err(ApiError::TableNotFound(format!("Table not found: {name}")));
    }
    let description = json!({
        "ContinuousBackupsStatus": "ENABLED",
        "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
    });
    Ok(error::object([(
        "ContinuousBackupsDescription",
        description,
    )]))
}
