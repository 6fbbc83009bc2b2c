//! `sim run --live`: a scenario's script on real processes, in real time, with the same player and the same verdict.

mod faults;
mod stage;

use std::io::Write;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{RunArgs, account};
use crate::cli::cluster::Cluster;
use crate::cli::up::{Local, Setup};
use crate::cli::{CliError, stop_signal};
use crate::config::{ConfigError, Topology};
use crate::simulation::scenario::{Scenario, ScenarioError};
use crate::simulation::script::{Act, Operator, Script, Verdict, play};
use stage::Live;

/// How often regions look for items that have expired: often enough for scenarios of seconds.
const TTL_INTERVAL: [&str; 2] = ["--ttl-interval", "500ms"];

/// Runs the scenario at `path` on a cluster of its own, or on the one whose front door is at `address`.
pub fn run(args: &RunArgs, path: &Path, address: &str) -> Result<(), CliError> {
    let scenario = Scenario::load(path)?;
    let script = admit(&scenario, path, address)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    runtime.spawn(async move {
        stop_signal().await;
        stopped.cancel();
    });
    let folder = Folder::make()?;
    let (cluster, local) = match address {
        "" => {
            let local = runtime.block_on(start(&scenario, script, &folder.0, &stop))?;
            (local.members.cluster(), Some(local))
        }
        address => (runtime.block_on(Cluster::at(address))?, None),
    };
    let within_us = scenario.converge_within.map(|span| span.forward_us());
    let mut verdict = Verdict::default();
    let mut live = Live::new(&runtime, script, cluster, local, stop.clone(), args.json)?;
    let played = play(script, &mut live, within_us, &mut verdict);
    let interrupted = stop.is_cancelled();
    live.end()?;
    if interrupted {
        return Err(CliError::Interrupted { done: 0, seeds: 1 });
    }
    if let Err(lost) = played {
        verdict.lose(&lost);
    }
    report(args, &scenario, path, verdict)
}

/// What a live cluster cannot do is refused before one is started.
fn admit<'s>(scenario: &'s Scenario, path: &Path, address: &str) -> Result<&'s Script, CliError> {
    let file = path.display().to_string();
    let invalid = |key: &str, reason: &str| ScenarioError::Invalid {
        file: file.clone(),
        line: None,
        key: key.to_owned(),
        reason: reason.to_owned(),
    };
    let Some(script) = &scenario.script else {
        let reason = "a live cluster has no clients but those of [[step]], and there is none";
        return Err(invalid("step", reason).into());
    };
    if !scenario.faults.is_empty() {
        let reason = "only the simulator has them; a [[step]] can cut, isolate, slow and kill";
        return Err(invalid("fault", reason).into());
    }
    let expect = &scenario.expect;
    let lags = [expect.lag_p50_ms, expect.lag_p99_ms, expect.lag_max_ms];
    if lags.iter().any(Option::is_some) {
        let reason =
            "only the simulator knows every commit's lag; give an [[expect]] with 'within'";
        return Err(invalid("expect", reason).into());
    }
    for step in &script.steps {
        let reason = match &step.act {
            Act::Operate(Operator::Skew { .. }) => {
                "real clocks cannot be set: 'skew' is for the simulator"
            }
            Act::Operate(Operator::Kill(_) | Operator::Restart(_)) if !address.is_empty() => {
                "the processes of a running cluster are not this command's\n  hint: --live without an address starts its own"
            }
            _ => continue,
        };
        let (file, line, reason) = (file.clone(), step.line, reason.to_owned());
        return Err(ScenarioError::Flawed { file, line, reason }.into());
    }
    Ok(script)
}

/// Starts a cluster with the scenario's regions as far apart as the scenario says.
async fn start(
    scenario: &Scenario,
    script: &Script,
    folder: &Path,
    stop: &CancellationToken,
) -> Result<Local, CliError> {
    let mut text = String::from("[cluster]\nname = \"live\"\nreplicate = \"all\"\n");
    for (id, name) in script.regions.iter().enumerate() {
        text.push_str(&format!("\n[[region]]\nname = {name:?}\nid = {id}\n"));
    }
    for (from, to, rtt_ms) in scenario.round_trips_ms() {
        text.push_str(&format!(
            "\n[[link]]\nfrom = {from:?}\nto = {to:?}\nrtt_ms = {rtt_ms:?}\n"
        ));
    }
    let topology: Result<Topology, ConfigError> = Topology::parse(&text, "the scenario's regions");
    let setup = Setup {
        home: folder.to_owned(),
        port: 0,
        in_memory: false,
        credentials: None,
        tuning: TTL_INTERVAL.map(str::to_owned).to_vec(),
    };
    let mut local = Local::start(topology?, setup, stop).await?;
    let ready = tokio::select! {
        ready = local.ready() => ready,
        () = stop.cancelled() => Err(CliError::Interrupted { done: 0, seeds: 1 }),
    };
    match ready {
        Ok(()) => Ok(local),
        Err(error) => {
            local.stop().await;
            Err(error)
        }
    }
}

fn report(
    args: &RunArgs,
    scenario: &Scenario,
    path: &Path,
    verdict: Verdict,
) -> Result<(), CliError> {
    let outcomes = scenario.expect.judge(&verdict.figures);
    let mut out = std::io::stdout().lock();
    if args.json {
        let json = serde_json::json!({
            "scenario": scenario.name,
            "findings": verdict.findings,
            "expectations": outcomes,
        });
        writeln!(
            out,
            "{}",
            serde_json::to_string_pretty(&json).unwrap_or_default()
        )?;
    } else {
        account(&verdict.findings, path, false);
        for outcome in &outcomes {
            let met = if outcome.met { "met    " } else { "NOT MET" };
            eprintln!("  {met}  {}", outcome.sentence());
        }
    }
    let unmet = verdict
        .findings
        .iter()
        .filter(|finding| !finding.met)
        .count();
    let unmet = unmet + outcomes.iter().filter(|outcome| !outcome.met).count();
    let all = verdict.findings.len() + outcomes.len();
    if !args.json {
        let operations = verdict.operations;
        writeln!(
            out,
            "{} of {all} expectations met, {operations} operations",
            all - unmet
        )?;
    }
    match unmet {
        0 => Ok(()),
        unmet => Err(CliError::Unmet { unmet, all }),
    }
}

/// Where the processes keep what they keep, until the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn make() -> Result<Folder, CliError> {
        let name = format!(
            "meridian-live-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|source| CliError::Write {
            path: path.display().to_string(),
            source,
        })?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in a folder for temporary files is the system's to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
