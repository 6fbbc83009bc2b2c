//! GetResourcePolicy.

use serde_json::json;

use super::super::tables::{arn, local};
use super::policy;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error};

/// Runs GetResourcePolicy.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let resource = fields.string("ResourceArn")?;
    let mut c = Constraints::default();
    arn::constrain(resource.as_ref(), &mut c);
    c.finish()?;
    let resource = resource.unwrap_or_default();
    let (_, settings) = local::find(backend, &arn::policy_table(backend, &resource)?)?;
    let (document, revision) =
        policy::get(&settings).ok_or_else(|| policy::not_found(&resource))?;
    Ok(error::object([
        ("Policy", json!(document)),
        ("RevisionId", json!(revision)),
    ]))
}
