//! The command line: the contract that scripts and tests rely on (architecture.md).
//!
//! `main` calls [`run`], which parses, does one command and turns its error into words and an exit code:
//! 0 fine, 1 failure or violation, 2 wrong usage, 130 stopped by Ctrl-C before it was done. Each command is one
//! file.

mod cert;
mod check;
mod client;
mod cluster;
mod conflicts;
mod faults;
mod front;
mod region;
mod render;
mod serve;
mod sim;
mod status;
mod supervisor;
mod tuning;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::api::Keys;
use crate::config::{ConfigError, Credentials};

/// The front door's port when `--port` says nothing.
pub const PORT_DEFAULT: u16 = 8000;
/// The exit code of what Ctrl-C stopped before it was done: 128 and the signal's number, as shells have it.
const INTERRUPTED: u8 = 130;
/// Names a credentials file where `--credentials` does not.
const CREDENTIALS_ENV: &str = "MERIDIAN_CREDENTIALS";

#[derive(Debug, Parser)]
#[command(name = "meridian", version, about = "Self-hosted DynamoDB Global Tables", long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every region of a topology on this machine, one process each
    Up(up::UpArgs),
    /// Run one region (what `up` starts, and what production uses)
    Serve(serve::ServeArgs),
    /// Show regions, links, lag, items and conflicts
    Status(status::StatusArgs),
    /// Cut the link between two regions of a running cluster
    Partition(faults::PartitionArgs),
    /// Undo partitions and slowness, of one link or of all
    Heal(faults::HealArgs),
    /// Give the link between two regions a round-trip time
    Slow(faults::SlowArgs),
    /// List, show and restore versions that lost a race
    Conflicts(conflicts::ConflictsArgs),
    /// List, add, remove and move the regions of a running cluster
    Region(region::RegionArgs),
    /// Verify the data folder of a stopped region
    Check(check::CheckArgs),
    /// Make a cluster's certificates, renew and show them
    Cert(cert::CertArgs),
    /// Run or replay simulations
    Sim(sim::SimArgs),
}

/// How a command finds its cluster.
#[derive(Clone, Debug, Args)]
struct ClusterArgs {
    /// Port of the front door that `up` opened
    #[arg(long, env = "MERIDIAN_PORT", default_value_t = PORT_DEFAULT)]
    port: u16,
    /// Topology file of a cluster that was not started by `up`
    #[arg(long, conflicts_with = "port")]
    topology: Option<PathBuf>,
}

