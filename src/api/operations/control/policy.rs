//! Resource policies: one document per table and region, with a revision (errors-and-validation.md
//! section 7). They are kept and shown; nothing is evaluated by them.

use serde_json::{Value, json};

use super::super::tables::{invalid, local};
use crate::replica::ApiError;
use crate::replica::catalog::{LocalSettings, TableDef};

const BYTES_MAX: usize = 20 * 1024;
/// The `ExpectedRevisionId` of a request that expects no policy.
const NONE_EXPECTED: &str = "NO_POLICY";
const NOT_FOUND: &str = "Resource-based policy not found for the provided ResourceArn:";

/// The document and its revision, if there is a policy.
pub(super) fn get(settings: &LocalSettings) -> Option<(String, String)> {
    let kept = local::get(settings, local::POLICY)?;
    let text = |name: &str| kept.get(name).and_then(Value::as_str).map(str::to_owned);
    Some((text("Policy")?, text("RevisionId")?))
}

/// Stores a document and returns its revision; the same document keeps its own.
pub(crate) fn put(
    settings: &mut LocalSettings,
    document: &str,
    now_ms: u64,
) -> Result<String, ApiError> {
    admit(document)?;
    let before = get(settings);
    if let Some((_, revision)) = before.as_ref().filter(|(text, _)| text == document) {
        return Ok(revision.clone());
    }
    let last = before
        .and_then(|(_, revision)| revision.parse().ok())
        .unwrap_or(0_u64);
    let revision = now_ms.max(last.saturating_add(1)).to_string();
    let kept = json!({"Policy": document, "RevisionId": revision});
    local::set(settings, local::POLICY, &kept);
    Ok(revision)
}

/// Removes the policy and returns its revision.
pub(super) fn remove(settings: &mut LocalSettings) -> Option<String> {
    let revision = get(settings).map(|(_, revision)| revision);
    local::set(settings, local::POLICY, &Value::Null);
    revision
}

fn admit(document: &str) -> Result<(), ApiError> {
    if document.len() > BYTES_MAX {
        return Err(invalid(format!(
            "Maximum policy size of {BYTES_MAX} bytes exceeded"
        )));
    }
    match serde_json::from_str(document) {
        Ok(Value::Object(members)) => match members.get("Statement") {
            Some(Value::Array(list)) if list.is_empty() => Err(invalid(
                "Invalid policy document: Could not parse the policy: Statement is empty!",
            )),
            Some(_) => Ok(()),
            None => Err(invalid(
                "Invalid policy document: Missing required field Statement",
            )),
        },
        _ => Err(invalid(
            "Invalid policy document: This policy contains invalid Json",
        )),
    }
}

/// Checks `ExpectedRevisionId` against what is there.
pub(super) fn expect(
    def: &TableDef,
    settings: &LocalSettings,
    expected: Option<&str>,
) -> Result<(), ApiError> {
    let table = &def.name;
    let current = get(settings).map(|(_, revision)| revision);
    let refused = match (expected, &current) {
        (None, _) | (Some(NONE_EXPECTED), None) => return Ok(()),
        (Some(expected), Some(current)) if expected == current => return Ok(()),
        (Some(NONE_EXPECTED), Some(current)) => format!(
            "Requested policy update expecting none to be present for table {table}, but a policy exists with revision id {current}."
        ),
        (Some(expected), Some(current)) => format!(
            "Requested update for policy with revision id {expected}, but the policy associated to target table {table} has revision id {current}."
        ),
        (Some(expected), None) => format!(
            "Requested update for policy with revision id {expected}, but no policy is associated to target table {table}."
        ),
    };
    Err(ApiError::PolicyNotFound(format!("{NOT_FOUND} {refused}")))
}

/// There is no policy to show.
pub(super) fn not_found(arn: &str) -> ApiError {
    ApiError::PolicyNotFound(format!("{NOT_FOUND} {arn}"))
}
