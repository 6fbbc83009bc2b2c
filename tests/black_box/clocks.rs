//! Regions whose clocks are wrong: ahead of all others, behind, and where nobody can say who is wrong.

use std::io::Write;
use std::sync::Arc;

use crate::common::{
    AP, Cluster, EU, Item, US, code, create, eventually, get, item, message, put, s, wait_for,
};
use serde_json::Value;

fn entry(pk: &str) -> Item {
    item([("pk", s(pk)), ("v", s("1"))])
}

fn key(pk: &str) -> Item {
    item([("pk", s(pk))])
}

/// Waits until the clock of `region` is in `state`.
async fn state(cluster: &Cluster, region: &str, state: &str) -> Value {
    wait_for("the clock is judged", async || {
        let status = cluster.status().await;
        let clock = status[region]["clock"].clone();
        if clock["state"] == state {
            Ok(status[region].clone())
        } else {
            Err(clock.to_string())
        }
    })
    .await
}

#[tokio::test]
async fn a_clock_ahead_of_all_fences_writes_and_nothing_else() {
    let cluster = Cluster::start_with(&["--clock-offset=eu-west-1=60000"]);
    let clients = cluster.clients();
    let [us, eu, ap] = &clients;
    let status = state(&cluster, EU, "ahead").await;
    assert_eq!(status["clock"]["fenced"], true);
    let ahead_ms = status["clock"]["ahead_ms"].as_i64().unwrap_or(0);
    assert!((55_000..65_000).contains(&ahead_ms), "{ahead_ms}");
    for link in status["links"].as_array().into_iter().flatten() {
        let offset = link["offset_ms"].as_f64().unwrap_or(0.0);
        assert!((-65_000.0..-55_000.0).contains(&offset), "{link}");
        assert!(link["offset_error_ms"].as_f64() < Some(5_000.0), "{link}");
    }
    let shown = cluster.run(&["status"]).await.stdout;
    assert!(shown.contains(": the clock is "), "{shown}");
    create(&clients, "Items", "pk:S", None, None).await;
    put(us, "Items", entry("from us")).await;
    put(ap, "Items", entry("from ap")).await;
    for pk in ["from us", "from ap"] {
        eventually("a fenced region reads what others write", async || {
            get(eu, "Items", key(pk)).await == Some(entry(pk))
        })
        .await;
    }
    let refused = eu.put_item().table_name("Items");
    let refused = refused.set_item(Some(entry("from eu"))).send().await;
    let refused = refused.expect_err("is fenced").into_service_error();
    assert_eq!(code(&refused), "ServiceUnavailable");
    let said = message(&refused);
    assert!(said.contains("ms ahead of the other regions"), "{said}");
    state(&cluster, US, "good").await;
    // The clock is right again when the region comes back: nothing is fenced any more.
    let data = cluster.stop();
    let cluster = Cluster::start_in(&data, None);
    let [us, eu, _] = &cluster.clients();
    state(&cluster, EU, "good").await;
    put(eu, "Items", entry("from eu")).await;
    drop(us.clone());
}

#[tokio::test]
async fn a_clock_behind_is_an_alarm_and_no_more() {
    let cluster = Cluster::start_with(&["--clock-offset=ap-northeast-1=-60000"]);
    let clients = cluster.clients();
    let [us, _, ap] = &clients;
    let status = state(&cluster, AP, "behind").await;
    assert_eq!(status["clock"]["fenced"], false);
    let alarms = status["clock"]["alarms"].to_string();
    assert!(alarms.contains("behind the other regions"), "{alarms}");
    create(&clients, "Items", "pk:S", None, None).await;
    put(us, "Items", entry("from us")).await;
    eventually("a region behind applies at once", async || {
        get(ap, "Items", key("from us")).await == Some(entry("from us"))
    })
    .await;
    put(ap, "Items", entry("from us")).await;
    put(ap, "Items", entry("from ap")).await;
    eventually("what it writes arrives", async || {
        get(us, "Items", key("from ap")).await == Some(entry("from ap"))
    })
    .await;
}

const TWO: &str = r#"[cluster]
name = "two"
replicate = "all"
max_offset_ms = 1000
[[region]]
name = "us-east-1"
id = 0
[[region]]
name = "eu-west-1"
id = 1
"#;

#[tokio::test]
async fn of_two_regions_neither_is_fenced_and_commits_ahead_are_held() {
    let data = Arc::new(tempfile::TempDir::new().expect("a folder"));
    let path = data.path().join("two.toml");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(TWO.as_bytes()).expect("written");
    let topology = path.to_str().expect("a name");
    let cluster = Cluster::start_with(&[topology, "--clock-offset=eu-west-1=12000"]);
    let (us, eu) = (cluster.client(US), cluster.client(EU));
    let status = state(&cluster, EU, "apart").await;
    assert_eq!(status["clock"]["fenced"], false);
    create(&[us.clone(), eu.clone()], "Items", "pk:S", None, None).await;
    put(&eu, "Items", entry("early")).await;
    let held = wait_for("the commit is held", async || {
        let clock = cluster.status().await[US]["clock"].clone();
        match clock["held"].get(0) {
            Some(held) => Ok(held.clone()),
            None => Err(clock.to_string()),
        }
    })
    .await;
    assert_eq!(held["origin"], EU);
    assert!(held["lead_ms"].as_i64() > Some(1_000), "{held}");
    assert_eq!(get(&us, "Items", key("early")).await, None);
    eventually("time catches up, and it is applied", async || {
        get(&us, "Items", key("early")).await == Some(entry("early"))
    })
    .await;
}
