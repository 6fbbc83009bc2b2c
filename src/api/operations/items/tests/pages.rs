//! Query and Scan.

use serde_json::{Value as Json, json};

use super::{Region, fill, message, ok};

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
