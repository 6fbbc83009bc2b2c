//! Operations on one item.

use serde_json::{Value as Json, json};

use super::{Region, call, message, ok};
use crate::replica::ApiError;

#[tokio::test]
async fn an_item_comes_back_and_goes() {
    let region = Region::new();
    let item =
        json!({"a": {"S": "k"}, "m": {"M": {"x": {"N": "1.50"}, "l": {"L": [{"BOOL": true}]}}}});
    let put = json!({"TableName": "hash", "Item": item, "ReturnConsumedCapacity": "TOTAL"});
    assert_eq!(
        ok(&region, "PutItem", put.clone()).await,
        json!({"ConsumedCapacity": {"TableName": "hash", "CapacityUnits": 1.0}})
    );
    let get = json!({"TableName": "hash", "Key": {"a": {"S": "k"}}});
    assert_eq!(
        ok(&region, "GetItem", get.clone()).await,
        json!({"Item": {"a": {"S": "k"}, "m": {"M": {"x": {"N": "1.5"}, "l": {"L": [{"BOOL": true}]}}}}})
    );
    let projected = json!({"TableName": "hash", "Key": {"a": {"S": "k"}}, "ProjectionExpression": "m.l[0], zz",
        "ReturnConsumedCapacity": "INDEXES"});
    assert_eq!(
        ok(&region, "GetItem", projected).await,
        json!({"Item": {"m": {"M": {"l": {"L": [{"BOOL": true}]}}}},
            "ConsumedCapacity": {"TableName": "hash", "CapacityUnits": 0.5, "Table": {"CapacityUnits": 0.5}}})
    );
    let delete = json!({"TableName": "hash", "Key": {"a": {"S": "k"}}, "ReturnValues": "ALL_OLD"});
    assert_eq!(
        ok(&region, "DeleteItem", delete.clone()).await["Attributes"]["a"],
        json!({"S": "k"})
    );
    assert_eq!(ok(&region, "DeleteItem", delete).await, json!({}));
    assert_eq!(ok(&region, "GetItem", get).await, json!({}));
}

#[tokio::test]
async fn static_checks_come_before_the_table_and_keys_after_it() {
    let region = Region::new();
    let key = json!({"a": {"S": "k"}});
    let bad = json!({"TableName": "missing", "Key": key, "ProjectionExpression": "a,"});
    assert!(
        message(&region, "GetItem", bad)
            .await
            .starts_with("Invalid ProjectionExpression: ")
    );
    let missing = json!({"TableName": "missing", "Key": {"z": {"S": "k"}}});
    assert_eq!(
        message(&region, "GetItem", missing).await,
        "Requested resource not found"
    );
    let wrong = json!({"TableName": "hash", "Key": {"a": {"N": "1"}}});
    assert_eq!(
        message(&region, "GetItem", wrong).await,
        "The provided key element does not match the schema"
    );
    let wrong = json!({"TableName": "hash", "Item": {"a": {"N": "1"}}});
    assert_eq!(
        message(&region, "PutItem", wrong).await,
        "One or more parameter values were invalid: Type mismatch for key a expected: S actual: N"
    );
    assert_eq!(
        message(&region, "GetItem", json!({"TableName": "hash"})).await,
        "1 validation error detected: Value null at 'key' failed to satisfy constraint: Member must not be null"
    );
}

#[tokio::test]
async fn put_and_update_envelope_some_families() {
    let region = Region::new();
    let put = json!({"TableName": "hash", "Item": {"a": {"S": "k"}}, "ReturnValues": "ALL_NEW"});
    assert_eq!(
        message(&region, "PutItem", put).await,
        "1 validation error detected: ReturnValues can only be ALL_OLD or NONE"
    );
    let put = json!({"TableName": "hash", "Item": {"a": {"S": "k"}, "s": {"SS": []}}});
    assert_eq!(
        message(&region, "PutItem", put).await,
        "1 validation error detected: One or more parameter values were invalid: An string set  may not be empty"
    );
    let delete = json!({"TableName": "hash", "Key": {"a": {"S": "k"}}, "ReturnValues": "ALL_NEW"});
    assert_eq!(
        message(&region, "DeleteItem", delete).await,
        "ReturnValues can only be ALL_OLD or NONE"
    );
    let update = json!({"TableName": "hash", "Key": {"a": {"S": "k"}}, "UpdateExpression": "SET a = :v",
        "ExpressionAttributeValues": {":v": {"S": "x"}}});
    assert_eq!(
        message(&region, "UpdateItem", update).await,
        "One or more parameter values were invalid: Cannot update attribute a. This attribute is part of the key"
    );
    let update = json!({"TableName": "hash", "Key": {"a": {"S": "k"}}, "UpdateExpression": "SET b = :v",
        "ExpressionAttributeValues": {":v": {"S": "x"}, ":w": {"S": "x"}}});
    assert_eq!(
        message(&region, "UpdateItem", update).await,
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}"
    );
    let both = json!({"TableName": "hash", "Key": {"a": {"S": "k"}}, "ReturnValues": "x", "ReturnConsumedCapacity": "y"});
    assert!(
        message(&region, "UpdateItem", both.clone())
            .await
            .starts_with("1 validation error detected: ")
    );
    assert!(
        message(&region, "DeleteItem", both)
            .await
            .starts_with("2 validation errors detected: ")
    );
}

