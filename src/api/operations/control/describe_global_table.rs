//! DescribeGlobalTable: there is none (see `legacy`).

use super::legacy;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields};

/// Runs DescribeGlobalTable.
pub(crate) async fn run(_backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = legacy::name(&mut fields)?;
    let mut c = Constraints::default();
    legacy::constrain(name.as_deref(), &mut c);
    c.finish()?;
    Err(legacy::not_found(&name.unwrap_or_default()))
}
