//! The data operations on a real replica in memory.

use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use super::*;
use crate::api::{Backend, Fields, RegionInfo, WriteFuture};
use crate::clock::{Now, RegionId};
use crate::item::{KeySchema, KeyType};
use crate::replica::catalog::{IndexDef, IndexKind, Projection, TableDef, TableUid};
use crate::replica::mutation::GroupId;
use crate::replica::request::WriteRequest;
use crate::replica::{ApiError, Job, JobResult, Replica, ReplicaConfig};
use crate::store::mem::MemStore;
use crate::store::{ReadTxn, Store};

/// One region in memory, without a writer thread.
struct Region {
    info: RegionInfo,
    store: Arc<MemStore>,
    replica: Mutex<Replica>,
}

const NOW: Now = Now {
    wall_us: 1_700_000_000_000_000,
    mono_us: 1,
};

impl Region {
    fn new() -> Self {
        let id = RegionId(0);
        let store = Arc::new(MemStore::new());
        let config = ReplicaConfig {
            region: id,
            region_name: "us-east-1".into(),
            members: GroupId::of([id]),
            replicate_all: false,
            planted: None,
        };
        let replica = Replica::open(store.clone(), config, NOW).expect("opens");
        let info = RegionInfo {
            name: "us-east-1".into(),
            id,
            account: "000000000000".into(),
            topology: vec![(id, "us-east-1".into())],
        };
        let region = Region {
            info,
            store,
            replica: Mutex::new(replica),
        };
        for def in [hash_table(), range_table()] {
            region
                .execute(WriteRequest::CreateTable { def: Box::new(def) })
                .expect("creates");
        }
        region
    }

    fn execute(
        &self,
        request: WriteRequest,
    ) -> Result<crate::replica::request::WriteResponse, ApiError> {
        let mut replica = self.replica.lock().expect("not poisoned");
        let mut txn = self.store.begin_write()?;
        let mut results = replica.run_group(&mut *txn, NOW, vec![Job::Write(request)])?;
        txn.commit()?;
        replica.committed();
        match results.pop() {
            Some(JobResult::Write(result)) => result,
            other => panic!("{other:?}"),
        }
    }
}

impl Backend for Region {
    fn region(&self) -> &RegionInfo {
        &self.info
    }

    fn write(&self, request: WriteRequest) -> WriteFuture<'_> {
        Box::pin(async move { self.execute(request) })
    }

    fn read(
        &self,
        reader: &mut dyn FnMut(&dyn ReadTxn) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let txn = self.store.begin_read()?;
        reader(&*txn)
    }
}

fn table(name: &str, keys: KeySchema, indexes: Vec<IndexDef>) -> TableDef {
    let mut attributes: Vec<_> = keys.attributes().cloned().collect();
    for key in indexes.iter().flat_map(|index| index.keys.attributes()) {
        if !attributes.contains(key) {
            attributes.push(key.clone());
        }
    }
    TableDef {
        name: name.into(),
        uid: TableUid(0),
        group: GroupId(0),
        attributes,
        keys,
        indexes,
        created_us: 0,
        throughput: None,
        stream_view: None,
        deletion_protection: false,
        recorded: Vec::new(),
        next_index: 0,
    }
}

fn hash_table() -> TableDef {
    table(
        "hash",
        KeySchema::simple(("a", KeyType::S), None),
        Vec::new(),
    )
}

fn range_table() -> TableDef {
    let index = |name: &str, kind, keys, projection| IndexDef {
        id: 0,
        name: name.into(),
        kind,
        keys,
        projection,
        throughput: None,
    };
    let keys = KeySchema::simple(("a", KeyType::S), Some(("b", KeyType::N)));
    let local = KeySchema::simple(("a", KeyType::S), Some(("l", KeyType::S)));
    let global = KeySchema::simple(("g", KeyType::S), None);
    table(
        "range",
        keys,
        vec![
            index("local", IndexKind::Local, local, Projection::KeysOnly),
            index(
                "global",
                IndexKind::Global,
                global,
                Projection::Include(vec!["x".into()]),
            ),
        ],
    )
}

