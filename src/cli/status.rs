//! `status`: who runs, who hears whom, and how far behind they are.

use std::io::Write;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::cluster::{Cluster, Member};
use super::{CliError, ClusterArgs, block_on};

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub fn run(args: StatusArgs) -> Result<(), CliError> {
    block_on(async {
        let cluster = Cluster::find(&args.cluster).await?;
        let mut regions = Vec::new();
        for member in &cluster.regions {
            regions.push(region(member).await);
        }
        let mut out = std::io::stdout().lock();
        if args.json {
            let all = json!({"cluster": cluster.name, "regions": regions});
            writeln!(
                out,
                "{}",
                serde_json::to_string_pretty(&all).unwrap_or_default()
            )?;
        } else {
            writeln!(out, "cluster {}", cluster.name)?;
            for region in &regions {
                print_region(&mut out, region)?;
            }
        }
        Ok(())
    })
}

/// A region's own report, or what can be said of one that does not answer.
async fn region(member: &Member) -> Value {
    match member.call(Method::GET, "/status", None).await {
        Ok(status) => status,
        Err(error) => json!({
            "name": member.name, "pid": member.pid, "endpoint": member.endpoint,
            "frontier": {}, "links": [], "error": error.to_string(),
        }),
    }
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or("-")
}

fn number(value: &Value, member: &str) -> String {
    match value.get(member) {
        Some(Value::Number(n)) if n.is_f64() => format!("{:.1}", n.as_f64().unwrap_or_default()),
        Some(Value::Number(n)) => n.to_string(),
        _ => "-".into(),
    }
}

fn print_region(out: &mut impl Write, region: &Value) -> Result<(), CliError> {
    let (name, endpoint) = (text(region, "name"), text(region, "endpoint"));
    if let Some(error) = region.get("error").and_then(Value::as_str) {
        writeln!(out, "\n{name}  {endpoint}  DOWN\n  {error}")?;
        return Ok(());
    }
    let (pid, mut conflicts) = (number(region, "pid"), number(region, "conflicts"));
    let counts = region.get("conflict_counts").unwrap_or(&Value::Null);
    if counts.get("dropped").and_then(Value::as_u64).unwrap_or(0) > 0 {
        conflicts.push_str(&format!(" ({} dropped)", number(counts, "dropped")));
    }
    writeln!(
        out,
        "\n{name}  {endpoint}  pid {pid}  conflicts {conflicts}"
    )?;
    let none = Vec::new();
    for table in region
        .get("tables")
        .and_then(Value::as_array)
        .unwrap_or(&none)
    {
        writeln!(
            out,
            "  table {:<30} {:>10} items",
            text(table, "name"),
            number(table, "items")
        )?;
    }
    for link in region
        .get("links")
        .and_then(Value::as_array)
        .unwrap_or(&none)
    {
        let connected = link
            .get("connected")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let state = match (connected, text(link, "cut")) {
            (_, "both") => "cut",
            (_, "out") => "cut (outgoing)",
            (true, _) => "connected",
            (false, _) => "NOT CONNECTED",
        };
        let (behind, rtt) = (number(link, "behind"), number(link, "rtt_ms"));
        writeln!(
            out,
            "  to {:<18} {state:<15} behind {behind:>6} commits  rtt {rtt:>7} ms",
            text(link, "peer")
        )?;
    }
    Ok(())
}
