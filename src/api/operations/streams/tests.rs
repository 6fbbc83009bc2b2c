//! The Streams operations over a real replica on a store in memory.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{parse_sequence_number, sequence_number};
use crate::api::Backend;
use crate::api::tests::{TestBackend, call};
use crate::replica::check;

const HOUR_US: u64 = 3_600_000_000;

/// A backend with the table `abc` whose stream has that view.
async fn with_stream(view: &str) -> Arc<TestBackend> {
    let backend = TestBackend::new();
    let table = json!({
        "TableName": "abc",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": view},
    });
    let (status, answer) = call(&backend, "CreateTable", table).await;
    assert_eq!(status, 200, "{answer}");
    backend
}

async fn ok(backend: &TestBackend, operation: &str, body: Value) -> Value {
    let (status, answer) = call(backend, operation, body).await;
    assert_eq!(status, 200, "{operation}: {answer}");
    answer
}

async fn streams(backend: &TestBackend, operation: &str, body: Value) -> Value {
    ok(
        backend,
        &format!("DynamoDBStreams_20120810.{operation}"),
        body,
    )
    .await
}

/// Code and message of a Streams operation that must fail.
async fn refused(backend: &TestBackend, operation: &str, body: Value) -> (String, String) {
    let operation = format!("DynamoDBStreams_20120810.{operation}");
    let (status, answer) = call(backend, &operation, body).await;
    assert_eq!(status, 400, "{answer}");
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let code = text("__type");
    let code = code.rsplit('#').next().unwrap_or_default().to_owned();
    (code, text("message"))
}

async fn arn(backend: &TestBackend) -> String {
    let table = ok(backend, "DescribeTable", json!({"TableName": "abc"})).await;
    table["Table"]["LatestStreamArn"]
        .as_str()
        .expect("an ARN")
        .to_owned()
}

async fn shards(backend: &TestBackend, arn: &str) -> Vec<Value> {
    let answer = streams(backend, "DescribeStream", json!({"StreamArn": arn})).await;
    answer["StreamDescription"]["Shards"]
        .as_array()
        .expect("shards")
        .clone()
}

async fn iterator(backend: &TestBackend, arn: &str, shard: &Value, more: Value) -> String {
    let mut body = json!({"StreamArn": arn, "ShardId": shard["ShardId"]});
    for (name, value) in more.as_object().expect("members") {
        body[name] = value.clone();
    }
    let answer = streams(backend, "GetShardIterator", body).await;
    answer["ShardIterator"]
        .as_str()
        .expect("an iterator")
        .to_owned()
}

/// All records of a shard from an iterator on, and the iterator after them.
async fn drain(backend: &TestBackend, from: String) -> (Vec<Value>, Option<String>) {
    let mut records = Vec::new();
    let mut from = from;
    loop {
        let answer = streams(
            backend,
            "GetRecords",
            json!({"ShardIterator": from, "Limit": 2}),
        )
        .await;
        let page = answer["Records"].as_array().expect("records").clone();
        let next = answer.get("NextShardIterator").and_then(Value::as_str);
        let end = page.is_empty();
        records.extend(page);
        match next {
            Some(next) if !end => from = next.to_owned(),
            next => return (records, next.map(str::to_owned)),
        }
    }
}

/// Every record of a stream.
async fn records(backend: &TestBackend, arn: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for shard in shards(backend, arn).await {
        let from = json!({"ShardIteratorType": "TRIM_HORIZON"});
        let from = iterator(backend, arn, &shard, from).await;
        all.extend(drain(backend, from).await.0);
    }
    all
}

async fn put(backend: &TestBackend, item: Value) {
    ok(
        backend,
        "PutItem",
        json!({"TableName": "abc", "Item": item}),
    )
    .await;
}

