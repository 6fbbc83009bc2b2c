//! A small HTTP client for the admin ports: one request, one JSON answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long an admin port may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends `body` (or nothing) to `http://{address}{path}`; the answer as JSON, or why there is none.
pub async fn call(
    address: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, String> {
    let (status, answer) = ask(address, method, path, body).await?;
    if status.is_success() {
        return Ok(answer);
    }
    let error = answer.get("error").or(Some(&answer));
    let error = error.and_then(Value::as_str).map(str::to_owned);
    Err(error.unwrap_or_else(|| answer.to_string()))
}

/// The same, where a refusal is an answer too.
pub async fn ask(
    address: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(StatusCode, Value), String> {
    let json = [("content-type", "application/json".to_owned())];
    in_time(exchange(address, method, path, &json, body)).await
}

/// Posts `body` with these headers; a refusal is an answer too.
pub async fn post(
    address: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &Value,
) -> Result<(StatusCode, Value), String> {
    in_time(exchange(address, Method::POST, path, headers, Some(body))).await
}

async fn in_time<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(TIMEOUT, answer)
        .await
        .map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))?
}

async fn exchange(
    address: &str,
    method: Method,
    path: &str,
    headers: &[(&str, String)],
    body: Option<&Value>,
) -> Result<(StatusCode, Value), String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|e| e.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| e.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|e| e.to_string())?;
    let status = response.status();
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(|e| e.to_string())?
        .to_bytes();
    connection.abort();
    match serde_json::from_slice(&bytes) {
        Ok(answer) => Ok((status, answer)),
        Err(_) if !status.is_success() => Ok((status, String::from_utf8_lossy(&bytes).into())),
        Err(error) => Err(format!("the answer is not JSON: {error}")),
    }
}
