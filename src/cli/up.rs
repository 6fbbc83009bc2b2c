//! `up`: every region of a topology on this machine, one process each, behind one front door.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::cluster::Member;
use super::supervisor::{Child, Launch, Members};
use super::tuning::TuningArgs;
use super::{CREDENTIALS_ENV, CliError, PORT_DEFAULT, block_on, front, keys, stop_signal};
use crate::config::Topology;
use crate::transport::DevCa;

/// How long regions may take to answer before `up` gives in.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Where `--port 0` looks for the regions' ports.
const PORTS: std::ops::Range<u16> = 10_000..30_000;
/// The topology as its regions read it.
const TOPOLOGY: &str = "topology.toml";
/// How many ports it tries.
const PORT_ATTEMPTS: usize = 1_000;

#[derive(Debug, Args)]
pub struct UpArgs {
    /// Topology file (default: us-east-1, eu-west-1 and ap-northeast-1, every table global)
    topology: Option<PathBuf>,
    /// Folder for everything the regions keep
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Port of the front door; regions listen on the ports after it (0 = the system picks all)
    #[arg(long, env = "MERIDIAN_PORT", default_value_t = PORT_DEFAULT)]
    port: u16,
    /// Keep nothing on disk but certificates
    #[arg(long)]
    in_memory: bool,
    /// Serve only requests signed with a key of this file, in the AWS CLI's format (default: any key)
    #[arg(long, env = CREDENTIALS_ENV, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Refuse requests beyond a table's throughput, as AWS does
    #[arg(long)]
    throttle: bool,
    #[command(flatten)]
    tuning: TuningArgs,
}

pub fn run(args: UpArgs) -> Result<(), CliError> {
    let mut topology = match &args.topology {
        Some(path) => Topology::load(path)?,
        None => Topology::builtin_local(),
    };
    // The regions read it themselves; what is wrong with it is better said once, before they start.
    keys(args.credentials.as_deref())?;
    topology.throttle |= args.throttle;
    block_on(async {
        let setup = Setup {
            home: args.data.join(&topology.name),
            port: args.port,
            in_memory: args.in_memory,
            credentials: args.credentials,
            tuning: args.tuning.to_args(),
        };
        let name = topology.name.clone();
        let mut local = Local::start(topology, setup, &CancellationToken::new()).await?;
        let outcome = run_until_stopped(&name, &mut local).await;
        local.stop().await;
        outcome
    })
}

/// How the processes of a cluster are started.
pub struct Setup {
    /// Folder for everything they keep.
    pub home: PathBuf,
    /// Of the front door; 0 = the system picks all.
    pub port: u16,
    pub in_memory: bool,
    pub credentials: Option<PathBuf>,
    /// Their other arguments.
    pub tuning: Vec<String>,
}

/// A cluster on this machine: one supervised process for each region, behind a front door.
pub struct Local {
    pub members: Arc<Members>,
    pub front_port: u16,
    children: Vec<Child>,
    stop: CancellationToken,
    /// Claims the folder.
    _lock: std::fs::File,
}

impl Local {
    /// Starts all processes, which run until [`Local::stop`] or `stop`.
    pub async fn start(
        mut topology: Topology,
        setup: Setup,
        stop: &CancellationToken,
    ) -> Result<Local, CliError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, setup.port));
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|source| CliError::Listen {
                address: address.to_string(),
                source,
            })?;
        let front_port = listener.local_addr()?.port();
        place(&mut topology, setup.port)?;
        let lock = lock(&setup.home)?;
        keep_id(&mut topology, &setup.home)?;
        let plan = prepare(&topology, &setup)?;
        let members = Arc::new(Members::new(&topology));
        let stop = stop.child_token();
        tokio::spawn(front::serve(listener, members.clone(), stop.clone()));
        let start = |launch| Child::start(launch, members.clone(), stop.clone());
        Ok(Local {
            front_port,
            children: plan.into_iter().map(start).collect(),
            members,
            stop,
            _lock: lock,
        })
    }

    /// Waits until every region answers.
    pub async fn ready(&mut self) -> Result<(), CliError> {
        let ready = async {
            for child in &mut self.children {
                child.ready().await?;
            }
            Ok::<(), CliError>(())
        };
        match tokio::time::timeout(START_TIMEOUT, ready).await {
            Ok(result) => result,
            Err(_) => Err(CliError::Start {
                region: self.members.missing().join(", "),
                reason: format!("no answer within {} s", START_TIMEOUT.as_secs()),
            }),
        }
    }

    /// A region as it is now.
    pub fn member(&self, region: &str) -> Option<Member> {
        let mut members = self.members.list().into_iter();
        members.find(|member| member.name == region)
    }

    /// Kills a region's process and keeps it dead, or lets it run again.
    pub fn hold(&self, region: &str, dead: bool) {
        for child in self.children.iter().filter(|c| c.region() == region) {
            child.hold(dead);
        }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        for child in self.children {
            child.join().await;
        }
    }
}

