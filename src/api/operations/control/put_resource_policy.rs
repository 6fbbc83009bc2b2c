//! PutResourcePolicy.

use serde_json::json;

use super::super::tables::{arn, local, now_ms};
use super::policy;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error};

const REVISION_MAX: usize = 255;

/// Runs PutResourcePolicy.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let resource = fields.string("ResourceArn")?;
    let document = fields.string("Policy")?;
    let expected = fields.string("ExpectedRevisionId")?;
    let mut c = Constraints::default();
    arn::constrain(resource.as_ref(), &mut c);
    c.required("policy", document.as_ref());
    if let Some(expected) = &expected {
        c.length("expectedRevisionId", expected, 1, REVISION_MAX);
    }
    c.finish()?;
    let name = arn::policy_table(backend, &resource.unwrap_or_default())?;
    let document = document.unwrap_or_default();
    let now = now_ms();
    let revision = local::change(
        backend,
        || local::find(backend, &name),
        |def, settings| {
            policy::expect(def, settings, expected.as_deref())?;
            policy::put(settings, &document, now)
        },
    )
    .await?;
    Ok(error::object([("RevisionId", json!(revision))]))
}
