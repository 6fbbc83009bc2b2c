//! DisableKinesisStreamingDestination: recorded.

use super::kinesis::{self, Request};
use crate::api::operations::Answer;
use crate::api::{Backend, Fields};

/// Runs DisableKinesisStreamingDestination.
pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Answer {
    let request = Request::take(fields, "EnableKinesisStreamingConfiguration")?;
    kinesis::disable(backend, &request).await
}
