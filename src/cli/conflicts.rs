//! `conflicts`: the versions that lost a race. Nothing is lost silently.

use std::collections::BTreeSet;
use std::io::Write;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::{CliError, ClusterArgs, block_on};

#[derive(Debug, Args)]
pub struct ConflictsArgs {
    /// Only those of this table
    #[arg(long)]
    table: Option<String>,
    /// The newest N of each region
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub fn run(args: ConflictsArgs) -> Result<(), CliError> {
    block_on(async {
        let cluster = Cluster::find(&args.cluster).await?;
        let conflicts = gather(&cluster, &args).await?;
        let mut out = std::io::stdout().lock();
        if args.json {
            let all = json!({"conflicts": conflicts});
            writeln!(
                out,
                "{}",
                serde_json::to_string_pretty(&all).unwrap_or_default()
            )?;
            return Ok(());
        }
        if conflicts.is_empty() {
            writeln!(out, "no conflicts")?;
        }
        for conflict in &conflicts {
            print(&mut out, conflict)?;
        }
        Ok(())
    })
}

/// Asks every region that answers; the same conflict is found in several regions and listed once.
async fn gather(cluster: &Cluster, args: &ConflictsArgs) -> Result<Vec<Value>, CliError> {
    let mut path = format!("/conflicts?limit={}", args.limit);
    if let Some(table) = &args.table {
        path.push_str(&format!("&table={table}"));
    }
    let mut seen = BTreeSet::new();
    let mut conflicts = Vec::new();
    let mut failure = None;
    let mut answered = false;
    for member in &cluster.regions {
        match member.call(Method::GET, &path, None).await {
            Ok(answer) => {
                answered = true;
                for conflict in answer
                    .get("conflicts")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    let id = ["table", "key", "winner", "loser"]
                        .map(|m| conflict.get(m).map(Value::to_string));
                    if seen.insert(id) {
                        conflicts.push(conflict.clone());
                    }
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if !answered => Err(error),
        Some(error) => {
            eprintln!("warning: {error}");
            Ok(conflicts)
        }
        None => Ok(conflicts),
    }
}

fn print(out: &mut impl Write, conflict: &Value) -> Result<(), CliError> {
    let show = |value: Option<&Value>| value.map_or_else(|| "-".to_owned(), Value::to_string);
    let side = |side: &str| {
        let version = conflict.get(side);
        let region = version
            .and_then(|v| v.get("region"))
            .and_then(Value::as_str)
            .unwrap_or("-")
            .to_owned();
        let item = match version.and_then(|v| v.get("item")) {
            None | Some(Value::Null) => "(deleted)".to_owned(),
            Some(item) => item.to_string(),
        };
        (region, item)
    };
    let ((winner, winner_item), (loser, loser_item)) = (side("winner"), side("loser"));
    let table = conflict.get("table").and_then(Value::as_str).unwrap_or("-");
    writeln!(out, "{table} {}", show(conflict.get("key")))?;
    writeln!(out, "  won   {winner:<16} {winner_item}")?;
    writeln!(out, "  lost  {loser:<16} {loser_item}")?;
    Ok(())
}
