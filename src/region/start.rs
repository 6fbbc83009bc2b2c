//! Puts a region together, and takes it apart.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backend::RegionBackend;
use super::certificate::{self, Certificate};
use super::change::Pursued;
use super::clock::{RegionClock, micros};
use super::full_disk::FullDisk;
use super::gate::Gate;
use super::links::Downs;
use super::queue::Queue;
use super::replicate::{Clocks, Members, Peers, Replication};
use super::silence::{ALARM_AFTER, Quiet};
use super::status::Status;
use super::writer::Writer;
use super::{RegionError, admin, guard, membership};
use crate::api::{self, Backend, Keys, RegionInfo, Regions, Throttle};
use crate::clock::RegionId;
use crate::clock::policy::Verdict;
use crate::config::{Compression, RegionSpec, Topology};
use crate::replica::conflict;
use crate::replica::manifest::Manifest;
use crate::replica::silence::{self, Silences};
use crate::replica::stable::Retention;
use crate::replica::ttl::TtlSettings;
use crate::replica::vote::{self, MemberVote};
use crate::replica::{Replica, ReplicaConfig, snapshot, wipe};
use crate::replication::{
    ANTI_ENTROPY_US, Lacks, NEWBORN_US, OnLogFull, PART_BYTES_MAX, Replicator, ReplicatorConfig,
    SilenceLimits,
};
use crate::store::Store;
use crate::store::lmdb::{LmdbOptions, LmdbStore};
use crate::store::mem::MemStore;
use crate::telemetry::Metrics;
use crate::transport::{Identity, Transport, TransportConfig};

/// The account in every ARN.
const ACCOUNT: &str = "000000000000";
/// The folder of the store, inside a region's data folder.
const STORE_FOLDER: &str = "store";
/// Between two looks at whether clients are served yet.
const SETTLE_POLL: Duration = Duration::from_millis(10);
/// The folder of certificates there, unless another is named.
const CERTS_FOLDER: &str = "certs";

/// Where a region's certificate comes from.
#[derive(Clone, Debug)]
pub enum IdentitySource {
    /// A folder of PEM files; what is missing is minted (see [`Identity::ensure`]).
    Folder(PathBuf),
    /// A folder of PEM files from the cluster's authority; nothing is minted.
    Issued(PathBuf),
    Ready(Identity),
}

/// What an operator may set of one region (the command line's `--ttl-interval` and so on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Between two looks for items whose Time To Live has passed.
    pub ttl_interval: Duration,
    /// For how long a table's Time To Live cannot be changed again.
    pub ttl_cool_down: Duration,
    /// How long tables show CREATING, UPDATING and DELETING.
    pub table_delay: Duration,
    /// How long commits stay in the log once all regions have them.
    pub log_retention: Duration,
    /// How long deletions are remembered once all regions have them.
    pub tombstone_retention: Duration,
    /// A replica that was lately the source of another cannot go (global-tables.md section 3.1).
    pub aws_waits: bool,
    /// Between two comparisons of everything with one other region.
    pub anti_entropy: Duration,
    /// Added to this region's wall clock, milliseconds: only for tests of what a wrong clock does.
    pub clock_offset_ms: i64,
    /// For how long conflicts are kept.
    pub conflict_keep: Duration,
    /// How many bytes of one table's conflicts are kept.
    pub conflict_bytes: u64,
    /// How long a region may be silent before it is a warning.
    pub alarm_after: Duration,
    /// How long a region may be silent before the others give it up.
    pub dead_after: Duration,
    /// Whether a region that reaches no majority for half of that takes no writes.
    pub self_fence: bool,
    /// What is compressed, where it is not to be what the topology says.
    pub compression: Option<Compression>,
    /// The most that the log may take for regions that are silent.
    pub log_bytes_max: Option<u64>,
    pub on_log_full: OnLogFull,
}

impl Default for Tuning {
    fn default() -> Self {
        let (ttl, kept) = (TtlSettings::default(), Retention::default());
        let conflicts = conflict::Retention::default();
        let silence = SilenceLimits::default();
        Tuning {
            ttl_interval: Duration::from_micros(ttl.interval_us),
            ttl_cool_down: Duration::from_micros(ttl.cool_down_us),
            table_delay: Duration::ZERO,
            log_retention: Duration::from_micros(kept.log_us),
            tombstone_retention: Duration::from_micros(kept.tombstones_us),
            aws_waits: false,
            anti_entropy: Duration::from_micros(ANTI_ENTROPY_US),
            clock_offset_ms: 0,
            conflict_keep: Duration::from_micros(conflicts.keep_us),
            conflict_bytes: conflicts.table_bytes,
            alarm_after: ALARM_AFTER,
            dead_after: Duration::from_micros(silence.dead_after_us),
            self_fence: silence.self_fence,
            compression: None,
            log_bytes_max: silence.log_bytes_max,
            on_log_full: silence.on_log_full,
        }
    }
}

