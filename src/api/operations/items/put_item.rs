//! PutItem: replaces or creates one item.

use super::writes::{self, Whole};
use crate::api::params::{self, Wording};
use crate::api::{Backend, Fields};
use crate::item::{Item, size};
use crate::replica::ApiError;
use crate::replica::request::{ItemWrite, WriteAction};

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let put = Whole::admit(fields, "Item", "item", Wording::Enveloped, refuse_oversize)?;
    let table = params::snapshot(backend, |txn| {
        let table = params::table(backend, txn, &put.table)?;
        params::admit_put(&table, &put.item)?;
        Ok(table)
    })?;
    let key = table.keys.key_of(&put.item);
    let write = ItemWrite {
        table: put.table,
        action: WriteAction::Put { item: put.item },
        condition: put.condition,
        return_old_on_failure: put.options.return_old_on_failure,
    };
    let outcome = writes::send(backend, &table, write).await?;
    Ok(writes::answer(&table, &key, &put.options, &outcome))
}

/// An item of a request may be 400 KB.
pub(crate) fn refuse_oversize(item: &Item) -> Result<(), ApiError> {
    if size::item_size(item) > size::ITEM_SIZE_MAX {
        return Err(ApiError::validation(
            "Item size has exceeded the maximum allowed size",
        ));
    }
    Ok(())
}
