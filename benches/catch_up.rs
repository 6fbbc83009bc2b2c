//! How fast a region takes in what it missed: two real regions, cut apart, many small writes in one of
//! them, healed. docs/benchmarks.md says how to read it.
//!
//!     cargo bench --bench catch_up -- [--items 1000000] [--rtt 0] [--wait 0]
//!     cargo bench --bench catch_up -- --apply 200000       the apply path alone, in this process

#![allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]

mod support;

use std::time::{Duration, Instant};

use support::{Up, Wire, argument, create, topology, up};

/// Items of one BatchWriteItem: DynamoDB's limit. Each batch is one commit.
const BATCH: usize = 25;
const CLIENTS: usize = 32;

/// Writes the items numbered from `from` to `to`.
async fn fill(region: (String, String), from: usize, to: usize) {
    let mut wire = Wire::to(&region).await;
    for first in (from..to).step_by(BATCH) {
        let puts: Vec<String> = (first..to.min(first + BATCH))
            .map(|n| {
                format!(
                    r#"{{"PutRequest":{{"Item":{{"pk":{{"S":"key-{n}"}},"v":{{"S":"0123456789abcdef"}}}}}}}}"#
                )
            })
            .collect();
        let body = format!(r#"{{"RequestItems":{{"Catch":[{}]}}}}"#, puts.join(","));
        while wire.post("BatchWriteItem", "", &body).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn items(up: &Up, region: usize) -> u64 {
    let status = up.status();
    let tables = status[region]["tables"].as_array().cloned();
    tables
        .unwrap_or_default()
        .iter()
        .map(|t| t["items"].as_u64().unwrap_or(0))
        .sum()
}

fn peaks(up: &Up, when: &str) {
    for (name, mib) in up.peak_mib() {
        println!("peak memory {when:<12} {name:<16} {mib:>6} MiB");
    }
}

#[tokio::main]
async fn main() {
    let alone: usize = argument("--apply", 0);
    if alone > 0 {
        return support::apply::run(alone);
    }
    let count: usize = argument("--items", 1_000_000);
    let rtt_ms: u64 = argument("--rtt", 0);
    let folder = tempfile::tempdir().expect("a folder");
    let up = up(&topology(folder.path(), 2), &folder.path().join("data"));
    create(&up, "Catch").await;
    let (a, b) = (up.regions[0].0.clone(), up.regions[1].0.clone());
    if rtt_ms > 0 {
        up.run(&["slow", &a, &b, "--rtt", &format!("{rtt_ms}ms")]);
    }
    up.run(&["partition", &a, &b]);
    peaks(&up, "at first");
    let share = count.div_ceil(CLIENTS);
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (from, to) = (n * share, count.min((n + 1) * share));
            tokio::spawn(fill(up.regions[0].clone(), from, to))
        })
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "wrote {count} items in {took:.1} s: {:.0}/s",
        count as f64 / took
    );
    peaks(&up, "when cut");
    let started = Instant::now();
    up.run(&["heal", &a, &b]);
    if rtt_ms > 0 {
        up.run(&["slow", &a, &b, "--rtt", &format!("{rtt_ms}ms")]);
    }
    let mut began = None;
    while items(&up, 1) < count as u64 {
        if began.is_none() && items(&up, 1) > 0 {
            began = Some((Instant::now(), items(&up, 1)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "caught up {count} items in {took:.2} s after the heal: {:.0}/s",
        count as f64 / took
    );
    if let Some((since, from)) = began {
        let rate = (count as u64 - from) as f64 / since.elapsed().as_secs_f64();
        println!("once it had begun: {rate:.0}/s");
    }
    peaks(&up, "at the end");
}
