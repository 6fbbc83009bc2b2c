//! DeleteItem: removes one item; removing what is not there succeeds.

use super::writes::{self, OptionParams, Options};
use crate::api::params::{
    self, ConditionParams, Styles, Substitutes, Wording, admit_values, item_member,
};
use crate::api::{Backend, Constraints, Fields, fields};
use crate::item::Item;
use crate::replica::ApiError;
use crate::replica::request::{ItemWrite, WriteAction};

const WORDING: Wording = Wording::Bare;

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let (write, key, options) = admit(fields)?;
    let table = params::snapshot(backend, |txn| {
        let table = params::table(backend, txn, &write.table)?;
        table.keys.admit_key(&key).map_err(params::key_error)?;
        Ok(table)
    })?;
    let outcome = writes::send(backend, write).await?;
    Ok(writes::answer(&table, &key, &options, &outcome))
}

fn admit(mut fields: Fields) -> Result<(ItemWrite, Item, Options), ApiError> {
    let name = fields.string("TableName")?;
    let key = item_member(&mut fields, "Key")?;
    let condition = ConditionParams::take(&mut fields)?;
    let substitutes = Substitutes::take(&mut fields)?;
    let options = OptionParams::take(&mut fields)?;

    let mut constraints = Constraints::default();
    let table = fields::item_table_name(name, &mut constraints)?;
    constraints.required("key", key.as_ref());
    condition.constrain(&mut constraints);
    options.constrain(&mut constraints);
    constraints.finish()?;

    let options = options.options();
    let styles = Styles {
        expressions: &[("ConditionExpression", condition.expression.is_some())],
        legacy: &[("Expected", condition.expected.is_some())],
    };
    styles.check(&substitutes, WORDING)?;
    let key = admit_values(key.unwrap_or_else(|| Ok(Item::new())), WORDING)?;
    options.refuse_updated(WORDING)?;
    let condition = writes::only_condition(condition, substitutes, WORDING)?;
    let write = ItemWrite {
        table,
        action: WriteAction::Delete { key: key.clone() },
        condition,
        return_old_on_failure: options.return_old_on_failure,
    };
    Ok((write, key, options))
}
