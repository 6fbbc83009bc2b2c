//! BatchExecuteStatement: up to 25 statements of one item each, every one for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use super::reads;
use super::statement::{self, StatementParams};
use super::writes::{Write, write_of};
use crate::api::capacity::{Consumed, read_units, write_string};
use crate::api::operations::items::body::{Body, write_list};
use crate::api::operations::items::writes::{send, table_units};
use crate::api::{Backend, Constraints, Fields, params};
use crate::item::size::item_size;
use crate::item::{Item, json};
use crate::partiql::{Select, Statement};
use crate::replica::catalog::TableDef;
use crate::replica::request::{ItemOutcome, WriteAction};
use crate::replica::{ApiError, read};
use crate::store::ReadTxn;

/// The most statements of a batch.
const STATEMENTS_MAX: usize = 25;

/// One statement of the batch, on its way.
struct Member {
    params: StatementParams,
    consistent: bool,
}

/// What a statement of the batch needs, known before any is run.
enum Step {
    Read {
        table: TableDef,
        key: Item,
        select: Box<Select>,
        consistent: bool,
    },
    Write {
        table: TableDef,
        write: Box<Write>,
    },
    Failed(ApiError),
}

/// The answer to one statement.
struct Response {
    /// Of a statement that came as far as its table.
    table: Option<String>,
    outcome: Result<Option<Item>, ApiError>,
}

type Units = BTreeMap<String, Consumed>;

pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Result<Vec<u8>, ApiError> {
    let report = fields.string("ReturnConsumedCapacity")?;
    let members = admit(fields, report.as_deref())?;
    let statements = members.iter().map(parse).collect::<Vec<_>>();
    refuse_mixture(&statements)?;
    let mut units = Units::new();
    let (steps, mut responses) = params::snapshot(backend, |txn| {
        let mut steps = Vec::with_capacity(statements.len());
        for (member, statement) in members.iter().zip(statements) {
            let step = statement.and_then(|s| step(backend, txn, member, s));
            steps.push(step.unwrap_or_else(Step::Failed));
        }
        refuse_duplicates(&steps)?;
        let mut responses = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            if let Some(response) = read_response(txn, step, &mut units)? {
                responses.insert(at, response);
            }
        }
        Ok((steps, responses))
    })?;
    write_all(backend, steps, &mut responses, &mut units).await;
    let mut body = Body::new();
    let out = body.member("Responses");
    write_list(out, responses.values(), |out, response| {
        out.extend_from_slice(&render(response));
    });
    body.capacities(params::report(report.as_deref()), units.values());
    Ok(body.finish())
}

// --- the request --------------------------------------------------------------------------------------

fn admit(mut fields: Fields, report: Option<&str>) -> Result<Vec<Member>, ApiError> {
    let elements = fields.list("Statements")?;
    let shown = elements
        .as_deref()
        .map(|list| params::shown_list(list, STATEMENTS_MAX));
    let mut members = Vec::new();
    for element in elements.unwrap_or_default() {
        let mut fields = Fields::from_element(element, "BatchStatementRequest")?;
        members.push(Member {
            params: StatementParams::take(&mut fields)?,
            consistent: fields.boolean("ConsistentRead")?.unwrap_or(false),
        });
    }
    let mut constraints = Constraints::default();
    params::constrain_report(report, &mut constraints);
    constraints.required("statements", shown.as_ref());
    if let Some(shown) = &shown {
        constraints.count("statements", members.len(), shown, 1, STATEMENTS_MAX);
    }
    for (at, member) in members.iter().enumerate() {
        let path = format!("statements.{}.member.", at + 1);
        member.params.constrain(&path, &mut constraints);
    }
    constraints.finish()?;
    Ok(members)
}

fn parse(member: &Member) -> Result<Statement, ApiError> {
    let values = member.params.values()?;
    member.params.parse(&values).map_err(statement::error)
}

fn refuse_mixture(statements: &[Result<Statement, ApiError>]) -> Result<(), ApiError> {
    let mut reads = statements.iter().flatten().map(Statement::reads);
    let first = reads.next();
    if reads.any(|reads| Some(reads) != first) {
        return Err(ApiError::validation(
            "Read and write requests together in the same batch is not supported.",
        ));
    }
    Ok(())
}

fn step(
    backend: &dyn Backend,
    txn: &dyn ReadTxn,
    member: &Member,
    statement: Statement,
) -> Result<Step, ApiError> {
    if matches!(statement, Statement::Exists(_)) {
        return Err(ApiError::validation(
            "EXISTS() is only supported in ExecuteTransaction",
        ));
    }
    let table = statement::table(backend, txn, &statement)?;
    let Statement::Select(select) = statement else {
        // What a failed condition found is not returned by this operation.
        let write = Box::new(write_of(&statement, &table, false)?);
        return Ok(Step::Write { table, write });
    };
    let key = reads::only_key(&table, &select).ok_or_else(|| {
        ApiError::validation(
            "Select statements within BatchExecuteStatement must specify the primary key in the where clause.",
        )
    })?;
    table.keys.admit_key(&key).map_err(params::key_error)?;
    Ok(Step::Read {
        table,
        key,
        select: Box::new(select),
        consistent: member.consistent,
    })
}

