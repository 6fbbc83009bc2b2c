//! `serve`: one region in this process, until a signal (or, under `up`, until its supervisor is gone).

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::tuning::TuningArgs;
use super::{CREDENTIALS_ENV, CliError, block_on, keys, stop_signal};
use crate::config::Topology;
use crate::region::{IdentitySource, Region, RegionConfig};
use crate::telemetry;

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The region to be, as the topology names it
    #[arg(long)]
    region: String,
    /// Topology file
    #[arg(long)]
    topology: PathBuf,
    /// Data folder of this region
    #[arg(long, required_unless_present = "in_memory")]
    data: Option<PathBuf>,
    /// Keep nothing on disk: a restart begins empty
    #[arg(long, conflicts_with = "data")]
    in_memory: bool,
    /// Refuse requests beyond a table's throughput, as AWS does
    #[arg(long)]
    throttle: bool,
    /// Folder of the cluster's certificates (default: `certs` in the data folder); missing ones are minted
    #[arg(long)]
    certs: Option<PathBuf>,
    /// Folder of the region's files from `meridian cert issue`; nothing is minted, changes are loaded
    #[arg(long, conflicts_with = "certs")]
    identity: Option<PathBuf>,
    /// Serve only requests signed with a key of this file, in the AWS CLI's format (default: any key)
    #[arg(long, env = CREDENTIALS_ENV, value_name = "FILE")]
    credentials: Option<PathBuf>,
    #[command(flatten)]
    tuning: TuningArgs,
    /// Stop when standard input closes: set by `up`, so that no region outlives it
    #[arg(long, hide = true)]
    supervised: bool,
}

/// The line a region prints when every listener answers.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub admin: String,
    pub pid: u32,
}

pub fn run(args: ServeArgs) -> Result<(), CliError> {
    telemetry::init();
    block_on(async {
        let region = Region::start(config(&args).await?).await?;
        tokio::select! {
            () = region.settled() => println!("{}", region.ready()),
            () = stop_asked(args.supervised) => {
                region.stop().await;
                return Ok(());
            }
        }
        stop_asked(args.supervised).await;
        region.stop().await;
        Ok(())
    })
}

/// Binds the addresses that the topology gives the region.
async fn config(args: &ServeArgs) -> Result<RegionConfig, CliError> {
    let mut topology = Topology::load(&args.topology)?;
    topology.throttle |= args.throttle;
    let spec = topology
        .region(&args.region)
        .cloned()
        .ok_or_else(|| CliError::UnknownRegion {
            name: args.region.clone(),
            known: topology
                .regions
                .iter()
                .map(|r| r.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })?;
    let address = |what: &'static str, address: &Option<String>| {
        address.clone().ok_or_else(|| CliError::NoAddress {
            region: spec.name.clone(),
            what,
        })
    };
    let (endpoint, admin) = (
        address("endpoint", &spec.endpoint)?,
        address("admin", &spec.admin)?,
    );
    let gossip = address("gossip", &spec.gossip)?;
    let listen = |address: &str, source| CliError::Listen {
        address: address.to_owned(),
        source,
    };
    Ok(RegionConfig {
        client: TcpListener::bind(&endpoint)
            .await
            .map_err(|e| listen(&endpoint, e))?,
        admin: TcpListener::bind(&admin)
            .await
            .map_err(|e| listen(&admin, e))?,
        gossip: std::net::UdpSocket::bind(&gossip).map_err(|e| listen(&gossip, e))?,
        identity: match &args.identity {
            Some(issued) => Some(IdentitySource::Issued(issued.clone())),
            None => args.certs.clone().map(IdentitySource::Folder),
        },
        region: args.region.clone(),
        data: args.data.clone(),
        tuning: args.tuning.tuning(&args.region),
        keys: keys(args.credentials.as_deref())?,
        pins_addresses: !args.supervised,
        topology,
    })
}

/// Waits for SIGINT or SIGTERM, or for the end of standard input when supervised.
async fn stop_asked(supervised: bool) {
    let orphaned = async {
        if supervised {
            let mut rest = Vec::new();
            // An error reads like the end: the supervisor is gone either way.
            let _ = tokio::io::stdin().read_to_end(&mut rest).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = stop_signal() => {}
        () = orphaned => {}
    }
}