/// What went wrong, for a person: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Region(#[from] crate::region::RegionError),
    #[error(transparent)]
    Identity(#[from] crate::transport::IdentityError),
    #[error("'{id}' is not a cluster id: write 32 hexadecimal digits, or name a topology")]
    ClusterId { id: String },
    #[error(
        "cannot listen on {address}: {source}\n  hint: is another cluster running? choose another port with --port"
    )]
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[error(
        "no cluster answers at {address}: {reason}\n  hint: start one with `meridian up`, or name it with --port or --topology"
    )]
    NoCluster { address: String, reason: String },
    #[error(
        "region '{region}' does not answer at {address}: {reason}\n  hint: is it running? `meridian status` shows who is"
    )]
    NoAnswer {
        region: String,
        address: String,
        reason: String,
    },
    #[error(
        "'{region}' cannot be asked whether it has what no other region has: {reason}\n  hint: start it, or give that up with --force"
    )]
    CannotDrain { region: String, reason: String },
    #[error(
        "these tables are only in '{region}', and would be lost with it: {tables}\n  hint: add a replica of each elsewhere, or give them up with --force"
    )]
    WouldBeLost { region: String, tables: String },
    #[error(
        "not done yet: still waiting for {waits}\n  hint: it goes on; `meridian region list` shows how far it is"
    )]
    StillWaiting { waits: String },
    #[error("region '{region}' refused: {reason}")]
    Refused { region: String, reason: String },
    #[error(
        "no region that answers keeps the conflict '{id}'\n  hint: `meridian conflicts` lists those that are kept"
    )]
    NoConflict { id: String },
    #[error(
        "not restored: in {region} the item is no longer the version that won; there is now {now}\n  hint: --force restores all the same"
    )]
    MovedOn { region: String, now: String },
    #[error("there is no region '{name}' in this cluster; it has: {known}")]
    UnknownRegion { name: String, known: String },
    #[error(
        "the folder '{path}' is already in use by another `meridian up`\n  hint: stop it, or choose another folder with --data"
    )]
    InUse { path: String },
    #[error("'{path}' cannot be written: {source}\n  hint: choose another folder with --data")]
    Write {
        path: String,
        source: std::io::Error,
    },
    #[error(
        "region '{region}' has no {what} address in the topology\n  hint: give it {what} = \"host:port\""
    )]
    NoAddress { region: String, what: &'static str },
    #[error("region '{region}' could not start: {reason}")]
    Start { region: String, reason: String },
    #[error(transparent)]
    Scenario(#[from] crate::simulation::scenario::ScenarioError),
    #[error(
        "the report '{path}' cannot be read: {reason}\n  hint: give the folder that `meridian sim run --report` wrote"
    )]
    Report { path: String, reason: String },
    #[error("{count} of {seeds} seeds failed")]
    Violations { count: usize, seeds: u64 },
    #[error("stopped after {done} of {seeds} seeds")]
    Interrupted { done: u64, seeds: u64 },
    #[error("{unmet} of {all} expectations were not met")]
    Unmet { unmet: usize, all: usize },
    #[error("the store is not sound: {0} findings, listed above")]
    Unsound(usize),
    #[error("the terminal cannot be written: {0}")]
    Terminal(#[from] std::io::Error),
}

/// Parses the arguments and runs the command.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Up(args) => up::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Status(args) => status::run(args),
        Command::Partition(args) => faults::partition(args),
        Command::Heal(args) => faults::heal(args),
        Command::Slow(args) => faults::slow(args),
        Command::Conflicts(args) => conflicts::run(args),
        Command::Region(args) => region::run(args),
        Command::Check(args) => check::run(args),
        Command::Cert(args) => cert::run(args),
        Command::Sim(args) => sim::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A closed pipe (`meridian status | head`) is the reader's choice, not a failure.
        Err(CliError::Terminal(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                CliError::Interrupted { .. } => ExitCode::from(INTERRUPTED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Runs a command's future on a runtime of its own.
fn block_on<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

/// Who may call: the keys of a credentials file, or anybody.
fn keys(credentials: Option<&Path>) -> Result<Keys, ConfigError> {
    Ok(match credentials {
        Some(file) => Keys::Known(Credentials::load(file)?),
        None => Keys::Any,
    })
}

/// Waits for SIGINT (Ctrl-C) or SIGTERM.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
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
    }
}

/// Reads `200ms`, `1.5s` or `2m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("'{text}' is not a duration; write 200ms, 1.5s or 2m"))?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        "d" => number * 86_400.0,
        _ => return Err(format!("'{text}' needs a unit: ms, s, m, h or d")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|e| format!("'{text}': {e}"))
}

/// Reads `4096`, `512KiB`, `64MiB` or `2GiB`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("'{text}' is not a size; write 4096, 512KiB or 64MiB"))?;
    let unit: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("'{text}' has no unit known here: KiB, MiB or GiB")),
    };
    (number.checked_mul(unit)).ok_or_else(|| format!("'{text}' is too much"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(2_592_000)));
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert!(parse_bytes("64 parsecs").is_err());
        assert!(parse_bytes("99999999999GiB").is_err());
        assert!(parse_duration("200").is_err());
        assert!(parse_duration("-1s").is_err());
        assert!(parse_duration("soon").is_err());
    }
}
