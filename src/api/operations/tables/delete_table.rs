//! DeleteTable (api.md section 4). What it removes of a global table is the replica's to say.

use super::description::describe_deleted;
use super::{change, counts, find_any, refuse_busy};
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};
use crate::replica::ApiError;
use crate::replica::request::WriteRequest;

/// Runs DeleteTable.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    let def = find_any(backend, &name)?;
    refuse_busy(backend, &def)?;
    if def.protected.contains(backend.region().id) {
        return Err(ApiError::validation(
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
        ));
    }
    let counted = counts(backend, &def)?;
    change(backend, WriteRequest::DeleteTable { table: name }).await?;
    Ok(error::object([(
        "TableDescription",
        describe_deleted(backend.region(), &def, &counted),
    )]))
}
