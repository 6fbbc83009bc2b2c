//! Tables that merge: additions made in several regions all count, attributes stay each by itself, and what merges
//! loses nothing makes no conflict (docs/merging.md).

use crate::common::global::{add, ask, good, regional};
use crate::common::{
    self, AP, Cluster, EU, Item, REGIONS, US, create, eventually, get, item, n, number, put, s,
    wait_for,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

const TABLE: &str = "Items";

fn arn(region: &str) -> String {
    format!("arn:aws:dynamodb:{region}:000000000000:table/{TABLE}")
}

fn tag(region: &str, value: &str) -> Value {
    json!({"ResourceArn": arn(region), "Tags": [{"Key": "meridian:merge", "Value": value}]})
}

/// A cluster of three regions with a table that merges.
async fn merging() -> (Cluster, [Client; 3]) {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, TABLE, "pk:S", None, None).await;
    good(&cluster, US, "TagResource", tag(US, "attributes")).await;
    for region in REGIONS {
        wait_for("every region knows", async || {
            let body = json!({"ResourceArn": arn(region)});
            let tags = good(&cluster, region, "ListTagsOfResource", body).await;
            let wanted = json!([{"Key": "meridian:merge", "Value": "attributes"}]);
            match tags["Tags"] == wanted {
                true => Ok(()),
                false => Err(tags.to_string()),
            }
        })
        .await;
    }
    (cluster, clients)
}

fn key(pk: &str) -> Item {
    item([("pk", s(pk))])
}

async fn update(client: &Client, pk: &str, expression: &str, values: &[(&str, AttributeValue)]) {
    let mut update = client
        .update_item()
        .table_name(TABLE)
        .set_key(Some(key(pk)))
        .update_expression(expression);
    for (name, value) in values {
        update = update.expression_attribute_values(*name, value.clone());
    }
    update.send().await.expect("updates");
}

async fn add_to(client: &Client, pk: &str, by: i64) {
    update(client, pk, "ADD n :by", &[(":by", n(by))]).await;
}

async fn cut(cluster: &Cluster) {
    for other in [EU, AP] {
        cluster.run(&["partition", US, other]).await;
    }
}

async fn heal(cluster: &Cluster) {
    cluster.run(&["heal"]).await;
    cluster.settled().await;
}

async fn everywhere(clients: &[Client], pk: &str, wanted: Option<Item>) {
    for client in clients {
        wait_for("the item is the same everywhere", async || {
            let found = get(client, TABLE, key(pk)).await;
            match found == wanted {
                true => Ok(()),
                false => Err(format!("{pk} is {found:?}, not {wanted:?}")),
            }
        })
        .await;
    }
}

