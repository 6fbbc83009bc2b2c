//! The table operations over a real replica on a store in memory.

use serde_json::{Value, json};

use crate::api::Backend;
use crate::api::tests::{TestBackend, call};
use crate::clock::RegionId;
use crate::replica::members::Progress;
use crate::replica::mutation::GroupId;
use crate::replica::read;

/// The message of an operation that must fail.
pub(super) async fn failure(backend: &TestBackend, operation: &str, body: Value) -> String {
    let (status, answer) = call(backend, operation, body).await;
    assert_eq!(status, 400, "{answer}");
    answer["message"]
        .as_str()
        .or(answer["Message"].as_str())
        .unwrap_or("")
        .to_owned()
}

pub(super) fn table(name: &str) -> Value {
    json!({
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    })
}

pub(super) fn with(mut body: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_table_lives_from_create_to_delete() {
    let backend = TestBackend::new();
    let (status, answer) = call(&backend, "CreateTable", table("abc")).await;
    assert_eq!(status, 200, "{answer}");
    let description = &answer["TableDescription"];
    assert_eq!(description["TableStatus"], "CREATING");
    assert_eq!(
        description["TableArn"],
        "arn:aws:dynamodb:us-east-1:000000000000:table/abc"
    );
    assert_eq!(
        description["BillingModeSummary"]["BillingMode"],
        "PAY_PER_REQUEST"
    );
    assert!(description["CreationDateTime"].as_f64().unwrap() > 1.7e9);
    assert_eq!(description["TableId"].as_str().unwrap().len(), 36);
    assert!(
        description.get("Replicas").is_none()
            && description.get("GlobalSecondaryIndexes").is_none()
    );
    assert_eq!(
        failure(&backend, "CreateTable", table("abc")).await,
        "Table already exists: abc"
    );
    let arn = json!({"TableName": description["TableArn"]});
    let (_, answer) = call(&backend, "DescribeTable", arn).await;
    assert_eq!(answer["Table"]["TableStatus"], "ACTIVE");
    assert_eq!(answer["Table"]["TableId"], description["TableId"]);
    let (_, answer) = call(&backend, "DescribeTimeToLive", json!({"TableName": "abc"})).await;
    assert_eq!(
        answer,
        json!({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}})
    );
    let (_, answer) = call(&backend, "DeleteTable", json!({"TableName": "abc"})).await;
    assert_eq!(answer["TableDescription"]["TableStatus"], "DELETING");
    assert!(answer["TableDescription"].get("KeySchema").is_none());
    let gone = failure(&backend, "DescribeTable", json!({"TableName": "abc"})).await;
    assert_eq!(gone, "Requested resource not found: Table: abc not found");
}

#[tokio::test]
async fn lists_are_paged_in_byte_order() {
    let backend = TestBackend::new();
    for name in ["bbb", "aaa", "Zzz"] {
        call(&backend, "CreateTable", table(name)).await;
    }
    let (_, answer) = call(&backend, "ListTables", json!({"Limit": 2})).await;
    assert_eq!(
        answer,
        json!({"TableNames": ["Zzz", "aaa"], "LastEvaluatedTableName": "aaa"})
    );
    let (_, answer) = call(
        &backend,
        "ListTables",
        json!({"Limit": 2, "ExclusiveStartTableName": "aaa"}),
    )
    .await;
    assert_eq!(answer, json!({"TableNames": ["bbb"]}));
    let text = failure(&backend, "ListTables", json!({"Limit": 101})).await;
    assert!(text.ends_with("Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100"));
}

