//! How each exception looks on the wire (errors-and-validation.md section 2).

use hyper::StatusCode;
use serde_json::{Map, Value};

use crate::item::{Item, json};
use crate::replica::{ApiError, CancellationReason, ThrottlingReason};

const CORAL: &str = "com.amazon.coral.service";
const VALIDATE: &str = "com.amazon.coral.validate";
const DYNAMODB: &str = "com.amazonaws.dynamodb.v20120810";

/// The member that carries the text: it differs between exceptions, and some carry none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    None,
    Lower,
    Upper,
}

/// Namespace, code and text member of an error.
fn kind(error: &ApiError) -> (&'static str, &'static str, Text) {
    match error {
        ApiError::Validation(_) => (VALIDATE, "ValidationException", Text::Lower),
        ApiError::Serialization(None) => (CORAL, "SerializationException", Text::None),
        ApiError::Serialization(Some(_)) => (CORAL, "SerializationException", Text::Upper),
        ApiError::UnknownOperation => (CORAL, "UnknownOperationException", Text::None),
        ApiError::ResourceNotFound(_) => (DYNAMODB, "ResourceNotFoundException", Text::Lower),
        ApiError::ResourceInUse(_) => (DYNAMODB, "ResourceInUseException", Text::Lower),
        ApiError::LimitExceeded(_) => (DYNAMODB, "LimitExceededException", Text::Lower),
        ApiError::ItemCollectionSizeLimitExceeded => (
            DYNAMODB,
            "ItemCollectionSizeLimitExceededException",
            Text::Lower,
        ),
        ApiError::ConditionalCheckFailed { .. } => {
            (DYNAMODB, "ConditionalCheckFailedException", Text::Lower)
        }
        ApiError::DuplicateItem => (DYNAMODB, "DuplicateItemException", Text::Lower),
        ApiError::TransactionCanceled { .. } => {
            (DYNAMODB, "TransactionCanceledException", Text::Upper)
        }
        ApiError::IdempotentParameterMismatch(_) => (
            DYNAMODB,
            "IdempotentParameterMismatchException",
            Text::Upper,
        ),
        ApiError::TransactionInProgress(_) => {
            (DYNAMODB, "TransactionInProgressException", Text::Upper)
        }
        ApiError::GlobalTableNotFound(_) => (DYNAMODB, "GlobalTableNotFoundException", Text::Lower),
        ApiError::TableNotFound(_) => (DYNAMODB, "TableNotFoundException", Text::Lower),
        ApiError::ExpiredIterator(_) => (DYNAMODB, "ExpiredIteratorException", Text::Lower),
        ApiError::TrimmedDataAccess(_) => (DYNAMODB, "TrimmedDataAccessException", Text::Lower),
        ApiError::PolicyNotFound(_) => (DYNAMODB, "PolicyNotFoundException", Text::Lower),
        ApiError::PointInTimeRecoveryUnavailable(_) => (
            DYNAMODB,
            "PointInTimeRecoveryUnavailableException",
            Text::Lower,
        ),
        ApiError::ProvisionedThroughputExceeded { .. } => (
            DYNAMODB,
            "ProvisionedThroughputExceededException",
            Text::Lower,
        ),
        ApiError::MaxOnDemandThroughputExceeded { .. } => {
            (DYNAMODB, "ThrottlingException", Text::Lower)
        }
        ApiError::AccessDenied(_) => (CORAL, "AccessDeniedException", Text::Upper),
        ApiError::MissingAuthenticationToken(_) => {
            (CORAL, "MissingAuthenticationTokenException", Text::Lower)
        }
        ApiError::IncompleteSignature(_) => (CORAL, "IncompleteSignatureException", Text::Lower),
        ApiError::InvalidSignature(_) => (CORAL, "InvalidSignatureException", Text::Lower),
        ApiError::UnrecognizedClient(_) => (CORAL, "UnrecognizedClientException", Text::Lower),
        ApiError::Throttling(_) => (CORAL, "ThrottlingException", Text::Lower),
        ApiError::InternalServer(_) => (DYNAMODB, "InternalServerError", Text::Lower),
        ApiError::ServiceUnavailable(_) => (CORAL, "ServiceUnavailable", Text::Lower),
    }
}