async fn switch(backend: &TestBackend, view: Option<&str>) {
    let mut setting = json!({"StreamEnabled": view.is_some()});
    if let Some(view) = view {
        setting["StreamViewType"] = json!(view);
    }
    let body = json!({"TableName": "abc", "StreamSpecification": setting});
    ok(backend, "UpdateTable", body).await;
}

fn assert_sound(backend: &TestBackend) {
    let mut problems = Vec::new();
    let read = &mut |txn: &dyn crate::store::ReadTxn| {
        problems = check::check(txn, backend.region().id)?.problems;
        Ok(())
    };
    backend.read(read).expect("reads");
    assert!(problems.is_empty(), "{problems:?}");
}

#[tokio::test]
async fn every_visible_change_has_its_record_and_nothing_else() {
    let backend = with_stream("NEW_AND_OLD_IMAGES").await;
    let arn = arn(&backend).await;
    let fred = json!({"id": {"S": "Fred"}});
    let named = json!({"id": {"S": "Fred"}, "name": {"S": "Fred"}});
    put(&backend, fred.clone()).await;
    put(&backend, fred.clone()).await;
    put(&backend, named.clone()).await;
    let key = json!({"TableName": "abc", "Key": fred});
    ok(&backend, "DeleteItem", key.clone()).await;
    ok(&backend, "DeleteItem", key).await;
    let set =
        |numbers: [&str; 2]| json!({"id": {"S": "set"}, "n": {"NS": numbers}, "o": {"N": "1"}});
    put(&backend, set(["1", "2"])).await;
    put(&backend, set(["2.0", "1e0"])).await;
    let update =
        json!({"TableName": "abc", "Key": {"id": {"S": "none"}}, "UpdateExpression": "REMOVE x"});
    ok(&backend, "UpdateItem", update).await;
    let records = records(&backend, &arn).await;
    let names: Vec<&str> = records
        .iter()
        .filter_map(|r| r["eventName"].as_str())
        .collect();
    assert_eq!(names, ["INSERT", "MODIFY", "REMOVE", "INSERT"]);
    let first = &records[0];
    assert_eq!(first["eventVersion"], "1.1");
    assert_eq!(first["eventSource"], "aws:dynamodb");
    assert_eq!(first["awsRegion"], "us-east-1");
    assert_eq!(first["eventID"].as_str().map(str::len), Some(32));
    assert_ne!(first["eventID"], records[1]["eventID"]);
    assert!(first.get("userIdentity").is_none());
    let sequence = first["dynamodb"]["SequenceNumber"].clone();
    assert_eq!(
        first["dynamodb"],
        json!({
            "ApproximateCreationDateTime": 1_795_392_000, "Keys": fred, "NewImage": fred,
            "SequenceNumber": sequence, "SizeBytes": 12, "StreamViewType": "NEW_AND_OLD_IMAGES",
        })
    );
    let second = &records[1]["dynamodb"];
    assert_eq!((&second["OldImage"], &second["NewImage"]), (&fred, &named));
    assert_eq!(second["SizeBytes"], 26);
    let third = &records[2]["dynamodb"];
    assert_eq!(third["OldImage"], named);
    assert!(third.get("NewImage").is_none());
    assert_sound(&backend);
}

#[tokio::test]
async fn each_view_shows_its_images() {
    for (view, new, old) in [
        ("KEYS_ONLY", false, false),
        ("NEW_IMAGE", true, false),
        ("OLD_IMAGE", false, true),
        ("NEW_AND_OLD_IMAGES", true, true),
    ] {
        let backend = with_stream(view).await;
        for n in ["1", "2"] {
            put(&backend, json!({"id": {"S": "a"}, "n": {"N": n}})).await;
        }
        let records = records(&backend, &arn(&backend).await).await;
        let modify = &records[1]["dynamodb"];
        assert_eq!(modify["Keys"], json!({"id": {"S": "a"}}));
        assert_eq!(modify.get("NewImage").is_some(), new, "{view}");
        assert_eq!(modify.get("OldImage").is_some(), old, "{view}");
        assert_eq!(modify["StreamViewType"], view);
        assert_sound(&backend);
    }
}