#[tokio::test]
async fn invalid_tables_are_refused_in_dynamodbs_words() {
    let backend = TestBackend::new();
    let gsi = |keys: Value, projection: Value| {
        json!({
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "N"}],
            "GlobalSecondaryIndexes": [{"IndexName": "idx", "KeySchema": keys, "Projection": projection}],
        })
    };
    let g = json!([{"AttributeName": "g", "KeyType": "HASH"}]);
    let cases = [
        (
            json!({"TableName": null}),
            "The parameter 'TableName' is required but was not present in the request",
        ),
        (
            json!({"TableName": "ab"}),
            "1 validation error detected: Value 'ab' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 3",
        ),
        (
            json!({"AttributeDefinitions": null, "KeySchema": []}),
            "2 validation errors detected: Value null at 'attributeDefinitions' failed to satisfy constraint: Member must not be null; \
             Value '[]' at 'keySchema' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            json!({"KeySchema": [{"AttributeName": "pk", "KeyType": "X"}]}),
            "1 validation error detected: Value 'X' at 'keySchema.1.member.keyType' failed to satisfy constraint: \
             Member must satisfy enum value set: [HASH, RANGE]",
        ),
        (
            json!({"BillingMode": "PROVISIONED"}),
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        ),
        (
            json!({"KeySchema": [{"AttributeName": "x", "KeyType": "HASH"}]}),
            "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [x], AttributeDefinitions: [pk]",
        ),
        (
            gsi(
                json!([{"AttributeName": "c", "KeyType": "HASH"}]),
                json!({"ProjectionType": "ALL"}),
            ),
            "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. \
             Keys: [c], AttributeDefinitions: [pk, g]",
        ),
        (
            gsi(g.clone(), json!({})),
            "One or more parameter values were invalid: Unknown ProjectionType: null",
        ),
        (
            gsi(
                g.clone(),
                json!({"ProjectionType": "ALL", "NonKeyAttributes": ["x"]}),
            ),
            "One or more parameter values were invalid: ProjectionType is ALL, but NonKeyAttributes is specified",
        ),
        (
            json!({"StreamSpecification": {"StreamEnabled": true}}),
            "One or more parameter values were invalid: Table is being created with a stream enabled, UpdateViewType is required",
        ),
        (
            json!({"KeySchema": {}}),
            "Start of structure or map found where not expected",
        ),
    ];
    for (changes, expected) in cases {
        assert_eq!(
            failure(&backend, "CreateTable", with(table("abc"), changes.clone())).await,
            expected,
            "{changes}"
        );
    }
    let good = with(
        table("abc"),
        gsi(
            g,
            json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]}),
        ),
    );
    let (status, answer) = call(&backend, "CreateTable", good).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["TableDescription"]["GlobalSecondaryIndexes"][0]["IndexStatus"],
        "CREATING"
    );
}

#[tokio::test]
async fn replicas_come_and_go_one_at_a_time() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", table("abc")).await;
    let update = |actions: Value| json!({"TableName": "abc", "ReplicaUpdates": actions});
    let create = |region: &str| update(json!([{"Create": {"RegionName": region}}]));
    let text = failure(&backend, "UpdateTable", create("us-east-1")).await;
    assert!(text.starts_with("Cannot add or delete the local region through ReplicaUpdates."));
    let text = failure(&backend, "UpdateTable", create("mars-1")).await;
    assert!(
        text.starts_with("Region mars-1 is not supported.")
            && text.ends_with("[eu-west-1, us-east-1]"),
        "{text}"
    );
    let text = failure(
        &backend,
        "UpdateTable",
        update(json!([{"Delete": {"RegionName": "eu-west-1"}}])),
    )
    .await;
    assert!(
        text.ends_with("Please retry the request without these replicas: [eu-west-1]."),
        "{text}"
    );
    let both = with(
        create("eu-west-1"),
        json!({"DeletionProtectionEnabled": true}),
    );
    let text = failure(&backend, "UpdateTable", both).await;
    assert!(
        text.ends_with("Replica modification must be the only operation in the request"),
        "{text}"
    );

    let (status, answer) = call(&backend, "UpdateTable", create("eu-west-1")).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["TableDescription"]["TableStatus"], "UPDATING");
    let (_, answer) = call(&backend, "DescribeTable", json!({"TableName": "abc"})).await;
    assert_eq!(answer["Table"]["GlobalTableVersion"], "2019.11.21");
    assert_eq!(
        answer["Table"]["Replicas"],
        json!([{
            "RegionName": "eu-west-1", "ReplicaStatus": "CREATING",
            "GlobalTableSettingsReplicationMode": "ENABLED_WITH_OVERRIDES",
            "WarmThroughput": {"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000, "Status": "ACTIVE"},
        }])
    );
    assert!(
        failure(&backend, "UpdateTable", create("eu-west-1"))
            .await
            .contains("already existed as tables")
    );
    let status = async || {
        let (_, answer) = call(&backend, "DescribeTable", json!({"TableName": "abc"})).await;
        answer["Table"]["Replicas"][0]["ReplicaStatus"].clone()
    };
    let remove = || update(json!([{"Delete": {"RegionName": "eu-west-1"}}]));
    let (_, answer) = call(&backend, "UpdateTable", remove()).await;
    assert!(
        answer["__type"]
            .as_str()
            .unwrap()
            .ends_with("#ResourceInUseException")
    );
    backend.reports("abc", Progress::Joined);
    assert_eq!(status().await, "CREATING");
    backend.reports("abc", Progress::Ready);
    assert_eq!(status().await, "ACTIVE");
    assert_eq!(call(&backend, "UpdateTable", remove()).await.0, 200);
    assert_eq!(status().await, "DELETING");
    backend.reports("abc", Progress::Gone);
    let (_, answer) = call(&backend, "DescribeTable", json!({"TableName": "abc"})).await;
    assert!(
        answer["Table"].get("Replicas").is_none()
            && answer["Table"].get("GlobalTableVersion").is_none()
    );
}

