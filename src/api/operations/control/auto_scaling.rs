//! Auto scaling of replicas: recorded in the table's definition and shown; nothing scales (api.md
//! section 1).

use serde_json::{Map, Value, json};

use super::super::tables::settings::{recorded, set};
use crate::api::{Fields, RegionInfo};
use crate::replica::ApiError;
use crate::replica::catalog::{IndexKind, TableDef};

/// The name under which settings are recorded: `write`, `write/{index}`, `read@{region}`,
/// `read@{region}/{index}` to what was asked.
const RECORDED: &str = "AutoScaling";

/// Settings as sent: whether they only switch scaling off, and what is kept of them.
#[derive(Clone, Debug)]
pub(super) struct Scaling {
    disabled: bool,
    kept: Map<String, Value>,
}

impl Scaling {
    pub(super) fn take(fields: &mut Fields, member: &str) -> Result<Option<Self>, ApiError> {
        let Some(mut given) = fields.structure(member, "AutoScalingSettingsUpdate")? else {
            return Ok(None);
        };
        let disabled = given.boolean("AutoScalingDisabled")?.unwrap_or(false);
        let mut kept = Map::new();
        for name in ["MinimumUnits", "MaximumUnits"] {
            if let Some(units) = given.long(name)? {
                kept.insert(name.into(), json!(units));
            }
        }
        if let Some(role) = given.string("AutoScalingRoleArn")? {
            kept.insert("AutoScalingRoleArn".into(), json!(role));
        }
        if let Some(mut policy) =
            given.structure("ScalingPolicyUpdate", "AutoScalingPolicyUpdate")?
        {
            let mut shown = Map::new();
            if let Some(name) = policy.string("PolicyName")? {
                shown.insert("PolicyName".into(), json!(name));
            }
            let member = "TargetTrackingScalingPolicyConfiguration";
            if let Some(target) = policy.raw(member) {
                shown.insert(member.into(), target);
            }
            kept.insert("ScalingPolicies".into(), json!([shown]));
        }
        Ok(Some(Scaling { disabled, kept }))
    }

    /// Whether scaling is only switched off.
    pub(super) fn disables(&self) -> bool {
        self.disabled
    }

    /// The first of the members that scaling needs and that is not there.
    pub(super) fn lacks(&self) -> Option<&'static str> {
        let needed = ["MinimumUnits", "MaximumUnits"];
        needed
            .into_iter()
            .find(|name| !self.disabled && !self.kept.contains_key(*name))
    }

    fn value(&self) -> Value {
        if self.disabled {
            json!({"AutoScalingDisabled": true})
        } else {
            Value::Object(self.kept.clone())
        }
    }
}

/// Whose scaling: `read` capacity of a region, or the write capacity of all; of the table or an index.
pub(super) fn key(region: Option<&str>, index: Option<&str>) -> String {
    let of = region.map_or_else(|| "write".to_owned(), |region| format!("read@{region}"));
    match index {
        None => of,
        Some(index) => format!("{of}/{index}"),
    }
}

fn all(def: &TableDef) -> Map<String, Value> {
    let kept = recorded(def, RECORDED);
    kept.and_then(|v| v.as_object().cloned())
        .unwrap_or_default()
}

pub(super) fn record(def: &mut TableDef, key: String, scaling: &Scaling) {
    let mut all = all(def);
    all.insert(key, scaling.value());
    set(def, RECORDED, Value::Object(all));
}

/// A TableAutoScalingDescription: every replica, in the order of their names.
pub(super) fn describe(region: &RegionInfo, def: &TableDef, status: &str) -> Value {
    let all = all(def);
    let shown = |of: Option<&str>, index: Option<&str>| {
        all.get(&key(of, index))
            .cloned()
            .unwrap_or_else(|| json!({"AutoScalingDisabled": true}))
    };
    let mut names: Vec<String> = def
        .group
        .regions()
        .filter_map(|id| region.name_of(id))
        .collect();
    names.sort_unstable();
    let replica = |name: &String| {
        let name = name.as_str();
        let global = def.indexes.iter().filter(|i| i.kind == IndexKind::Global);
        let indexes: Vec<Value> = global
            .map(|i| {
                json!({
                    "IndexName": i.name,
                    "IndexStatus": "ACTIVE",
                    "ProvisionedReadCapacityAutoScalingSettings": shown(Some(name), Some(&i.name)),
                    "ProvisionedWriteCapacityAutoScalingSettings": shown(None, Some(&i.name)),
                })
            })
            .collect();
        json!({
            "RegionName": name,
            "GlobalSecondaryIndexes": indexes,
            "ReplicaProvisionedReadCapacityAutoScalingSettings": shown(Some(name), None),
            "ReplicaProvisionedWriteCapacityAutoScalingSettings": shown(None, None),
            "ReplicaStatus": "ACTIVE",
        })
    };
    let replicas: Vec<Value> = names.iter().map(replica).collect();
    json!({"TableName": def.name, "TableStatus": status, "Replicas": replicas})
}

/// A table that is not global has no replicas to scale.
pub(super) fn admit(def: Option<TableDef>, name: &str) -> Result<TableDef, ApiError> {
    def.filter(|def| def.group.regions().count() > 1)
        .ok_or_else(|| ApiError::ResourceNotFound(super::legacy::does_not_exist(name)))
}
