//! DescribeEndpoints: exactly one, by which the client demonstrably reaches us.

use serde_json::json;

use crate::api::operations::{Answer, RequestContext};
use crate::api::{Backend, Fields, error};

const CACHE_MINUTES: u32 = 1440;

pub(crate) async fn run(backend: &dyn Backend, _: Fields, context: &RequestContext) -> Answer {
    let address = match &context.host {
        Some(host) => host.clone(),
        None => format!("dynamodb.{}.amazonaws.com", backend.region().name),
    };
    Ok(error::object([(
        "Endpoints",
        json!([{"Address": address, "CachePeriodInMinutes": CACHE_MINUTES}]),
    )]))
}
