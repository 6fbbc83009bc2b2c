//! PutItem: replaces or creates one item.

use super::writes::{self, OptionParams, Options};
use crate::api::params::{
    self, ConditionParams, Styles, Substitutes, Wording, admit_values, item_member,
};
use crate::api::{Backend, Constraints, Fields, fields};
use crate::item::{Item, size};
use crate::replica::ApiError;
use crate::replica::request::{ItemWrite, WriteAction};

const WORDING: Wording = Wording::Enveloped;

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let (write, item, options) = admit(fields)?;
    let table = params::snapshot(backend, |txn| {
        let table = params::table(backend, txn, &write.table)?;
        params::admit_put(&table, &item)?;
        Ok(table)
    })?;
    let key = table.keys.key_of(&item);
    let write = ItemWrite {
        action: WriteAction::Put { item },
        ..write
    };
    let outcome = writes::send(backend, write).await?;
    Ok(writes::answer(&table, &key, &options, &outcome))
}

/// The write without its item, the item, and the options.
fn admit(mut fields: Fields) -> Result<(ItemWrite, Item, Options), ApiError> {
    let name = fields.string("TableName")?;
    let item = item_member(&mut fields, "Item")?;
    let condition = ConditionParams::take(&mut fields)?;
    let substitutes = Substitutes::take(&mut fields)?;
    let options = OptionParams::take(&mut fields)?;

    let mut constraints = Constraints::default();
    let table = fields::item_table_name(name, &mut constraints)?;
    constraints.required("item", item.as_ref());
    condition.constrain(&mut constraints);
    options.constrain(&mut constraints);
    constraints.finish()?;

    let options = options.options();
    let styles = Styles {
        expressions: &[("ConditionExpression", condition.expression.is_some())],
        legacy: &[("Expected", condition.expected.is_some())],
    };
    styles.check(&substitutes, WORDING)?;
    let item = admit_values(item.unwrap_or_else(|| Ok(Item::new())), WORDING)?;
    refuse_oversize(&item)?;
    options.refuse_updated(WORDING)?;
    let condition = writes::only_condition(condition, substitutes, WORDING)?;
    let write = ItemWrite {
        table,
        action: WriteAction::Put { item: Item::new() },
        condition,
        return_old_on_failure: options.return_old_on_failure,
    };
    Ok((write, item, options))
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
