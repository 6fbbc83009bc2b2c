//! What a region says of itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::backend::RegionBackend;
use super::certificate::Certificate;
use super::change::{Ask, Pursued};
use super::clock::RegionClock;
use super::gate::Gate;
use super::lag::{self, Lag};
use super::links::{Down, Downs};
use super::membership;
use super::replicate::{Clocks, Members, Peers};
use super::silence::Quiet;
use crate::api::RegionInfo;
use crate::clock::RegionId;
use crate::config::Topology;
use crate::replica::manifest::Manifest;
use crate::replica::mutation::{Frontier, GroupId, LogId};
use crate::replica::{buckets, conflict, log, read, stable};
use crate::replication::{PeerStatus, Traffic};
use crate::store::{ReadTxn, Store, StoreError};
use crate::telemetry::Metrics;
use crate::transport::{LinkStatus, Refusal, Transport, now_s};

/// Where the answers come from.
pub(super) struct Status {
    pub info: RegionInfo,
    pub cluster: String,
    pub cluster_id: [u8; 16],
    pub endpoint: String,
    pub gossip: String,
    pub admin: String,
    pub clock: RegionClock,
    pub store: Arc<dyn Store>,
    pub transport: Transport,
    pub peers: Peers,
    pub downs: Arc<Downs>,
    pub gate: Arc<Gate>,
    pub stable_us: Arc<AtomicU64>,
    pub metrics: Arc<Metrics>,
    pub certificate: Certificate,
    pub clocks: Clocks,
    pub members: Members,
    pub topology: Topology,
    /// Changes of the members that replication is asked for.
    pub asks: mpsc::UnboundedSender<Ask>,
    pub pursued: Arc<Mutex<Pursued>>,
    pub max_offset_ms: u64,
    pub backend: Arc<RegionBackend>,
    pub quiet: Arc<Quiet>,
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
    /// How long ago the first of them was made.
    pub behind_s: f64,
    pub behind_bytes: u64,
    /// As commits experience it: injected delay included.
    pub rtt_ms: Option<f64>,
    /// How far the peer's clock is ahead of this region's, and how wrong that may be.
    pub offset_ms: Option<f64>,
    pub offset_error_ms: Option<f64>,
    pub last_heard_ms: Option<u64>,
    pub queued_bytes: usize,
    /// Why the newest commits that the peer sent were not taken.
    pub refused_commits: Option<String>,
    /// Why one side refused the other, while they are not connected.
    pub refusal: Option<RefusalReport>,
    /// Since when and why they are not connected.
    pub down: Option<Down>,
    pub traffic: Traffic,
}

/// A refusal as `status` shows it.
#[derive(Debug, Serialize)]
pub(super) struct RefusalReport {
    pub reason: String,
    pub ago_ms: u128,
}

impl RefusalReport {
    fn of(refusal: Refusal) -> Self {
        RefusalReport {
            ago_ms: refusal.at.elapsed().as_millis(),
            reason: refusal.reason,
        }
    }
}

impl Status {
    /// The whole report: GET /status.
    pub fn report(&self) -> Result<Value, StoreError> {
        let txn = self.store.begin_read()?;
        let now = self.clock.now();
        let frontier = log::frontier(&*txn)?;
        let rebuilding = self.gate.reason();
        let members = self
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let links = self.links(&*txn)?;
        let notices = self.notices(&*txn, &links)?;
        Ok(json!({
            "name": self.info.name,
            "id": self.info.id.0,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "cluster": {"name": self.cluster, "id": self.cluster_id_hex()},
            "epoch": members.epoch,
            "members": membership::report(&members),
            "endpoint": self.endpoint,
            "gossip": self.gossip,
            "admin": self.admin,
            "uptime_ms": now.mono_us / 1_000,
            "wall_us": now.wall_us,
            "whole": rebuilding.is_none(),
            "rebuilding": rebuilding,
            "clock": self.clock_report(),
            "silent": self.silent_report(),
            "rescued": self.rescued_report(&*txn)?,
            "members_trouble": self.quiet.trouble(),
            "self_fence": self.self_fence_report(),
            "repairs": repairs(&*txn)?,
            "frontier": self.frontier(&frontier),
            "logs": self.logs(&*txn, &frontier)?,
            "links": links,
            "tables": self.tables(&*txn)?,
            "conflicts": conflict::count(&*txn)?,
            "conflict_counts": self.conflict_counts(&*txn)?,
            "backlog_bytes": links.iter().map(|link| link.behind_bytes).sum::<u64>(),
            "tombstones": stable::waiting(&*txn)?,
            "stable_lag_ms": self.stable_lag().map(|lag| lag.as_millis()),
            "store": self.store.usage()?.map(|usage| json!({
                "map_bytes": usage.map_bytes,
                "used_bytes": usage.used_bytes,
                "free_bytes": usage.free_bytes,
            })),
            "serving": !notices.iter().any(|notice| notice.stops),
            "certificate": self.certificate.report(now_s()),
            "strangers": self.transport.stranger().map(RefusalReport::of),
            "notices": notices,
        }))
    }

