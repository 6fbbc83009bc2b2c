//! The API over a real replica on a store in memory.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{Backend, RegionInfo, WriteFuture, http};
use crate::clock::{Now, RegionId};
use crate::replica::mutation::GroupId;
use crate::replica::request::WriteRequest;
use crate::replica::{ApiError, Job, JobResult, Replica, ReplicaConfig};
use crate::store::mem::MemStore;
use crate::store::{ReadTxn, Store};

/// 2026-11-23T00:00:00Z.
const START_US: u64 = 1_795_392_000_000_000;

struct TestBackend {
    store: Arc<dyn Store>,
    replica: Mutex<(Replica, Now)>,
    info: RegionInfo,
}

impl TestBackend {
    fn new() -> Arc<Self> {
        let topology = [(RegionId(0), "us-east-1".to_owned()), (RegionId(1), "eu-west-1".to_owned())];
        let store: Arc<dyn Store> = Arc::new(MemStore::new());
        let now = Now { wall_us: START_US, mono_us: 0 };
        let config = ReplicaConfig {
            region: RegionId(0),
            region_name: "us-east-1".into(),
            members: GroupId::of([RegionId(0), RegionId(1)]),
            replicate_all: false,
            planted: None,
        };
        let replica = Replica::open(store.clone(), config, now).unwrap();
        let info = RegionInfo {
            name: "us-east-1".into(),
            id: RegionId(0),
            account: "000000000000".into(),
            topology: topology.to_vec(),
        };
        Arc::new(TestBackend { store, replica: Mutex::new((replica, now)), info })
    }
}

