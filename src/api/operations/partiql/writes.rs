//! INSERT, UPDATE, DELETE and EXISTS, as the writes that PutItem, UpdateItem, DeleteItem and
//! ConditionCheck send.

use crate::api::operations::items::put_item::refuse_oversize;
use crate::api::operations::items::update_item::admit_update;
use crate::api::params;
use crate::api::projection::{refuse_paths_into_keys, touched_fragments};
use crate::expression::{Condition, Path};
use crate::item::Item;
use crate::partiql::{self, Returning, Statement};
use crate::replica::ApiError;
use crate::replica::catalog::TableDef;
use crate::replica::request::{ItemOutcome, ItemWrite, WriteAction};

use super::statement;

/// A write, admitted.
pub(super) struct Write {
    pub(super) write: ItemWrite,
    pub(super) returning: Option<Returning>,
    /// An INSERT, whose condition is that the item is not there.
    pub(super) inserts: bool,
}

impl Write {
    /// An INSERT that finds its item says so in its own way.
    pub(super) fn error(&self, error: ApiError) -> ApiError {
        match error {
            ApiError::ConditionalCheckFailed { .. } if self.inserts => ApiError::DuplicateItem,
            other => other,
        }
    }

    /// What the RETURNING clause asks for; none when nothing of it is there.
    pub(super) fn returned(&self, outcome: &ItemOutcome) -> Option<Item> {
        match self.returning? {
            Returning::AllOld => outcome.old.clone(),
            Returning::AllNew => outcome.new.clone(),
            Returning::ModifiedOld => touched_fragments(&outcome.touched, outcome.old.as_ref()),
            Returning::ModifiedNew => touched_fragments(&outcome.touched, outcome.new.as_ref()),
        }
    }
}

/// The write that a statement asks for, held against its table.
pub(super) fn write_of(
    statement: &Statement,
    table: &TableDef,
    return_old_on_failure: bool,
) -> Result<Write, ApiError> {
    let mut returning = None;
    let (action, condition) = match statement {
        Statement::Insert(insert) => {
            let item = insert.item.clone();
            params::check_names(item.keys()).map_err(ApiError::Validation)?;
            refuse_oversize(&item)?;
            params::admit_put(table, &item)?;
            let absent = partition(table).map(Condition::NotExists);
            (WriteAction::Put { item }, absent)
        }
        Statement::Update(update) => {
            returning = update.returning;
            let (key, rest) = key(update.filter.as_ref(), table)?;
            admit_update(table, &update.update)?;
            let update = update.update.clone();
            (WriteAction::Update { key, update }, present(table, rest))
        }
        Statement::Delete(delete) => {
            returning = delete.returning;
            let (key, rest) = key(delete.filter.as_ref(), table)?;
            // An item that is not there is deleted whatever is asked of it.
            let condition = match (rest, partition(table)) {
                (Some(rest), Some(path)) => Some(Condition::Or(
                    Box::new(Condition::NotExists(path)),
                    Box::new(rest),
                )),
                (rest, _) => rest,
            };
            (WriteAction::Delete { key }, condition)
        }
        Statement::Exists(select) => {
            let key = key(select.filter.as_ref(), table);
            let plain = select.index.is_none() && select.order.is_empty();
            match key {
                Ok((key, Some(rest))) if plain => {
                    (WriteAction::Check { key }, present(table, Some(rest)))
                }
                _ => {
                    return Err(ApiError::validation(
                        "EXISTS() must contain a single item read with additional condition",
                    ));
                }
            }
        }
        Statement::Select(_) => {
            return Err(ApiError::InternalServer("a SELECT writes nothing".into()));
        }
    };
    Ok(Write {
        write: ItemWrite {
            table: table.name.clone(),
            action,
            condition,
            return_old_on_failure,
        },
        returning,
        inserts: matches!(statement, Statement::Insert(_)),
    })
}

/// The key that a WHERE names, and what else it asks.
fn key(
    filter: Option<&Condition>,
    table: &TableDef,
) -> Result<(Item, Option<Condition>), ApiError> {
    let (key, rest) = partiql::split_key(filter.cloned(), &table.keys).map_err(statement::error)?;
    table.keys.admit_key(&key).map_err(params::key_error)?;
    refuse_paths_into_keys(rest.iter().flat_map(Condition::paths), table)?;
    Ok((key, rest))
}

fn partition(table: &TableDef) -> Option<Path> {
    let attribute = table.keys.partition.first();
    attribute.map(|attribute| Path::attribute(attribute.name.clone()))
}

/// The item is there and satisfies `rest`.
fn present(table: &TableDef, rest: Option<Condition>) -> Option<Condition> {
    let present = partition(table).map(Condition::Exists);
    match (present, rest) {
        (Some(present), Some(rest)) => Some(Condition::And(Box::new(present), Box::new(rest))),
        (present, rest) => present.or(rest),
    }
}