#[tokio::test]
async fn what_expires_here_is_removed_by_the_service() {
    let backend = with_stream("NEW_AND_OLD_IMAGES").await;
    let setting = json!({"Enabled": true, "AttributeName": "until"});
    let body = json!({"TableName": "abc", "TimeToLiveSpecification": setting});
    ok(&backend, "UpdateTimeToLive", body).await;
    let item = json!({"id": {"S": "a"}, "until": {"N": "1795392001"}});
    put(&backend, item.clone()).await;
    backend.pass(HOUR_US);
    let records = records(&backend, &arn(&backend).await).await;
    assert_eq!(records.len(), 2, "{records:?}");
    assert_eq!(records[1]["eventName"], "REMOVE");
    assert_eq!(records[1]["dynamodb"]["OldImage"], item);
    let service = json!({"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"});
    assert_eq!(records[1]["userIdentity"], service);
    assert!(records[0].get("userIdentity").is_none());
    assert_sound(&backend);
}

#[tokio::test]
async fn a_disabled_stream_is_read_to_its_end_and_gone_a_day_later() {
    let backend = with_stream("KEYS_ONLY").await;
    let first = arn(&backend).await;
    let shard = shards(&backend, &first).await.remove(0);
    let latest = json!({"ShardIteratorType": "LATEST"});
    let open = iterator(&backend, &first, &shard, latest).await;
    put(&backend, json!({"id": {"S": "a"}})).await;
    switch(&backend, None).await;
    put(&backend, json!({"id": {"S": "unseen"}})).await;
    let (seen, next) = drain(&backend, open).await;
    assert_eq!((seen.len(), next), (1, None));
    let table = ok(&backend, "DescribeTable", json!({"TableName": "abc"})).await;
    assert!(table["Table"].get("StreamSpecification").is_none());
    assert_eq!(table["Table"]["LatestStreamArn"], first);
    switch(&backend, Some("NEW_IMAGE")).await;
    let second = arn(&backend).await;
    assert_ne!(first, second);
    assert_eq!(records(&backend, &second).await.len(), 0);
    assert_eq!(records(&backend, &first).await.len(), 1);
    backend.pass(HOUR_US);
    ok(&backend, "DeleteTable", json!({"TableName": "abc"})).await;
    let listed = streams(&backend, "ListStreams", json!({"TableName": "abc"})).await;
    assert_eq!(listed["Streams"].as_array().map(Vec::len), Some(2));
    for arn in [&first, &second] {
        let answer = streams(&backend, "DescribeStream", json!({"StreamArn": arn})).await;
        let description = &answer["StreamDescription"];
        assert_eq!(description["StreamStatus"], "DISABLED");
        let range = &description["Shards"][0]["SequenceNumberRange"];
        assert!(range.get("EndingSequenceNumber").is_some(), "{description}");
    }
    assert_sound(&backend);
    backend.pass(25 * HOUR_US);
    let (code, _) = refused(&backend, "ListStreams", json!({"TableName": "abc"})).await;
    assert_eq!(code, "ResourceNotFoundException");
    let (code, message) = refused(&backend, "DescribeStream", json!({"StreamArn": first})).await;
    assert_eq!(code, "ResourceNotFoundException");
    assert_eq!(
        message,
        format!("Requested resource not found: Stream: {first} not found")
    );
    assert_sound(&backend);
}

