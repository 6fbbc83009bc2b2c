//! HTTP over a real replica on a store in memory; the harness of the operations' tests.

// Real sockets.
#![allow(clippy::disallowed_methods)]

mod model;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{Backend, Keys, Limits, RegionInfo, Regions, WriteFuture, http};
use crate::clock::{Now, RegionId, Stamp};
use crate::replica::manifest::Manifest;
use crate::replica::members::{Progress, Report};
use crate::replica::mutation::{Change, Commit, Dot, GroupId, LogId, Mutation, Origin};
use crate::replica::request::WriteRequest;
use crate::replica::ttl::TtlSettings;
use crate::replica::{ApiError, Job, JobResult, Replica, ReplicaConfig, log, read};
use crate::store::mem::MemStore;
use crate::store::{ReadTxn, Store};

/// 2026-11-23T00:00:00Z.
const START_US: u64 = 1_795_392_000_000_000;

pub(crate) struct TestBackend {
    store: Arc<dyn Store>,
    replica: Mutex<(Replica, Now)>,
    info: RegionInfo,
}

impl TestBackend {
    pub(crate) fn new() -> Arc<Self> {
        let topology = [
            (RegionId(0), "us-east-1".to_owned()),
            (RegionId(1), "eu-west-1".to_owned()),
        ];
        let store: Arc<dyn Store> = Arc::new(MemStore::new());
        let now = Now {
            wall_us: START_US,
            mono_us: 0,
        };
        let config = ReplicaConfig {
            region: RegionId(0),
            region_name: "us-east-1".into(),
            manifest: Manifest::of([0; 16], GroupId::of([RegionId(0), RegionId(1)])),
            replicate_all: false,
            retention: Default::default(),
            ttl: TtlSettings::default(),
            table_delay_us: 0,
            aws_waits: false,
            conflicts: crate::replica::conflict::Retention::default(),
            planted: None,
            limits: Default::default(),
        };
        let replica = Replica::open(store.clone(), config, now, 0).unwrap();
        let info = RegionInfo {
            name: "us-east-1".into(),
            id: RegionId(0),
            account: "000000000000".into(),
            topology: Regions::new(topology.to_vec()),
        };
        Arc::new(TestBackend {
            store,
            replica: Mutex::new((replica, now)),
            info,
        })
    }
}

impl TestBackend {
    /// What eu-west-1 would say in time of its replica of a table.
    pub(crate) fn reports(&self, table: &str, progress: Progress) {
        let mut seq = 1;
        let region = RegionId(1);
        let origin = Origin {
            region,
            incarnation: 1,
        };
        let txn = self.store.begin_read().unwrap();
        let def = read::table(&*txn, RegionId(0), table).unwrap().unwrap();
        let log = LogId {
            group: def.group.with(region),
            origin,
        };
        seq += log::frontier(&*txn)
            .unwrap()
            .get(&log)
            .copied()
            .unwrap_or(0);
        drop(txn);
        let (replica, now) = &mut *self.replica.lock().unwrap();
        now.wall_us += 1000;
        let added = def.member(region).unwrap().added;
        let change = Change::Report {
            table: def.uid,
            report: Report { added, progress },
        };
        let commit = Commit {
            dot: Dot { log, seq },
            issued: Stamp {
                physical_us: now.wall_us,
                logical: 0,
                region,
            },
            context: None,
            mutations: vec![Mutation {
                version: None,
                change,
            }],
        };
        let mut txn = self.store.begin_write().unwrap();
        let job = Job::Remote(vec![log::seal(&commit)]);
        let results = replica.run_group(txn.as_mut(), *now, vec![job]).unwrap();
        assert!(matches!(results.as_slice(), [JobResult::Remote(Ok(()))]));
        txn.commit().unwrap();
        replica.committed();
    }

    /// Lets time pass and the chores that it brings be done.
    pub(crate) fn pass(&self, us: u64) {
        let (replica, now) = &mut *self.replica.lock().unwrap();
        now.wall_us += us;
        now.mono_us += us;
        loop {
            let mut txn = self.store.begin_write().unwrap();
            replica.run_group(txn.as_mut(), *now, Vec::new()).unwrap();
            txn.commit().unwrap();
            replica.committed();
            if !replica.has_chores() {
                return;
            }
        }
    }
}

impl Backend for TestBackend {
    fn region(&self) -> &RegionInfo {
        &self.info
    }

