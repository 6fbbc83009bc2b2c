//! DescribeTableReplicaAutoScaling.

use super::super::tables::local;
use super::auto_scaling;
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};

/// Runs DescribeTableReplicaAutoScaling.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    let found = local::lookup(backend, &name)?.map(|(def, _)| def);
    let def = auto_scaling::admit(found, &name)?;
    let description = auto_scaling::describe(backend.region(), &def, "ACTIVE");
    Ok(error::object([(
        "TableAutoScalingDescription",
        description,
    )]))
}
