//! The control plane on a real cluster: what is each region's own, changes at the same time, throttling.

use std::sync::Arc;

use crate::common::{Answer, Cluster, EU, US, code, create, eventually, post};
use serde_json::{Value, json};
use tempfile::TempDir;

fn arn(region: &str, table: &str) -> String {
    format!("arn:aws:dynamodb:{region}:000000000000:table/{table}")
}

async fn tags(cluster: &Cluster, region: &str, table: &str) -> Value {
    let body = json!({"ResourceArn": arn(region, table)}).to_string();
    post(&cluster.front(), region, "ListTagsOfResource", body)
        .await
        .json()["Tags"]
        .clone()
}

async fn tag(cluster: &Cluster, region: &str, table: &str, key: &str) -> Answer {
    let body = json!({"ResourceArn": arn(region, table), "Tags": [{"Key": key, "Value": "v"}]});
    post(&cluster.front(), region, "TagResource", body.to_string()).await
}

#[tokio::test]
async fn tags_and_policies_are_each_regions_own() {
    let cluster = Cluster::shared();
    create(&cluster.clients(), "Own", "pk:S", None, None).await;
    assert_eq!(tag(&cluster, US, "Own", "here").await.status, 200);
    assert_eq!(tag(&cluster, EU, "Own", "there").await.status, 200);
    assert_eq!(
        tags(&cluster, US, "Own").await,
        json!([{"Key": "here", "Value": "v"}])
    );
    assert_eq!(
        tags(&cluster, EU, "Own").await,
        json!([{"Key": "there", "Value": "v"}])
    );
    let us = cluster.client(US);
    let policy = "{\"Statement\":[{\"Effect\":\"Allow\"}]}";
    let put = us
        .put_resource_policy()
        .resource_arn(arn(US, "Own"))
        .policy(policy)
        .expected_revision_id("NO_POLICY")
        .send()
        .await
        .expect("there is no policy yet");
    let got = us
        .get_resource_policy()
        .resource_arn(arn(US, "Own"))
        .send()
        .await
        .expect("a policy");
    assert_eq!(got.policy(), Some(policy));
    assert_eq!(got.revision_id(), put.revision_id());
    let elsewhere = cluster.client(EU);
    let missing = elsewhere
        .get_resource_policy()
        .resource_arn(arn(EU, "Own"))
        .send()
        .await;
    let missing = missing
        .expect_err("policies are not replicated")
        .into_service_error();
    assert_eq!(code(&missing), "PolicyNotFoundException");
}

