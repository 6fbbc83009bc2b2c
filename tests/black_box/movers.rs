//! Replicas that are added and removed while all regions are written to, and the region dies.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use meridian::store::{Db, Range, Store};
use tokio::task::JoinSet;

use crate::common::global::*;
use crate::common::{AP, EU, US, create, meridian, put, text, wait_for};

/// Items that are there before.
const EARLY: usize = 600;
/// Tasks that write, in turn to the one client or the other.
const WRITERS: usize = 6;
/// Keys that each of them writes again and again.
const KEYS: usize = 40;

/// What is written while something else is done, and the last that was acknowledged of each key.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writers: JoinSet<BTreeMap<String, String>>,
}

impl Load {
    fn start(clients: &[Client]) -> Load {
        let (stop, acknowledged) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let client = clients[writer % clients.len()].clone();
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            writers.spawn(async move {
                let mut last = BTreeMap::new();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (pk, v) = (format!("w{writer}-{}", n % KEYS), format!("{n:06}"));
                    put(&client, "Table", entry(&pk, &v)).await;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                    last.insert(pk, v);
                }
                last
            });
        }
        Load {
            stop,
            acknowledged,
            writers,
        }
    }

    /// Waits until that many more writes were acknowledged.
    async fn go_on(&self, more: usize) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + more;
        wait_for("writes are acknowledged", async || {
            match self.acknowledged.load(Ordering::Relaxed) {
                has if has >= wanted => Ok(()),
                has => Err(format!("{has} of {wanted}")),
            }
        })
        .await;
    }

    async fn end(self) -> BTreeMap<String, String> {
        self.stop.store(true, Ordering::Relaxed);
        let written = self.writers.join_all().await;
        written.into_iter().flatten().collect()
    }
}

/// How many items a stopped region has, deletions included.
fn items(folder: &Path) -> usize {
    let (store, ..) = meridian::region::open_stopped(folder).expect("is stopped");
    let txn = store.begin_read().expect("begins");
    let mut rows = 0;
    let count = &mut |_: &[u8], _: &[u8]| {
        rows += 1;
        std::ops::ControlFlow::Continue(())
    };
    txn.scan(Db::Items, Range::ALL, count).expect("scans");
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_region_dies_under_load_ends_whole_and_a_deleted_one_leaves_nothing() {
    let cluster = regional(&[]);
    let [us, eu, ap] = cluster.clients();
    create(std::slice::from_ref(&us), "Table", "pk:S", None, None).await;
    add(&cluster, US, AP).await;
    for n in 0..EARLY {
        put(&us, "Table", entry(format!("early-{n}"), "x")).await;
    }
    // So that the copy takes a while, in round trips.
    for other in [US, AP] {
        let slow = ["slow", other, EU, "--rtt", "400ms"];
        cluster.run(&slow).await;
    }
    let load = Load::start(&[us.clone(), ap.clone()]);
    load.go_on(50).await;
    good(&cluster, US, "UpdateTable", replica("Create", EU)).await;
    for _ in 0..3 {
        let table = describe(&cluster, US).await.expect("there");
        let creating = (EU.to_owned(), "CREATING".to_owned());
        assert!(entries(&table).contains(&creating), "{table}");
        let pid = cluster.kill(EU).await;
        load.go_on(20).await;
        cluster.back(EU, pid).await;
    }
    members(&cluster, EU, &[US, AP]).await;
    load.go_on(50).await;
    let mut written = load.end().await;
    cluster.run(&["heal"]).await;
    let all = same(&[&us, &eu, &ap]).await;
    let known: BTreeMap<&str, &str> = all.iter().map(|i| (text(i, "pk"), text(i, "v"))).collect();
    assert_eq!(all.len(), EARLY + written.len());
    for (pk, v) in &written {
        assert_eq!(known.get(pk.as_str()), Some(&v.as_str()), "{pk}");
    }

    let load = Load::start(&[us.clone(), ap.clone()]);
    load.go_on(20).await;
    update(&cluster, US, replica("Delete", EU)).await;
    let pid = cluster.kill(EU).await;
    load.go_on(20).await;
    cluster.back(EU, pid).await;
    gone(&cluster, EU).await;
    members(&cluster, US, &[AP]).await;
    written.extend(load.end().await);
    let all = same(&[&us, &ap]).await;
    assert_eq!(all.len(), EARLY + written.len());
    let data = cluster.stop();
    // The cluster is named so.
    let folder = data.path().join("regional").join(EU);
    assert_eq!(items(&folder), 0);
    let folder = folder.to_str().expect("plain");
    meridian(&["check", "--data", folder]).await.success();
}
