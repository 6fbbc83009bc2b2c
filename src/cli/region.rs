//! `region`: the members of a running cluster.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::{Cluster, Member};
use super::{CliError, ClusterArgs, block_on};

/// How long a majority may take to agree.
const PATIENCE: Duration = Duration::from_secs(25);
/// Between two looks whether it has.
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct RegionArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Give up a region that does not come back: the others forget again what all of them have
    ///
    /// A majority of the regions must not hear it. Of two regions the one that is left decides alone: be sure
    /// that the other is down, and never do it on both sides. A region that comes back later hands over what
    /// only it has, and is given everything.
    Lapse(LapseArgs),
}

#[derive(Debug, Args)]
struct LapseArgs {
    /// The region that is down
    name: String,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub fn run(args: RegionArgs) -> Result<(), CliError> {
    match args.verb {
        Verb::Lapse(args) => block_on(lapse(args)),
    }
}

async fn lapse(args: LapseArgs) -> Result<(), CliError> {
    let cluster = Cluster::find(&args.cluster).await?;
    cluster.member(&args.name)?;
    let body = json!({"region": args.name});
    let mut failure = None;
    for member in cluster.regions.iter().filter(|m| m.name != args.name) {
        match member
            .call(Method::POST, "/members/lapse", Some(&body))
            .await
        {
            Ok(_) => return wait(member, &args.name).await,
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| CliError::Refused {
        region: args.name.clone(),
        reason: "it is the only region".into(),
    }))
}

/// Waits until the region that was asked says that it is so.
async fn wait(member: &Member, name: &str) -> Result<(), CliError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = member.call(Method::GET, "/status", None).await?;
        let members = status.get("members").and_then(Value::as_array);
        let named = |m: &&Value| m.get("name").and_then(Value::as_str) == Some(name);
        let found = members.and_then(|members| members.iter().find(named));
        let state = found.and_then(|m| m.get("state")).and_then(Value::as_str);
        if state == Some("lapsed") {
            let epoch = status.get("epoch").cloned().unwrap_or_default();
            writeln!(std::io::stdout(), "{name} has lapsed (epoch {epoch})")?;
            return Ok(());
        }
        if Instant::now() > deadline {
            let trouble = status.get("members_trouble").and_then(Value::as_str);
            let reason = trouble.unwrap_or("no majority of the regions answers");
            return Err(CliError::Refused {
                region: member.name.clone(),
                reason: format!("{name} has not lapsed: {reason}"),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}
