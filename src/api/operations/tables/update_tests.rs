//! What UpdateTable changes and what DescribeTable tells of it, over a real replica on a store in memory.

use serde_json::{Value, json};

use super::tests::{failure, table, with};
use crate::api::Backend;
use crate::api::tests::{TestBackend, call};
use crate::replica::members::Progress;
use crate::replica::request::{TableChange, WriteRequest, WriteResponse};

const INVALID: &str = "One or more parameter values were invalid:";

async fn update(backend: &TestBackend, changes: Value) -> Value {
    let (status, answer) = call(
        backend,
        "UpdateTable",
        with(json!({"TableName": "abc"}), changes),
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    answer["TableDescription"].clone()
}

async fn refused(backend: &TestBackend, changes: Value) -> String {
    failure(
        backend,
        "UpdateTable",
        with(json!({"TableName": "abc"}), changes),
    )
    .await
}

async fn described(backend: &TestBackend) -> Value {
    let (_, answer) = call(backend, "DescribeTable", json!({"TableName": "abc"})).await;
    answer["Table"].clone()
}

fn units(read: u64, write: u64) -> Value {
    json!({"ReadCapacityUnits": read, "WriteCapacityUnits": write})
}

fn provisioned() -> Value {
    with(
        table("abc"),
        json!({
            "BillingMode": "PROVISIONED",
            "ProvisionedThroughput": units(5, 5),
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "S"}],
            "GlobalSecondaryIndexes": [{"IndexName": "gsi", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"}, "ProvisionedThroughput": units(2, 2)}],
        }),
    )
}

#[tokio::test]
async fn throughput_has_a_history() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", provisioned()).await;
    let before = described(&backend).await;
    assert_eq!(
        before["ProvisionedThroughput"],
        json!({"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 5, "WriteCapacityUnits": 5})
    );
    assert!(before.get("BillingModeSummary").is_none());
    let asked = update(&backend, json!({"ProvisionedThroughput": units(9, 5)})).await;
    assert_eq!(asked["ProvisionedThroughput"]["ReadCapacityUnits"], 5);
    let after = described(&backend).await;
    let shown = &after["ProvisionedThroughput"];
    assert_eq!(shown["ReadCapacityUnits"], 9);
    assert!(
        shown["LastIncreaseDateTime"].as_f64()
            > asked["ProvisionedThroughput"]["LastIncreaseDateTime"].as_f64()
    );
    assert!(shown.get("LastDecreaseDateTime").is_none());
    let asked = update(&backend, json!({"ProvisionedThroughput": units(1, 1)})).await;
    assert_eq!(asked["ProvisionedThroughput"]["NumberOfDecreasesToday"], 0);
    let after = described(&backend).await;
    assert_eq!(after["ProvisionedThroughput"]["NumberOfDecreasesToday"], 1);
    // What was reached once stays warm.
    assert_eq!(after["WarmThroughput"]["ReadUnitsPerSecond"], 9);
    let of_index = json!([{"Update": {"IndexName": "gsi", "ProvisionedThroughput": units(1, 2)}}]);
    update(&backend, json!({"GlobalSecondaryIndexUpdates": of_index})).await;
    let after = described(&backend).await;
    let shown = &after["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"];
    assert_eq!(shown["NumberOfDecreasesToday"], 1);
    assert_eq!(shown["ReadCapacityUnits"], 1);
    let blocked = json!([{"Update": {"IndexName": "gsi", "ProvisionedThroughput": units(1_000_000_000_001, 1)}}]);
    assert!(
        refused(&backend, json!({"GlobalSecondaryIndexUpdates": blocked}))
            .await
            .ends_with("Action Blocked: IndexUpdate")
    );
}

#[tokio::test]
async fn the_billing_mode_leaves_its_trace() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", provisioned()).await;
    update(&backend, json!({"BillingMode": "PAY_PER_REQUEST"})).await;
    let shown = described(&backend).await;
    assert_eq!(
        shown["BillingModeSummary"]["BillingMode"],
        "PAY_PER_REQUEST"
    );
    let since = shown["BillingModeSummary"]["LastUpdateToPayPerRequestDateTime"].clone();
    assert_ne!(since, shown["CreationDateTime"]);
    assert_eq!(shown["WarmThroughput"]["WriteUnitsPerSecond"], 4000);
    update(
        &backend,
        json!({"OnDemandThroughput": {"MaxReadRequestUnits": 7}}),
    )
    .await;
    update(
        &backend,
        json!({"OnDemandThroughput": {"MaxWriteRequestUnits": 8}}),
    )
    .await;
    let maxima = described(&backend).await["OnDemandThroughput"].clone();
    assert_eq!(
        maxima,
        json!({"MaxReadRequestUnits": 7, "MaxWriteRequestUnits": 8})
    );
    update(
        &backend,
        json!({"OnDemandThroughput": {"MaxReadRequestUnits": -1}}),
    )
    .await;
    let maxima = described(&backend).await["OnDemandThroughput"].clone();
    assert_eq!(maxima, json!({"MaxWriteRequestUnits": 8}));
    let text = refused(
        &backend,
        json!({"OnDemandThroughput": {"MaxReadRequestUnits": 0}}),
    )
    .await;
    assert_eq!(
        text,
        format!(
            "{INVALID} Requested MaxReadRequestUnits for OnDemandThroughput for table is outside of valid range"
        )
    );
    let text = refused(
        &backend,
        json!({"BillingMode": "PROVISIONED", "ProvisionedThroughput": units(1, 1)}),
    )
    .await;
    assert_eq!(
        text,
        format!("{INVALID} ProvisionedThroughput must be specified for index: gsi")
    );
    let index = json!([{"Update": {"IndexName": "gsi", "ProvisionedThroughput": units(1, 1)}}]);
    let back = json!({"BillingMode": "PROVISIONED", "ProvisionedThroughput": units(1, 1), "GlobalSecondaryIndexUpdates": index});
    update(&backend, back).await;
    let shown = described(&backend).await;
    assert_eq!(
        shown["BillingModeSummary"],
        json!({"BillingMode": "PROVISIONED", "LastUpdateToPayPerRequestDateTime": since})
    );
    assert!(shown.get("OnDemandThroughput").is_none());
    assert_eq!(shown["WarmThroughput"]["WriteUnitsPerSecond"], 4000);
    let text = refused(
        &backend,
        json!({"OnDemandThroughput": {"MaxReadRequestUnits": 5}}),
    )
    .await;
    assert!(
        text.ends_with("cannot be specified when the table BillingMode is PROVISIONED"),
        "{text}"
    );
}

#[tokio::test]
async fn warm_throughput_only_grows() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", table("abc")).await;
    let warm = |read: u64| json!({"WarmThroughput": {"ReadUnitsPerSecond": read}});
    let text = refused(&backend, warm(11_999)).await;
    assert_eq!(
        text,
        format!(
            "{INVALID} Requested ReadUnitsPerSecond for WarmThroughput for table is lower than current WarmThroughput, decreasing WarmThroughput is not supported"
        )
    );
    update(&backend, warm(13_000)).await;
    assert_eq!(
        described(&backend).await["WarmThroughput"],
        json!({"ReadUnitsPerSecond": 13000, "WriteUnitsPerSecond": 4000, "Status": "ACTIVE"})
    );
    assert!(
        refused(&backend, warm(12_000))
            .await
            .contains("decreasing WarmThroughput")
    );
    let both = with(warm(14_000), json!({"TableClass": "STANDARD"}));
    assert!(
        refused(&backend, both)
            .await
            .ends_with("must be the only operation in the request")
    );
}

