//! Indexes that come to a table with items in it: built in the background while writes go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{
    self, Cluster, EU, Item, US, code, create, item, meridian, message, n, put, query_all, s,
    scan_all, wait_for,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, CreateGlobalSecondaryIndexAction, DeleteGlobalSecondaryIndexAction,
    GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate, IndexStatus, KeySchemaElement,
    KeyType, Projection, ProjectionType, PutRequest, ScalarAttributeType, TableDescription,
    TableStatus, WriteRequest,
};

const TABLE: &str = "Items";
const INDEX: &str = "by-group";
/// Enough that a build takes many steps.
const ITEMS: usize = 8_000;
const GROUPS: usize = 7;

fn row(i: usize) -> Item {
    let group = format!("group-{}", i % GROUPS);
    item([("pk", s(format!("item-{i}"))), ("g", s(group)), ("i", n(i))])
}

/// Fills the table, eight batches at a time.
async fn fill(client: &Client) {
    let (tasks, per_task) = (8, ITEMS / 8);
    let mut writers = Vec::new();
    for task in 0..tasks {
        let client = client.clone();
        writers.push(tokio::spawn(async move {
            let own: Vec<usize> = (task * per_task..(task + 1) * per_task).collect();
            for batch in own.chunks(25) {
                let put = |i: &usize| {
                    let put = PutRequest::builder().set_item(Some(row(*i)));
                    let put = put.build().expect("complete");
                    WriteRequest::builder().put_request(put).build()
                };
                let requests = batch.iter().map(put).collect();
                let write = client.batch_write_item().request_items(TABLE, requests);
                write.send().await.expect("the batch is written");
            }
        }));
    }
    for writer in writers {
        writer.await.expect("the writer ends well");
    }
}

fn create_index(name: &str) -> GlobalSecondaryIndexUpdate {
    let key = KeySchemaElement::builder()
        .attribute_name("g")
        .key_type(KeyType::Hash);
    let all = Projection::builder().projection_type(ProjectionType::All);
    let action = CreateGlobalSecondaryIndexAction::builder()
        .index_name(name)
        .key_schema(key.build().expect("complete"))
        .projection(all.build());
    let action = action.build().expect("complete");
    GlobalSecondaryIndexUpdate::builder().create(action).build()
}

fn delete_index(name: &str) -> GlobalSecondaryIndexUpdate {
    let action = DeleteGlobalSecondaryIndexAction::builder().index_name(name);
    let action = action.build().expect("complete");
    GlobalSecondaryIndexUpdate::builder().delete(action).build()
}

/// The answer, or the error's code and message.
async fn update(
    client: &Client,
    change: GlobalSecondaryIndexUpdate,
) -> Result<TableDescription, (String, String)> {
    let g = AttributeDefinition::builder()
        .attribute_name("g")
        .attribute_type(ScalarAttributeType::S);
    let update = client
        .update_table()
        .table_name(TABLE)
        .attribute_definitions(g.build().expect("complete"))
        .global_secondary_index_updates(change);
    match update.send().await {
        Ok(answer) => Ok(answer.table_description.expect("described")),
        Err(error) => Err((code(&error).to_owned(), message(&error).to_owned())),
    }
}

async fn describe(client: &Client) -> TableDescription {
    let described = client.describe_table().table_name(TABLE).send().await;
    described.expect("described").table.expect("a table")
}

fn find(table: &TableDescription) -> Option<&GlobalSecondaryIndexDescription> {
    let mut indexes = table.global_secondary_indexes().iter();
    indexes.find(|i| i.index_name() == Some(INDEX))
}

async fn built(client: &Client) {
    wait_for("the index is built", async || {
        let Ok(described) = client.describe_table().table_name(TABLE).send().await else {
            return Err("the region does not answer".into());
        };
        let table = described.table.expect("a table");
        let index = find(&table).ok_or("there is no index yet")?;
        let active = index.index_status() == Some(&IndexStatus::Active);
        if active && table.table_status() == Some(&TableStatus::Active) {
            assert_eq!(index.backfilling(), None);
            return Ok(());
        }
        assert_eq!(index.index_status(), Some(&IndexStatus::Creating));
        assert_eq!(index.backfilling(), Some(true));
        assert_eq!(table.table_status(), Some(&TableStatus::Updating));
        Err(format!("{index:?}"))
    })
    .await;
}

fn sorted(items: Vec<Item>) -> BTreeMap<String, Item> {
    let named = items.into_iter();
    named
        .map(|i| (common::text(&i, "pk").to_owned(), i))
        .collect()
}

