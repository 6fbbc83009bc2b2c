//! UpdateTable: one kind of change per call (api.md section 4, global-tables.md section 3).

use super::capacity::{self, Moment};
use super::description::{SETTINGS_MODE, Status, describe};
use super::index_updates::IndexUpdates;
use super::replica_updates::ReplicaUpdates;
use super::schema::Definitions;
use super::settings::Settings;
use super::strong::Strong;
use super::{
    change, change_settings, counts, find_any, invalid, local, maxima, now_ms, refuse_busy, strong,
};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error, fields};
use crate::replica::catalog::{LocalSettings, TableDef};
use crate::replica::read::TableDetails;
use crate::replica::request::{TableChange, WriteRequest};
use crate::replica::{ApiError, members};

/// What an UpdateTable may change, as AWS lists it to a request that changes nothing. Members that were sent
/// and change nothing are left out.
const CHANGEABLE: [&str; 13] = [
    "ProvisionedThroughput",
    "BillingMode",
    "UpdateStreamEnabled",
    "GlobalSecondaryIndexUpdates",
    "SSESpecification",
    "ReplicaUpdates",
    "MultiAccountReplicaReady",
    "ReplicaTransitRoleArn",
    "MultiRegionConsistency",
    "DeletionProtectionEnabled",
    "OnDemandThroughput",
    "WarmThroughput",
    "TableClass",
];

/// A request with its JSON types checked.
struct Request {
    name: Option<String>,
    definitions: Definitions,
    settings: Settings,
    indexes: Option<IndexUpdates>,
    replicas: Option<ReplicaUpdates>,
    strong: Strong,
    /// DisassociationProtectionEnabled.
    stays: Option<bool>,
    /// GlobalTableSettingsReplicationMode.
    mode: Option<String>,
    vectors: bool,
}

/// Runs UpdateTable.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let request = take(&mut fields)?;
    let name = fields::table_name(request.name.clone())?;
    constrain(&request)?;
    alone(&request)?;
    check_capacity(&request.settings)?;
    let region = backend.region();
    if let Some(replicas) = &request.replicas {
        replicas.check(region, request.strong.is_strong())?;
        request.strong.check(region, replicas)?;
    }
    if let Some(indexes) = &request.indexes {
        indexes.check()?;
    }
    let before = find_any(backend, &name)?;
    if request.replicas.is_some() {
        refuse_joining(backend, &before)?;
    }
    refuse_busy(backend, &before)?;
    let one_online_index = request
        .indexes
        .as_ref()
        .is_some_and(IndexUpdates::changes_set);
    // What creates or deletes an index is refused by the replica, in other words.
    if !one_online_index && counts(backend, &before)?.is_busy() {
        return Err(ApiError::table_in_use(&before.name));
    }
    let after = if let Some(stays) = request.stays {
        stay(backend, &before, stays).await?
    } else if let Some(mode) = &request.mode {
        set_mode(backend, &name, mode).await?
    } else if let Some(protection) = request.settings.protection {
        protect(backend, &name, protection).await?
    } else if let Some(replicas) = &request.replicas {
        change_replicas(backend, &name, replicas).await?
    } else if let Some(wanted) = index_change(&request, &before)? {
        change_index(backend, &name, &request, wanted).await?
    } else {
        let throttled = backend.throttle().is_some();
        change_settings(backend, &name, |def| set(&request, def, throttled)).await?
    };
    let regional = after.group.regions().count() == 1;
    let status = match request.settings.protection.or(request.stays) {
        Some(_) if regional => Status::Active,
        _ => Status::Updating,
    };
    let shown = capacity::as_asked(&before, &after);
    let mut here = counts(backend, &after)?;
    show_change(&before, &after, &mut here);
    let description = describe(region, &shown, status, &here);
    Ok(error::object([("TableDescription", description)]))
}

/// The answer shows a new index as CREATING and a deleted one as DELETING, however fast that was.
fn show_change(old: &TableDef, new: &TableDef, here: &mut TableDetails) {
    let lacks = |def: &TableDef, id| def.indexes.iter().all(|i| i.id != id);
    let created = new.indexes.iter().filter(|i| lacks(old, i.id));
    here.building.extend(created.map(|i| i.id));
    for gone in old.indexes.iter().filter(|i| lacks(new, i.id)) {
        if here.deleting.iter().all(|i| i.id != gone.id) {
            here.deleting.push(gone.clone());
        }
    }
}

/// Deletion protection is each region's own.
async fn protect(backend: &dyn Backend, name: &str, on: bool) -> Result<TableDef, ApiError> {
    let edit = |_: &TableDef, local: &mut LocalSettings| {
        local.deletion_protection = on;
        Ok(())
    };
    local::change(backend, || local::find(backend, name), edit).await?;
    find_any(backend, name)
}

