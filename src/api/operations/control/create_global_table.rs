//! CreateGlobalTable: refused (see `legacy`).

use super::legacy;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields};

/// Runs CreateGlobalTable.
pub(crate) async fn run(_backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = legacy::name(&mut fields)?;
    let group = fields.structures("ReplicationGroup", "Replica")?;
    let mut c = Constraints::default();
    legacy::constrain(name.as_deref(), &mut c);
    c.required("replicationGroup", group.as_ref());
    c.finish()?;
    Err(legacy::not_supported())
}
