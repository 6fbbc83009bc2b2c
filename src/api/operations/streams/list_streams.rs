//! ListStreams (streams-ttl-backup.md section 1.4).

use serde_json::{Value, json};

use super::{constrain_arn, parse_arn};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error};
use crate::replica::stream::{self, Stream};
use crate::replica::{ApiError, read};

const LIMIT_MAX: i64 = 100;
const NAME_MIN: usize = 3;
const NAME_MAX: usize = 255;

/// Runs ListStreams: streams by table name and label, those disabled less than a day ago too.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let table = fields.string("TableName")?;
    let limit = fields.integer("Limit")?;
    let start = fields.string("ExclusiveStartStreamArn")?;
    let mut c = Constraints::default();
    if let Some(table) = &table {
        c.length("tableName", table, NAME_MIN, NAME_MAX);
        c.name_pattern("tableName", table);
    }
    c.range("limit", limit, 1, LIMIT_MAX);
    constrain_arn(&mut c, "exclusiveStartStreamArn", start.as_deref());
    c.finish()?;
    let start = match &start {
        Some(arn) => {
            let name = parse_arn(backend.region(), arn)?;
            Some((name.table.to_owned(), name.label.to_owned()))
        }
        None => None,
    };
    let limit = usize::try_from(limit.unwrap_or(LIMIT_MAX)).unwrap_or(1);
    let mut streams = known(backend, table.as_deref())?;
    streams.retain(|s| start.as_ref() < Some(&(s.table.clone(), s.label())));
    let more = streams.len() > limit;
    streams.truncate(limit);
    let region = backend.region();
    let arn = |s: &Stream| region.stream_arn(&s.table, &s.label());
    let list: Vec<Value> = streams
        .iter()
        .map(|s| json!({"StreamArn": arn(s), "StreamLabel": s.label(), "TableName": s.table}))
        .collect();
    let last = streams.last().filter(|_| more);
    let last = last.map(|s| ("LastEvaluatedStreamArn", Value::from(arn(s))));
    Ok(error::object(
        [("Streams", Value::from(list))].into_iter().chain(last),
    ))
}

/// The streams of a table, or all.
fn known(backend: &dyn Backend, table: Option<&str>) -> Result<Vec<Stream>, ApiError> {
    let mut found = Vec::new();
    let mut missing = false;
    backend.read(&mut |txn| {
        match table {
            None => found = stream::list(txn)?,
            Some(name) => {
                found = stream::of_table(txn, name)?;
                missing =
                    found.is_empty() && read::table(txn, backend.region().id, name)?.is_none();
            }
        }
        Ok(())
    })?;
    match table {
        Some(name) if missing => Err(ApiError::table_not_found(name)),
        _ => Ok(found),
    }
}
