//! Reading a request's body: bounded in size and time, then JSON.

// Sockets live in real time: these are the limits on slow clients.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use serde_json::Value;

use super::Fields;
use crate::replica::ApiError;

/// DynamoDB answers 413 to a longer body, chunked or not.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A body too long is still read (and dropped) up to here, so that the client sees the 413 instead of a
/// reset connection.
const DRAIN_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLong,
    TooSlow,
    /// The connection broke.
    Broken,
}

/// Reads the whole body; a client that has not sent it after `read_max` is cut off.
pub(crate) async fn collect<B>(body: B, read_max: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > DRAIN_BYTES_MAX {
        return Err(BodyError::TooLong);
    }
    tokio::time::timeout(read_max, frames(body))
        .await
        .map_err(|_| BodyError::TooSlow)?
}

async fn frames<B>(mut body: B) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut all: Option<BytesMut> = None;
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length > DRAIN_BYTES_MAX {
            return Err(BodyError::TooLong);
        }
        if length > BODY_BYTES_MAX {
            (first, all) = (Bytes::new(), None);
        } else if length == data.len() {
            first = data;
        } else {
            let buffer = all.get_or_insert_with(|| BytesMut::from(first.as_ref()));
            buffer.extend_from_slice(&data);
        }
    }
    match all {
        _ if length > BODY_BYTES_MAX => Err(BodyError::TooLong),
        Some(buffer) => Ok(buffer.freeze()),
        None => Ok(first),
    }
}

/// Parses a body; `None` when it is empty. The JSON parser bounds its own depth: a document nested deeper
/// than it allows is nested deeper than any item may be.
pub(crate) fn parse(body: &[u8]) -> Result<Option<Value>, ApiError> {
    if body.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(body).map(Some).map_err(|error| {
        if error.to_string().starts_with("recursion limit exceeded") {
            return ApiError::validation(
                "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
            );
        }
        ApiError::Serialization(None)
    })
}

/// The members of a parsed body; anything but an object is a SerializationException.
pub(crate) fn members(body: Option<Value>) -> Result<Fields, ApiError> {
    match body {
        Some(Value::Object(members)) => Ok(Fields::new(members)),
        _ => Err(ApiError::Serialization(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn sixteen_mebibytes_and_no_more() {
        let fits = Full::new(Bytes::from(vec![0; BODY_BYTES_MAX]));
        assert_eq!(
            collect(fits, Duration::from_secs(60)).await.unwrap().len(),
            BODY_BYTES_MAX
        );
        let long = Full::new(Bytes::from(vec![0; BODY_BYTES_MAX + 1]));
        assert_eq!(
            collect(long, Duration::from_secs(60)).await,
            Err(BodyError::TooLong)
        );
    }

    #[test]
    fn only_objects_are_requests() {
        for bad in ["", "null", "[]", "1", "\"x\""] {
            assert!(
                matches!(
                    members(parse(bad.as_bytes()).unwrap()),
                    Err(ApiError::Serialization(None))
                ),
                "{bad}"
            );
        }
        assert!(matches!(
            parse(b"hello"),
            Err(ApiError::Serialization(None))
        ));
        let deep = "[".repeat(200_000);
        assert!(matches!(
            parse(deep.as_bytes()),
            Err(ApiError::Validation(_))
        ));
        assert!(members(parse(b"{}").unwrap()).is_ok());
    }
}