    /// Who the members are.
    pub fn manifest(&self) -> Arc<Manifest> {
        let members = self.members.lock();
        members.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far changes of the members are.
    pub fn pursued(&self) -> Pursued {
        let pursued = self.pursued.lock();
        pursued.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn cluster_id_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.cluster_id))
    }

    pub fn links(&self, txn: &dyn ReadTxn) -> Result<Vec<LinkReport>, StoreError> {
        let now = self.clock.now();
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
                let refused_commits = self.backend.queue.refused(link.peer);
                let lag = lag::of(txn, self.info.id, link.peer, peer, now.wall_us)?;
                Ok(LinkReport {
                    refused_commits,
                    down: self.downs.of(now, link.peer),
                    ..link_report(link, peer, lag, now.mono_us)
                })
            })
            .collect()
    }

    /// How long ago the newest moment was of which every region has everything.
    pub fn stable_lag(&self) -> Option<Duration> {
        match self.stable_us.load(Ordering::Relaxed) {
            0 => None,
            us => Some(Duration::from_micros(
                self.clock.now().wall_us.saturating_sub(us),
            )),
        }
    }

    /// Per origin, how many of its commits are applied here, all its logs together but those that no other
    /// region reads: they say nothing of what regions have of each other.
    pub fn frontier(&self, frontier: &Frontier) -> BTreeMap<String, u64> {
        let mut applied = BTreeMap::new();
        let shared = |log: &LogId| log.group.regions().count() > 1;
        for (log, seq) in frontier.iter().filter(|(log, _)| shared(log)) {
            *applied.entry(self.name(log.origin.region)).or_insert(0) += seq;
        }
        applied
    }

    fn logs(&self, txn: &dyn ReadTxn, frontier: &Frontier) -> Result<Vec<Value>, StoreError> {
        let row = |(log, seq): (&LogId, &u64)| {
            let start = stable::log_start(txn, *log)?;
            Ok(json!({
                "origin": self.name(log.origin.region),
                "incarnation": log.origin.incarnation,
                "group": self.names(log.group),
                "seq": seq,
                "held": (seq + 1).saturating_sub(start),
            }))
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

/// What anti-entropy found: any number but 0 is a bug or a bad disk.
fn repairs(txn: &dyn ReadTxn) -> Result<Value, StoreError> {
    let found = buckets::repairs(txn)?;
    Ok(json!({
        "repaired": found.repaired,
        "reported": found.reported,
        "suspects": found.suspects,
    }))
}

fn link_report(link: LinkStatus, peer: Option<&PeerStatus>, lag: Lag, now_us: u64) -> LinkReport {
    let offset = peer.and_then(|p| p.offset);
    LinkReport {
        peer: link.name,
        connected: link.connected && peer.is_some_and(|p| p.connected),
        cut: link.fault.cut.name(),
        delay_ms: millis(link.fault.delay),
        behind: peer.map_or(0, |p| p.behind),
        behind_s: lag.seconds,
        behind_bytes: lag.bytes,
        rtt_ms: peer
            .and_then(|p| p.rtt_us)
            .map(|us| millis(Duration::from_micros(us))),
        offset_ms: offset.map(|o| signed_millis(o.offset_us)),
        offset_error_ms: offset.map(|o| millis(Duration::from_micros(o.error_us))),
        last_heard_ms: peer
            .and_then(|p| p.last_heard_us)
            .map(|at| now_us.saturating_sub(at) / 1_000),
        queued_bytes: link.queued_bytes,
        refused_commits: None,
        refusal: link.refusal.map(RefusalReport::of),
        down: None,
        traffic: peer.map(|p| p.traffic).unwrap_or_default(),
    }
}

fn signed_millis(us: i64) -> f64 {
    let size = millis(Duration::from_micros(us.unsigned_abs()));
    if us < 0 { -size } else { size }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