/// What [`Region::start`] needs. Listeners are bound by the caller, who knows which ports are free.
#[derive(Debug)]
pub struct RegionConfig {
    pub topology: Topology,
    /// The name of the region to run.
    pub region: String,
    /// `None` keeps everything in memory.
    pub data: Option<PathBuf>,
    /// `None` = the folder `certs` in `data`.
    pub identity: Option<IdentitySource>,
    /// Who may call.
    pub keys: Keys,
    pub tuning: Tuning,
    /// Clients.
    pub client: TcpListener,
    /// `status` and faults.
    pub admin: TcpListener,
    /// The other regions.
    pub gossip: UdpSocket,
    /// The topology's addresses stay. Where regions are placed anew at every start (`up`), they do not.
    pub pins_addresses: bool,
}

/// A running region.
pub struct Region {
    pub(super) status: Arc<Status>,
    backend: Arc<RegionBackend>,
    transport: Transport,
    queue: Arc<Queue>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    writer: Option<JoinHandle<()>>,
}

impl Region {
    /// Opens the store, joins the other regions and serves clients. Must be called within a tokio runtime.
    pub async fn start(config: RegionConfig) -> Result<Region, RegionError> {
        let spec = region_spec(&config.topology, &config.region)?;
        let clock = RegionClock::start(config.tuning.clock_offset_ms.saturating_mul(1_000));
        let (identity, folder) = identity(&config)?;
        let certificate = Certificate::new(&identity, folder);
        let store = open_store(&config)?;
        guard::admit(&*store, &config.topology.cluster_id, &spec.name, spec.id)?;
        let founding = membership::founding(&config.topology, config.pins_addresses);
        let replica_config = replica_config(&config.topology, &spec, founding, config.tuning);
        let replica = Replica::open(
            Arc::clone(&store),
            replica_config,
            clock.now(),
            fastrand::u32(..),
        )?;
        for difference in membership::compare(replica.manifest(), &config.topology)? {
            warn!("{difference}");
        }
        let info = region_info(&spec, replica.manifest());
        let members: Members = Arc::new(Mutex::new(Arc::clone(replica.manifest())));
        let lacks = lacks(&*store, &replica)?;
        let silences = silence::silences(&*store.begin_read()?)?;
        let known = (lacks, silences, vote::stored(&*store.begin_read()?)?);
        let replicator = replicator(&config.topology, &info, &replica, known, config.tuning);
        let gate = Arc::new(Gate::new(replicator.closed()));
        let (asks, asked) = mpsc::unbounded_channel();
        let pursued = Arc::new(Mutex::new(Pursued::default()));
        let mut others = config.topology.regions.iter().filter(|r| r.id != spec.id);
        if let Some(other) = others.find(|r| r.gossip.is_none()) {
            let region = other.name.clone();
            return Err(RegionError::NoGossipAddress { region });
        }
        let peers = membership::peers(replica.manifest(), &config.topology, info.id);
        let (transport, events) = Transport::start(TransportConfig {
            region: info.id,
            cluster_id: config.topology.cluster_id,
            identity,
            socket: config.gossip,
            peers,
        })?;
        let known = Peers::default();
        let downs = Arc::new(Downs::default());
        let stable_us = Arc::new(AtomicU64::new(0));
        let metrics = Arc::new(Metrics::default());
        let clocks = Clocks::default();
        let quiet = Arc::new(Quiet::new(config.tuning));
        let queue = Arc::new(Queue::default());
        let (visible_tx, visible) = watch::channel(replica.frontier().clone());
        let backend = Arc::new(RegionBackend {
            info: info.clone(),
            keys: config.keys,
            store: Arc::clone(&store),
            queue: Arc::clone(&queue),
            gate: Arc::clone(&gate),
            throttle: config.topology.throttle.then(Throttle::default),
            metrics: Arc::clone(&metrics),
            clock,
            table_delay_us: micros(config.tuning.table_delay),
            visible,
        });
        let status = Arc::new(Status {
            info: info.clone(),
            cluster: config.topology.name.clone(),
            cluster_id: config.topology.cluster_id,
            endpoint: format!("http://{}", config.client.local_addr()?),
            gossip: transport.local_addr()?.to_string(),
            admin: config.admin.local_addr()?.to_string(),
            clock,
            store: Arc::clone(&store),
            transport: transport.clone(),
            peers: Arc::clone(&known),
            downs: Arc::clone(&downs),
            gate: Arc::clone(&gate),
            stable_us: Arc::clone(&stable_us),
            metrics: Arc::clone(&metrics),
            certificate,
            clocks: Arc::clone(&clocks),
            members: Arc::clone(&members),
            topology: config.topology.clone(),
            asks,
            pursued: Arc::clone(&pursued),
            max_offset_ms: config.topology.max_offset_ms,
            backend: Arc::clone(&backend),
            quiet: Arc::clone(&quiet),
        });
        let (news, inbox) = mpsc::unbounded_channel();
        let writer = Writer {
            store: Arc::clone(&store),
            replica,
            clock,
            queue: Arc::clone(&queue),
            news,
            metrics: Arc::clone(&metrics),
            info: info.clone(),
            visible: visible_tx,
            full: FullDisk::default(),
        };
        let writer = std::thread::Builder::new()
            .name("writer".to_string())
            .spawn(move || writer.run())?;
        let replication = Replication {
            replicator,
            store,
            clock,
            queue: Arc::clone(&queue),
            transport: transport.clone(),
            events,
            news: inbox,
            peers: known,
            downs,
            metrics,
            applying: BTreeMap::new(),
            gate,
            stable_us,
            clocks,
            members,
            asks: asked,
            pursued,
            told: Verdict::Unknown,
            info,
            quiet,
            topology: config.topology,
        };
        let region = Region {
            shutdown: CancellationToken::new(),
            tasks: JoinSet::new(),
            writer: Some(writer),
            status,
            backend,
            transport,
            queue,
        };
        Ok(region.serve(replication, config.client, config.admin))
    }

