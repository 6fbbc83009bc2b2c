//! UpdateGlobalTable: refused (see `legacy`).

use super::legacy;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields};
use crate::replica::ApiError;

/// Runs UpdateGlobalTable.
pub(crate) async fn run(_backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = legacy::name(&mut fields)?;
    let updates = fields.structures("ReplicaUpdates", "ReplicaUpdate")?;
    let mut c = Constraints::default();
    legacy::constrain(name.as_deref(), &mut c);
    c.required("replicaUpdates", updates.as_ref());
    c.finish()?;
    let updates = updates.unwrap_or_default();
    if updates.is_empty() {
        return Err(ApiError::validation(
            "One or more parameter values were invalid",
        ));
    }
    if updates.iter().any(|update| update.has("Create")) {
        return Err(legacy::not_supported());
    }
    Err(legacy::not_found(&name.unwrap_or_default()))
}
