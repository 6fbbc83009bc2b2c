//! ListContributorInsights: of a table and its GSIs, or of all tables, a page at a time.

use serde_json::{Map, Value, json};

use super::super::tables::local;
use super::insights;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error, fields};
use crate::replica::ApiError;
use crate::replica::catalog::{IndexKind, LocalSettings, TableDef};
use crate::replica::read;

const RESULTS_MAX: i64 = 100;

/// Runs ListContributorInsights.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields.string("TableName")?;
    let token = fields.string("NextToken")?;
    let limit = fields.integer("MaxResults")?;
    let name = name
        .map(|name| fields::table_name(Some(name)))
        .transpose()?;
    let mut c = Constraints::default();
    c.range("maxResults", limit, 1, RESULTS_MAX);
    c.finish()?;
    let tables = match name {
        Some(name) => vec![local::find(backend, &name)?],
        None => all(backend)?,
    };
    let summaries: Vec<_> = tables
        .iter()
        .flat_map(|(def, kept)| of_table(def, kept))
        .collect();
    let start = match &token {
        None => 0,
        Some(token) => summaries
            .iter()
            .position(|(place, _)| place == token)
            .map(|at| at + 1)
            .ok_or_else(|| {
                ApiError::validation("Invalid Request: Provided nextToken is invalid")
            })?,
    };
    let limit = usize::try_from(limit.unwrap_or(RESULTS_MAX)).unwrap_or(1);
    let page: Vec<_> = summaries.iter().skip(start).take(limit).collect();
    let more = start + page.len() < summaries.len();
    let next = page
        .last()
        .filter(|_| more)
        .map(|(place, _)| ("NextToken", json!(place)));
    let list: Value = page.iter().map(|(_, summary)| summary.clone()).collect();
    let members = [("ContributorInsightsSummaries", list)];
    Ok(error::object(members.into_iter().chain(next)))
}

fn all(backend: &dyn Backend) -> Result<Vec<(TableDef, LocalSettings)>, ApiError> {
    let mut names = Vec::new();
    backend.read(&mut |txn| {
        names = read::tables(txn, backend.region().id)?
            .into_iter()
            .map(|def| def.name)
            .collect();
        Ok(())
    })?;
    let mut tables = Vec::new();
    for name in names {
        // A table may have gone since.
        tables.extend(local::lookup(backend, &name)?);
    }
    Ok(tables)
}

/// The summaries of a table and its GSIs, each with its place in the list: the token of what follows.
fn of_table(def: &TableDef, settings: &LocalSettings) -> Vec<(String, Value)> {
    let global = def.indexes.iter().filter(|i| i.kind == IndexKind::Global);
    let owners = std::iter::once(None).chain(global.map(|i| Some(i.name.as_str())));
    owners
        .map(|index| {
            let mut described: Map<String, Value> = insights::describe(def, settings, index);
            described.remove("LastUpdateDateTime");
            described.remove("ContributorInsightsRuleList");
            let place = index.map_or_else(|| def.name.clone(), |i| format!("{}/{i}", def.name));
            (place, Value::Object(described))
        })
        .collect()
}
