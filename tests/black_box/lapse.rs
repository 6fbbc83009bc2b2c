//! Regions that are silent for long: the others warn of them and go on without them, one that is alone takes no writes, and
//! what it wrote all the same comes back with it.

use std::collections::BTreeSet;

use crate::common::{
    self, AP, Cluster, EU, Item, REGIONS, US, code, create, get, item, message, put, s, wait_for,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use serde_json::Value;

fn entry(pk: &str) -> Item {
    item([("pk", s(pk)), ("v", s("1"))])
}

async fn try_put(client: &Client, pk: &str) -> Result<(), String> {
    let put = client.put_item().table_name("Items");
    let put = put.set_item(Some(entry(pk))).send().await;
    put.map(|_| ()).map_err(|refused| {
        let refused = refused.into_service_error();
        format!("{}: {}", code(&refused), message(&refused))
    })
}

async fn cut_off(cluster: &Cluster, region: &str) {
    for other in REGIONS.iter().filter(|other| **other != region) {
        cluster.run(&["partition", region, other]).await;
    }
}

fn notice(status: &Value, code: &str) -> Option<Value> {
    let notices = status["notices"].as_array()?;
    notices.iter().find(|n| n["code"] == code).cloned()
}

/// Waits until a region shows a notice.
async fn shown(cluster: &Cluster, region: &str, code: &str) -> Value {
    wait_for("the notice is shown", async || {
        let status = cluster.status().await;
        notice(&status[region], code).ok_or_else(|| status[region]["notices"].to_string())
    })
    .await
}

/// Waits until it does not.
async fn gone(cluster: &Cluster, region: &str, code: &str) {
    wait_for("the notice is gone", async || {
        let status = cluster.status().await;
        match notice(&status[region], code) {
            None => Ok(()),
            Some(notice) => Err(notice.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_region_is_warned_of_until_it_is_heard_again() {
    let cluster = Cluster::start_with(&["--alarm-after", "3s"]);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    cut_off(&cluster, AP).await;
    put(&clients[0], "Items", entry("kept for it")).await;
    let warned = shown(&cluster, US, "silent").await;
    assert_eq!(warned["level"], "warning");
    let text = warned["text"].as_str().unwrap_or_default();
    assert!(text.starts_with(AP), "{text}");
    assert!(text.contains("has been silent for"), "{text}");
    assert!(text.contains("in the log"), "{text}");
    shown(&cluster, EU, "silent").await;
    let status = cluster.status().await;
    assert_eq!(status[EU]["silent"][0]["region"], AP);
    let address = status[US]["admin"].as_str().expect("an address");
    let page = common::admin(address, hyper::Method::GET, "/metrics", "").await;
    let sample = format!("meridian_member_silent{{member=\"{AP}\"}} 1");
    assert!(page.body.contains(&sample), "{}", page.body);
    cluster.run(&["heal"]).await;
    for region in REGIONS {
        gone(&cluster, region, "silent").await;
    }
    // One line when it fell silent, and one when it was heard, in each of the others; a busy machine may add an
    // episode, but not one for every look.
    let log = cluster.process.log();
    let lines = |words: &str| {
        let of_it = |line: &&str| line.contains(words) && line.contains(AP);
        log.lines().filter(of_it).count()
    };
    let (silent, heard) = (lines("a region is silent"), lines("is heard again"));
    assert_eq!(silent, heard, "{log}");
    assert!((2..10).contains(&silent), "{silent}:\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_reaches_no_majority_takes_no_writes_until_it_does() {
    let cluster = Cluster::start_with(&["--dead-after", "6s"]);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    cut_off(&cluster, AP).await;
    put(&clients[2], "Items", entry("alone")).await;
    let fenced = shown(&cluster, AP, "self_fenced").await;
    assert_eq!(fenced["stops"], true);
    let refused = wait_for("writes are refused", async || {
        match try_put(&clients[2], "late").await {
            Err(refused) => Ok(refused),
            Ok(()) => Err("taken".to_owned()),
        }
    })
    .await;
    assert!(refused.starts_with("ServiceUnavailable: "), "{refused}");
    assert!(refused.contains("not reached a majority"), "{refused}");
    // It still reads, and the others write.
    let key = item([("pk", s("alone"))]);
    assert!(get(&clients[2], "Items", key).await.is_some());
    for client in &clients[..2] {
        put(client, "Items", entry("of the majority")).await;
    }
    let status = cluster.status().await;
    assert_eq!(status[US]["self_fence"]["fenced"], false);
    cluster.run(&["heal"]).await;
    gone(&cluster, AP, "self_fenced").await;
    wait_for("writes are taken again", async || {
        try_put(&clients[2], "back").await
    })
    .await;
    cluster.settled().await;
}

/// Dead after a moment, and nothing is kept that all have.
const IMPATIENT: [&str; 6] = [
    "--dead-after",
    "6s",
    "--log-retention",
    "0s",
    "--tombstone-retention",
    "0s",
];

fn valued(pk: &str, v: &str) -> Item {
    item([("pk", s(pk)), ("v", s(v))])
}

fn state(status: &Value, member: &str) -> String {
    let members = status["members"].as_array().cloned().unwrap_or_default();
    let found = members.iter().find(|m| m["name"] == member);
    let state = found.and_then(|m| m["state"].as_str());
    state.unwrap_or_default().to_owned()
}

/// Waits until these regions all say that a member is in a state.
async fn agreed(cluster: &Cluster, regions: &[&str], member: &str, wanted: &str) {
    wait_for("the members are as they should be", async || {
        let status = cluster.status().await;
        let states: Vec<String> = regions.iter().map(|r| state(&status[*r], member)).collect();
        match states.iter().all(|state| state == wanted) {
            true => Ok(()),
            false => Err(format!("{states:?}")),
        }
    })
    .await;
}

async fn value(client: &Client, pk: &str) -> Option<String> {
    let found = get(client, "Items", item([("pk", s(pk))])).await;
    found.map(|found| common::text(&found, "v").to_owned())
}

/// Waits until US and EU, who go on without the third, forget again what both have.
async fn forgotten(cluster: &Cluster) {
    wait_for("the others forget again", async || {
        let status = cluster.status().await;
        let held = |region: &Value| {
            let logs = region["logs"].as_array().cloned().unwrap_or_default();
            logs.iter()
                .filter_map(|log| log["held"].as_u64())
                .sum::<u64>()
        };
        // Deletions are forgotten only when the table's last change is a minute old.
        let stable = |region: &Value| region["stable_lag_ms"].as_u64() < Some(5_000);
        let forgets = |region: &str| held(&status[region]) == 0 && stable(&status[region]);
        match forgets(US) && forgets(EU) {
            true => Ok(()),
            false => Err(format!("{status:?}")),
        }
    })
    .await;
}

/// The images that lost, by partition key.
async fn losers(cluster: &Cluster) -> String {
    let conflicts = cluster.json(&["conflicts"]).await;
    conflicts["conflicts"].to_string()
}

/// The keys of all versions that lost, anywhere.
async fn lost_keys(cluster: &Cluster) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for region in REGIONS {
        let losers = cluster.losers(region, "Items").await;
        let key = |image: &Value| image["pk"]["S"].as_str().map(str::to_owned);
        keys.extend(losers.iter().filter_map(key));
    }
    keys
}

/// The keys of all items.
async fn keys(client: &Client) -> BTreeSet<String> {
    let items = common::scan_all(client, "Items").await;
    let pk = |item| common::text(item, "pk").to_owned();
    items.iter().map(pk).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_region_lapses_and_what_it_wrote_alone_comes_back_with_it() {
    let cluster = Cluster::start_with(&IMPATIENT);
    let clients = cluster.clients();
    let [us, eu, ap] = &clients;
    create(&clients, "Items", "pk:S", None, None).await;
    for pk in ["shared", "newer", "gone", "deleted"] {
        put(us, "Items", valued(pk, "first")).await;
    }
    cluster.settled().await;
    cut_off(&cluster, AP).await;
    // Alone, before it dies.
    for pk in ["shared", "newer", "gone", "alone"] {
        put(ap, "Items", valued(pk, "from ap")).await;
    }
    let pid = cluster.kill(AP).await;
    // The others go on.
    put(us, "Items", valued("newer", "from us")).await;
    for pk in ["gone", "deleted"] {
        let delete = eu.delete_item().table_name("Items").key("pk", s(pk));
        delete.send().await.expect("deletes");
    }
    cluster.back(AP, pid).await;
    agreed(&cluster, &[US, EU], AP, "lapsed").await;
    forgotten(&cluster).await;
    // Alone it is no majority: it gives nobody up, and takes no writes.
    shown(&cluster, AP, "self_fenced").await;
    let status = cluster.status().await;
    for member in REGIONS {
        assert_eq!(state(&status[AP], member), "active", "{member}");
    }
    assert!(notice(&status[US], "lapsed").is_some());

    cluster.run(&["heal"]).await;
    agreed(&cluster, &REGIONS, AP, "active").await;
    cluster.settled().await;
    for client in &clients {
        assert_eq!(value(client, "shared").await.as_deref(), Some("from ap"));
        assert_eq!(value(client, "newer").await.as_deref(), Some("from us"));
        for pk in ["gone", "deleted", "alone"] {
            assert_eq!(value(client, pk).await, None, "{pk}");
        }
    }
    let kept = losers(&cluster).await;
    for pk in ["newer", "gone", "alone"] {
        assert!(kept.contains(pk), "no '{pk}' in {kept}");
    }
    let status = cluster.status().await;
    let own = &status[AP]["rescued"]["of_this_region"];
    assert_eq!((&own["written"], &own["conflicts"]), (&1.into(), &3.into()));
    // And it takes part again.
    put(ap, "Items", valued("back", "from ap")).await;
    cluster.settled().await;
    assert_eq!(value(us, "back").await.as_deref(), Some("from ap"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_regions_only_a_person_gives_one_up() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("two.toml");
    let text = "[cluster]\nname = \"two\"\nreplicate = \"all\"\n\n[[region]]\nname = \"us-east-1\"\nid = 0\n\n\
                [[region]]\nname = \"eu-west-1\"\nid = 1\n";
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("plain");
    let cluster = Cluster::start_with(&[&[file], IMPATIENT.as_slice()].concat());
    let (us, eu) = (cluster.client(US), cluster.client(EU));
    create(&[us.clone(), eu.clone()], "Items", "pk:S", None, None).await;
    put(&us, "Items", valued("shared", "first")).await;
    cluster.settled().await;
    let heard = cluster.try_run(&["region", "lapse", EU]).await;
    assert!(
        heard
            .stderr
            .contains("refused: the region to give up is heard"),
        "{}",
        heard.stderr
    );
    cluster.run(&["partition", US, EU]).await;
    put(&eu, "Items", valued("shared", "from eu")).await;
    // Long past the time at which it would have lapsed among more.
    wait_for("it is silent for long", async || {
        let status = cluster.status().await;
        let unreached = &status[US]["links"][0]["last_heard_ms"];
        match unreached.as_u64() {
            Some(ms) if ms > 7_000 => Ok(()),
            _ => Err(unreached.to_string()),
        }
    })
    .await;
    agreed(&cluster, &[US, EU], EU, "active").await;
    put(&us, "Items", valued("more", "from us")).await;
    put(&eu, "Items", valued("shared", "from eu again")).await;
    cluster.run(&["region", "lapse", EU]).await;
    agreed(&cluster, &[US], EU, "lapsed").await;
    cluster.run(&["heal"]).await;
    agreed(&cluster, &[US, EU], EU, "active").await;
    cluster.settled().await;
    for client in [&us, &eu] {
        let shared = value(client, "shared").await;
        assert_eq!(shared.as_deref(), Some("from eu again"));
        assert_eq!(value(client, "more").await.as_deref(), Some("from us"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_of_a_lapsed_region_is_there_or_kept_though_all_die_on_its_way_back() {
    let cluster = Cluster::start_with(&IMPATIENT);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    let shared: Vec<String> = (0..40).map(|n| format!("shared-{n}")).collect();
    put_all(&clients[0], &shared, "first").await;
    cluster.settled().await;
    cut_off(&cluster, AP).await;
    let alone: Vec<String> = (0..160).map(|n| format!("alone-{n}")).collect();
    put_all(&clients[2], &alone, "from ap").await;
    put_all(&clients[2], &shared, "from ap").await;
    agreed(&cluster, &[US, EU], AP, "lapsed").await;
    forgotten(&cluster).await;

    cluster.run(&["heal"]).await;
    for region in [AP, US, AP, EU, AP] {
        let pid = cluster.kill(region).await;
        cluster.back(region, pid).await;
    }
    agreed(&cluster, &REGIONS, AP, "active").await;
    cluster.settled().await;
    let kept = lost_keys(&cluster).await;
    for client in &clients {
        let found = keys(client).await;
        let lost: Vec<_> = (alone.iter().chain(&shared))
            .filter(|pk| !found.contains(*pk) && !kept.contains(*pk))
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
        for pk in &shared {
            assert_eq!(value(client, pk).await.as_deref(), Some("from ap"), "{pk}");
        }
    }
    for (region, status) in cluster.status().await {
        assert_eq!(status["repairs"]["repaired"], 0, "{region}");
    }
}

/// Puts an item at each key, as many at once as there may be.
async fn put_all(client: &Client, keys: &[String], v: &str) {
    for keys in keys.chunks(25) {
        let puts = keys.iter().map(|pk| {
            let put = PutRequest::builder().set_item(Some(valued(pk, v)));
            let put = put.build().expect("complete");
            WriteRequest::builder().put_request(put).build()
        });
        let batch = client.batch_write_item();
        let batch = batch.request_items("Items", puts.collect());
        let left = batch.send().await.expect("written").unprocessed_items;
        assert!(left.is_none_or(|left| left.is_empty()));
    }
}

/// Writes new items until one is refused; gives what was acknowledged, and the refusal.
async fn put_until_refused(client: &Client, name: &str) -> (Vec<String>, String) {
    let mut written = Vec::new();
    let deadline = std::time::Instant::now() + common::PATIENCE;
    loop {
        let pk = format!("{name}-{}", written.len());
        let put = client.put_item().table_name("Items");
        let put = put.set_item(Some(valued(&pk, &"x".repeat(4_000))));
        match put.send().await {
            Ok(_) => written.push(pk),
            Err(refused) => {
                let refused = refused.into_service_error();
                let refused = format!("{}: {}", code(&refused), message(&refused));
                return (written, refused);
            }
        }
        let late = std::time::Instant::now() > deadline;
        assert!(!late, "{} writes, and none is refused", written.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_full_throttles_where_nobody_can_be_given_up() {
    let cluster = Cluster::start_with(&["--log-max-bytes=256KiB", "--on-log-full=lapse"]);
    let clients = cluster.clients();
    create(&clients, "Items", "pk:S", None, None).await;
    cluster.settled().await;
    cut_off(&cluster, AP).await;
    cluster.run(&["partition", US, EU]).await;
    // Each is alone: none is a majority.
    let (mut written, refused) = put_until_refused(&clients[0], "us").await;
    assert!(refused.starts_with("ThrottlingException: "), "{refused}");
    assert!(refused.contains("--log-max-bytes"), "{refused}");
    let full = shown(&cluster, US, "log_full").await;
    assert_eq!(full["stops"], true);
    // Two that hear each other give the third up, and write on.
    cluster.run(&["heal", US, EU]).await;
    let (more, refused) = put_until_refused(&clients[2], "ap").await;
    assert!(refused.starts_with("ThrottlingException: "), "{refused}");
    agreed(&cluster, &[US, EU], AP, "lapsed").await;
    wait_for("writes are taken again", async || {
        try_put(&clients[0], "after").await
    })
    .await;
    gone(&cluster, US, "log_full").await;
    written.push("after".to_owned());

    cluster.run(&["heal"]).await;
    agreed(&cluster, &REGIONS, AP, "active").await;
    cluster.settled().await;
    let kept = lost_keys(&cluster).await;
    for client in &clients {
        let found = keys(client).await;
        let lost: Vec<_> = written.iter().filter(|pk| !found.contains(*pk)).collect();
        assert!(lost.is_empty(), "{lost:?}");
        let kept = |pk: &&String| found.contains(*pk) || kept.contains(*pk);
        let lost: Vec<_> = more.iter().filter(|pk| !kept(pk)).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}
