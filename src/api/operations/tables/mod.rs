//! The table operations (api.md section 4).

pub(crate) mod arn;
mod capacity;
pub(crate) mod create_table;
pub(crate) mod delete_table;
pub(crate) mod describe_continuous_backups;
pub(crate) mod describe_endpoints;
pub(crate) mod describe_limits;
pub(crate) mod describe_table;
pub(crate) mod describe_time_to_live;
pub(crate) mod description;
mod index_updates;
mod indexes;
pub(crate) mod list_tables;
pub(crate) mod local;
mod maxima;
mod overrides;
mod replica_updates;
mod schema;
pub(crate) mod settings;
mod strong;
pub(crate) mod tags;
#[cfg(test)]
mod tests;
pub(crate) mod update_table;
#[cfg(test)]
mod update_tests;
pub(crate) mod update_time_to_live;
mod warm;

pub(crate) use description::key_schema;

use super::super::Backend;
use crate::replica::ApiError;
use crate::replica::catalog::{Busy, TableDef};
use crate::replica::read::{self, TableDetails};
use crate::replica::request::{TableChange, WriteRequest, WriteResponse};
pub(crate) use maxima::key as maxima_key;
pub(crate) use overrides::reads as own_reads;
pub(crate) use schema::name_constraints;

/// How often a change is worked out anew because the table had changed meanwhile.
const ATTEMPTS_MAX: usize = 100;

/// The table changes faster than the request can follow.
fn in_use() -> ApiError {
    ApiError::ResourceInUse("The resource which you are attempting to change is in use.".into())
}

/// The table of that name, or the control plane's ResourceNotFoundException.
pub(crate) fn find(backend: &dyn Backend, name: &str) -> Result<TableDef, ApiError> {
    Ok(local::find(backend, name)?.0)
}

/// The same, with a replica that is still being created too: for DescribeTable, UpdateTable and DeleteTable.
fn find_any(backend: &dyn Backend, name: &str) -> Result<TableDef, ApiError> {
    let found = local::lookup_any(backend, name)?;
    Ok(found.ok_or_else(|| ApiError::table_not_found(name))?.0)
}

/// Milliseconds since 1970, for the dates that descriptions show.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970, as the API writes dates: seconds.
pub(crate) fn date(ms: u64) -> serde_json::Value {
    // Exact: milliseconds since 1970 need 41 bits.
    serde_json::json!(ms as f64 / 1000.0)
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

/// Queues a change of the catalog and returns the definition it made (or removed); `None` when the change
/// was worked out from what is no longer there.
async fn try_change(
    backend: &dyn Backend,
    request: WriteRequest,
) -> Result<Option<TableDef>, ApiError> {
    match backend.write(request).await? {
        WriteResponse::Table(def) => Ok(Some(*def)),
        WriteResponse::Stale => Ok(None),
        other => Err(ApiError::InternalServer(format!(
            "a table change was answered with {other:?}"
        ))),
    }
}

/// Queues a change that depends on nothing it has read.
async fn change(backend: &dyn Backend, request: WriteRequest) -> Result<TableDef, ApiError> {
    try_change(backend, request).await?.ok_or_else(in_use)
}

/// Changes the settings of a table. `edit` works on what is there and is repeated when that has changed
/// meanwhile, so that no two changes undo each other.
pub(crate) async fn change_settings(
    backend: &dyn Backend,
    name: &str,
    edit: impl Fn(&mut TableDef) -> Result<(), ApiError>,
) -> Result<TableDef, ApiError> {
    for _ in 0..ATTEMPTS_MAX {
        let read = find(backend, name)?;
        let mut new = read.clone();
        edit(&mut new)?;
        if new == read {
            return Ok(new);
        }
        let change = TableChange::Settings {
            read: Box::new(read),
            new: Box::new(new),
        };
        let table = name.to_owned();
        if let Some(def) = try_change(backend, WriteRequest::UpdateTable { table, change }).await? {
            return Ok(def);
        }
    }
    Err(in_use())
}

/// A ValidationException in the commonest wording.
pub(crate) fn invalid(text: impl std::fmt::Display) -> ApiError {
    ApiError::validation(format!("One or more parameter values were invalid: {text}"))
}
