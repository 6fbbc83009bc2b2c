//! UpdateContributorInsights: recorded.

use serde_json::json;

use super::super::tables::{local, now_ms};
use super::insights::{self, Insights};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error, fields};

/// Runs UpdateContributorInsights.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields.string("TableName")?;
    let index = fields.string("IndexName")?;
    let action = fields.string("ContributorInsightsAction")?;
    let mode = fields.string("ContributorInsightsMode")?;
    let name = fields::table_name(name)?;
    let mut c = Constraints::default();
    if let Some(index) = &index {
        super::super::tables::name_constraints(&mut c, "indexName", Some(index));
    }
    c.required("contributorInsightsAction", action.as_ref());
    c.one_of(
        "contributorInsightsAction",
        action.as_deref(),
        &["ENABLE", "DISABLE"],
    );
    c.one_of("contributorInsightsMode", mode.as_deref(), insights::MODES);
    c.finish()?;
    let enabled = action.as_deref() == Some("ENABLE");
    let now = now_ms();
    let kept = local::change(
        backend,
        || local::find(backend, &name),
        |def, settings| {
            insights::admit_index(def, index.as_deref())?;
            let before = insights::get(settings, index.as_deref());
            let before_mode = before.map(|b| b.mode);
            let kept = Insights {
                enabled,
                mode: mode
                    .clone()
                    .or(before_mode)
                    .unwrap_or_else(|| insights::MODE_DEFAULT.into()),
                updated_ms: now,
            };
            insights::set(settings, index.as_deref(), &kept);
            Ok(kept)
        },
    )
    .await?;
    let status = if enabled { "ENABLING" } else { "DISABLING" };
    let index = index.map(|index| ("IndexName", json!(index)));
    let members = [
        ("TableName", json!(name)),
        ("ContributorInsightsStatus", json!(status)),
        ("ContributorInsightsMode", json!(kept.mode)),
    ];
    Ok(error::object(members.into_iter().chain(index)))
}