/// Disassociation protection is each replica's own.
async fn stay(backend: &dyn Backend, def: &TableDef, on: bool) -> Result<TableDef, ApiError> {
    let name = &def.name;
    let edit = |def: &TableDef, local: &mut LocalSettings| {
        if def.group.regions().count() < 2 {
            return Err(invalid(
                "DisassociationProtectionEnabled can only be changed for a Global Table replica",
            ));
        }
        local.may_disassociate = !on;
        Ok(())
    };
    local::change(backend, || local::find(backend, name), edit).await?;
    find_any(backend, name)
}

/// Recorded and echoed only, and only while the table is of one region: it says what a replica in another
/// account would do, and there is one account (global-tables.md section 7).
async fn set_mode(backend: &dyn Backend, name: &str, mode: &str) -> Result<TableDef, ApiError> {
    if mode == "ENABLED_WITH_OVERRIDES" {
        return Err(invalid(format!("{SETTINGS_MODE} cannot be set to {mode}")));
    }
    change_settings(backend, name, |def| {
        if def.group.regions().count() > 1 {
            return Err(invalid(format!(
                "{SETTINGS_MODE} cannot be changed for a Global Table replica"
            )));
        }
        super::settings::set(def, SETTINGS_MODE, serde_json::json!(mode));
        Ok(())
    })
    .await
}

/// What a region answers whose own replica is still being created.
fn refuse_joining(backend: &dyn Backend, def: &TableDef) -> Result<(), ApiError> {
    let mut joining = false;
    let region = backend.region();
    backend.read(&mut |txn| {
        joining = members::is_joining(txn, def, region.id)?;
        Ok(())
    })?;
    if joining {
        return Err(ApiError::validation(format!(
            "Create/Update/Delete of replica is not allowed while the replica is being added to table with name: \u{2018}{}\u{2019} in region: \u{2018}{}\u{2019}.",
            def.name, region.name
        )));
    }
    Ok(())
}

/// The overrides, then the group. A replica that does not come to be leaves overrides that nobody sees.
async fn change_replicas(
    backend: &dyn Backend,
    name: &str,
    replicas: &ReplicaUpdates,
) -> Result<TableDef, ApiError> {
    let region = backend.region();
    let stands = |def: &TableDef| Ok::<_, ApiError>(counts(backend, def)?.members);
    let local = local::find(backend, name)?.1;
    let def = change_settings(backend, name, |def| {
        replicas.change(region, def, &stands(def)?, &local)?;
        replicas.record(def)
    })
    .await?;
    let Some(change_of_group) = replicas.change(region, &def, &stands(&def)?, &local)? else {
        return Ok(def);
    };
    let request = WriteRequest::UpdateTable {
        table: name.to_owned(),
        change: change_of_group,
    };
    change(backend, request).await
}

/// The index, then what is recorded of it.
async fn change_index(
    backend: &dyn Backend,
    name: &str,
    request: &Request,
    wanted: TableChange,
) -> Result<TableDef, ApiError> {
    let request_of_change = WriteRequest::UpdateTable {
        table: name.to_owned(),
        change: wanted,
    };
    change(backend, request_of_change).await?;
    change_settings(backend, name, |def| match &request.indexes {
        Some(indexes) => indexes.record(def),
        None => Ok(()),
    })
    .await
}

fn take(fields: &mut Fields) -> Result<Request, ApiError> {
    Ok(Request {
        definitions: Definitions::take(fields)?,
        name: fields.string("TableName")?,
        settings: Settings::take(fields)?,
        indexes: IndexUpdates::take(fields)?.filter(|i| !i.is_empty()),
        replicas: ReplicaUpdates::take(fields)?,
        strong: Strong::take(fields)?,
        stays: fields.boolean("DisassociationProtectionEnabled")?,
        mode: fields.string(SETTINGS_MODE)?,
        vectors: fields
            .list("VectorIndexUpdates")?
            .is_some_and(|list| !list.is_empty()),
    })
}

fn constrain(request: &Request) -> Result<(), ApiError> {
    let mut c = Constraints::default();
    request.definitions.constrain(&mut c, false);
    request.settings.constrain(&mut c);
    if let Some(indexes) = &request.indexes {
        indexes.constrain(&mut c);
    }
    if let Some(replicas) = &request.replicas {
        replicas.constrain(&mut c);
    }
    request.strong.constrain(&mut c);
    c.one_of(
        "globalTableSettingsReplicationMode",
        request.mode.as_deref(),
        &["ENABLED", "DISABLED", "ENABLED_WITH_OVERRIDES"],
    );
    c.finish()
}

/// What can be said of throughput without the table.
fn check_capacity(settings: &Settings) -> Result<(), ApiError> {
    match (settings.billing.as_deref(), &settings.throughput) {
        (Some("PROVISIONED"), None) => Err(invalid(
            "ProvisionedThroughput must be specified when BillingMode is PROVISIONED",
        )),
        (_, Some(throughput)) => throughput.check(),
        _ => match &settings.on_demand {
            Some(given) => maxima::check(given, None, true),
            None => Ok(()),
        },
    }
}

