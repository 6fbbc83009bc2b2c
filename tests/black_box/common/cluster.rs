//! A cluster started by `meridian up`, and clients for its regions.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use serde_json::Value;
use tempfile::TempDir;

use super::{Finished, Process, admin, free_ports, meridian, signal, wait_for};

pub const US: &str = "us-east-1";
pub const EU: &str = "eu-west-1";
pub const AP: &str = "ap-northeast-1";
pub const REGIONS: [&str; 3] = [US, EU, AP];

/// A running `meridian up`.
pub struct Cluster {
    pub process: Process,
    pub data: Arc<TempDir>,
    /// Of the front door.
    pub port: u16,
    /// By region, as printed.
    pub endpoints: BTreeMap<String, String>,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

impl Cluster {
    /// The built-in three regions, in a folder of their own.
    pub fn start() -> Cluster {
        Cluster::start_in(&Arc::new(TempDir::new().expect("a folder")), None)
    }

    /// The built-in three regions with more arguments to `up`.
    pub fn start_with(args: &[&str]) -> Cluster {
        let data = Arc::new(TempDir::new().expect("a folder"));
        Cluster::launch(&data, args.iter().map(OsString::from).collect())
    }

    /// On a folder that may have been used before.
    pub fn start_in(data: &Arc<TempDir>, topology: Option<&Path>) -> Cluster {
        Cluster::launch(data, topology.map(OsString::from).into_iter().collect())
    }

    /// On a folder that was used before, with more arguments to `up`.
    pub fn start_again(data: &Arc<TempDir>, args: &[&str]) -> Cluster {
        Cluster::launch(data, args.iter().map(OsString::from).collect())
    }

    fn launch(data: &Arc<TempDir>, more: Vec<OsString>) -> Cluster {
        let mut args: Vec<OsString> = vec!["up".into()];
        args.extend(more);
        let port = free_ports().to_string();
        args.extend(["--port".into(), port.into(), "--data".into()]);
        args.push(data.path().into());
        let process = Process::spawn(&args);
        let first = process.line();
        let port = first.rsplit(':').next().and_then(|port| port.parse().ok());
        let mut cluster = Cluster {
            process,
            data: Arc::clone(data),
            port: port.unwrap_or_else(|| panic!("no front door in '{first}'")),
            endpoints: BTreeMap::new(),
        };
        assert!(first.starts_with("cluster "), "'{first}'");
        loop {
            let line = cluster.process.line();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["ready"] => return cluster,
                [name, endpoint] if endpoint.starts_with("http://") => {
                    let known = cluster.endpoints.insert((*name).into(), (*endpoint).into());
                    assert_eq!(known, None, "{name} is listed twice");
                }
                _ => panic!("'{line}' is no region and not ready"),
            }
        }
    }

    /// One cluster for tests that do not break it; stopped when the last of them ends.
    pub fn shared() -> Arc<Cluster> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Cluster::start());
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// Stops it and gives its folder back.
    pub fn stop(mut self) -> Arc<TempDir> {
        let status = self.process.stop();
        assert!(status.success(), "{status}:\n{}", self.process.log());
        Arc::clone(&self.data)
    }

    /// A client whose requests are signed for `region`, through the front door.
    pub fn client(&self, region: &str) -> Client {
        client_of(region, &format!("http://127.0.0.1:{}", self.port))
    }

    /// One client for each of [`REGIONS`].
    pub fn clients(&self) -> [Client; 3] {
        REGIONS.map(|region| self.client(region))
    }

    /// `127.0.0.1:PORT` of the front door.
    pub fn front(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs a command on this cluster; it must succeed.
    pub async fn run(&self, args: &[&str]) -> Finished {
        self.try_run(args).await.success()
    }

    pub async fn try_run(&self, args: &[&str]) -> Finished {
        let port = self.port.to_string();
        meridian(&[args, &["--port", &port]].concat()).await
    }

    /// Runs a command with `--json`.
    pub async fn json(&self, args: &[&str]) -> Value {
        let finished = self.run(&[args, &["--json"]].concat()).await;
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
    }

    /// What `status --json` says of each region.
    pub async fn status(&self) -> BTreeMap<String, Value> {
        let mut status = self.json(&["status"]).await;
        let Value::Array(regions) = status["regions"].take() else {
            panic!("no regions in {status}");
        };
        let named = |region: Value| (region["name"].as_str().expect("a name").to_owned(), region);
        regions.into_iter().map(named).collect()
    }

    /// The versions of a table's items that the region has seen lose a race, as images.
    pub async fn losers(&self, region: &str, table: &str) -> Vec<Value> {
        let status = self.status().await;
        let address = status[region]["admin"].as_str().expect("it runs");
        let (mut after, mut losers) = (0, Vec::new());
        loop {
            let path = format!("/conflicts?limit=1000&after={after}&table={table}");
            let page = admin(address, hyper::Method::GET, &path, "").await.json();
            let list = page["conflicts"].as_array().expect("a list");
            losers.extend(list.iter().map(|c| c["loser"]["item"].clone()));
            let numbers = list.iter().filter_map(|c| c["number"].as_u64());
            match numbers.max() {
                Some(last) => after = last,
                None => return losers,
            }
        }
    }

    /// The region's process, once it has one.
    pub async fn pid(&self, region: &str) -> u32 {
        wait_for("the region has a process", async || {
            let status = self.status().await.remove(region);
            let pid = status.as_ref().and_then(|s| s["pid"].as_u64());
            let pid = pid.and_then(|pid| u32::try_from(pid).ok());
            pid.ok_or_else(|| format!("{status:?}"))
        })
        .await
    }

    /// Kills a region the hard way; gives the pid it had.
    pub async fn kill(&self, region: &str) -> u32 {
        let pid = self.pid(region).await;
        signal(pid, "KILL");
        pid
    }

    /// Waits until the region runs again in another process and answers.
    pub async fn back(&self, region: &str, old_pid: u32) {
        wait_for("the region is back", async || {
            let status = self.status().await.remove(region).unwrap_or_default();
            match status["pid"].as_u64() {
                Some(pid) if pid != u64::from(old_pid) && status.get("error").is_none() => Ok(()),
                _ => Err(status.to_string()),
            }
        })
        .await;
    }

    /// Waits until every region has applied the same commits and every link is up.
    pub async fn settled(&self) {
        wait_for("all regions have applied the same", async || {
            let status = self.status().await;
            let frontiers: Vec<&Value> = status.values().map(|r| &r["frontier"]).collect();
            let same = frontiers.windows(2).all(|pair| pair[0] == pair[1]);
            let mut links = status
                .values()
                .flat_map(|r| r["links"].as_array().cloned().unwrap_or_default());
            let up = links.all(|link| link["connected"] == true && link["behind"] == 0);
            if same && up {
                Ok(())
            } else {
                Err(format!("{status:#?}"))
            }
        })
        .await;
    }
}

/// A client for one region at `endpoint`: fixed credentials, no retries, and never waiting for ever.
pub fn client_of(region: &str, endpoint: &str) -> Client {
    let timeouts = TimeoutConfig::builder()
        .operation_timeout(Duration::from_secs(20))
        .build();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("AKID", "SECRET", None, None, "tests"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .build();
    Client::from_conf(config)
}