    fn serve(mut self, replication: Replication, client: TcpListener, admin: TcpListener) -> Self {
        let stop = || self.shutdown.clone();
        let backend: Arc<dyn Backend> = self.backend.clone();
        let status = Arc::clone(&self.status);
        self.tasks.spawn(replication.run(stop()));
        self.tasks
            .spawn(api::serve(client, backend, api::Limits::default(), stop()));
        self.tasks
            .spawn(certificate::watch(Arc::clone(&status), stop()));
        self.tasks.spawn(admin::serve(admin, status, stop()));
        info!(
            region = self.status.info.name,
            endpoint = self.status.endpoint,
            gossip = self.status.gossip,
            admin = self.status.admin,
            "serving"
        );
        self
    }

    /// What the API is served from; for tests and tools in the same process.
    pub fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone()
    }

    /// The links, for faults on demand.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Where clients reach this region, as bound: a URL.
    pub fn endpoint(&self) -> &str {
        &self.status.endpoint
    }

    /// Where the admin API answers, as bound.
    pub fn admin(&self) -> &str {
        &self.status.admin
    }

    /// Waits until clients are served, but not for long where a rebuilding takes long: the first thing that
    /// a new data folder does is to hear from the others, which takes a moment. Nor where it is no member yet.
    pub async fn settled(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_micros(2 * NEWBORN_US);
        let waits = || self.status.gate.reason().is_some() && !self.transport.is_unknown();
        while waits() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    /// What GET /status answers.
    pub fn status(&self) -> Result<serde_json::Value, RegionError> {
        Ok(self.status.report()?)
    }

    /// The line that `meridian serve` prints once it serves, for whoever started it.
    pub fn ready(&self) -> serde_json::Value {
        serde_json::json!({"ready": {
            "region": self.status.info.name,
            "endpoint": self.status.endpoint,
            "gossip": self.status.gossip,
            "admin": self.status.admin,
            "pid": std::process::id(),
        }})
    }

    /// Ends everything in order: requests in flight finish, links close, the writer drains.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.transport.close().await;
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            // The writer aborts the process rather than panic, so there is nothing to hear.
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
        info!(region = self.status.info.name, "stopped");
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.queue.close();
    }
}

fn region_spec(topology: &Topology, name: &str) -> Result<RegionSpec, RegionError> {
    topology.region(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = topology.regions.iter().map(|r| r.name.as_str()).collect();
        RegionError::UnknownRegion {
            region: name.to_string(),
            cluster: topology.name.clone(),
            known: known.join(", "),
        }
    })
}

fn region_info(spec: &RegionSpec, manifest: &Manifest) -> RegionInfo {
    RegionInfo {
        name: spec.name.clone(),
        id: RegionId(spec.id),
        account: ACCOUNT.to_string(),
        topology: Regions::new(membership::names(manifest)),
    }
}

