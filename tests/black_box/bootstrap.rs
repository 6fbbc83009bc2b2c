//! Regions that lost their data folders, or got old ones back, with peers that keep next to nothing of their
//! logs: they are given a copy of everything, and say so meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::{
    AP, Cluster, EU, US, code, create, item, message, put, s, scan_all, signal, text, wait_for,
};
use aws_sdk_dynamodb::Client;

/// Logs are dropped as soon as all have them, deletions a moment later.
const FORGETFUL: [&str; 4] = ["--log-retention", "0s", "--tombstone-retention", "0s"];

async fn load(clients: &[Client], name: &str, count: usize) -> BTreeSet<String> {
    let mut written = BTreeSet::new();
    for i in 0..count {
        let pk = format!("{name}-{i}");
        let client = &clients[i % clients.len()];
        put(client, "Items", item([("pk", s(&pk)), ("v", s(name))])).await;
        written.insert(pk);
    }
    written
}

async fn keys(client: &Client) -> BTreeSet<String> {
    let items = scan_all(client, "Items").await;
    let pk = |item| text(item, "pk").to_owned();
    items.iter().map(pk).collect()
}

/// Waits until a region says that it lacks nothing, and all regions have the same.
async fn whole(cluster: &Cluster, region: &str) {
    wait_for("the region is whole", async || {
        let status = cluster.status().await.remove(region).unwrap_or_default();
        match status["whole"].as_bool() {
            Some(true) => Ok(()),
            _ => Err(status.to_string()),
        }
    })
    .await;
    cluster.settled().await;
}

/// Waits until the logs of all regions have been dropped as far as all have them.
async fn forgotten(cluster: &Cluster) {
    wait_for("logs are dropped", async || {
        let status = cluster.status().await;
        let held = |region: &serde_json::Value| {
            let logs = region["logs"].as_array().cloned().unwrap_or_default();
            logs.iter()
                .filter_map(|log| log["held"].as_u64())
                .sum::<u64>()
        };
        let held: u64 = status.values().map(held).sum();
        if held == 0 {
            Ok(())
        } else {
            Err(format!("{held} commits are kept"))
        }
    })
    .await;
}

fn folder(cluster: &Cluster, region: &str) -> PathBuf {
    cluster.data.path().join("local").join(region)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("is there") {
        let entry = entry.expect("is there");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("has one").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_whose_data_folder_is_gone_is_given_everything() {
    let cluster = Cluster::start_with(&FORGETFUL);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let mut written = load(&clients, "early", 60).await;
    let gone = "early-0";
    let delete = clients[1].delete_item().table_name("Items");
    delete.key("pk", s(gone)).send().await.expect("deletes");
    written.remove(gone);
    cluster.settled().await;
    forgotten(&cluster).await;

    let pid = cluster.pid(AP).await;
    signal(pid, "STOP");
    std::fs::remove_dir_all(folder(&cluster, AP).join("store")).expect("removes");
    signal(pid, "KILL");
    written.extend(load(&clients[..2], "meanwhile", 20).await);
    cluster.back(AP, pid).await;
    whole(&cluster, AP).await;
    for client in &clients {
        assert_eq!(keys(client).await, written);
    }
    // And it takes part again.
    written.extend(load(&clients, "late", 9).await);
    cluster.settled().await;
    for client in &clients {
        assert_eq!(keys(client).await, written);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_gets_an_old_data_folder_back_loses_nothing_that_others_have() {
    let cluster = Cluster::start_with(&FORGETFUL);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let mut written = load(&clients, "early", 30).await;
    cluster.settled().await;
    let data = cluster.stop();
    let store = data.path().join("local").join(US).join("store");
    let backup = data.path().join("backup");
    copy(&store, &backup);

    let start = || Cluster::start_again(&data, &FORGETFUL);
    let cluster = start();
    let clients = cluster.clients();
    // Made after the copy, and known to the others.
    written.extend(load(&clients, "later", 30).await);
    cluster.settled().await;
    forgotten(&cluster).await;
    drop(cluster.stop());
    std::fs::remove_dir_all(&store).expect("removes");
    copy(&backup, &store);

    let cluster = start();
    let clients = cluster.clients();
    whole(&cluster, US).await;
    written.extend(load(&clients, "last", 9).await);
    cluster.settled().await;
    for client in &clients {
        assert_eq!(keys(client).await, written);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_cut_off_for_long_brings_its_own_writes_along() {
    let cluster = Cluster::start_with(&FORGETFUL);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let mut written = load(&clients, "early", 20).await;
    cluster.settled().await;
    cluster.run(&["partition", AP, US]).await;
    cluster.run(&["partition", AP, EU]).await;
    written.extend(load(&clients[..2], "there", 20).await);
    written.extend(load(&clients[2..], "here", 20).await);
    // One key on both sides: the other version must be kept.
    for (client, side) in [(&clients[0], "us"), (&clients[2], "ap")] {
        put(client, "Items", item([("pk", s("both")), ("v", s(side))])).await;
    }
    written.insert("both".to_owned());
    // It dies in its isolation, too.
    let pid = cluster.kill(AP).await;
    cluster.back(AP, pid).await;
    cluster.run(&["heal"]).await;
    whole(&cluster, AP).await;
    for client in &clients {
        assert_eq!(keys(client).await, written);
    }
    let conflicts = cluster.json(&["conflicts"]).await;
    let count = conflicts["conflicts"].as_array().map(Vec::len);
    assert_eq!(count, Some(1), "{conflicts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_data_folder_answers_nobody_before_it_has_heard_from_others() {
    let cluster = Cluster::start_with(&FORGETFUL);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    load(&clients, "early", 5).await;
    cluster.settled().await;
    // Nobody can tell it what it was.
    let others = [cluster.pid(US).await, cluster.pid(EU).await];
    for pid in others {
        signal(pid, "STOP");
    }
    let pid = cluster.pid(AP).await;
    signal(pid, "STOP");
    std::fs::remove_dir_all(folder(&cluster, AP).join("store")).expect("removes");
    signal(pid, "KILL");
    let refusal = wait_for("the region answers", async || {
        let scan = clients[2].scan().table_name("Items").send().await;
        let error = scan.expect_err("there is nothing yet").into_service_error();
        match message(&error).contains("being rebuilt") {
            true => Ok(code(&error).to_owned()),
            false => Err(message(&error).to_owned()),
        }
    })
    .await;
    assert_eq!(refusal, "ServiceUnavailable");
    for pid in others {
        signal(pid, "CONT");
    }
    whole(&cluster, AP).await;
    assert_eq!(keys(&clients[2]).await.len(), 5);
}