async fn call(region: &Region, operation: &str, body: Json) -> Result<Json, ApiError> {
    let fields = Fields::from_element(body, "Test")?;
    let bytes = match operation {
        "GetItem" => get_item::run(region, fields).await,
        "PutItem" => put_item::run(region, fields).await,
        "UpdateItem" => update_item::run(region, fields).await,
        "DeleteItem" => delete_item::run(region, fields).await,
        "Query" => query::run(region, fields).await,
        "Scan" => scan::run(region, fields).await,
        "BatchGetItem" => batch_get_item::run(region, fields).await,
        "BatchWriteItem" => batch_write_item::run(region, fields).await,
        "TransactGetItems" => transact_get_items::run(region, fields).await,
        "TransactWriteItems" => transact_write_items::run(region, fields).await,
        other => panic!("no operation {other}"),
    }?;
    Ok(serde_json::from_slice(&bytes).expect("the body is JSON"))
}

async fn ok(region: &Region, operation: &str, body: Json) -> Json {
    match call(region, operation, body.clone()).await {
        Ok(answer) => answer,
        Err(error) => panic!("{operation} {body}: {error:?}"),
    }
}

async fn message(region: &Region, operation: &str, body: Json) -> String {
    match call(region, operation, body).await {
        Ok(answer) => panic!("{operation} succeeded: {answer}"),
        Err(error) => error.to_string(),
    }
}

async fn fill(region: &Region) {
    for n in 1..=5 {
        let item = json!({"a": {"S": "p"}, "b": {"N": n.to_string()}, "l": {"S": format!("l{}", 9 - n)},
            "g": {"S": "all"}, "x": {"N": n.to_string()}, "y": {"S": "why"}});
        ok(
            region,
            "PutItem",
            json!({"TableName": "range", "Item": item}),
        )
        .await;
    }
}

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

#[tokio::test]
async fn a_query_pages_filters_and_projects() {
    let region = Region::new();
    fill(&region).await;
    let values = json!({":p": {"S": "p"}, ":n": {"N": "2"}});
    let query = json!({"TableName": "range", "KeyConditionExpression": "a = :p AND b >= :n", "Limit": 2,
        "ExpressionAttributeValues": values, "ProjectionExpression": "x", "ScanIndexForward": false});
    let page = ok(&region, "Query", query.clone()).await;
    assert_eq!(page["Items"], json!([{"x": {"N": "5"}}, {"x": {"N": "4"}}]));
    assert_eq!(
        page["LastEvaluatedKey"],
        json!({"a": {"S": "p"}, "b": {"N": "4"}})
    );
    let mut next = query;
    next["ExclusiveStartKey"] = page["LastEvaluatedKey"].clone();
    let page = ok(&region, "Query", next).await;
    assert_eq!(page["Items"], json!([{"x": {"N": "3"}}, {"x": {"N": "2"}}]));
    let count = json!({"TableName": "range", "Select": "COUNT", "FilterExpression": "x > :n",
        "KeyConditions": {"a": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "p"}]}},
        "ExpressionAttributeValues": {":n": {"N": "3"}}});
    assert_eq!(
        ok(&region, "Query", count).await,
        json!({"Count": 2, "ScannedCount": 5})
    );
}

