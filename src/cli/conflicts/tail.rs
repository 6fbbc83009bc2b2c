//! `conflicts tail`: asks every region for what it has not told yet, and waits there for it.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::Value;
use tokio::sync::mpsc;

use super::super::cluster::{Cluster, Member};
use super::super::{CliError, ClusterArgs};
use super::show;

/// How long a region may keep a request that has no answer yet.
const WAIT_MS: u64 = 2_000;
/// Before a region that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// Conflicts remembered so that each is printed once, whoever else sees it.
const REMEMBERED: usize = 65_536;

#[derive(Debug, Args)]
pub struct TailArgs {
    /// Only those of this table
    #[arg(long)]
    table: Option<String>,
    /// Begin with the oldest that is kept
    #[arg(long)]
    all: bool,
    /// Print one JSON object on each line, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs until it is interrupted, or nobody reads.
pub async fn run(args: &TailArgs) -> Result<(), CliError> {
    let mut cluster = Cluster::find(&args.cluster).await?;
    let (tell, mut told) = mpsc::channel(16);
    let table = args.table.clone().unwrap_or_default();
    for member in std::mem::take(&mut cluster.regions) {
        let start = match args.all {
            true => Some(0),
            false => total(&member).await,
        };
        let (table, tell, find) = (table.clone(), tell.clone(), args.cluster.clone());
        tokio::spawn(async move { follow(member, find, table, start, tell).await });
    }
    drop(tell);
    let (mut known, mut order) = (BTreeSet::new(), VecDeque::new());
    while let Some(conflict) = told.recv().await {
        let id = conflict.get("id").map(Value::to_string).unwrap_or_default();
        if !known.insert(id.clone()) {
            continue;
        }
        order.push_back(id);
        if order.len() > REMEMBERED
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        let mut out = std::io::stdout().lock();
        match args.json {
            true => writeln!(out, "{conflict}")?,
            false => show::short(&mut out, &conflict)?,
        }
        out.flush()?;
    }
    Ok(())
}

/// How many conflicts a region has recorded; `None` while it does not answer.
async fn total(member: &Member) -> Option<u64> {
    let answer = member
        .call(Method::GET, "/conflicts?limit=1", None)
        .await
        .ok()?;
    answer.get("total").and_then(Value::as_u64)
}

async fn follow(
    mut member: Member,
    find: ClusterArgs,
    table: String,
    start: Option<u64>,
    tell: mpsc::Sender<Value>,
) {
    let mut next = start;
    let mut warned = false;
    loop {
        let Some(after) = next else {
            // It was down: what it has recorded while it came back is new.
            tokio::time::sleep(RETRY).await;
            find_again(&mut member, &find).await;
            next = total(&member).await;
            continue;
        };
        let path = format!("/conflicts?after={after}&table={table}&wait_ms={WAIT_MS}");
        let mut answer = match member.call(Method::GET, &path, None).await {
            Ok(answer) => answer,
            Err(error) => {
                if !warned {
                    eprintln!("warning: {error}");
                }
                warned = true;
                tokio::time::sleep(RETRY).await;
                find_again(&mut member, &find).await;
                continue;
            }
        };
        warned = false;
        let of = |name: &str| answer.get(name).and_then(Value::as_u64);
        let total = of("total").unwrap_or(after);
        // A region that keeps nothing on disk counts anew after a restart.
        next = Some(if total < after {
            0
        } else {
            of("next").unwrap_or(after)
        });
        let found = answer.get_mut("conflicts").map(Value::take);
        for conflict in found.and_then(into_array).into_iter().flatten() {
            if tell.send(conflict).await.is_err() {
                return;
            }
        }
    }
}

fn into_array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// A region that was started again may have another admin port.
async fn find_again(member: &mut Member, find: &ClusterArgs) {
    if let Ok(cluster) = Cluster::find(find).await
        && let Ok(now) = cluster.member(&member.name)
    {
        *member = now.clone();
    }
}
