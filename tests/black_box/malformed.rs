//! Every operation of the dispatch table, with bodies that no client means: refused in words, never a 5xx,
//! never silence, and the region serves on.

use std::sync::Arc;

use crate::common::{Cluster, US, Wire, amz_date, create, get, item, put, s, unsigned};
use serde_json::Value;

/// The dispatch table itself, so that no operation is forgotten.
const DISPATCH: &str = include_str!("../../src/api/operations/mod.rs");
const SERVICES: [&str; 2] = ["DynamoDB_20120810", "DynamoDBStreams_20120810"];

/// Bytes that are sent for one member and not for all at once, which would be megabytes.
const BULKY: usize = 10_000;

/// Members of requests, by the names that many operations share.
const MEMBERS: [&str; 50] = [
    "TableName",
    "Item",
    "Key",
    "RequestItems",
    "TransactItems",
    "Expected",
    "AttributeUpdates",
    "KeyConditions",
    "ScanFilter",
    "QueryFilter",
    "AttributesToGet",
    "ExclusiveStartKey",
    "ConditionExpression",
    "UpdateExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ProjectionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValues",
    "ReturnConsumedCapacity",
    "Select",
    "Limit",
    "Segment",
    "TotalSegments",
    "IndexName",
    "ConsistentRead",
    "AttributeDefinitions",
    "KeySchema",
    "ProvisionedThroughput",
    "GlobalSecondaryIndexes",
    "GlobalSecondaryIndexUpdates",
    "LocalSecondaryIndexes",
    "StreamSpecification",
    "ReplicaUpdates",
    "BillingMode",
    "Tags",
    "TagKeys",
    "ResourceArn",
    "TimeToLiveSpecification",
    "ClientRequestToken",
    "StreamArn",
    "ShardIterator",
    "Statement",
    "Statements",
    "TransactStatements",
    "Parameters",
    "NextToken",
    "Policy",
    "ExclusiveStartTableName",
];

/// The operations that the dispatch table names.
fn operations() -> Vec<String> {
    let names = DISPATCH.lines().filter_map(|line| {
        let (name, run) = line.trim().split_once(" => ")?;
        let name = name.split('(').next().unwrap_or(name);
        let named = name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
        (named && run.contains("::")).then(|| name.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    assert!(names.len() >= 50, "{names:?}");
    names
}

/// Bodies that are no JSON object, whatever the operation.
fn no_objects() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "[]",
        "[{}]",
        "7",
        "1e999",
        "-",
        "\"x\"",
        "true",
        "{",
        "}",
        "{}}",
        "{]",
        "{\"TableName\"",
        "{\"TableName\":",
        "{\"TableName\":}",
        "{'TableName':'x'}",
        "{\"a\":1,}",
        "{\"a\":0x10}",
        "{\"a\":NaN}",
        "\u{feff}{}",
        "\u{0}",
        "// {}\n{",
        "{\"a\":\"\u{1}\"}",
    ]
    .map(|body| body.as_bytes().to_vec())
    .into();
    bodies.push(b"{\"TableName\":\"\xff\xfe\"}".to_vec());
    bodies.push(b"{\"TableName\":\"\\ud800\"}".to_vec());
    bodies.push(b"\x1f\x8b\x08\x00".to_vec());
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        bodies.push(open.repeat(10_000).into_bytes());
        let middle = if open == "[" { "" } else { "1" };
        let nested = format!("{}{middle}{}", open.repeat(10_000), close.repeat(10_000));
        bodies.push(nested.into_bytes());
    }
    bodies
}

/// Values for one member, wrong in type, size or depth wherever they stand.
fn values() -> Vec<String> {
    let deep = |open: &str, close: &str, levels: usize| {
        format!(
            "{}{{\"S\":\"x\"}}{}",
            open.repeat(levels),
            close.repeat(levels)
        )
    };
    let mut values: Vec<String> = [
        "null",
        "0",
        "-1",
        "7",
        "1.5",
        "99999999999999999999999",
        "1e400",
        "true",
        "false",
        "\"\"",
        "\"x\"",
        "\"\\u0000\"",
        "[]",
        "[null]",
        "[1]",
        "[[]]",
        "[\"\"]",
        "[{}]",
        "[{\"x\":1}]",
        "{}",
        "{\"\":{}}",
        "{\"pk\":null}",
        "{\"pk\":1}",
        "{\"pk\":[]}",
        "{\"pk\":{}}",
        "{\"pk\":{\"S\":1}}",
        "{\"pk\":{\"S\":\"a\",\"N\":\"1\"}}",
        "{\"pk\":{\"N\":\"--1\"}}",
        "{\"pk\":{\"B\":\"***\"}}",
        "{\"pk\":{\"SS\":[]}}",
        "{\"pk\":{\"L\":{}}}",
        "{\"pk\":{\"M\":[]}}",
        "{\"pk\":{\"Q\":\"x\"}}",
        "{\"pk\":{\"S\":\"a\"},\"pk\":{\"S\":\"b\"}}",
        "{\"Items\":[{}]}",
        "{\"Items\":{\"Keys\":[{}]}}",
        "{\"#a\":1,\":a\":1}",
    ]
    .map(str::to_owned)
    .into();
    values.push(format!("\"{}\"", "(".repeat(10_000)));
    values.push(format!("\"{}a{}\"", "(".repeat(2_000), ")".repeat(2_000)));
    values.push(format!("\"{}\"", "NOT ".repeat(1_000)));
    values.push(format!("\"{}\"", "x".repeat(100_000)));
    values.push(format!("{{\"pk\":{{\"N\":\"{}\"}}}}", "9".repeat(100_000)));
    values.push(format!("{{\"pk\":{}}}", deep("{\"L\":[", "]}", 40)));
    values.push(format!("[{}]", vec!["{}"; 200].join(",")));
    values
}