async fn conflicts(cluster: &Cluster) -> Vec<Value> {
    let mut all = cluster.json(&["conflicts", "list", "--table", TABLE]).await;
    match all["conflicts"].take() {
        Value::Array(conflicts) => conflicts,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_regions_do_apart_comes_together() {
    let (cluster, clients) = merging().await;
    let [us, eu, _] = &clients;
    let first = |pk| {
        item([
            ("pk", s(pk)),
            ("n", n(100)),
            ("a", s("old")),
            ("b", s("old")),
        ])
    };
    for pk in ["both", "lost", "gone"] {
        put(us, TABLE, first(pk)).await;
        everywhere(&clients, pk, Some(first(pk))).await;
    }
    cut(&cluster).await;
    add_to(us, "new", 5).await;
    add_to(eu, "new", 7).await;
    for (client, by) in [(us, 1), (eu, 10), (us, 2), (eu, 20)] {
        add_to(client, "both", by).await;
    }
    update(us, "both", "SET a = :v", &[(":v", s("us"))]).await;
    update(eu, "both", "SET b = :v REMOVE zero", &[(":v", s("eu"))]).await;
    update(us, "lost", "SET a = :v", &[(":v", s("us"))]).await;
    update(eu, "lost", "SET a = :v", &[(":v", s("eu"))]).await;
    let delete = us.delete_item().table_name(TABLE);
    delete
        .set_key(Some(key("gone")))
        .send()
        .await
        .expect("deletes");
    update(eu, "gone", "SET c = :v", &[(":v", s("eu"))]).await;
    heal(&cluster).await;

    everywhere(
        &clients,
        "new",
        Some(item([("pk", s("new")), ("n", n(12))])),
    )
    .await;
    let both = item([
        ("pk", s("both")),
        ("n", n(133)),
        ("a", s("us")),
        ("b", s("eu")),
    ]);
    everywhere(&clients, "both", Some(both)).await;
    let lost = item([
        ("pk", s("lost")),
        ("n", n(100)),
        ("a", s("eu")),
        ("b", s("old")),
    ]);
    everywhere(&clients, "lost", Some(lost.clone())).await;
    // The deletion took what it knew of; what was written after it without knowledge of it stays.
    everywhere(
        &clients,
        "gone",
        Some(item([("pk", s("gone")), ("c", s("eu"))])),
    )
    .await;

    let found = conflicts(&cluster).await;
    let about = |pk: &str| -> Vec<&Value> {
        let is = |conflict: &&Value| conflict["key"]["pk"]["S"] == pk;
        found.iter().filter(is).collect()
    };
    assert!(
        about("new").is_empty() && about("both").is_empty(),
        "{found:#?}"
    );
    assert_eq!(
        (about("lost").len(), about("gone").len()),
        (1, 1),
        "{found:#?}"
    );
    let id = about("lost")[0]["id"].as_str().expect("an id").to_owned();
    let shown = cluster.json(&["conflicts", "show", &id]).await;
    assert_eq!(
        shown["loser"]["item"],
        json!({"pk": {"S": "lost"}, "a": {"S": "us"}}),
        "what was lost, and no more"
    );
    // Restoring brings that back, and leaves what else was written since.
    add_to(eu, "lost", 1).await;
    cluster.run(&["conflicts", "restore", &id]).await;
    let restored = item([
        ("pk", s("lost")),
        ("n", n(101)),
        ("a", s("us")),
        ("b", s("old")),
    ]);
    everywhere(&clients, "lost", Some(restored)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn additions_count_across_restarts_and_whatever_replaces_them() {
    let (cluster, clients) = merging().await;
    let [us, eu, ap] = &clients;
    for (client, by) in [(us, 1), (eu, 2), (ap, 4)] {
        add_to(client, "k", by).await;
    }
    cluster.settled().await;
    let pid = cluster.kill(EU).await;
    add_to(us, "k", 8).await;
    cluster.back(EU, pid).await;
    add_to(eu, "k", 16).await;
    everywhere(&clients, "k", Some(item([("pk", s("k")), ("n", n(31))]))).await;
    // The legacy parameter adds too.
    let legacy = json!({"TableName": TABLE, "Key": {"pk": {"S": "k"}}, "AttributeUpdates":
        {"n": {"Action": "ADD", "Value": {"N": "32"}}}});
    cut(&cluster).await;
    good(&cluster, US, "UpdateItem", legacy).await;
    add_to(eu, "k", 64).await;
    heal(&cluster).await;
    everywhere(&clients, "k", Some(item([("pk", s("k")), ("n", n(127))]))).await;
    // An assignment that knows of them begins anew.
    update(ap, "k", "SET n = :v", &[(":v", n(0))]).await;
    everywhere(&clients, "k", Some(item([("pk", s("k")), ("n", n(0))]))).await;
    cut(&cluster).await;
    add_to(us, "k", 3).await;
    add_to(eu, "k", 4).await;
    heal(&cluster).await;
    everywhere(&clients, "k", Some(item([("pk", s("k")), ("n", n(7))]))).await;
    assert!(conflicts(&cluster).await.is_empty());
    let data = cluster.stop();
    let cluster = Cluster::start_in(&data, None);
    let clients = cluster.clients();
    add_to(&clients[0], "k", 1).await;
    add_to(&clients[1], "k", 1).await;
    everywhere(&clients, "k", Some(item([("pk", s("k")), ("n", n(9))]))).await;
    let data = cluster.stop();
    for region in REGIONS {
        let folder = data.path().join("local").join(region);
        let checked = common::meridian(&["check", "--data", folder.to_str().expect("plain")]).await;
        checked.success();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tag_is_taken_while_the_table_is_empty_and_is_the_same_everywhere() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, TABLE, "pk:S", None, None).await;
    let unknown = ask(&cluster, US, "TagResource", tag(US, "items")).await;
    assert_eq!(unknown.exception(), "ValidationException");
    assert!(unknown.body.contains("must be 'attributes'"), "{unknown:?}");
    put(&clients[0], TABLE, key("k")).await;
    everywhere(&clients, "k", Some(key("k"))).await;
    for region in [US, EU] {
        let refused = ask(&cluster, region, "TagResource", tag(region, "attributes")).await;
        assert_eq!(refused.exception(), "ValidationException");
        assert!(
            refused.body.contains("while the table is empty"),
            "{refused:?}"
        );
    }
    let delete = clients[1].delete_item().table_name(TABLE);
    delete
        .set_key(Some(key("k")))
        .send()
        .await
        .expect("deletes");
    everywhere(&clients, "k", None).await;
    good(&cluster, EU, "TagResource", tag(EU, "attributes")).await;
    eventually("the others know", async || {
        let body = json!({"ResourceArn": arn(AP)});
        let tags = good(&cluster, AP, "ListTagsOfResource", body).await;
        tags["Tags"][0]["Value"] == "attributes"
    })
    .await;
    add_to(&clients[2], "k", 1).await;
    everywhere(&clients, "k", Some(item([("pk", s("k")), ("n", n(1))]))).await;
    let untag = json!({"ResourceArn": arn(AP), "TagKeys": ["meridian:merge"]});
    let refused = ask(&cluster, AP, "UntagResource", untag).await;
    assert!(
        refused.body.contains("while the table is empty"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_and_one_that_lost_its_disk_go_on_merging() {
    let cluster = regional(&[]);
    let [us, eu, ap] = &cluster.clients();
    let table = json!({
        "TableName": "Table", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "Tags": [{"Key": "meridian:merge", "Value": "attributes"}, {"Key": "team", "Value": "a"}],
    });
    good(&cluster, US, "CreateTable", table).await;
    let count = async |client: &Client, by: i64| {
        let add = client.update_item().table_name("Table").key("pk", s("k"));
        let add = add.update_expression("ADD n :by");
        let added = add.expression_attribute_values(":by", n(by)).send().await;
        added.expect("adds");
    };
    let counted = async |clients: &[&Client], wanted: i64| {
        for client in clients {
            wait_for("the count is the same everywhere", async || {
                let found = get(client, "Table", key("k")).await.unwrap_or_default();
                match found.contains_key("n") && number(&found, "n") == wanted {
                    true => Ok(()),
                    false => Err(format!("{found:?}, not {wanted}")),
                }
            })
            .await;
        }
    };
    count(us, 1).await;
    add(&cluster, US, EU).await;
    count(eu, 2).await;
    counted(&[us, eu], 3).await;
    add(&cluster, EU, AP).await;
    counted(&[us, eu, ap], 3).await;
    cut(&cluster).await;
    for (client, by) in [(us, 4), (eu, 8), (ap, 16)] {
        count(client, by).await;
    }
    cluster.run(&["heal"]).await;
    counted(&[us, eu, ap], 31).await;
    // A region that lost its disk is given back what it had added.
    let pid = cluster.pid(EU).await;
    common::signal(pid, "STOP");
    let store = cluster.data.path().join("regional").join(EU).join("store");
    std::fs::remove_dir_all(store).expect("removes");
    common::signal(pid, "KILL");
    cluster.back(EU, pid).await;
    wait_for("the region is whole", async || {
        let status = cluster.status().await.remove(EU).unwrap_or_default();
        match status["whole"].as_bool() {
            Some(true) => Ok(()),
            _ => Err(status.to_string()),
        }
    })
    .await;
    count(eu, 32).await;
    counted(&[us, eu, ap], 63).await;
}
