//! `status`: what is wrong, who runs, who hears whom, and how far behind they are.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::cluster::{Cluster, Member};
use super::{CliError, ClusterArgs, block_on, render, stop_signal};

/// Moves a terminal's cursor to the top and clears what is below.
const REDRAW: &str = "\x1b[H\x1b[J";
/// Clears a terminal once.
const CLEAR: &str = "\x1b[2J";

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Show it again every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub fn run(args: StatusArgs) -> Result<(), CliError> {
    block_on(async {
        let Some(seconds) = args.watch else {
            return show(&look(&args).await?, args.json);
        };
        let stopped = stop_signal();
        tokio::pin!(stopped);
        tokio::select! {
            () = &mut stopped => Ok(()),
            ended = watch(&args, Duration::from_secs(seconds)) => ended,
        }
    })
}

/// Shows it over and over: in place on a terminal, one below the other elsewhere. A cluster that does not
/// answer is waited for.
async fn watch(args: &StatusArgs, pause: Duration) -> Result<(), CliError> {
    let in_place = !args.json && std::io::stdout().is_terminal();
    if in_place {
        print!("{CLEAR}");
    }
    loop {
        let seen = look(args).await;
        if in_place {
            print!("{REDRAW}");
        }
        match seen {
            Ok(seen) => show(&seen, args.json)?,
            Err(error) => eprintln!("error: {error}"),
        }
        if !in_place && !args.json {
            writeln!(std::io::stdout())?;
        }
        std::io::stdout().flush()?;
        tokio::time::sleep(pause).await;
    }
}

/// What one look found.
struct Seen {
    cluster: String,
    regions: Vec<Value>,
}

async fn look(args: &StatusArgs) -> Result<Seen, CliError> {
    let cluster = Cluster::find(&args.cluster).await?;
    let mut regions = Vec::new();
    for member in &cluster.regions {
        regions.push(region(member).await);
    }
    Ok(Seen {
        cluster: cluster.name,
        regions,
    })
}

fn show(seen: &Seen, as_json: bool) -> Result<(), CliError> {
    // Written whole, so that a terminal never shows half of it.
    let mut page = Vec::new();
    if as_json {
        let all = json!({
            "cluster": seen.cluster,
            "regions": seen.regions,
            "lag": render::lag(&seen.regions),
            "notices": render::notices(&seen.regions),
        });
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        writeln!(page, "{text}")?;
    } else {
        render::print(&mut page, &seen.cluster, &seen.regions)?;
    }
    Ok(std::io::stdout().lock().write_all(&page)?)
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