/// The index holds what the table does, and both count it.
async fn equal(client: &Client) {
    let table = sorted(scan_all(client, TABLE).await);
    let mut entries = Vec::new();
    for group in 0..GROUPS {
        let group = s(format!("group-{group}"));
        entries.extend(query_all(client, TABLE, Some(INDEX), "g", group).await);
    }
    let entries = sorted(entries);
    let differs = table
        .iter()
        .find(|(pk, item)| entries.get(*pk) != Some(*item));
    assert_eq!(differs, None, "missing in the index or other there");
    assert_eq!(entries.len(), table.len());
    let described = describe(client).await;
    let index = find(&described).expect("the index");
    let count = i64::try_from(table.len()).expect("small");
    assert_eq!(described.item_count(), Some(count));
    assert_eq!(index.item_count(), Some(count));
    assert_eq!(index.index_size_bytes(), described.table_size_bytes());
}

/// Overwrites items and adds others until told to stop; none may be refused. Says how many.
async fn write_on(client: Client, stop: Arc<AtomicBool>) -> usize {
    for i in 0.. {
        if stop.load(Ordering::SeqCst) {
            return i;
        }
        let mut item = row(i * 37 % (ITEMS + 1_000));
        item.insert("g".into(), s(format!("group-{}", i % GROUPS)));
        item.insert("again".into(), n(i));
        put(&client, TABLE, item).await;
    }
    unreachable!("it writes until it is stopped")
}

async fn filled() -> (Cluster, [Client; 3]) {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, TABLE, "pk:S", None, None).await;
    fill(&clients[0]).await;
    cluster.settled().await;
    (cluster, clients)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_while_writes_go_on_everywhere() {
    let (cluster, clients) = filled().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write_on(clients[0].clone(), stop.clone()));
    let answer = update(&clients[0], create_index(INDEX))
        .await
        .expect("accepted");
    assert_eq!(answer.table_status(), Some(&TableStatus::Updating));
    let index = find(&answer).expect("the new index");
    assert_eq!(index.index_status(), Some(&IndexStatus::Creating));

    let read = clients[0].scan().table_name(TABLE).index_name(INDEX);
    let refused = read.send().await.expect_err("it is not built yet");
    assert_eq!(
        message(&refused),
        format!("Cannot read from backfilling global secondary index: {INDEX}")
    );
    let (code, text) = update(&clients[0], create_index("second"))
        .await
        .expect_err("one at a time");
    assert_eq!(code, "LimitExceededException");
    assert!(
        text.starts_with("Subscriber limit exceeded: Only 1 online index"),
        "{text}"
    );
    let settings = clients[0].update_table().table_name(TABLE);
    let busy = settings.deletion_protection_enabled(true).send().await;
    assert_eq!(
        common::code(&busy.expect_err("busy")),
        "ResourceInUseException"
    );

    for client in &clients {
        built(client).await;
    }
    stop.store(true, Ordering::SeqCst);
    assert!(writing.await.expect("no write was refused") > 0);
    cluster.settled().await;
    for client in &clients {
        equal(client).await;
    }
    let data = cluster.stop();
    for region in common::REGIONS {
        let folder = data.path().join("local").join(region);
        meridian(&["check".as_ref(), "--data".as_ref(), folder.as_os_str()])
            .await
            .success();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_dies_while_it_builds_goes_on_when_it_is_back() {
    let (cluster, clients) = filled().await;
    update(&clients[0], create_index(INDEX))
        .await
        .expect("accepted");
    let eu = &clients[1];
    wait_for("the index has arrived", async || {
        find(&describe(eu).await)
            .map(|_| ())
            .ok_or_else(String::new)
    })
    .await;
    let status = find(&describe(eu).await).and_then(|i| i.index_status().cloned());
    assert_eq!(status, Some(IndexStatus::Creating), "it dies midway");
    let pids = (cluster.kill(EU).await, cluster.kill(US).await);
    cluster.back(EU, pids.0).await;
    cluster.back(US, pids.1).await;
    for client in &clients {
        built(client).await;
    }
    cluster.settled().await;
    for client in &clients {
        equal(client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_an_index_cancels_its_build() {
    let (cluster, clients) = filled().await;
    let us = &clients[0];
    update(us, create_index(INDEX)).await.expect("accepted");
    let answer = update(us, delete_index(INDEX)).await.expect("accepted");
    let index = find(&answer).expect("still shown");
    assert_eq!(index.index_status(), Some(&IndexStatus::Deleting));
    let read = us.scan().table_name(TABLE).index_name(INDEX).send().await;
    let gone = read.expect_err("it cannot be read");
    assert_eq!(
        message(&gone),
        format!("The table does not have the specified index: {INDEX}")
    );
    for client in &clients {
        wait_for("the index is gone", async || {
            let table = describe(client).await;
            match (find(&table), table.table_status()) {
                (None, Some(TableStatus::Active)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    cluster.settled().await;
    update(us, create_index(INDEX))
        .await
        .expect("a new one of that name");
    for client in &clients {
        built(client).await;
        equal(client).await;
    }
}
