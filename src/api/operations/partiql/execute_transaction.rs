//! ExecuteTransaction: up to 100 statements, all reads or all writes, all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::reads;
use super::statement::{self, StatementParams};
use super::writes::{Write, write_of};
use crate::api::capacity::{Consumed, Direction, Report, TRANSACTION_FACTOR, read_units};
use crate::api::operations::items::body::{Body, write_list};
use crate::api::operations::items::transact_write_items::{
    ACTIONS_MAX, BYTES_MAX, TOKEN_MAX, commit, digest, refuse_large, too_large,
};
use crate::api::{Backend, Constraints, Fields, params};
use crate::item::size::item_size;
use crate::item::{Item, json};
use crate::partiql::Statement;
use crate::replica::request::ItemWrite;
use crate::replica::{ApiError, read};
use crate::store::ReadTxn;

/// Tokens of this operation and of TransactWriteItems are not the same, though they be spelled alike.
const TOKEN_PREFIX: &str = "ExecuteTransaction/";

struct Member {
    params: StatementParams,
    statement: Statement,
}

struct Request {
    members: Vec<Member>,
    token: Option<(String, u64)>,
    report: Report,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let request = admit(fields)?;
    let reads = request.members.iter().map(|m| m.statement.reads());
    let reads = reads.collect::<BTreeSet<bool>>();
    if reads.len() > 1 {
        return Err(ApiError::validation(
            "ExecuteTransaction API does not support both read and write operations in the same request.",
        ));
    }
    if reads.contains(&true) {
        params::snapshot(backend, |txn| read_all(backend, txn, &request))
    } else {
        write_all(backend, request).await
    }
}

fn admit(mut fields: Fields) -> Result<Request, ApiError> {
    let elements = fields.list("TransactStatements")?;
    let token = fields.string("ClientRequestToken")?;
    let report = fields.string("ReturnConsumedCapacity")?;
    let shown = elements
        .as_deref()
        .map(|list| params::shown_list(list, ACTIONS_MAX));
    let elements = elements.unwrap_or_default();
    let token = token.map(|token| (token, digest(&elements)));
    let params = elements
        .into_iter()
        .map(take)
        .collect::<Result<Vec<_>, _>>()?;

    let mut constraints = Constraints::default();
    params::constrain_report(report.as_deref(), &mut constraints);
    constraints.required("transactStatements", shown.as_ref());
    if let Some(shown) = &shown {
        constraints.count("transactStatements", params.len(), shown, 1, ACTIONS_MAX);
    }
    if let Some((token, _)) = &token {
        constraints.length("clientRequestToken", token, 1, TOKEN_MAX);
    }
    for (at, params) in params.iter().enumerate() {
        let path = format!("transactStatements.{}.member.", at + 1);
        params.constrain(&path, &mut constraints);
    }
    constraints.finish()?;
    let mut members = Vec::with_capacity(params.len());
    for (at, params) in params.into_iter().enumerate() {
        let values = params.values()?;
        let statement = params.parse(&values).map_err(statement::error);
        let statement = statement.map_err(|error| failed(at, error))?;
        admit_statement(&statement).map_err(|error| failed(at, error))?;
        members.push(Member { params, statement });
    }
    Ok(Request {
        members,
        token: token.map(|(token, digest)| (format!("{TOKEN_PREFIX}{token}"), digest)),
        report: params::report(report.as_deref()),
    })
}

fn take(element: Json) -> Result<StatementParams, ApiError> {
    let mut fields = Fields::from_element(element, "ParameterizedStatement")?;
    StatementParams::take(&mut fields)
}

/// What no statement of a transaction may have.
fn admit_statement(statement: &Statement) -> Result<(), ApiError> {
    let returning = match statement {
        Statement::Update(update) => update.returning,
        Statement::Delete(delete) => delete.returning,
        _ => None,
    };
    if returning.is_some() {
        return Err(ApiError::validation(
            "RETURNING clause is not supported in ExecuteTransaction",
        ));
    }
    Ok(())
}

