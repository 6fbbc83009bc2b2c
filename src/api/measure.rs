//! Counts requests, by operation and outcome.

use std::time::Duration;

use hyper::header::HeaderMap;

use super::{Backend, error, operations};
use crate::replica::ApiError;

/// What requests for no known operation are counted as: their names are the client's, and without end.
const UNKNOWN: &str = "(unknown)";

/// Counts one request that was answered.
pub(super) fn request(
    backend: &dyn Backend,
    headers: &HeaderMap,
    result: &Result<Vec<u8>, ApiError>,
    took: Duration,
) {
    let Some(metrics) = backend.metrics() else {
        return;
    };
    let operation = operation(headers);
    let status = match result {
        Ok(_) => 200,
        Err(failure) => {
            let (exception, status) = error::outcome(failure);
            metrics.errors.with(&[operation, exception]).add(1);
            if is_throttled(failure) {
                metrics.throttled.with(&[operation]).add(1);
            }
            status.as_u16()
        }
    };
    let status = status.to_string();
    metrics.requests.with(&[operation, &status]).add(1);
    let seconds = metrics.request_seconds.with(&[operation]);
    seconds.observe(took.as_secs_f64());
}

fn operation(headers: &HeaderMap) -> &str {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok());
    let target = target.filter(|target| operations::Operation::from_target(target).is_some());
    let name = target.and_then(|target| target.split('.').nth(1));
    name.unwrap_or(UNKNOWN)
}

fn is_throttled(failure: &ApiError) -> bool {
    matches!(
        failure,
        ApiError::Throttling(_)
            | ApiError::ProvisionedThroughputExceeded { .. }
            | ApiError::MaxOnDemandThroughputExceeded { .. }
    )
}
