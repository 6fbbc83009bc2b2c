//! `sim run` and `sim replay`: worlds by seed, or by plan.

mod compare;
mod failures;
mod interrupt;
mod live;
mod progress;
mod requests;
mod run;

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::CliError;
use crate::simulation::expect::Expect;
use crate::simulation::file::PlanFile;
use crate::simulation::scenario::Scenario;
use crate::simulation::script::{Finding, Script};
use crate::simulation::{self, Options, RunReport};
use requests::Requests;

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
    /// Run so many seeds at a time; as many as there are cores when this is not said
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
    /// Play the scenario's steps on real processes: on a cluster of its own, or on the one whose front door is at this
    /// address
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, require_equals = true, default_missing_value = "",
        conflicts_with_all = ["plan", "seed", "seeds", "first", "shrink", "report", "jobs", "files"])]
    live: Option<String>,
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

    /// The script that is played, if one is.
    fn script(&self) -> Option<(&Scenario, &Script)> {
        match self {
            Source::Seeds(scenario, ..) => Some((scenario, scenario.script.as_ref()?)),
            Source::Plan(..) => None,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Source::Seeds(_, path, _) | Source::Plan(_, path) => path,
        }
    }

    fn play(&self, plan: &PlanFile, options: Options<'_>) -> RunReport {
        match self.script() {
            None => simulation::play(plan, options),
            Some((scenario, script)) => {
                simulation::run_script(scenario, script, plan.seed(), options, &Requests)
            }
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

/// Says of each expectation whether it was met, and of those that were not what was found instead.
fn account(findings: &[Finding], file: &Path, only_unmet: bool) {
    let file = file.display().to_string();
    for finding in findings {
        match finding.met {
            true if only_unmet => {}
            true => eprintln!("  met      {}", finding.sentence(&file)),
            false => eprintln!("  NOT MET  {}", finding.sentence(&file)),
        }
    }
}

fn replay_plan(path: &Path) -> String {
    format!("meridian sim replay --plan {} --trace", path.display())
}

pub fn run(args: SimArgs) -> Result<(), CliError> {
    match args.command {
        SimCommand::Run(args) => match (&args.live, &args.file) {
            (Some(address), Some(path)) => live::run(&args, path, address),
            _ => run::run_all(&args),
        },
        SimCommand::Compare { a, b, all } => compare::compare(&a, &b, all),
        SimCommand::Replay {
            file,
            seed,
            plan,
            trace,
        } => {
            let source = match plan {
                Some(path) => Source::Plan(Box::new(PlanFile::load(&path)?), path),
                None => {
                    let (path, seed) = (file.unwrap_or_default(), seed.unwrap_or(0));
                    let scenario = Box::new(Scenario::load(&path)?);
                    Source::Seeds(scenario, path, seed..seed.saturating_add(1))
                }
            };
            replay(&source, trace)
        }
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

fn replay(source: &Source, trace: bool) -> Result<(), CliError> {
    let mut print = |line: String| println!("{line}");
    let options = Options {
        trace: trace.then_some(&mut print),
        ..Options::default()
    };
    let run = source.play(&source.plan(0), options);
    println!("{}", serde_json::to_string_pretty(&run).unwrap_or_default());
    match run.violations.is_empty() && run.findings.iter().all(|finding| finding.met) {
        true => Ok(()),
        false => Err(CliError::Violations { count: 1, seeds: 1 }),
    }
}
