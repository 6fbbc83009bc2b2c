//! `sim run` and `sim replay`: worlds by seed, or by plan.

mod compare;
mod failures;

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::CliError;
use crate::simulation::expect::Expect;
use crate::simulation::file::PlanFile;
use crate::simulation::page::Report;
use crate::simulation::scenario::Scenario;
use crate::simulation::{self, Options, RunReport};
use failures::Failures;

/// How often the progress line is drawn anew.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct SimArgs {
    #[command(subcommand)]
    command: SimCommand,
}

#[derive(Debug, Subcommand)]
enum SimCommand {
    /// Run a scenario with one seed or many, or a stored plan; what fails is stored and made small
    Run(RunArgs),
    /// Print what differs between two reports
    Compare {
        /// Folder of a report, or its report.json
        a: PathBuf,
        b: PathBuf,
        /// Print what is the same too
        #[arg(long)]
        all: bool,
    },
    /// Run one seed or plan again, event by event
    Replay {
        /// Scenario file
        #[arg(required_unless_present = "plan", requires = "seed")]
        file: Option<PathBuf>,
        #[arg(long)]
        seed: Option<u64>,
        /// Plan file, instead of a scenario and a seed
        #[arg(long, conflicts_with_all = ["file", "seed"])]
        plan: Option<PathBuf>,
        /// Print a line for every event
        #[arg(long)]
        trace: bool,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Scenario file, such as simulations/smoke.toml
    #[arg(required_unless_present = "plan")]
    file: Option<PathBuf>,
    /// Run this stored plan instead of a scenario
    #[arg(long, conflicts_with_all = ["file", "seed", "seeds", "first"])]
    plan: Option<PathBuf>,
    /// Run this one seed
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Run so many seeds
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    seeds: u64,
    /// The first of them
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    first: u64,
    /// Find the shortest plan that fails as a failing seed does; for a single run unless --shrink=false
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    shrink: Option<bool>,
    /// Store the plans of failing seeds in this folder
    #[arg(long, value_name = "DIR", default_value = "sim-found")]
    found: PathBuf,
    /// Write report.json and report.html into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print the reports as JSON
    #[arg(long)]
    json: bool,
    /// Keep the regions' stores as LMDB files in this folder, seed by seed; what happens is the same as in memory
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
}

/// What is played.
enum Source {
    Seeds(Box<Scenario>, PathBuf, Range<u64>),
    Plan(Box<PlanFile>, PathBuf),
}

impl Source {
    fn of(args: &RunArgs) -> Result<Source, CliError> {
        if let Some(path) = &args.plan {
            return Ok(Source::Plan(Box::new(PlanFile::load(path)?), path.clone()));
        }
        let path = args.file.clone().unwrap_or_default();
        let scenario = Box::new(Scenario::load(&path)?);
        let many = args.first..args.first.saturating_add(args.seeds);
        let range = args.seed.map_or(many, |seed| seed..seed.saturating_add(1));
        Ok(Source::Seeds(scenario, path, range))
    }

    fn len(&self) -> u64 {
        match self {
            Source::Seeds(_, _, range) => range.end.saturating_sub(range.start),
            Source::Plan(..) => 1,
        }
    }

    fn plan(&self, nth: u64) -> PlanFile {
        match self {
            Source::Seeds(scenario, _, range) => PlanFile::draw(scenario, range.start + nth),
            Source::Plan(plan, _) => PlanFile::clone(plan),
        }
    }

    fn expect(&self) -> Expect {
        match self {
            Source::Seeds(scenario, ..) => scenario.expect,
            Source::Plan(..) => Expect::default(),
        }
    }

