//! Five regions as real processes, and all that can be done to them.

pub mod load;
mod verdict;
mod weather;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Answer, Cluster, post, signal, wait_for};
use load::Load;
pub use verdict::Summary;
use weather::Weather;

pub const FLEET: [&str; 5] = [
    "us-east-1",
    "eu-west-1",
    "ap-northeast-1",
    "us-west-2",
    "sa-east-1",
];
const NAME: &str = "storm";
pub const TABLE: &str = "Storm";

/// Logs are dropped soon after all regions have them, so that whoever lost its data needs a copy; tables are
/// compared all the time, so that a divergence is found; and no lost version is forgotten.
const SETTINGS: [&str; 4] = [
    "--log-retention=1s",
    "--tombstone-retention=1s",
    "--anti-entropy=500ms",
    "--conflict-bytes=4GiB",
];

/// Runs one storm to its end: everything that went wrong is a panic.
pub async fn storm(seed: u64, length: Duration) -> Summary {
    let fleet = Fleet::start().await;
    let load = Load::start(&fleet, seed);
    let mut weather = Weather::new(seed);
    weather.rage(&fleet, &load, length).await;
    let ledger = load.end().await;
    let over = Instant::now();
    fleet.calm().await;
    verdict::judge(fleet, ledger, weather, over.elapsed()).await
}

/// The body of an answer that must be good.
#[track_caller]
fn good(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The running regions.
pub struct Fleet {
    pub cluster: Cluster,
}

impl Fleet {
    async fn start() -> Fleet {
        let folder = Arc::new(TempDir::new().expect("a folder"));
        let file = folder.path().join("storm.toml");
        let mut text = format!("[cluster]\nname = \"{NAME}\"\nreplicate = \"all\"\n");
        for (id, name) in FLEET.iter().enumerate() {
            text += &format!("\n[[region]]\nname = \"{name}\"\nid = {id}\n");
        }
        std::fs::write(&file, text).expect("written");
        let file = file.to_str().expect("plain");
        let cluster = Cluster::start_again(&folder, &[&[file], &SETTINGS[..]].concat());
        let fleet = Fleet { cluster };
        fleet.create().await;
        fleet
    }

    /// `127.0.0.1:PORT` of the region's own endpoint.
    pub fn address(&self, region: &str) -> &str {
        let endpoint = self.cluster.endpoints.get(region).expect("a region");
        endpoint.trim_start_matches("http://")
    }

    /// A table with an index of each kind: local, global and sparse, global of keys only.
    async fn create(&self) {
        let key = |hash: &str, range: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
        let index = |name: &str, keys: Value, projection: &str| json!({"IndexName": name, "KeySchema": keys, "Projection": {"ProjectionType": projection}});
        let attribute =
            |name: &str, kind: &str| json!({"AttributeName": name, "AttributeType": kind});
        let table = json!({
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": key("pk", "sk"),
            "AttributeDefinitions": [
                attribute("pk", "S"), attribute("sk", "S"), attribute("step", "N"),
                attribute("tag", "S"), attribute("v", "S"),
            ],
            "LocalSecondaryIndexes": [index("by_step", key("pk", "step"), "ALL")],
            "GlobalSecondaryIndexes": [
                index("by_tag", key("tag", "sk"), "ALL"),
                index("by_v", key("v", "pk"), "KEYS_ONLY"),
            ],
        });
        let first = FLEET[0];
        good(&post(self.address(first), first, "CreateTable", table.to_string()).await);
        for region in FLEET {
            wait_for("the table is everywhere", async || {
                let asked = json!({ "TableName": TABLE }).to_string();
                let answer = post(self.address(region), region, "DescribeTable", asked).await;
                match answer.status {
                    200 if answer.json()["Table"]["TableStatus"] == "ACTIVE" => Ok(()),
                    _ => Err(format!("{answer:?}")),
                }
            })
            .await;
        }
    }

    /// Where the region keeps everything.
    pub fn folder(&self, region: &str) -> PathBuf {
        self.cluster.data.path().join(NAME).join(region)
    }

    /// Tries until every region has heard of it.
    pub async fn heal(&self) {
        wait_for("everything is healed", async || {
            let healed = self.cluster.try_run(&["heal"]).await;
            match healed.code {
                Some(0) => Ok(()),
                _ => Err(healed.stderr),
            }
        })
        .await;
    }

    /// No fault any more, and everything everywhere.
    async fn calm(&self) {
        self.heal().await;
        self.whole().await;
        self.cluster.settled().await;
    }

    /// Waits until every region says that it lacks nothing.
    pub async fn whole(&self) {
        wait_for("every region is whole", async || {
            let status = self.cluster.status().await;
            match status.values().find(|region| region["whole"] != true) {
                None => Ok(()),
                Some(region) => Err(region.to_string()),
            }
        })
        .await;
    }

    /// Waits until another region has all that `region` has made.
    pub async fn is_known(&self, region: &str) {
        wait_for("another region has all that it made", async || {
            let status = self.cluster.status().await;
            let made = |at: &Value| at["frontier"][region].as_u64();
            let own = status.get(region).and_then(made);
            let others = status.iter().filter(|(name, _)| *name != region);
            let known = others.filter_map(|(_, at)| made(at)).max();
            match own.is_some() && known >= own {
                true => Ok(()),
                false => Err(format!("{known:?} of {own:?}")),
            }
        })
        .await;
    }

    /// Stops the region, lets `change` touch its store's folder, and kills it; it comes back by itself.
    pub async fn swap(&self, region: &str, change: impl FnOnce(&Path)) {
        let pid = self.cluster.pid(region).await;
        signal(pid, "STOP");
        change(&self.folder(region).join("store"));
        signal(pid, "KILL");
        self.cluster.back(region, pid).await;
    }
}