    fn keys(&self) -> &Keys {
        &Keys::Any
    }

    fn write(&self, request: WriteRequest) -> WriteFuture<'_> {
        Box::pin(async move {
            let (replica, now) = &mut *self.replica.lock().unwrap();
            now.wall_us += 1000;
            let mut txn = self.store.begin_write()?;
            let mut results = replica.run_group(txn.as_mut(), *now, vec![Job::Write(request)])?;
            txn.commit()?;
            replica.committed();
            match results.pop() {
                Some(JobResult::Write(result)) => result,
                _ => panic!("one write has one result"),
            }
        })
    }

    fn read(
        &self,
        reader: &mut dyn FnMut(&dyn ReadTxn) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        reader(self.store.begin_read()?.as_ref())
    }
}

const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=key/20261123/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00";

/// Requests are dated by the real clock.
fn date() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    super::auth::date_of(since.unwrap().as_secs())
}

/// A request of an operation; one with a dot is a whole target.
fn request(operation: &str, body: &str) -> Request<Full<Bytes>> {
    let target = match operation.contains('.') {
        true => operation.to_owned(),
        false => format!("DynamoDB_20120810.{operation}"),
    };
    Request::post("/")
        .header("host", "localhost:8000")
        .header("x-amz-target", target)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-date", date())
        .header("authorization", AUTHORIZATION)
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap()
}

async fn send(
    backend: &TestBackend,
    request: Request<Full<Bytes>>,
) -> (u16, hyper::HeaderMap, Bytes) {
    let (parts, body) = http::answer(backend, request, Limits::default().body_read)
        .await
        .into_parts();
    (
        parts.status.as_u16(),
        parts.headers,
        body.collect().await.unwrap().to_bytes(),
    )
}

pub(crate) async fn call(backend: &TestBackend, operation: &str, body: Value) -> (u16, Value) {
    let (status, _, bytes) = send(backend, request(operation, &body.to_string())).await;
    let json = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap()
    };
    (status, json)
}

#[tokio::test]
async fn responses_carry_ids_and_checksums() {
    let backend = TestBackend::new();
    let (status, headers, body) = send(&backend, request("ListTables", "{}")).await;
    assert_eq!(
        (status, body.as_ref()),
        (200, b"{\"TableNames\":[]}".as_ref())
    );
    assert_eq!(headers["content-type"], "application/x-amz-json-1.0");
    assert_eq!(
        headers["x-amz-crc32"],
        crc32fast::hash(&body).to_string().as_str()
    );
    assert_eq!(headers["x-amzn-requestid"].len(), 52);
}

#[tokio::test]
async fn what_is_no_request_gets_404_and_get_is_the_health_check() {
    let backend = TestBackend::new();
    let get = |path: &str| {
        Request::get(path)
            .header("host", "here:1")
            .body(Full::default())
            .unwrap()
    };
    let (status, _, body) = send(&backend, get("/")).await;
    assert_eq!((status, body.as_ref()), (200, b"healthy: here:1".as_ref()));
    let (status, _, body) = send(&backend, get("/other")).await;
    assert_eq!((status, body.len()), (404, 29));
    let mut wrong = request("ListTables", "{}");
    wrong
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(send(&backend, wrong).await.0, 404);
    let preflight = Request::options("/")
        .header("origin", "http://x")
        .header("access-control-request-method", "POST")
        .body(Full::default())
        .unwrap();
    let (status, headers, _) = send(&backend, preflight).await;
    assert_eq!(status, 200);
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert_eq!(headers["access-control-allow-methods"], "POST");
    assert_eq!(headers["access-control-max-age"], "172800");
}

