//! `conflicts`: the versions that lost a race. Nothing is lost silently, and what lost can be brought back.

mod show;
mod tail;

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::cluster::{Cluster, Member};
use super::{CliError, ClusterArgs, block_on};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ConflictsArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List them, the newest first (what `conflicts` alone does)
    List(ListArgs),
    /// Show one with both versions, and who saw it
    Show(ShowArgs),
    /// Write the loser back, if the item still is the winner
    Restore(RestoreArgs),
    /// Print new conflicts as they are found
    Tail(tail::TailArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
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

#[derive(Debug, Args)]
struct ShowArgs {
    /// Its id, or the first digits of it
    id: String,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// Its id, or the first digits of it
    id: String,
    /// Restore whatever the item is now
    #[arg(long)]
    force: bool,
    /// The region that writes; else the first that knows the conflict
    #[arg(long)]
    region: Option<String>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub fn run(args: ConflictsArgs) -> Result<(), CliError> {
    block_on(async {
        match args.verb {
            None => list(&args.list).await,
            Some(Verb::List(args)) => list(&args).await,
            Some(Verb::Show(args)) => one(&args).await,
            Some(Verb::Restore(args)) => restore(&args).await,
            Some(Verb::Tail(args)) => tail::run(&args).await,
        }
    })
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

async fn list(args: &ListArgs) -> Result<(), CliError> {
    let cluster = Cluster::find(&args.cluster).await?;
    let listed = gather(&cluster, args).await?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let all = json!({"conflicts": listed.conflicts, "counts": listed.counts});
        writeln!(out, "{}", pretty(&all))?;
        return Ok(());
    }
    if listed.conflicts.is_empty() {
        writeln!(out, "no conflicts")?;
    }
    for conflict in &listed.conflicts {
        show::short(&mut out, conflict)?;
    }
    for (region, counts) in &listed.counts {
        show::counts(&mut out, region, counts)?;
    }
    Ok(())
}

/// What all regions say together.
#[derive(Default)]
struct Listed {
    conflicts: Vec<Value>,
    /// By region.
    counts: BTreeMap<String, Value>,
}

/// Asks every region that answers; the same conflict is found in several regions and listed once.
async fn gather(cluster: &Cluster, args: &ListArgs) -> Result<Listed, CliError> {
    let table = args.table.as_deref().unwrap_or_default();
    let path = format!("/conflicts?limit={}&table={table}", args.limit);
    let mut at = BTreeMap::new();
    let mut listed = Listed::default();
    let mut failure = None;
    let mut answered = false;
    for member in &cluster.regions {
        let mut answer = match member.call(Method::GET, &path, None).await {
            Ok(answer) => answer,
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        answered = true;
        let found = answer.get_mut("conflicts").map(Value::take);
        for conflict in found
            .as_ref()
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let id = conflict
                .get("id")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let known = at.entry(id.to_owned()).or_insert(listed.conflicts.len());
            match listed.conflicts.get_mut(*known) {
                Some(seen) => show::merge(seen, conflict),
                None => listed.conflicts.push(show::seen(conflict)),
            }
        }
        listed
            .counts
            .insert(member.name.clone(), show::counts_of(&answer));
    }
    match failure {
        Some(error) if !answered => Err(error),
        Some(error) => {
            eprintln!("warning: {error}");
            Ok(listed)
        }
        None => Ok(listed),
    }
}

/// The conflict as each region that has it says, with the region.
async fn ask_all<'c>(cluster: &'c Cluster, id: &str) -> Result<Vec<(&'c Member, Value)>, CliError> {
    let path = format!("/conflicts/{id}");
    let mut found: Vec<(&Member, Value)> = Vec::new();
    let mut failure = None;
    for member in &cluster.regions {
        match member.ask(Method::GET, &path, None).await {
            Ok((StatusCode::OK, conflict)) => {
                let other = found
                    .iter()
                    .any(|(_, seen)| seen.get("id") != conflict.get("id"));
                if other {
                    return Err(refused(
                        member,
                        &json!({
                            "error": format!("several ids begin with {id}: give more digits"),
                        }),
                    ));
                }
                found.push((member, conflict));
            }
            Ok((StatusCode::NOT_FOUND, _)) => {}
            Ok((_, answer)) => return Err(refused(member, &answer)),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if found.is_empty() => return Err(error),
        Some(error) => eprintln!("warning: {error}"),
        None => {}
    }
    if found.is_empty() {
        return Err(CliError::NoConflict { id: id.to_owned() });
    }
    Ok(found)
}

fn refused(member: &Member, answer: &Value) -> CliError {
    let reason = answer.get("error").and_then(Value::as_str);
    CliError::Refused {
        region: member.name.clone(),
        reason: reason.map_or_else(|| answer.to_string(), str::to_owned),
    }
}

async fn one(args: &ShowArgs) -> Result<(), CliError> {
    let cluster = Cluster::find(&args.cluster).await?;
    let found = ask_all(&cluster, &args.id).await?;
    let mut conflicts = found.iter().map(|(_, conflict)| conflict);
    let Some(mut all) = conflicts.next().map(show::seen) else {
        let id = args.id.clone();
        return Err(CliError::NoConflict { id });
    };
    conflicts.for_each(|conflict| show::merge(&mut all, conflict));
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", pretty(&all))?;
        return Ok(());
    }
    show::long(&mut out, &all)
}

async fn restore(args: &RestoreArgs) -> Result<(), CliError> {
    let cluster = Cluster::find(&args.cluster).await?;
    let (member, id) = match &args.region {
        Some(region) => (cluster.member(region)?, args.id.clone()),
        None => {
            let found = ask_all(&cluster, &args.id).await?;
            let first = found.first();
            let id = first.and_then(|(_, conflict)| conflict.get("id")?.as_str());
            match (first, id) {
                (Some((member, _)), Some(id)) => (*member, id.to_owned()),
                _ => {
                    let id = args.id.clone();
                    return Err(CliError::NoConflict { id });
                }
            }
        }
    };
    let path = format!("/conflicts/{id}/restore");
    let body = json!({"force": args.force});
    let (status, mut answer) = member.ask(Method::POST, &path, Some(&body)).await?;
    match status {
        StatusCode::OK => {}
        StatusCode::CONFLICT => {
            return Err(CliError::MovedOn {
                region: member.name.clone(),
                now: show::version(answer.get("now").unwrap_or(&Value::Null)),
            });
        }
        _ => return Err(refused(member, &answer)),
    }
    let restored = answer
        .get_mut("restored")
        .map(Value::take)
        .unwrap_or_default();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", pretty(&restored))?;
        return Ok(());
    }
    writeln!(out, "restored by {}", member.name)?;
    show::short(&mut out, &restored)
}
