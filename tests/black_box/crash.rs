//! Regions that die and come back: nothing that was acknowledged is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{
    AP, Cluster, EU, Item, US, create, eventually, get, item, n, put, query_all, s, scan_all,
    signal, text, wait_for,
};
use aws_sdk_dynamodb::Client;
use tokio::task::JoinHandle;

/// The keys of acknowledged writes.
type Acknowledged = Arc<Mutex<BTreeSet<String>>>;

/// Writes one new item after the other until told to stop; refusals are fine, lies are not.
async fn write_on(client: Client, name: String, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    for i in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let pk = format!("{name}-{i}");
        let put = client
            .put_item()
            .table_name("Items")
            .item("pk", s(&pk))
            .item("i", n(i));
        match put.send().await {
            Ok(_) => {
                acknowledged.lock().unwrap().insert(pk);
            }
            // The region is down; not to spin until it is back.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn keys(client: &Client) -> BTreeSet<String> {
    let items = scan_all(client, "Items").await;
    items
        .iter()
        .map(|item| text(item, "pk").to_owned())
        .collect()
}

/// Writers that go on until they are stopped.
struct Load {
    acknowledged: Acknowledged,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Two writers for each of `clients`; returns once their writes flow.
    async fn start(clients: &[Client]) -> Load {
        let acknowledged = Acknowledged::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for (n, client) in clients.iter().flat_map(|c| [c, c]).enumerate() {
            let name = format!("writer{n}");
            let write = write_on(client.clone(), name, acknowledged.clone(), stop.clone());
            writers.push(tokio::spawn(write));
        }
        let load = Load {
            acknowledged,
            stop,
            writers,
        };
        load.flows().await;
        load
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until another hundred writes are acknowledged.
    async fn flows(&self) {
        let so_far = self.count();
        eventually("writes flow", async || self.count() >= so_far + 100).await;
    }

    /// Stops the writers; gives every acknowledged key.
    async fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::SeqCst);
        for writer in self.writers {
            writer.await.expect("writers end");
        }
        let acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.clone()
    }
}

/// Every region has every acknowledged key, and all have the same.
async fn nothing_is_lost(cluster: &Cluster, clients: &[Client], acknowledged: &BTreeSet<String>) {
    cluster.settled().await;
    let found = keys(&clients[0]).await;
    let lost: Vec<&String> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    for client in &clients[1..] {
        assert_eq!(keys(client).await, found, "every region has the same");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_region_loses_nothing_and_comes_back() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let load = Load::start(&clients[..2]).await;
    let mut meanwhile = BTreeSet::new();
    // The region that is written to, and the one that is replicated to.
    for (round, region) in [US, AP, US].into_iter().enumerate() {
        let old = cluster.kill(region).await;
        // The others go on, and the dead region hears of it later.
        let pk = format!("meanwhile-{round}");
        put(&clients[1], "Items", item([("pk", s(&pk))])).await;
        meanwhile.insert(pk);
        cluster.back(region, old).await;
        load.flows().await;
    }
    let mut acknowledged = load.end().await;
    acknowledged.extend(meanwhile);
    nothing_is_lost(&cluster, &clients, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_killed_at_once_loses_nothing() {
    let mut cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let load = Load::start(&clients).await;
    let mut pids = vec![cluster.process.pid()];
    for region in [US, EU, AP] {
        pids.push(cluster.pid(region).await);
    }
    for pid in pids {
        signal(pid, "KILL");
    }
    let acknowledged = load.end().await;
    cluster.process.wait();
    let cluster = Cluster::start_in(&cluster.data, None);
    nothing_is_lost(&cluster, &cluster.clients(), &acknowledged).await;
}

#[tokio::test]
async fn a_restarted_cluster_has_everything() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    let index = Some(("by_v", "v:S", None));
    create(&clients, "Items", "pk:S", None, index).await;
    for i in 0..30 {
        let written = item([("pk", s(format!("k{i}"))), ("v", s(format!("v{}", i % 3)))]);
        put(&clients[i % 3], "Items", written).await;
    }
    // And a conflict to be remembered.
    cluster.run(&["partition", US, EU]).await;
    cluster.run(&["partition", US, AP]).await;
    put(
        &clients[0],
        "Items",
        item([("pk", s("raced")), ("v", s("us"))]),
    )
    .await;
    put(
        &clients[1],
        "Items",
        item([("pk", s("raced")), ("v", s("eu"))]),
    )
    .await;
    cluster.run(&["heal"]).await;
    cluster.settled().await;
    let sorted = |mut items: Vec<Item>| {
        items.sort_by_key(|item| text(item, "pk").to_owned());
        items
    };
    let before = sorted(scan_all(&clients[2], "Items").await);
    let conflicts = cluster.json(&["conflicts"]).await;
    assert_eq!(
        conflicts["conflicts"].as_array().map(Vec::len),
        Some(1),
        "{conflicts}"
    );
    let data = cluster.stop();

    let cluster = Cluster::start_in(&data, None);
    let clients = cluster.clients();
    for client in &clients {
        assert_eq!(sorted(scan_all(client, "Items").await), before);
        assert_eq!(
            query_all(client, "Items", Some("by_v"), "v", s("v1"))
                .await
                .len(),
            10
        );
    }
    assert_eq!(cluster.json(&["conflicts"]).await, conflicts);
    let later = item([("pk", s("raced")), ("v", s("later"))]);
    put(&clients[2], "Items", later.clone()).await;
    for client in &clients {
        wait_for("a restarted cluster replicates", async || {
            let found = get(client, "Items", item([("pk", s("raced"))])).await;
            let arrived = found.as_ref() == Some(&later);
            if arrived {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }
    cluster.settled().await;
}

fn runs(pid: u32) -> bool {
    // A zombie has no command line any more.
    let line = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"));
    line.is_ok_and(|line| !line.is_empty())
}

#[tokio::test]
async fn no_region_outlives_its_cluster() {
    for name in ["TERM", "INT", "KILL"] {
        let mut cluster = Cluster::start();
        let mut pids = Vec::new();
        for region in [US, EU, AP] {
            pids.push(cluster.pid(region).await);
        }
        assert!(pids.iter().all(|pid| runs(*pid)), "{pids:?}");
        signal(cluster.process.pid(), name);
        let status = cluster.process.wait();
        assert_eq!(status.success(), name != "KILL", "{name}: {status}");
        eventually("every region ends", async || {
            !pids.iter().any(|pid| runs(*pid))
        })
        .await;
    }
}
