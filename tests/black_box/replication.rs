//! Several regions: what is written in one is readable in all, whatever happens on the way.

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::time::{Duration, Instant};

use crate::common::{
    self, AP, Cluster, EU, Item, REGIONS, US, code, create, eventually, get, item, n, put,
    query_all, s, scan_all, text, wait_for,
};
use aws_sdk_dynamodb::Client;
use serde_json::Value;

fn key(pk: &str) -> Item {
    item([("pk", s(pk))])
}

fn entry(pk: &str, v: &str) -> Item {
    item([("pk", s(pk)), ("v", s(v))])
}

/// Waits until every one of `clients` reads `wanted` at `pk` of table `Items`.
async fn all_read(clients: &[Client], pk: &str, wanted: Option<Item>) {
    for client in clients {
        wait_for("a write is readable in another region", async || {
            let found = get(client, "Items", key(pk)).await;
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{pk} is {found:?}, not {wanted:?}"))
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_one_region_writes_all_read() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let [us, eu, ap] = &clients;
    put(us, "Items", entry("from us", "1")).await;
    put(eu, "Items", entry("from eu", "2")).await;
    put(ap, "Items", entry("from ap", "3")).await;
    all_read(&clients, "from us", Some(entry("from us", "1"))).await;
    all_read(&clients, "from eu", Some(entry("from eu", "2"))).await;
    all_read(&clients, "from ap", Some(entry("from ap", "3"))).await;
    // Overwritten and deleted elsewhere than where they were born.
    put(ap, "Items", entry("from us", "4")).await;
    let deleted = us
        .delete_item()
        .table_name("Items")
        .set_key(Some(key("from eu")));
    deleted.send().await.expect("deleted");
    let updated = eu
        .update_item()
        .table_name("Items")
        .set_key(Some(key("from ap")))
        .update_expression("SET v = :v")
        .expression_attribute_values(":v", s("5"));
    updated.send().await.expect("updated");
    all_read(&clients, "from us", Some(entry("from us", "4"))).await;
    all_read(&clients, "from eu", None).await;
    all_read(&clients, "from ap", Some(entry("from ap", "5"))).await;
    cluster.settled().await;
    let conflicts = cluster.json(&["conflicts"]).await;
    assert_eq!(
        conflicts["conflicts"],
        serde_json::json!([]),
        "nobody raced"
    );
    for client in &clients {
        assert_eq!(scan_all(client, "Items").await.len(), 2);
    }
}

/// The conflict about `pk`, once it is listed.
async fn conflict_about(cluster: &Cluster, pk: &str) -> Value {
    wait_for("the conflict is listed", async || {
        let all = cluster.json(&["conflicts", "--table", "Items"]).await;
        let found: Vec<&Value> = all["conflicts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|conflict| conflict["key"]["pk"]["S"] == pk)
            .collect();
        match found.as_slice() {
            [conflict] => Ok((*conflict).clone()),
            _ => Err(format!("{} about {pk}: {all}", found.len())),
        }
    })
    .await
}

#[tokio::test]
async fn after_a_partition_the_last_writer_wins_and_the_loser_is_listed() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let [us, eu, ap] = &clients;
    put(us, "Items", entry("deleted", "old")).await;
    all_read(&clients, "deleted", Some(entry("deleted", "old"))).await;
    cluster.run(&["partition", US, EU]).await;
    cluster.run(&["partition", US, AP]).await;
    put(us, "Items", entry("k", "us")).await;
    put(eu, "Items", entry("k", "eu")).await;
    put(eu, "Items", entry("deleted", "eu")).await;
    let deleted = us
        .delete_item()
        .table_name("Items")
        .set_key(Some(key("deleted")));
    deleted.send().await.expect("deleted");
    put(us, "Items", entry("quiet", "us")).await;
    // The other side of the cut hears each other, and not us.
    all_read(from_ref(ap), "k", Some(entry("k", "eu"))).await;
    all_read(from_ref(ap), "deleted", Some(entry("deleted", "eu"))).await;
    assert_eq!(get(us, "Items", key("k")).await, Some(entry("k", "us")));
    assert_eq!(get(ap, "Items", key("quiet")).await, None);
    eventually("status shows the cut", async || {
        let status = cluster.status().await;
        let links = status[US]["links"].as_array().cloned().unwrap_or_default();
        links.len() == 2 && links.iter().all(|link| link["connected"] == false)
    })
    .await;
    cluster.run(&["heal"]).await;
    all_read(&clients, "k", Some(entry("k", "eu"))).await;
    all_read(&clients, "deleted", None).await;
    all_read(&clients, "quiet", Some(entry("quiet", "us"))).await;
    cluster.settled().await;
    let conflict = conflict_about(&cluster, "k").await;
    assert_eq!(conflict["table"], "Items");
    assert_eq!(conflict["winner"]["region"], EU);
    assert_eq!(conflict["winner"]["item"]["v"]["S"], "eu");
    assert_eq!(conflict["loser"]["region"], US);
    assert_eq!(conflict["loser"]["item"]["v"]["S"], "us");
    let conflict = conflict_about(&cluster, "deleted").await;
    assert_eq!(conflict["winner"]["region"], US);
    assert_eq!(conflict["winner"]["item"], Value::Null, "a delete won");
    assert_eq!(conflict["loser"]["item"]["v"]["S"], "eu");
    let shown = cluster.run(&["conflicts"]).await.stdout;
    assert!(shown.contains("won") && shown.contains(EU), "{shown}");
}

#[tokio::test]
async fn writes_take_another_way_around_a_cut_link() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let [us, _, ap] = &clients;
    cluster.run(&["partition", US, AP]).await;
    put(us, "Items", entry("east", "us")).await;
    put(ap, "Items", entry("west", "ap")).await;
    all_read(&clients, "east", Some(entry("east", "us"))).await;
    all_read(&clients, "west", Some(entry("west", "ap"))).await;
    let status = cluster.status().await;
    let links = status[US]["links"].as_array().cloned().unwrap_or_default();
    let cut = links.iter().find(|link| link["peer"] == AP);
    assert_eq!(
        cut.map(|link| &link["connected"]),
        Some(&Value::Bool(false)),
        "{links:?}"
    );
    cluster.run(&["heal", US, AP]).await;
    cluster.settled().await;
    // One way only: what us sends to ap is lost, and still arrives.
    cluster.run(&["partition", US, AP, "--one-way"]).await;
    put(us, "Items", entry("east", "us again")).await;
    put(ap, "Items", entry("west", "ap again")).await;
    all_read(&clients, "east", Some(entry("east", "us again"))).await;
    all_read(&clients, "west", Some(entry("west", "ap again"))).await;
    cluster.run(&["heal"]).await;
    cluster.settled().await;
}

#[tokio::test]
async fn a_slow_link_is_slow() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    cluster.settled().await;
    cluster.run(&["slow", US, EU, "--rtt", "400ms"]).await;
    let start = Instant::now();
    put(&clients[0], "Items", entry("k", "slow")).await;
    all_read(&clients[1..2], "k", Some(entry("k", "slow"))).await;
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(190),
        "after {took:?} over a link of 200 ms"
    );
    cluster.run(&["heal"]).await;
    cluster.settled().await;
}

