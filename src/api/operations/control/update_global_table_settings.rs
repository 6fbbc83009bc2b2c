//! UpdateGlobalTableSettings: there is no such global table (see `legacy`).

use super::legacy;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields};
use crate::replica::ApiError;

/// Runs UpdateGlobalTableSettings.
pub(crate) async fn run(_backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = legacy::name(&mut fields)?;
    let mut c = Constraints::default();
    legacy::constrain(name.as_deref(), &mut c);
    c.finish()?;
    let text = legacy::does_not_exist(&name.unwrap_or_default());
    Err(ApiError::GlobalTableNotFound(text))
}