fn status(error: &ApiError) -> StatusCode {
    match error {
        ApiError::InternalServer(_) => StatusCode::INTERNAL_SERVER_ERROR,
        ApiError::ServiceUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(Value::from(text).to_string().as_bytes());
}

fn push_member(out: &mut Vec<u8>, name: &str, text: &str) {
    out.extend_from_slice(b",");
    push_string(out, name);
    out.extend_from_slice(b":");
    push_string(out, text);
}

fn push_item(out: &mut Vec<u8>, item: Option<&Item>) {
    if let Some(item) = item {
        out.extend_from_slice(b",\"Item\":");
        json::write_item(item, out);
    }
}

fn push_reason(out: &mut Vec<u8>, reason: &CancellationReason) {
    out.extend_from_slice(b"{\"Code\":");
    push_string(out, reason.code);
    if let Some(message) = &reason.message {
        push_member(out, "Message", message);
    }
    push_item(out, reason.item.as_ref());
    out.push(b'}');
}

fn push_throttling(out: &mut Vec<u8>, member: &str, reasons: &[ThrottlingReason]) {
    let list: Value = reasons
        .iter()
        .map(|r| serde_json::json!({"reason": r.reason, "resource": r.resource}))
        .collect();
    out.extend_from_slice(format!(",\"{member}\":{list}").as_bytes());
}

/// The status and the JSON body of an error.
/// The exception's name without its namespace, and its status.
pub(super) fn outcome(error: &ApiError) -> (&'static str, StatusCode) {
    (kind(error).1, status(error))
}

pub(crate) fn render(error: &ApiError) -> (StatusCode, Vec<u8>) {
    let (namespace, code, text) = kind(error);
    let mut body = Vec::with_capacity(160);
    body.extend_from_slice(b"{\"__type\":");
    push_string(&mut body, &format!("{namespace}#{code}"));
    match text {
        Text::None => {}
        Text::Lower => push_member(&mut body, "message", &error.to_string()),
        Text::Upper => push_member(&mut body, "Message", &error.to_string()),
    }
    match error {
        ApiError::ConditionalCheckFailed { item } => push_item(&mut body, item.as_ref()),
        ApiError::TransactionCanceled { reasons } => {
            body.extend_from_slice(b",\"CancellationReasons\":[");
            for (at, reason) in reasons.iter().enumerate() {
                if at > 0 {
                    body.push(b',');
                }
                push_reason(&mut body, reason);
            }
            body.push(b']');
        }
        ApiError::ProvisionedThroughputExceeded { reasons, .. } => {
            push_throttling(&mut body, "ThrottlingReasons", reasons);
        }
        ApiError::MaxOnDemandThroughputExceeded { reasons, .. } => {
            push_throttling(&mut body, "throttlingReasons", reasons);
        }
        _ => {}
    }
    body.push(b'}');
    (status(error), body)
}

/// A JSON object of the given members, for answers without items.
pub(crate) fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<u8> {
    let map: Map<String, Value> = members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Value::Object(map).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(error: ApiError) -> (u16, Value) {
        let (status, body) = render(&error);
        (status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn each_namespace_has_its_text_member() {
        let (status, body) = rendered(ApiError::validation("bad \"x\""));
        assert_eq!(status, 400);
        assert_eq!(
            body["__type"],
            "com.amazon.coral.validate#ValidationException"
        );
        assert_eq!(body["message"], "bad \"x\"");
        let (_, body) = rendered(ApiError::Serialization(Some("t".into())));
        assert_eq!(body["Message"], "t");
        let (_, body) = rendered(ApiError::UnknownOperation);
        assert_eq!(body.as_object().unwrap().len(), 1);
        let (status, body) = rendered(ApiError::InternalServer("x".into()));
        assert_eq!(status, 500);
        assert_eq!(
            body["__type"],
            "com.amazonaws.dynamodb.v20120810#InternalServerError"
        );
    }

    #[test]
    fn cancellation_reasons_are_listed_in_order() {
        let reasons = vec![
            CancellationReason {
                code: "None",
                message: None,
                item: None,
            },
            CancellationReason {
                code: "ConditionalCheckFailed",
                message: Some("The conditional request failed".into()),
                item: None,
            },
        ];
        let (_, body) = rendered(ApiError::TransactionCanceled { reasons });
        assert!(
            body["Message"]
                .as_str()
                .unwrap()
                .ends_with("[None, ConditionalCheckFailed]")
        );
        assert_eq!(
            body["CancellationReasons"][0],
            serde_json::json!({"Code": "None"})
        );
        assert_eq!(
            body["CancellationReasons"][1]["Message"],
            "The conditional request failed"
        );
    }
}
