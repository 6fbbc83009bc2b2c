//! What this region alone keeps of a table, as the operations read and change it (global-tables.md
//! section 4: tags, policies, protection, insights, destinations and PITR are never synchronised).

use serde_json::Value;

use super::{ATTEMPTS_MAX, in_use, settings::text_to_json};
use crate::api::Backend;
use crate::replica::ApiError;
use crate::replica::catalog::{LocalSettings, TableDef};
use crate::replica::request::{TableChange, WriteRequest, WriteResponse};
use crate::replica::{members, read};

/// Names under which local settings are recorded.
pub(crate) const TAGS: &str = "Tags";
pub(crate) const POLICY: &str = "ResourcePolicy";
pub(crate) const INSIGHTS: &str = "ContributorInsights";
pub(crate) const KINESIS: &str = "KinesisDataStreamDestinations";
pub(crate) const RECOVERY: &str = "PointInTimeRecoverySpecification";

/// The table of that name in this region, and what the region keeps of it. A replica that is still being
/// created is not there for most operations (global-tables.md section 3).
pub(crate) fn lookup(
    backend: &dyn Backend,
    name: &str,
) -> Result<Option<(TableDef, LocalSettings)>, ApiError> {
    let mut found = None;
    backend.read(&mut |txn| {
        found = read::table_here(txn, backend.region().id, name)?;
        if let Some((def, _)) = &found
            && members::is_joining(txn, def, backend.region().id)?
        {
            found = None;
        }
        Ok(())
    })?;
    Ok(found)
}

/// The same, with a replica that is still being created too.
pub(crate) fn lookup_any(
    backend: &dyn Backend,
    name: &str,
) -> Result<Option<(TableDef, LocalSettings)>, ApiError> {
    let mut found = None;
    backend.read(&mut |txn| {
        found = read::table_here(txn, backend.region().id, name)?;
        Ok(())
    })?;
    Ok(found)
}

/// The same, or the control plane's ResourceNotFoundException.
pub(crate) fn find(
    backend: &dyn Backend,
    name: &str,
) -> Result<(TableDef, LocalSettings), ApiError> {
    lookup(backend, name)?.ok_or_else(|| ApiError::table_not_found(name))
}

/// A recorded local setting.
pub(crate) fn get(local: &LocalSettings, name: &str) -> Option<Value> {
    text_to_json(local.recorded.get(name)?)
}

/// Records a local setting; `null` removes it.
pub(crate) fn set(local: &mut LocalSettings, name: &str, value: &Value) {
    if value.is_null() {
        local.recorded.remove(name);
    } else {
        local.recorded.insert(name.to_owned(), value.to_string());
    }
}

/// Changes what this region keeps of a table. `edit` works on what is there and is repeated when that has
/// changed meanwhile, so that no two changes undo each other; `find` looks the table up.
pub(crate) async fn change<T>(
    backend: &dyn Backend,
    find: impl Fn() -> Result<(TableDef, LocalSettings), ApiError>,
    edit: impl Fn(&TableDef, &mut LocalSettings) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    for _ in 0..ATTEMPTS_MAX {
        let (def, read) = find()?;
        let mut new = read.clone();
        let answer = edit(&def, &mut new)?;
        if new == read {
            return Ok(answer);
        }
        let request = WriteRequest::UpdateTable {
            table: def.name.clone(),
            change: TableChange::Local {
                uid: def.uid,
                read: Box::new(read),
                new: Box::new(new),
            },
        };
        if !matches!(backend.write(request).await?, WriteResponse::Stale) {
            return Ok(answer);
        }
    }
    Err(in_use())
}
