//! DescribeKinesisStreamingDestination.

use serde_json::{Value, json};

use super::super::tables::local;
use super::kinesis;
use crate::api::operations::Answer;
use crate::api::{Backend, Fields, error, fields};

/// Runs DescribeKinesisStreamingDestination.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields::table_name(fields.string("TableName")?)?;
    let (def, settings) = local::find(backend, &name)?;
    let list = Value::from(kinesis::destinations(&settings));
    Ok(error::object([
        ("TableName", json!(def.name)),
        ("KinesisDataStreamDestinations", list),
    ]))
}