#[tokio::test]
async fn shards_are_replaced_and_old_records_trimmed() {
    let backend = with_stream("NEW_AND_OLD_IMAGES").await;
    let arn = arn(&backend).await;
    for n in 0..600 {
        put(&backend, json!({"id": {"S": format!("{n}")}})).await;
    }
    let parent = shards(&backend, &arn).await.remove(0);
    backend.pass(5 * HOUR_US);
    put(&backend, json!({"id": {"S": "later"}})).await;
    let both = shards(&backend, &arn).await;
    assert_eq!(both.len(), 2);
    assert_eq!(both[1]["ParentShardId"], parent["ShardId"]);
    assert!(both[0]["ShardId"].as_str() < both[1]["ShardId"].as_str());
    let filter = json!({"Type": "CHILD_SHARDS", "ShardId": parent["ShardId"]});
    let body = json!({"StreamArn": arn, "ShardFilter": filter});
    let children = streams(&backend, "DescribeStream", body).await;
    assert_eq!(children["StreamDescription"]["Shards"], json!([both[1]]));
    let body = json!({"StreamArn": arn, "Limit": 1});
    let page = streams(&backend, "DescribeStream", body).await;
    assert_eq!(
        page["StreamDescription"]["LastEvaluatedShardId"],
        parent["ShardId"]
    );
    assert_eq!(records(&backend, &arn).await.len(), 601);
    assert_sound(&backend);

    let start = parent["SequenceNumberRange"]["StartingSequenceNumber"].clone();
    let at = json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": start});
    let early = iterator(&backend, &arn, &parent, at.clone()).await;
    backend.pass(20 * HOUR_US);
    assert_eq!(
        records(&backend, &arn).await.len(),
        1,
        "the one of five hours later"
    );
    let (code, _) = refused(&backend, "GetRecords", json!({"ShardIterator": early})).await;
    assert_eq!(code, "TrimmedDataAccessException");
    assert!(!shards(&backend, &arn).await.contains(&parent));
    assert_sound(&backend);

    // A reader of a quiet shard does not fall behind.
    let now = shards(&backend, &arn).await.pop().expect("an open shard");
    let from = json!({"ShardIteratorType": "TRIM_HORIZON"});
    let quiet = iterator(&backend, &arn, &now, from).await;
    let (_, quiet) = drain(&backend, quiet).await;
    backend.pass(3 * HOUR_US);
    put(&backend, json!({"id": {"S": "more"}})).await;
    let (seen, _) = drain(&backend, quiet.expect("an open shard")).await;
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn iterators_begin_where_they_say() {
    let backend = with_stream("KEYS_ONLY").await;
    let arn = arn(&backend).await;
    for id in ["a", "b", "c"] {
        put(&backend, json!({"id": {"S": id}})).await;
        backend.pass(90_000_000);
    }
    let shard = shards(&backend, &arn).await.remove(0);
    let all = records(&backend, &arn).await;
    let middle = all[1]["dynamodb"]["SequenceNumber"].clone();
    let second = &all[1]["dynamodb"]["ApproximateCreationDateTime"];
    let second = second.as_f64().expect("seconds");
    for (from, count) in [
        (json!({"ShardIteratorType": "TRIM_HORIZON"}), 3),
        (json!({"ShardIteratorType": "LATEST"}), 0),
        (
            json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": middle}),
            2,
        ),
        (
            json!({"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": middle}),
            1,
        ),
        (
            json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 0}),
            3,
        ),
        (
            json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": second}),
            2,
        ),
        (
            json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": second + 1.5}),
            1,
        ),
        (
            json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": second + 1e6}),
            0,
        ),
    ] {
        let begin = iterator(&backend, &arn, &shard, from.clone()).await;
        assert_eq!(drain(&backend, begin).await.0.len(), count, "{from}");
    }
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let backend = with_stream("KEYS_ONLY").await;
    let arn = arn(&backend).await;
    let shard = shards(&backend, &arn).await.remove(0)["ShardId"].clone();
    let sequence = sequence_number(1);
    let (invalid, missing) = ("ValidationException", "ResourceNotFoundException");
    let other = arn.replace("us-east-1", "eu-west-1");
    let strange = "arn:aws:dynamodb:us-east-1:000000000000:table/abc/strm/x";
    for (operation, body, code) in [
        ("ListStreams", json!({"Limit": 0}), invalid),
        ("ListStreams", json!({"Limit": 101}), invalid),
        ("ListStreams", json!({"TableName": "nobody"}), missing),
        (
            "ListStreams",
            json!({"ExclusiveStartStreamArn": strange}),
            invalid,
        ),
        ("DescribeStream", json!({}), invalid),
        ("DescribeStream", json!({"StreamArn": strange}), invalid),
        ("DescribeStream", json!({"StreamArn": other}), missing),
        (
            "DescribeStream",
            json!({"StreamArn": arn, "ShardFilter": {"ShardId": shard}}),
            invalid,
        ),
        (
            "GetShardIterator",
            json!({"StreamArn": arn, "ShardId": shard}),
            invalid,
        ),
        (
            "GetShardIterator",
            json!({"StreamArn": arn, "ShardId": "shardId-00000000000000000001-00000000", "ShardIteratorType": "LATEST"}),
            missing,
        ),
        (
            "GetShardIterator",
            json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "LATEST", "SequenceNumber": sequence}),
            invalid,
        ),
        (
            "GetShardIterator",
            json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "AT_SEQUENCE_NUMBER"}),
            invalid,
        ),
        (
            "GetShardIterator",
            json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "AT_TIMESTAMP"}),
            invalid,
        ),
        ("GetRecords", json!({"ShardIterator": "x"}), invalid),
        (
            "GetRecords",
            json!({"ShardIterator": "x", "Limit": 1001}),
            invalid,
        ),
    ] {
        let (found, message) = refused(&backend, operation, body.clone()).await;
        assert_eq!(found, code, "{operation} {body}: {message}");
    }
    let (_, message) = refused(
        &backend,
        "GetRecords",
        json!({"ShardIterator": "x", "Limit": 0}),
    )
    .await;
    assert_eq!(
        message,
        "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: \
         Member must have value greater than or equal to 1"
    );
    let (_, message) = refused(
        &backend,
        "DescribeStream",
        json!({"StreamArn": "fake-stream"}),
    )
    .await;
    assert_eq!(message, "Invalid StreamArn: fake-stream");
    let (status, _) = call(&backend, "ListStreams", json!({})).await;
    assert_eq!(status, 400, "the prefix of the other service");
}

