//! Regions in one process, over real loopback sockets.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::api::Keys;
use crate::config::Topology;
use crate::item::{Item, KeyAttribute, KeySchema, KeyType, Number, Value};
use crate::replica::ApiError;
use crate::replica::catalog::{TableDef, TableUid, TimeToLive};
use crate::replica::mutation::GroupId;
use crate::replica::read;
use crate::replica::request::{ItemWrite, WriteAction, WriteRequest, WriteResponse};
use crate::transport::{Cut, DevCa, LinkFault};

const PATIENCE: Duration = Duration::from_secs(15);
const TABLE: &str = "carts";

/// The built-in topology on free ports, and the sockets that hold those ports.
async fn place() -> (Topology, Vec<(TcpListener, TcpListener, UdpSocket)>) {
    let mut topology = Topology::builtin_local();
    let mut sockets = Vec::new();
    for region in &mut topology.regions {
        let client = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let admin = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let gossip = UdpSocket::bind("127.0.0.1:0").expect("binds");
        region.endpoint = Some(client.local_addr().expect("bound").to_string());
        region.gossip = Some(gossip.local_addr().expect("bound").to_string());
        region.admin = Some(admin.local_addr().expect("bound").to_string());
        sockets.push((client, admin, gossip));
    }
    (topology, sockets)
}

async fn cluster() -> Vec<Region> {
    let (topology, sockets) = place().await;
    let ca = DevCa::mint(&topology.cluster_id).expect("mints");
    let mut regions = Vec::new();
    for (spec, (client, admin, gossip)) in topology.regions.iter().zip(sockets) {
        let identity = ca.issue(&spec.name).expect("issues");
        let config = RegionConfig {
            topology: topology.clone(),
            region: spec.name.clone(),
            data: None,
            tuning: Tuning::default(),
            identity: Some(IdentitySource::Ready(identity)),
            keys: Keys::Any,
            client,
            admin,
            gossip,
            pins_addresses: true,
        };
        regions.push(Region::start(config).await.expect("starts"));
    }
    for region in &regions {
        region.settled().await;
    }
    regions
}

fn table() -> TableDef {
    let key = KeyAttribute {
        name: "id".to_string(),
        kind: KeyType::S,
    };
    TableDef {
        name: TABLE.to_string(),
        uid: TableUid(0),
        group: GroupId(0),
        attributes: vec![key],
        keys: KeySchema::simple(("id", KeyType::S), None),
        indexes: Vec::new(),
        created_us: 0,
        updated_us: 0,
        throughput: None,
        stream_view: None,
        stream_us: None,
        protected: GroupId(0),
        members: Vec::new(),
        ttl: TimeToLive::default(),
        recorded: Vec::new(),
        next_index: 0,
        merging: Default::default(),
    }
}

fn cart(id: &str, n: i64) -> Item {
    let number = Value::N(Number::from(n));
    Item::from([
        ("id".to_string(), Value::S(id.to_string())),
        ("n".to_string(), number),
    ])
}

async fn create(region: &Region) {
    let def = Box::new(table());
    let created = region
        .backend()
        .write(WriteRequest::CreateTable {
            def,
            local: Box::default(),
        })
        .await
        .expect("creates");
    assert!(matches!(created, WriteResponse::Table(_)));
}

async fn put(region: &Region, item: Item) -> Result<WriteResponse, ApiError> {
    let write = ItemWrite {
        table: TABLE.to_string(),
        action: WriteAction::Put { item },
        condition: None,
        return_old_on_failure: false,
    };
    region.backend().write(WriteRequest::Item(write)).await
}

fn get(region: &Region, id: &str) -> Option<Item> {
    let backend = region.backend();
    let key = Item::from([("id".to_string(), Value::S(id.to_string()))]);
    let mut found = None;
    backend
        .read(&mut |txn| {
            if let Some(def) = read::table(txn, backend.region().id, TABLE)? {
                found = read::get(txn, &def, &key)?;
            }
            Ok(())
        })
        .expect("reads");
    found
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_connected(regions: &[Region]) {
    until("all links up", || {
        regions.iter().all(|region| {
            let status = region.status().expect("reports");
            let links = status["links"].as_array().expect("links").clone();
            links.iter().all(|link| link["connected"] == true)
        })
    })
    .await;
}

/// One request over a plain socket: what curl would send.
async fn http(address: &str, method: &str, path: &str, extra: &str, body: &str) -> (u16, Json) {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{extra}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).expect("a status line");
    let json = serde_json::from_str(body).expect("JSON");
    (code.parse().expect("a code"), json)
}

