//! A cluster that grows, shrinks and moves while it is written to: real processes, sockets and the AWS SDK.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{
    self, AP, Cluster, EU, Finished, Process, US, client_of, code, create, eventually, free_ports,
    item, meridian, message, put, s, scan_all, text, wait_for,
};
use aws_sdk_dynamodb::Client;
use hyper::Method;
use serde_json::Value;
use tempfile::TempDir;

const NEW: &str = "eu-west-3";
const NAMES: [&str; 4] = [US, EU, AP, NEW];
const TABLE: &str = "Books";
const CLUSTER: &str = "00112233445566778899aabbccddeeff";

/// Up to four regions, each with a topology file of its own.
struct Site {
    folder: TempDir,
    port: u16,
}

/// A region that runs.
struct Running {
    process: Process,
    client: Client,
}

impl Site {
    fn new() -> Site {
        Site {
            folder: TempDir::new().expect("a folder"),
            port: free_ports(),
        }
    }

    fn endpoint(&self, n: u16) -> String {
        format!("127.0.0.1:{}", self.port + n)
    }

    fn admin(&self, n: u16) -> String {
        format!("127.0.0.1:{}", self.port + 4 + n)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A topology file of these regions; `moved` names one whose UDP port is its admin's.
    fn topology(&self, file: &str, regions: &[u16], moved: Option<u16>) -> PathBuf {
        let mut words =
            format!("[cluster]\nname = \"site\"\nid = \"{CLUSTER}\"\nreplicate = \"all\"\n");
        for n in regions {
            let gossip = match moved == Some(*n) {
                true => self.admin(*n),
                false => self.endpoint(*n),
            };
            words += &format!(
                "[[region]]\nname = \"{}\"\nid = {n}\nendpoint = \"{}\"\ngossip = \"{gossip}\"\nadmin = \"{}\"\n",
                NAMES[usize::from(*n)],
                self.endpoint(*n),
                self.admin(*n)
            );
        }
        let path = self.path(file);
        std::fs::write(&path, words).expect("written");
        path
    }

    /// Starts a region without waiting for it to serve.
    fn launch(&self, n: u16, topology: &Path, data: &str) -> Running {
        let name = NAMES[usize::from(n)];
        let (data, certs) = (self.path(data), self.path("certs"));
        let args = [
            "serve".as_ref(),
            "--region".as_ref(),
            name.as_ref(),
            "--topology".as_ref(),
            topology.as_os_str(),
            "--data".as_ref(),
            data.as_os_str(),
            "--certs".as_ref(),
            certs.as_os_str(),
            "--log-retention".as_ref(),
            "0s".as_ref(),
        ];
        Running {
            process: Process::spawn(&args),
            client: client_of(name, &format!("http://{}", self.endpoint(n))),
        }
    }

    fn serve(&self, n: u16, topology: &Path) -> Running {
        self.launch(n, topology, NAMES[usize::from(n)])
    }

    async fn region(&self, words: &[&str]) -> Finished {
        let via = self.admin(0);
        meridian(&[&["region"], words, &["--via", &via]].concat()).await
    }

    async fn add_new(&self) -> Finished {
        let (endpoint, admin) = (self.endpoint(3), self.admin(3));
        let addresses = [
            "--replication",
            &endpoint,
            "--endpoint",
            &endpoint,
            "--admin",
            &admin,
        ];
        self.region(&[&["add", NEW], &addresses[..]].concat()).await
    }

    /// Waits until a region that was launched answers at all.
    async fn listens(&self, n: u16) {
        let admin = self.admin(n);
        eventually("its admin port answers", async || {
            tokio::net::TcpStream::connect(&admin).await.is_ok()
        })
        .await;
    }

    async fn ask(&self, n: u16, path: &str) -> Value {
        common::admin(&self.admin(n), Method::GET, path, "")
            .await
            .json()
    }

    /// Waits until a region's status is as it should be.
    async fn until(&self, n: u16, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, async || {
            let status = self.ask(n, "/status").await;
            if is(&status) {
                Ok(status)
            } else {
                Err(format!("{status:#}"))
            }
        })
        .await
    }

    async fn state(&self, of: &str) -> Value {
        let members = self.ask(0, "/members").await;
        let all = members["members"].as_array().expect("members");
        let member = all.iter().find(|m| m["name"] == of);
        member.cloned().unwrap_or_default()
    }
}

fn notice(status: &Value, code: &str) -> bool {
    let notices = status["notices"].as_array();
    notices.is_some_and(|all| all.iter().any(|n| n["code"] == code))
}

