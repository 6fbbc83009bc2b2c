//! What a region that is away costs the others: memory while it is, and the time to catch up.
//! docs/benchmarks.md says how to read it.
//!
//!     cargo bench --bench peer_down -- [--minutes 5] [--rate 1000] [--clients 16] [--bytes 200] [--keys 100000]

#![allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Up, Wire, argument, create, topology, up};

const REGIONS: usize = 3;
/// Looks at memory during the writes.
const LOOKS: u32 = 20;

/// The memory of a process that is its own, and not the map of its store: MiB.
fn own_mib(pid: &Value) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn look(up: &Up, when: &str) {
    let regions = up.status();
    let memory: Vec<String> = (regions.iter())
        .map(|region| format!("{:>5}", own_mib(&region["pid"])))
        .collect();
    let first = &regions[0];
    let links = first["links"].as_array().cloned().unwrap_or_default();
    let behind = links
        .iter()
        .filter_map(|link| link["behind"].as_u64())
        .max();
    println!(
        "{when:>9}  own memory {} MiB  behind {:>9} commits  data file {:>6} MiB",
        memory.join(" "),
        behind.unwrap_or(0),
        first["store"]["used_bytes"].as_u64().unwrap_or(0) >> 20,
    );
}

/// Commits of the first region that a region has.
fn has(regions: &[Value], at: usize) -> Option<u64> {
    let first = regions[0]["name"].as_str()?;
    regions[at]["frontier"][first].as_u64()
}

/// Every `clients`th write of the schedule, until `end`; how many there were.
async fn write(
    region: (String, String),
    (client, clients): (u64, u64),
    rate: f64,
    end: Instant,
) -> u64 {
    let keys: u64 = argument("--keys", 100_000);
    let payload = "x".repeat(argument("--bytes", 200));
    let mut wire = Wire::to(&region).await;
    let (start, mut written) = (Instant::now(), 0);
    for n in (client..).step_by(clients as usize) {
        let due = start + Duration::from_secs_f64(n as f64 / rate);
        if due.max(Instant::now()) >= end {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let key = n % keys;
        let body = format!(
            r#"{{"TableName":"Load","Item":{{"pk":{{"S":"key-{key}"}},"n":{{"N":"{n}"}},"v":{{"S":"{payload}"}}}}}}"#
        );
        written += u64::from(wire.post("PutItem", "", &body).await.status == 200);
    }
    written
}

#[tokio::main]
async fn main() {
    let minutes: f64 = argument("--minutes", 5.0);
    let rate: f64 = argument("--rate", 1_000.0);
    let clients: u64 = argument("--clients", 16);
    let folder = tempfile::tempdir().expect("a folder");
    let up = up(
        &topology(folder.path(), REGIONS),
        &folder.path().join("data"),
    );
    create(&up, "Load").await;
    let names: Vec<String> = up.regions.iter().map(|(name, _)| name.clone()).collect();
    let away = &names[REGIONS - 1];
    println!("{}: {away} is cut off", names.join(" "));
    look(&up, "at first");
    for other in &names[..REGIONS - 1] {
        up.run(&["partition", away, other]);
    }
    let length = Duration::from_secs_f64(minutes * 60.0);
    let (began, end) = (Instant::now(), Instant::now() + length);
    let writers: Vec<_> = (0..clients)
        .map(|client| tokio::spawn(write(up.regions[0].clone(), (client, clients), rate, end)))
        .collect();
    for n in 1..=LOOKS {
        tokio::time::sleep_until((began + length * n / LOOKS).into()).await;
        look(&up, &format!("{:.0} s", began.elapsed().as_secs_f64()));
    }
    let mut written = 0;
    for writer in writers {
        written += writer.await.expect("a client");
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{written} writes in {took:.1} s: {:.0}/s",
        written as f64 / took
    );
    let healed = Instant::now();
    up.run(&["heal"]);
    loop {
        let regions = up.status();
        if has(&regions, REGIONS - 1) >= has(&regions, 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = healed.elapsed().as_secs_f64();
    println!(
        "caught up {took:.2} s after the heal: {:.0}/s",
        written as f64 / took
    );
    look(&up, "caught up");
}
