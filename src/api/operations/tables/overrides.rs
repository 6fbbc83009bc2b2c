//! What a replica has of its own in a global table: read capacity, maximum of reads, table class
//! (global-tables.md sections 2.1, 2.2 and 4). Kept in the definition, since every region shows them.

use serde_json::{Map, Value, json};

use super::settings::{Pair, TABLE_CLASS, recorded, set, unset};
use super::{ApiError, invalid, maxima};
use crate::api::{Constraints, Fields, enums};
use crate::replica::catalog::TableDef;

/// The name under which the overrides are recorded: region to members.
const REPLICAS: &str = "Replicas";
const READ: &str = "ReadCapacityUnits";
const MAX_READ: &str = "MaxReadRequestUnits";
const CLASS: &str = "TableClass";
const KMS_KEY: &str = "KMSMasterKeyId";
const INDEXES: &str = "GlobalSecondaryIndexes";

/// The read capacity and the maximum of reads of a replica's table or index.
#[derive(Clone, Debug, Default)]
struct Reads {
    units: Option<i64>,
    maximum: Option<i64>,
}

impl Reads {
    fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let one = |fields: &mut Fields, member: &str, name: &str| match fields
            .structure(member, member)?
        {
            Some(mut given) => given.long(name),
            None => Ok(None),
        };
        Ok(Reads {
            units: one(fields, "ProvisionedThroughputOverride", READ)?,
            maximum: one(fields, "OnDemandThroughputOverride", MAX_READ)?,
        })
    }

    fn constrain(&self, c: &mut Constraints, path: &str) {
        let path = format!("{path}.provisionedThroughputOverride.readCapacityUnits");
        c.range(&path, self.units, 1, i64::MAX);
    }

    /// What the billing mode allows.
    fn admit(&self, def: &TableDef, index: Option<&str>) -> Result<(), ApiError> {
        if self.units.is_some() && def.throughput.is_none() {
            return Err(invalid(
                "ProvisionedThroughputOverride cannot be specified when BillingMode is PAY_PER_REQUEST",
            ));
        }
        let given = Pair::new(self.maximum, None);
        if def.throughput.is_some() {
            maxima::refuse_provisioned(&given, index)?;
        }
        maxima::check(&given, index, true)
    }

    /// Merges into what is kept. What equals the base is no override.
    fn merge(&self, def: &TableDef, index: Option<&str>, kept: &mut Map<String, Value>) {
        let base = base_reads(def, index);
        for (name, value, base) in [(READ, self.units, base.0), (MAX_READ, self.maximum, base.1)] {
            match value {
                None => {}
                Some(value) if value < 1 || u64::try_from(value).ok() == base => {
                    kept.remove(name);
                }
                Some(value) => {
                    kept.insert(name.into(), json!(value));
                }
            }
        }
    }
}

/// The table's own (read units, maximum of reads).
fn base_reads(def: &TableDef, index: Option<&str>) -> (Option<u64>, Option<u64>) {
    let units = match index {
        None => def.throughput,
        Some(name) => def.index(name).and_then(|i| i.throughput),
    };
    let maxima = maxima::of(def, index);
    let maximum = maxima
        .as_ref()
        .and_then(|m| m.get(MAX_READ))
        .and_then(Value::as_u64);
    (units.map(|(read, _)| read), maximum)
}

/// The overrides of a Create or Update action, as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    reads: Reads,
    class: Option<String>,
    kms_key: Option<String>,
    indexes: Vec<(Option<String>, Reads)>,
    given: bool,
}

impl Overrides {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let given = [
            KMS_KEY,
            "ProvisionedThroughputOverride",
            "OnDemandThroughputOverride",
            INDEXES,
            "TableClassOverride",
        ];
        let given = given.iter().any(|name| fields.has(name));
        let reads = Reads::take(fields)?;
        let indexes = fields.structures(INDEXES, "ReplicaGlobalSecondaryIndex")?;
        let one = |mut index: Fields| Ok((index.string("IndexName")?, Reads::take(&mut index)?));
        Ok(Overrides {
            reads,
            class: fields.string("TableClassOverride")?,
            kms_key: fields.string(KMS_KEY)?,
            indexes: indexes
                .unwrap_or_default()
                .into_iter()
                .map(one)
                .collect::<Result<_, ApiError>>()?,
            given,
        })
    }

    /// Whether any was sent.
    pub(super) fn given(&self) -> bool {
        self.given
    }

    pub(super) fn constrain(&self, c: &mut Constraints, path: &str) {
        self.reads.constrain(c, path);
        c.one_of(
            &format!("{path}.tableClassOverride"),
            self.class.as_deref(),
            enums::TABLE_CLASS,
        );
        for (at, (name, reads)) in self.indexes.iter().enumerate() {
            let path = format!("{path}.globalSecondaryIndexes.{}.member", at + 1);
            super::schema::name_constraints(c, &format!("{path}.indexName"), name.as_deref());
            reads.constrain(c, &path);
        }
    }

    /// Writes the overrides of `region` into the definition. A new replica begins without any.
    pub(super) fn record(
        &self,
        def: &mut TableDef,
        region: &str,
        new: bool,
    ) -> Result<(), ApiError> {
        if self.kms_key.is_some() && !new {
            return Err(invalid("KMSMasterKeyId cannot be changed for a replica"));
        }
        self.reads.admit(def, None)?;
        let mut kept = if new { Map::new() } else { of(def, region) };
        self.reads.merge(def, None, &mut kept);
        if let Some(class) = &self.class {
            let base = recorded(def, TABLE_CLASS).unwrap_or_else(|| json!("STANDARD"));
            if base == json!(class) {
                kept.remove(CLASS);
            } else {
                kept.insert(CLASS.into(), json!(class));
            }
        }
        if let Some(key) = &self.kms_key {
            kept.insert(KMS_KEY.into(), json!(key));
        }
        let mut indexes = object(kept.get(INDEXES));
        for (name, reads) in &self.indexes {
            // Names of no index are ignored, as AWS does.
            let Some(name) = name.as_deref().filter(|name| def.index(name).is_some()) else {
                continue;
            };
            reads.admit(def, Some(name))?;
            let mut index = object(indexes.get(name));
            reads.merge(def, Some(name), &mut index);
            put(&mut indexes, name, index);
        }
        put(&mut kept, INDEXES, indexes);
        store(def, region, kept);
        Ok(())
    }
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// Puts `members` under `name`; nothing, when there are none.
fn put(into: &mut Map<String, Value>, name: &str, members: Map<String, Value>) {
    if members.is_empty() {
        into.remove(name);
    } else {
        into.insert(name.into(), Value::Object(members));
    }
}