fn replica_config(
    topology: &Topology,
    spec: &RegionSpec,
    manifest: Manifest,
    tuning: Tuning,
) -> ReplicaConfig {
    ReplicaConfig {
        region: RegionId(spec.id),
        region_name: spec.name.clone(),
        manifest,
        replicate_all: topology.replicate_all,
        retention: Retention {
            log_us: micros(tuning.log_retention),
            tombstones_us: micros(tuning.tombstone_retention),
            ..Retention::default()
        },
        ttl: TtlSettings {
            interval_us: micros(tuning.ttl_interval),
            cool_down_us: micros(tuning.ttl_cool_down),
            ..TtlSettings::default()
        },
        table_delay_us: micros(tuning.table_delay),
        aws_waits: tuning.aws_waits,
        conflicts: conflict::Retention {
            keep_us: micros(tuning.conflict_keep),
            table_bytes: tuning.conflict_bytes,
        },
        planted: None,
        limits: Default::default(),
    }
}

fn lacks(store: &dyn Store, replica: &Replica) -> Result<Lacks, RegionError> {
    Ok(Lacks {
        newborn: replica.is_newborn()?,
        joining: snapshot::joining(&*store.begin_read()?)?,
        wiping: wipe::wiping(&*store.begin_read()?)?.is_some(),
    })
}

fn replicator(
    topology: &Topology,
    info: &RegionInfo,
    replica: &Replica,
    (lacks, silences, vote): (Lacks, Silences, Option<MemberVote>),
    tuning: Tuning,
) -> Replicator {
    let config = ReplicatorConfig {
        region: info.id,
        region_name: info.name.clone(),
        manifest: Arc::clone(replica.manifest()),
        replicate_all: topology.replicate_all,
        origin: replica.origin(),
        lacks,
        part_bytes_max: PART_BYTES_MAX,
        max_offset_us: topology.max_offset_ms.saturating_mul(1_000),
        anti_entropy_us: micros(tuning.anti_entropy),
        silences,
        limits: SilenceLimits {
            dead_after_us: micros(tuning.dead_after),
            self_fence: tuning.self_fence,
            log_bytes_max: tuning.log_bytes_max,
            on_log_full: tuning.on_log_full,
        },
        compression: tuning.compression.unwrap_or(topology.compression),
        vote,
        planted: None,
    };
    Replicator::new(config, replica.frontier().clone())
}

/// The region's identity, and the folder that it came from.
fn identity(config: &RegionConfig) -> Result<(Identity, Option<PathBuf>), RegionError> {
    let (cluster_id, region) = (&config.topology.cluster_id, &config.region);
    let folder = match (&config.identity, &config.data) {
        (Some(IdentitySource::Ready(identity)), _) => return Ok((identity.clone(), None)),
        (Some(IdentitySource::Issued(folder)), _) => {
            let identity = Identity::load(folder, cluster_id, region)?;
            return Ok((identity, Some(folder.clone())));
        }
        (Some(IdentitySource::Folder(folder)), _) => folder.clone(),
        (None, Some(data)) => data.join(CERTS_FOLDER),
        (None, None) => return Err(RegionError::NoIdentity),
    };
    let identity = Identity::ensure(&folder, cluster_id, region)?;
    Ok((identity, Some(folder)))
}

fn open_store(config: &RegionConfig) -> Result<Arc<dyn Store>, RegionError> {
    let Some(data) = &config.data else {
        return Ok(Arc::new(MemStore::new()));
    };
    let store = LmdbStore::open(&data.join(STORE_FOLDER), LmdbOptions::default())?;
    Ok(Arc::new(store))
}

/// Half of a round trip: each side delays what it sends. Checked numbers only (0 to a minute).
pub(super) fn one_way(rtt_ms: f64) -> Duration {
    Duration::try_from_secs_f64(rtt_ms / 2_000.0).unwrap_or_default()
}

/// Opens the store in a stopped region's data folder and says whose it is; for offline tools.
pub fn open_stopped(data: &Path) -> Result<(LmdbStore, String, RegionId), RegionError> {
    let folder = data.join(STORE_FOLDER);
    if !folder.join("data.mdb").is_file() {
        return Err(RegionError::NoStore {
            path: data.display().to_string(),
        });
    }
    let store = LmdbStore::open(&folder, LmdbOptions::default())?;
    let (name, id) = guard::owner(&*store.begin_read()?)?;
    Ok((store, name, id))
}