/// Something must change, and only one kind of thing.
fn alone(request: &Request) -> Result<(), ApiError> {
    let s = &request.settings;
    if request.vectors {
        return Err(invalid("vector indexes are not supported"));
    }
    let capacity = s.throughput.is_some() || s.billing.is_some();
    let present = [
        capacity || s.on_demand.is_some(),
        request.indexes.is_some(),
        s.stream.is_some(),
        s.sse.is_some(),
        s.table_class.is_some(),
        s.protection.is_some(),
        s.warm.is_some(),
        request.stays.is_some(),
        request.mode.is_some(),
    ];
    let kinds = present.iter().filter(|there| **there).count();
    if request.replicas.is_some() && kinds > 0 {
        return Err(invalid(if request.strong.is_asked() {
            "Requests that modify replicas or witnesses must not also modify other fields"
        } else {
            "Replica modification must be the only operation in the request"
        }));
    }
    if let Some(replicas) = &request.replicas {
        return strong::admit(&request.strong, replicas);
    }
    if kinds == 0 {
        return Err(nothing_to_do(request));
    }
    for (there, name) in [
        (s.sse.is_some(), "Server-Side Encryption modification"),
        (s.table_class.is_some(), "TableClass modification"),
        (s.protection.is_some(), "DeletionProtection modification"),
        (s.warm.is_some(), "WarmThroughput"),
        (
            request.stays.is_some(),
            "DisassociationProtection modification",
        ),
        (
            request.mode.is_some(),
            "GlobalTableSettingsReplicationMode modification",
        ),
    ] {
        if there && kinds > 1 {
            return Err(invalid(format!(
                "{name} must be the only operation in the request"
            )));
        }
    }
    if s.on_demand.is_some() && (kinds > 1 || s.throughput.is_some()) {
        return Err(invalid(
            "OnDemandThroughput can only be combined with BillingMode in an UpdateTable request",
        ));
    }
    together(request, capacity)
}

/// AWS's answer to a request that changes nothing.
fn nothing_to_do(request: &Request) -> ApiError {
    let sent = |name: &str| name == "MultiRegionConsistency" && request.strong.names_consistency();
    let names: Vec<&str> = CHANGEABLE.into_iter().filter(|name| !sent(name)).collect();
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    let others = others.join(", ");
    ApiError::validation(format!("At least one of {others} or {last} is required"))
}

/// Capacity, the set of indexes and the stream do not change in one request.
fn together(request: &Request, capacity: bool) -> Result<(), ApiError> {
    let set_of_indexes = request
        .indexes
        .as_ref()
        .is_some_and(IndexUpdates::changes_set);
    match (capacity, set_of_indexes, request.settings.stream.is_some()) {
        (true, true, _) => Err(invalid(
            "You cannot create or delete index while updating table IOPS",
        )),
        (true, _, true) => Err(invalid(
            "You cannot modify stream status while updating table IOPS",
        )),
        (_, true, true) => Err(invalid(
            "You cannot create or delete index while changing stream status",
        )),
        _ => Ok(()),
    }
}

/// The change of the set of indexes, if that is what is asked for.
fn index_change(request: &Request, def: &TableDef) -> Result<Option<TableChange>, ApiError> {
    match &request.indexes {
        Some(indexes) => indexes.change(&request.definitions.attributes()?, def),
        None => Ok(None),
    }
}

/// Writes the settings that are asked for into the definition. `throttled`: AWS's pauses between decreases
/// protect capacity, so they hold where capacity does.
fn set(request: &Request, def: &mut TableDef, throttled: bool) -> Result<(), ApiError> {
    let s = &request.settings;
    let at = Moment {
        now_ms: now_ms(),
        limited: throttled,
    };
    if s.throughput.is_some()
        || s.billing.is_some()
        || s.on_demand.is_some()
        || request.indexes.is_some()
    {
        capacity::change(s, request.indexes.as_ref(), def, at)?;
    }
    stream(s, def)?;
    s.record_changes(def, at.now_ms)
}

fn stream(settings: &Settings, def: &mut TableDef) -> Result<(), ApiError> {
    let table = &def.name;
    match &settings.stream {
        None => {}
        Some((Some(true), None)) => {
            return Err(invalid(
                "If stream is being enabled then UpdateViewType is required",
            ));
        }
        Some((Some(true), Some(view))) => {
            if def.stream_view.is_some() {
                return Err(ApiError::validation(format!(
                    "Table already has an enabled stream: TableName: {table}"
                )));
            }
            def.stream_view = Some(view.clone());
        }
        Some(_) if def.stream_view.is_none() => {
            return Err(ApiError::validation(format!(
                "Table has no stream to disable: TableName: {table}"
            )));
        }
        Some(_) => def.stream_view = None,
    }
    Ok(())
}
