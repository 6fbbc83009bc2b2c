//! One HTTP request to one HTTP response (errors-and-validation.md sections 1 and 3).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use super::auth::{self, Caller, SignedRequest};
use super::body::{self, BodyError};
use super::compression::{self, ANSWER_BYTES_MIN, DecodeError};
use super::operations::RequestContext;
use super::session::{SESSION, Session};
use super::{Backend, error, measure, operations};
use crate::replica::ApiError;

const JSON_AMZ: &str = "application/x-amz-json-1.0";
const JSON: &str = "application/json";
/// The answer to what is no DynamoDB request at all.
const UNKNOWN: &[u8] = b"<UnknownOperationException/>\n";
/// DynamoDB refuses longer header blocks and request lines with 400.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How long browsers may cache a preflight answer, in seconds.
const CORS_MAX_AGE: &str = "172800";
/// The headers that scripts in browsers may read.
const CORS_EXPOSED: &str = "x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date";
/// The same, with a session's.
const CORS_EXPOSED_SESSION: &str =
    "x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date,x-meridian-session";
const REQUEST_ID_CHARS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const REQUEST_ID_LENGTH: usize = 52;

/// A whole answer.
pub type Reply = Response<Full<Bytes>>;

/// Answers one request. Never fails: every failure is a response.
pub(crate) async fn answer<B>(
    backend: &dyn Backend,
    request: Request<B>,
    body_read_max: Duration,
) -> Reply
where
    B: Body<Data = Bytes> + Unpin,
{
    let (parts, incoming) = request.into_parts();
    let origin = parts.headers.contains_key(header::ORIGIN);
    let mut reply = if header_bytes(&parts) > HEADER_BYTES_MAX {
        plain(StatusCode::BAD_REQUEST, Bytes::new())
    } else {
        match body::collect(incoming, body_read_max).await {
            Ok(bytes) => route(backend, &parts, bytes).await,
            Err(BodyError::TooLong) => too_large(parts.version),
            Err(BodyError::TooSlow) => plain(StatusCode::REQUEST_TIMEOUT, Bytes::new()),
            Err(BodyError::Broken) => plain(StatusCode::BAD_REQUEST, Bytes::new()),
        }
    };
    if origin {
        reply.headers_mut().insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
        let exposed = match reply.headers().contains_key(SESSION) {
            true => CORS_EXPOSED_SESSION,
            false => CORS_EXPOSED,
        };
        reply.headers_mut().insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(exposed),
        );
    }
    reply
}

/// The size of the request line and the headers as HTTP/1.1 writes them.
fn header_bytes(parts: &hyper::http::request::Parts) -> usize {
    let line =
        parts.method.as_str().len() + parts.uri.path_and_query().map_or(0, |p| p.as_str().len());
    parts.headers.iter().fold(line, |sum, (name, value)| {
        sum + name.as_str().len() + value.len() + 4
    })
}

/// Method, path and content type decide what kind of request this is.
async fn route(backend: &dyn Backend, parts: &hyper::http::request::Parts, bytes: Bytes) -> Reply {
    let headers = &parts.headers;
    match parts.method {
        Method::GET if parts.uri.path() == "/" => {
            let text = format!("healthy: {}", host(parts).unwrap_or_default());
            plain(StatusCode::OK, Bytes::from(text))
        }
        Method::OPTIONS if headers.contains_key(header::ORIGIN) => preflight(headers),
        Method::POST if parts.uri.path() == "/" => {
            let content_type = content_type(headers);
            if !bytes.is_empty() && content_type != JSON && content_type != JSON_AMZ {
                return plain(StatusCode::NOT_FOUND, Bytes::from_static(UNKNOWN));
            }
            let decoded = match compression::decode(headers, bytes.clone()) {
                Ok(decoded) => decoded,
                Err(DecodeError::TooLong) => return too_large(parts.version),
                Err(DecodeError::Unreadable) => return unreadable(),
            };
            let answer_type = if content_type == JSON_AMZ {
                JSON_AMZ
            } else {
                JSON
            };
            let sent = Sent {
                parts,
                bytes: &bytes,
                decoded: &decoded,
            };
            operation(backend, sent, answer_type).await
        }
        _ => plain(StatusCode::NOT_FOUND, Bytes::from_static(UNKNOWN)),
    }
}

/// The media type, without parameters.
fn content_type(headers: &HeaderMap) -> &str {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// The name by which the client reached us.
fn host(parts: &hyper::http::request::Parts) -> Option<&str> {
    let header = parts
        .headers
        .get(header::HOST)
        .and_then(|v| v.to_str().ok());
    header.or_else(|| {
        parts
            .uri
            .authority()
            .map(hyper::http::uri::Authority::as_str)
    })
}

/// The answer to a CORS preflight.
fn preflight(headers: &HeaderMap) -> Reply {
    let mut reply = plain(StatusCode::OK, Bytes::new());
    let echoed = [
        (
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
        ),
        (
            header::ACCESS_CONTROL_REQUEST_METHOD,
            header::ACCESS_CONTROL_ALLOW_METHODS,
        ),
    ];
    for (asked, allowed) in echoed {
        if let Some(value) = headers.get(asked) {
            reply.headers_mut().insert(allowed, value.clone());
        }
    }
    reply.headers_mut().insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static(CORS_MAX_AGE),
    );
    reply
}

