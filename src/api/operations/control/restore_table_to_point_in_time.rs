//! RestoreTableToPointInTime: refused, since no history is kept (api.md section 1).

use super::super::tables::{local, name_constraints};
use crate::api::fields::name_in_arn;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields};
use crate::replica::ApiError;

/// Runs RestoreTableToPointInTime.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let arn = fields.string("SourceTableArn")?;
    let source = fields.string("SourceTableName")?;
    let target = fields.string("TargetTableName")?;
    let latest = fields.boolean("UseLatestRestorableTime")?;
    let time = fields.raw("RestoreDateTime");
    let mut c = Constraints::default();
    if let Some(source) = &source {
        name_constraints(&mut c, "sourceTableName", Some(source));
    }
    name_constraints(&mut c, "targetTableName", target.as_deref());
    c.finish()?;
    let name = match (&source, &arn) {
        (Some(name), None) => name.clone(),
        (None, Some(arn)) => name_in_arn(arn)
            .map(str::to_owned)
            .ok_or_else(|| ApiError::validation("sourceTableArn is not a valid ARN"))?,
        _ => {
            return Err(ApiError::validation(
                "Must provide exactly one of: sourceTableArn, sourceTableName",
            ));
        }
    };
    if time.is_some() == latest.unwrap_or(false) {
        return Err(ApiError::validation(
            "Invalid Request: Either one of RestoreDateTime or UseLatestRestorableTime must be specified, but not both",
        ));
    }
    if local::lookup(backend, &name)?.is_none() {
        return Err(ApiError::TableNotFound(format!("Table not found: {name}")));
    }
    Err(ApiError::PointInTimeRecoveryUnavailable(format!(
        "Point in time recovery is not available for table '{name}'"
    )))
}
