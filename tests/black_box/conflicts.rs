//! Conflicts are data: listed, shown, followed, restored and, in time, forgotten and counted.

use std::collections::BTreeMap;

use crate::common::{
    AP, Cluster, EU, Item, Process, US, admin, create, eventually, get, item, meridian, put, s,
    wait_for,
};
use aws_sdk_dynamodb::Client;
use hyper::Method;
use serde_json::{Value, json};

fn key(pk: &str) -> Item {
    item([("pk", s(pk))])
}

fn entry(pk: &str, v: &str) -> Item {
    item([("pk", s(pk)), ("v", s(v))])
}

async fn cut(cluster: &Cluster) {
    for other in [EU, AP] {
        cluster.run(&["partition", US, other]).await;
    }
}

async fn delete(client: &Client, pk: &str) {
    let delete = client.delete_item().table_name("Items");
    let deleted = delete.set_key(Some(key(pk))).send().await;
    deleted.expect("deleted");
}

async fn all_read(clients: &[Client], pk: &str, wanted: Option<Item>) {
    for client in clients {
        wait_for("the item is the same everywhere", async || {
            let found = get(client, "Items", key(pk)).await;
            match found == wanted {
                true => Ok(()),
                false => Err(format!("{pk} is {found:?}, not {wanted:?}")),
            }
        })
        .await;
    }
}

/// Writes `pk` in US, then in EU, while they do not hear each other.
async fn race(cluster: &Cluster, clients: &[Client], names: &[&str]) {
    cut(cluster).await;
    for pk in names {
        put(&clients[0], "Items", entry(pk, "us")).await;
        put(&clients[1], "Items", entry(pk, "eu")).await;
    }
    cluster.run(&["heal"]).await;
    cluster.settled().await;
}

async fn listed(cluster: &Cluster) -> Vec<Value> {
    let mut all = cluster
        .json(&["conflicts", "list", "--table", "Items"])
        .await;
    match all["conflicts"].take() {
        Value::Array(conflicts) => conflicts,
        other => panic!("{other}"),
    }
}