#[tokio::test]
async fn checks_come_in_dynamodbs_order() {
    let backend = TestBackend::new();
    let kind = |body: &[u8]| {
        serde_json::from_slice::<Value>(body).unwrap()["__type"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // Neither JSON nor a known operation: the JSON comes first.
    let (status, _, body) = send(&backend, request("Nothing", "{")).await;
    assert_eq!(
        (status, kind(&body).as_str()),
        (400, "com.amazon.coral.service#SerializationException")
    );
    let (_, _, body) = send(&backend, request("StartBulkPutItems", "{}")).await;
    assert_eq!(
        kind(&body),
        "com.amazon.coral.service#UnknownOperationException"
    );
    let mut anonymous = request("ListTables", "");
    anonymous.headers_mut().remove("authorization");
    let (_, _, body) = send(&backend, anonymous).await;
    assert_eq!(
        kind(&body),
        "com.amazon.coral.service#MissingAuthenticationTokenException"
    );
    for bad in ["", "null", "[]"] {
        let (status, _, body) = send(&backend, request("ListTables", bad)).await;
        assert_eq!(
            (status, kind(&body).as_str()),
            (400, "com.amazon.coral.service#SerializationException"),
            "{bad}"
        );
    }
}

/// Starts a server and returns a connection to it.
async fn connected(
    shutdown: &CancellationToken,
    limits: Limits,
) -> (tokio::net::TcpStream, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = TestBackend::new();
    let server = tokio::spawn(super::serve(listener, backend, limits, shutdown.clone()));
    (
        tokio::net::TcpStream::connect(address).await.unwrap(),
        server,
    )
}

fn raw(framing: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\nX-Amz-Date: {}\r\n\
         Content-Type: application/x-amz-json-1.0\r\nAuthorization: {AUTHORIZATION}\r\n{framing}\r\n\r\n",
        date()
    )
}

#[tokio::test]
async fn connections_are_kept_and_shutdown_ends_them() {
    let shutdown = CancellationToken::new();
    let (mut stream, server) = connected(&shutdown, Limits::default()).await;
    for _ in 0..2 {
        stream
            .write_all(raw("Content-Length: 2").as_bytes())
            .await
            .unwrap();
        stream.write_all(b"{}").await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"{\"TableNames\":[]}") {
            assert_ne!(
                stream.read_buf(&mut seen).await.unwrap(),
                0,
                "closed too early"
            );
        }
        assert!(seen.starts_with(b"HTTP/1.1 200"));
    }
    shutdown.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn chunked_bodies_are_limited_too() {
    let shutdown = CancellationToken::new();
    let (stream, server) = connected(&shutdown, Limits::default()).await;
    let (mut from, mut to) = stream.into_split();
    let writer = tokio::spawn(async move {
        to.write_all(raw("Transfer-Encoding: chunked").as_bytes())
            .await
            .unwrap();
        let mut chunk = b"100000\r\n".to_vec();
        chunk.resize(chunk.len() + 0x10_0000, b' ');
        chunk.extend(b"\r\n");
        for _ in 0..17 {
            to.write_all(&chunk).await.unwrap();
        }
        to.write_all(b"0\r\n\r\n").await.unwrap();
        to
    });
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        assert_ne!(
            from.read_buf(&mut seen).await.unwrap(),
            0,
            "closed too early"
        );
    }
    assert!(
        seen.starts_with(b"HTTP/1.1 413"),
        "{}",
        String::from_utf8_lossy(&seen)
    );
    drop(writer.await.unwrap());
    shutdown.cancel();
    server.await.unwrap();
}

/// What comes until the other side closes.
async fn until_closed(stream: &mut tokio::net::TcpStream) -> String {
    let mut seen = Vec::new();
    // A reset ends it as well as a close.
    let _ = stream.read_to_end(&mut seen).await;
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let short = std::time::Duration::from_millis(100);
    let limits = Limits {
        head_read: short,
        body_read: short,
        ..Limits::default()
    };
    let shutdown = CancellationToken::new();
    // Nothing, a part of HTTP/2's preface, half a head: closed without a word.
    for begun in ["", "PR", "POST / HTTP/1.1\r\nHost"] {
        let (mut stream, _server) = connected(&shutdown, limits).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, "", "{begun}");
    }
    // Half a body: told so, then closed.
    for framing in [
        "Content-Length: 9",
        "Transfer-Encoding: chunked",
        "Content-Length: 9\r\nExpect: 100-continue",
    ] {
        let (mut stream, _server) = connected(&shutdown, limits).await;
        stream.write_all(raw(framing).as_bytes()).await.unwrap();
        let said = until_closed(&mut stream).await;
        assert!(said.contains("HTTP/1.1 408"), "{framing}: {said}");
    }
    // Kept, and then silent.
    let (mut stream, _server) = connected(&shutdown, limits).await;
    stream
        .write_all(format!("{}{{}}", raw("Content-Length: 2")).as_bytes())
        .await
        .unwrap();
    let said = until_closed(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    shutdown.cancel();
}
