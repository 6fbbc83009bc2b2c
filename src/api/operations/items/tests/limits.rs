//! Sizes of items, keys and answers (values-and-keys.md sections 3, 5 and 8).

use super::*;

fn long(bytes: usize) -> Json {
    json!({"S": "x".repeat(bytes)})
}

const UPDATE_TOO_LARGE: &str = "Item size to update has exceeded the maximum allowed size";

#[tokio::test]
async fn an_update_is_charged_for_what_it_does_and_not_for_the_key() {
    let region = Region::new();
    let update = |bytes| {
        json!({"TableName": "hash", "Key": {"a": {"S": "k"}}, "UpdateExpression": "SET x = :v",
            "ExpressionAttributeValues": {":v": long(bytes)}})
    };
    ok(&region, "UpdateItem", update(409_600 - 1 - 3 - 19)).await;
    let one_more = update(409_600 - 1 - 3 - 19 + 1);
    assert_eq!(
        message(&region, "UpdateItem", one_more).await,
        UPDATE_TOO_LARGE
    );
    // A transaction measures the item, key and all.
    let transaction = |bytes| json!({"TransactItems": [{"Update": update(bytes)}]});
    ok(&region, "TransactWriteItems", transaction(409_600 - 1 - 2)).await;
    let error = call(&region, "TransactWriteItems", transaction(409_600 - 2)).await;
    match error {
        Err(ApiError::TransactionCanceled { reasons }) => {
            assert_eq!(reasons[0].message.as_deref(), Some(UPDATE_TOO_LARGE));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_item_and_its_local_entries_share_the_limit() {
    let region = Region::new();
    let item = |bytes| {
        json!({"TableName": "range", "Item": {"a": {"S": "p"}, "b": {"N": "1"}, "l": {"S": "l"},
            "y": long(bytes)}})
    };
    let keys = 2 + 3 + 2;
    let most = 409_600 - keys - 1 - keys;
    ok(&region, "PutItem", item(most)).await;
    assert_eq!(
        message(&region, "PutItem", item(most + 1)).await,
        "Item size has exceeded the maximum allowed size"
    );
    let update = json!({"TableName": "range", "Key": {"a": {"S": "p"}, "b": {"N": "1"}},
        "UpdateExpression": "SET y = :v", "ExpressionAttributeValues": {":v": long(most + 1)}});
    assert_eq!(
        message(&region, "UpdateItem", update).await,
        UPDATE_TOO_LARGE
    );
}

#[tokio::test]
async fn key_conditions_obey_the_limits_of_keys() {
    let region = Region::new();
    let query = |table: &str, bytes| {
        json!({"TableName": table, "KeyConditionExpression": "a = :v",
            "ExpressionAttributeValues": {":v": long(bytes)}})
    };
    ok(&region, "Query", query("hash", 2048)).await;
    assert_eq!(
        message(&region, "Query", query("hash", 2049)).await,
        "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"
    );
    for condition in ["l = :v", "l BETWEEN :a AND :v", "begins_with(l, :v)"] {
        let query = |bytes| {
            let mut query = query("range", 1);
            query["IndexName"] = json!("local");
            query["KeyConditionExpression"] = json!(format!("a = :p AND {condition}"));
            let mut values = json!({":v": long(bytes), ":p": {"S": "p"}});
            if condition.contains(":a") {
                values[":a"] = json!({"S": "a"});
            }
            query["ExpressionAttributeValues"] = values;
            query
        };
        ok(&region, "Query", query(1024)).await;
        assert_eq!(
            message(&region, "Query", query(1025)).await,
            "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit \
             of 1024 bytes",
            "{condition}"
        );
    }
}

#[tokio::test]
async fn what_a_batch_of_reads_has_no_room_for_is_handed_back() {
    let region = Region::new();
    let keys: Vec<_> = (0..6).map(|n| json!({"a": {"S": n.to_string()}})).collect();
    for key in &keys[..5] {
        let mut item = key.clone();
        item["x"] = long(300 * 1024);
        ok(
            &region,
            "PutItem",
            json!({"TableName": "hash", "Item": item}),
        )
        .await;
    }
    let answer = ok(
        &region,
        "BatchGetItem",
        json!({"RequestItems": {"hash": {"Keys": keys, "ConsistentRead": true}},
            "ReturnConsumedCapacity": "TOTAL"}),
    )
    .await;
    // 1 MB and one item of the largest size hold four of them; the last key has no item.
    let items = answer["Responses"]["hash"].as_array().expect("a list");
    assert_eq!(items.len(), 4);
    assert_eq!(
        answer["UnprocessedKeys"],
        json!({"hash": {"Keys": [keys[4]], "ConsistentRead": true}})
    );
    let units = &answer["ConsumedCapacity"][0]["CapacityUnits"];
    assert_eq!(units, &json!(4.0 * 76.0 + 1.0 + 1.0));
}