/// A kept connection that sends one target.
struct Caller {
    wire: Wire,
    target: String,
}

impl Caller {
    /// What a body is answered with: well, or with an exception that has a name and words.
    async fn answer(&mut self, body: &[u8]) -> Answer {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: {}\r\nX-Amz-Date: {}\r\nAuthorization: {}\r\n\
             Content-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n",
            self.target,
            amz_date(),
            unsigned(US),
            body.len()
        );
        self.wire.send([head.as_bytes(), body].concat()).await;
        let reply = self.wire.reply().await;
        let sent = String::from_utf8_lossy(body);
        let sent: String = sent.chars().take(300).collect();
        let shown = format!(
            "{} {sent} -> {} {}",
            self.target,
            reply.status,
            reply.text()
        );
        if reply.status == 200 {
            return Answer {
                exception: None,
                text: reply.text(),
            };
        }
        assert_eq!(reply.status, 400, "{shown}");
        let json: Value = serde_json::from_slice(&reply.body).expect("JSON");
        let kind = json["__type"].as_str().unwrap_or_default();
        let (namespace, name) = kind.split_once('#').unwrap_or_default();
        assert!(namespace.starts_with("com.amazon"), "{shown}");
        let message = json["message"].as_str().or(json["Message"].as_str());
        let silent = ["SerializationException", "UnknownOperationException"];
        assert!(
            message.is_some_and(|m| !m.is_empty()) || silent.contains(&name),
            "{shown}"
        );
        Answer {
            exception: Some(name.to_owned()),
            text: reply.text(),
        }
    }

    /// The members that the operation looks at: some wrong type makes another answer of them than of a member
    /// that no operation has.
    async fn members_read(&mut self) -> Vec<&'static str> {
        const WRONG: [&str; 4] = ["7", "\"x\"", "[1]", "{\"x\":1}"];
        let mut unread = Vec::new();
        for value in WRONG {
            unread.push(self.answer(body_with("Nobodys", value).as_bytes()).await);
        }
        let mut read = Vec::new();
        for member in MEMBERS {
            for (value, unread) in WRONG.iter().zip(&unread) {
                if self.answer(body_with(member, value).as_bytes()).await != *unread {
                    read.push(member);
                    break;
                }
            }
        }
        read
    }
}

/// What came back.
#[derive(PartialEq)]
struct Answer {
    /// `None` where the operation took the body.
    exception: Option<String>,
    text: String,
}

/// A request of which one member is wrong.
fn body_with(member: &str, value: &str) -> String {
    let table = "\"TableName\":\"Items\"";
    format!("{{{table},\"Key\":{{\"pk\":{{\"S\":\"a\"}}}},\"{member}\":{value}}}")
}

async fn all_bodies(door: String, operation: String) {
    let no_objects = no_objects();
    let mut known = false;
    for service in SERVICES {
        let mut caller = Caller {
            wire: Wire::to(&door).await,
            target: format!("{service}.{operation}"),
        };
        let empty = caller.answer(b"{}").await.exception;
        if empty.as_deref() == Some("UnknownOperationException") {
            continue;
        }
        known = true;
        for body in &no_objects {
            let refused = caller.answer(body).await.exception;
            assert!(refused.is_some(), "{operation} took {body:?}");
        }
        let read = caller.members_read().await;
        for value in values() {
            if value.len() < BULKY {
                let all = MEMBERS.map(|member| format!("\"{member}\":{value}"));
                let body = format!("{{{}}}", all.join(","));
                caller.answer(body.as_bytes()).await;
            }
            for member in &read {
                caller.answer(body_with(member, &value).as_bytes()).await;
            }
        }
    }
    assert!(known, "{operation} is in the table and unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_breaks_any_operation() {
    let cluster = Cluster::start();
    for table in ["Items", "Alive"] {
        create(&cluster.clients(), table, "pk:S", None, None).await;
    }
    let pid = cluster.pid(US).await;
    let door = cluster.endpoints[US].replace("http://", "");
    let queue = Arc::new(std::sync::Mutex::new(operations()));
    let workers = (0..4).map(|_| {
        let (queue, door) = (Arc::clone(&queue), door.clone());
        tokio::spawn(async move {
            loop {
                let next = queue.lock().expect("no panic").pop();
                let Some(operation) = next else { return };
                all_bodies(door.clone(), operation).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("all bodies are answered");
    }
    assert_eq!(cluster.pid(US).await, pid, "the same process serves on");
    let us = cluster.client(US);
    put(&us, "Alive", item([("pk", s("a"))])).await;
    assert!(get(&us, "Alive", item([("pk", s("a"))])).await.is_some());
}