fn all_linked(status: &Value) -> bool {
    let links = status["links"].as_array();
    links.is_some_and(|all| all.iter().all(|link| link["connected"] == true))
}

/// Three regions that serve, and their table.
async fn three(site: &Site) -> Vec<Running> {
    let topology = site.topology("three.toml", &[0, 1, 2], None);
    let regions: Vec<Running> = (0..3).map(|n| site.serve(n, &topology)).collect();
    for region in &regions {
        region.process.line();
    }
    let clients: Vec<Client> = regions.iter().map(|r| r.client.clone()).collect();
    create(&clients, TABLE, "title:S", None, None).await;
    regions
}

/// Writes items one after the other until told to stop; what was acknowledged.
async fn write(client: Client, who: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let title = format!("{who}-{}", acknowledged.len());
        put(&client, TABLE, item([("title", s(&title))])).await;
        acknowledged.push(title);
    }
    acknowledged
}

async fn titles(client: &Client) -> Vec<String> {
    let mut found: Vec<String> = (scan_all(client, TABLE).await.iter())
        .map(|item| text(item, "title").to_owned())
        .collect();
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_joins_under_writes_and_another_leaves() {
    let site = Site::new();
    let regions = three(&site).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (regions.iter().enumerate())
        .map(|(n, region)| tokio::spawn(write(region.client.clone(), n, Arc::clone(&stop))))
        .collect();
    // Nobody knows the fourth yet: it waits, and so do its clients.
    let four = site.topology("four.toml", &[0, 1, 2, 3], None);
    let new = site.serve(3, &four);
    site.listens(3).await;
    site.until(3, "the new region is told that it is none", |status| {
        status["rebuilding"]
            .as_str()
            .is_some_and(|why| why.contains("region add"))
    })
    .await;
    let refused = new
        .client
        .list_tables()
        .send()
        .await
        .expect_err("not served");
    assert_eq!(code(&refused), "ServiceUnavailable");
    let added = site.add_new().await.success();
    assert!(
        added.stdout.contains(&format!("{NEW}           3  active")),
        "{added:#?}"
    );
    assert!(added.stderr.contains("waiting for "), "{added:#?}");
    // It serves already.
    put(&new.client, TABLE, item([("title", s("of the new one"))])).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = vec!["of the new one".to_owned()];
    for writer in writers {
        all.extend(writer.await.expect("every write is acknowledged"));
    }
    all.sort_unstable();
    for region in regions.iter().chain([&new]) {
        eventually("every region has all", async || {
            titles(&region.client).await == all
        })
        .await;
    }
    let again = site.add_new().await.refused();
    assert!(again.contains("name of a member already"), "{again}");

    // One leaves: the others have all it took, and it says what it is.
    put(&regions[2].client, TABLE, item([("title", s("the last"))])).await;
    let removed = site.region(&["remove", AP]).await.success();
    assert!(removed.stdout.contains("removed"), "{removed:#?}");
    for region in [&regions[0], &regions[1], &new] {
        assert!(
            titles(&region.client)
                .await
                .contains(&"the last".to_owned())
        );
    }
    site.until(2, "it says so", |status| notice(status, "removed"))
        .await;
    let late = regions[2].client.put_item().table_name(TABLE);
    let late = late
        .set_item(Some(item([("title", s("too late"))])))
        .send()
        .await;
    let late = late.expect_err("refused");
    assert!(message(&late).contains("was removed") || code(&late) == "ResourceNotFoundException");
    let described = regions[0]
        .client
        .describe_table()
        .table_name(TABLE)
        .send()
        .await;
    let table = described.expect("described").table.expect("a table");
    let replicas = table.replicas.unwrap_or_default();
    assert!(
        replicas.iter().all(|r| r.region_name() != Some(AP)),
        "{replicas:?}"
    );
    // Nobody waits for it any more: logs are forgotten.
    put(&regions[0].client, TABLE, item([("title", s("after"))])).await;
    site.until(0, "logs are collected", |status| {
        let logs = status["logs"].as_array().expect("logs");
        logs.iter().all(|log| log["held"] == 0)
    })
    .await;

    // It comes back with an empty folder, and is told.
    let mut gone = regions;
    drop(gone.remove(2));
    let three = site.path("three.toml");
    let _back = site.launch(2, &three, "empty");
    site.listens(2).await;
    let epoch = site.ask(0, "/members").await["epoch"].clone();
    site.until(2, "it hears of it", |status| {
        notice(status, "removed") && status["epoch"] == epoch
    })
    .await;
    let again = site.region(&["remove", AP]).await.success();
    assert!(again.stdout.contains("done"), "{again:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_region_is_asked_to_add_a_region_while_another_is_asked_to_remove_one() {
    let site = Site::new();
    let regions = three(&site).await;
    let four = site.topology("four.toml", &[0, 1, 2, 3], None);
    let new = site.serve(3, &four);
    site.listens(3).await;
    put(&regions[2].client, TABLE, item([("title", s("before"))])).await;
    let via = site.admin(1);
    let remove = ["region", "remove", AP, "--via", &via];
    let (added, removed) = tokio::join!(site.add_new(), meridian(&remove));
    added.success();
    removed.success();
    put(&new.client, TABLE, item([("title", s("after"))])).await;
    for (n, region) in [(0, &regions[0]), (1, &regions[1]), (3, &new)] {
        eventually("it has all", async || {
            titles(&region.client).await == ["after", "before"]
        })
        .await;
        site.until(n, "all agree on the members", |status| {
            let members = status["members"].as_array().expect("members");
            let state = |name: &str| {
                members
                    .iter()
                    .find(|m| m["name"] == name)
                    .map(|m| &m["state"])
            };
            state(NEW) == Some(&"active".into()) && state(AP) == Some(&"removed".into())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_moves_without_a_restart_of_the_others() {
    let site = Site::new();
    let mut regions = three(&site).await;
    drop(regions.remove(1));
    let moved = site.topology("moved.toml", &[0, 1, 2], Some(1));
    let at = site.admin(1);
    let region = site.serve(1, &moved);
    region.process.line();
    let status = site
        .until(1, "it says what differs", |s| notice(s, "topology_differs"))
        .await;
    let said = status["notices"].to_string();
    assert!(
        said.contains(&format!("meridian region move {EU} --replication {at}")),
        "{said}"
    );
    site.region(&["move", EU, "--replication", &at])
        .await
        .success();
    assert_eq!(site.state(EU).await["replication"], at.as_str());
    for n in 0..3 {
        site.until(n, "all know the address, and are linked", |status| {
            let members = status["members"].as_array().expect("members");
            members[1]["replication"] == at.as_str() && all_linked(status)
        })
        .await;
    }
    site.until(1, "nothing differs any more", |s| {
        !notice(s, "topology_differs")
    })
    .await;
    put(&region.client, TABLE, item([("title", s("moved"))])).await;
    for region in &regions {
        eventually("it replicates", async || {
            titles(&region.client).await == ["moved"]
        })
        .await;
    }
    let taken = site
        .region(&["move", AP, "--replication", &at])
        .await
        .refused();
    assert!(
        taken.contains(&format!("'{EU}' is reached already")),
        "{taken}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_comes_into_the_file_of_up_is_added() {
    let folder = Arc::new(TempDir::new().expect("a folder"));
    let file = folder.path().join("up.toml");
    let topology = |count: usize| {
        let mut words = "[cluster]\nname = \"up\"\nreplicate = \"all\"\n".to_owned();
        for (id, name) in NAMES.iter().enumerate().take(count) {
            words += &format!("[[region]]\nname = \"{name}\"\nid = {id}\n");
        }
        std::fs::write(&file, words).expect("written");
    };
    topology(2);
    let cluster = Cluster::start_in(&folder, Some(&file));
    let clients = [US, EU].map(|region| cluster.client(region));
    create(&clients, TABLE, "title:S", None, None).await;
    put(&clients[0], TABLE, item([("title", s("early"))])).await;
    drop(cluster.stop());

    topology(3);
    let cluster = Cluster::start_in(&folder, Some(&file));
    let us = cluster.status().await.remove(US).unwrap_or_default();
    assert!(
        us["notices"]
            .to_string()
            .contains("region add ap-northeast-1"),
        "{us}"
    );
    let added = cluster.run(&["region", "add", AP]).await;
    assert!(
        added.stdout.contains("ap-northeast-1      2  active"),
        "{added:#?}"
    );
    assert_eq!(titles(&cluster.client(AP)).await, ["early"]);
    put(&cluster.client(AP), TABLE, item([("title", s("late"))])).await;
    drop(cluster.stop());
    // And is there when all start again.
    let cluster = Cluster::start_in(&folder, Some(&file));
    for region in [US, EU, AP] {
        let client = cluster.client(region);
        eventually("all are there", async || {
            titles(&client).await == ["early", "late"]
        })
        .await;
    }
}
