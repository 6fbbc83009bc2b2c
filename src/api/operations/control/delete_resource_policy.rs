//! DeleteResourcePolicy: no policy to delete is no error, unless one was expected.

use serde_json::json;

use super::super::tables::{arn, local};
use super::policy;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error};

const REVISION_MAX: usize = 255;

/// Runs DeleteResourcePolicy.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let resource = fields.string("ResourceArn")?;
    let expected = fields.string("ExpectedRevisionId")?;
    let mut c = Constraints::default();
    arn::constrain(resource.as_ref(), &mut c);
    if let Some(expected) = &expected {
        c.length("expectedRevisionId", expected, 1, REVISION_MAX);
    }
    c.finish()?;
    let name = arn::policy_table(backend, &resource.unwrap_or_default())?;
    let revision = local::change(
        backend,
        || local::find(backend, &name),
        |def, settings| {
            policy::expect(def, settings, expected.as_deref())?;
            Ok(policy::remove(settings))
        },
    )
    .await?;
    let revision = revision.map(|revision| ("RevisionId", json!(revision)));
    Ok(error::object(revision))
}