async fn run_until_stopped(name: &str, local: &mut Local) -> Result<(), CliError> {
    let interrupted = stop_signal();
    tokio::pin!(interrupted);
    tokio::select! {
        () = &mut interrupted => return Ok(()),
        ready = local.ready() => ready?,
    }
    println!("cluster {name} on http://127.0.0.1:{}", local.front_port);
    for member in local.members.list() {
        println!("  {:<16} {}", member.name, member.endpoint);
    }
    println!("ready");
    interrupted.await;
    Ok(())
}

/// Gives every region its addresses: the ports after the front door's, or whatever is free for port 0.
fn place(topology: &mut Topology, port: u16) -> Result<(), CliError> {
    for (n, region) in topology.regions.iter_mut().enumerate() {
        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
        let port = match port {
            0 => free_port()?,
            _ => u16::try_from(n + 1)
                .ok()
                .and_then(|n| port.checked_add(n))
                .ok_or_else(|| CliError::Start {
                    region: region.name.clone(),
                    reason: format!("there is no port for it after {port}"),
                })?,
        };
        region.endpoint = Some(local(port));
        region.gossip = Some(local(port));
        region.admin = Some(local(0));
    }
    Ok(())
}

/// A port that is free for TCP and UDP now, below the range from which the system takes ports for outgoing
/// connections: one of those could be gone again before the region binds it, or while it restarts.
fn free_port() -> Result<u16, CliError> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for _ in 0..PORT_ATTEMPTS {
        let port = fastrand::u16(PORTS);
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        match tcp.and_then(|_held| UdpSocket::bind((Ipv4Addr::LOCALHOST, port))) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(CliError::Listen {
        address: "any port".to_owned(),
        source: last,
    })
}

/// Claims the cluster's folder for as long as the file is held, before anything in it is changed.
fn lock(home: &Path) -> Result<std::fs::File, CliError> {
    let path = home.join("up.lock");
    let shown = || path.display().to_string();
    let write = |source| CliError::Write {
        path: shown(),
        source,
    };
    std::fs::create_dir_all(home).map_err(write)?;
    let file = std::fs::File::create(&path).map_err(write)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(CliError::InUse {
            path: home.display().to_string(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(write(source)),
    }
}

/// A cluster that has begun keeps its id, also when regions come into its file or go: an id that the file
/// does not give would be another with each of them.
fn keep_id(topology: &mut Topology, home: &Path) -> Result<(), CliError> {
    let begun = home.join(TOPOLOGY);
    if topology.has_derived_id() && begun.exists() {
        topology.cluster_id = Topology::load(&begun)?.cluster_id;
    }
    Ok(())
}

/// Writes the placed topology and mints what certificates are missing.
fn prepare(topology: &Topology, setup: &Setup) -> Result<Vec<Launch>, CliError> {
    let home = &setup.home;
    let write_error = |path: &Path, source| CliError::Write {
        path: path.display().to_string(),
        source,
    };
    let file = home.join(TOPOLOGY);
    std::fs::write(&file, topology.to_toml()).map_err(|e| write_error(&file, e))?;
    let certs = home.join("certs");
    DevCa::ensure(&certs, &topology.cluster_id).map_err(crate::region::RegionError::from)?;
    let launch = |region: &crate::config::RegionSpec| Launch {
        region: region.name.clone(),
        topology: file.clone(),
        data: (!setup.in_memory).then(|| home.join(&region.name)),
        certs: certs.clone(),
        credentials: setup.credentials.clone(),
        tuning: setup.tuning.clone(),
    };
    Ok(topology.regions.iter().map(launch).collect())
}
