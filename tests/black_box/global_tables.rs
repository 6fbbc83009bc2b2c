//! Global tables as UpdateTable makes them: replicas come and go, are refused, protected and let go
//! (global-tables.md sections 2 and 3). In clusters where a table is regional at first.

use crate::common::global::*;
use crate::common::{self, AP, EU, US, create, get, item, put, s, scan_all, wait_for};
use serde_json::{Value, json};

#[tokio::test]
async fn replicas_come_and_go() {
    let cluster = regional(&[]);
    let [us, eu, ap] = &cluster.clients();
    create(std::slice::from_ref(us), "Table", "pk:S", None, None).await;
    for i in 0..30 {
        put(us, "Table", entry(i, "before")).await;
    }
    let table = describe(&cluster, US).await.expect("there");
    for absent in [
        "GlobalTableVersion",
        "Replicas",
        "GlobalTableSettingsReplicationMode",
        "MultiRegionConsistency",
        "LatestStreamArn",
    ] {
        assert!(table.get(absent).is_none(), "{absent} in {table}");
    }
    assert!(describe(&cluster, EU).await.is_none());
    let answer = good(&cluster, US, "UpdateTable", replica("Create", EU)).await;
    let answer = &answer["TableDescription"];
    assert_eq!(answer["TableStatus"], "UPDATING");
    assert_eq!(answer["GlobalTableVersion"], "2019.11.21");
    let stream = json!({"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"});
    assert_eq!(answer["StreamSpecification"], stream);
    for i in 30..60 {
        put(us, "Table", entry(i, "meanwhile")).await;
    }
    let table = members(&cluster, US, &[EU]).await;
    let there = members(&cluster, EU, &[US]).await;
    assert_eq!(
        table["GlobalTableSettingsReplicationMode"],
        "ENABLED_WITH_OVERRIDES"
    );
    assert!(table.get("MultiRegionConsistency").is_none());
    let mut keys: Vec<&String> = table["Replicas"][0]
        .as_object()
        .expect("entry")
        .keys()
        .collect();
    keys.sort();
    let bare = [
        "GlobalTableSettingsReplicationMode",
        "RegionName",
        "ReplicaStatus",
        "WarmThroughput",
    ];
    assert_eq!(keys, bare);
    assert_eq!(there["StreamSpecification"], stream);
    for own in ["TableArn", "TableId", "CreationDateTime", "LatestStreamArn"] {
        assert_ne!(table[own], there[own], "{own}");
    }
    assert_eq!(same(&[us, eu]).await.len(), 60);
    // Any member adds, in order of creation.
    add(&cluster, EU, AP).await;
    members(&cluster, US, &[EU, AP]).await;
    members(&cluster, AP, &[US, EU]).await;
    put(ap, "Table", entry("from ap", "1")).await;
    assert_eq!(same(&[us, eu, ap]).await.len(), 61);
    // The first goes as any other.
    good(&cluster, AP, "UpdateTable", replica("Delete", US)).await;
    gone(&cluster, US).await;
    members(&cluster, AP, &[EU]).await;
    put(eu, "Table", entry("after", "1")).await;
    assert_eq!(same(&[eu, ap]).await.len(), 62);
    // And comes back, with everything, also what was deleted meanwhile.
    eu.delete_item()
        .table_name("Table")
        .key("pk", s("3"))
        .send()
        .await
        .expect("deleted");
    add(&cluster, EU, US).await;
    assert_eq!(same(&[us, eu, ap]).await.len(), 61);
    put(us, "Table", entry("3", "again")).await;
    assert_eq!(same(&[us, eu, ap]).await.len(), 62);
    // DeleteTable in a member's region removes that member.
    let body = json!({"TableName": "Table"});
    wait_for("the member is deleted", async || {
        let answer = ask(&cluster, EU, "DeleteTable", body.clone()).await;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    gone(&cluster, EU).await;
    members(&cluster, US, &[AP]).await;
    // With the last replica everything but the stream goes.
    update(&cluster, US, replica("Delete", AP)).await;
    let table = members(&cluster, US, &[]).await;
    assert!(table.get("GlobalTableVersion").is_none() && table.get("Replicas").is_none());
    assert!(table.get("GlobalTableSettingsReplicationMode").is_none());
    assert_eq!(table["StreamSpecification"], stream);
    gone(&cluster, AP).await;
    assert_eq!(scan_all(us, "Table").await.len(), 62);
}

#[tokio::test]
async fn every_refusal_has_its_text() {
    let cluster = regional(&[]);
    let [us, _, ap] = &cluster.clients();
    create(std::slice::from_ref(us), "Table", "pk:S", None, None).await;
    add(&cluster, US, EU).await;
    let invalid = "One or more parameter values were invalid: ";
    let updates = |list: Value| json!({"TableName": "Table", "ReplicaUpdates": list});
    let create_in = |region: &str| json!({"Create": {"RegionName": region}});
    let delete_in = |region: &str| json!({"Delete": {"RegionName": region}});
    let with = |mut body: Value, name: &str, value: Value| {
        body[name] = value;
        body
    };
    let none = "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, \
        GlobalSecondaryIndexUpdates, SSESpecification, ReplicaUpdates, MultiAccountReplicaReady, \
        ReplicaTransitRoleArn, DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or \
        TableClass is required";
    let count =
        "Unsupported replica count for global tables with MultiRegionConsistency set to STRONG.";
    let witness = |region: &str| json!([{"Create": {"RegionName": region}}]);
    let cases: Vec<(Value, String)> = vec![
        (
            with(replica("Create", AP), "BillingMode", json!("PAY_PER_REQUEST")),
            format!("{invalid}Replica modification must be the only operation in the request"),
        ),
        (
            updates(json!([create_in(AP), delete_in(EU)])),
            "Update table operation with more than one create or delete replica actions not allowed".into(),
        ),
        (
            updates(json!([{"Create": {"RegionName": AP}, "Delete": {"RegionName": EU}}])),
            "Update table operation with more than one type of replica actions not allowed.".into(),
        ),
        (
            updates(json!([create_in(AP), delete_in(AP)])),
            "Cannot target multiple regions with the same action".into(),
        ),
        (
            updates(json!([{}])),
            "There are no actions specified in the Replica Update Action of the request.".into(),
        ),
        (
            updates(json!([{"Update": {"RegionName": EU}}])),
            "There are no actions specified in the Replica Update Action of the request.".into(),
        ),
        (
            replica("Create", US),
            "Cannot add or delete the local region through ReplicaUpdates. Use CreateTable, DeleteTable, or UpdateTable as required.".into(),
        ),
        (
            replica("Create", EU),
            "Failed to create a the new replica of table with name: \u{2018}Table\u{2019} because one or more replicas already existed as tables.".into(),
        ),
        (
            replica("Delete", AP),
            format!("Update global table operation failed because one or more replicas were not part of the global table. Please retry the request without these replicas: [{AP}]."),
        ),
        (
            replica("Create", "EU-WEST-1"),
            format!("Region EU-WEST-1 is not supported. The latest version of global tables are only supported in the following regions: [{AP}, {EU}, {US}]"),
        ),
        (
            json!({"TableName": "Table", "StreamSpecification": {"StreamEnabled": false}}),
            format!("{invalid}Disabling Stream is not allowed for a Global Table replica."),
        ),
        (
            json!({"TableName": "Table", "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"}}),
            "Table already has an enabled stream: TableName: Table".into(),
        ),
        (json!({"TableName": "Table", "MultiRegionConsistency": "STRONG"}), none.into()),
        (
            with(replica("Delete", EU), "MultiRegionConsistency", json!("STRONG")),
            "Only Replica Create actions are supported when MultiRegionConsistency parameter is provided.".into(),
        ),
        (
            with(replica("Create", AP), "GlobalTableWitnessUpdates", witness(EU)),
            "MultiRegionConsistency must be set as STRONG when GlobalTableWitnessUpdates parameter is present.".into(),
        ),
        (with(replica("Create", AP), "MultiRegionConsistency", json!("STRONG")), count.into()),
        (
            with(
                with(replica("Create", AP), "MultiRegionConsistency", json!("STRONG")),
                "GlobalTableWitnessUpdates",
                witness(US),
            ),
            "Cannot add a witness in the same region as an existing replica when creating a global table with MultiRegionConsistency set to STRONG.".into(),
        ),
        (
            with(
                with(replica("Create", AP), "MultiRegionConsistency", json!("STRONG")),
                "GlobalTableWitnessUpdates",
                witness("mars-1"),
            ),
            "Unsupported Region(s) specified for global tables with MultiRegionConsistency set to STRONG: [mars-1].".into(),
        ),
        (
            with(
                updates(json!([create_in(AP), create_in(EU)])),
                "MultiRegionConsistency",
                json!("STRONG"),
            ),
            format!("{invalid}MultiRegionConsistency STRONG is not supported; only EVENTUAL is"),
        ),
        (
            json!({"TableName": "Table", "ReplicaUpdates": [{"Disassociate": {"RegionName": US, "DisassociationMode": "WAIT_FOR_REPLICATION"}}]}),
            format!("Cannot disassociate table Table in region {US} because it has disassociation protection enabled. Disable disassociation protection first."),
        ),
        (
            json!({"TableName": "Table", "DisassociationProtectionEnabled": false, "DeletionProtectionEnabled": true}),
            format!("{invalid}DeletionProtection modification must be the only operation in the request"),
        ),
    ];
    for (body, text) in cases {
        let answer = ask(&cluster, US, "UpdateTable", body.clone()).await;
        assert_eq!(
            answer.exception(),
            "ValidationException",
            "{body}: {answer:?}"
        );
        assert_eq!(answer.message(), text, "{body}");
    }
    let answer = ask(
        &cluster,
        US,
        "UpdateTable",
        json!({"TableName": "Table", "ReplicaUpdates": []}),
    )
    .await;
    assert_eq!(answer.exception(), "ValidationException", "{answer:?}");
    // Two identical creates are one.
    good(
        &cluster,
        US,
        "UpdateTable",
        updates(json!([create_in(AP), create_in(AP)])),
    )
    .await;
    members(&cluster, US, &[EU, AP]).await;
    // A replica's protection is its own, and others must keep to it.
    let protect = |on: bool| json!({"TableName": "Table", "DeletionProtectionEnabled": on});
    update(&cluster, AP, protect(true)).await;
    let text = format!(
        "Cannot delete table Table in region {AP} because it has deletion protection enabled. Disable deletion protection first."
    );
    // What AP says comes in order.
    put(ap, "Table", entry("after", "ap")).await;
    wait_for("the others know", async || {
        match get(us, "Table", item([("pk", s("after"))])).await {
            Some(_) => Ok(()),
            None => Err("not yet".to_owned()),
        }
    })
    .await;
    let answer = ask(&cluster, US, "UpdateTable", replica("Delete", AP)).await;
    assert_eq!(answer.message(), text, "{answer:?}");
    for (region, on) in [(US, false), (EU, false), (AP, true)] {
        let table = describe(&cluster, region).await.expect("there");
        assert_eq!(table["DeletionProtectionEnabled"], on, "{region}");
    }
    let answer = ask(&cluster, AP, "DeleteTable", json!({"TableName": "Table"})).await;
    assert_eq!(answer.exception(), "ValidationException", "{answer:?}");
}

#[tokio::test]
async fn a_taken_name_is_refused_and_nothing_is_adopted() {
    let cluster = regional(&[]);
    let [us, eu, ap] = &cluster.clients();
    create(std::slice::from_ref(us), "Table", "pk:S", None, None).await;
    create(std::slice::from_ref(eu), "Table", "pk:S", None, None).await;
    put(us, "Table", entry("k", "us")).await;
    put(eu, "Table", entry("k", "eu")).await;
    good(&cluster, US, "UpdateTable", replica("Create", EU)).await;
    let failed = wait_for("the replica has failed", async || {
        let table = describe(&cluster, US).await.expect("there");
        match entries(&table).as_slice() {
            [(_, status)] if status == "CREATION_FAILED" => Ok(table),
            _ => Err(table.to_string()),
        }
    })
    .await;
    let why = failed["Replicas"][0]["ReplicaStatusDescription"]
        .as_str()
        .unwrap_or_default();
    assert!(why.contains("same name already exists"), "{failed}");
    assert_eq!(scan_all(us, "Table").await, [entry("k", "us")]);
    assert_eq!(scan_all(eu, "Table").await, [entry("k", "eu")]);
    let there = describe(&cluster, EU).await.expect("untouched");
    assert!(there.get("Replicas").is_none(), "{there}");
    // The others are not kept from it, and writes go on.
    add(&cluster, US, AP).await;
    put(ap, "Table", entry("k", "ap")).await;
    wait_for("what one writes the other reads", async || {
        let found = get(us, "Table", item([("pk", s("k"))])).await;
        if found == Some(entry("k", "ap")) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    assert_eq!(scan_all(eu, "Table").await, [entry("k", "eu")]);
    let conflicts = cluster.json(&["conflicts"]).await;
    assert_eq!(conflicts["conflicts"], json!([]));
    // Once the name is free, it can be had.
    good(&cluster, EU, "DeleteTable", json!({"TableName": "Table"})).await;
    add(&cluster, AP, EU).await;
    members(&cluster, US, &[AP, EU]).await;
    assert_eq!(same(&[us, eu, ap]).await, [entry("k", "ap")]);
}

#[tokio::test]
async fn while_a_replica_is_being_added_other_changes_wait() {
    let cluster = regional(&[]);
    let [us, eu, _] = &cluster.clients();
    create(std::slice::from_ref(us), "Table", "pk:S", None, None).await;
    put(us, "Table", entry("k", "1")).await;
    cluster.run(&["partition", US, EU]).await;
    cluster.run(&["partition", AP, EU]).await;
    good(&cluster, US, "UpdateTable", replica("Create", EU)).await;
    let table = describe(&cluster, US).await.expect("there");
    assert_eq!(entries(&table), [(EU.to_owned(), "CREATING".to_owned())]);
    assert!(describe(&cluster, EU).await.is_none());
    let answer = ask(&cluster, US, "UpdateTable", replica("Create", AP)).await;
    assert_eq!(answer.exception(), "ResourceInUseException", "{answer:?}");
    let answer = ask(&cluster, US, "DeleteTable", json!({"TableName": "Table"})).await;
    assert_eq!(answer.exception(), "ResourceInUseException", "{answer:?}");
    let ttl = json!({"TableName": "Table", "TimeToLiveSpecification": {"Enabled": true, "AttributeName": "x"}});
    good(&cluster, US, "UpdateTimeToLive", ttl).await;
    let tags = json!({"ResourceArn": table["TableArn"], "Tags": [{"Key": "a", "Value": "b"}]});
    good(&cluster, US, "TagResource", tags).await;
    put(us, "Table", entry("l", "2")).await;
    cluster.run(&["heal"]).await;
    members(&cluster, US, &[EU]).await;
    members(&cluster, EU, &[US]).await;
    assert_eq!(same(&[us, eu]).await.len(), 2);
}

#[tokio::test]
async fn a_replica_may_leave_with_its_table() {
    let cluster = regional(&[]);
    let [us, eu, ap] = &cluster.clients();
    let index = Some(("by_v", "v:S", None));
    create(std::slice::from_ref(us), "Table", "pk:S", None, index).await;
    for i in 0..20 {
        put(us, "Table", entry(i, "x")).await;
    }
    add(&cluster, US, EU).await;
    add(&cluster, US, AP).await;
    let before = describe(&cluster, EU).await.expect("there");
    update(
        &cluster,
        EU,
        json!({"TableName": "Table", "DisassociationProtectionEnabled": false}),
    )
    .await;
    let leave = json!({"TableName": "Table", "ReplicaUpdates": [{"Disassociate": {"RegionName": EU, "DisassociationMode": "WAIT_FOR_REPLICATION"}}]});
    let answer = ask(&cluster, US, "UpdateTable", leave.clone()).await;
    assert_eq!(
        answer.exception(),
        "ValidationException",
        "in another region: {answer:?}"
    );
    put(eu, "Table", entry("last", "x")).await;
    update(&cluster, EU, leave).await;
    let alone = members(&cluster, EU, &[]).await;
    members(&cluster, US, &[AP]).await;
    members(&cluster, AP, &[US]).await;
    assert!(alone.get("GlobalTableVersion").is_none(), "{alone}");
    assert_eq!(alone["TableArn"], before["TableArn"]);
    assert_ne!(alone["TableId"], before["TableId"]);
    assert_eq!(alone["StreamSpecification"], before["StreamSpecification"]);
    assert_eq!(alone["GlobalSecondaryIndexes"][0]["IndexStatus"], "ACTIVE");
    assert_eq!(
        same(&[us, eu, ap]).await.len(),
        21,
        "nothing that was written before is lost"
    );
    // From here on they know nothing of each other.
    put(eu, "Table", entry("eu", "x")).await;
    put(us, "Table", entry("us", "x")).await;
    assert_eq!(same(&[us, ap]).await.len(), 22);
    assert_eq!(get(eu, "Table", item([("pk", s("us"))])).await, None);
    assert_eq!(get(us, "Table", item([("pk", s("eu"))])).await, None);
    let indexed = common::query_all(eu, "Table", Some("by_v"), "v", s("x")).await;
    assert_eq!(indexed.len(), 22);
    // The name is taken there now.
    good(&cluster, US, "UpdateTable", replica("Create", EU)).await;
    wait_for("the replica has failed", async || {
        let table = describe(&cluster, US).await.expect("there");
        match entries(&table)
            .iter()
            .any(|(_, status)| status == "CREATION_FAILED")
        {
            true => Ok(()),
            false => Err(table.to_string()),
        }
    })
    .await;
    assert_eq!(scan_all(eu, "Table").await.len(), 22);
}

#[tokio::test]
async fn aws_waits_keep_a_source_for_a_day() {
    let cluster = regional(&["--aws-waits"]);
    let [us, ..] = &cluster.clients();
    create(std::slice::from_ref(us), "Table", "pk:S", None, None).await;
    add(&cluster, US, EU).await;
    let text = "Replica cannot be deleted because it has acted as a source region for new replica(s) being added to the table in the last 24 hours.";
    let answer = ask(&cluster, EU, "UpdateTable", replica("Delete", US)).await;
    assert_eq!(
        (answer.exception().as_str(), answer.message().as_str()),
        ("ValidationException", text)
    );
    let answer = ask(&cluster, US, "DeleteTable", json!({"TableName": "Table"})).await;
    assert_eq!(
        (answer.exception().as_str(), answer.message().as_str()),
        ("ValidationException", text)
    );
    update(&cluster, US, replica("Delete", EU)).await;
    gone(&cluster, EU).await;
}
