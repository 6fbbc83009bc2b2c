//! Batches and transactions.

use serde_json::json;

use super::{Region, call, message, ok};
use crate::replica::ApiError;

#[tokio::test]
async fn batches_write_and_read() {
    let region = Region::new();
    let puts: Vec<_> = (0..3)
        .map(|n| json!({"PutRequest": {"Item": {"a": {"S": n.to_string()}}}}))
        .collect();
    let write = json!({"RequestItems": {"hash": puts}, "ReturnConsumedCapacity": "TOTAL"});
    assert_eq!(
        ok(&region, "BatchWriteItem", write).await,
        json!({"UnprocessedItems": {}, "ConsumedCapacity": [{"TableName": "hash", "CapacityUnits": 3.0}]})
    );
    let keys = json!([{"a": {"S": "0"}}, {"a": {"S": "2"}}, {"a": {"S": "9"}}]);
    let read = json!({"RequestItems": {"hash": {"Keys": keys}}});
    let answer = ok(&region, "BatchGetItem", read).await;
    assert_eq!(
        answer["Responses"]["hash"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(answer["UnprocessedKeys"], json!({}));
    let twice = json!({"RequestItems": {"hash": {"Keys": [{"a": {"S": "0"}}, {"a": {"S": "0"}}]}}});
    assert_eq!(
        message(&region, "BatchGetItem", twice).await,
        "Provided list of item keys contains duplicates"
    );
    let both = json!({"PutRequest": {"Item": {"a": {"S": "0"}}}, "DeleteRequest": {"Key": {"a": {"S": "0"}}}});
    let both = json!({"RequestItems": {"hash": [both]}});
    assert!(
        message(&region, "BatchWriteItem", both)
            .await
            .starts_with("Supplied AttributeValue has more")
    );
    let empty = json!({"RequestItems": {}});
    assert_eq!(
        message(&region, "BatchWriteItem", empty).await,
        "The requestItems parameter is required for BatchWriteItem"
    );
    let none = json!({"RequestItems": {"hash": []}});
    assert_eq!(
        message(&region, "BatchWriteItem", none).await,
        "1 validation error detected: Value '{hash=[]}' at 'requestItems' failed to satisfy constraint: Map value must \
         satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than \
         or equal to 1]"
    );
}

#[tokio::test]
async fn transactions_are_atomic_and_idempotent() {
    let region = Region::new();
    let add = json!({"Update": {"TableName": "hash", "Key": {"a": {"S": "k"}}, "UpdateExpression": "ADD n :n",
        "ExpressionAttributeValues": {":n": {"N": "1"}}}});
    let body = json!({"TransactItems": [add], "ClientRequestToken": "t", "ReturnConsumedCapacity": "TOTAL"});
    assert_eq!(
        ok(&region, "TransactWriteItems", body.clone()).await["ConsumedCapacity"],
        json!([{"TableName": "hash", "CapacityUnits": 2.0, "WriteCapacityUnits": 2.0}])
    );
    assert_eq!(
        ok(&region, "TransactWriteItems", body).await["ConsumedCapacity"],
        json!([{"TableName": "hash", "CapacityUnits": 2.0, "ReadCapacityUnits": 2.0}])
    );
    let other = json!({"TransactItems": [{"Delete": {"TableName": "hash", "Key": {"a": {"S": "k"}}}}],
        "ClientRequestToken": "t"});
    match call(&region, "TransactWriteItems", other).await {
        Err(ApiError::IdempotentParameterMismatch(_)) => {}
        other => panic!("{other:?}"),
    }
    let get = json!({"TransactItems": [{"Get": {"TableName": "hash", "Key": {"a": {"S": "k"}}}},
        {"Get": {"TableName": "hash", "Key": {"a": {"S": "none"}}}}]});
    assert_eq!(
        ok(&region, "TransactGetItems", get).await,
        json!({"Responses": [{"Item": {"a": {"S": "k"}, "n": {"N": "1"}}}, {}]})
    );
}

#[tokio::test]
async fn transactions_name_their_reasons() {
    let region = Region::new();
    let put = |key: &str, condition: &str| json!({"Put": {"TableName": "hash", "Item": {"a": {"S": key}}, "ConditionExpression": condition}});
    let body = json!({"TransactItems": [put("x", "attribute_not_exists(a)"), put("y", "attribute_exists(a)")]});
    assert_eq!(
        message(&region, "TransactWriteItems", body).await,
        "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]"
    );
    let twice = json!({"TransactItems": [put("x", "attribute_not_exists(a)"), put("x", "attribute_not_exists(a)")]});
    assert_eq!(
        message(&region, "TransactWriteItems", twice).await,
        "Transaction request cannot include multiple operations on one item"
    );
    let empty = json!({"TransactItems": []});
    assert_eq!(
        message(&region, "TransactWriteItems", empty).await,
        "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: Member must have \
         length greater than or equal to 1"
    );
    let wrong = json!({"TransactItems": [{"Get": {"TableName": "hash", "Key": {"a": {"N": "1"}}}},
        {"Get": {"TableName": "hash", "Key": {"a": {"S": "1"}}}}]});
    assert_eq!(
        message(&region, "TransactGetItems", wrong).await,
        "Transaction cancelled, please refer cancellation reasons for specific reasons [ValidationError, None]"
    );
    let missing =
        json!({"TransactItems": [{"Get": {"TableName": "nope", "Key": {"a": {"N": "1"}}}}]});
    assert_eq!(
        message(&region, "TransactGetItems", missing).await,
        "Requested resource not found"
    );
    let two = json!({"TransactItems": [{"Put": {"TableName": "hash", "Item": {}}, "Delete": {"TableName": "hash", "Key": {}}}]});
    assert_eq!(
        message(&region, "TransactWriteItems", two).await,
        "TransactItems can only contain one of Check, Put, Update or Delete"
    );
}
