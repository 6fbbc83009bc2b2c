//! Time To Live with real processes: what expires, what does not, and what several regions make of it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::{
    self, AP, Cluster, EU, REGIONS, US, code, create, get, item, meridian, message, n, post, put,
    query_all, s, wait_for,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{TableStatus, TimeToLiveSpecification, TimeToLiveStatus};
use serde_json::json;

const TABLE: &str = "Sessions";

/// The second it is, and some more.
fn second(from_now: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    i64::try_from(now).expect("a time") + from_now
}

async fn enable(client: &Client, attribute: &str) {
    let specification = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name(attribute);
    let update = client.update_time_to_live().table_name(TABLE);
    let update = update.time_to_live_specification(specification.build().expect("complete"));
    let answer = update.send().await.expect("it is enabled");
    let echoed = answer
        .time_to_live_specification
        .expect("the specification");
    assert_eq!(echoed.attribute_name(), attribute);
    assert!(echoed.enabled());
}

async fn status(client: &Client) -> (Option<TimeToLiveStatus>, Option<String>) {
    let described = client.describe_time_to_live().table_name(TABLE).send();
    let described = described.await.expect("it is described");
    let description = described.time_to_live_description.expect("a description");
    (description.time_to_live_status, description.attribute_name)
}

/// Waits until exactly the items with these keys are there, of all that were put.
async fn left(client: &Client, all: &[&str], wanted: &[&str]) {
    wait_for("what is due expires and nothing else", async || {
        let mut there = Vec::new();
        for key in all {
            let found = get(client, TABLE, item([("pk", s(*key))])).await;
            there.extend(found.map(|_| *key));
        }
        if there == wanted {
            Ok(())
        } else {
            Err(format!("{there:?}, not {wanted:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn items_expire_in_every_region_and_index() {
    let cluster = Cluster::start_with(&["--ttl-interval", "200ms"]);
    let clients = cluster.clients();
    let [us, eu, ap] = &clients;
    let index = Some(("by-user", "user:S", None));
    create(&clients, TABLE, "pk:S", None, index).await;
    let disabled = (Some(TimeToLiveStatus::Disabled), None);
    assert_eq!(status(us).await, disabled);
    let entry = |pk: &str, expires| item([("pk", s(pk)), ("user", s("ann")), ("expires", expires)]);
    put(us, TABLE, entry("before it was enabled", n(second(-60)))).await;
    enable(us, "expires").await;
    let enabled = (Some(TimeToLiveStatus::Enabled), Some("expires".to_owned()));
    for client in &clients {
        wait_for("the setting is that of every region", async || {
            let found = status(client).await;
            if found == enabled {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }
    put(us, TABLE, entry("text", s(second(-60).to_string()))).await;
    put(eu, TABLE, entry("too old", n(162_777_600))).await;
    put(ap, TABLE, entry("later", n(second(3_600)))).await;
    put(eu, TABLE, entry("past", n(second(-60)))).await;
    put(
        ap,
        TABLE,
        entry("fraction", n(format!("{}.7", second(-60)))),
    )
    .await;
    put(us, TABLE, entry("soon", n(second(2)))).await;
    let all = [
        "before it was enabled",
        "past",
        "fraction",
        "soon",
        "text",
        "too old",
        "later",
    ];
    for client in &clients {
        left(client, &all, &["text", "too old", "later"]).await;
        let indexed = query_all(client, TABLE, Some("by-user"), "user", s("ann")).await;
        assert_eq!(indexed.len(), 3, "{indexed:?}");
    }
    cluster.settled().await;
    let conflicts = cluster.json(&["conflicts"]).await;
    assert_eq!(conflicts["conflicts"], json!([]));
    let data = cluster.stop();
    for region in REGIONS {
        let folder = data.path().join("local").join(region);
        let folder = folder.to_str().expect("a path").to_owned();
        meridian(&["check", "--data", folder.as_str()])
            .await
            .success();
    }
}

#[tokio::test]
async fn a_refresh_made_unseen_wins() {
    let cluster = Cluster::start_with(&["--ttl-interval", "200ms"]);
    let clients = cluster.clients();
    let [us, eu, ap] = &clients;
    create(&clients, TABLE, "pk:S", None, None).await;
    enable(us, "expires").await;
    let session = |expires: i64| item([("pk", s("s")), ("expires", n(expires))]);
    let expires = second(6);
    put(us, TABLE, session(expires)).await;
    left(eu, &["s"], &["s"]).await;
    for other in [US, AP] {
        cluster.run(&["partition", EU, other]).await;
    }
    let refreshed = session(expires + 3_600);
    put(eu, TABLE, refreshed.clone()).await;
    left(us, &["s"], &[]).await;
    left(ap, &["s"], &[]).await;
    cluster.run(&["heal"]).await;
    for client in &clients {
        wait_for("the refresh is everywhere", async || {
            match get(client, TABLE, item([("pk", s("s"))])).await {
                Some(found) if found == refreshed => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    cluster.settled().await;
    let conflicts = cluster.json(&["conflicts"]).await;
    assert_eq!(conflicts["conflicts"], json!([]));
}

/// Words of errors-and-validation.md section 6.
#[tokio::test]
async fn wrong_requests_are_refused_in_dynamodb_s_words() {
    let cluster = Cluster::start_with(&["--ttl-cool-down", "30m"]);
    let us = cluster.client(US);
    create(std::slice::from_ref(&us), TABLE, "pk:S", None, None).await;
    let front = cluster.front();
    let ask = async |table: &str, specification: serde_json::Value| {
        let body = json!({"TableName": table, "TimeToLiveSpecification": specification});
        let answer = post(&front, US, "UpdateTimeToLive", body.to_string()).await;
        (answer.exception(), answer.message())
    };
    let spec = |name: &str, on: bool| json!({"AttributeName": name, "Enabled": on});
    let refused = |text: &str| ("ValidationException".to_owned(), text.to_owned());
    let already_off = refused("TimeToLive is already disabled");
    assert_eq!(ask(TABLE, spec("a", false)).await, already_off);
    assert_eq!(ask(TABLE, spec("a", true)).await, Default::default());
    let already_on = refused("TimeToLive is already enabled");
    assert_eq!(ask(TABLE, spec("a", true)).await, already_on);
    let other =
        refused("TimeToLive is active on a different AttributeName: current AttributeName is a");
    assert_eq!(ask(TABLE, spec("b", true)).await, other);
    assert_eq!(ask(TABLE, spec("b", false)).await, other);
    let too_soon = refused("Time to live has been modified multiple times within a fixed interval");
    assert_eq!(ask(TABLE, spec("a", false)).await, too_soon);
    let null = |path: &str| {
        refused(&format!(
            "1 validation error detected: Value null at 'timeToLiveSpecification{path}' \
             failed to satisfy constraint: Member must not be null"
        ))
    };
    assert_eq!(ask(TABLE, json!(null)).await, null(""));
    let no_name = json!({"Enabled": true});
    assert_eq!(ask(TABLE, no_name).await, null(".attributeName"));
    let no_switch = json!({"AttributeName": "a"});
    assert_eq!(ask(TABLE, no_switch).await, null(".enabled"));
    for (name, bound) in [
        ("", "greater than or equal to 1"),
        (&"x".repeat(256), "less than or equal to 255"),
    ] {
        let (exception, message) = ask(TABLE, spec(name, true)).await;
        assert_eq!(exception, "ValidationException");
        let wanted = format!("Member must have length {bound}");
        assert!(message.ends_with(&wanted), "{message}");
    }
    let (exception, message) = ask("Nowhere", spec("a", true)).await;
    assert_eq!(exception, "ResourceNotFoundException");
    assert_eq!(
        message,
        "Requested resource not found: Table: Nowhere not found"
    );
}

#[tokio::test]
async fn tables_can_be_slowed_down() {
    let cluster = Cluster::start_with(&["--table-delay", "4s"]);
    let us = cluster.client(US);
    let state = async || {
        let described = us.describe_table().table_name(TABLE).send().await;
        let table = described.ok().and_then(|d| d.table);
        table.and_then(|t| t.table_status)
    };
    let body = json!({
        "TableName": TABLE,
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    });
    let created = post(&cluster.front(), US, "CreateTable", body.to_string()).await;
    assert_eq!(
        created.json()["TableDescription"]["TableStatus"],
        "CREATING"
    );
    assert_eq!(state().await, Some(TableStatus::Creating));
    let key = Some(item([("pk", s("a"))]));
    let got = us.get_item().table_name(TABLE).set_key(key.clone());
    let error = got.send().await.expect_err("it is not there yet");
    assert_eq!(code(&error), "ResourceNotFoundException");
    let put = us.put_item().table_name(TABLE).set_item(key.clone());
    let error = put.send().await.expect_err("it is not there yet");
    assert_eq!(code(&error), "ResourceNotFoundException");
    let delete = us.delete_table().table_name(TABLE).send().await;
    let error = delete.expect_err("it is being created");
    assert_eq!(code(&error), "ResourceInUseException");
    assert_eq!(
        message(&error),
        format!(
            "Attempt to change a resource which is still in use: Table is being created: {TABLE}"
        )
    );
    let ttl = us.describe_time_to_live().table_name(TABLE).send().await;
    let error = ttl.expect_err("it is being created");
    assert_eq!(code(&error), "ValidationException");
    let active = async || match state().await {
        Some(TableStatus::Active) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_for("the table becomes active", active).await;
    let switch = json!({
        "TableName": TABLE,
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"},
    });
    post(&cluster.front(), US, "UpdateTable", switch.to_string()).await;
    assert_eq!(state().await, Some(TableStatus::Updating));
    common::put(&us, TABLE, item([("pk", s("a"))])).await;
    let delete = us.delete_table().table_name(TABLE).send().await;
    let error = delete.expect_err("it is being updated");
    assert!(message(&error).contains("Table is being updated"));
    wait_for("the table becomes active again", active).await;
    let deleted = us.delete_table().table_name(TABLE).send().await;
    deleted.expect("nothing holds it");
    assert_eq!(state().await, Some(TableStatus::Deleting));
    let delete = us.delete_table().table_name(TABLE).send().await;
    let error = delete.expect_err("it is being deleted");
    assert!(message(&error).contains("Table is being deleted"));
    let got = us.get_item().table_name(TABLE).set_key(key).send().await;
    let error = got.expect_err("it is as good as gone");
    assert_eq!(code(&error), "ResourceNotFoundException");
    for client in &cluster.clients() {
        wait_for("the table is gone", async || {
            match client.describe_table().table_name(TABLE).send().await {
                Err(error) if code(&error) == "ResourceNotFoundException" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}
