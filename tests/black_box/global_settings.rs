//! Settings of global tables: which follow everywhere, which unless overridden, which never (global-tables.md
//! section 4).

use std::sync::Arc;

use crate::common::global::*;
use crate::common::{self, AP, Cluster, EU, REGIONS, US, create, item, n, put, s, wait_for};
use serde_json::{Value, json};

/// Waits until a member of the description is so in these regions.
async fn shown(cluster: &Cluster, regions: &[&str], path: &str, wanted: Value) {
    for region in regions {
        wait_for("the setting is the same", async || {
            let table = describe(cluster, region).await.expect("there");
            match table.pointer(path).cloned().unwrap_or_default() == wanted {
                true => Ok(()),
                false => Err(format!("{region}: {path} of {table}")),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn settings_follow_by_their_class() {
    let cluster = Arc::new(regional(&[]));
    let [us, eu, ap] = &cluster.clients();
    create(std::slice::from_ref(us), "Table", "pk:S", None, None).await;
    add(&cluster, US, EU).await;
    add(&cluster, US, AP).await;
    let t = |mut more: Value| {
        more["TableName"] = json!("Table");
        more
    };
    // Always: billing mode and write capacity, from any region.
    let units =
        |read: u64, write: u64| json!({"ReadCapacityUnits": read, "WriteCapacityUnits": write});
    let provisioned =
        t(json!({"BillingMode": "PROVISIONED", "ProvisionedThroughput": units(200, 10)}));
    update(&cluster, EU, provisioned).await;
    shown(
        &cluster,
        &REGIONS,
        "/ProvisionedThroughput/WriteCapacityUnits",
        json!(10),
    )
    .await;
    shown(
        &cluster,
        &REGIONS,
        "/BillingModeSummary/BillingMode",
        json!("PROVISIONED"),
    )
    .await;
    // Unless overridden: read capacity, until the base changes anywhere.
    let own = |region: &str, read: u64| {
        t(json!({"ReplicaUpdates": [{"Update": {
        "RegionName": region, "ProvisionedThroughputOverride": {"ReadCapacityUnits": read}}}]}))
    };
    update(&cluster, US, own(AP, 100)).await;
    let read = "/ProvisionedThroughput/ReadCapacityUnits";
    shown(&cluster, &[AP], read, json!(100)).await;
    shown(&cluster, &[US, EU], read, json!(200)).await;
    let entry_read = "/Replicas/1/ProvisionedThroughputOverride/ReadCapacityUnits";
    shown(&cluster, &[US, EU], entry_read, json!(100)).await;
    update(
        &cluster,
        EU,
        t(json!({"ProvisionedThroughput": units(300, 10)})),
    )
    .await;
    shown(&cluster, &REGIONS, read, json!(300)).await;
    shown(&cluster, &[US, EU], entry_read, Value::Null).await;
    // An override equal to the base is none.
    update(&cluster, US, own(AP, 300)).await;
    shown(&cluster, &[US, EU], entry_read, Value::Null).await;
    // Always: indexes and TTL, built and kept everywhere.
    put(
        us,
        "Table",
        item([("pk", s("k")), ("g", s("a")), ("x", n(4_000_000_000_u64))]),
    )
    .await;
    let index = json!({"IndexName": "by_g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"}, "ProvisionedThroughput": units(5, 5)});
    update(
        &cluster,
        AP,
        t(
            json!({"AttributeDefinitions": [{"AttributeName": "g", "AttributeType": "S"}],
            "GlobalSecondaryIndexUpdates": [{"Create": index}]}),
        ),
    )
    .await;
    shown(
        &cluster,
        &REGIONS,
        "/GlobalSecondaryIndexes/0/IndexStatus",
        json!("ACTIVE"),
    )
    .await;
    for client in [us, eu, ap] {
        wait_for("the index has the item", async || {
            let found = common::query_all(client, "Table", Some("by_g"), "g", s("a")).await;
            if found.len() == 1 {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }
    let ttl = t(json!({"TimeToLiveSpecification": {"Enabled": true, "AttributeName": "x"}}));
    good(&cluster, EU, "UpdateTimeToLive", ttl).await;
    for region in REGIONS {
        wait_for("TTL is on everywhere", async || {
            let answer = good(&cluster, region, "DescribeTimeToLive", t(json!({}))).await;
            match answer["TimeToLiveDescription"]["AttributeName"] == "x" {
                true => Ok(()),
                false => Err(answer.to_string()),
            }
        })
        .await;
    }
    // Never: tags, protection, PITR.
    let arn = describe(&cluster, US).await.expect("there")["TableArn"].take();
    let tags = json!({"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "b"}]});
    good(&cluster, US, "TagResource", tags).await;
    let pitr = t(json!({"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": true}}));
    good(&cluster, US, "UpdateContinuousBackups", pitr).await;
    update(&cluster, US, t(json!({"DeletionProtectionEnabled": true}))).await;
    for (region, on) in [(US, true), (EU, false), (AP, false)] {
        let table = describe(&cluster, region).await.expect("there");
        assert_eq!(table["DeletionProtectionEnabled"], on, "{region}");
        let tags = good(
            &cluster,
            region,
            "ListTagsOfResource",
            json!({"ResourceArn": table["TableArn"]}),
        )
        .await;
        assert_eq!(
            tags["Tags"].as_array().map_or(0, Vec::len),
            usize::from(on),
            "{region}"
        );
        let backups = good(&cluster, region, "DescribeContinuousBackups", t(json!({}))).await;
        let status = &backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"];
        assert_eq!(*status, if on { "ENABLED" } else { "DISABLED" }, "{region}");
    }
}
