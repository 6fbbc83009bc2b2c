//! Streams of the real binary through the AWS SDK: what changes is recorded, in every region, and stays.

use std::slice::from_ref;

use crate::common::{self, Cluster, EU, Item, US, code, create, item, n, put, s, wait_for};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    Delete, Put, StreamSpecification, StreamViewType, TransactWriteItem,
};
use aws_sdk_dynamodbstreams as sdk;
use sdk::config::{BehaviorVersion, Credentials, Region};
use sdk::types::{AttributeValue, Record, ShardIteratorType, StreamStatus};

fn streams_of(cluster: &Cluster, region: &str) -> sdk::Client {
    let config = sdk::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .endpoint_url(format!("http://127.0.0.1:{}", cluster.port))
        .credentials_provider(Credentials::new("AKID", "SECRET", None, None, "tests"))
        .retry_config(sdk::config::retry::RetryConfig::disabled())
        .build();
    sdk::Client::from_conf(config)
}

/// Enables the table's stream, or disables it.
async fn switch(client: &Client, table: &str, view: Option<StreamViewType>) {
    let setting = StreamSpecification::builder()
        .stream_enabled(view.is_some())
        .set_stream_view_type(view)
        .build()
        .expect("complete");
    let update = client.update_table().table_name(table);
    let update = update.stream_specification(setting).send().await;
    update.expect("the stream is switched");
}

/// The ARN of the table's newest stream, once the region knows of one.
async fn arn(client: &Client, table: &str) -> String {
    wait_for("the region knows of the stream", async || {
        let described = client.describe_table().table_name(table).send().await;
        let table = described.map_err(|error| format!("{error:?}"))?.table;
        let arn = table.and_then(|t| t.latest_stream_arn);
        arn.ok_or_else(|| "no stream yet".to_owned())
    })
    .await
}

/// An iterator of the stream's last shard.
async fn iterator(
    streams: &sdk::Client,
    arn: &str,
    kind: ShardIteratorType,
    after: Option<&str>,
) -> String {
    let described = streams.describe_stream().stream_arn(arn).send().await;
    let stream = described.expect("the stream is there").stream_description;
    let shards = stream.expect("a description").shards.expect("shards");
    let iterator = streams
        .get_shard_iterator()
        .stream_arn(arn)
        .set_shard_id(shards.last().and_then(|s| s.shard_id.clone()))
        .shard_iterator_type(kind)
        .set_sequence_number(after.map(str::to_owned))
        .send()
        .await;
    let iterator = iterator.expect("the shard is there").shard_iterator;
    iterator.expect("an iterator")
}

/// What a shard holds from an iterator on, as far as it goes now.
async fn read(streams: &sdk::Client, mut from: String) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let page = streams.get_records().shard_iterator(&from).send().await;
        let page = page.expect("records are read");
        let some = page.records.unwrap_or_default();
        let end = some.is_empty();
        records.extend(some);
        match page.next_shard_iterator {
            Some(next) if !end => from = next,
            _ => return records,
        }
    }
}

async fn all(streams: &sdk::Client, arn: &str) -> Vec<Record> {
    read(
        streams,
        iterator(streams, arn, ShardIteratorType::TrimHorizon, None).await,
    )
    .await
}

/// `INSERT a`, `MODIFY a 1 > 2` ...: event, key, old and new `v`.
fn story(records: &[Record]) -> Vec<String> {
    let tell = |record: &Record| {
        let change = record.dynamodb.as_ref().expect("a change");
        let value = |image: &Option<std::collections::HashMap<String, AttributeValue>>| {
            let image = image.as_ref()?;
            Some(match image.get("v") {
                Some(AttributeValue::N(number)) => number.clone(),
                _ => "-".to_owned(),
            })
        };
        let event = record.event_name.as_ref().map_or("?", |e| e.as_str());
        let keys = change.keys.as_ref().expect("keys");
        let key = keys["pk"].as_s().expect("a string");
        let images = [value(&change.old_image), value(&change.new_image)];
        let images: Vec<String> = images.into_iter().flatten().collect();
        format!("{event} {key} {}", images.join(">"))
    };
    records.iter().map(tell).collect()
}

fn sequence_of(record: &Record) -> String {
    let change = record.dynamodb.as_ref().expect("a change");
    change.sequence_number.clone().expect("a number")
}

fn of(pk: &str, v: i64) -> Item {
    item([("pk", s(pk)), ("v", n(v))])
}

async fn delete(client: &Client, table: &str, pk: &str) {
    let delete = client.delete_item().table_name(table).key("pk", s(pk));
    delete.send().await.expect("the item is deleted");
}

#[tokio::test]
async fn changes_are_recorded_and_nothing_else_is() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    let streams = streams_of(&cluster, US);
    create(from_ref(&us), "Recorded", "pk:S", None, None).await;
    put(&us, "Recorded", of("before", 0)).await;
    switch(&us, "Recorded", Some(StreamViewType::NewAndOldImages)).await;
    let arn = arn(&us, "Recorded").await;
    put(&us, "Recorded", of("a", 1)).await;
    put(&us, "Recorded", of("a", 1)).await;
    put(&us, "Recorded", of("a", 2)).await;
    delete(&us, "Recorded", "absent").await;
    let put_b = Put::builder().table_name("Recorded");
    let put_b = put_b.set_item(Some(of("b", 3))).build().expect("complete");
    let delete_a = Delete::builder().table_name("Recorded").key("pk", s("a"));
    let delete_a = delete_a.build().expect("complete");
    us.transact_write_items()
        .transact_items(TransactWriteItem::builder().put(put_b).build())
        .transact_items(TransactWriteItem::builder().delete(delete_a).build())
        .send()
        .await
        .expect("the transaction is made");
    let records = all(&streams, &arn).await;
    let expected = ["INSERT a 1", "MODIFY a 1>2", "INSERT b 3", "REMOVE a 2"];
    assert_eq!(story(&records), expected);
    let numbers: Vec<u128> = records
        .iter()
        .map(|r| sequence_of(r).parse().expect("a number"))
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
    assert!(records.iter().all(|r| r.aws_region.as_deref() == Some(US)));
}

