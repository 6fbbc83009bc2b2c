//! Regions that are silent for long: the others warn of them, and one that is alone takes no writes.

#![allow(
    clippy::disallowed_methods,
    reason = "drives real processes: has real time, tasks and files"
)]

mod common;

use aws_sdk_dynamodb::Client;
use common::{
    AP, Cluster, EU, Item, REGIONS, US, code, create, get, item, message, put, s, wait_for,
};
use serde_json::Value;

fn entry(pk: &str) -> Item {
    item([("pk", s(pk)), ("v", s("1"))])
}

async fn try_put(client: &Client, pk: &str) -> Result<(), String> {
    let put = client.put_item().table_name("Items");
    let put = put.set_item(Some(entry(pk))).send().await;
    put.map(|_| ()).map_err(|refused| {
        let refused = refused.into_service_error();
        format!("{}: {}", code(&refused), message(&refused))
    })
}

async fn cut_off(cluster: &Cluster, region: &str) {
    for other in REGIONS.iter().filter(|other| **other != region) {
        cluster.run(&["partition", region, other]).await;
    }
}

fn notice(status: &Value, code: &str) -> Option<Value> {
    let notices = status["notices"].as_array()?;
    notices.iter().find(|n| n["code"] == code).cloned()
}

/// Waits until a region shows a notice.
async fn shown(cluster: &Cluster, region: &str, code: &str) -> Value {
    wait_for("the notice is shown", async || {
        let status = cluster.status().await;
        notice(&status[region], code).ok_or_else(|| status[region]["notices"].to_string())
    })
    .await
}

/// Waits until it does not.
async fn gone(cluster: &Cluster, region: &str, code: &str) {
    wait_for("the notice is gone", async || {
        let status = cluster.status().await;
        match notice(&status[region], code) {
            None => Ok(()),
            Some(notice) => Err(notice.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_region_is_warned_of_until_it_is_heard_again() {
    let cluster = Cluster::start_with(&["--alarm-after", "3s"]);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    cut_off(&cluster, AP).await;
    put(&clients[0], "Items", entry("kept for it")).await;
    let warned = shown(&cluster, US, "silent").await;
    assert_eq!(warned["level"], "warning");
    let text = warned["text"].as_str().unwrap_or_default();
    assert!(text.starts_with(AP), "{text}");
    assert!(text.contains("has been silent for"), "{text}");
    assert!(text.contains("in the log"), "{text}");
    let status = cluster.status().await;
    assert_eq!(status[EU]["silent"][0]["region"], AP);
    let address = status[US]["admin"].as_str().expect("an address");
    let page = common::admin(address, hyper::Method::GET, "/metrics", "").await;
    let sample = format!("meridian_member_silent{{member=\"{AP}\"}} 1");
    assert!(page.body.contains(&sample), "{}", page.body);
    cluster.run(&["heal"]).await;
    for region in REGIONS {
        gone(&cluster, region, "silent").await;
    }
    // One line when it fell silent, and one when it was heard, in each of the others; a busy machine may add an
    // episode, but not one for every look.
    let log = cluster.process.log();
    let lines = |words: &str| {
        let of_it = |line: &&str| line.contains(words) && line.contains(AP);
        log.lines().filter(of_it).count()
    };
    let (silent, heard) = (lines("a region is silent"), lines("is heard again"));
    assert_eq!(silent, heard, "{log}");
    assert!((2..10).contains(&silent), "{silent}:\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_reaches_no_majority_takes_no_writes_until_it_does() {
    let cluster = Cluster::start_with(&["--dead-after", "6s"]);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    cut_off(&cluster, AP).await;
    put(&clients[2], "Items", entry("alone")).await;
    let fenced = shown(&cluster, AP, "self_fenced").await;
    assert_eq!(fenced["stops"], true);
    let refused = wait_for("writes are refused", async || {
        match try_put(&clients[2], "late").await {
            Err(refused) => Ok(refused),
            Ok(()) => Err("taken".to_owned()),
        }
    })
    .await;
    assert!(refused.starts_with("ServiceUnavailable: "), "{refused}");
    assert!(refused.contains("not reached a majority"), "{refused}");
    // It still reads, and the others write.
    let key = item([("pk", s("alone"))]);
    assert!(get(&clients[2], "Items", key).await.is_some());
    for client in &clients[..2] {
        put(client, "Items", entry("of the majority")).await;
    }
    let status = cluster.status().await;
    assert_eq!(status[US]["self_fence"]["fenced"], false);
    cluster.run(&["heal"]).await;
    gone(&cluster, AP, "self_fenced").await;
    wait_for("writes are taken again", async || {
        try_put(&clients[2], "back").await
    })
    .await;
    cluster.settled().await;
}
