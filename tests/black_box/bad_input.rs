//! Bodies, bytes and identities that no SDK sends: a clear answer, and the region serves on.

use crate::common::{
    Answer, Cluster, EU, US, create, get, item, post, post_signed_for, put, raw, s,
};

/// The same processes as before still serve reads and writes.
async fn still_serves(cluster: &Cluster, pids: [u32; 2]) {
    let us = cluster.client(US);
    put(&us, "Items", item([("pk", s("alive"))])).await;
    assert!(
        get(&us, "Items", item([("pk", s("alive"))]))
            .await
            .is_some()
    );
    assert_eq!([cluster.pid(US).await, cluster.pid(EU).await], pids);
}

#[track_caller]
fn refused(answer: &Answer, exception: &str) {
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.exception(), exception, "{answer:?}");
}

#[tokio::test]
async fn bodies_that_are_no_requests_are_refused() {
    let cluster = Cluster::start();
    create(&cluster.clients(), "Items", "pk:S", None, None).await;
    let pids = [cluster.pid(US).await, cluster.pid(EU).await];
    let doors = [
        cluster.front(),
        cluster.endpoints[US].replace("http://", ""),
    ];
    for door in &doors {
        for body in [
            "",
            "hello",
            "{",
            "[]",
            "null",
            "{\"TableName\":\"Items\"",
            "\u{0}",
            "{\"TableName\":7}",
        ] {
            let answer = post(door, US, "PutItem", body).await;
            refused(&answer, "SerializationException");
        }
        let answer = post(
            door,
            US,
            "PutItem",
            b"{\"TableName\":\"\xff\xfe\"}".as_slice(),
        )
        .await;
        refused(&answer, "SerializationException");
        let answer = post(door, US, "PutItem", "{}").await;
        refused(&answer, "ValidationException");
        // Collected with the other members' violations, as AWS does on items (not on tables).
        assert_eq!(
            answer.message(),
            "2 validation errors detected: \
             Value null at 'tableName' failed to satisfy constraint: Member must not be null; \
             Value null at 'item' failed to satisfy constraint: Member must not be null"
        );
        let answer = post(door, US, "MakeCoffee", "{}").await;
        refused(&answer, "UnknownOperationException");
        let answer = post(
            door,
            US,
            "GetItem",
            "{\"TableName\":\"None\",\"Key\":{\"pk\":{\"S\":\"a\"}}}",
        )
        .await;
        refused(&answer, "ResourceNotFoundException");
        assert_eq!(answer.message(), "Requested resource not found");
    }
    still_serves(&cluster, pids).await;
}

/// An item with an attribute nested `depth` levels deep.
fn nested(depth: usize, (open, close): (&str, &str)) -> String {
    let (open, close) = (open.repeat(depth), close.repeat(depth));
    format!(
        "{{\"TableName\":\"Items\",\"Item\":{{\"pk\":{{\"S\":\"deep\"}},\"deep\":{open}{{\"S\":\"x\"}}{close}}}}}"
    )
}

#[tokio::test]
async fn items_nested_too_deeply_are_refused() {
    let cluster = Cluster::start();
    create(&cluster.clients(), "Items", "pk:S", None, None).await;
    let pids = [cluster.pid(US).await, cluster.pid(EU).await];
    let lists = ("{\"L\":[", "]}");
    let maps = ("{\"M\":{\"a\":", "}}");
    for kind in [lists, maps] {
        let fits = post(&cluster.front(), US, "PutItem", nested(30, kind)).await;
        assert_eq!(fits.status, 200, "{fits:?}");
        for depth in [33, 40, 1_000, 100_000] {
            let answer = post(&cluster.front(), US, "PutItem", nested(depth, kind)).await;
            refused(&answer, "ValidationException");
            assert!(
                answer.message().contains("Nesting Levels"),
                "{depth}: {answer:?}"
            );
        }
    }
    let brackets = "[".repeat(1_000_000);
    let answer = post(&cluster.front(), US, "PutItem", brackets).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let expression = |text: String| {
        let text = serde_json::json!({"TableName": "Items", "FilterExpression": text});
        text.to_string()
    };
    for text in [
        "(".repeat(4_000),
        "NOT ".repeat(1_000) + "attribute_exists(a)",
        format!("a{} = a", "[0]".repeat(1_300)),
        format!(
            "{}attribute_exists(a){}",
            "(".repeat(1_500),
            ")".repeat(1_500)
        ),
    ] {
        let answer = post(&cluster.front(), US, "Scan", expression(text)).await;
        refused(&answer, "ValidationException");
    }
    still_serves(&cluster, pids).await;
}

#[tokio::test]
async fn a_body_over_sixteen_mebibytes_is_too_large() {
    let cluster = Cluster::start();
    create(&cluster.clients(), "Items", "pk:S", None, None).await;
    let pids = [cluster.pid(US).await, cluster.pid(EU).await];
    let filling = "x".repeat(17 << 20);
    let body = format!("{{\"TableName\":\"Items\",\"Item\":{{\"pk\":{{\"S\":\"{filling}\"}}}}}}");
    for door in [
        cluster.endpoints[US].replace("http://", ""),
        cluster.front(),
    ] {
        let answer = post(&door, US, "PutItem", body.clone()).await;
        assert_eq!(answer.status, 413, "{}", answer.body);
    }
    still_serves(&cluster, pids).await;
}

#[tokio::test]
async fn callers_without_a_region_of_the_cluster_are_refused() {
    let cluster = Cluster::start();
    create(&cluster.clients(), "Items", "pk:S", None, None).await;
    let pids = [cluster.pid(US).await, cluster.pid(EU).await];
    let direct = cluster.endpoints[US].replace("http://", "");
    for (door, region) in [(cluster.front(), "mars-north-1"), (direct.clone(), EU)] {
        let answer = post(&door, region, "ListTables", "{}").await;
        refused(&answer, "InvalidSignatureException");
        let text = format!("Credential should be scoped to a valid region, not '{region}'. ");
        assert!(answer.message().starts_with(text.trim_end()), "{answer:?}");
    }
    for door in [cluster.front(), direct.clone()] {
        let answer = post_signed_for(&door, None, "ListTables", "{}").await;
        refused(&answer, "MissingAuthenticationTokenException");
        let answer = post_signed_for(
            &door,
            Some("AWS4-HMAC-SHA256 Credential=x"),
            "ListTables",
            "{}",
        )
        .await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    for bytes in [
        b"\x00\x01\x02\x03\xff".as_slice(),
        b"GET",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
        b"POST / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot frames at all",
        &[b'a'; 200_000],
    ] {
        for door in [&cluster.front(), &direct] {
            raw(door, bytes).await;
        }
    }
    let healthy = raw(
        &direct,
        b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
    )
    .await;
    let healthy = String::from_utf8_lossy(&healthy);
    assert!(
        healthy.starts_with("HTTP/1.1 200") && healthy.contains("healthy: here"),
        "{healthy}"
    );
    still_serves(&cluster, pids).await;
}
