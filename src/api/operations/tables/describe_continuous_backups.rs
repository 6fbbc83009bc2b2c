//! DescribeContinuousBackups (streams-ttl-backup.md section 4).

use serde_json::{Value, json};

use super::{date, local, now_ms};
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};
use crate::replica::ApiError;

const DAY_MS: u64 = 86_400_000;

/// Runs DescribeContinuousBackups.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    describe(backend, &name)
}

/// What this operation and UpdateContinuousBackups answer.
pub(crate) fn describe(backend: &dyn Backend, name: &str) -> Answer {
    let Some((_, settings)) = local::lookup(backend, name)? else {
        return Err(ApiError::TableNotFound(format!("Table not found: {name}")));
    };
    let kept = local::get(&settings, local::RECOVERY);
    let number = |name: &str| {
        kept.as_ref()
            .and_then(|k| k.get(name))
            .and_then(Value::as_u64)
    };
    let recovery = match (number("Since"), number("Days")) {
        (Some(since), Some(days)) => {
            let now = now_ms();
            let earliest = since.max(now.saturating_sub(days.saturating_mul(DAY_MS)));
            json!({
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": days,
                "EarliestRestorableDateTime": date(earliest),
                "LatestRestorableDateTime": date(now.max(earliest)),
            })
        }
        _ => json!({"PointInTimeRecoveryStatus": "DISABLED"}),
    };
    let description = json!({
        "ContinuousBackupsStatus": "ENABLED",
        "PointInTimeRecoveryDescription": recovery,
    });
    Ok(error::object([(
        "ContinuousBackupsDescription",
        description,
    )]))
}