impl Backend for TestBackend {
    fn region(&self) -> &RegionInfo {
        &self.info
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

    fn read(&self, reader: &mut dyn FnMut(&dyn ReadTxn) -> Result<(), ApiError>) -> Result<(), ApiError> {
        reader(self.store.begin_read()?.as_ref())
    }
}

const AUTHORIZATION: &str =
    "AWS4-HMAC-SHA256 Credential=key/20261123/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00";

fn request(operation: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post("/")
        .header("host", "localhost:8000")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-date", "20261123T000000Z")
        .header("authorization", AUTHORIZATION)
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap()
}

async fn send(backend: &TestBackend, request: Request<Full<Bytes>>) -> (u16, hyper::HeaderMap, Bytes) {
    let (parts, body) = http::answer(backend, request).await.into_parts();
    (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes())
}

async fn call(backend: &TestBackend, operation: &str, body: Value) -> (u16, Value) {
    let (status, _, bytes) = send(backend, request(operation, &body.to_string())).await;
    let json = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    (status, json)
}

/// The message of an operation that must fail.
async fn failure(backend: &TestBackend, operation: &str, body: Value) -> String {
    let (status, answer) = call(backend, operation, body).await;
    assert_eq!(status, 400, "{answer}");
    answer["message"].as_str().or(answer["Message"].as_str()).unwrap_or("").to_owned()
}

fn table(name: &str) -> Value {
    json!({
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    })
}

fn with(mut body: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn responses_carry_ids_and_checksums() {
    let backend = TestBackend::new();
    let (status, headers, body) = send(&backend, request("ListTables", "{}")).await;
    assert_eq!((status, body.as_ref()), (200, b"{\"TableNames\":[]}".as_ref()));
    assert_eq!(headers["content-type"], "application/x-amz-json-1.0");
    assert_eq!(headers["x-amz-crc32"], crc32fast::hash(&body).to_string().as_str());
    assert_eq!(headers["x-amzn-requestid"].len(), 52);
}

#[tokio::test]
async fn what_is_no_request_gets_404_and_get_is_the_health_check() {
    let backend = TestBackend::new();
    let get = |path: &str| Request::get(path).header("host", "here:1").body(Full::default()).unwrap();
    let (status, _, body) = send(&backend, get("/")).await;
    assert_eq!((status, body.as_ref()), (200, b"healthy: here:1".as_ref()));
    let (status, _, body) = send(&backend, get("/other")).await;
    assert_eq!((status, body.len()), (404, 29));
    let mut wrong = request("ListTables", "{}");
    wrong.headers_mut().insert("content-type", "text/plain".parse().unwrap());
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
    let kind = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["__type"].as_str().unwrap().to_owned();
    // Neither JSON nor a known operation: the JSON comes first.
    let (status, _, body) = send(&backend, request("Nothing", "{")).await;
    assert_eq!((status, kind(&body).as_str()), (400, "com.amazon.coral.service#SerializationException"));
    let (_, _, body) = send(&backend, request("ExecuteStatement", "{}")).await;
    assert_eq!(kind(&body), "com.amazon.coral.service#UnknownOperationException");
    let mut anonymous = request("ListTables", "");
    anonymous.headers_mut().remove("authorization");
    let (_, _, body) = send(&backend, anonymous).await;
    assert_eq!(kind(&body), "com.amazon.coral.service#MissingAuthenticationTokenException");
    for bad in ["", "null", "[]"] {
        let (status, _, body) = send(&backend, request("ListTables", bad)).await;
        assert_eq!((status, kind(&body).as_str()), (400, "com.amazon.coral.service#SerializationException"), "{bad}");
    }
}

#[tokio::test]
async fn a_table_lives_from_create_to_delete() {
    let backend = TestBackend::new();
    let (status, answer) = call(&backend, "CreateTable", table("abc")).await;
    assert_eq!(status, 200, "{answer}");
    let description = &answer["TableDescription"];
    assert_eq!(description["TableStatus"], "CREATING");
    assert_eq!(description["TableArn"], "arn:aws:dynamodb:us-east-1:000000000000:table/abc");
    assert_eq!(description["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST");
    assert!(description["CreationDateTime"].as_f64().unwrap() > 1.7e9);
    assert_eq!(description["TableId"].as_str().unwrap().len(), 36);
    assert!(description.get("Replicas").is_none() && description.get("GlobalSecondaryIndexes").is_none());
    assert_eq!(failure(&backend, "CreateTable", table("abc")).await, "Table already exists: abc");
    let arn = json!({"TableName": description["TableArn"]});
    let (_, answer) = call(&backend, "DescribeTable", arn).await;
    assert_eq!(answer["Table"]["TableStatus"], "ACTIVE");
    assert_eq!(answer["Table"]["TableId"], description["TableId"]);
    let (_, answer) = call(&backend, "DescribeTimeToLive", json!({"TableName": "abc"})).await;
    assert_eq!(answer, json!({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}));
    let (_, answer) = call(&backend, "DeleteTable", json!({"TableName": "abc"})).await;
    assert_eq!(answer["TableDescription"]["TableStatus"], "DELETING");
    assert!(answer["TableDescription"].get("KeySchema").is_none());
    let gone = failure(&backend, "DescribeTable", json!({"TableName": "abc"})).await;
    assert_eq!(gone, "Requested resource not found: Table: abc not found");
}

#[tokio::test]
async fn lists_are_paged_in_byte_order() {
    let backend = TestBackend::new();
    for name in ["bbb", "aaa", "Zzz"] {
        call(&backend, "CreateTable", table(name)).await;
    }
    let (_, answer) = call(&backend, "ListTables", json!({"Limit": 2})).await;
    assert_eq!(answer, json!({"TableNames": ["Zzz", "aaa"], "LastEvaluatedTableName": "aaa"}));
    let (_, answer) = call(&backend, "ListTables", json!({"Limit": 2, "ExclusiveStartTableName": "aaa"})).await;
    assert_eq!(answer, json!({"TableNames": ["bbb"]}));
    let text = failure(&backend, "ListTables", json!({"Limit": 101})).await;
    assert!(text.ends_with("Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100"));
}

#[tokio::test]
async fn invalid_tables_are_refused_in_dynamodbs_words() {
    let backend = TestBackend::new();
    let gsi = |keys: Value, projection: Value| {
        json!({
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "N"}],
            "GlobalSecondaryIndexes": [{"IndexName": "idx", "KeySchema": keys, "Projection": projection}],
        })
    };
    let g = json!([{"AttributeName": "g", "KeyType": "HASH"}]);
    let cases = [
        (json!({"TableName": null}), "The parameter 'TableName' is required but was not present in the request"),
        (
            json!({"TableName": "ab"}),
            "1 validation error detected: Value 'ab' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 3",
        ),
        (
            json!({"AttributeDefinitions": null, "KeySchema": []}),
            "2 validation errors detected: Value null at 'attributeDefinitions' failed to satisfy constraint: Member must not be null; \
             Value '[]' at 'keySchema' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            json!({"KeySchema": [{"AttributeName": "pk", "KeyType": "X"}]}),
            "1 validation error detected: Value 'X' at 'keySchema.1.member.keyType' failed to satisfy constraint: \
             Member must satisfy enum value set: [HASH, RANGE]",
        ),
        (
            json!({"BillingMode": "PROVISIONED"}),
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        ),
        (
            json!({"KeySchema": [{"AttributeName": "x", "KeyType": "HASH"}]}),
            "Invalid KeySchema: Some index key attribute have no definition",
        ),
        (
            gsi(json!([{"AttributeName": "c", "KeyType": "HASH"}]), json!({"ProjectionType": "ALL"})),
            "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. \
             Keys: [c], AttributeDefinitions: [pk, g]",
        ),
        (gsi(g.clone(), json!({})), "One or more parameter values were invalid: Unknown ProjectionType: null"),
        (
            gsi(g.clone(), json!({"ProjectionType": "ALL", "NonKeyAttributes": ["x"]})),
            "One or more parameter values were invalid: ProjectionType is ALL, but NonKeyAttributes is specified",
        ),
        (
            json!({"StreamSpecification": {"StreamEnabled": true}}),
            "One or more parameter values were invalid: Table is being created with a stream enabled, UpdateViewType is required",
        ),
        (json!({"KeySchema": {}}), "Start of structure or map found where not expected"),
    ];
    for (changes, expected) in cases {
        assert_eq!(failure(&backend, "CreateTable", with(table("abc"), changes.clone())).await, expected, "{changes}");
    }
    let good = with(table("abc"), gsi(g, json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]})));
    let (status, answer) = call(&backend, "CreateTable", good).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["TableDescription"]["GlobalSecondaryIndexes"][0]["IndexStatus"], "CREATING");
}

