//! What eventual consistency across regions means for those who write programs: one test for each line of the
//! table in docs/global-tables.md (global-tables.md section 5.2 of the specification). None of this is an
//! error to anybody; what is lost is in the conflict log.

use crate::common::{
    self, AP, Cluster, EU, Item, US, code, create, get, item, n, number, put, s, scan_all, wait_for,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use serde_json::Value;

const TABLE: &str = "Items";

fn key(pk: &str) -> Item {
    item([("pk", s(pk))])
}

/// Three regions with an item that all of them have, and US cut off from the others.
async fn apart(first: Item) -> (Cluster, [Client; 3]) {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, TABLE, "pk:S", None, None).await;
    put(&clients[0], TABLE, first).await;
    cluster.settled().await;
    cluster.run(&["partition", US, EU]).await;
    cluster.run(&["partition", US, AP]).await;
    (cluster, clients)
}

/// Heals, and gives what all regions then have at `pk`.
async fn healed(cluster: &Cluster, clients: &[Client], pk: &str) -> Option<Item> {
    cluster.run(&["heal"]).await;
    cluster.settled().await;
    let first = get(&clients[0], TABLE, key(pk)).await;
    for client in clients {
        assert_eq!(get(client, TABLE, key(pk)).await, first, "they converge");
    }
    first
}

/// The conflict about `pk`.
async fn conflict(cluster: &Cluster, pk: &str) -> Value {
    wait_for("the conflict is listed", async || {
        let all = cluster.json(&["conflicts", "--table", TABLE]).await;
        let list = all["conflicts"].as_array().cloned().unwrap_or_default();
        let about = |c: &Value| c["key"]["pk"]["S"] == pk;
        list.into_iter().find(about).ok_or_else(|| all.to_string())
    })
    .await
}

async fn update(
    client: &Client,
    pk: &str,
    expression: &str,
    value: (&str, aws_sdk_dynamodb::types::AttributeValue),
) {
    let update = client
        .update_item()
        .table_name(TABLE)
        .set_key(Some(key(pk)));
    let update = update.update_expression(expression);
    let update = update.expression_attribute_values(value.0, value.1);
    update.send().await.expect("every region takes writes");
}

#[tokio::test]
async fn a_strong_read_is_strong_in_its_own_region_only() {
    let (_cluster, [us, eu, _]) = apart(item([("pk", s("k")), ("v", s("old"))])).await;
    put(&us, TABLE, item([("pk", s("k")), ("v", s("new"))])).await;
    let read = |client: &Client| {
        let get = client.get_item().table_name(TABLE).set_key(Some(key("k")));
        get.consistent_read(true).send()
    };
    let here = read(&us).await.expect("read").item.expect("there");
    let there = read(&eu).await.expect("no error").item.expect("there");
    assert_eq!((&here["v"], &there["v"]), (&s("new"), &s("old")));
}

#[tokio::test]
async fn two_conditional_puts_of_one_new_item_both_succeed() {
    let (cluster, clients) = apart(item([("pk", s("other"))])).await;
    for (client, v) in [(&clients[0], "us"), (&clients[1], "eu")] {
        let put = client.put_item().table_name(TABLE);
        let put = put.set_item(Some(item([("pk", s("unique")), ("v", s(v))])));
        let put = put.condition_expression("attribute_not_exists(pk)");
        put.send().await.expect("the item is new in this region");
    }
    let survivor = healed(&cluster, &clients, "unique")
        .await
        .expect("one survives");
    assert_eq!(survivor["v"], s("eu"), "the later");
    let conflict = conflict(&cluster, "unique").await;
    assert_eq!(conflict["loser"]["item"]["v"]["S"], "us");
}

