//! `serve`: one region in this process, until a signal (or, under `up`, until its supervisor is gone).

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use super::{CliError, block_on};
use crate::config::Topology;
use crate::region::{Region, RegionConfig};
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
    /// Folder of the cluster's certificates (default: `certs` beside the data folder)
    #[arg(long)]
    certs: Option<PathBuf>,
    /// Stop when standard input closes: set by `up`, so that no region outlives it
    #[arg(long, hide = true)]
    supervised: bool,
}

/// The line a region prints when every listener answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    pub region: String,
    pub endpoint: String,
    pub admin: String,
    pub pid: u32,
}

pub fn run(args: ServeArgs) -> Result<(), CliError> {
    telemetry::init();
    block_on(async {
        let topology = Topology::load(&args.topology)?;
        let certs = args.certs.clone().or_else(|| args.data.as_ref().and_then(|d| Some(d.parent()?.join("certs"))));
        let config = RegionConfig::new(topology, &args.region, args.data.clone(), certs)?;
        let region = Region::start(config).await?;
        let ready = Ready {
            region: args.region.clone(),
            endpoint: region.endpoint().to_string(),
            admin: region.admin().to_string(),
            pid: std::process::id(),
        };
        println!("{}", serde_json::json!({ "ready": ready }));
        stop_asked(args.supervised).await;
        region.stop().await;
        Ok(())
    })
}

/// Waits for SIGINT or SIGTERM, or for the end of standard input when supervised.
async fn stop_asked(supervised: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let orphaned = async {
        if supervised {
            let mut rest = Vec::new();
            // An error reads like the end: the supervisor is gone either way.
            let _ = tokio::io::stdin().read_to_end(&mut rest).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
        () = orphaned => {}
    }
}
