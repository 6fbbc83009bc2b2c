//! DeleteTable (api.md section 4). In a member of a global table it removes that member alone: the others
//! keep their items (global-tables.md section 3.1).

use super::description::describe_deleted;
use super::{change, counts, find};
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};
use crate::replica::ApiError;
use crate::replica::request::{TableChange, WriteRequest};

/// Runs DeleteTable.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    let def = find(backend, &name)?;
    if def.deletion_protection {
        return Err(ApiError::validation(
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
        ));
    }
    let counted = counts(backend, &def)?;
    let others = def.group.without(backend.region().id);
    let request = if others.regions().next().is_some() {
        WriteRequest::UpdateTable {
            table: name,
            change: TableChange::RemoveReplica(backend.region().id),
        }
    } else {
        WriteRequest::DeleteTable { table: name }
    };
    change(backend, request).await?;
    Ok(error::object([(
        "TableDescription",
        describe_deleted(backend.region(), &def, &counted),
    )]))
}
