//! What a monitoring system reads: every line of `/metrics`, and `/health`.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{Cluster, EU, US, create, get, item, put, s, wait_for};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DOCUMENT: &str = include_str!("../../docs/metrics.md");

/// One line that is no comment.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

async fn fetch(cluster: &Cluster, region: &str, path: &str) -> (String, String) {
    let status = cluster.status().await;
    let admin = status[region]["admin"]
        .as_str()
        .expect("an address")
        .to_owned();
    let mut stream = TcpStream::connect(&admin).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
    (head.to_lowercase(), body.to_owned())
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    let text = text.unwrap_or_else(|| panic!("no labels: {text:?}"));
    let mut found = BTreeMap::new();
    for pair in text.split("\",") {
        let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("'{pair}'"));
        assert!(is_name(name), "'{name}' names no label");
        let value = value.strip_suffix('"').unwrap_or(value);
        assert!(
            found.insert(name.into(), value.into()).is_none(),
            "{name} twice"
        );
    }
    found
}

fn sample(line: &str) -> Sample {
    let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("'{line}'"));
    let (name, rest) = key.split_at(key.find('{').unwrap_or(key.len()));
    assert!(is_name(name), "'{name}' in '{line}'");
    Sample {
        name: name.to_owned(),
        labels: if rest.is_empty() {
            BTreeMap::new()
        } else {
            labels(rest)
        },
        value: value
            .parse()
            .unwrap_or_else(|_| panic!("no number in '{line}'")),
    }
}

/// Checks every line, and that samples stand below the metric that they are of.
fn read(page: &str) -> (BTreeMap<String, String>, Vec<Sample>) {
    let mut kinds = BTreeMap::new();
    let mut samples: Vec<Sample> = Vec::new();
    let mut current = (String::new(), String::new());
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a help");
            assert!(is_name(name) && !help.is_empty(), "{line}");
            current = (name.to_owned(), String::new());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert_eq!(name, current.0, "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                kinds.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{name} twice"
            );
            current.1 = kind.to_owned();
        } else {
            let found = sample(line);
            let rest = found.name.strip_prefix(&current.0);
            let suffixes: &[&str] = match current.1.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(
                rest.is_some_and(|rest| suffixes.contains(&rest)),
                "{line} below {current:?}"
            );
            let signed = found.name == "meridian_clock_offset_seconds";
            assert!(signed || found.value >= 0.0, "{line}");
            samples.push(found);
        }
    }
    (kinds, samples)
}

/// The sum of the samples of this name with these labels.
fn value(samples: &[Sample], name: &str, wanted: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        let has =
            |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|v| v == value);
        sample.name == name && wanted.iter().all(has)
    };
    samples.iter().filter(fits).map(|sample| sample.value).sum()
}

/// Buckets only rise, and the last of them is the count.
fn check_histograms(kinds: &BTreeMap<String, String>, samples: &[Sample]) {
    for name in kinds
        .iter()
        .filter(|(_, kind)| *kind == "histogram")
        .map(|(name, _)| name)
    {
        let mut last: BTreeMap<BTreeMap<String, String>, (f64, String)> = BTreeMap::new();
        for bucket in samples
            .iter()
            .filter(|s| s.name == format!("{name}_bucket"))
        {
            let mut of = bucket.labels.clone();
            let bound = of.remove("le").expect("a bound");
            let (below, _) = last.get(&of).cloned().unwrap_or_default();
            assert!(bucket.value >= below, "{bucket:?}");
            last.insert(of, (bucket.value, bound));
        }
        for (of, (count, bound)) in last {
            assert_eq!(bound, "+Inf", "{name}");
            let whole = samples
                .iter()
                .find(|s| s.name == format!("{name}_count") && s.labels == of);
            assert_eq!(whole.map(|s| s.value), Some(count), "{name}{of:?}");
        }
    }
}

