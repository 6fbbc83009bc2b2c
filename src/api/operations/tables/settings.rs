//! The settings of a table: billing, streams, and what is only recorded (api.md section 4).

use serde_json::{Map, Value, json};

use super::{ApiError, invalid};
use crate::api::{Constraints, Fields, enums};
use crate::replica::catalog::TableDef;

/// Names under which settings are recorded in a definition.
pub(super) const SSE: &str = "SSESpecification";
pub(super) const TABLE_CLASS: &str = "TableClass";
pub(super) const ON_DEMAND: &str = "OnDemandThroughput";
pub(super) const WARM: &str = "WarmThroughput";
pub(super) const POLICY: &str = "ResourcePolicy";
pub(super) const TAGS: &str = "Tags";
/// Set once a table was PAY_PER_REQUEST: its BillingModeSummary stays.
pub(super) const WAS_ON_DEMAND: &str = "WasOnDemand";

/// The most capacity units that DynamoDB takes at all.
const UNITS_MAX: i64 = 1_000_000_000_000;
const POLICY_BYTES_MAX: usize = 20 * 1024;

pub(super) const NEITHER_UNIT: &str = "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST";
const BOTH_UNITS: &str = "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED";

/// A ProvisionedThroughput as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Throughput {
    read: Option<i64>,
    write: Option<i64>,
}

impl Throughput {
    pub(super) fn take(fields: &mut Fields) -> Result<Option<Self>, ApiError> {
        let Some(mut given) = fields.structure("ProvisionedThroughput", "ProvisionedThroughput")?
        else {
            return Ok(None);
        };
        Ok(Some(Throughput {
            read: given.long("ReadCapacityUnits")?,
            write: given.long("WriteCapacityUnits")?,
        }))
    }

    pub(super) fn constrain(&self, c: &mut Constraints, path: &str) {
        for (name, units) in [
            ("readCapacityUnits", self.read),
            ("writeCapacityUnits", self.write),
        ] {
            let path = format!("{path}.{name}");
            c.required(&path, units.as_ref());
            c.range(&path, units, 1, i64::MAX);
        }
    }

    /// The bound beyond the constraints.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        for (name, units) in [
            ("ReadCapacityUnits", self.read),
            ("WriteCapacityUnits", self.write),
        ] {
            if let Some(units) = units.filter(|units| *units > UNITS_MAX) {
                return Err(ApiError::validation(format!(
                    "Given value {units} for {name} is out of bounds"
                )));
            }
        }
        Ok(())
    }

    /// (read, write), once the constraints hold.
    pub(super) fn units(&self) -> (u64, u64) {
        let units = |n: Option<i64>| u64::try_from(n.unwrap_or(1)).unwrap_or(1);
        (units(self.read), units(self.write))
    }
}

/// The settings members that CreateTable and UpdateTable share, as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) billing: Option<String>,
    pub(super) throughput: Option<Throughput>,
    /// (StreamEnabled, StreamViewType)
    pub(super) stream: Option<(Option<bool>, Option<String>)>,
    pub(super) sse: Option<Value>,
    pub(super) table_class: Option<String>,
    pub(super) protection: Option<bool>,
    pub(super) warm: Option<Value>,
    pub(super) on_demand: Option<Value>,
    pub(super) policy: Option<String>,
}

