//! Finds a running cluster and its regions' admin ports.

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CliError, ClusterArgs, client};
use crate::config::Topology;

/// Where the front door tells of its cluster; never a DynamoDB path.
pub const CLUSTER_PATH: &str = "/_meridian/cluster";

/// One region as the front door knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    /// `None` while the region is down.
    pub pid: Option<u32>,
    pub endpoint: String,
    /// `None` while the region is down.
    pub admin: Option<String>,
}

/// A running cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub name: String,
    pub regions: Vec<Member>,
}

impl Cluster {
    pub async fn find(args: &ClusterArgs) -> Result<Cluster, CliError> {
        match &args.topology {
            Some(path) => Ok(Self::of(&Topology::load(path)?)),
            None => Self::at(&format!("127.0.0.1:{}", args.port)).await,
        }
    }

    /// The cluster whose front door is at `address`.
    pub async fn at(address: &str) -> Result<Cluster, CliError> {
        let no_cluster = |reason: String| CliError::NoCluster {
            address: address.to_owned(),
            reason,
        };
        let answer = client::call(address, Method::GET, CLUSTER_PATH, None)
            .await
            .map_err(no_cluster)?;
        serde_json::from_value(answer)
            .map_err(|e| no_cluster(format!("it is not a front door of meridian ({e})")))
    }

    /// The cluster as its topology has it.
    pub fn of(topology: &Topology) -> Cluster {
        let member = |region: &crate::config::RegionSpec| Member {
            name: region.name.clone(),
            pid: None,
            endpoint: region
                .endpoint
                .as_ref()
                .map(|a| format!("http://{a}"))
                .unwrap_or_default(),
            admin: region.admin.clone(),
        };
        Cluster {
            name: topology.name.clone(),
            regions: topology.regions.iter().map(member).collect(),
        }
    }

    pub fn member(&self, name: &str) -> Result<&Member, CliError> {
        self.regions
            .iter()
            .find(|m| m.name == name)
            .ok_or_else(|| CliError::UnknownRegion {
                name: name.to_owned(),
                known: self
                    .regions
                    .iter()
                    .map(|m| m.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

impl Member {
    /// Asks this region's admin port; a refusal is an answer.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), CliError> {
        let admin = self.admin()?;
        client::ask(admin, method, path, body)
            .await
            .map_err(|reason| self.no_answer(admin, reason))
    }

    fn no_answer(&self, address: &str, reason: String) -> CliError {
        CliError::NoAnswer {
            region: self.name.clone(),
            address: address.to_owned(),
            reason,
        }
    }

    fn admin(&self) -> Result<&str, CliError> {
        self.admin.as_deref().ok_or_else(|| {
            let reason = "the region is down or has no admin address";
            self.no_answer("its admin port", reason.into())
        })
    }

    /// Asks this region's admin port.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        let admin = self.admin()?;
        client::call(admin, method, path, body)
            .await
            .map_err(|reason| self.no_answer(admin, reason))
    }
}
