//! ListTables (api.md section 4).

use serde_json::{Value, json};

use super::schema;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error};
use crate::replica::read;

const LIMIT_MAX: i64 = 100;

/// Runs ListTables: names in byte order, a page at a time.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let start = fields.string("ExclusiveStartTableName")?;
    let limit = fields.integer("Limit")?;
    let mut constraints = Constraints::default();
    if let Some(start) = &start {
        schema::name_constraints(&mut constraints, "exclusiveStartTableName", Some(start));
    }
    constraints.range("limit", limit, 1, LIMIT_MAX);
    constraints.finish()?;
    let limit = usize::try_from(limit.unwrap_or(LIMIT_MAX)).unwrap_or(1);
    let mut names: Vec<String> = Vec::new();
    backend.read(&mut |txn| {
        let tables = read::tables(txn, backend.region().id)?
            .into_iter()
            .map(|def| def.name);
        names = tables
            .filter(|name| start.as_ref().is_none_or(|start| name > start))
            .collect();
        Ok(())
    })?;
    let more = names.len() > limit;
    names.truncate(limit);
    let last = names
        .last()
        .filter(|_| more)
        .map(|name| ("LastEvaluatedTableName", Value::from(name.as_str())));
    Ok(error::object(
        [("TableNames", json!(names))].into_iter().chain(last),
    ))
}