fn refuse_duplicates(steps: &[Step]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for step in steps {
        let (table, key) = match step {
            Step::Read { table, key, .. } => (table, key),
            Step::Write { table, write } => (table, target(&write.write.action)),
            Step::Failed(_) => continue,
        };
        if let Ok(key) = table.keys.bytes(key)
            && !seen.insert((&table.name, key))
        {
            return Err(ApiError::validation(
                "Provided list of item keys contains duplicates",
            ));
        }
    }
    Ok(())
}

fn target(action: &WriteAction) -> &Item {
    match action {
        WriteAction::Put { item } => item,
        WriteAction::Update { key, .. }
        | WriteAction::Delete { key }
        | WriteAction::Check { key } => key,
    }
}

// --- running ------------------------------------------------------------------------------------------

/// The response of a statement that needs no writing.
fn read_response(
    txn: &dyn ReadTxn,
    step: &Step,
    units: &mut Units,
) -> Result<Option<Response>, ApiError> {
    let Step::Read {
        table,
        key,
        select,
        consistent,
    } = step
    else {
        return Ok(None);
    };
    let item = read::get(txn, table, key)?;
    let size = item.as_ref().map_or(0, item_size);
    entry(units, table).add_table(read_units(size, *consistent));
    let columns = select.columns.as_deref();
    let item = item.map(|item| reads::project(columns, &item));
    Ok(Some(Response {
        table: Some(table.name.clone()),
        outcome: Ok(item.filter(|item| !item.is_empty())),
    }))
}

/// Sends every write at once, so that one group may hold them all.
async fn write_all(
    backend: &dyn Backend,
    steps: Vec<Step>,
    responses: &mut BTreeMap<usize, Response>,
    units: &mut Units,
) {
    let mut writes = Vec::new();
    for (at, step) in steps.into_iter().enumerate() {
        match step {
            Step::Read { .. } => {}
            Step::Failed(error) => {
                let outcome = Err(error);
                let table = None;
                responses.insert(at, Response { table, outcome });
            }
            Step::Write { table, write } => writes.push((at, table, write)),
        }
    }
    let sent = writes.iter().map(|(_, table, write)| -> Sending<'_> {
        Box::pin(send(backend, table, write.write.clone()))
    });
    let answers = all(sent.collect()).await;
    for ((at, table, write), answer) in writes.into_iter().zip(answers) {
        let outcome = answer.map_err(|error| write.error(error));
        let outcome = outcome.map(|outcome| {
            let consumed = entry(units, &table);
            consumed.add_table(table_units(&outcome));
            consumed.add_indexes(&table, &outcome.index_units);
            write.returned(&outcome)
        });
        let table = Some(table.name);
        responses.insert(at, Response { table, outcome });
    }
}

/// A write on its way.
type Sending<'a> = Pin<Box<dyn Future<Output = Result<ItemOutcome, ApiError>> + Send + 'a>>;

fn entry<'u>(units: &'u mut Units, table: &TableDef) -> &'u mut Consumed {
    units
        .entry(table.name.clone())
        .or_insert_with(|| Consumed::new(&table.name))
}

/// Waits for all writes; their answers in order.
async fn all(writes: Vec<Sending<'_>>) -> Vec<Result<ItemOutcome, ApiError>> {
    let mut waiting: Vec<_> = writes.into_iter().map(|write| (write, None)).collect();
    poll_fn(|context| {
        let mut pending = false;
        for (write, answer) in &mut waiting {
            if answer.is_none() {
                match write.as_mut().poll(context) {
                    Poll::Ready(ready) => *answer = Some(ready),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    waiting
        .into_iter()
        .filter_map(|(_, answer)| answer)
        .collect()
}

// --- the answer ---------------------------------------------------------------------------------------

/// The short names of errors, which only this operation uses.
fn code(error: &ApiError) -> &'static str {
    match error {
        ApiError::Validation(_) => "ValidationError",
        ApiError::ConditionalCheckFailed { .. } => "ConditionalCheckFailed",
        ApiError::DuplicateItem => "DuplicateItem",
        ApiError::ResourceNotFound(_) => "ResourceNotFound",
        ApiError::LimitExceeded(_) => "RequestLimitExceeded",
        ApiError::Throttling(_) => "ThrottlingError",
        ApiError::AccessDenied(_) => "AccessDenied",
        _ => "InternalServerError",
    }
}

fn render(response: &Response) -> Vec<u8> {
    let mut body = Body::new();
    match &response.outcome {
        Ok(None) => {}
        Ok(Some(item)) => json::write_item(item, body.member("Item")),
        Err(error) => {
            let mut inner = Body::new();
            write_string(code(error), inner.member("Code"));
            write_string(&error.to_string(), inner.member("Message"));
            body.member("Error").extend_from_slice(&inner.finish());
        }
    }
    if let Some(table) = &response.table {
        write_string(table, body.member("TableName"));
    }
    body.finish()
}
