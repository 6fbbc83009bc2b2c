//! HTTP over real sockets, at a region's own port and through the front door: both must do the same.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::common::{self, Cluster, US, Wire, amz_date, create, item, n, put, s, unsigned};
use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// The cluster, and both ways into us-east-1.
fn doors() -> (Arc<Cluster>, [String; 2]) {
    let cluster = Cluster::shared();
    let direct = cluster.endpoints[US].replace("http://", "");
    let doors = [direct, cluster.front()];
    (cluster, doors)
}

/// The head of a request for `operation`, without its last blank line; `more` ends each line of its own.
fn head(operation: &str, more: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: h:1\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\nX-Amz-Date: {}\r\n\
         Authorization: {}\r\nContent-Type: application/x-amz-json-1.0\r\n{more}",
        amz_date(),
        unsigned(US)
    )
}

fn whole(operation: &str, more: &str, body: &str) -> String {
    let head = head(operation, more);
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn connections_are_kept_until_one_side_says_close() {
    let (_cluster, doors) = doors();
    for door in doors {
        let mut wire = Wire::to(&door).await;
        for _ in 0..3 {
            wire.send(whole("DescribeLimits", "", "{}")).await;
            let reply = wire.reply().await;
            assert_eq!(reply.status, 200, "{reply:?}");
            assert!(!reply.headers.contains_key("connection"), "{reply:?}");
        }
        wire.send(whole("DescribeLimits", "Connection: close\r\n", "{}"))
            .await;
        let reply = wire.reply().await;
        assert_eq!((reply.status, reply.header("connection")), (200, "close"));
        assert!(wire.closes().await);
        let mut old = Wire::to(&door).await;
        old.send("GET / HTTP/1.0\r\nHost: old\r\n\r\n").await;
        assert_eq!(old.reply().await.text(), "healthy: old");
        assert!(old.closes().await);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_cluster, doors) = doors();
    for door in doors {
        let mut wire = Wire::to(&door).await;
        let mut all = String::new();
        for round in 0..8 {
            all += &format!("GET / HTTP/1.1\r\nHost: n{round}\r\n\r\n");
            all += &whole("Nothing", "", "{}");
        }
        wire.send(all).await;
        for round in 0..8 {
            assert_eq!(wire.reply().await.text(), format!("healthy: n{round}"));
            assert!(wire.reply().await.text().contains("UnknownOperation"));
        }
    }
}

#[tokio::test]
async fn every_answer_has_an_id_and_the_checksum_of_its_bytes() {
    let (cluster, doors) = doors();
    create(&cluster.clients(), "Long", "pk:S", None, None).await;
    let filling = "x".repeat(10_000);
    put(
        &cluster.client(US),
        "Long",
        item([("pk", s("a")), ("f", s(filling))]),
    )
    .await;
    let get = "{\"TableName\":\"Long\",\"Key\":{\"pk\":{\"S\":\"a\"}}}";
    for door in doors {
        let mut wire = Wire::to(&door).await;
        let mut ids = Vec::new();
        for request in [
            whole("DescribeLimits", "", "{}"),
            whole("GetItem", "", "{"),
            whole("GetItem", "Accept-Encoding: gzip\r\n", get),
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            "GET /else HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        ] {
            wire.send(request).await;
            let reply = wire.reply().await;
            let crc = crc32fast::hash(&reply.body).to_string();
            assert_eq!(reply.header("x-amz-crc32"), crc, "{reply:?}");
            assert_eq!(reply.header("server"), "Server");
            assert!(!reply.header("date").is_empty());
            let id = reply.header("x-amzn-requestid").to_owned();
            assert!(
                id.len() == 52
                    && id
                        .bytes()
                        .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()),
                "{id}"
            );
            ids.push(id);
            if reply.headers.contains_key("content-encoding") {
                let mut plain = String::new();
                GzDecoder::new(reply.body.as_slice())
                    .read_to_string(&mut plain)
                    .expect("gzip");
                assert!(plain.contains("xxxxx") && reply.body.len() < 1000);
            }
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 6, "ids are unique");
    }
}

