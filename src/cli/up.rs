//! `up`: every region of a topology on this machine, one process each, behind one front door.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::supervisor::{Child, Launch, Members};
use super::tuning::TuningArgs;
use super::{CREDENTIALS_ENV, CliError, PORT_DEFAULT, block_on, front, keys, stop_signal};
use crate::config::Topology;
use crate::transport::DevCa;

/// How long regions may take to answer before `up` gives in.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Where `--port 0` looks for the regions' ports.
const PORTS: std::ops::Range<u16> = 10_000..30_000;
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
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|source| CliError::Listen {
                address: address.to_string(),
                source,
            })?;
        let front_port = listener.local_addr()?.port();
        place(&mut topology, args.port)?;
        let home = args.data.join(&topology.name);
        let _lock = lock(&home)?;
        let plan = prepare(&topology, &home, &args)?;
        let members = Arc::new(Members::new(&topology));
        let stop = CancellationToken::new();
        tokio::spawn(front::serve(listener, members.clone(), stop.clone()));
        let mut children = Vec::new();
        for launch in plan {
            children.push(Child::start(launch, members.clone(), stop.clone()));
        }
        let outcome = run_until_stopped(&topology, &members, &mut children, front_port).await;
        stop.cancel();
        for child in children {
            child.join().await;
        }
        outcome
    })
}

async fn run_until_stopped(
    topology: &Topology,
    members: &Members,
    children: &mut [Child],
    front_port: u16,
) -> Result<(), CliError> {
    let interrupted = stop_signal();
    tokio::pin!(interrupted);
    let ready = async {
        for child in children.iter_mut() {
            child.ready().await?;
        }
        Ok::<(), CliError>(())
    };
    tokio::select! {
        () = &mut interrupted => return Ok(()),
        ready = tokio::time::timeout(START_TIMEOUT, ready) => match ready {
            Ok(result) => result?,
            Err(_) => return Err(CliError::Start {
                region: members.missing().join(", "),
                reason: format!("no answer within {} s", START_TIMEOUT.as_secs()),
            }),
        },
    }
    println!("cluster {} on http://127.0.0.1:{front_port}", topology.name);
    for member in members.list() {
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

/// Writes the placed topology and mints what certificates are missing.
fn prepare(topology: &Topology, home: &Path, args: &UpArgs) -> Result<Vec<Launch>, CliError> {
    let write_error = |path: &Path, source| CliError::Write {
        path: path.display().to_string(),
        source,
    };
    let file = home.join("topology.toml");
    std::fs::write(&file, topology.to_toml()).map_err(|e| write_error(&file, e))?;
    let certs = home.join("certs");
    DevCa::ensure(&certs, &topology.cluster_id).map_err(crate::region::RegionError::from)?;
    let launch = |region: &crate::config::RegionSpec| Launch {
        region: region.name.clone(),
        topology: file.clone(),
        data: (!args.in_memory).then(|| home.join(&region.name)),
        certs: certs.clone(),
        credentials: args.credentials.clone(),
        tuning: args.tuning.to_args(),
    };
    Ok(topology.regions.iter().map(launch).collect())
}