#[tokio::test]
async fn replicas_come_and_go_one_at_a_time() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", table("abc")).await;
    let update = |actions: Value| json!({"TableName": "abc", "ReplicaUpdates": actions});
    let create = |region: &str| update(json!([{"Create": {"RegionName": region}}]));
    let text = failure(&backend, "UpdateTable", create("us-east-1")).await;
    assert!(text.starts_with("Cannot add or delete the local region through ReplicaUpdates."));
    let text = failure(&backend, "UpdateTable", create("mars-1")).await;
    assert!(text.starts_with("Region mars-1 is not supported.") && text.ends_with("[eu-west-1, us-east-1]"), "{text}");
    let text = failure(&backend, "UpdateTable", update(json!([{"Delete": {"RegionName": "eu-west-1"}}]))).await;
    assert!(text.ends_with("Please retry the request without these replicas: [eu-west-1]."), "{text}");
    let both = with(create("eu-west-1"), json!({"DeletionProtectionEnabled": true}));
    let text = failure(&backend, "UpdateTable", both).await;
    assert!(text.ends_with("Replica modification must be the only operation in the request"), "{text}");

    let (status, answer) = call(&backend, "UpdateTable", create("eu-west-1")).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["TableDescription"]["TableStatus"], "UPDATING");
    let (_, answer) = call(&backend, "DescribeTable", json!({"TableName": "abc"})).await;
    assert_eq!(answer["Table"]["GlobalTableVersion"], "2019.11.21");
    assert_eq!(answer["Table"]["Replicas"], json!([{"RegionName": "eu-west-1", "ReplicaStatus": "ACTIVE"}]));
    assert!(failure(&backend, "UpdateTable", create("eu-west-1")).await.contains("already existed as tables"));

    let remove = update(json!([{"Delete": {"RegionName": "eu-west-1"}}]));
    assert_eq!(call(&backend, "UpdateTable", remove).await.0, 200);
    let (_, answer) = call(&backend, "DescribeTable", json!({"TableName": "abc"})).await;
    assert!(answer["Table"].get("Replicas").is_none() && answer["Table"].get("GlobalTableVersion").is_none());
}