impl Settings {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let billing = fields.string("BillingMode")?;
        let throughput = Throughput::take(fields)?;
        let stream = match fields.structure("StreamSpecification", "StreamSpecification")? {
            None => None,
            Some(mut s) => Some((s.boolean("StreamEnabled")?, s.string("StreamViewType")?)),
        };
        Ok(Settings {
            billing,
            throughput,
            stream,
            sse: sse(fields)?,
            table_class: fields.string("TableClass")?,
            protection: fields.boolean("DeletionProtectionEnabled")?,
            warm: longs(fields, WARM, ["ReadUnitsPerSecond", "WriteUnitsPerSecond"])?,
            on_demand: longs(
                fields,
                ON_DEMAND,
                ["MaxReadRequestUnits", "MaxWriteRequestUnits"],
            )?,
            policy: fields.string(POLICY)?,
        })
    }

    pub(super) fn constrain(&self, c: &mut Constraints) {
        c.one_of("billingMode", self.billing.as_deref(), enums::BILLING_MODE);
        if let Some(throughput) = &self.throughput {
            throughput.constrain(c, "provisionedThroughput");
        }
        if let Some((enabled, view)) = &self.stream {
            c.required("streamSpecification.streamEnabled", enabled.as_ref());
            c.one_of(
                "streamSpecification.streamViewType",
                view.as_deref(),
                enums::STREAM_VIEW_TYPE,
            );
        }
        let sse_type = self
            .sse
            .as_ref()
            .and_then(|s| s.get("SSEType"))
            .and_then(Value::as_str);
        c.one_of("sSESpecification.sSEType", sse_type, enums::SSE_TYPE);
        c.one_of(
            "tableClass",
            self.table_class.as_deref(),
            enums::TABLE_CLASS,
        );
        if let Some(policy) = &self.policy {
            c.length("resourcePolicy", policy, 1, POLICY_BYTES_MAX);
        }
    }

    /// The billing of a new table: `None` = on demand.
    pub(super) fn new_billing(&self) -> Result<Option<(u64, u64)>, ApiError> {
        match (self.billing.as_deref(), &self.throughput) {
            (Some("PAY_PER_REQUEST"), Some(_)) => Err(invalid(NEITHER_UNIT)),
            (Some("PAY_PER_REQUEST"), None) => Ok(None),
            (_, None) => Err(invalid(BOTH_UNITS)),
            (_, Some(throughput)) => {
                throughput.check()?;
                Ok(Some(throughput.units()))
            }
        }
    }

    /// The stream view of a new table.
    pub(super) fn new_stream(&self) -> Result<Option<String>, ApiError> {
        match &self.stream {
            Some((Some(true), None)) => Err(invalid(
                "Table is being created with a stream enabled, UpdateViewType is required",
            )),
            Some((Some(false), Some(_))) => Err(invalid(
                "Table is being created with a stream disabled, UpdateViewType should not be specified",
            )),
            Some((Some(true), Some(view))) => Ok(Some(view.clone())),
            _ => Ok(None),
        }
    }

    /// Writes what is only recorded into the definition.
    pub(super) fn record(&self, def: &mut TableDef) {
        if let Some(sse) = &self.sse {
            set(def, SSE, sse.clone());
        }
        if let Some(class) = &self.table_class {
            set(def, TABLE_CLASS, Value::from(class.as_str()));
        }
        if let Some(warm) = &self.warm {
            set(def, WARM, warm.clone());
        }
        if let Some(limits) = &self.on_demand {
            set(def, ON_DEMAND, merged(recorded(def, ON_DEMAND), limits));
        }
        if let Some(policy) = &self.policy {
            set(def, POLICY, Value::from(policy.as_str()));
        }
    }
}

/// The SSESpecification with its types checked, as JSON.
fn sse(fields: &mut Fields) -> Result<Option<Value>, ApiError> {
    let Some(mut given) = fields.structure(SSE, SSE)? else {
        return Ok(None);
    };
    let mut kept = Map::new();
    if let Some(enabled) = given.boolean("Enabled")? {
        kept.insert("Enabled".into(), Value::from(enabled));
    }
    for name in ["SSEType", "KMSMasterKeyId"] {
        if let Some(text) = given.string(name)? {
            kept.insert(name.into(), Value::from(text));
        }
    }
    Ok(Some(Value::Object(kept)))
}

/// A structure of two numbers with its types checked, as JSON.
fn longs(fields: &mut Fields, member: &str, names: [&str; 2]) -> Result<Option<Value>, ApiError> {
    let Some(mut given) = fields.structure(member, member)? else {
        return Ok(None);
    };
    let mut kept = Map::new();
    for name in names {
        if let Some(number) = given.long(name)? {
            kept.insert(name.into(), Value::from(number));
        }
    }
    Ok(Some(Value::Object(kept)))
}

/// On-demand maxima: members not sent stay, -1 clears.
fn merged(before: Option<Value>, change: &Value) -> Value {
    let mut result = before
        .and_then(|v| v.as_object().cloned())
        .unwrap_or_default();
    for (name, value) in change.as_object().into_iter().flatten() {
        if *value == json!(-1) {
            result.remove(name);
        } else {
            result.insert(name.clone(), value.clone());
        }
    }
    Value::Object(result)
}

/// A recorded setting.
pub(super) fn recorded(def: &TableDef, name: &str) -> Option<Value> {
    let (_, text) = def.recorded.iter().find(|(n, _)| n == name)?;
    serde_json::from_str(text).ok()
}

/// Records a setting; settings stay in the order of their names, so that equal settings are equal bytes.
pub(super) fn set(def: &mut TableDef, name: &str, value: Value) {
    unset(def, name);
    def.recorded.push((name.to_owned(), value.to_string()));
    def.recorded.sort();
}

pub(super) fn unset(def: &mut TableDef, name: &str) {
    def.recorded.retain(|(n, _)| n != name);
}
