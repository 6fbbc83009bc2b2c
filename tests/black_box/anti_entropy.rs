//! A disk that changes or loses an item: `check` says so, and a running region gets it back from another.

use crate::common::{
    Cluster, EU, Item, create, eventually, item, meridian, put, s, scan_all, text, wait_for,
};
use meridian::replica::{buckets, read};
use meridian::store::Store;

const ITEMS: usize = 40;

fn entry(n: usize) -> Item {
    item([
        ("pk", s(format!("item {n}"))),
        ("v", s("as it was written")),
    ])
}

async fn all(cluster: &Cluster) -> Vec<Item> {
    let mut items = scan_all(&cluster.client(EU), "Items").await;
    items.sort_by_key(|item| text(item, "pk").to_owned());
    items
}

#[tokio::test]
async fn what_a_disk_loses_or_changes_comes_back_from_another_region() {
    let cluster = Cluster::start_with(&["--anti-entropy=300ms"]);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    for n in 0..ITEMS {
        put(&clients[n % 3], "Items", entry(n)).await;
    }
    cluster.settled().await;
    eventually("all is everywhere", async || {
        all(&cluster).await.len() == ITEMS
    })
    .await;
    let before = all(&cluster).await;
    let status = cluster.status().await;
    for region in status.values() {
        assert_eq!(region["repairs"]["repaired"], 0, "{}", region["repairs"]);
        assert_eq!(region["repairs"]["reported"], 0, "{}", region["repairs"]);
    }
    let mut data = cluster.stop();
    for (flip, repaired) in [(false, 1), (true, 2)] {
        let folder = data.path().join("local").join(EU);
        {
            let (store, _, id) = meridian::region::open_stopped(&folder).expect("is stopped");
            let mut txn = store.begin_write().expect("writes");
            let def = read::table(txn.as_read(), id, "Items").expect("reads");
            let uid = def.expect("the table").uid;
            assert!(buckets::damage(&mut *txn, uid, 11, flip).expect("writes"));
            txn.commit().expect("commits");
        }
        let folder = folder.to_str().expect("a name");
        let problems = meridian(&["check", "--data", folder]).await;
        let said = format!("{}{}", problems.stdout, problems.stderr);
        assert!(said.contains("fingerprints of 1 ranges"), "{said}");
        let cluster = Cluster::start_in(&data, None);
        wait_for("the item is put back", async || {
            let repairs = cluster.status().await[EU]["repairs"].clone();
            if repairs["repaired"] == repaired && repairs["suspects"] == 0 {
                Ok(())
            } else {
                Err(repairs.to_string())
            }
        })
        .await;
        eventually("all is as before", async || all(&cluster).await == before).await;
        data = cluster.stop();
        meridian(&["check", "--data", folder]).await.success();
    }
}
