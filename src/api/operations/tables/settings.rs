//! The settings of a table: billing, streams, and what is only recorded (api.md section 4).

use serde_json::{Map, Value, json};

use super::{ApiError, invalid, maxima, overrides, warm};
use crate::api::{Constraints, Fields, enums};
use crate::replica::catalog::TableDef;

/// Names under which settings are recorded in a definition.
pub(super) const SSE: &str = "SSESpecification";
pub(super) const TABLE_CLASS: &str = "TableClass";
/// When the table class was last changed.
pub(super) const TABLE_CLASS_CHANGED: &str = "TableClassChanged";

/// The most capacity units that DynamoDB takes at all.
const UNITS_MAX: i64 = 1_000_000_000_000;

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

/// A structure of a number for reads and one for writes, as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair {
    read: Option<i64>,
    write: Option<i64>,
}

impl Pair {
    pub(super) fn new(read: Option<i64>, write: Option<i64>) -> Self {
        Pair { read, write }
    }

    /// Takes the structure; one without members counts as absent.
    pub(super) fn take(
        fields: &mut Fields,
        member: &str,
        [read, write]: [&str; 2],
    ) -> Result<Option<Self>, ApiError> {
        let Some(mut given) = fields.structure(member, member)? else {
            return Ok(None);
        };
        let pair = Pair::new(given.long(read)?, given.long(write)?);
        Ok(Some(pair).filter(|pair| *pair != Pair::default()))
    }

    /// The members that were sent.
    pub(super) fn members(
        self,
        [read, write]: [&'static str; 2],
    ) -> impl Iterator<Item = (&'static str, i64)> {
        let both = [(read, self.read), (write, self.write)];
        both.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Both members, negative numbers as 0.
    pub(super) fn units(
        self,
        [read, write]: [&'static str; 2],
    ) -> [(&'static str, Option<u64>); 2] {
        let units = |value: Option<i64>| value.map(|n| u64::try_from(n).unwrap_or(0));
        [(read, units(self.read)), (write, units(self.write))]
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
    pub(super) warm: Option<Pair>,
    pub(super) on_demand: Option<Pair>,
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
            warm: Pair::take(fields, warm::MEMBER, warm::NAMES)?,
            on_demand: Pair::take(fields, maxima::MEMBER, maxima::NAMES)?,
            policy: fields.string("ResourcePolicy")?,
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

    /// What is only recorded of a new table.
    pub(super) fn record_new(&self, def: &mut TableDef) -> Result<(), ApiError> {
        if let Some(sse) = &self.sse {
            admit_sse(sse)?;
            set(def, SSE, sse.clone());
        }
        if let Some(class) = &self.table_class {
            set(def, TABLE_CLASS, Value::from(class.as_str()));
        }
        if let Some(given) = &self.warm {
            warm::create(def, None, given)?;
        }
        if let Some(given) = &self.on_demand {
            if def.throughput.is_some() {
                maxima::refuse_provisioned(given, None)?;
            }
            maxima::check(given, None, false)?;
            maxima::merge(def, None, given);
        }
        Ok(())
    }

    /// What UpdateTable only records, capacity aside.
    pub(super) fn record_changes(&self, def: &mut TableDef, now_ms: u64) -> Result<(), ApiError> {
        if let Some(sse) = &self.sse {
            change_sse(def, sse)?;
        }
        if let Some(class) = &self.table_class {
            let before = def.clone();
            set(def, TABLE_CLASS, Value::from(class.as_str()));
            set(def, TABLE_CLASS_CHANGED, Value::from(now_ms));
            overrides::drop_changed(&before, def);
        }
        if let Some(given) = &self.warm {
            warm::grow(def, None, given)?;
        }
        Ok(())
    }
}

/// The rules of an SSESpecification that need no table.
fn admit_sse(sse: &Value) -> Result<(), ApiError> {
    let has = |name: &str| sse.get(name).is_some();
    let on = sse.get("Enabled") == Some(&json!(true));
    if !on && has("SSEType") {
        return Err(invalid("SSEType can not be specified if Enabled is false"));
    }
    if !on && has("KMSMasterKeyId") {
        return Err(invalid(
            "KMSMasterKeyId can not be specified if Enabled is false",
        ));
    }
    if sse.get("SSEType") == Some(&json!("AES256")) {
        return Err(invalid("SSEType AES256 is not supported"));
    }
    if has("KMSMasterKeyId") && !has("SSEType") {
        return Err(invalid(
            "SSEType KMS is required if KMSMasterKeyId is specified",
        ));
    }
    Ok(())
}

/// A change of encryption must change something.
fn change_sse(def: &mut TableDef, sse: &Value) -> Result<(), ApiError> {
    admit_sse(sse)?;
    let on = |sse: &Value| sse.get("Enabled") == Some(&json!(true));
    let before = recorded(def, SSE).filter(on);
    match &before {
        None if !on(sse) => return Err(invalid("Table is already encrypted by default")),
        Some(before) if on(sse) && before.get("KMSMasterKeyId") == sse.get("KMSMasterKeyId") => {
            return Err(invalid(
                "Table is already encrypted with given KMSMasterKeyId. \
                 Use KMSMasterKeyId parameter if you want to change Master Key",
            ));
        }
        _ => {}
    }
    set(def, SSE, sse.clone());
    Ok(())
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

/// JSON text that was recorded.
pub(crate) fn text_to_json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// A recorded setting.
pub(crate) fn recorded(def: &TableDef, name: &str) -> Option<Value> {
    text_to_json(def.recorded(name)?)
}

/// Records a setting; settings stay in the order of their names, so that equal settings are equal bytes.
pub(crate) fn set(def: &mut TableDef, name: &str, value: Value) {
    unset(def, name);
    def.recorded.push((name.to_owned(), value.to_string()));
    def.recorded.sort();
}

pub(crate) fn unset(def: &mut TableDef, name: &str) {
    def.recorded.retain(|(n, _)| n != name);
}