#[tokio::test]
async fn a_stream_enabled_again_is_another_and_the_old_one_is_still_read() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    let streams = streams_of(&cluster, US);
    create(from_ref(&us), "Switched", "pk:S", None, None).await;
    switch(&us, "Switched", Some(StreamViewType::KeysOnly)).await;
    let first = arn(&us, "Switched").await;
    put(&us, "Switched", of("a", 1)).await;
    switch(&us, "Switched", None).await;
    put(&us, "Switched", of("unseen", 1)).await;
    switch(&us, "Switched", Some(StreamViewType::NewImage)).await;
    let second = arn(&us, "Switched").await;
    assert_ne!(first, second);
    put(&us, "Switched", of("b", 2)).await;
    assert_eq!(story(&all(&streams, &first).await), ["INSERT a "]);
    assert_eq!(story(&all(&streams, &second).await), ["INSERT b 2"]);
    let listed = streams.list_streams().table_name("Switched").send().await;
    let listed = listed.expect("streams are listed").streams.expect("a list");
    let arns: Vec<&str> = listed.iter().filter_map(|s| s.stream_arn()).collect();
    assert_eq!(arns, [first.as_str(), second.as_str()]);
    let deleted = us.delete_table().table_name("Switched").send().await;
    deleted.expect("the table is deleted");
    for arn in [&first, &second] {
        let described = streams.describe_stream().stream_arn(arn).send().await;
        let stream = described.expect("it outlives its table").stream_description;
        let status = stream.expect("a description").stream_status;
        assert_eq!(status, Some(StreamStatus::Disabled));
    }
    assert_eq!(all(&streams, &second).await.len(), 1);
    let strange = first.replace("Switched", "Nowhere");
    let error = streams.describe_stream().stream_arn(strange).send().await;
    assert_eq!(
        code(&error.expect_err("no such stream")),
        "ResourceNotFoundException"
    );
}

#[tokio::test]
async fn every_region_records_what_is_replicated_to_it() {
    let cluster = Cluster::shared();
    let (us, eu) = (cluster.client(US), cluster.client(EU));
    let clients = [us.clone(), eu.clone()];
    create(&clients, "Everywhere", "pk:S", None, None).await;
    switch(&us, "Everywhere", Some(StreamViewType::NewAndOldImages)).await;
    let (here, there) = (arn(&us, "Everywhere").await, arn(&eu, "Everywhere").await);
    assert!(here.contains(US) && there.contains(EU), "{here} {there}");
    put(&us, "Everywhere", of("a", 1)).await;
    put(&us, "Everywhere", of("a", 2)).await;
    delete(&us, "Everywhere", "a").await;
    let expected = ["INSERT a 1", "MODIFY a 1>2", "REMOVE a 2"];
    for (region, arn) in [(US, &here), (EU, &there)] {
        let streams = streams_of(&cluster, region);
        let records = wait_for("the region has recorded all", async || {
            let records = all(&streams, arn).await;
            match records.len() >= expected.len() {
                true => Ok(records),
                false => Err(format!("{records:?}")),
            }
        })
        .await;
        assert_eq!(story(&records), expected, "{region}");
        assert!(
            records
                .iter()
                .all(|r| r.aws_region.as_deref() == Some(region))
        );
    }
}

#[tokio::test]
async fn a_reader_resumes_after_its_region_was_killed() {
    let cluster = Cluster::start();
    let us = cluster.client(US);
    let streams = streams_of(&cluster, US);
    create(from_ref(&us), "Resumed", "pk:S", None, None).await;
    switch(&us, "Resumed", Some(StreamViewType::NewImage)).await;
    let stream = arn(&us, "Resumed").await;
    for v in 0..5 {
        put(&us, "Resumed", of("a", v)).await;
    }
    let before = all(&streams, &stream).await;
    let next = iterator(&streams, &stream, ShardIteratorType::Latest, None).await;
    let old = cluster.kill(US).await;
    cluster.back(US, old).await;
    assert_eq!(arn(&us, "Resumed").await, stream);
    put(&us, "Resumed", of("a", 5)).await;
    let after = ShardIteratorType::AfterSequenceNumber;
    let after = iterator(&streams, &stream, after, Some(&sequence_of(&before[2]))).await;
    let resumed = ["MODIFY a 3", "MODIFY a 4", "MODIFY a 5"];
    assert_eq!(story(&read(&streams, after).await), resumed);
    assert_eq!(story(&read(&streams, next).await), ["MODIFY a 5"]);
    let again = all(&streams, &stream).await;
    assert_eq!(
        again[..before.len()],
        before,
        "the same records, the same ids"
    );
    let data = cluster.stop();
    let folder = data.path().join("local").join(US);
    common::meridian(&["check", "--data", &folder.display().to_string()])
        .await
        .success();
}
