//! UpdateContinuousBackups: point-in-time recovery is recorded, and nothing is kept to restore from
//! (streams-ttl-backup.md section 4).

use serde_json::{Value, json};

use super::super::tables::{describe_continuous_backups, local, now_ms};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, fields};
use crate::replica::ApiError;

const PERIOD_DEFAULT: i64 = 35;

/// Runs UpdateContinuousBackups.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields.string("TableName")?;
    let shape = "PointInTimeRecoverySpecification";
    let given = fields.structure(shape, shape)?;
    let sent = given.is_some();
    let mut given = given.unwrap_or_default();
    let enabled = given.boolean("PointInTimeRecoveryEnabled")?;
    let days = given.integer("RecoveryPeriodInDays")?;
    let name = fields::table_name(name)?;
    let mut c = Constraints::default();
    let path = "pointInTimeRecoverySpecification";
    if sent {
        let enabled_path = format!("{path}.pointInTimeRecoveryEnabled");
        c.required(&enabled_path, enabled.as_ref());
        c.range(
            &format!("{path}.recoveryPeriodInDays"),
            days,
            1,
            PERIOD_DEFAULT,
        );
    } else {
        c.required::<Fields>(path, None);
    }
    c.finish()?;
    let enabled = enabled.unwrap_or(false);
    if !enabled && days.is_some() {
        return Err(ApiError::validation(
            "Invalid Request: Cannot specify RecoveryPeriodInDays when disabling point-in-time recovery.",
        ));
    }
    let now = now_ms();
    let find = || {
        local::lookup(backend, &name)?
            .ok_or_else(|| ApiError::TableNotFound(format!("Table not found: {name}")))
    };
    local::change(backend, find, |_, settings| {
        let before = local::get(settings, local::RECOVERY);
        let kept = |name: &str| before.as_ref().and_then(|b| b.get(name)).cloned();
        let days = days.map(Value::from).or_else(|| kept("Days"));
        let wanted = enabled.then(|| {
            json!({
                "Since": kept("Since").unwrap_or_else(|| json!(now)),
                "Days": days.unwrap_or_else(|| json!(PERIOD_DEFAULT)),
            })
        });
        local::set(settings, local::RECOVERY, &wanted.unwrap_or(Value::Null));
        Ok(())
    })
    .await?;
    describe_continuous_backups::describe(backend, &name)
}
