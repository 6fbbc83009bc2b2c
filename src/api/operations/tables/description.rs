//! TableDescription (api.md section 4, global-tables.md section 2.2).

use std::hash::Hasher;

use serde_json::{Map, Value, json};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::settings::{self, recorded};
use super::{capacity, date, maxima, now_ms, overrides, warm};
use crate::api::RegionInfo;
use crate::clock::Stamp;
use crate::item::KeySchema;
use crate::replica::catalog::{IndexDef, IndexKind, Projection, TableDef};
use crate::replica::members::MemberStatus;
use crate::replica::read::TableDetails;
use crate::replica::stream;

const GLOBAL_TABLE_VERSION: &str = "2019.11.21";
pub(super) const SETTINGS_MODE: &str = "GlobalTableSettingsReplicationMode";
const WITH_OVERRIDES: &str = "ENABLED_WITH_OVERRIDES";

/// The status to show. Tables are made at once, yet the answer to a change shows the state in which AWS's
/// tables are then: clients wait for ACTIVE anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Creating,
    Active,
    Updating,
    Deleting,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Creating => "CREATING",
            Status::Active => "ACTIVE",
            Status::Updating => "UPDATING",
            Status::Deleting => "DELETING",
        }
    }
}

/// The description of a table as this region sees it.
pub(super) fn describe(
    region: &RegionInfo,
    def: &TableDef,
    status: Status,
    here: &TableDetails,
) -> Value {
    let mut out = Map::new();
    let attributes = def
        .attributes
        .iter()
        .map(|a| json!({"AttributeName": a.name, "AttributeType": a.kind.name()}));
    out.insert("AttributeDefinitions".into(), attributes.collect());
    out.insert("KeySchema".into(), key_schema(&def.keys));
    out.insert("CreationDateTime".into(), seconds(created_us(region, def)));
    let shown = match status {
        Status::Active if here.is_busy() || leaves(region, here) => Status::Updating,
        status => status,
    };
    identity(region, def, shown.name(), here, &mut out);
    indexes(region, def, status, here, &mut out);
    stream(region, def, &mut out);
    replicas(region, def, here, &mut out);
    echoes(region, def, &mut out);
    Value::Object(out)
}

/// Whether the replica here is becoming a table of its own.
fn leaves(region: &RegionInfo, here: &TableDetails) -> bool {
    here.members.contains(&(region.id, MemberStatus::Leaving))
}

/// What DeleteTable shows: no schema and no indexes any more.
pub(super) fn describe_deleted(region: &RegionInfo, def: &TableDef, here: &TableDetails) -> Value {
    let mut out = Map::new();
    identity(region, def, "DELETING", here, &mut out);
    Value::Object(out)
}

/// The members that every description has.
fn identity(
    region: &RegionInfo,
    def: &TableDef,
    status: &str,
    here: &TableDetails,
    out: &mut Map<String, Value>,
) {
    out.insert("TableName".into(), json!(def.name));
    out.insert("TableStatus".into(), json!(status));
    out.insert("TableArn".into(), json!(region.table_arn(&def.name)));
    out.insert("TableId".into(), json!(table_id(region, def)));
    out.insert("TableSizeBytes".into(), json!(here.counts.bytes));
    out.insert("ItemCount".into(), json!(here.counts.items));
    let (read, _) = overrides::reads(def, &region.name, None);
    let throughput = capacity::describe(def, None, def.throughput, read, now_ms());
    out.insert("ProvisionedThroughput".into(), throughput);
    out.insert(
        "DeletionProtectionEnabled".into(),
        json!(def.protected.contains(region.id)),
    );
    if let Some(summary) = capacity::summary(def) {
        out.insert("BillingModeSummary".into(), summary);
    }
}

pub(crate) fn key_schema(keys: &KeySchema) -> Value {
    let part = |name: &str, role: &str| json!({"AttributeName": name, "KeyType": role});
    let partition = keys.partition.iter().map(|a| part(&a.name, "HASH"));
    partition
        .chain(keys.sort.iter().map(|a| part(&a.name, "RANGE")))
        .collect()
}

