//! Contributor Insights as they are recorded: the status and mode of a table or GSI
//! (streams-ttl-backup.md section 8). Nothing is measured.

use serde_json::{Map, Value, json};

use super::super::tables::{date, local};
use crate::replica::ApiError;
use crate::replica::catalog::{IndexKind, LocalSettings, TableDef};

/// The mode where none is named.
pub(super) const MODE_DEFAULT: &str = "ACCESSED_AND_THROTTLED_KEYS";
pub(super) const MODES: &[&str] = &["ACCESSED_AND_THROTTLED_KEYS", "THROTTLED_KEYS"];
/// The name of a table's own entry; no index may be called so.
const TABLE: &str = "";

/// What is recorded of a table or GSI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Insights {
    pub(super) enabled: bool,
    pub(super) mode: String,
    pub(super) updated_ms: u64,
}

impl Insights {
    pub(super) fn status(&self) -> &'static str {
        if self.enabled { "ENABLED" } else { "DISABLED" }
    }
}

fn all(settings: &LocalSettings) -> Map<String, Value> {
    let kept = local::get(settings, local::INSIGHTS);
    kept.and_then(|v| v.as_object().cloned())
        .unwrap_or_default()
}

pub(super) fn get(settings: &LocalSettings, index: Option<&str>) -> Option<Insights> {
    let all = all(settings);
    let kept = all.get(index.unwrap_or(TABLE))?;
    Some(Insights {
        enabled: kept.get("Enabled")?.as_bool()?,
        mode: kept.get("Mode")?.as_str()?.to_owned(),
        updated_ms: kept.get("Updated")?.as_u64()?,
    })
}

pub(super) fn set(settings: &mut LocalSettings, index: Option<&str>, insights: &Insights) {
    let mut all = all(settings);
    let kept =
        json!({"Enabled": insights.enabled, "Mode": insights.mode, "Updated": insights.updated_ms});
    all.insert(index.unwrap_or(TABLE).to_owned(), kept);
    local::set(settings, local::INSIGHTS, &Value::Object(all));
}

/// The index must be a GSI of the table.
pub(super) fn admit_index(def: &TableDef, index: Option<&str>) -> Result<(), ApiError> {
    let Some(name) = index else { return Ok(()) };
    match def.index(name) {
        Some(index) if index.kind == IndexKind::Global => Ok(()),
        _ => Err(ApiError::ResourceNotFound(format!(
            "Requested resource not found: Index: {name} not found for Table: {}",
            def.name
        ))),
    }
}

/// The rules' names, as CloudWatch would have them: of partition keys and, where there is one, sort keys.
fn rules(def: &TableDef, index: Option<&str>, insights: &Insights) -> Vec<String> {
    let keys = index
        .and_then(|i| def.index(i))
        .map_or(&def.keys, |i| &i.keys);
    let mut kinds = Vec::new();
    for (throttled, accessed) in [("PKT", "PKC"), ("SKT", "SKC")] {
        if throttled == "SKT" && keys.sort.is_empty() {
            continue;
        }
        if insights.mode == MODE_DEFAULT {
            kinds.push(accessed);
        }
        kinds.push(throttled);
    }
    let of = index.map_or_else(|| def.name.clone(), |i| format!("{}-{i}", def.name));
    let rule = |kind: &str| {
        format!(
            "DynamoDBContributorInsights-{kind}-{of}-{}",
            insights.updated_ms
        )
    };
    kinds.into_iter().map(rule).collect()
}

/// The members of DescribeContributorInsights.
pub(super) fn describe(
    def: &TableDef,
    settings: &LocalSettings,
    index: Option<&str>,
) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("TableName".into(), json!(def.name));
    if let Some(index) = index {
        out.insert("IndexName".into(), json!(index));
    }
    let Some(insights) = get(settings, index) else {
        out.insert("ContributorInsightsStatus".into(), json!("DISABLED"));
        return out;
    };
    out.insert("ContributorInsightsStatus".into(), json!(insights.status()));
    out.insert("LastUpdateDateTime".into(), date(insights.updated_ms));
    if insights.enabled {
        out.insert("ContributorInsightsMode".into(), json!(insights.mode));
        let rules = rules(def, index, &insights);
        out.insert("ContributorInsightsRuleList".into(), json!(rules));
    }
    out
}
