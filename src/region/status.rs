//! What a region says of itself.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::backend::RegionBackend;
use super::clock::RegionClock;
use super::replicate::Peers;
use crate::api::RegionInfo;
use crate::clock::RegionId;
use crate::replica::mutation::{Frontier, GroupId, LogId};
use crate::replica::{conflict, log, read};
use crate::replication::PeerStatus;
use crate::store::{ReadTxn, Store, StoreError};
use crate::transport::{LinkStatus, Transport};

/// Where the answers come from.
pub(super) struct Status {
    pub info: RegionInfo,
    pub cluster: String,
    pub cluster_id: String,
    pub endpoint: String,
    pub gossip: String,
    pub admin: String,
    pub clock: RegionClock,
    pub store: Arc<dyn Store>,
    pub transport: Transport,
    pub peers: Peers,
    pub backend: Arc<RegionBackend>,
}

/// One link as `status` shows it.
#[derive(Debug, Serialize)]
pub(super) struct LinkReport {
    pub peer: String,
    /// Both sides have accepted each other.
    pub connected: bool,
    pub cut: &'static str,
    /// Injected, one way, on what this region sends.
    pub delay_ms: f64,
    /// Commits of this region that the peer has not acknowledged as durable.
    pub behind: u64,
    /// As commits experience it: injected delay included.
    pub rtt_ms: Option<f64>,
    pub last_heard_ms: Option<u64>,
    pub queued_bytes: usize,
}

impl Status {
    /// The whole report: GET /status.
    pub fn report(&self) -> Result<Value, StoreError> {
        let txn = self.store.begin_read()?;
        let now = self.clock.now();
        let frontier = log::frontier(&*txn)?;
        Ok(json!({
            "name": self.info.name,
            "id": self.info.id.0,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "cluster": {"name": self.cluster, "id": self.cluster_id},
            "endpoint": self.endpoint,
            "gossip": self.gossip,
            "admin": self.admin,
            "uptime_ms": now.mono_us / 1_000,
            "wall_us": now.wall_us,
            "frontier": self.frontier(&frontier),
            "logs": self.logs(&frontier),
            "links": self.links(),
            "tables": self.tables(&*txn)?,
            "conflicts": conflict::count(&*txn)?,
            "conflict_counts": self.conflict_counts(&*txn)?,
        }))
    }

    pub fn links(&self) -> Vec<LinkReport> {
        let now_us = self.clock.now().mono_us;
        let known: BTreeMap<RegionId, PeerStatus> = self
            .peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|peer| (peer.region, peer.clone()))
            .collect();
        let links = self.transport.links().into_iter();
        links
            .map(|link| {
                let peer = known.get(&link.peer);
                link_report(link, peer, now_us)
            })
            .collect()
    }

    /// Per origin, how many of its commits are applied here, all its logs together but those that no other
    /// region reads: they say nothing of what regions have of each other.
    fn frontier(&self, frontier: &Frontier) -> BTreeMap<String, u64> {
        let mut applied = BTreeMap::new();
        let shared = |log: &LogId| log.group.regions().count() > 1;
        for (log, seq) in frontier.iter().filter(|(log, _)| shared(log)) {
            *applied.entry(self.name(log.origin.region)).or_insert(0) += seq;
        }
        applied
    }

    fn logs(&self, frontier: &Frontier) -> Vec<Value> {
        let row = |(log, seq): (&LogId, &u64)| {
            json!({
                "origin": self.name(log.origin.region),
                "incarnation": log.origin.incarnation,
                "group": self.names(log.group),
                "seq": seq,
            })
        };
        frontier.iter().map(row).collect()
    }

    fn tables(&self, txn: &dyn ReadTxn) -> Result<Vec<Value>, StoreError> {
        let defs = read::tables(txn, self.info.id)?;
        defs.iter()
            .map(|def| {
                let counts = read::counts(txn, def)?;
                Ok(json!({
                    "name": def.name,
                    "items": counts.items,
                    "bytes": counts.bytes,
                    "replicas": self.names(def.group),
                }))
            })
            .collect()
    }

    fn names(&self, group: GroupId) -> Vec<String> {
        group.regions().map(|region| self.name(region)).collect()
    }

    /// The region's name, or its number when the topology no longer has it.
    pub fn name(&self, region: RegionId) -> String {
        match self.info.name_of(region) {
            Some(name) => name.to_string(),
            None => region.to_string(),
        }
    }
}

fn link_report(link: LinkStatus, peer: Option<&PeerStatus>, now_us: u64) -> LinkReport {
    LinkReport {
        peer: link.name,
        connected: link.connected && peer.is_some_and(|p| p.connected),
        cut: link.fault.cut.name(),
        delay_ms: millis(link.fault.delay),
        behind: peer.map_or(0, |p| p.behind),
        rtt_ms: peer
            .and_then(|p| p.rtt_us)
            .map(|us| millis(Duration::from_micros(us))),
        last_heard_ms: peer
            .and_then(|p| p.last_heard_us)
            .map(|at| now_us.saturating_sub(at) / 1_000),
        queued_bytes: link.queued_bytes,
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