    /// What plays a run again.
    fn replay(&self, seed: u64) -> String {
        match self {
            Source::Seeds(_, path, _) => {
                format!(
                    "meridian sim replay {} --seed {seed} --trace",
                    path.display()
                )
            }
            Source::Plan(_, path) => replay_plan(path),
        }
    }
}

fn replay_plan(path: &Path) -> String {
    format!("meridian sim replay --plan {} --trace", path.display())
}

pub fn run(args: SimArgs) -> Result<(), CliError> {
    match args.command {
        SimCommand::Run(args) => run_all(&args),
        SimCommand::Compare { a, b, all } => compare::compare(&a, &b, all),
        SimCommand::Replay {
            file,
            seed,
            plan,
            trace,
        } => {
            let plan = match plan {
                Some(path) => PlanFile::load(&path)?,
                None => {
                    let scenario = Scenario::load(&file.unwrap_or_default())?;
                    PlanFile::draw(&scenario, seed.unwrap_or(0))
                }
            };
            replay(&plan, trace)
        }
    }
}

fn run_all(args: &RunArgs) -> Result<(), CliError> {
    let source = Source::of(args)?;
    let total = source.len();
    let failures = Failures {
        folder: &args.found,
        shrink: args.shrink.unwrap_or(total == 1),
    };
    let mut progress = Progress::new(total);
    let mut reports = Vec::new();
    let mut failed = 0;
    for nth in 0..total {
        let plan = source.plan(nth);
        let options = Options {
            figures: args.report.is_some(),
            expect: source.expect(),
            files: args
                .files
                .as_ref()
                .map(|dir| dir.join(format!("run-{nth}"))),
            ..Options::default()
        };
        let run = simulation::play(&plan, options);
        if !run.passed() {
            failed += 1;
            progress.clear()?;
            failures.tell(&plan, &run, &source.replay(run.seed))?;
        }
        reports.push(run);
        progress.draw(reports.len() as u64, failed)?;
    }
    let summary = summary(&reports, failed, progress.started.elapsed());
    let report = Report::new(reports, |seed| source.replay(seed));
    if let Some(folder) = &args.report {
        let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
        write_into(folder, "report.json", &json)?;
        let page = write_into(folder, "report.html", report.to_html().as_bytes())?;
        eprintln!("the report is {}", page.display());
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        let json = serde_json::to_string_pretty(&report.runs).unwrap_or_default();
        writeln!(out, "{json}")?;
    } else {
        writeln!(out, "{summary}")?;
    }
    match failed {
        0 => Ok(()),
        count => Err(CliError::Violations {
            count,
            seeds: total,
        }),
    }
}

/// Writes a file into a folder, which is made if it is not there. Gives its path.
fn write_into(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, CliError> {
    let path = folder.join(name);
    let write = |source| CliError::Write {
        path: path.display().to_string(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(write)?;
    std::fs::write(&path, bytes).map_err(write)?;
    Ok(path)
}

/// The line that says how far it is, on a terminal only.
struct Progress {
    total: u64,
    started: Instant,
    drawn: Instant,
    shown: bool,
}

impl Progress {
    fn new(total: u64) -> Self {
        let started = Instant::now();
        Progress {
            total,
            started,
            drawn: started,
            shown: false,
        }
    }

    fn draw(&mut self, done: u64, failed: usize) -> Result<(), CliError> {
        let last = done == self.total;
        let due = self.drawn.elapsed() > PROGRESS_EVERY || (last && self.shown);
        if !due || !std::io::stderr().is_terminal() {
            return Ok(());
        }
        (self.drawn, self.shown) = (Instant::now(), true);
        let rate = done as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let left = self.total.saturating_sub(done) as f64 / rate.max(1e-3);
        let mut err = std::io::stderr().lock();
        write!(
            err,
            "\r\x1b[K{done}/{} seeds, {failed} failed, {rate:.1}/s, {left:.0} s left",
            self.total
        )?;
        if last {
            writeln!(err)?;
        }
        Ok(err.flush()?)
    }

    /// Takes the line away, so that something can be said.
    fn clear(&mut self) -> Result<(), CliError> {
        if std::mem::take(&mut self.shown) {
            write!(std::io::stderr(), "\r\x1b[K")?;
        }
        Ok(())
    }
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

fn replay(plan: &PlanFile, trace: bool) -> Result<(), CliError> {
    let mut print = |line: String| println!("{line}");
    let options = Options {
        trace: trace.then_some(&mut print),
        ..Options::default()
    };
    let run = simulation::play(plan, options);
    println!("{}", serde_json::to_string_pretty(&run).unwrap_or_default());
    match run.violations.len() {
        0 => Ok(()),
        _ => Err(CliError::Violations { count: 1, seeds: 1 }),
    }
}
