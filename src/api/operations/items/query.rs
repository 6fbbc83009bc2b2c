//! Query: the items of one partition of a table or index, in key order.

use serde_json::Value as Json;

use super::pages::{PageParams, PageRead, Reader};
use super::start_key;
use crate::api::params::{self, Styles, Wording};
use crate::api::projection::refuse_paths_into_keys;
use crate::api::{Backend, Constraints, Fields, fields};
use crate::expression::{
    Condition, ExpressionKind, KeyClause, KeyCondition, KeyPredicate, bind_key_condition,
    key_clauses, legacy,
};
use crate::item::{KeySchema, Value};
use crate::replica::ApiError;
use crate::replica::catalog::{IndexDef, TableDef};
use crate::replica::request::PageRequest;

const NO_KEY_CONDITION: &str = "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.";

struct Request {
    read: PageRead,
    clauses: Vec<KeyClause>,
    /// The filter came as `QueryFilter`, which words errors differently.
    legacy_filter: bool,
}

struct QueryParams {
    page: PageParams,
    forward: bool,
    key_condition: Option<String>,
    key_conditions: Option<Json>,
    query_filter: Option<Json>,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let mut request = take(fields).and_then(admit)?;
    params::snapshot(backend, move |txn| {
        let table = params::table(backend, txn, &request.read.request.table)?;
        let index = request.read.index(&table)?;
        bind(&mut request, &table, index)?;
        request.read.answer(backend, txn, &table, index)
    })
}

fn take(mut fields: Fields) -> Result<QueryParams, ApiError> {
    Ok(QueryParams {
        page: PageParams::take(&mut fields)?,
        forward: fields.boolean("ScanIndexForward")?.unwrap_or(true),
        key_condition: fields.string("KeyConditionExpression")?,
        key_conditions: params::legacy_map(&mut fields, "KeyConditions", "Condition")?,
        query_filter: params::legacy_map(&mut fields, "QueryFilter", "Condition")?,
    })
}

fn check(given: &QueryParams, mut constraints: Constraints) -> Result<(), ApiError> {
    let page = &given.page;
    page.constrain(&mut constraints);
    params::constrain_operators(
        "queryFilter",
        given.query_filter.as_ref(),
        true,
        &mut constraints,
    );
    params::constrain_operators(
        "keyConditions",
        given.key_conditions.as_ref(),
        true,
        &mut constraints,
    );
    let lone_limit = constraints.is_empty() && page.limit.is_some_and(|limit| limit < 1);
    if lone_limit {
        // Query words this one constraint unlike all others.
        return Err(ApiError::validation(
            "1 validation error detected: Value at 'Limit' failed to satisfy constraint: Member must have value \
             greater than or equal to 1",
        ));
    }
    constraints.range("limit", page.limit, 1, i64::MAX);
    constraints.finish()?;

    // KeyConditions may stand beside FilterExpression and ProjectionExpression.
    let both = given.key_conditions.is_some() && given.key_condition.is_some();
    let styles = Styles {
        expressions: &[
            ("ProjectionExpression", page.projection.expression.is_some()),
            ("FilterExpression", page.filter.is_some()),
            ("KeyConditionExpression", given.key_condition.is_some()),
        ],
        legacy: &[
            ("AttributesToGet", page.projection.attributes.is_some()),
            ("QueryFilter", given.query_filter.is_some()),
            ("ConditionalOperator", page.operator.is_some()),
            ("KeyConditions", both),
        ],
    };
    styles.check(&page.substitutes, Wording::Bare)
}

