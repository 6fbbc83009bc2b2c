//! Rare branches that no seed takes are not tested, whatever passes: every mark is hit and every whim fires within
//! some seeds, and nothing goes wrong by it.

#![allow(clippy::disallowed_methods, reason = "uses all cores")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use meridian::marks::MARKS;
use meridian::simulation::scenario::Scenario;
use meridian::simulation::{Options, RunReport, run};
use meridian::whims::WHIMS;

/// Of `simulations/`, in turn.
const SCENARIOS: [&str; 9] = [
    "disks.toml",
    "smoke.toml",
    "expiry.toml",
    "clocks.toml",
    "triangle.toml",
    "merging.toml",
    "dead.toml",
    "ahead.toml",
    "membership.toml",
];
/// What takes more luck than these runs have: a copy that finds a deletion forgotten by all but one, and a region
/// that asks for a write while it reaches no majority.
const RARE: [&str; 2] = ["vanished", "self fence"];
/// Runs within which everything must have happened.
const RUNS_MAX: u64 = 200;

fn load(name: &&str) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulations");
    Scenario::load(&folder.join(name)).expect("the scenario is valid")
}

/// What has not happened yet.
struct Missing {
    marks: BTreeSet<&'static str>,
    whims: BTreeSet<&'static str>,
}

impl Missing {
    fn all() -> Self {
        Missing {
            marks: (MARKS.iter().map(|(name, _)| *name))
                .filter(|name| !RARE.contains(name))
                .collect(),
            whims: WHIMS.iter().map(|(name, _)| *name).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.whims.is_empty()
    }

    fn strike(&mut self, report: &RunReport) {
        self.marks.retain(|name| !report.marks.contains_key(name));
        self.whims.retain(|name| !report.whims.contains_key(name));
    }
}

#[test]
fn every_mark_is_hit_and_every_whim_fires() {
    let scenarios: Vec<Scenario> = SCENARIOS.iter().map(load).collect();
    let missing = Mutex::new(Missing::all());
    let next = AtomicU64::new(0);
    let look = || missing.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        for nth in std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)) {
            if nth >= RUNS_MAX || look().is_empty() {
                break;
            }
            let count = scenarios.len() as u64;
            let scenario = &scenarios[usize::try_from(nth % count).expect("a few")];
            let report = run(scenario, nth, Options::default());
            assert!(report.violations.is_empty(), "{:?}", report.violations);
            look().strike(&report);
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
    println!("{} runs", next.load(Ordering::Relaxed));
    let Missing { marks, whims } = missing.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(
        marks.is_empty() && whims.is_empty(),
        "never: marks {marks:?}, whims {whims:?}"
    );
}