async fn id_of(cluster: &Cluster, pk: &str) -> String {
    let listed = listed(cluster).await;
    let about = |conflict: &&Value| conflict["key"]["pk"]["S"] == pk;
    let found: Vec<&Value> = listed.iter().filter(about).collect();
    assert_eq!(found.len(), 1, "about {pk}: {listed:#?}");
    found[0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn what_lost_is_shown_and_restored() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let old = entry("gone", "old");
    put(&clients[0], "Items", old.clone()).await;
    all_read(&clients, "gone", Some(old)).await;
    cut(&cluster).await;
    delete(&clients[0], "gone").await;
    put(&clients[1], "Items", entry("gone", "eu")).await;
    race(&cluster, &clients, &["k", "moved"]).await;
    let id = id_of(&cluster, "k").await;
    let shown = cluster.json(&["conflicts", "show", &id]).await;
    assert_eq!(
        shown["winner"]["item"],
        json!({"pk": {"S": "k"}, "v": {"S": "eu"}})
    );
    assert_eq!(shown["loser"]["item"]["v"]["S"], "us");
    assert_eq!(shown["winner"]["region"], EU);
    assert_eq!(shown["restored"], Value::Null);
    let seen = shown["seen"].as_array().expect("witnesses");
    assert!(seen.len() >= 2, "US and EU saw it: {shown:#}");
    let text = cluster.run(&["conflicts", "show", &id[..12]]).await.stdout;
    for part in [&id, "won", "lost", EU, "seen by", "\"us\""] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    cluster.run(&["conflicts", "restore", &id]).await;
    all_read(&clients, "k", Some(entry("k", "us"))).await;
    eventually("every region that saw it marks it", async || {
        let shown = cluster.json(&["conflicts", "show", &id]).await;
        shown["restored"]["region"].is_string()
    })
    .await;
    let again = cluster
        .try_run(&["conflicts", "restore", &id])
        .await
        .refused();
    assert!(
        again.contains("\"us\"") && again.contains("--force"),
        "{again}"
    );
    // Somebody has written since: refused, unless forced.
    let moved = id_of(&cluster, "moved").await;
    put(&clients[2], "Items", entry("moved", "later")).await;
    all_read(&clients, "moved", Some(entry("moved", "later"))).await;
    let refused = cluster
        .try_run(&["conflicts", "restore", &moved])
        .await
        .refused();
    assert!(
        refused.contains("later") && refused.contains(AP),
        "{refused}"
    );
    cluster
        .run(&["conflicts", "restore", &moved, "--force", "--region", EU])
        .await;
    all_read(&clients, "moved", Some(entry("moved", "us"))).await;
    // A delete that lost deletes.
    let gone = id_of(&cluster, "gone").await;
    cluster.run(&["conflicts", "restore", &gone]).await;
    all_read(&clients, "gone", None).await;
    cluster.settled().await;
    assert_eq!(
        listed(&cluster).await.len(),
        3,
        "restoring made no conflict"
    );
    let status = cluster.status().await;
    let counts = &status[EU]["conflict_counts"];
    assert_eq!(counts["recorded"], 3);
    assert_eq!(counts["restored"], 3);
    let link = json!({"winner": EU, "loser": US, "recorded": 3});
    assert_eq!(counts["links"], json!([link]));
    let unknown = cluster.try_run(&["conflicts", "show", "abcdef0123"]).await;
    assert!(unknown.refused().contains("abcdef0123"));
    let text = cluster.run(&["conflicts"]).await.stdout;
    assert!(
        text.contains("restored by") && text.contains("3 recorded"),
        "{text}"
    );
}

#[tokio::test]
async fn the_admin_port_has_the_same_verbs() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    race(&cluster, &clients, &["a", "b", "c"]).await;
    let status = cluster.status().await;
    let port = status[EU]["admin"].as_str().expect("an address").to_owned();
    let ask = async |path: &str| admin(&port, Method::GET, path, "").await;
    let first = ask("/conflicts?after=0&limit=2").await.json();
    assert_eq!(first["conflicts"].as_array().map(Vec::len), Some(2));
    assert_eq!(first["next"], 2);
    let rest = ask("/conflicts?after=2&limit=2&table=Items").await.json();
    assert_eq!(rest["conflicts"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest["next"], 3);
    let id = rest["conflicts"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let one = ask(&format!("/conflicts/{id}")).await;
    assert_eq!(one.json()["number"], 3);
    let restore = format!("/conflicts/{id}/restore");
    let restored = admin(&port, Method::POST, &restore, "{\"force\": false}").await;
    assert_eq!(restored.status, 200, "{restored:?}");
    assert_eq!(restored.json()["restored"]["restored"]["region"], EU);
    let again = admin(&port, Method::POST, &restore, "").await;
    assert_eq!(again.status, 409, "{again:?}");
    assert_eq!(again.json()["now"]["item"]["v"]["S"], "us");
    let bad = [
        ("/conflicts/ffffffffffffffff", 404),
        ("/conflicts/not-hex", 400),
        ("/conflicts?after=x", 400),
        ("/conflicts/a/b/c", 404),
        ("/conflictsandmore", 404),
    ];
    for (path, status) in bad {
        assert_eq!(ask(path).await.status, status, "{path}");
    }
    let body = admin(&port, Method::POST, &restore, "{\"what\": 1}").await;
    assert_eq!(body.status, 400, "{body:?}");
    by_topology(&cluster, &status, &id).await;
}

/// A cluster that is found by a topology file, with the admin ports in it.
async fn by_topology(cluster: &Cluster, status: &BTreeMap<String, Value>, id: &str) {
    let mut text = "[cluster]\nname = \"local\"\n".to_owned();
    for (number, region) in [US, EU, AP].into_iter().enumerate() {
        let port = status[region]["admin"].as_str().expect("an address");
        text.push_str(&format!(
            "[[region]]\nname = \"{region}\"\nid = {number}\nadmin = \"{port}\"\n"
        ));
    }
    let file = cluster.data.path().join("found.toml");
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("text");
    for args in [
        vec!["conflicts"],
        vec!["conflicts", "list"],
        vec!["conflicts", "show", id],
        vec!["conflicts", "restore", id, "--force"],
    ] {
        let shown = meridian(&[args.as_slice(), &["--topology", file]].concat()).await;
        assert!(shown.success().stdout.contains(id), "{args:?}");
    }
}

#[tokio::test]
async fn tail_tells_each_conflict_once_as_it_comes() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    race(&cluster, &clients, &["before"]).await;
    let port = cluster.port.to_string();
    let all = [
        "conflicts",
        "tail",
        "--all",
        "--json",
        "--table",
        "Items",
        "--port",
        &port,
    ];
    let tail = Process::spawn(&all);
    let told = || serde_json::from_str::<Value>(&tail.line()).expect("a line of JSON");
    assert_eq!(told()["key"]["pk"]["S"], "before");
    race(&cluster, &clients, &["after"]).await;
    let conflict = told();
    assert_eq!(conflict["key"]["pk"]["S"], "after", "once, whoever saw it");
    assert_eq!(conflict["id"], Value::from(id_of(&cluster, "after").await));
}

#[tokio::test]
async fn old_conflicts_go_and_are_counted() {
    let cluster = Cluster::start_with(&["--conflict-keep", "1s"]);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    race(&cluster, &clients, &["k"]).await;
    wait_for("the conflict is dropped and counted", async || {
        let status = cluster.status().await;
        let counts = &status[EU]["conflict_counts"];
        let of = |name: &str| counts[name].as_u64();
        match (of("recorded"), of("kept"), of("dropped")) {
            (Some(1), Some(0), Some(1)) => Ok(()),
            _ => Err(counts.to_string()),
        }
    })
    .await;
    let status = cluster.status().await;
    assert_eq!(status[EU]["conflicts"], 1, "ever");
    eventually("none is listed", async || listed(&cluster).await.is_empty()).await;
    let text = cluster.run(&["conflicts"]).await.stdout;
    assert!(
        text.contains("no conflicts") && text.contains("1 dropped"),
        "{text}"
    );
}