/// Waits until no region knows the table.
async fn gone(clients: &[Client], table: &str) {
    for client in clients {
        wait_for("a deleted table is gone everywhere", async || match client
            .describe_table()
            .table_name(table)
            .send()
            .await
        {
            Err(error) if code(&error) == "ResourceNotFoundException" => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}

#[tokio::test]
async fn a_deleted_table_is_gone_everywhere_and_comes_back_empty() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    put(&clients[0], "Items", entry("old", "us")).await;
    all_read(&clients, "old", Some(entry("old", "us"))).await;
    let deleted = clients[1].delete_table().table_name("Items").send().await;
    deleted.expect("deleted where it was not created");
    gone(&clients, "Items").await;
    create(&clients, "Items", "pk:S", None, None).await;
    put(&clients[2], "Items", entry("new", "ap")).await;
    all_read(&clients, "new", Some(entry("new", "ap"))).await;
    cluster.settled().await;
    for client in &clients {
        assert_eq!(scan_all(client, "Items").await, [entry("new", "ap")]);
    }
}

#[tokio::test]
async fn a_table_created_twice_unseen_becomes_one_and_loses_nothing_silently() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    let [us, eu, _] = &clients;
    cluster.run(&["partition", US, EU]).await;
    cluster.run(&["partition", US, AP]).await;
    create(from_ref(us), "Items", "pk:S", None, None).await;
    put(us, "Items", entry("k", "us")).await;
    create(&clients[1..], "Items", "pk:S", None, None).await;
    put(eu, "Items", entry("k", "eu")).await;
    cluster.run(&["heal"]).await;
    cluster.settled().await;
    let mut found = Vec::new();
    for client in &clients {
        found.push(scan_all(client, "Items").await);
    }
    assert!(found.iter().all(|items| *items == found[0]), "{found:?}");
    let lost = ["us", "eu"]
        .into_iter()
        .filter(|v| !found[0].contains(&entry("k", v)));
    let conflicts = cluster.json(&["conflicts", "--table", "Items"]).await;
    let listed = conflicts["conflicts"].as_array().expect("a list");
    for value in lost {
        let named = |conflict: &Value| conflict["loser"]["item"]["v"]["S"] == value;
        assert!(
            listed.iter().any(named),
            "'{value}' is neither kept nor listed: {conflicts}"
        );
    }
    put(eu, "Items", entry("k", "later")).await;
    all_read(&clients, "k", Some(entry("k", "later"))).await;
}

/// One region's share of a storm: puts, removals from the index and deletes, all on the same 20 items.
async fn storm(client: Client, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    for round in 0..80 {
        let id = s(format!("order-{}", chance.u32(0..20)));
        let status = ["open", "paid", "sent"][chance.usize(0..3)];
        let update = client
            .update_item()
            .table_name("Orders")
            .key("id", id.clone());
        match chance.u32(0..10) {
            0 => {
                let delete = client.delete_item().table_name("Orders").key("id", id);
                delete.send().await.expect("deleted");
            }
            1 => {
                let update = update
                    .update_expression("REMOVE #s")
                    .expression_attribute_names("#s", "status");
                update.send().await.expect("taken from the index");
            }
            _ => {
                let update = update
                    .update_expression("SET #s = :s, seat = :at")
                    .expression_attribute_names("#s", "status")
                    .expression_attribute_values(":s", s(status))
                    .expression_attribute_values(":at", n(round));
                update.send().await.expect("moved in the index");
            }
        }
    }
}

fn by_id(items: Vec<Item>) -> BTreeMap<String, Item> {
    let id = |item: &Item| text(item, "id").to_owned();
    items.into_iter().map(|item| (id(&item), item)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_converges_under_writes_from_everywhere() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    let index = Some(("by_status", "status:S", Some("seat:N")));
    create(&clients, "Orders", "id:S", None, index).await;
    let storms = clients.clone().map(|client| client).into_iter().zip(1..);
    let storms: Vec<_> = storms
        .map(|(client, seed)| tokio::spawn(storm(client, seed)))
        .collect();
    for storm in storms {
        storm.await.expect("every write is accepted");
    }
    cluster.settled().await;
    let truth = by_id(scan_all(&clients[0], "Orders").await);
    assert!(!truth.is_empty());
    let indexed = |item: &Item| item.contains_key("status") && item.contains_key("seat");
    let wanted: BTreeMap<_, _> = truth
        .clone()
        .into_iter()
        .filter(|(_, i)| indexed(i))
        .collect();
    for (client, region) in clients.iter().zip(REGIONS) {
        assert_eq!(
            by_id(scan_all(client, "Orders").await),
            truth,
            "items of {region}"
        );
        let mut found = Vec::new();
        for status in ["open", "paid", "sent"] {
            let part = query_all(client, "Orders", Some("by_status"), "status", s(status)).await;
            assert!(
                part.is_sorted_by_key(|i| common::number(i, "seat")),
                "{part:?}"
            );
            found.extend(part);
        }
        assert_eq!(
            found.len(),
            wanted.len(),
            "index entries of {region}: {found:?}"
        );
        assert_eq!(by_id(found), wanted, "index of {region}");
    }
}