#[tokio::test]
async fn encryption_and_class_are_recorded() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", table("abc")).await;
    let sse = |spec: Value| json!({"SSESpecification": spec});
    let text = refused(&backend, sse(json!({"Enabled": false}))).await;
    assert_eq!(
        text,
        format!("{INVALID} Table is already encrypted by default")
    );
    let text = refused(&backend, sse(json!({"Enabled": false, "SSEType": "KMS"}))).await;
    assert_eq!(
        text,
        format!("{INVALID} SSEType can not be specified if Enabled is false")
    );
    update(
        &backend,
        sse(json!({"Enabled": true, "SSEType": "KMS", "KMSMasterKeyId": "key"})),
    )
    .await;
    let shown = described(&backend).await;
    assert_eq!(
        shown["SSEDescription"],
        json!({"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": "key"})
    );
    assert!(shown.get("TableClassSummary").is_none());
    update(
        &backend,
        json!({"TableClass": "STANDARD_INFREQUENT_ACCESS"}),
    )
    .await;
    let shown = described(&backend).await;
    assert_eq!(
        shown["TableClassSummary"]["TableClass"],
        "STANDARD_INFREQUENT_ACCESS"
    );
    assert!(shown["TableClassSummary"]["LastUpdateDateTime"].is_number());
}

