//! Session tokens: a client that turns to another region reads its own writes there, or is told why not.

use crate::common::{AP, Answer, Cluster, EU, US, create, post, post_with, wait_for};
use hyper::HeaderMap;
use serde_json::{Value, json};

const SESSION: &str = "x-meridian-session";
const WAIT: &str = "x-meridian-session-wait";

fn put(pk: &str, v: &str) -> String {
    let item = json!({"pk": {"S": pk}, "v": {"S": v}});
    json!({"TableName": "Items", "Item": item}).to_string()
}

fn get(pk: &str) -> String {
    json!({"TableName": "Items", "Key": {"pk": {"S": pk}}}).to_string()
}

fn token(headers: &HeaderMap) -> String {
    let token = headers.get(SESSION).expect("a session token");
    token.to_str().expect("text").to_owned()
}

fn value(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["Item"]["v"]["S"].clone()
}

#[tokio::test]
async fn a_client_that_moves_reads_its_own_writes_or_is_told() {
    let cluster = Cluster::start();
    create(&cluster.clients(), "Items", "pk:S", None, None).await;
    let front = cluster.front();
    cluster.settled().await;
    for other in [EU, AP] {
        cluster.run(&["partition", US, other]).await;
    }
    let begin = [(SESSION, "begin")];
    let (written, headers) = post_with(&front, US, "PutItem", &begin, put("k", "mine")).await;
    assert_eq!(written.status, 200, "{written:?}");
    let mine = token(&headers);
    // Here it is covered at once.
    let (read, headers) = post_with(&front, US, "GetItem", &[(SESSION, &mine)], get("k")).await;
    assert_eq!(value(&read), "mine");
    assert_eq!(token(&headers), mine, "nothing happened since");
    // There it is not, and the answer says what is missing; SDKs try again on 503.
    let asked = [(SESSION, mine.as_str()), (WAIT, "200ms")];
    let (refused, headers) = post_with(&front, EU, "GetItem", &asked, get("k")).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.exception(), "ServiceUnavailable");
    let message = refused.message();
    assert!(
        message.contains(EU) && message.contains(&format!("lacks {US} up to commit")),
        "{message}"
    );
    assert!(headers.get(SESSION).is_none());
    // Without the header nothing waits, and nothing is said.
    let (stale, headers) = post_with(&front, EU, "GetItem", &[], get("k")).await;
    assert_eq!(stale.json(), json!({}));
    assert!(headers.get(SESSION).is_none());
    cluster.run(&["heal"]).await;
    // One request waits for it; links take a moment to come back, so it may take a second one.
    let patient = [(SESSION, mine.as_str()), (WAIT, "20s")];
    let (read, headers) = wait_for("the other region catches up", async || {
        let answer = post_with(&front, EU, "GetItem", &patient, get("k")).await;
        match answer.0.status {
            200 => Ok(answer),
            _ => Err(format!("{answer:?}")),
        }
    })
    .await;
    assert_eq!(value(&read), "mine");
    let moved = token(&headers);
    // What it writes there, with what it saw, follows it to a third.
    let patient = [(SESSION, moved.as_str()), (WAIT, "20s")];
    let (written, headers) = post_with(&front, EU, "PutItem", &patient, put("k", "moved")).await;
    assert_eq!(written.status, 200, "{written:?}");
    let later = token(&headers);
    let patient = [(SESSION, later.as_str()), (WAIT, "20s")];
    let (read, _) = post_with(&front, AP, "GetItem", &patient, get("k")).await;
    assert_eq!(value(&read), "moved");
}

#[tokio::test]
async fn tables_and_refused_writes_have_tokens_too_and_garbage_is_refused() {
    let cluster = Cluster::start();
    let front = cluster.front();
    let definition = json!({
        "TableName": "Items", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    });
    let begin = [(SESSION, "")];
    let created = post_with(&front, US, "CreateTable", &begin, definition.to_string()).await;
    assert_eq!(created.0.status, 200, "{:?}", created.0);
    let session = token(&created.1);
    let patient = [(SESSION, session.as_str()), (WAIT, "20s")];
    let described = json!({"TableName": "Items"}).to_string();
    let (there, _) = post_with(&front, AP, "DescribeTable", &patient, described).await;
    assert_eq!(there.status, 200, "a new table is there: {there:?}");
    let mut refused: Value = serde_json::from_str(&put("k", "v")).expect("JSON");
    refused["ConditionExpression"] = "attribute_exists(pk)".into();
    let (refused, headers) = post_with(&front, EU, "PutItem", &patient, refused.to_string()).await;
    assert_eq!(refused.exception(), "ConditionalCheckFailedException");
    token(&headers);
    let cut = session.get(..session.len() - 2).expect("longer");
    for bad in ["garbage", cut] {
        let (answer, _) = post_with(&front, US, "ListTables", &[(SESSION, bad)], "{}").await;
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
        assert_eq!(answer.exception(), "ValidationException");
    }
    for bad in ["soon", "99s"] {
        let headers = [(SESSION, session.as_str()), (WAIT, bad)];
        let (answer, _) = post_with(&front, US, "ListTables", &headers, "{}").await;
        assert_eq!(answer.exception(), "ValidationException", "{bad}");
    }
    let plain = post(&front, US, "ListTables", "{}").await;
    assert_eq!(plain.status, 200);
}