async fn fault(region: &Region, body: Json) -> Json {
    let (code, answer) = http(region.admin(), "POST", "/fault", "", &body.to_string()).await;
    assert_eq!(code, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_reach_every_region() {
    let regions = cluster().await;
    until_connected(&regions).await;
    create(&regions[0]).await;
    put(&regions[0], cart("a", 1)).await.expect("puts");
    until("a is everywhere", || {
        regions
            .iter()
            .all(|r| get(r, "a").as_ref() == Some(&cart("a", 1)))
    })
    .await;
    put(&regions[2], cart("a", 2)).await.expect("puts");
    until("the newer a is everywhere", || {
        regions
            .iter()
            .all(|r| get(r, "a").as_ref() == Some(&cart("a", 2)))
    })
    .await;
    let status = regions[1].status().expect("reports");
    assert_eq!(status["tables"][0]["items"], 1);
    assert_eq!(status["conflicts"], 0, "the second put saw the first");
    assert!(status["frontier"]["us-east-1"].as_u64() >= Some(2));
    for region in regions {
        region.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_pair_hears_each_other_through_the_third() {
    let regions = cluster().await;
    until_connected(&regions).await;
    create(&regions[0]).await;
    fault(&regions[0], json!({"peer": "eu-west-1", "cut": "both"})).await;
    fault(&regions[1], json!({"peer": "us-east-1", "cut": "both"})).await;
    put(&regions[0], cart("a", 7)).await.expect("puts");
    until("a is relayed", || {
        get(&regions[1], "a") == Some(cart("a", 7))
    })
    .await;
    fault(&regions[0], json!({"reset": true})).await;
    fault(&regions[1], json!({"reset": true})).await;
    until_connected(&regions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_makes_a_conflict_that_both_sides_show() {
    let regions = cluster().await;
    until_connected(&regions).await;
    create(&regions[0]).await;
    put(&regions[0], cart("a", 0)).await.expect("puts");
    until("a is everywhere", || {
        regions.iter().all(|r| get(r, "a").is_some())
    })
    .await;
    for region in &regions {
        fault(region, json!({"cut": "both"})).await;
    }
    put(&regions[0], cart("a", 1)).await.expect("puts");
    put(&regions[1], cart("a", 2)).await.expect("puts");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(get(&regions[0], "a"), Some(cart("a", 1)));
    for region in &regions {
        fault(region, json!({"cut": "none"})).await;
    }
    until("the later put won everywhere", || {
        regions
            .iter()
            .all(|r| get(r, "a").as_ref() == Some(&cart("a", 2)))
    })
    .await;
    let path = format!("/conflicts?table={TABLE}&limit=5");
    let (code, listed) = http(regions[0].admin(), "GET", &path, "", "").await;
    assert_eq!(code, 200);
    let conflict = &listed["conflicts"][0];
    assert_eq!(conflict["key"], json!({"id": {"S": "a"}}));
    assert_eq!(conflict["winner"]["region"], "eu-west-1");
    assert_eq!(conflict["winner"]["item"]["n"], json!({"N": "2"}));
    assert_eq!(conflict["loser"]["region"], "us-east-1");
    assert_eq!(conflict["loser"]["item"]["n"], json!({"N": "1"}));
    let (_, none) = http(regions[0].admin(), "GET", "/conflicts?table=x", "", "").await;
    assert_eq!(none["conflicts"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn delay_shows_in_the_measured_round_trip() {
    let regions = cluster().await;
    until_connected(&regions).await;
    fault(
        &regions[0],
        json!({"peer": "ap-northeast-1", "rtt_ms": 120}),
    )
    .await;
    fault(&regions[2], json!({"peer": "us-east-1", "rtt_ms": 120})).await;
    until("the round trip is 120 ms", || {
        let status = regions[0].status().expect("reports");
        let links = status["links"].as_array().expect("links").clone();
        let link = links.iter().find(|l| l["peer"] == "ap-northeast-1");
        link.is_some_and(|l| l["rtt_ms"].as_f64() >= Some(115.0) && l["delay_ms"] == 60.0)
    })
    .await;
    let fault = regions[0].transport().fault(crate::clock::RegionId(2));
    let wanted = LinkFault {
        cut: Cut::None,
        delay: Duration::from_millis(60),
    };
    assert_eq!(fault, Some(wanted));
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_refuses_what_it_does_not_know() {
    let regions = cluster().await;
    let admin = regions[0].admin();
    let cases = [
        ("GET", "/", "", "", 404, "GET /status"),
        (
            "POST",
            "/fault",
            "",
            r#"{"peer":"mars-1"}"#,
            400,
            "not a peer",
        ),
        (
            "POST",
            "/fault",
            "",
            r#"{"cut":"sideways"}"#,
            400,
            "none, out or both",
        ),
        ("POST", "/fault", "", r#"{"rtt_ms":-1}"#, 400, "not within"),
        ("POST", "/fault", "", r#"{"rtt":1}"#, 400, "unknown field"),
        (
            "POST",
            "/fault",
            "origin: http://evil\r\n",
            "{}",
            403,
            "web pages",
        ),
        ("GET", "/conflicts?limit=x", "", "", 400, "not a number"),
    ];
    for (method, path, extra, body, code, wanted) in cases {
        let (found, answer) = http(admin, method, path, extra, body).await;
        assert_eq!(found, code, "{path} {body}");
        let error = answer["error"].as_str().expect("an error");
        assert!(error.contains(wanted), "{error}");
    }
    let (code, status) = http(admin, "GET", "/status", "", "").await;
    assert_eq!(code, 200);
    assert_eq!(status["name"], "us-east-1");
    assert_eq!(status["endpoint"], regions[0].endpoint());
    assert_eq!(status["pid"], std::process::id());
}

/// The only region of its cluster.
async fn alone(data: &Path, region: &str) -> Result<Region, RegionError> {
    let (mut topology, mut sockets) = place().await;
    topology.regions.retain(|spec| spec.name == region);
    let (client, admin, gossip) = sockets.pop().expect("three");
    Region::start(RegionConfig {
        topology,
        region: region.to_string(),
        data: Some(data.to_path_buf()),
        identity: None,
        keys: Keys::Any,
        tuning: Tuning::default(),
        client,
        admin,
        gossip,
        pins_addresses: true,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_finds_its_data_again_and_refuses_others() {
    let folder = tempfile::tempdir().expect("folder");
    let region = alone(folder.path(), "eu-west-1").await.expect("starts");
    region.settled().await;
    create(&region).await;
    put(&region, cart("a", 1)).await.expect("puts");
    region.stop().await;
    let other = alone(folder.path(), "us-east-1").await;
    assert!(matches!(other, Err(RegionError::OtherRegion { .. })));
    let region = alone(folder.path(), "eu-west-1").await.expect("starts");
    assert_eq!(get(&region, "a"), Some(cart("a", 1)));
    put(&region, cart("a", 2)).await.expect("puts");
    let backend = region.backend();
    region.stop().await;
    let late = backend.write(WriteRequest::Batch(Vec::new())).await;
    assert!(matches!(late, Err(ApiError::ServiceUnavailable(_))));
    assert!(matches!(
        alone(folder.path(), "mars-north-1").await,
        Err(RegionError::UnknownRegion { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_are_all_answered() {
    let regions = cluster().await;
    create(&regions[0]).await;
    let region = Arc::new(regions.into_iter().next().expect("one"));
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..500 {
        let region = Arc::clone(&region);
        writers.spawn(async move { put(&region, cart(&format!("k{n}"), n)).await.is_ok() });
    }
    let answers = writers.join_all().await;
    assert!(answers.into_iter().all(|ok| ok));
    let status = region.status().expect("reports");
    assert_eq!(status["tables"][0]["items"], 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_the_region_out_of_health() {
    let regions = cluster().await;
    let region = &regions[0];
    let (code, health) = http(region.admin(), "GET", "/health", "", "").await;
    assert_eq!((code, &health["status"]), (200, &json!("serving")));
    let full_us = &region.status.metrics.store_full_us;
    let now_us = region.status.clock.now().mono_us;
    full_us.store(now_us.max(1), std::sync::atomic::Ordering::Relaxed);
    let (code, health) = http(region.admin(), "GET", "/health", "", "").await;
    assert_eq!((code, &health["status"]), (503, &json!("store_full")));
    let words = health["reason"].as_str().unwrap_or_default();
    assert!(words.contains("disk is full") && health["hint"].is_string());
    let (code, _) = http(region.admin(), "GET", "/health", "origin: x\r\n", "").await;
    assert_eq!(code, 403, "pages in browsers see nothing");
    for region in regions {
        region.stop().await;
    }
}
