//! EnableKinesisStreamingDestination: recorded.

use super::kinesis::{self, Request};
use crate::api::operations::Answer;
use crate::api::{Backend, Fields};

/// Runs EnableKinesisStreamingDestination.
pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Answer {
    let request = Request::take(fields, "EnableKinesisStreamingConfiguration")?;
    kinesis::enable(backend, &request).await
}