#[tokio::test]
async fn replicas_have_overrides_until_the_base_changes() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", provisioned()).await;
    let replica = |action: &str, extra: Value| {
        let members = with(json!({"RegionName": "eu-west-1"}), extra);
        json!({"ReplicaUpdates": [{action: members}]})
    };
    let overrides = json!({
        "ProvisionedThroughputOverride": {"ReadCapacityUnits": 3},
        "TableClassOverride": "STANDARD_INFREQUENT_ACCESS",
        "GlobalSecondaryIndexes": [{"IndexName": "gsi", "ProvisionedThroughputOverride": {"ReadCapacityUnits": 4}},
            {"IndexName": "nowhere", "ProvisionedThroughputOverride": {"ReadCapacityUnits": 4}}],
    });
    let text = refused(
        &backend,
        replica(
            "Create",
            json!({"ProvisionedThroughputOverride": {"ReadCapacityUnits": 0}}),
        ),
    )
    .await;
    assert!(
        text.contains(
            "'replicaUpdates.1.member.create.provisionedThroughputOverride.readCapacityUnits'"
        ),
        "{text}"
    );
    update(&backend, replica("Create", overrides)).await;
    backend.reports("abc", Progress::Ready);
    let entry = described(&backend).await["Replicas"][0].clone();
    assert_eq!(
        entry["ProvisionedThroughputOverride"],
        json!({"ReadCapacityUnits": 3})
    );
    assert_eq!(
        entry["ReplicaTableClassSummary"],
        json!({"TableClass": "STANDARD_INFREQUENT_ACCESS"})
    );
    assert_eq!(
        entry["GlobalSecondaryIndexes"],
        json!([{"IndexName": "gsi", "ProvisionedThroughputOverride": {"ReadCapacityUnits": 4}}])
    );
    // An override equal to the base is none.
    update(
        &backend,
        replica(
            "Update",
            json!({"ProvisionedThroughputOverride": {"ReadCapacityUnits": 5}}),
        ),
    )
    .await;
    let entry = described(&backend).await["Replicas"][0].clone();
    assert!(entry.get("ProvisionedThroughputOverride").is_none());
    update(
        &backend,
        replica(
            "Update",
            json!({"ProvisionedThroughputOverride": {"ReadCapacityUnits": 6}}),
        ),
    )
    .await;
    update(&backend, json!({"ProvisionedThroughput": units(7, 5)})).await;
    let entry = described(&backend).await["Replicas"][0].clone();
    assert!(entry.get("ProvisionedThroughputOverride").is_none());
    assert!(entry.get("GlobalSecondaryIndexes").is_some());
    assert!(
        refused(&backend, replica("Update", json!({})))
            .await
            .starts_with("There are no actions specified")
    );
}

#[tokio::test]
async fn a_change_of_what_has_changed_is_stale() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", table("abc")).await;
    let read = super::find(&*backend, "abc").unwrap();
    let change = |name: &str| {
        let mut new = read.clone();
        new.recorded.push((name.into(), "1".into()));
        WriteRequest::UpdateTable {
            table: "abc".into(),
            change: TableChange::Settings {
                read: Box::new(read.clone()),
                new: Box::new(new),
            },
        }
    };
    let first = backend.write(change("a")).await.unwrap();
    assert!(matches!(first, WriteResponse::Table(_)));
    assert_eq!(
        backend.write(change("b")).await.unwrap(),
        WriteResponse::Stale
    );
    let kept = super::find(&*backend, "abc").unwrap();
    assert_eq!(kept.recorded, [("a".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn nothing_to_do_is_told_with_what_could_be_done() {
    let backend = TestBackend::new();
    call(&backend, "CreateTable", table("abc")).await;
    let text = refused(&backend, json!({"MultiRegionConsistency": "EVENTUAL"})).await;
    assert!(text.ends_with(
        "DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or TableClass is required"
    ));
    assert!(!text.contains("MultiRegionConsistency"), "{text}");
    let text = refused(&backend, json!({"OnDemandThroughput": {"MaxReadRequestUnits": 5}, "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"}})).await;
    assert_eq!(
        text,
        format!(
            "{INVALID} OnDemandThroughput can only be combined with BillingMode in an UpdateTable request"
        )
    );
}