#[tokio::test]
async fn update_table_changes_one_kind_of_thing() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", table("abc")).await;
    let update = |changes: Value| with(json!({"TableName": "abc"}), changes);
    assert!(failure(&backend, "UpdateTable", update(json!({}))).await.starts_with("At least one of ProvisionedThroughput"));
    let index = json!({"IndexName": "idx", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}});
    let create = json!({
        "AttributeDefinitions": [{"AttributeName": "g", "AttributeType": "S"}],
        "GlobalSecondaryIndexUpdates": [{"Create": index}],
    });
    let (status, answer) = call(&backend, "UpdateTable", update(create.clone())).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["TableDescription"]["GlobalSecondaryIndexes"][0]["IndexName"], "idx");
    assert_eq!(answer["TableDescription"]["AttributeDefinitions"].as_array().unwrap().len(), 2);
    assert_eq!(failure(&backend, "UpdateTable", update(create)).await, "Attempting to create an index which already exists");
    let units = json!({"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}, "BillingMode": "PROVISIONED"});
    let text = failure(&backend, "UpdateTable", update(units.clone())).await;
    assert_eq!(text, "One or more parameter values were invalid: ProvisionedThroughput is not specified for index: idx");
    let delete = json!({"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "idx"}}]});
    assert_eq!(call(&backend, "UpdateTable", update(delete.clone())).await.0, 200);
    assert_eq!(failure(&backend, "UpdateTable", update(delete)).await, "Requested resource not found");
    let (_, answer) = call(&backend, "UpdateTable", update(units.clone())).await;
    assert_eq!(answer["TableDescription"]["ProvisionedThroughput"]["WriteCapacityUnits"], 2);
    assert_eq!(answer["TableDescription"]["BillingModeSummary"]["BillingMode"], "PROVISIONED");
    assert!(failure(&backend, "UpdateTable", update(units)).await.starts_with("The provisioned throughput for the table will not change."));
    let protect = update(json!({"DeletionProtectionEnabled": true}));
    assert_eq!(call(&backend, "UpdateTable", protect).await.1["TableDescription"]["TableStatus"], "ACTIVE");
    assert!(failure(&backend, "DeleteTable", json!({"TableName": "abc"})).await.contains("protected against deletion"));
}

#[tokio::test]
async fn tags_are_kept() {
    let backend = TestBackend::new();
    let (_, answer) = call(&backend, "CreateTable", with(table("abc"), json!({"Tags": [{"Key": "a", "Value": "1"}]}))).await;
    let arn = answer["TableDescription"]["TableArn"].clone();
    let tags = json!({"ResourceArn": arn, "Tags": [{"Key": "b", "Value": "2"}]});
    assert_eq!(call(&backend, "TagResource", tags).await, (200, Value::Null));
    assert_eq!(call(&backend, "UntagResource", json!({"ResourceArn": arn, "TagKeys": ["a"]})).await, (200, Value::Null));
    let (_, answer) = call(&backend, "ListTagsOfResource", json!({"ResourceArn": arn})).await;
    assert_eq!(answer, json!({"Tags": [{"Key": "b", "Value": "2"}]}));
}

/// Starts a server and returns a connection to it.
async fn connected(shutdown: &CancellationToken) -> (tokio::net::TcpStream, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(super::serve(listener, TestBackend::new(), shutdown.clone()));
    (tokio::net::TcpStream::connect(address).await.unwrap(), server)
}

fn raw(framing: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\nX-Amz-Date: x\r\n\
         Content-Type: application/x-amz-json-1.0\r\nAuthorization: {AUTHORIZATION}\r\n{framing}\r\n\r\n"
    )
}

#[tokio::test]
async fn connections_are_kept_and_shutdown_ends_them() {
    let shutdown = CancellationToken::new();
    let (mut stream, server) = connected(&shutdown).await;
    for _ in 0..2 {
        stream.write_all(raw("Content-Length: 2").as_bytes()).await.unwrap();
        stream.write_all(b"{}").await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"{\"TableNames\":[]}") {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "closed too early");
        }
        assert!(seen.starts_with(b"HTTP/1.1 200"));
    }
    shutdown.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn chunked_bodies_are_limited_too() {
    let shutdown = CancellationToken::new();
    let (stream, server) = connected(&shutdown).await;
    let (mut from, mut to) = stream.into_split();
    let writer = tokio::spawn(async move {
        to.write_all(raw("Transfer-Encoding: chunked").as_bytes()).await.unwrap();
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
        assert_ne!(from.read_buf(&mut seen).await.unwrap(), 0, "closed too early");
    }
    assert!(seen.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&seen));
    drop(writer.await.unwrap());
    shutdown.cancel();
    server.await.unwrap();
}
