//! DescribeTable.

use super::description::{Status, describe};
use super::{counts, find};
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};
use crate::replica::catalog::Busy;

/// Runs DescribeTable.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    let def = find(backend, &name)?;
    let status = match backend.busy(&def) {
        None => Status::Active,
        Some(Busy::Creating) => Status::Creating,
        Some(Busy::Updating) => Status::Updating,
    };
    let description = describe(backend.region(), &def, status, &counts(backend, &def)?);
    Ok(error::object([("Table", description)]))
}
