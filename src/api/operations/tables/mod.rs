//! The table operations (api.md section 4).

pub(crate) mod create_table;
pub(crate) mod delete_table;
pub(crate) mod describe_continuous_backups;
pub(crate) mod describe_endpoints;
pub(crate) mod describe_limits;
pub(crate) mod describe_table;
pub(crate) mod describe_time_to_live;
mod description;
mod index_updates;
mod indexes;
pub(crate) mod list_tables;
mod replica_updates;
mod schema;
mod settings;
pub(crate) mod tags;
#[cfg(test)]
mod tests;
pub(crate) mod update_table;
pub(crate) mod update_time_to_live;

use super::super::Backend;
use crate::replica::ApiError;
use crate::replica::catalog::{Busy, TableDef};
use crate::replica::read::{self, TableDetails};
use crate::replica::request::{WriteRequest, WriteResponse};

/// The table of that name in this region, if there is one.
fn lookup(backend: &dyn Backend, name: &str) -> Result<Option<TableDef>, ApiError> {
    let mut found = None;
    backend.read(&mut |txn| {
        found = read::table(txn, backend.region().id, name)?;
        Ok(())
    })?;
    Ok(found)
}

/// The table of that name, or the control plane's ResourceNotFoundException.
fn find(backend: &dyn Backend, name: &str) -> Result<TableDef, ApiError> {
    lookup(backend, name)?.ok_or_else(|| ApiError::table_not_found(name))
}

/// What the table is busy with.
fn busy(backend: &dyn Backend, def: &TableDef) -> Result<Option<Busy>, ApiError> {
    let mut found = None;
    backend.read(&mut |txn| {
        found = backend.busy(txn, def)?;
        Ok(())
    })?;
    Ok(found)
}

/// A table that is busy cannot be changed (errors-and-validation.md section 2).
fn refuse_busy(backend: &dyn Backend, def: &TableDef) -> Result<(), ApiError> {
    let doing = match busy(backend, def)? {
        None => return Ok(()),
        Some(Busy::Creating) => "created",
        Some(Busy::Updating) => "updated",
        Some(Busy::Deleting) => "deleted",
    };
    Err(ApiError::ResourceInUse(format!(
        "Attempt to change a resource which is still in use: Table is being {doing}: {}",
        def.name
    )))
}

/// How much the table and its indexes hold, and what is under way with them.
fn counts(backend: &dyn Backend, def: &TableDef) -> Result<TableDetails, ApiError> {
    let mut counted = TableDetails::default();
    backend.read(&mut |txn| {
        counted = read::details(txn, def)?;
        Ok(())
    })?;
    Ok(counted)
}

/// Queues a change of the catalog and returns the definition it made (or removed).
async fn change(backend: &dyn Backend, request: WriteRequest) -> Result<TableDef, ApiError> {
    match backend.write(request).await? {
        WriteResponse::Table(def) => Ok(*def),
        other => Err(ApiError::InternalServer(format!(
            "a table change was answered with {other:?}"
        ))),
    }
}

/// A ValidationException in the commonest wording.
fn invalid(text: impl std::fmt::Display) -> ApiError {
    ApiError::validation(format!("One or more parameter values were invalid: {text}"))
}