#[tokio::test]
async fn conditions_come_in_both_styles() {
    let region = Region::new();
    let once = json!({"TableName": "hash", "Item": {"a": {"S": "k"}, "n": {"N": "1"}},
        "ConditionExpression": "attribute_not_exists(a)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"});
    ok(&region, "PutItem", once.clone()).await;
    match call(&region, "PutItem", once).await {
        Err(ApiError::ConditionalCheckFailed { item: Some(item) }) => {
            assert!(item.contains_key("n"))
        }
        other => panic!("{other:?}"),
    }
    let expected = json!({"TableName": "hash", "Key": {"a": {"S": "k"}},
        "Expected": {"n": {"Value": {"N": "2"}}}});
    assert_eq!(
        message(&region, "DeleteItem", expected).await,
        "The conditional request failed"
    );
    let mixed = json!({"TableName": "hash", "Key": {"a": {"S": "k"}}, "ConditionExpression": "attribute_exists(a)",
        "Expected": {"n": {"Value": {"N": "2"}}}});
    assert_eq!(
        message(&region, "DeleteItem", mixed).await,
        "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: \
         {Expected} Expression parameters: {ConditionExpression}"
    );
    let operator =
        json!({"TableName": "hash", "Key": {"a": {"S": "k"}}, "ConditionalOperator": "OR"});
    assert!(
        message(&region, "DeleteItem", operator)
            .await
            .contains("ConditionalOperator cannot be used")
    );
}

#[tokio::test]
async fn updates_return_the_fragments_they_touched() {
    let region = Region::new();
    let key = json!({"a": {"S": "k"}});
    let update = |expression: &str, values: Json, returned: &str| {
        let mut body = json!({"TableName": "hash", "Key": key, "UpdateExpression": expression,
            "ReturnValues": returned});
        if !values.is_null() {
            body["ExpressionAttributeValues"] = values;
        }
        body
    };
    let nothing = update("REMOVE x", Json::Null, "ALL_NEW");
    assert_eq!(ok(&region, "UpdateItem", nothing).await, json!({}));
    let map = json!({":m": {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}});
    let set = update("SET m = :m", map, "UPDATED_OLD");
    assert_eq!(ok(&region, "UpdateItem", set).await, json!({}));
    let add = update("ADD m.x :n", json!({":n": {"N": "4"}}), "UPDATED_NEW");
    assert_eq!(
        ok(&region, "UpdateItem", add).await,
        json!({"Attributes": {"m": {"M": {"x": {"N": "5"}}}}})
    );
    let remove = update("REMOVE m.x", Json::Null, "UPDATED_OLD");
    assert_eq!(
        ok(&region, "UpdateItem", remove).await,
        json!({"Attributes": {"m": {"M": {"x": {"N": "5"}}}}})
    );
    let legacy = json!({"TableName": "hash", "Key": key, "ReturnValues": "ALL_NEW",
        "AttributeUpdates": {"n": {"Value": {"N": "1"}, "Action": "ADD"}, "m": {"Action": "DELETE"}}});
    assert_eq!(
        ok(&region, "UpdateItem", legacy).await,
        json!({"Attributes": {"a": {"S": "k"}, "n": {"N": "1"}}})
    );
}

#[tokio::test]
async fn collections_are_measured_on_tables_with_a_local_index() {
    let region = Region::new();
    let item = json!({"a": {"S": "p"}, "b": {"N": "1"}, "g": {"S": "all"}});
    let put = json!({"TableName": "range", "Item": item, "ReturnItemCollectionMetrics": "SIZE",
        "ReturnConsumedCapacity": "INDEXES"});
    let answer = ok(&region, "PutItem", put).await;
    assert_eq!(
        answer["ItemCollectionMetrics"],
        json!({"ItemCollectionKey": {"a": {"S": "p"}}, "SizeEstimateRangeGB": [0.0, 1.0]})
    );
    assert_eq!(
        answer["ConsumedCapacity"],
        json!({"TableName": "range", "CapacityUnits": 2.0, "Table": {"CapacityUnits": 1.0},
            "GlobalSecondaryIndexes": {"global": {"CapacityUnits": 1.0}}})
    );
}