/// An error of one statement says which.
fn failed(at: usize, error: ApiError) -> ApiError {
    match error {
        ApiError::Validation(message) => ApiError::Validation(format!(
            "Validation failed in TransactStatements[{at}]: {message}"
        )),
        other => other,
    }
}

fn twice() -> ApiError {
    ApiError::validation("Transaction request cannot include multiple operations on one item")
}

// --- reads --------------------------------------------------------------------------------------------

fn read_all(
    backend: &dyn Backend,
    txn: &dyn ReadTxn,
    request: &Request,
) -> Result<Vec<u8>, ApiError> {
    let mut seen = BTreeSet::new();
    let mut consumed: BTreeMap<String, Consumed> = BTreeMap::new();
    let mut items: Vec<Option<Item>> = Vec::with_capacity(request.members.len());
    let mut total: usize = 0;
    for (at, member) in request.members.iter().enumerate() {
        let Statement::Select(select) = &member.statement else {
            continue;
        };
        if select.index.is_some() {
            return Err(ApiError::validation(
                "Reads on indices are not supported within transactions",
            ));
        }
        let table = statement::table(backend, txn, &member.statement)?;
        let key = reads::only_key(&table, select).ok_or_else(|| {
            let message = "Select statements within ExecuteTransaction must specify the primary key in the where clause.";
            failed(at, ApiError::validation(message))
        })?;
        let bytes = table.keys.admit_key(&key);
        let bytes = bytes.map_err(|error| failed(at, params::key_error(error)))?;
        if !seen.insert((table.name.clone(), bytes)) {
            return Err(twice());
        }
        let item = read::get(txn, &table, &key)?;
        let size = item.as_ref().map_or(0, item_size);
        total = total.saturating_add(size);
        consumed
            .entry(table.name.clone())
            .or_insert_with(|| Consumed::transactional(&table.name, Direction::Read))
            .add_table(read_units(size, true) * TRANSACTION_FACTOR);
        let columns = select.columns.as_deref();
        let item = item.map(|item| reads::project(columns, &item));
        items.push(item.filter(|item| !item.is_empty()));
    }
    if total > BYTES_MAX {
        return Err(too_large());
    }
    let mut body = Body::new();
    write_list(body.member("Responses"), &items, |out, item| {
        let mut response = Body::new();
        if let Some(item) = item {
            json::write_item(item, response.member("Item"));
        }
        out.extend_from_slice(&response.finish());
    });
    body.capacities(request.report, consumed.values());
    Ok(body.finish())
}

// --- writes -------------------------------------------------------------------------------------------

async fn write_all(backend: &dyn Backend, request: Request) -> Result<Vec<u8>, ApiError> {
    let members = &request.members;
    let writes = params::snapshot(backend, |txn| {
        let mut writes: Vec<Write> = Vec::with_capacity(members.len());
        for (at, member) in members.iter().enumerate() {
            let table = statement::table(backend, txn, &member.statement)?;
            let on_failure = member.params.return_old_on_failure();
            let write = write_of(&member.statement, &table, on_failure);
            writes.push(write.map_err(|error| failed(at, error))?);
        }
        Ok(writes)
    })?;
    let requests: Vec<ItemWrite> = writes.iter().map(|write| write.write.clone()).collect();
    refuse_large(&requests)?;
    let committed = commit(backend, &requests, request.token).await;
    let (_, consumed) = committed.map_err(|error| cancelled(error, &writes))?;
    let mut body = Body::new();
    body.member("Responses").extend_from_slice(b"[]");
    body.capacities(request.report, consumed.values());
    Ok(body.finish())
}

/// The reasons of a cancelled transaction, those of INSERTs in their own words.
fn cancelled(error: ApiError, writes: &[Write]) -> ApiError {
    let ApiError::TransactionCanceled { mut reasons } = error else {
        return error;
    };
    for (reason, write) in reasons.iter_mut().zip(writes) {
        if write.inserts && reason.code == "ConditionalCheckFailed" {
            reason.code = "DuplicateItem";
            reason.message = Some(ApiError::DuplicateItem.to_string());
            reason.item = None;
        }
    }
    ApiError::TransactionCanceled { reasons }
}