/// The overrides of one region.
fn of(def: &TableDef, region: &str) -> Map<String, Value> {
    object(
        recorded(def, REPLICAS)
            .as_ref()
            .and_then(|all| all.get(region)),
    )
}

fn store(def: &mut TableDef, region: &str, kept: Map<String, Value>) {
    let mut all = object(recorded(def, REPLICAS).as_ref());
    put(&mut all, region, kept);
    if all.is_empty() {
        unset(def, REPLICAS);
    } else {
        set(def, REPLICAS, Value::Object(all));
    }
}

/// A new base value overwrites every override of it (global-tables.md section 4): drops those of what
/// differs between `before` and `def`.
pub(super) fn drop_changed(before: &TableDef, def: &mut TableDef) {
    let Some(all) = recorded(def, REPLICAS) else {
        return;
    };
    let class_changed = recorded(before, TABLE_CLASS) != recorded(def, TABLE_CLASS);
    for region in object(Some(&all)).keys() {
        let mut kept = of(def, region);
        drop_reads(before, def, None, &mut kept);
        if class_changed {
            kept.remove(CLASS);
        }
        let mut indexes = object(kept.get(INDEXES));
        for name in object(kept.get(INDEXES)).keys() {
            let mut index = object(indexes.get(name));
            drop_reads(before, def, Some(name), &mut index);
            put(&mut indexes, name, index);
        }
        put(&mut kept, INDEXES, indexes);
        store(def, region, kept);
    }
}

fn drop_reads(
    before: &TableDef,
    def: &TableDef,
    index: Option<&str>,
    kept: &mut Map<String, Value>,
) {
    let (was, is) = (base_reads(before, index), base_reads(def, index));
    if was.0 != is.0 {
        kept.remove(READ);
    }
    if was.1 != is.1 {
        kept.remove(MAX_READ);
    }
}

/// Read units (or the maximum of reads) of a table or index in a region, where they are its own.
pub(crate) fn reads(
    def: &TableDef,
    region: &str,
    index: Option<&str>,
) -> (Option<u64>, Option<u64>) {
    if def.recorded(REPLICAS).is_none() {
        return (None, None);
    }
    let mut kept = of(def, region);
    if let Some(name) = index {
        kept = object(object(kept.get(INDEXES)).get(name));
    }
    let number = |name: &str| kept.get(name).and_then(Value::as_u64);
    (number(READ), number(MAX_READ))
}

/// The table class of a region, where it is its own.
pub(super) fn class(def: &TableDef, region: &str) -> Option<Value> {
    of(def, region).get(CLASS).cloned()
}

/// The members of a `Replicas` entry that overrides make.
pub(super) fn describe(def: &TableDef, region: &str, entry: &mut Map<String, Value>) {
    let kept = of(def, region);
    describe_reads(&kept, entry);
    if let Some(class) = kept.get(CLASS) {
        entry.insert(
            "ReplicaTableClassSummary".into(),
            json!({"TableClass": class}),
        );
    }
    if let Some(key) = kept.get(KMS_KEY) {
        entry.insert(KMS_KEY.into(), key.clone());
    }
    let indexes: Vec<Value> = object(kept.get(INDEXES))
        .iter()
        .map(|(name, kept)| {
            let mut index = Map::new();
            index.insert("IndexName".into(), json!(name));
            describe_reads(&object(Some(kept)), &mut index);
            Value::Object(index)
        })
        .collect();
    if !indexes.is_empty() {
        entry.insert(INDEXES.into(), Value::from(indexes));
    }
}

fn describe_reads(kept: &Map<String, Value>, entry: &mut Map<String, Value>) {
    for (name, member) in [
        (READ, "ProvisionedThroughputOverride"),
        (MAX_READ, "OnDemandThroughputOverride"),
    ] {
        if let Some(value) = kept.get(name) {
            entry.insert(member.into(), json!({name: value}));
        }
    }
}