#[tokio::test]
async fn a_replica_that_is_protected_anywhere_is_not_deleted() {
    let cluster = Cluster::shared();
    create(&cluster.clients(), "Kept", "pk:S", None, None).await;
    let (us, eu) = (cluster.client(US), cluster.client(EU));
    let protect = async |on: bool| {
        let update = eu
            .update_table()
            .table_name("Kept")
            .deletion_protection_enabled(on);
        update.send().await.expect("protection is changed");
    };
    let shown = async |client: &aws_sdk_dynamodb::Client| {
        let described = client.describe_table().table_name("Kept").send().await;
        described
            .expect("the table")
            .table
            .and_then(|t| t.deletion_protection_enabled)
    };
    protect(true).await;
    assert_eq!(shown(&eu).await, Some(true));
    assert_eq!(shown(&us).await, Some(false));
    let replica = json!({"TableName": "Kept", "ReplicaUpdates": [{"Delete": {"RegionName": EU}}]});
    // A region that has not heard of it yet would remove the replica.
    cluster.settled().await;
    let answer = post(&cluster.front(), US, "UpdateTable", replica.to_string()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(
        answer
            .message()
            .contains("because it has deletion protection enabled"),
        "{answer:?}"
    );
    let refused = us
        .delete_table()
        .table_name("Kept")
        .send()
        .await
        .expect_err("it goes everywhere");
    assert_eq!(code(&refused.into_service_error()), "ValidationException");
    protect(false).await;
    eventually("the table may go again", async || {
        us.delete_table().table_name("Kept").send().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn changes_at_the_same_time_do_not_undo_each_other() {
    let cluster = Cluster::shared();
    create(&cluster.clients(), "Busy", "pk:S", None, None).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let cluster = Arc::clone(&cluster);
        tasks.spawn(async move { tag(&cluster, US, "Busy", &format!("key-{n}")).await });
    }
    for body in [
        json!({"TableName": "Busy", "TableClass": "STANDARD_INFREQUENT_ACCESS"}),
        json!({"TableName": "Busy", "OnDemandThroughput": {"MaxReadRequestUnits": 9000}}),
        json!({"TableName": "Busy", "WarmThroughput": {"ReadUnitsPerSecond": 13000}}),
    ] {
        let cluster = Arc::clone(&cluster);
        tasks.spawn(
            async move { post(&cluster.front(), US, "UpdateTable", body.to_string()).await },
        );
    }
    for answer in tasks.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(
        tags(&cluster, US, "Busy").await.as_array().map(Vec::len),
        Some(20)
    );
    let body = json!({"TableName": "Busy"}).to_string();
    let table = post(&cluster.front(), US, "DescribeTable", body)
        .await
        .json()["Table"]
        .clone();
    assert_eq!(
        table["TableClassSummary"]["TableClass"],
        "STANDARD_INFREQUENT_ACCESS"
    );
    assert_eq!(table["OnDemandThroughput"]["MaxReadRequestUnits"], 9000);
    assert_eq!(table["WarmThroughput"]["ReadUnitsPerSecond"], 13000);
}

/// One region that throttles, and a table of one unit per second with one of none's concern.
async fn throttling() -> Cluster {
    let folder = Arc::new(TempDir::new().expect("a folder"));
    let file = folder.path().join("throttling.toml");
    let topology = "[cluster]\nname = \"throttling\"\nthrottle = true\n[[region]]\nname = \"us-east-1\"\nid = 0\n";
    std::fs::write(&file, topology).expect("written");
    let cluster = Cluster::start_in(&folder, Some(&file));
    for (table, billing) in [
        (
            "Slow",
            json!({"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}),
        ),
        ("Free", json!({"BillingMode": "PAY_PER_REQUEST"})),
        (
            "Capped",
            json!({"BillingMode": "PAY_PER_REQUEST", "OnDemandThroughput": {"MaxWriteRequestUnits": 1}}),
        ),
    ] {
        let mut body = json!({
            "TableName": table,
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        });
        body.as_object_mut()
            .expect("an object")
            .extend(billing.as_object().expect("too").clone());
        let answer = post(&cluster.front(), US, "CreateTable", body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    cluster
}

fn key(pk: &str) -> Value {
    json!({"pk": {"S": pk}})
}

fn sized(pk: &str, bytes: usize) -> Value {
    json!({"pk": {"S": pk}, "v": {"S": "x".repeat(bytes)}})
}

#[tokio::test]
async fn capacity_is_refused_when_it_is_used_up() {
    let cluster = throttling().await;
    let call = async |operation: &str, body: Value| {
        post(&cluster.front(), US, operation, body.to_string()).await
    };
    let put = async |table: &str, item: Value| {
        call("PutItem", json!({"TableName": table, "Item": item})).await
    };
    // 300 seconds of one unit, in three large items; what time gives back meanwhile is far below a fourth.
    for n in 0..3 {
        let answer = put("Slow", sized(&n.to_string(), 99 * 1024)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let refused = put("Slow", sized("3", 99 * 1024)).await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.exception(),
        "ProvisionedThroughputExceededException"
    );
    assert_eq!(
        refused.json()["ThrottlingReasons"],
        json!([{"reason": "TableWriteProvisionedThroughputExceeded", "resource": arn(US, "Slow")}])
    );
    let write = |pk: &str| json!([{"PutRequest": {"Item": sized(pk, 99 * 1024)}}]);
    let both = json!({"RequestItems": {"Slow": write("4"), "Free": write("4")}});
    let answer = call("BatchWriteItem", both).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.json()["UnprocessedItems"],
        json!({"Slow": write("4")})
    );
    let alone = call(
        "BatchWriteItem",
        json!({"RequestItems": {"Slow": write("4")}}),
    )
    .await;
    assert_eq!(alone.exception(), "ProvisionedThroughputExceededException");
    let action = |table: &str| json!({"Put": {"TableName": table, "Item": sized("5", 99 * 1024)}});
    let transaction = json!({"TransactItems": [action("Free"), action("Slow")]});
    let canceled = call("TransactWriteItems", transaction).await;
    assert_eq!(canceled.exception(), "TransactionCanceledException");
    let reasons = canceled.json()["CancellationReasons"].clone();
    assert_eq!(reasons[0]["Code"], "None");
    assert_eq!(reasons[1]["Code"], "ProvisionedThroughputExceeded");
    // Reads have capacity of their own: a page of all three large items, and then no more.
    let page = call("Scan", json!({"TableName": "Slow", "ConsistentRead": true})).await;
    assert_eq!((page.status, &page.json()["Count"]), (200, &json!(3)));
    let mut refused = None;
    for _ in 0..20 {
        let page = call("Scan", json!({"TableName": "Slow", "ConsistentRead": true})).await;
        if page.status == 400 {
            refused = Some(page);
            break;
        }
    }
    let refused = refused.expect("20 pages are far more than 300 units");
    assert_eq!(
        refused.json()["ThrottlingReasons"][0]["reason"],
        "TableReadProvisionedThroughputExceeded"
    );
    let get = json!({"RequestItems": {
        "Slow": {"Keys": [key("0")], "ConsistentRead": true}, "Free": {"Keys": [key("4")]},
    }});
    let answer = call("BatchGetItem", get).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.json()["UnprocessedKeys"]["Slow"]["Keys"],
        json!([key("0")])
    );
}

#[tokio::test]
async fn maxima_of_on_demand_tables_hold() {
    let cluster = throttling().await;
    let mut refused = None;
    for n in 0..50 {
        let body = json!({"TableName": "Capped", "Item": key(&n.to_string())}).to_string();
        let answer = post(&cluster.front(), US, "PutItem", body).await;
        if answer.status == 400 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("50 writes take less than 50 seconds");
    assert_eq!(refused.exception(), "ThrottlingException");
    assert_eq!(
        refused.json()["throttlingReasons"][0]["reason"],
        "TableWriteMaxOnDemandThroughputExceeded"
    );
}

#[tokio::test]
async fn nothing_is_throttled_where_nobody_asked_for_it() {
    let cluster = Cluster::shared();
    let body = json!({
        "TableName": "Unthrottled",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    });
    post(&cluster.front(), US, "CreateTable", body.to_string()).await;
    for n in 0..5 {
        let body = json!({"TableName": "Unthrottled", "Item": sized(&n.to_string(), 99 * 1024)});
        let answer = post(&cluster.front(), US, "PutItem", body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
