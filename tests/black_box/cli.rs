//! The command line: what it prints, and what it says to those who err.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::slice::from_ref;
use std::sync::Arc;

use crate::common::{
    AP, Cluster, EU, Process, REGIONS, US, client_of, create, eventually, free_ports, get, item,
    meridian, put, s,
};
use tempfile::TempDir;

fn folder() -> Arc<TempDir> {
    Arc::new(TempDir::new().expect("a folder"))
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("plain").to_owned()
}

/// A topology file of one region, `us-east-1`; `more` goes to its end.
fn topology(folder: &TempDir, name: &str, more: &str) -> PathBuf {
    let path = folder.path().join(format!("{name}.toml"));
    let text =
        format!("[cluster]\nname = \"{name}\"\n\n[[region]]\nname = \"us-east-1\"\nid = 0\n{more}");
    std::fs::write(&path, text).expect("written");
    path
}

#[tokio::test]
async fn status_shows_every_region_and_link() {
    let cluster = Cluster::start();
    assert_eq!(cluster.endpoints.len(), 3);
    let clients = cluster.clients();
    create(&clients, "Seen", "pk:S", None, None).await;
    put(&clients[0], "Seen", item([("pk", s("a"))])).await;
    cluster.settled().await;
    let status = cluster.status().await;
    for region in REGIONS {
        let seen = &status[region];
        assert_eq!(
            seen["endpoint"]
                .as_str()
                .map(|e| e.trim_start_matches("http://")),
            cluster
                .endpoints
                .get(region)
                .map(|e| e.trim_start_matches("http://"))
        );
        assert!(seen["pid"].as_u64().is_some_and(|pid| pid > 1), "{seen}");
        assert!(seen["frontier"].is_object(), "{seen}");
        let links = seen["links"].as_array().expect("links");
        let mut peers: Vec<&str> = links.iter().filter_map(|l| l["peer"].as_str()).collect();
        peers.push(region);
        peers.sort_unstable();
        assert_eq!(peers, [AP, EU, US]);
        let table = &seen["tables"][0];
        assert_eq!(
            (&table["name"], &table["items"]),
            (&"Seen".into(), &1.into())
        );
    }
    let shown = cluster.run(&["status"]).await.stdout;
    for word in REGIONS
        .into_iter()
        .chain(["connected", "Seen", "all is well", "behind"])
    {
        assert!(shown.contains(word), "no '{word}' in:\n{shown}");
    }
    let all = cluster.json(&["status"]).await;
    assert_eq!(all["lag"][EU][US]["commits"], 0, "{all}");
    assert_eq!(all["notices"].as_array().map(Vec::len), Some(0), "{all}");
    // Each region also answers at its own endpoint.
    let direct = client_of(EU, &cluster.endpoints[EU]);
    assert!(get(&direct, "Seen", item([("pk", s("a"))])).await.is_some());
}

#[tokio::test]
async fn status_is_shown_again_and_again_until_it_is_stopped() {
    let cluster = Cluster::start();
    let port = cluster.port.to_string();
    let mut watch = Process::spawn(&["status", "--watch", "1", "--port", &port]);
    let mut rounds = 0;
    while rounds < 2 {
        let line = watch.line();
        assert!(!line.contains('\x1b'), "no terminal, no escapes: {line}");
        rounds += usize::from(line == "cluster local");
    }
    assert!(watch.stop().success());
}

#[tokio::test]
async fn port_zero_is_any_port_and_memory_is_forgotten() {
    let folder = folder();
    let (file, data) = (
        path_text(&topology(&folder, "brief", "")),
        path_text(folder.path()),
    );
    let args = ["up", &file, "--data", &data, "--in-memory", "--port", "0"];
    for round in 0..2 {
        let up = Process::spawn(&args);
        let first = up.line();
        let address = first
            .strip_prefix("cluster brief on http://")
            .expect("the first line");
        assert!(!address.ends_with(":0"), "{first}");
        assert!(up.line().trim_start().starts_with(US));
        assert_eq!(up.line(), "ready");
        let client = client_of(US, &format!("http://{address}"));
        let tables = client.list_tables().send().await.expect("a list");
        assert_eq!(tables.table_names(), [""; 0], "round {round}");
        create(from_ref(&client), "Items", "pk:S", None, None).await;
        put(&client, "Items", item([("pk", s("a"))])).await;
    }
}

#[tokio::test]
async fn a_malformed_topology_is_named_with_its_key() {
    let folder = folder();
    let second = |fields: &str| format!("\n[[region]]\n{fields}\n");
    let cases = [
        ("name = \"Europe\"\nid = 1", "region[1].name"),
        ("name = \"eu-west-1\"\nid = 64", "region[1].id"),
        ("name = \"eu-west-1\"\nid = 0", "region[1].id"),
        ("name = \"eu-west-1\"\nid = 1\nendpont = \"x:1\"", "endpont"),
        ("name = \"eu-west-1\"\nid = \"one\"", "line 10"),
        ("name = \"eu-west-1", "line 9"),
    ];
    let data = path_text(folder.path());
    for (fields, named) in cases {
        let file = topology(&folder, "malformed", &second(fields));
        let file = path_text(&file);
        let up = meridian(&["up", &file, "--data", &data, "--port", "0"]).await;
        let words = up.refused();
        assert!(
            words.contains(&file) && words.contains(named),
            "{named}: {words}"
        );
        assert!(words.contains("hint: "), "{words}");
        let serve = [
            "serve",
            "--region",
            US,
            "--topology",
            &file,
            "--data",
            &data,
        ];
        let words = meridian(&serve).await.refused();
        assert!(
            words.contains(&file) && words.contains(named),
            "{named}: {words}"
        );
    }
    let missing = path_text(&folder.path().join("nowhere.toml"));
    let words = meridian(&["up", &missing, "--port", "0"]).await.refused();
    assert!(words.contains(&missing), "{words}");
}

