//! DescribeTable.

use super::description::{Status, describe};
use super::{counts, find};
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};

/// Runs DescribeTable.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    let def = find(backend, &name)?;
    let description = describe(
        backend.region(),
        &def,
        Status::Active,
        &counts(backend, &def)?,
    );
    Ok(error::object([("Table", description)]))
}
