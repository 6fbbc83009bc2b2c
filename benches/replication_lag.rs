//! How long after a write is acknowledged in one region it can be read in the others, and how long the
//! write itself takes, on loopback with no injected delay: real processes, the AWS SDK, one client.
//!
//!     cargo bench --bench replication_lag

#![allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};

const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];
const WRITES: usize = 1_000;
const WARM_UP: usize = 100;

struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        // Closing the supervisor is enough: its regions stop with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn up(data: &std::path::Path) -> (Up, String, Duration) {
    let started = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args(["up", "--port", "0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("meridian starts");
    let mut up = Up(child);
    let stdout = up.0.stdout.take().expect("piped above");
    let mut endpoint = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("text");
        if let Some((_, address)) = line.split_once(" on ") {
            endpoint = address.to_owned();
        }
        if line == "ready" {
            return (up, endpoint, started.elapsed());
        }
    }
    panic!("meridian was never ready");
}

fn client(endpoint: &str, region: &'static str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(Credentials::new("any", "any", None, None, "bench"))
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

async fn create(client: &Client) {
    let attribute = AttributeDefinition::builder()
        .attribute_name("pk")
        .attribute_type(ScalarAttributeType::S)
        .build()
        .expect("complete");
    let key = KeySchemaElement::builder()
        .attribute_name("pk")
        .key_type(KeyType::Hash)
        .build()
        .expect("complete");
    client
        .create_table()
        .table_name("Lag")
        .attribute_definitions(attribute)
        .key_schema(key)
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .expect("a table");
}

async fn is_there(client: &Client, key: &str) -> bool {
    let got = client
        .get_item()
        .table_name("Lag")
        .key("pk", AttributeValue::S(key.to_owned()))
        .send()
        .await;
    got.is_ok_and(|answer| answer.item.is_some())
}

async fn seen(client: Client, key: String, since: Instant) -> Duration {
    while !is_there(&client, &key).await {}
    since.elapsed()
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let (p50, p90, p99, max) = (at(0.5), at(0.9), at(0.99), at(1.0));
    println!("{what:<36} p50 {p50:6.2}  p90 {p90:6.2}  p99 {p99:6.2}  max {max:6.2} ms");
}

#[tokio::main]
async fn main() {
    let data = tempfile::tempdir().expect("a folder");
    let (_up, endpoint, ready) = up(data.path());
    println!("ready after {:.2} s", ready.as_secs_f64());
    let clients = REGIONS.map(|region| client(&endpoint, region));
    create(&clients[0]).await;
    let (mut writes, mut lags) = (Vec::new(), Vec::new());
    for n in 0..WARM_UP + WRITES {
        let key = format!("key-{n}");
        let started = Instant::now();
        clients[0]
            .put_item()
            .table_name("Lag")
            .item("pk", AttributeValue::S(key.clone()))
            .item("payload", AttributeValue::S("x".repeat(200)))
            .send()
            .await
            .expect("a write");
        let written = Instant::now();
        let (eu, ap) = tokio::join!(
            seen(clients[1].clone(), key.clone(), written),
            seen(clients[2].clone(), key, written)
        );
        if n >= WARM_UP {
            writes.push(written - started);
            lags.extend([eu, ap]);
        }
    }
    report("write, as the client sees it", writes);
    report("acknowledged to readable elsewhere", lags);
}