/// Runs the operation that `X-Amz-Target` names.
async fn operation(backend: &dyn Backend, sent: Sent<'_>, content_type: &'static str) -> Reply {
    let began = Instant::now();
    let mut session = None;
    let result = execute(backend, sent, &mut session).await;
    measure::request(backend, &sent.parts.headers, &result, began.elapsed());
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body),
        Err(failure) => {
            if matches!(
                failure,
                ApiError::InternalServer(_) | ApiError::ServiceUnavailable(_)
            ) {
                tracing::error!(error = %failure, "request failed");
            }
            error::render(&failure)
        }
    };
    // A refused write may tell what was there, so it has a token too.
    let token = session.map(|session| session.token(backend));
    let (status, body, token) = match token.transpose() {
        Ok(token) => (status, body, token),
        Err(failure) => {
            let (status, body) = error::render(&failure);
            (status, body, None)
        }
    };
    let mut reply = encoded(&sent.parts.headers, status, body);
    if let Some(token) = token {
        reply.headers_mut().insert(SESSION, token);
    }
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A request to run: its head, and its body as it was sent and as it is meant.
#[derive(Clone, Copy)]
struct Sent<'a> {
    parts: &'a hyper::http::request::Parts,
    bytes: &'a [u8],
    decoded: &'a [u8],
}

/// Checks in DynamoDB's order: JSON, target, authentication, then the members. A session waits between the
/// last two; `session` is set once it has come so far.
async fn execute(
    backend: &dyn Backend,
    sent: Sent<'_>,
    session: &mut Option<Session>,
) -> Result<Vec<u8>, ApiError> {
    let parts = sent.parts;
    let json = body::parse(sent.decoded)?;
    let target = parts
        .headers
        .get("x-amz-target")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let operation = operations::Operation::from_target(target).ok_or(ApiError::UnknownOperation)?;
    let signed = SignedRequest {
        method: &parts.method,
        query: parts.uri.query(),
        headers: &parts.headers,
        authority: parts
            .uri
            .authority()
            .map(hyper::http::uri::Authority::as_str),
        body: sent.bytes,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    let caller = auth::authenticate(&signed, backend.region(), backend.keys(), now)?;
    if let Some(asked) = Session::of(&parts.headers)? {
        asked.reach(backend).await?;
        *session = Some(asked);
    }
    let context = RequestContext {
        caller,
        host: host(parts).map(str::to_owned),
    };
    operations::run(operation, backend, body::members(json)?, &context).await
}

/// The answer to a body of an operation, past HTTP and signatures: for what tests requests by the million.
#[doc(hidden)]
pub async fn answer_to(backend: &dyn Backend, target: &str, body: &[u8]) -> (StatusCode, Vec<u8>) {
    let context = RequestContext {
        caller: Caller {
            access_key: String::new(),
        },
        host: None,
    };
    let result = async {
        let json = body::parse(body)?;
        let operation =
            operations::Operation::from_target(target).ok_or(ApiError::UnknownOperation)?;
        operations::run(operation, backend, body::members(json)?, &context).await
    };
    match result.await {
        Ok(body) => (StatusCode::OK, body),
        Err(failure) => error::render(&failure),
    }
}

/// An exception as an answer, for what stands before a region.
pub fn refusal(failure: &ApiError) -> Reply {
    let (status, body) = error::render(failure);
    let mut reply = plain(status, Bytes::from(body));
    let kind = HeaderValue::from_static(JSON_AMZ);
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    reply
}

/// The answer to a body over the limit; DynamoDB sends it chunked, where there are chunks.
fn too_large(version: Version) -> Reply {
    let mut reply = plain(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new());
    if version == Version::HTTP_11 {
        let chunked = HeaderValue::from_static("chunked");
        reply
            .headers_mut()
            .insert(header::TRANSFER_ENCODING, chunked);
    }
    reply
}

/// AWS's answer to a body that its Content-Encoding does not describe.
fn unreadable() -> Reply {
    let text = "The request body could not be decoded";
    refusal(&ApiError::InternalServer(text.into()))
}

/// The answer in the coding that the client asked for, if it is long enough to gain by it.
fn encoded(headers: &HeaderMap, status: StatusCode, body: Vec<u8>) -> Reply {
    let coding = compression::accepted(headers).filter(|_| body.len() > ANSWER_BYTES_MIN);
    let Some((coding, short)) = coding.and_then(|c| Some((c, compression::encode(c, &body)?)))
    else {
        return plain(status, Bytes::from(body));
    };
    let mut reply = plain(status, Bytes::from(short));
    let name = HeaderValue::from_static(coding.name());
    reply.headers_mut().insert(header::CONTENT_ENCODING, name);
    reply
}

/// A response with the headers that all have.
fn plain(status: StatusCode, body: Bytes) -> Reply {
    let crc = crc32fast::hash(&body);
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(
        HeaderName::from_static("x-amz-crc32"),
        HeaderValue::from(crc),
    );
    headers.insert(header::SERVER, HeaderValue::from_static("Server"));
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    reply
}

fn request_id() -> String {
    let character = |_| fastrand::choice(REQUEST_ID_CHARS).copied().unwrap_or(b'0');
    (0..REQUEST_ID_LENGTH)
        .map(character)
        .map(char::from)
        .collect()
}