/// The indexes, among them those that are being removed; absent when there are none.
fn indexes(
    region: &RegionInfo,
    def: &TableDef,
    status: Status,
    here: &TableDetails,
    out: &mut Map<String, Value>,
) {
    for (kind, member) in [
        (IndexKind::Local, "LocalSecondaryIndexes"),
        (IndexKind::Global, "GlobalSecondaryIndexes"),
    ] {
        let of_kind = def.indexes.iter().filter(|i| i.kind == kind);
        let mut list: Vec<Value> = of_kind
            .map(|i| index(region, def, i, index_status(i, status, here), here))
            .collect();
        if kind == IndexKind::Global {
            let gone = here.deleting.iter().filter(|i| i.kind == kind);
            let gone = gone.filter(|i| def.index(&i.name).is_none());
            list.extend(gone.map(|i| index(region, def, i, "DELETING", here)));
        }
        if !list.is_empty() {
            out.insert(member.into(), Value::from(list));
        }
    }
}

/// An index is made with its table, or later and then built here in the background.
fn index_status(index: &IndexDef, table: Status, here: &TableDetails) -> &'static str {
    match table {
        Status::Creating => "CREATING",
        _ if here.building.contains(&index.id) => "CREATING",
        _ => "ACTIVE",
    }
}

fn index(
    region: &RegionInfo,
    def: &TableDef,
    index: &IndexDef,
    status: &str,
    here: &TableDetails,
) -> Value {
    let counts = here.indexes.get(&index.id).copied().unwrap_or_default();
    let projection = match &index.projection {
        Projection::KeysOnly => json!({"ProjectionType": "KEYS_ONLY"}),
        Projection::All => json!({"ProjectionType": "ALL"}),
        Projection::Include(names) => {
            json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": names})
        }
    };
    let mut entry = json!({
        "IndexName": index.name,
        "KeySchema": key_schema(&index.keys),
        "Projection": projection,
        "IndexArn": format!("{}/index/{}", region.table_arn(&def.name), index.name),
        "IndexSizeBytes": counts.bytes,
        "ItemCount": counts.items,
    });
    if let (IndexKind::Global, Some(entry)) = (index.kind, entry.as_object_mut()) {
        entry.insert("IndexStatus".into(), json!(status));
        if here.building.contains(&index.id) {
            entry.insert("Backfilling".into(), json!(true));
        }
        let units = index.throughput.filter(|_| def.throughput.is_some());
        let name = Some(index.name.as_str());
        let (read, maximum) = overrides::reads(def, &region.name, name);
        let throughput = capacity::describe(def, name, units, read, now_ms());
        entry.insert("ProvisionedThroughput".into(), throughput);
        entry.insert("WarmThroughput".into(), warm::describe(def, Some(index)));
        if let Some(maxima) = shown_maxima(def, name, maximum) {
            entry.insert(maxima::MEMBER.into(), maxima);
        }
    }
    entry
}

/// The stream's setting while it is on; the newest stream also afterwards.
fn stream(region: &RegionInfo, def: &TableDef, out: &mut Map<String, Value>) {
    if let Some(view) = &def.stream_view {
        let specification = json!({"StreamEnabled": true, "StreamViewType": view});
        out.insert("StreamSpecification".into(), specification);
    }
    let Some(us) = def.stream_us_in(region.id) else {
        return;
    };
    let label = stream::label(us);
    out.insert(
        "LatestStreamArn".into(),
        json!(region.stream_arn(&def.name, &label)),
    );
    out.insert("LatestStreamLabel".into(), json!(label));
}

/// The other members of the table's group, in the order they came; a regional table has none of these members
/// (global-tables.md section 2.2).
fn replicas(
    region: &RegionInfo,
    def: &TableDef,
    here: &TableDetails,
    out: &mut Map<String, Value>,
) {
    let others = here.members.iter().filter(|(id, _)| *id != region.id);
    let entry = |name: &str, status: &MemberStatus| {
        let mut entry = Map::new();
        entry.insert("RegionName".into(), json!(name));
        entry.insert("ReplicaStatus".into(), json!(replica_status(status)));
        if let MemberStatus::Failed(why) = status {
            entry.insert("ReplicaStatusDescription".into(), json!(why));
        }
        entry.insert(warm::MEMBER.into(), warm::describe(def, None));
        entry.insert(SETTINGS_MODE.into(), json!(WITH_OVERRIDES));
        overrides::describe(def, name, &mut entry);
        Value::Object(entry)
    };
    let list: Vec<Value> = others
        .filter_map(|(id, status)| Some(entry(&region.name_of(*id)?, status)))
        .collect();
    if list.is_empty() {
        if let Some(mode) = recorded(def, SETTINGS_MODE) {
            out.insert(SETTINGS_MODE.into(), mode);
        }
        return;
    }
    out.insert("GlobalTableVersion".into(), json!(GLOBAL_TABLE_VERSION));
    out.insert(SETTINGS_MODE.into(), json!(WITH_OVERRIDES));
    out.insert("Replicas".into(), Value::from(list));
}

