//! DescribeEndpoints: exactly one, by which the client demonstrably reaches us.

use serde_json::json;

use crate::api::operations::Answer;
use crate::api::{Backend, error};

const CACHE_MINUTES: u32 = 1440;

/// Runs DescribeEndpoints; `host` is the request's Host.
pub(crate) async fn run(backend: &dyn Backend, host: Option<&str>) -> Answer {
    let address = match host {
        Some(host) => host.to_owned(),
        None => format!("dynamodb.{}.amazonaws.com", backend.region().name),
    };
    Ok(error::object([(
        "Endpoints",
        json!([{"Address": address, "CachePeriodInMinutes": CACHE_MINUTES}]),
    )]))
}
