//! DescribeTable.

use super::description::{Status, describe};
use super::{busy, counts, find_any};
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};
use crate::replica::catalog::Busy;

/// Runs DescribeTable.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    let def = find_any(backend, &name)?;
    let status = match busy(backend, &def)? {
        None => Status::Active,
        Some(Busy::Creating) => Status::Creating,
        Some(Busy::Updating) => Status::Updating,
        Some(Busy::Deleting) => Status::Deleting,
    };
    let description = describe(backend.region(), &def, status, &counts(backend, &def)?);
    Ok(error::object([("Table", description)]))
}
