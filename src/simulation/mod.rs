//! The simulator: whole clusters in virtual time, on the code that runs in production.
//!
//! One seed gives one world: regions with bad clocks, links with real geography, disks that forget what
//! was not synced, connections that die with what is on its way. The world drives the same
//! [`Replica`](crate::replica::Replica) and [`Replicator`](crate::replication::Replicator) as the daemon,
//! and its oracles say whether what came of it is right. Nothing here does again what production does;
//! what oracles compute, they compute in another way.
//!
//! [`scenario`] reads a file, `plan` and `storms` draw the rest from the seed, `world` and `happen` play
//! it on `host`, `volume` and `net`, `oracle` judges it, [`report`] says what came of it. What failed is stored as a
//! plan ([`mod@file`]), made as small as it can be ([`shrink`]) and told in words (`story`).

mod changed;
pub mod clients;
mod clocks;
pub mod cost;
mod damage;
mod dead;
mod done;
pub mod expect;
mod expiries;
pub mod figures;
pub mod file;
mod frames;
mod geography;
mod happen;
mod host;
mod lines;
pub mod links;
mod load;
mod measure;
mod merging;
mod meter;
mod movers;
mod net;
mod operators;
mod oracle;
pub mod page;
pub mod places;
mod plan;
pub mod report;
mod rng;
pub mod scenario;
pub mod script;
pub mod service;
pub mod shrink;
mod skew;
mod steady;
mod storms;
mod story;
mod volume;
pub mod watch;
mod workload;
mod world;

pub use report::{OracleId, RunReport, Violation};

use crate::replica::PlantedBug;
use file::PlanFile;
use scenario::Scenario;
use script::{Api, Script, Verdict};

/// A fault planted on purpose, so that the oracles can be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// One that the replica commits.
    Replica(PlantedBug),
    /// A region sends its commits before its disk has them (against I3).
    ShipBeforeSync,
    /// A region serves a session whose token it does not cover (against O4).
    TokenIgnored,
    /// A region truncates its logs by what it has itself (against section 10).
    TruncateAlone,
}

impl Planted {
    fn in_replica(self) -> Option<PlantedBug> {
        match self {
            Planted::Replica(bug) => Some(bug),
            Planted::ShipBeforeSync | Planted::TokenIgnored | Planted::TruncateAlone => None,
        }
    }
}

/// How to run.
#[derive(Default)]
pub struct Options<'o> {
    /// Called with one line for every event.
    pub trace: Option<&'o mut dyn FnMut(String)>,
    pub planted: Option<Planted>,
    /// Measure for the report; nothing that happens depends on it.
    pub figures: bool,
    /// What the run must show besides.
    pub expect: expect::Expect,
    /// Keep the regions' stores as files in this folder, which is made and is to hold nothing; in memory
    /// without it. What happens is the same.
    pub files: Option<std::path::PathBuf>,
}

/// Plays `scenario` with `seed`, and ends at the first event that an oracle objects to.
pub fn run(scenario: &Scenario, seed: u64, options: Options<'_>) -> RunReport {
    play(&PlanFile::draw(scenario, seed), options)
}

/// Plays a plan: what is stored of a run is the run again, event by event.
pub fn play(plan: &PlanFile, options: Options<'_>) -> RunReport {
    let seed = plan.seed();
    let expect = options.expect;
    let mut world = world::World::new(plan.to_plan(), seed, options.planted, options.trace);
    world.measure(options.figures || !expect.is_empty());
    if let Some(folder) = options.files {
        world.use_files(folder);
    }
    let mut report = world.run(&plan.name);
    report.expectations = expect.judge(&expect::Figures::of(&report));
    report
}

/// Plays a scenario with a script: its steps are asked through `api`, and nobody else asks anything.
pub fn run_script<'o>(
    scenario: &Scenario,
    script: &Script,
    seed: u64,
    options: Options<'o>,
    api: &'o dyn Api,
) -> RunReport {
    let plan = PlanFile::draw(scenario, seed);
    let mut world = world::World::new(plan.to_plan(), seed, options.planted, options.trace);
    world.measure(options.figures);
    world.play_script(api);
    if let Some(folder) = options.files {
        world.use_files(folder);
    }
    world.open();
    let mut verdict = Verdict::default();
    if let Err(lost) = script::play(script, &mut world, None, &mut verdict) {
        verdict.lose(&lost);
    }
    let mut report = world.report(&scenario.name);
    report.expectations = scenario.expect.judge(&verdict.figures);
    report.refused = verdict.figures.refused;
    report.findings = verdict.findings;
    report
}

/// A run in words: who is there, what happens, and what must not.
pub fn tell(plan: &PlanFile, report: &RunReport) -> String {
    story::tell(&plan.to_plan(), report)
}