#[tokio::test]
async fn queries_are_refused_in_dynamodbs_words() {
    let region = Region::new();
    let base = |extra: Json| {
        let mut body = json!({"TableName": "range", "KeyConditionExpression": "a = :p",
            "ExpressionAttributeValues": {":p": {"S": "p"}}});
        if let (Some(body), Json::Object(extra)) = (body.as_object_mut(), extra) {
            body.extend(extra);
        }
        body
    };
    let cases = [
        (
            json!({"Limit": 0}),
            "1 validation error detected: Value at 'Limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            json!({"IndexName": "nope"}),
            "The table does not have the specified index: nope",
        ),
        (
            json!({"IndexName": "global", "ConsistentRead": true}),
            "Consistent reads are not supported on global secondary indexes",
        ),
        (
            json!({"IndexName": "global"}),
            "Query condition missed key schema element: g",
        ),
        (
            json!({"FilterExpression": "b = :p"}),
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: b",
        ),
        (
            json!({"Select": "ALL_PROJECTED_ATTRIBUTES"}),
            "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
        ),
        (
            json!({"Select": "SPECIFIC_ATTRIBUTES"}),
            "1 validation error detected: Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
        ),
        (
            json!({"ExclusiveStartKey": {"a": {"S": "p"}}}),
            "The provided starting key is invalid",
        ),
        (
            json!({"ExclusiveStartKey": {"a": {"S": "q"}, "b": {"N": "1"}}}),
            "The provided starting key is outside query boundaries based on provided conditions",
        ),
        (
            json!({"ProjectionExpression": "a.x"}),
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: a",
        ),
    ];
    for (extra, expected) in cases {
        assert_eq!(
            message(&region, "Query", base(extra.clone())).await,
            expected,
            "{extra}"
        );
    }
    let none = json!({"TableName": "range"});
    assert_eq!(
        message(&region, "Query", none).await,
        "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
    );
}

#[tokio::test]
async fn indexes_project_or_fetch() {
    let region = Region::new();
    fill(&region).await;
    let local = json!({"TableName": "range", "IndexName": "local", "KeyConditionExpression": "a = :p AND l < :l",
        "ExpressionAttributeValues": {":p": {"S": "p"}, ":l": {"S": "l6"}}});
    let page = ok(&region, "Query", local.clone()).await;
    assert_eq!(page["Count"], 2);
    assert_eq!(
        page["Items"][0],
        json!({"a": {"S": "p"}, "b": {"N": "5"}, "l": {"S": "l4"}})
    );
    let mut fetched = local;
    fetched["ProjectionExpression"] = json!("y");
    fetched["FilterExpression"] = json!("x = :x");
    fetched["ExpressionAttributeValues"][":x"] = json!({"N": "5"});
    fetched["ReturnConsumedCapacity"] = json!("INDEXES");
    let page = ok(&region, "Query", fetched).await;
    assert_eq!(page["Items"], json!([{"y": {"S": "why"}}]));
    assert_eq!(page["ScannedCount"], 2);
    assert_eq!(
        page["ConsumedCapacity"]["Table"]["CapacityUnits"],
        json!(1.0)
    );
    let global = json!({"TableName": "range", "IndexName": "global", "Select": "ALL_ATTRIBUTES"});
    assert!(
        message(&region, "Scan", global)
            .await
            .contains("its projection type is not ALL")
    );
    let global = json!({"TableName": "range", "IndexName": "global", "Limit": 2});
    let page = ok(&region, "Scan", global).await;
    assert_eq!(page["Items"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        page["LastEvaluatedKey"]
            .as_object()
            .map(serde_json::Map::len),
        Some(3)
    );
}

#[tokio::test]
async fn segments_are_disjoint_and_complete() {
    let region = Region::new();
    for n in 0..40 {
        let item = json!({"a": {"S": n.to_string()}});
        ok(
            &region,
            "PutItem",
            json!({"TableName": "hash", "Item": item}),
        )
        .await;
    }
    let mut seen = std::collections::BTreeSet::new();
    for segment in 0..3 {
        let scan = json!({"TableName": "hash", "Segment": segment, "TotalSegments": 3});
        let page = ok(&region, "Scan", scan).await;
        for item in page["Items"].as_array().expect("a list") {
            assert!(seen.insert(item.to_string()));
        }
    }
    assert_eq!(seen.len(), 40);
}

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