fn replica_status(status: &MemberStatus) -> &'static str {
    match status {
        MemberStatus::Creating => "CREATING",
        MemberStatus::Active => "ACTIVE",
        MemberStatus::Deleting => "DELETING",
        MemberStatus::Failed(_) => "CREATION_FAILED",
        MemberStatus::Leaving => "UPDATING",
    }
}

/// When this region's replica came to be.
fn created_us(region: &RegionInfo, def: &TableDef) -> u64 {
    let added = def.member(region.id).map_or(Stamp::MIN, |m| m.added);
    if added > Stamp::MIN {
        added.physical_us
    } else {
        def.created_us
    }
}

/// Settings that are recorded and echoed.
fn echoes(region: &RegionInfo, def: &TableDef, out: &mut Map<String, Value>) {
    if let Some(sse) =
        recorded(def, settings::SSE).filter(|s| s.get("Enabled") == Some(&json!(true)))
    {
        let mut description = json!({"Status": "ENABLED", "SSEType": "KMS"});
        if let (Some(key), Some(members)) = (sse.get("KMSMasterKeyId"), description.as_object_mut())
        {
            members.insert("KMSMasterKeyArn".into(), key.clone());
        }
        out.insert("SSEDescription".into(), description);
    }
    let own = overrides::class(def, &region.name);
    if let Some(class) = own.or_else(|| recorded(def, settings::TABLE_CLASS)) {
        let mut summary = json!({"TableClass": class});
        if let Some(changed) = recorded(def, settings::TABLE_CLASS_CHANGED).and_then(|v| v.as_u64())
        {
            summary["LastUpdateDateTime"] = date(changed);
        }
        out.insert("TableClassSummary".into(), summary);
    }
    let (_, maximum) = overrides::reads(def, &region.name, None);
    if let Some(maxima) = shown_maxima(def, None, maximum) {
        out.insert(maxima::MEMBER.into(), maxima);
    }
    out.insert(warm::MEMBER.into(), warm::describe(def, None));
}

/// The on-demand maxima of a table or index here, those that are set.
fn shown_maxima(def: &TableDef, index: Option<&str>, own_read: Option<u64>) -> Option<Value> {
    let mut shown = maxima::of(def, index).unwrap_or_default();
    if let Some(own) = own_read {
        let [read, _] = maxima::NAMES;
        shown.insert(read.into(), json!(own));
    }
    (!shown.is_empty()).then_some(Value::Object(shown))
}

/// Epoch seconds with milliseconds.
fn seconds(us: u64) -> Value {
    date(us / 1000)
}

/// A UUID of this replica of this creation of the table.
pub(crate) fn table_id(region: &RegionInfo, def: &TableDef) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(def.uid.0);
    hasher.write_u16(region.id.0);
    // A region that left and came back has another replica.
    if let Some(member) = def.member(region.id).filter(|m| m.added > Stamp::MIN) {
        hasher.write(&member.added.to_bytes());
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] =
        hasher.finish128().as_u128().to_be_bytes();
    // The version and variant bits of a random UUID.
    let (g, i) = (g & 0x0f | 0x40, i & 0x3f | 0x80);
    format!(
        "{a:02x}{b:02x}{c:02x}{d:02x}-{e:02x}{f:02x}-{g:02x}{h:02x}-{i:02x}{j:02x}-{k:02x}{l:02x}{m:02x}{n:02x}{o:02x}{p:02x}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_milliseconds() {
        assert_eq!(seconds(1_795_392_000_123_999).to_string(), "1795392000.123");
    }
}