fn admit(mut given: QueryParams) -> Result<Request, ApiError> {
    let mut constraints = Constraints::default();
    let table = fields::item_table_name(given.page.name.take(), &mut constraints)?;
    check(&given, constraints)?;
    let page = given.page;
    let legacy_filter = legacy::filter_to_condition(
        legacy::LegacyFilter::Query,
        given.query_filter.as_ref(),
        page.operator.as_deref(),
    )
    .map_err(params::legacy_error)?;
    page.projection.refuse_duplicates()?;
    let select = page.select();
    let limit = page.limit();
    page.admit_select(Reader::Query)?;
    let start = page.start.map(start_key::admit_values).transpose()?;
    if given.key_condition.is_none() && given.key_conditions.is_none() {
        return Err(ApiError::validation(NO_KEY_CONDITION));
    }

    let mut placeholders = page.substitutes.placeholders(Wording::Bare)?;
    let mut parse =
        |kind, text: Option<&str>| params::condition(kind, text, &mut placeholders, Wording::Bare);
    let parsed = parse(ExpressionKind::KeyCondition, given.key_condition.as_deref())?;
    let filter = parse(ExpressionKind::Filter, page.filter.as_deref())?;
    let projection = page.projection.parse(&mut placeholders)?;
    placeholders.finish()?;
    let clauses = match (parsed, &given.key_conditions) {
        (Some(condition), _) => key_clauses(condition)?,
        (None, Some(conditions)) => {
            legacy::key_conditions_to_clauses(conditions).map_err(params::legacy_error)?
        }
        (None, None) => {
            return Err(ApiError::validation(NO_KEY_CONDITION));
        }
    };
    let request = PageRequest {
        table,
        index: page.index,
        condition: None,
        filter: filter.or(legacy_filter),
        forward: given.forward,
        limit,
        start,
        segment: None,
    };
    let report = params::report(page.report.as_deref());
    let read = PageRead {
        request,
        select,
        projection,
        consistent: page.consistent,
        report,
    };
    Ok(Request {
        read,
        clauses,
        legacy_filter: given.query_filter.is_some(),
    })
}

/// Holds the request against the queried keys: start key and key condition, then projection and filter.
fn bind(request: &mut Request, table: &TableDef, index: Option<&IndexDef>) -> Result<(), ApiError> {
    let (keys, indexed) = (index.map_or(&table.keys, |i| &i.keys), index.is_some());
    let page = &mut request.read.request;
    if let Some(start) = &page.start {
        let index = indexed.then_some(keys);
        start_key::admit_count(start, table, index, &start_key::complaint())?;
        start_key::admit_attributes(start, &keys.partition)?;
    }
    let condition = bind_key_condition(std::mem::take(&mut request.clauses), keys)?;
    admit_lengths(&condition, keys)?;
    if let Some(start) = &page.start {
        start_key::admit_attributes(start, &keys.sort)?;
        start_key::admit_table_key(start, table)?;
        start_key::admit_bounds(start, keys, &condition)?;
        if !indexed && keys.sort.is_empty() {
            return Err(start_key::of_a_lone_item(start));
        }
    }
    page.condition = Some(condition);
    refuse_paths_into_keys(request.read.projection.paths(), table)?;
    if let Some(filter) = &page.filter {
        admit_filter(filter, keys, request.legacy_filter)?;
    }
    request.read.admit_all_attributes(index)?;
    let filtered = request.read.request.filter.iter();
    refuse_paths_into_keys(filtered.flat_map(Condition::paths), table)
}

/// Values of a key condition obey the limits of the keys they are compared with.
fn admit_lengths(condition: &KeyCondition, keys: &KeySchema) -> Result<(), ApiError> {
    let partition: Vec<_> = condition.partition.iter().collect();
    let sort = |bound: fn(&KeyPredicate) -> &Value| condition.sort.iter().map(bound).collect();
    let (low, high): (Vec<_>, Vec<_>) = (sort(KeyPredicate::low), sort(KeyPredicate::high));
    keys.admit_condition(&partition, &low)
        .and_then(|()| keys.admit_condition(&partition, &high))
        .map_err(params::key_error)
}

/// A filter of a Query names no key of what is queried: that is the key condition's part.
fn admit_filter(filter: &Condition, keys: &KeySchema, legacy: bool) -> Result<(), ApiError> {
    let Some(key) = filter
        .attributes()
        .into_iter()
        .find(|name| keys.contains(name))
    else {
        return Ok(());
    };
    let subject = if legacy {
        "QueryFilter"
    } else {
        "Filter Expression"
    };
    Err(ApiError::validation(format!(
        "{subject} can only contain non-primary key attributes: Primary key attribute: {key}"
    )))
}
