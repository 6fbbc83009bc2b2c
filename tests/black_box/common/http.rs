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
    post_signed_for(address, Some(&unsigned(region)), operation, body).await
}

/// An `Authorization` that names a region and whose signature is nonsense.
pub fn unsigned(region: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/{region}/dynamodb/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=0"
    )
}

/// Now, as `X-Amz-Date` has it.
pub fn amz_date() -> String {
    let now = aws_sdk_dynamodb::primitives::DateTime::from(std::time::SystemTime::now());
    let now = now
        .fmt(aws_sdk_dynamodb::primitives::DateTimeFormat::DateTime)
        .expect("a date of this age");
    // 2026-11-24T12:30:00.123Z, less what stands between the digits.
    let digits = now.split('.').next().unwrap_or_default();
    let digits = digits.trim_end_matches('Z').replace(['-', ':'], "");
    format!("{digits}Z")
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
        .header("x-amz-date", amz_date());
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
    let mut request = Request::post("/")
        .header("host", address)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("x-amz-date", amz_date())
        .header("authorization", unsigned(region));
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

/// A connection on which a test writes and reads bytes itself.
pub struct Wire {
    stream: TcpStream,
    /// What came and was not read yet.
    ahead: Vec<u8>,
}

/// An answer as it came over a [`Wire`].
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: std::collections::BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Wire {
    pub async fn to(address: &str) -> Wire {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("it is connected");
        let ahead = Vec::new();
        Wire { stream, ahead }
    }

    /// Writes; the other side may have closed already, which its answer tells.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Reads one answer, and leaves what comes after it.
    pub async fn reply(&mut self) -> Reply {
        let reply = tokio::time::timeout(PATIENCE, self.read_reply()).await;
        reply.expect("an answer in time")
    }

    async fn read_reply(&mut self) -> Reply {
        let head = self.until(b"\r\n\r\n").await;
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let first = lines.next().expect("a status line");
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status in '{first}'"));
        let headers: std::collections::BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut body = Vec::new();
        if headers
            .get("transfer-encoding")
            .is_some_and(|v| v == "chunked")
        {
            loop {
                let size = self.until(b"\r\n").await;
                let size = String::from_utf8_lossy(&size);
                let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
                body.extend(self.exactly(size).await);
                self.until(b"\r\n").await;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = headers.get("content-length") {
            body = self.exactly(length.parse().expect("a length")).await;
        }
        Reply {
            status,
            headers,
            body,
        }
    }

    async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            let found = self.ahead.windows(end.len()).position(|w| w == end);
            if let Some(at) = found {
                return self.ahead.drain(..at + end.len()).collect();
            }
            self.more().await;
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            self.more().await;
        }
        self.ahead.drain(..length).collect()
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.ahead).await;
        let seen = String::from_utf8_lossy(&self.ahead);
        assert!(
            read.as_ref().is_ok_and(|n| *n > 0),
            "closed ({read:?}) after '{seen}'"
        );
    }

    /// Whether the other side closes now, having said nothing more.
    pub async fn closes(&mut self) -> bool {
        let mut rest = std::mem::take(&mut self.ahead);
        let closed = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        closed.is_ok() && rest.is_empty()
    }
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}
