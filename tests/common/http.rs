//! Requests that no SDK would send.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The exception's name without its namespace.
    pub fn exception(&self) -> String {
        let json = serde_json::from_str::<Value>(&self.body).unwrap_or_default();
        let kind = json["__type"].as_str().unwrap_or_default();
        kind.rsplit('#').next().unwrap_or_default().to_owned()
    }

    pub fn message(&self) -> String {
        let json = serde_json::from_str::<Value>(&self.body).unwrap_or_default();
        let message = json["message"].as_str().or(json["Message"].as_str());
        message.unwrap_or_default().to_owned()
    }
}

/// Posts a body as DynamoDB's operation `operation`, signed (badly) for `region`.
pub async fn post(address: &str, region: &str, operation: &str, body: impl Into<Bytes>) -> Answer {
    let signature = format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/{region}/dynamodb/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=0"
    );
    post_signed_for(address, Some(&signature), operation, body).await
}

/// Posts with any `Authorization`, or none.
pub async fn post_signed_for(
    address: &str,
    authorization: Option<&str>,
    operation: &str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::post("/")
        .header("host", address)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("x-amz-date", "20260101T000000Z");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Full::new(body.into())).expect("well formed");
    exchange(address, request).await.0
}

/// As [`post`], with more headers. Gives the headers of the answer too.
pub async fn post_with(
    address: &str,
    region: &str,
    operation: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> (Answer, HeaderMap) {
    let signature = format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/{region}/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0"
    );
    let mut request = Request::post("/")
        .header("host", address)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("x-amz-date", "20260101T000000Z")
        .header("authorization", signature);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).expect("well formed");
    exchange(address, request).await
}

/// Asks an admin port.
pub async fn admin(address: &str, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("host", address);
    let request = request.body(Full::new(body.into())).expect("well formed");
    exchange(address, request).await.0
}

async fn exchange(address: &str, request: Request<Full<Bytes>>) -> (Answer, HeaderMap) {
    let exchange = async {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.expect("it answers");
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = response.into_body().collect().await.expect("a whole body");
        connection.abort();
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        (Answer { status, body }, headers)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await;
    answer.expect("an answer in time")
}

/// Sends bytes that may be no HTTP at all, and reads whatever comes until the other side closes.
pub async fn raw(address: &str, bytes: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let mut answer = Vec::new();
        // The other side may close at any time: that is its answer.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await;
    answer.expect("the connection ends in time")
}
