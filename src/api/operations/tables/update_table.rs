//! UpdateTable: one kind of change per call (api.md section 4, global-tables.md section 3).

use serde_json::json;

use super::description::{Status, describe};
use super::index_updates::IndexUpdates;
use super::replica_updates::ReplicaUpdates;
use super::schema::Definitions;
use super::settings::{self, NEITHER_UNIT, Settings};
use super::{change, counts, find, invalid, refuse_busy};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error, fields};
use crate::replica::ApiError;
use crate::replica::catalog::{IndexKind, TableDef};
use crate::replica::read::TableDetails;
use crate::replica::request::{TableChange, WriteRequest};

const NOTHING_TO_DO: &str = "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, \
     SSESpecification, ReplicaUpdates, MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, \
     DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or TableClass is required";

/// A request with its JSON types checked.
struct Request {
    name: Option<String>,
    definitions: Definitions,
    settings: Settings,
    indexes: Option<IndexUpdates>,
    replicas: Option<ReplicaUpdates>,
    consistency: Option<String>,
    witnesses: bool,
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
        replicas.check(region)?;
    }
    if let Some(indexes) = &request.indexes {
        indexes.check()?;
    }
    let def = find(backend, &name)?;
    refuse_busy(backend, &def)?;
    let one_online_index = request
        .indexes
        .as_ref()
        .is_some_and(IndexUpdates::changes_set);
    // What creates or deletes an index is refused by the replica, in other words.
    if !one_online_index && counts(backend, &def)?.is_busy() {
        return Err(ApiError::table_in_use(&def.name));
    }
    let wanted = match &request.replicas {
        Some(replicas) => replicas.change(region, &def)?,
        None => changed(&request, &def)?,
    };
    let updated = match wanted {
        Some(wanted) => {
            change(
                backend,
                WriteRequest::UpdateTable {
                    table: name,
                    change: wanted,
                },
            )
            .await?
        }
        None => def.clone(),
    };
    let only_protection = request.settings.protection.is_some();
    let status = if only_protection {
        Status::Active
    } else {
        Status::Updating
    };
    let mut here = counts(backend, &updated)?;
    show_change(&def, &updated, &mut here);
    let description = describe(region, &updated, status, &here);
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

fn take(fields: &mut Fields) -> Result<Request, ApiError> {
    Ok(Request {
        definitions: Definitions::take(fields)?,
        name: fields.string("TableName")?,
        settings: Settings::take(fields)?,
        indexes: IndexUpdates::take(fields)?.filter(|i| !i.is_empty()),
        replicas: ReplicaUpdates::take(fields)?,
        consistency: fields.string("MultiRegionConsistency")?,
        witnesses: fields
            .list("GlobalTableWitnessUpdates")?
            .is_some_and(|list| !list.is_empty()),
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
    c.one_of(
        "multiRegionConsistency",
        request.consistency.as_deref(),
        &["EVENTUAL", "STRONG"],
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
        _ => Ok(()),
    }
}

/// Something must change, and only one kind of thing.
fn alone(request: &Request) -> Result<(), ApiError> {
    let s = &request.settings;
    if request.witnesses || request.consistency.as_deref() == Some("STRONG") {
        return Err(ApiError::validation(
            "Multi-Region strong consistency is not supported",
        ));
    }
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
    ];
    let kinds = present.iter().filter(|there| **there).count();
    if request.replicas.is_some() {
        return if kinds == 0 {
            Ok(())
        } else {
            Err(invalid(
                "Replica modification must be the only operation in the request",
            ))
        };
    }
    if kinds == 0 {
        return Err(ApiError::validation(NOTHING_TO_DO));
    }
    for (there, name) in [
        (s.sse.is_some(), "Server-Side Encryption modification"),
        (s.table_class.is_some(), "TableClass modification"),
        (s.protection.is_some(), "DeletionProtection modification"),
        (s.warm.is_some(), "WarmThroughput"),
    ] {
        if there && kinds > 1 {
            return Err(invalid(format!(
                "{name} must be the only operation in the request"
            )));
        }
    }
    let set_of_indexes = request
        .indexes
        .as_ref()
        .is_some_and(IndexUpdates::changes_set);
    match (capacity, set_of_indexes, s.stream.is_some()) {
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

/// The change of indexes or settings.
fn changed(request: &Request, def: &TableDef) -> Result<Option<TableChange>, ApiError> {
    if let Some(indexes) = &request.indexes
        && let Some(change) = indexes.change(&request.definitions.attributes()?, def)?
    {
        return Ok(Some(change));
    }
    let mut new = def.clone();
    capacity(request, &mut new)?;
    stream(&request.settings, &mut new)?;
    if let Some(protection) = request.settings.protection {
        new.deletion_protection = protection;
    }
    request.settings.record(&mut new);
    if new.throughput.is_some() {
        settings::unset(&mut new, settings::ON_DEMAND);
    }
    Ok((new != *def).then(|| TableChange::Settings(Box::new(new))))
}

/// Billing mode and throughput, of the table and its GSIs.
fn capacity(request: &Request, def: &mut TableDef) -> Result<(), ApiError> {
    let given = request.settings.throughput.as_ref().map(|t| t.units());
    let on_demand = match request.settings.billing.as_deref() {
        Some(mode) => mode == "PAY_PER_REQUEST",
        None => def.throughput.is_none(),
    };
    let switched = on_demand != def.throughput.is_none();
    match (on_demand, given) {
        (true, Some(_)) => return Err(invalid(NEITHER_UNIT)),
        (true, None) if switched => {
            def.throughput = None;
            def.indexes.iter_mut().for_each(|i| i.throughput = None);
        }
        (true, None) => {}
        (false, None) => {}
        (false, Some(units)) if def.throughput == Some(units) && request.indexes.is_none() => {
            return Err(unchanged(units));
        }
        (false, Some(units)) => def.throughput = Some(units),
    }
    if !on_demand && request.settings.on_demand.is_some() {
        return Err(invalid(
            "MaxReadRequestUnits for OnDemandThroughput cannot be specified when the table BillingMode is PROVISIONED",
        ));
    }
    if let Some(indexes) = &request.indexes {
        indexes.set_throughput(def)?;
    }
    if switched && !on_demand {
        settings::set(def, settings::WAS_ON_DEMAND, json!(true));
        let bare = def
            .indexes
            .iter()
            .find(|i| i.kind == IndexKind::Global && i.throughput.is_none());
        if let Some(index) = bare {
            return Err(invalid(format!(
                "ProvisionedThroughput is not specified for index: {}",
                index.name
            )));
        }
    }
    Ok(())
}

fn unchanged((read, write): (u64, u64)) -> ApiError {
    ApiError::validation(format!(
        "The provisioned throughput for the table will not change. The requested value equals the current value. \
         Current ReadCapacityUnits provisioned for the table: {read}. Requested ReadCapacityUnits: {read}. \
         Current WriteCapacityUnits provisioned for the table: {write}. Requested WriteCapacityUnits: {write}. \
         Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
    ))
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
        Some(_) if def.group.regions().count() > 1 => {
            return Err(invalid(
                "Disabling Stream is not allowed for a Global Table replica.",
            ));
        }
        Some(_) => def.stream_view = None,
    }
    Ok(())
}
