//! On-demand maxima (api.md section 4): kept, echoed, and enforced where throttling is on.

use serde_json::{Map, Value, json};

use super::settings::{Pair, recorded, set, unset};
use super::{ApiError, invalid};
use crate::replica::catalog::TableDef;

pub(super) const MEMBER: &str = "OnDemandThroughput";
pub(super) const NAMES: [&str; 2] = ["MaxReadRequestUnits", "MaxWriteRequestUnits"];
/// Takes a maximum away again.
const CLEAR: i64 = -1;

/// Under which name the maxima of the table, or of an index, are recorded.
pub(crate) fn key(index: Option<&str>) -> String {
    index.map_or_else(|| MEMBER.to_owned(), |index| format!("{MEMBER}/{index}"))
}

/// Checks maxima as sent; `clears` where -1 may take one away.
pub(super) fn check(given: &Pair, index: Option<&str>, clears: bool) -> Result<(), ApiError> {
    for (name, value) in given.members(NAMES) {
        let valid = value >= 1 || clears && value == CLEAR;
        if !valid {
            let of = index.map_or_else(|| "table".into(), |index| format!("index : {index}"));
            return Err(invalid(format!(
                "Requested {name} for OnDemandThroughput for {of} is outside of valid range"
            )));
        }
    }
    Ok(())
}

/// Maxima are of on-demand tables only.
pub(super) fn refuse_provisioned(given: &Pair, index: Option<&str>) -> Result<(), ApiError> {
    let Some((name, _)) = given.members(NAMES).next() else {
        return Ok(());
    };
    let of = index.map_or_else(String::new, |index| format!(" for index : {index}"));
    Err(invalid(format!(
        "{name} for OnDemandThroughput{of} cannot be specified when the table BillingMode is PROVISIONED"
    )))
}

/// Members not sent stay, -1 clears.
pub(super) fn merge(def: &mut TableDef, index: Option<&str>, given: &Pair) {
    let mut maxima = of(def, index).unwrap_or_default();
    for (name, value) in given.members(NAMES) {
        if value == CLEAR {
            maxima.remove(name);
        } else {
            maxima.insert(name.into(), json!(value));
        }
    }
    set(def, &key(index), Value::Object(maxima));
}

/// What a provisioned table has none of.
pub(super) fn clear(def: &mut TableDef) {
    let indexes: Vec<String> = def.indexes.iter().map(|i| key(Some(&i.name))).collect();
    unset(def, MEMBER);
    indexes.iter().for_each(|name| unset(def, name));
}

/// The maxima that are set, if any.
pub(super) fn of(def: &TableDef, index: Option<&str>) -> Option<Map<String, Value>> {
    let kept = recorded(def, &key(index))?;
    kept.as_object().filter(|o| !o.is_empty()).cloned()
}