#[tokio::test]
async fn every_line_is_prometheus_and_every_metric_is_documented() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Seen", "pk:S", None, None).await;
    for n in 0..5 {
        put(&clients[0], "Seen", item([("pk", s(format!("k{n}")))])).await;
    }
    cluster.settled().await;
    get(&clients[1], "Seen", item([("pk", s("k0"))])).await;
    let missing = clients[1]
        .describe_table()
        .table_name("Missing")
        .send()
        .await;
    assert!(missing.is_err());

    // The stable stamp is known a second or two after the start.
    let page = wait_for("the page is whole", async || {
        let (head, page) = fetch(&cluster, EU, "/metrics").await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        let whole = page.contains("\nmeridian_stable_lag_seconds ");
        if whole { Ok(page) } else { Err(page) }
    })
    .await;
    let (kinds, samples) = read(&page);
    check_histograms(&kinds, &samples);
    let documented: BTreeMap<String, String> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `meridian_"))
        .filter_map(|line| line.split_once("` | "))
        .map(|(name, rest)| {
            let kind = rest.split(' ').next().unwrap_or_default();
            (format!("meridian_{name}"), kind.to_owned())
        })
        .collect();
    assert_eq!(kinds, documented, "docs/metrics.md and the page differ");
    let named: BTreeSet<&str> = samples.iter().map(|s| s.name.as_str()).collect();
    for name in [
        "meridian_link_rtt_seconds",
        "meridian_store_used_bytes",
        "meridian_log_bytes",
    ] {
        assert!(named.contains(name), "no sample of {name}");
    }

    let of = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels);
    assert_eq!(of("meridian_info", &[("region", EU)]), 1.0);
    assert_eq!(of("meridian_table_items", &[("table", "Seen")]), 5.0);
    assert_eq!(of("meridian_link_connected", &[]), 2.0);
    assert_eq!(of("meridian_link_lag_commits", &[]), 0.0);
    assert!(of("meridian_commits_total", &[("origin", US)]) >= 6.0);
    let ok = [("operation", "GetItem"), ("status", "200")];
    assert!(of("meridian_requests_total", &ok) >= 1.0);
    let refused = [
        ("operation", "DescribeTable"),
        ("exception", "ResourceNotFoundException"),
    ];
    assert!(of("meridian_request_errors_total", &refused) >= 1.0);
    let latency = [
        ("source_region", US),
        ("table", "Seen"),
        ("receiving_region", EU),
    ];
    assert_eq!(
        of("meridian_replication_latency_seconds_count", &latency),
        5.0
    );
    assert!(of("meridian_apply_seconds_count", &[]) >= 1.0);
    let own = [("peer", US), ("via", "origin")];
    assert!(of("meridian_link_commits_received_total", &own) >= 6.0);
    assert!(of("meridian_group_jobs_count", &[]) >= 1.0);

    let (head, body) = fetch(&cluster, EU, "/health").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let health: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&health["status"], &health["region"]),
        (&"serving".into(), &EU.into())
    );
}

#[tokio::test]
async fn lag_is_measured_in_commits_seconds_and_bytes() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Lagging", "pk:S", None, None).await;
    cluster.settled().await;
    cluster.run(&["partition", US, EU]).await;
    cluster.run(&["partition", "ap-northeast-1", EU]).await;
    for n in 0..3 {
        put(&clients[0], "Lagging", item([("pk", s(format!("k{n}")))])).await;
    }
    let peer = [("peer", EU)];
    wait_for("the lag shows", async || {
        let (_, page) = fetch(&cluster, US, "/metrics").await;
        let (_, samples) = read(&page);
        let of = |name: &str| value(&samples, name, &peer);
        let (commits, seconds) = (
            of("meridian_link_lag_commits"),
            of("meridian_link_lag_seconds"),
        );
        let bytes = of("meridian_link_lag_bytes");
        let pending = [("receiving_region", EU)];
        let pending = value(&samples, "meridian_pending_replication_count", &pending);
        let lags = commits >= 3.0 && seconds > 0.0 && bytes > 100.0 && pending >= 3.0;
        if lags { Ok(()) } else { Err(page) }
    })
    .await;
    cluster.run(&["heal"]).await;
    cluster.settled().await;
    wait_for("the lag is gone", async || {
        let (_, page) = fetch(&cluster, US, "/metrics").await;
        let (_, samples) = read(&page);
        let lag = value(&samples, "meridian_link_lag_seconds", &peer);
        if lag == 0.0 { Ok(()) } else { Err(page) }
    })
    .await;
}
