//! UpdateTableReplicaAutoScaling: recorded.

use super::super::tables::{change_settings, local, name_constraints};
use super::auto_scaling::{self, Scaling, key};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, RegionInfo, error, fields};
use crate::replica::ApiError;
use crate::replica::catalog::TableDef;

/// One setting that is asked for: its region (for reads), index, the member that asks, and the settings.
struct Asked {
    region: Option<String>,
    index: Option<String>,
    member: &'static str,
    scaling: Scaling,
}

const TABLE_WRITE: &str = "ProvisionedWriteCapacityAutoScalingUpdate";
const REPLICA_READ: &str = "ReplicaProvisionedReadCapacityAutoScalingUpdate";
const INDEX_READ: &str = "ProvisionedReadCapacityAutoScalingUpdate";

/// Runs UpdateTableReplicaAutoScaling.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields.string("TableName")?;
    let mut c = Constraints::default();
    let asked = take(&mut fields, &mut c)?;
    let name = fields::table_name(name)?;
    c.finish()?;
    let found = local::lookup(backend, &name)?.map(|(def, _)| def);
    let def = auto_scaling::admit(found, &name)?;
    admit(backend.region(), &def, &asked)?;
    let def = change_settings(backend, &name, |def| {
        for one in &asked {
            let key = key(one.region.as_deref(), one.index.as_deref());
            auto_scaling::record(def, key, &one.scaling);
        }
        Ok(())
    })
    .await?;
    let description = auto_scaling::describe(backend.region(), &def, "UPDATING");
    Ok(error::object([(
        "TableAutoScalingDescription",
        description,
    )]))
}

fn take(fields: &mut Fields, c: &mut Constraints) -> Result<Vec<Asked>, ApiError> {
    let mut asked = Vec::new();
    let mut ask = |region: Option<&String>, index: Option<&String>, member, scaling| {
        if let Some(scaling) = scaling {
            asked.push(Asked {
                region: region.cloned(),
                index: index.cloned(),
                member,
                scaling,
            });
        }
    };
    ask(None, None, TABLE_WRITE, Scaling::take(fields, TABLE_WRITE)?);
    let shape = "GlobalSecondaryIndexAutoScalingUpdate";
    let indexes = fields.structures("GlobalSecondaryIndexUpdates", shape)?;
    for (at, mut index) in indexes.unwrap_or_default().into_iter().enumerate() {
        let name = index.string("IndexName")?;
        if let Some(name) = &name {
            let path = format!("globalSecondaryIndexUpdates.{}.member.indexName", at + 1);
            name_constraints(c, &path, Some(name));
        }
        ask(
            None,
            name.as_ref(),
            TABLE_WRITE,
            Scaling::take(&mut index, TABLE_WRITE)?,
        );
    }
    let replicas = fields.structures("ReplicaUpdates", "ReplicaAutoScalingUpdate")?;
    for (at, mut replica) in replicas.unwrap_or_default().into_iter().enumerate() {
        let region = replica.string("RegionName")?;
        c.required(
            &format!("replicaUpdates.{}.member.regionName", at + 1),
            region.as_ref(),
        );
        let region = region.unwrap_or_default();
        ask(
            Some(&region),
            None,
            REPLICA_READ,
            Scaling::take(&mut replica, REPLICA_READ)?,
        );
        let shape = "ReplicaGlobalSecondaryIndexAutoScalingUpdate";
        let indexes = replica.structures("ReplicaGlobalSecondaryIndexUpdates", shape)?;
        for mut index in indexes.unwrap_or_default() {
            let name = index.string("IndexName")?;
            let scaling = Scaling::take(&mut index, INDEX_READ)?;
            ask(Some(&region), name.as_ref(), INDEX_READ, scaling);
        }
    }
    Ok(asked)
}

fn admit(region: &RegionInfo, def: &TableDef, asked: &[Asked]) -> Result<(), ApiError> {
    let table = &def.name;
    let failed = |text: String| {
        Err(ApiError::validation(format!(
            "Failed to update settings for global table with name: \u{2018}{table}\u{2019}: {text}"
        )))
    };
    if asked.is_empty() {
        return failed("because at least one update parameter must be specified".into());
    }
    for one in asked {
        let member = |name: &str| region.id_of(name).is_some_and(|id| def.group.contains(id));
        if let Some(name) = one.region.as_deref().filter(|name| !member(name)) {
            return Err(ApiError::validation(format!(
                "Update global table operation failed because one or more replicas were not part of the global table. \
                 Please retry the request without these replicas: [{name}]."
            )));
        }
        if one
            .index
            .as_deref()
            .is_some_and(|index| def.index(index).is_none())
        {
            return Err(ApiError::resource_not_found());
        }
        if let Some(lacking) = one.scaling.lacks() {
            return failed(format!(
                "Parameters '{lacking}' are required unless auto scaling is being disabled."
            ));
        }
        if def.throughput.is_none() && !one.scaling.disables() {
            let names = def.group.regions().filter_map(|id| region.name_of(id));
            let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
            return Err(ApiError::validation(format!(
                "Failed to update global table with name \u{2018}{table}\u{2018}. Replicas {} BillingMode is PayPerRequest. \
                 You must convert table's BillingMode to PROVISIONED to set parameters: '{}'.",
                names.join(", "),
                one.member
            )));
        }
    }
    Ok(())
}