#[tokio::test]
async fn optimistic_locking_gives_one_number_to_two_contents() {
    let (cluster, clients) = apart(item([("pk", s("k")), ("version", n(1))])).await;
    for (client, v) in [(&clients[0], "us"), (&clients[1], "eu")] {
        let update = client
            .update_item()
            .table_name(TABLE)
            .set_key(Some(key("k")));
        let update = update
            .update_expression("SET v = :v, version = version + :one")
            .condition_expression("version = :one")
            .expression_attribute_values(":v", s(v))
            .expression_attribute_values(":one", n(1));
        update.send().await.expect("the version is right here");
    }
    let survivor = healed(&cluster, &clients, "k").await.expect("there");
    assert_eq!(
        (number(&survivor, "version"), &survivor["v"]),
        (2, &s("eu"))
    );
    let conflict = conflict(&cluster, "k").await;
    assert_eq!(conflict["loser"]["item"]["version"]["N"], "2");
}

#[tokio::test]
async fn a_counter_loses_updates() {
    let (cluster, clients) = apart(item([("pk", s("k")), ("count", n(5))])).await;
    for client in &clients[..2] {
        let update = client
            .update_item()
            .table_name(TABLE)
            .set_key(Some(key("k")));
        let update = update
            .update_expression("ADD #c :one")
            .expression_attribute_names("#c", "count")
            .expression_attribute_values(":one", n(1));
        update.send().await.expect("added");
    }
    let survivor = healed(&cluster, &clients, "k").await.expect("there");
    assert_eq!(
        number(&survivor, "count"),
        6,
        "not 7: what travels is the item"
    );
    let conflict = conflict(&cluster, "k").await;
    assert_eq!(conflict["loser"]["item"]["count"]["N"], "6");
    assert_eq!(conflict["loser"]["region"], US);
}

#[tokio::test]
async fn updates_of_different_attributes_are_not_merged() {
    let (cluster, clients) = apart(item([("pk", s("k"))])).await;
    update(&clients[0], "k", "SET x = :v", (":v", s("us"))).await;
    update(&clients[1], "k", "SET y = :v", (":v", s("eu"))).await;
    let survivor = healed(&cluster, &clients, "k").await;
    assert_eq!(survivor, Some(item([("pk", s("k")), ("y", s("eu"))])));
    let conflict = conflict(&cluster, "k").await;
    assert_eq!(conflict["loser"]["item"]["x"]["S"], "us");
}

#[tokio::test]
async fn an_update_after_a_delete_brings_the_whole_item_back() {
    let first = item([("pk", s("k")), ("a", s("1")), ("b", s("2"))]);
    let (cluster, clients) = apart(first).await;
    let delete = clients[0]
        .delete_item()
        .table_name(TABLE)
        .set_key(Some(key("k")));
    delete.send().await.expect("deleted");
    update(&clients[1], "k", "SET a = :v", (":v", s("eu"))).await;
    let survivor = healed(&cluster, &clients, "k").await;
    let whole = item([("pk", s("k")), ("a", s("eu")), ("b", s("2"))]);
    assert_eq!(survivor, Some(whole));
    let conflict = conflict(&cluster, "k").await;
    assert_eq!(conflict["loser"]["item"], Value::Null, "the delete lost");
}

#[tokio::test]
async fn a_later_delete_takes_an_update_away() {
    let (cluster, clients) = apart(item([("pk", s("k")), ("a", s("1"))])).await;
    update(&clients[1], "k", "SET a = :v", (":v", s("eu"))).await;
    let delete = clients[0]
        .delete_item()
        .table_name(TABLE)
        .set_key(Some(key("k")));
    delete.send().await.expect("deleted");
    assert_eq!(healed(&cluster, &clients, "k").await, None);
    let conflict = conflict(&cluster, "k").await;
    assert_eq!(conflict["loser"]["item"]["a"]["S"], "eu");
}

/// A transaction that puts `v` at `pk` and at its own name.
async fn transaction(client: &Client, pk: &str, v: &str, token: &str) -> Result<(), String> {
    let put = |pk: &str| {
        let put = Put::builder().table_name(TABLE);
        let put = put.set_item(Some(item([("pk", s(pk)), ("v", s(v))])));
        TransactWriteItem::builder()
            .put(put.build().expect("complete"))
            .build()
    };
    let request = client
        .transact_write_items()
        .transact_items(put(pk))
        .transact_items(put(v));
    let sent = request.client_request_token(token).send().await;
    sent.map(|_| ()).map_err(|error| code(&error).to_owned())
}

