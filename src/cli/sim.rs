//! `sim run` and `sim replay`: worlds by seed.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::CliError;
use crate::simulation::scenario::Scenario;
use crate::simulation::{self, Options, RunReport};

/// How often the progress line is drawn anew.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct SimArgs {
    #[command(subcommand)]
    command: SimCommand,
}

#[derive(Debug, Subcommand)]
enum SimCommand {
    /// Run a scenario with one seed or many; a violation is printed with the command that replays it
    Run {
        /// Scenario file, such as simulations/smoke.toml
        file: PathBuf,
        /// Run this one seed
        #[arg(long, conflicts_with = "seeds")]
        seed: Option<u64>,
        /// Run seeds 0 to COUNT - 1
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        /// Write report.json into this folder
        #[arg(long)]
        report: Option<PathBuf>,
        /// Print the reports as JSON
        #[arg(long)]
        json: bool,
    },
    /// Run one seed again, event by event
    Replay {
        file: PathBuf,
        #[arg(long)]
        seed: u64,
        /// Print a line for every event
        #[arg(long)]
        trace: bool,
    },
}

pub fn run(args: SimArgs) -> Result<(), CliError> {
    match args.command {
        SimCommand::Run {
            file,
            seed,
            seeds,
            report,
            json,
        } => {
            let scenario = Scenario::load(&file)?;
            let range = seed.map_or(0..seeds, |seed| seed..seed.saturating_add(1));
            run_seeds(&scenario, &file, range, report, json)
        }
        SimCommand::Replay { file, seed, trace } => replay(&Scenario::load(&file)?, seed, trace),
    }
}

fn run_seeds(
    scenario: &Scenario,
    file: &std::path::Path,
    seeds: std::ops::Range<u64>,
    report: Option<PathBuf>,
    json: bool,
) -> Result<(), CliError> {
    let total = seeds.end.saturating_sub(seeds.start);
    let started = Instant::now();
    let mut drawn = started;
    let mut reports = Vec::new();
    let mut failed = 0;
    for seed in seeds {
        let run = simulation::run(scenario, seed, Options::default());
        if !run.violations.is_empty() {
            failed += 1;
            eprintln!("seed {seed} FAILED");
            for violation in &run.violations {
                eprintln!("  {violation}");
            }
            eprintln!(
                "  replay: meridian sim replay {} --seed {seed} --trace",
                file.display()
            );
        }
        reports.push(run);
        if std::io::stderr().is_terminal() && drawn.elapsed() > PROGRESS_EVERY {
            drawn = Instant::now();
            draw_progress(reports.len() as u64, total, failed, started.elapsed())?;
        }
    }
    if let Some(folder) = report {
        let path = folder.join("report.json");
        let write = |source| CliError::Write {
            path: path.display().to_string(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(write)?;
        std::fs::write(
            &path,
            serde_json::to_vec_pretty(&reports).unwrap_or_default(),
        )
        .map_err(write)?;
    }
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(
            out,
            "{}",
            serde_json::to_string_pretty(&reports).unwrap_or_default()
        )?;
    } else {
        writeln!(out, "{}", summary(&reports, failed, started.elapsed()))?;
    }
    match failed {
        0 => Ok(()),
        count => Err(CliError::Violations {
            count,
            seeds: total,
        }),
    }
}

fn draw_progress(done: u64, total: u64, failed: usize, elapsed: Duration) -> Result<(), CliError> {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = total.saturating_sub(done) as f64 / rate.max(1e-3);
    let mut err = std::io::stderr().lock();
    write!(
        err,
        "\r{done}/{total} seeds, {failed} failed, {rate:.1}/s, {left:.0} s left   "
    )?;
    if done == total {
        writeln!(err)?;
    }
    Ok(err.flush()?)
}

fn summary(reports: &[RunReport], failed: usize, elapsed: Duration) -> String {
    let virtual_s = reports.iter().map(|r| r.virtual_us).sum::<u64>() as f64 / 1e6;
    let operations: u64 = reports.iter().map(|r| r.operations).sum();
    let conflicts: u64 = reports.iter().map(|r| r.conflicts).sum();
    let wall = elapsed.as_secs_f64();
    format!(
        "{} seeds passed, {failed} failed: {operations} operations and {conflicts} conflicts in {virtual_s:.0} \
         virtual seconds, {wall:.1} s ({:.0}x real time)",
        reports.len() - failed,
        virtual_s / wall.max(1e-3)
    )
}

fn replay(scenario: &Scenario, seed: u64, trace: bool) -> Result<(), CliError> {
    let mut print = |line: String| println!("{line}");
    let options = Options {
        trace: trace.then_some(&mut print),
        ..Options::default()
    };
    let run = simulation::run(scenario, seed, options);
    println!("{}", serde_json::to_string_pretty(&run).unwrap_or_default());
    match run.violations.len() {
        0 => Ok(()),
        _ => Err(CliError::Violations { count: 1, seeds: 1 }),
    }
}