#[tokio::test]
async fn lists_go_on_after_a_stream_that_is_gone() {
    let backend = with_stream("KEYS_ONLY").await;
    switch(&backend, None).await;
    switch(&backend, Some("KEYS_ONLY")).await;
    let mut seen = Vec::new();
    let mut body = json!({"Limit": 1});
    loop {
        let page = streams(&backend, "ListStreams", body.clone()).await;
        for stream in page["Streams"].as_array().expect("a list") {
            assert_eq!(stream["TableName"], "abc");
            seen.push(stream["StreamArn"].as_str().expect("an ARN").to_owned());
        }
        match page.get("LastEvaluatedStreamArn") {
            None => break,
            Some(last) => {
                assert_eq!(
                    Some(last.as_str().unwrap_or_default()),
                    seen.last().map(String::as_str)
                );
                body["ExclusiveStartStreamArn"] = last.clone();
            }
        }
    }
    assert_eq!(seen.len(), 2);
    let before = seen[0].replace("abc", "aaa");
    let all = streams(
        &backend,
        "ListStreams",
        json!({"ExclusiveStartStreamArn": before}),
    )
    .await;
    assert_eq!(all["Streams"].as_array().map(Vec::len), Some(2));
}

#[test]
fn sequence_numbers_sort_as_texts_and_as_numbers() {
    for lsn in [0, 1, 9, 10, u64::MAX] {
        let text = sequence_number(lsn);
        assert_eq!((text.len(), parse_sequence_number(&text)), (21, Some(lsn)));
    }
    for wrong in [
        "",
        "1",
        "200000000000000000001",
        "1+0000000000000000001",
        "199999999999999999999",
    ] {
        assert_eq!(parse_sequence_number(wrong), None, "{wrong}");
    }
}
