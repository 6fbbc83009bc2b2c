//! GetItem: one item by its key.

use super::body::Body;
use crate::api::capacity::{Consumed, Direction, Report, read_units};
use crate::api::params::{
    self, ProjectionParams, Styles, Substitutes, Wording, admit_values, item_member,
};
use crate::api::projection::{Projection, refuse_paths_into_keys};
use crate::api::{Backend, Constraints, Fields, fields, throttle};
use crate::item::{Item, codec};
use crate::replica::catalog::TableDef;
use crate::replica::{ApiError, read};
use crate::store::ReadTxn;

struct Request {
    table: String,
    key: Item,
    consistent: bool,
    projection: Projection,
    report: Report,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let request = admit(fields)?;
    params::snapshot(backend, |txn| {
        let table = params::table(backend, txn, &request.table)?;
        answer(backend, txn, &table, &request)
    })
}

fn admit(mut fields: Fields) -> Result<Request, ApiError> {
    let name = fields.string("TableName")?;
    let key = item_member(&mut fields, "Key")?;
    let consistent = fields.boolean("ConsistentRead")?.unwrap_or(false);
    let projection = ProjectionParams::take(&mut fields)?;
    let substitutes = Substitutes::names_only(&mut fields)?;
    let report = fields.string("ReturnConsumedCapacity")?;

    let mut constraints = Constraints::default();
    let table = fields::item_table_name(name, &mut constraints)?;
    params::constrain_report(report.as_deref(), &mut constraints);
    projection.constrain("attributesToGet", &mut constraints);
    constraints.required("key", key.as_ref());
    constraints.finish()?;

    let styles = Styles {
        expressions: &[("ProjectionExpression", projection.expression.is_some())],
        legacy: &[("AttributesToGet", projection.attributes.is_some())],
    };
    styles.check(&substitutes, Wording::Bare)?;
    let key = admit_values(key.unwrap_or_else(|| Ok(Item::new())), Wording::Bare)?;
    projection.refuse_duplicates()?;
    let mut placeholders = substitutes.placeholders(Wording::Bare)?;
    let projection = projection.parse(&mut placeholders)?;
    placeholders.finish()?;
    Ok(Request {
        table,
        key,
        consistent,
        projection,
        report: params::report(report.as_deref()),
    })
}

fn answer(
    backend: &dyn Backend,
    txn: &dyn ReadTxn,
    table: &TableDef,
    request: &Request,
) -> Result<Vec<u8>, ApiError> {
    let key = table
        .keys
        .admit_key(&request.key)
        .map_err(params::key_error)?;
    refuse_paths_into_keys(request.projection.paths(), table)?;
    let held = throttle::admit_read(backend, table, None, read_units(0, request.consistent))?;
    let stored = read::get_encoded(txn, table, &key)?;
    let mut body = Body::new();
    let mut size = 0;
    if let Some(bytes) = &stored {
        write_stored(bytes, &request.projection, body.member("Item"))?;
        if request.report != Report::None || backend.throttle().is_some() {
            size = codec::item_size(bytes).map_err(damaged)?;
        }
    }
    let mut consumed = Consumed::new(&table.name);
    consumed.add_table(read_units(size, request.consistent));
    throttle::settle(backend, table, &held, &consumed, Direction::Read);
    body.capacity(request.report, &consumed);
    Ok(body.finish())
}

/// Writes what is asked of a stored item. Whole items are written straight from their stored bytes.
pub(crate) fn write_stored(
    bytes: &[u8],
    projection: &Projection,
    out: &mut Vec<u8>,
) -> Result<(), ApiError> {
    match projection {
        Projection::All => codec::write_json(bytes, out).map_err(damaged),
        paths => {
            paths.write(&codec::decode(bytes).map_err(damaged)?, out);
            Ok(())
        }
    }
}

/// Stored bytes that do not decode.
pub(crate) fn damaged(error: impl std::fmt::Display) -> ApiError {
    ApiError::InternalServer(format!("a stored item is damaged: {error}"))
}
