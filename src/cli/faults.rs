//! `partition`, `heal` and `slow`: live faults, so that a cluster can be broken on purpose.

use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::cluster::{Cluster, Member};
use super::{CliError, ClusterArgs, block_on, parse_duration};

#[derive(Debug, Args)]
pub struct PartitionArgs {
    a: String,
    b: String,
    /// Only what A sends to B is lost
    #[arg(long)]
    one_way: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub struct HealArgs {
    #[arg(requires = "b")]
    a: Option<String>,
    b: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub struct SlowArgs {
    a: String,
    b: String,
    /// Round-trip time to inject, such as 200ms
    #[arg(long, value_parser = parse_duration)]
    rtt: Duration,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub fn partition(args: PartitionArgs) -> Result<(), CliError> {
    block_on(async {
        let cluster = Cluster::find(&args.cluster).await?;
        let (a, b) = pair(&cluster, &args.a, &args.b)?;
        if args.one_way {
            fault(a, b, json!({"cut": "out"})).await?;
            println!("cut: {} -> {} (the other way works)", a.name, b.name);
        } else {
            fault(a, b, json!({"cut": "both"})).await?;
            fault(b, a, json!({"cut": "both"})).await?;
            println!("cut: {} <-> {}", a.name, b.name);
        }
        Ok(())
    })
}

pub fn heal(args: HealArgs) -> Result<(), CliError> {
    block_on(async {
        let cluster = Cluster::find(&args.cluster).await?;
        let pairs: Vec<(&Member, &Member)> = match (&args.a, &args.b) {
            (Some(a), Some(b)) => vec![pair(&cluster, a, b)?],
            _ => {
                let regions = &cluster.regions;
                regions
                    .iter()
                    .enumerate()
                    .flat_map(|(i, a)| regions.iter().skip(i + 1).map(move |b| (a, b)))
                    .collect()
            }
        };
        for (a, b) in pairs {
            fault(a, b, json!({"reset": true})).await?;
            fault(b, a, json!({"reset": true})).await?;
            println!("healed: {} <-> {}", a.name, b.name);
        }
        Ok(())
    })
}

pub fn slow(args: SlowArgs) -> Result<(), CliError> {
    block_on(async {
        let cluster = Cluster::find(&args.cluster).await?;
        let (a, b) = pair(&cluster, &args.a, &args.b)?;
        let rtt_ms = args.rtt.as_secs_f64() * 1e3;
        fault(a, b, json!({"rtt_ms": rtt_ms})).await?;
        fault(b, a, json!({"rtt_ms": rtt_ms})).await?;
        println!(
            "slow: {} <-> {} now has a round trip of {rtt_ms} ms",
            a.name, b.name
        );
        Ok(())
    })
}

fn pair<'a>(cluster: &'a Cluster, a: &str, b: &str) -> Result<(&'a Member, &'a Member), CliError> {
    let (a, b) = (cluster.member(a)?, cluster.member(b)?);
    if a.name == b.name {
        return Err(CliError::Refused {
            region: a.name.clone(),
            reason: "a link needs two regions".into(),
        });
    }
    Ok((a, b))
}

async fn fault(at: &Member, peer: &Member, mut what: Value) -> Result<(), CliError> {
    if let Some(members) = what.as_object_mut() {
        members.insert("peer".into(), Value::String(peer.name.clone()));
    }
    at.call(Method::POST, "/fault", Some(&what))
        .await
        .map(|_| ())
}