#[tokio::test]
async fn what_is_no_dynamodb_request_is_not_found() {
    let (_cluster, doors) = doors();
    for door in doors {
        let mut wire = Wire::to(&door).await;
        for request in [
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n",
            "OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /other HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST /other HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/jsonx\r\nContent-Length: 2\r\n\r\n{}",
        ] {
            wire.send(request).await;
            let reply = wire.reply().await;
            assert_eq!(reply.status, 404, "{request}: {reply:?}");
            assert_eq!(reply.text(), "<UnknownOperationException/>\n");
        }
        wire.send("OPTIONS / HTTP/1.1\r\nHost: h\r\nOrigin: http://x\r\nAccess-Control-Request-Headers: a, b\r\n\r\n")
            .await;
        let reply = wire.reply().await;
        assert_eq!((reply.status, reply.header("content-length")), (200, "0"));
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert_eq!(reply.header("access-control-allow-headers"), "a, b");
        assert_eq!(reply.header("access-control-max-age"), "172800");
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_however_they_are_sent() {
    let (_cluster, doors) = doors();
    let chunk = [b"100000\r\n".as_slice(), &[b' '; 0x10_0000], b"\r\n"].concat();
    for door in doors {
        // 17 MiB, announced: read to the end, so that the connection stays good.
        let mut wire = Wire::to(&door).await;
        wire.send(head(
            "PutItem",
            &format!("Content-Length: {}\r\n\r\n", 17 << 20),
        ))
        .await;
        wire.send(vec![b' '; 17 << 20]).await;
        assert_eq!(wire.reply().await.status, 413);
        wire.send(whole("DescribeLimits", "", "{}")).await;
        assert_eq!(wire.reply().await.status, 200);
        // 17 MiB in chunks.
        let mut wire = Wire::to(&door).await;
        wire.send(head("PutItem", "Transfer-Encoding: chunked\r\n\r\n"))
            .await;
        for _ in 0..17 {
            wire.send(&chunk).await;
        }
        wire.send("0\r\n\r\n").await;
        assert_eq!(wire.reply().await.status, 413);
        // A terabyte: nobody waits for it.
        let mut wire = Wire::to(&door).await;
        wire.send(head("PutItem", "Content-Length: 1099511627776\r\n\r\n{"))
            .await;
        assert_eq!(wire.reply().await.status, 413);
        // A few kilobytes that stand for 17 MiB.
        let mut bomb = GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&vec![b' '; 17 << 20]).expect("in memory");
        let bomb = bomb.finish().expect("in memory");
        assert!(bomb.len() < 100_000);
        let mut wire = Wire::to(&door).await;
        let framing = format!(
            "Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            bomb.len()
        );
        wire.send(head("PutItem", &framing)).await;
        wire.send(bomb).await;
        assert_eq!(wire.reply().await.status, 413);
    }
}

#[tokio::test]
async fn heads_over_the_limit_are_refused() {
    let (_cluster, doors) = doors();
    for door in doors {
        for (length, status) in [(15_000, 200), (17_000, 400), (60_000, 400)] {
            let filling = format!("X-Filling: {}\r\n", "x".repeat(length));
            let mut wire = Wire::to(&door).await;
            wire.send(whole("DescribeLimits", &filling, "{}")).await;
            assert_eq!(wire.reply().await.status, status, "{length}");
            let mut wire = Wire::to(&door).await;
            let line = format!("GET /?{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(length));
            wire.send(line).await;
            assert_eq!(wire.reply().await.status, status, "{length}");
        }
    }
}

#[tokio::test]
async fn a_client_may_ask_before_it_sends_its_body() {
    let (_cluster, doors) = doors();
    for door in doors {
        let mut wire = Wire::to(&door).await;
        wire.send(head(
            "DescribeLimits",
            "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        ))
        .await;
        assert_eq!(wire.reply().await.status, 100);
        wire.send("{}").await;
        assert_eq!(wire.reply().await.status, 200);
    }
}

#[tokio::test]
async fn http2_without_asking_first() {
    let (cluster, doors) = doors();
    create(&cluster.clients(), "Two", "pk:N", None, None).await;
    for door in doors {
        let stream = TcpStream::connect(&door).await.expect("it listens");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        tokio::spawn(connection);
        // Many at once on one connection.
        let calls = (0..40).map(|number| {
            let mut sender = sender.clone();
            let body =
                format!("{{\"TableName\":\"Two\",\"Item\":{{\"pk\":{{\"N\":\"{number}\"}}}}}}");
            let request = Request::post("http://two:2/")
                .header("x-amz-target", "DynamoDB_20120810.PutItem")
                .header("x-amz-date", amz_date())
                .header("authorization", unsigned(US))
                .header("content-type", "application/x-amz-json-1.0")
                .body(Full::new(Bytes::from(body)))
                .expect("well formed");
            tokio::spawn(async move {
                let response = sender.send_request(request).await.expect("an answer");
                let (parts, body) = response.into_parts();
                let body = body.collect().await.expect("whole").to_bytes();
                (parts, body)
            })
        });
        for call in calls.collect::<Vec<_>>() {
            let (parts, body) = call.await.expect("no panic");
            assert_eq!(
                (parts.status.as_u16(), body.as_ref()),
                (200, b"{}".as_ref())
            );
            assert_eq!(parts.headers["x-amz-crc32"], "2745614147");
        }
        let large = Request::post("http://two:2/")
            .header("content-type", "application/x-amz-json-1.0")
            .body(Full::new(Bytes::from(vec![b' '; 17 << 20])))
            .expect("well formed");
        let mut sender = sender.clone();
        let response = sender.send_request(large).await.expect("an answer");
        assert_eq!(response.status(), 413);
        let health = Request::get("http://two:2/").body(Full::default());
        let response = sender.send_request(health.expect("well formed")).await;
        let body = response.expect("an answer").into_body();
        let body = body.collect().await.expect("whole").to_bytes();
        assert_eq!(body.as_ref(), b"healthy: two:2");
    }
    let seen = common::scan_all(&cluster.client(US), "Two").await;
    assert_eq!(seen.len(), 40);
    assert!(seen.iter().any(|i| i.get("pk") == Some(&n(39))));
}
