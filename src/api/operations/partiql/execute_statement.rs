//! ExecuteStatement: one statement.

use super::reads::{self, Resume};
use super::statement::{self, StatementParams};
use super::{token, writes};
use crate::api::capacity::{Report, write_string};
use crate::api::operations::items::body::{Body, write_list};
use crate::api::operations::items::writes::{consumed, send};
use crate::api::{Backend, Constraints, Fields, params};
use crate::item::{Item, json};
use crate::partiql::{Select, Statement};
use crate::replica::ApiError;

struct Request {
    params: StatementParams,
    statement: Statement,
    consistent: bool,
    limit: Option<usize>,
    token: Option<String>,
    report: Report,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let request = admit(fields)?;
    match &request.statement {
        Statement::Select(select) => read(backend, &request, select),
        Statement::Exists(_) => Err(ApiError::validation(
            "EXISTS() is only supported in ExecuteTransaction",
        )),
        _ => write(backend, &request).await,
    }
}

fn admit(mut fields: Fields) -> Result<Request, ApiError> {
    let params = StatementParams::take(&mut fields)?;
    let consistent = fields.boolean("ConsistentRead")?.unwrap_or(false);
    let token = fields.string("NextToken")?;
    let report = fields.string("ReturnConsumedCapacity")?;
    let limit = fields.integer("Limit")?;

    let mut constraints = Constraints::default();
    params.constrain("", &mut constraints);
    params::constrain_report(report.as_deref(), &mut constraints);
    constraints.range("limit", limit, 1, i64::MAX);
    if let Some(token) = &token {
        constraints.length("nextToken", token, 1, token::TOKEN_MAX);
    }
    constraints.finish()?;
    let statement = params.parse(&params.values()?).map_err(statement::error)?;
    Ok(Request {
        params,
        statement,
        consistent,
        limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        token,
        report: params::report(report.as_deref()),
    })
}

fn read(backend: &dyn Backend, request: &Request, select: &Select) -> Result<Vec<u8>, ApiError> {
    let digest = request.params.digest();
    let token = request.token.as_deref();
    let resume = token
        .map(|token| token::decode(token, digest))
        .transpose()?;
    params::snapshot(backend, |txn| {
        let table = statement::table(backend, txn, &request.statement)?;
        let (consistent, limit) = (request.consistent, request.limit);
        let resume = resume.unwrap_or_default();
        let page = reads::select(backend, txn, &table, select, consistent, limit, resume)?;
        let mut body = items(page.items.iter());
        if let Some(next) = &page.next {
            let token = token::encode(digest, next);
            write_string(&token, body.member("NextToken"));
            if let Resume { key: Some(key), .. } = next {
                body.item("LastEvaluatedKey", key);
            }
        }
        body.capacity(request.report, &page.consumed);
        Ok(body.finish())
    })
}

async fn write(backend: &dyn Backend, request: &Request) -> Result<Vec<u8>, ApiError> {
    if request.token.is_some() {
        return Err(ApiError::validation("NextToken does not match request"));
    }
    let on_failure = request.params.return_old_on_failure();
    let (table, write) = params::snapshot(backend, |txn| {
        let table = statement::table(backend, txn, &request.statement)?;
        let write = writes::write_of(&request.statement, &table, on_failure)?;
        Ok((table, write))
    })?;
    let outcome = send(backend, &table, write.write.clone()).await;
    let outcome = outcome.map_err(|error| write.error(error))?;
    let mut body = items(write.returned(&outcome).iter());
    body.capacity(request.report, &consumed(&table, &outcome));
    Ok(body.finish())
}

/// An answer that begins with `Items`, which is always there.
fn items<'i>(items: impl IntoIterator<Item = &'i Item>) -> Body {
    let mut body = Body::new();
    write_list(body.member("Items"), items, |out, item| {
        json::write_item(item, out);
    });
    body
}
