//! What tests of global tables ask of clusters whose tables are regional at first.

use aws_sdk_dynamodb::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Cluster, Item, REGIONS, item, post, s, scan_all, wait_for};

/// Three regions whose tables are where they were created.
pub fn regional(args: &[&str]) -> Cluster {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("regional.toml");
    let mut text = "[cluster]\nname = \"regional\"\n".to_owned();
    for (id, name) in REGIONS.iter().enumerate() {
        text += &format!("\n[[region]]\nname = \"{name}\"\nid = {id}\n");
    }
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("plain");
    Cluster::start_with(&[&[file], args].concat())
}

pub async fn ask(cluster: &Cluster, region: &str, operation: &str, body: Value) -> Answer {
    post(&cluster.front(), region, operation, body.to_string()).await
}

pub async fn good(cluster: &Cluster, region: &str, operation: &str, body: Value) -> Value {
    let answer = ask(cluster, region, operation, body).await;
    assert_eq!(answer.status, 200, "{operation}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_default()
}

pub async fn describe(cluster: &Cluster, region: &str) -> Option<Value> {
    let answer = ask(
        cluster,
        region,
        "DescribeTable",
        json!({"TableName": "Table"}),
    )
    .await;
    match answer.status {
        200 => Some(answer.json()["Table"].take()),
        _ => {
            assert_eq!(answer.exception(), "ResourceNotFoundException");
            None
        }
    }
}

pub fn replica(action: &str, region: &str) -> Value {
    json!({"TableName": "Table", "ReplicaUpdates": [{action: {"RegionName": region}}]})
}

/// (region, status) of every entry of `Replicas`.
pub fn entries(table: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let list = table["Replicas"].as_array().cloned().unwrap_or_default();
    let pair = |e: &Value| (text(e, "RegionName"), text(e, "ReplicaStatus"));
    list.iter().map(pair).collect()
}

/// Waits until `region` shows exactly these other members, all ACTIVE.
pub async fn members(cluster: &Cluster, region: &str, others: &[&str]) -> Value {
    let wanted: Vec<_> = others
        .iter()
        .map(|r| ((*r).to_owned(), "ACTIVE".to_owned()))
        .collect();
    wait_for(
        "the replicas are as they should be",
        async || match describe(cluster, region).await {
            Some(table) if entries(&table) == wanted && table["TableStatus"] == "ACTIVE" => {
                Ok(table)
            }
            other => Err(format!("{region}: {other:?}")),
        },
    )
    .await
}

/// Adds a region from another, and waits until both are done.
pub async fn add(cluster: &Cluster, from: &str, region: &str) {
    wait_for("the table may be changed", async || {
        let answer = ask(cluster, from, "UpdateTable", replica("Create", region)).await;
        match answer.status {
            200 => Ok(()),
            _ => Err(format!("{answer:?}")),
        }
    })
    .await;
    wait_for("the replica is there", async || {
        let table = describe(cluster, from).await.expect("there");
        match entries(&table).contains(&(region.to_owned(), "ACTIVE".to_owned())) {
            true => Ok(()),
            false => Err(table.to_string()),
        }
    })
    .await;
    wait_for("the region serves it", async || {
        match describe(cluster, region).await {
            Some(table) if table["TableStatus"] == "ACTIVE" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

pub async fn gone(cluster: &Cluster, region: &str) {
    wait_for("the region's table is gone", async || {
        match describe(cluster, region).await {
            None => Ok(()),
            Some(table) => Err(table.to_string()),
        }
    })
    .await;
}

/// Asks until it is accepted: other changes are under way.
pub async fn update(cluster: &Cluster, region: &str, body: Value) -> Value {
    wait_for("the change is accepted", async || {
        let answer = ask(cluster, region, "UpdateTable", body.clone()).await;
        match answer.status {
            200 => Ok(answer.json()["TableDescription"].take()),
            _ => Err(format!("{answer:?}")),
        }
    })
    .await
}

pub fn entry(pk: impl ToString, v: &str) -> Item {
    item([("pk", s(pk.to_string())), ("v", s(v))])
}

pub fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by_key(|i| super::text(i, "pk").to_owned());
    items
}

/// Waits until every client reads the same items.
pub async fn same(clients: &[&Client]) -> Vec<Item> {
    wait_for("all regions hold the same", async || {
        let first = sorted(scan_all(clients[0], "Table").await);
        for other in &clients[1..] {
            let other = sorted(scan_all(other, "Table").await);
            if other != first {
                return Err(format!("{} and {} items", first.len(), other.len()));
            }
        }
        Ok(first)
    })
    .await
}
