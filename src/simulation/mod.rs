//! The simulator: whole clusters in virtual time, on the code that runs in production.
//!
//! One seed gives one world: regions with bad clocks, links with real geography, disks that forget what
//! was not synced, connections that die with what is on its way. The world drives the same
//! [`Replica`](crate::replica::Replica) and [`Replicator`](crate::replication::Replicator) as the daemon,
//! and its oracles say whether what came of it is right. Nothing here does again what production does;
//! what oracles compute, they compute in another way.
//!
//! [`scenario`] reads a file, `plan` and `storms` draw the rest from the seed, `world` and `happen` play
//! it on `host` and `net`, `oracle` judges it, [`report`] says what came of it.

mod clocks;
mod damage;
mod geography;
mod happen;
mod host;
mod net;
mod oracle;
mod plan;
pub mod report;
mod rng;
pub mod scenario;
mod skew;
mod storms;
mod workload;
mod world;

pub use report::{OracleId, RunReport, Violation};

use crate::replica::PlantedBug;
use scenario::Scenario;

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
}

/// Plays `scenario` with `seed`, and ends at the first event that an oracle objects to.
pub fn run(scenario: &Scenario, seed: u64, options: Options<'_>) -> RunReport {
    let plan = plan::Plan::draw(scenario, seed);
    world::World::new(plan, seed, options.planted, options.trace).run(&scenario.name)
}
