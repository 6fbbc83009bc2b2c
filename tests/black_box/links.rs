//! Links between real regions: what they carry compressed, and what is said when one is down.

use crate::common::{AP, Cluster, EU, US, create, get, item, put, s, wait_for};
use serde_json::Value;

async fn link(cluster: &Cluster, from: &str, to: &str) -> Value {
    let status = cluster.status().await;
    let links = status[from]["links"].as_array().expect("links");
    let link = links.iter().find(|link| link["peer"] == to);
    link.expect("a link").clone()
}

/// Writes something with little in it in US, and waits until all have it; what was to be sent to EU, and what was.
async fn carried(setting: &str) -> (u64, u64) {
    let cluster = Cluster::start_with(&[setting]);
    let clients = cluster.clients();
    create(&clients, "Texts", "pk:S", None, None).await;
    for n in 0..20 {
        let text = format!(
            "{n} {}",
            "all work and no play makes jack a dull boy ".repeat(50)
        );
        put(
            &clients[0],
            "Texts",
            item([("pk", s(format!("{n}"))), ("text", s(text))]),
        )
        .await;
    }
    cluster.settled().await;
    let sent = get(&clients[0], "Texts", item([("pk", s("7"))])).await;
    for client in &clients[1..] {
        let found = get(client, "Texts", item([("pk", s("7"))])).await;
        assert_eq!(found, sent, "{setting}");
    }
    let traffic = link(&cluster, US, EU).await["traffic"].clone();
    let bytes = |name: &str| traffic[name].as_u64().expect("bytes");
    assert!(bytes("raw_bytes") > 40_000, "{traffic}");
    (bytes("raw_bytes"), bytes("sent_bytes"))
}

#[tokio::test]
async fn batches_are_compressed_as_told() {
    let (raw, sent) = carried("--compression=always").await;
    assert!(sent * 3 < raw, "{sent} of {raw} bytes were sent");
    let (raw, sent) = carried("--compression=never").await;
    assert_eq!(sent, raw);
}

#[tokio::test]
async fn a_link_that_is_down_is_told_once_and_shown_until_it_is_back() {
    let cluster = Cluster::start();
    cluster.settled().await;
    cluster.run(&["partition", US, EU]).await;
    let notice = |status: &Value| {
        let notices = status["notices"].as_array().cloned().unwrap_or_default();
        notices
            .into_iter()
            .find(|notice| notice["code"] == "link_down")
    };
    for (region, peer) in [(US, EU), (EU, US)] {
        let text = wait_for("the notice is there", async || {
            let status = cluster.status().await.remove(region).unwrap_or_default();
            let found = notice(&status).and_then(|n| n["text"].as_str().map(str::to_owned));
            found.ok_or_else(|| status["notices"].to_string())
        })
        .await;
        assert!(
            text.contains(peer) && text.contains("is down since 20"),
            "{text}"
        );
        assert!(text.contains("cut by command"), "{text}");
        assert!(link(&cluster, region, peer).await["down"]["since"].is_string());
    }
    assert!(
        notice(&cluster.status().await[AP]).is_none(),
        "its links stand"
    );
    cluster.run(&["heal"]).await;
    cluster.settled().await;
    wait_for("the notices are gone", async || {
        let status = cluster.status().await;
        match status.values().find_map(notice) {
            None => Ok(()),
            Some(notice) => Err(notice.to_string()),
        }
    })
    .await;
    let log = cluster.process.log();
    assert_eq!(log.matches("the link is down").count(), 2, "{log}");
    assert_eq!(log.matches("the link is back").count(), 2, "{log}");
}