#[tokio::test]
async fn update_table_changes_one_kind_of_thing() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", table("abc")).await;
    let update = |changes: Value| with(json!({"TableName": "abc"}), changes);
    assert!(
        failure(&backend, "UpdateTable", update(json!({})))
            .await
            .starts_with("At least one of ProvisionedThroughput")
    );
    let index = json!({"IndexName": "idx", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}});
    let create = json!({
        "AttributeDefinitions": [{"AttributeName": "g", "AttributeType": "S"}],
        "GlobalSecondaryIndexUpdates": [{"Create": index}],
    });
    let (status, answer) = call(&backend, "UpdateTable", update(create.clone())).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["TableDescription"]["GlobalSecondaryIndexes"][0]["IndexName"],
        "idx"
    );
    assert_eq!(
        answer["TableDescription"]["AttributeDefinitions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        failure(&backend, "UpdateTable", update(create)).await,
        "Attempting to create an index which already exists"
    );
    let units = json!({"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}, "BillingMode": "PROVISIONED"});
    let text = failure(&backend, "UpdateTable", update(units.clone())).await;
    assert_eq!(
        text,
        "One or more parameter values were invalid: ProvisionedThroughput must be specified for index: idx"
    );
    let delete = json!({"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "idx"}}]});
    assert_eq!(
        call(&backend, "UpdateTable", update(delete.clone()))
            .await
            .0,
        200
    );
    assert_eq!(
        failure(&backend, "UpdateTable", update(delete)).await,
        "Requested resource not found"
    );
    let (_, answer) = call(&backend, "UpdateTable", update(units.clone())).await;
    assert_eq!(
        answer["TableDescription"]["ProvisionedThroughput"]["WriteCapacityUnits"],
        2
    );
    assert_eq!(
        answer["TableDescription"]["BillingModeSummary"]["BillingMode"],
        "PROVISIONED"
    );
    assert!(
        failure(&backend, "UpdateTable", update(units))
            .await
            .starts_with("The provisioned throughput for the table will not change.")
    );
    let protect = update(json!({"DeletionProtectionEnabled": true}));
    assert_eq!(
        call(&backend, "UpdateTable", protect).await.1["TableDescription"]["TableStatus"],
        "ACTIVE"
    );
    assert!(
        failure(&backend, "DeleteTable", json!({"TableName": "abc"}))
            .await
            .contains("protected against deletion")
    );
}

#[tokio::test]
async fn tags_are_kept() {
    let backend = TestBackend::new();
    let (_, answer) = call(
        &backend,
        "CreateTable",
        with(table("abc"), json!({"Tags": [{"Key": "a", "Value": "1"}]})),
    )
    .await;
    let arn = answer["TableDescription"]["TableArn"].clone();
    let tags = json!({"ResourceArn": arn, "Tags": [{"Key": "b", "Value": "2"}]});
    assert_eq!(
        call(&backend, "TagResource", tags).await,
        (200, Value::Null)
    );
    assert_eq!(
        call(
            &backend,
            "UntagResource",
            json!({"ResourceArn": arn, "TagKeys": ["a"]})
        )
        .await,
        (200, Value::Null)
    );
    let (_, answer) = call(&backend, "ListTagsOfResource", json!({"ResourceArn": arn})).await;
    assert_eq!(answer, json!({"Tags": [{"Key": "b", "Value": "2"}]}));
}

#[tokio::test]
async fn delete_table_in_a_member_removes_that_member_alone() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", table("abc")).await;
    let create =
        json!({"TableName": "abc", "ReplicaUpdates": [{"Create": {"RegionName": "eu-west-1"}}]});
    assert_eq!(call(&backend, "UpdateTable", create).await.0, 200);
    backend.reports("abc", Progress::Ready);
    let (status, answer) = call(&backend, "DeleteTable", json!({"TableName": "abc"})).await;
    assert_eq!(status, 200, "{answer}");
    let mut elsewhere = None;
    backend
        .read(&mut |txn| {
            elsewhere = read::table(txn, RegionId(1), "abc")?;
            Ok(())
        })
        .unwrap();
    assert_eq!(
        elsewhere.map(|def| def.group),
        Some(GroupId::of([RegionId(1)]))
    );
    let (_, answer) = call(&backend, "ListTables", json!({})).await;
    assert_eq!(answer, json!({"TableNames": []}));
}