#[tokio::test]
async fn commands_say_what_they_do_not_know() {
    let cluster = Cluster::start();
    for command in [
        ["partition", US, "mars-north-1"].as_slice(),
        &["heal", "mars-north-1", EU],
        &["slow", EU, "mars-north-1", "--rtt", "1s"],
    ] {
        let words = cluster.try_run(command).await.refused();
        for word in ["mars-north-1", US, EU, AP] {
            assert!(words.contains(word), "{words}");
        }
    }
    let words = cluster.try_run(&["partition", US, US]).await.refused();
    assert!(words.contains("two regions"), "{words}");
    for usage in [
        ["slow", US, EU, "--rtt", "200"].as_slice(),
        &["slow", US, EU, "--rtt", "-1s"],
        &["slow", US, EU],
        &["heal", US],
        &["nonsense"],
        &["status", "--port", "70000"],
    ] {
        let finished = meridian(usage).await;
        assert_eq!(finished.code, Some(2), "{usage:?}: {finished:#?}");
    }
    let free = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port");
    let port = free.port().to_string();
    let words = meridian(&["status", "--port", &port]).await.refused();
    assert!(
        words.contains(&port) && words.contains("meridian up"),
        "{words}"
    );
    cluster.settled().await;
}

#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let data = path_text(folder.path());
    let words = meridian(&["up", "--data", &data, "--port", &port])
        .await
        .refused();
    assert!(words.contains(&port) && words.contains("--port"), "{words}");
}

#[tokio::test]
async fn the_folder_of_another_cluster_is_refused() {
    let folder = folder();
    let id = |digit: &str| {
        format!(
            "\n[cluster]\nname = \"same\"\nid = \"{}\"\n",
            digit.repeat(32)
        )
    };
    let file = |digit: &str| {
        let path = folder.path().join(format!("{digit}.toml"));
        let region = "[[region]]\nname = \"us-east-1\"\nid = 0\n";
        std::fs::write(&path, format!("{}{region}", id(digit))).expect("written");
        path
    };
    let first = Cluster::start_in(&folder, Some(&file("1")));
    let client = first.client(US);
    create(from_ref(&client), "Kept", "pk:S", None, None).await;
    put(&client, "Kept", item([("pk", s("a"))])).await;
    first.stop();
    let (data, other) = (path_text(folder.path()), path_text(&file("2")));
    let words = meridian(&["up", &other, "--data", &data, "--port", "0"])
        .await
        .refused();
    assert!(words.contains("cluster"), "{words}");
    // And the folder is as it was.
    let first = Cluster::start_in(&folder, Some(&file("1")));
    let kept = get(&first.client(US), "Kept", item([("pk", s("a"))])).await;
    assert!(kept.is_some());
}

#[tokio::test]
async fn two_clusters_do_not_share_a_folder() {
    let cluster = Cluster::start();
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let data = path_text(cluster.data.path());
    let words = meridian(&["up", "--data", &data, "--port", "0"])
        .await
        .refused();
    assert!(
        words.contains("in use") || words.contains("already"),
        "{words}"
    );
    // The first one has not noticed: its regions still find each other after a restart.
    put(&clients[0], "Items", item([("pk", s("a"))])).await;
    let old = cluster.kill(EU).await;
    cluster.back(EU, old).await;
    put(&clients[0], "Items", item([("pk", s("b"))])).await;
    eventually("a restarted region catches up", async || {
        get(&clients[1], "Items", item([("pk", s("b"))]))
            .await
            .is_some()
    })
    .await;
    cluster.settled().await;
}

#[tokio::test]
async fn a_region_serves_alone() {
    let folder = folder();
    let port = free_ports();
    let (endpoint, admin) = (
        format!("127.0.0.1:{port}"),
        format!("127.0.0.1:{}", port + 1),
    );
    let more = format!("endpoint = \"{endpoint}\"\ngossip = \"{endpoint}\"\nadmin = \"{admin}\"\n");
    let file = path_text(&topology(&folder, "alone", &more));
    let data = path_text(&folder.path().join("region"));
    let args = [
        "serve",
        "--region",
        US,
        "--topology",
        &file,
        "--data",
        &data,
    ];
    let mut serve = Process::spawn(&args);
    let ready: serde_json::Value = serde_json::from_str(&serve.line()).expect("one line of JSON");
    let ready = &ready["ready"];
    assert_eq!(ready["region"], US);
    assert_eq!(ready["pid"], serve.pid());
    let url = ready["endpoint"].as_str().expect("an endpoint");
    assert!(url.ends_with(&endpoint), "{ready}");
    let client = client_of(US, &format!("http://{endpoint}"));
    create(from_ref(&client), "Items", "pk:S", None, None).await;
    put(&client, "Items", item([("pk", s("a"))])).await;
    let words = meridian(&args).await.refused();
    let busy = words.contains("in use") || words.contains("already");
    assert!(busy, "a second daemon on one folder: {words}");
    let words = meridian(&[
        "serve",
        "--region",
        EU,
        "--topology",
        &file,
        "--data",
        &data,
    ])
    .await;
    let words = words.refused();
    assert!(words.contains(EU) && words.contains(US), "{words}");
    let status = meridian(&["status", "--json", "--topology", &file])
        .await
        .success();
    assert!(status.stdout.contains("\"frontier\""), "{}", status.stdout);
    assert!(
        get(&client, "Items", item([("pk", s("a"))]))
            .await
            .is_some()
    );
    assert!(serve.stop().success());
    meridian(&["check", "--data", &data]).await.success();
}
