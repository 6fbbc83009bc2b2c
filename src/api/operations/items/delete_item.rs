//! DeleteItem: removes one item; removing what is not there succeeds.

use super::writes::{self, Whole};
use crate::api::params::{self, Wording};
use crate::api::{Backend, Fields};
use crate::replica::ApiError;
use crate::replica::request::{ItemWrite, WriteAction};

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let delete = Whole::admit(fields, "Key", "key", Wording::Bare, |_| Ok(()))?;
    let table = params::snapshot(backend, |txn| {
        let table = params::table(backend, txn, &delete.table)?;
        table
            .keys
            .admit_key(&delete.item)
            .map_err(params::key_error)?;
        Ok(table)
    })?;
    let write = ItemWrite {
        table: delete.table,
        action: WriteAction::Delete {
            key: delete.item.clone(),
        },
        condition: delete.condition,
        return_old_on_failure: delete.options.return_old_on_failure,
    };
    let outcome = writes::send(backend, &table, write).await?;
    Ok(writes::answer(
        &table,
        &delete.item,
        &delete.options,
        &outcome,
    ))
}
