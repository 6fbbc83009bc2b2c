//! SearchVectors: refused, since no table can have a vector index.

use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, fields};
use crate::replica::ApiError;

/// Runs SearchVectors.
pub(crate) async fn run(_backend: &dyn Backend, mut fields: Fields) -> Answer {
    let mut c = Constraints::default();
    fields::item_table_name(fields.string("TableName")?, &mut c)?;
    c.finish()?;
    Err(ApiError::validation("vector indexes are not supported"))
}