#[tokio::test]
async fn a_transaction_may_survive_in_part() {
    let (cluster, clients) = apart(item([("pk", s("k"))])).await;
    transaction(&clients[0], "k", "us", "1")
        .await
        .expect("alone here");
    transaction(&clients[1], "k", "eu", "2")
        .await
        .expect("transactions of regions do not meet");
    let survivor = healed(&cluster, &clients, "k").await.expect("there");
    assert_eq!(survivor["v"], s("eu"));
    let other_half = healed(&cluster, &clients, "us").await;
    assert!(other_half.is_some(), "the other half of the loser stays");
    let conflict = conflict(&cluster, "k").await;
    assert_eq!(conflict["loser"]["item"]["v"]["S"], "us");
}

#[tokio::test]
async fn a_request_token_is_known_in_one_region_only() {
    let (cluster, clients) = apart(item([("pk", s("other"))])).await;
    cluster.run(&["heal"]).await;
    cluster.settled().await;
    transaction(&clients[0], "k", "us", "same")
        .await
        .expect("first");
    transaction(&clients[0], "k", "us", "same")
        .await
        .expect("nothing happens again");
    cluster.settled().await;
    put(
        &clients[0],
        TABLE,
        item([("pk", s("k")), ("v", s("changed"))]),
    )
    .await;
    cluster.settled().await;
    transaction(&clients[0], "k", "us", "same")
        .await
        .expect("nothing happens again");
    cluster.settled().await;
    let kept = get(&clients[1], TABLE, key("k")).await.expect("there");
    assert_eq!(kept["v"], s("changed"));
    transaction(&clients[1], "k", "us", "same")
        .await
        .expect("here it is new");
    cluster.settled().await;
    let again = get(&clients[0], TABLE, key("k")).await.expect("there");
    assert_eq!(again["v"], s("us"), "executed a second time");
}

#[tokio::test]
async fn a_lock_can_be_held_twice() {
    let (cluster, clients) = apart(item([("pk", s("lock")), ("owner", s("none"))])).await;
    for (client, owner) in [(&clients[0], "us"), (&clients[1], "eu")] {
        let update = client
            .update_item()
            .table_name(TABLE)
            .set_key(Some(key("lock")));
        let update = update
            .update_expression("SET #o = :me")
            .condition_expression("#o = :none")
            .expression_attribute_names("#o", "owner")
            .expression_attribute_values(":me", s(owner))
            .expression_attribute_values(":none", s("none"));
        update.send().await.expect("it is free in this region");
    }
    let lock = healed(&cluster, &clients, "lock").await.expect("there");
    assert_eq!(lock["owner"], s("eu"));
}

#[tokio::test]
async fn a_page_goes_on_in_another_region() {
    let (cluster, clients) = apart(item([("pk", s("a"))])).await;
    cluster.run(&["heal"]).await;
    for pk in ["b", "c", "d"] {
        put(&clients[0], TABLE, item([("pk", s(pk))])).await;
    }
    cluster.settled().await;
    let first = clients[0]
        .scan()
        .table_name(TABLE)
        .limit(2)
        .send()
        .await
        .expect("a page");
    let from = first.last_evaluated_key.expect("there is more");
    let rest = clients[1]
        .scan()
        .table_name(TABLE)
        .set_exclusive_start_key(Some(from));
    let rest = rest.send().await.expect("the key is good everywhere");
    let mut all = [
        first.items.unwrap_or_default(),
        rest.items.unwrap_or_default(),
    ]
    .concat();
    let mut whole = scan_all(&clients[2], TABLE).await;
    for items in [&mut all, &mut whole] {
        items.sort_by_key(|i| common::text(i, "pk").to_owned());
    }
    assert_eq!(all, whole);
}
