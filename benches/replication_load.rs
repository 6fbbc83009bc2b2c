//! Write latency and replication lag under a fixed rate of writes from many clients, three real regions.
//! docs/benchmarks.md says how to read it.
//!
//!     cargo bench --bench replication_load -- [--rate 2000] [--seconds 10] [--clients 32] [--regions 3]
//!         [--rtt 0] [--bytes 200] [--sample 10] [--cut 1]
//!
//! A write is due at its place in the schedule, whether or not those before it were answered: its latency
//! counts from there. Of every `--sample`th write the lag is measured: acknowledged here, to read there with
//! the write's session token. `--cut 1` takes the last region away: it should cost the others nothing.

#![allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]

mod support;

use std::time::{Duration, Instant};

use support::{Wire, argument, create, report, topology, up};
use tokio::sync::mpsc;

/// A write to be looked for elsewhere.
#[derive(Clone)]
struct Written {
    key: String,
    token: String,
    at: Instant,
}

struct Load {
    rate: f64,
    seconds: u64,
    clients: u64,
    bytes: usize,
    sample: u64,
}

/// Writes every `clients`th write of the schedule; tells of the sampled ones.
async fn write(
    load: std::sync::Arc<Load>,
    client: u64,
    start: Instant,
    region: (String, String),
    watchers: Vec<mpsc::UnboundedSender<Written>>,
) -> Vec<Duration> {
    let mut wire = Wire::to(&region).await;
    let payload = "x".repeat(load.bytes);
    let mut latencies = Vec::new();
    let end = (load.rate * load.seconds as f64) as u64;
    for n in (client..end).step_by(load.clients as usize) {
        let due = start + Duration::from_secs_f64(n as f64 / load.rate);
        tokio::time::sleep_until(due.into()).await;
        let key = format!("key-{n}");
        let body = format!(
            r#"{{"TableName":"Load","Item":{{"pk":{{"S":"{key}"}},"v":{{"S":"{payload}"}}}}}}"#
        );
        let watched = n / load.clients % load.sample == client % load.sample;
        let session = if watched {
            "x-meridian-session: begin\r\n"
        } else {
            ""
        };
        let answer = wire.post("PutItem", session, &body).await;
        assert_eq!(
            answer.status,
            200,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        let at = Instant::now();
        latencies.push(at - due);
        if let Some(token) = answer.session {
            let written = Written { key, token, at };
            for watcher in &watchers {
                let _ = watcher.send(written.clone());
            }
        }
    }
    latencies
}

/// Reads each sampled write as soon as the region has it.
async fn watch(
    region: (String, String),
    mut written: mpsc::UnboundedReceiver<Written>,
) -> Vec<Duration> {
    let mut lags = Vec::new();
    let mut reads = tokio::task::JoinSet::new();
    let mut idle: Vec<Wire> = Vec::new();
    loop {
        tokio::select! {
            Some(one) = written.recv() => {
                let wire = match idle.pop() {
                    Some(wire) => wire,
                    None => Wire::to(&region).await,
                };
                reads.spawn(look(wire, one));
            }
            Some(done) = reads.join_next(), if !reads.is_empty() => {
                let (wire, lag) = done.expect("a read");
                idle.push(wire);
                lags.push(lag);
            }
            else => return lags,
        }
    }
}

async fn look(mut wire: Wire, one: Written) -> (Wire, Duration) {
    let session = format!(
        "x-meridian-session: {}\r\nx-meridian-session-wait: 20s\r\n",
        one.token
    );
    let body = format!(
        r#"{{"TableName":"Load","Key":{{"pk":{{"S":"{}"}}}}}}"#,
        one.key
    );
    let answer = wire.post("GetItem", &session, &body).await;
    let lag = one.at.elapsed();
    let text = String::from_utf8_lossy(&answer.body);
    assert!(answer.status == 200 && text.contains("\"Item\""), "{text}");
    (wire, lag)
}

#[tokio::main]
async fn main() {
    let load = std::sync::Arc::new(Load {
        rate: argument("--rate", 2_000.0),
        seconds: argument("--seconds", 10),
        clients: argument("--clients", 32),
        bytes: argument("--bytes", 200),
        sample: argument("--sample", 10),
    });
    let rtt_ms: u64 = argument("--rtt", 0);
    let folder = tempfile::tempdir().expect("a folder");
    let regions = topology(folder.path(), argument("--regions", 3));
    let up = up(&regions, &folder.path().join("data"));
    create(&up, "Load").await;
    let names: Vec<&str> = up.regions.iter().map(|(name, _)| name.as_str()).collect();
    for (i, a) in names.iter().enumerate() {
        for b in names.iter().skip(i + 1).filter(|_| rtt_ms > 0) {
            up.run(&["slow", a, b, "--rtt", &format!("{rtt_ms}ms")]);
        }
    }
    let mut seen = up.regions.len();
    if argument("--cut", 0) > 0 {
        seen -= 1;
        for other in &names[..seen] {
            up.run(&["partition", other, names[seen]]);
        }
    }
    let (watchers, lags): (Vec<_>, Vec<_>) = (up.regions[1..seen].iter())
        .map(|region| {
            let (sender, receiver) = mpsc::unbounded_channel();
            (sender, tokio::spawn(watch(region.clone(), receiver)))
        })
        .unzip();
    let start = Instant::now() + Duration::from_millis(200);
    let clients: Vec<_> = (0..load.clients)
        .map(|n| {
            let (region, watchers) = (up.regions[0].clone(), watchers.clone());
            tokio::spawn(write(load.clone(), n, start, region, watchers))
        })
        .collect();
    drop(watchers);
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await.expect("a client"));
    }
    let rate = latencies.len() as f64 / start.elapsed().as_secs_f64();
    println!(
        "{rate:.0} writes/s of {} bytes, injected RTT {rtt_ms} ms",
        load.bytes
    );
    report("write, from when it was due", latencies);
    for (name, lags) in names[1..seen].iter().zip(lags) {
        let lags = lags.await.expect("a watcher");
        report(&format!("acknowledged to readable in {name}"), lags);
    }
    for (name, mib) in up.peak_mib() {
        println!("peak memory {name:<16} {mib:>6} MiB");
    }
}
