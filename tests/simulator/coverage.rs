//! Rare branches that no seed takes are not tested, whatever passes: every mark is hit and every whim fires within
//! some seeds, and nothing goes wrong by it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use meridian::marks::MARKS;
use meridian::simulation::{Options, RunReport, run};
use meridian::whims::WHIMS;

use crate::runs;

/// What is rare, and where it happens: the scenario, and the seed to begin with. That seed changes with the code, and
/// the test prints the one it found.
const RARE: [(&str, &str, u64); 6] = [
    ("copy begun anew", "disks.toml", 67),
    ("fetch twice", "disks.toml", 67),
    ("tiny part", "disks.toml", 67),
    ("rescued by a write", "dead.toml", 68),
    ("vanished", "dead.toml", 100),
    ("replica back too soon", "movers.toml", 30),
];
/// Seeds within which it must happen there.
const SEEDS_MAX: u64 = 200;
/// Runs of all scenarios within which everything else must have happened.
const RUNS_MAX: u64 = 250;

/// What has not happened yet.
#[derive(Debug)]
struct Missing {
    marks: BTreeSet<&'static str>,
    whims: BTreeSet<&'static str>,
}

impl Missing {
    fn all() -> Self {
        Missing {
            marks: MARKS.iter().map(|(name, _)| *name).collect(),
            whims: WHIMS.iter().map(|(name, _)| *name).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.whims.is_empty()
    }

    fn lacks(&self, name: &str) -> bool {
        self.marks.contains(name) || self.whims.contains(name)
    }

    fn strike(&mut self, report: &RunReport) {
        self.marks.retain(|name| !report.marks.contains_key(name));
        self.whims.retain(|name| !report.whims.contains_key(name));
    }
}

#[test]
fn every_mark_is_hit_and_every_whim_fires() {
    let mut missing = Missing::all();
    for report in runs::played() {
        missing.strike(report);
    }
    println!("not in the first {} runs: {missing:?}", runs::COUNT);
    for (rare, name, first) in RARE {
        for seed in first..first + SEEDS_MAX {
            if !missing.lacks(rare) {
                break;
            }
            let report = run(&runs::load(name), seed, Options::default());
            runs::assert_clean(&report);
            missing.strike(&report);
            if !missing.lacks(rare) {
                println!("{rare}: {name}, seed {seed}");
            }
        }
    }
    println!("not in the rare ones: {missing:?}");
    let missing = Mutex::new(missing);
    let look = || missing.lock().unwrap_or_else(PoisonError::into_inner);
    let more = runs::on_all_cores(runs::COUNT..RUNS_MAX, |n| {
        if look().is_empty() {
            return None;
        }
        let report = runs::nth(n, Options::default());
        runs::assert_clean(&report);
        let mut missing = look();
        let before = format!("{missing:?}");
        missing.strike(&report);
        if format!("{missing:?}") != before {
            println!("{}, seed {n}, had some: {missing:?} left", report.scenario);
        }
        Some(())
    });
    println!("{} runs more", more.len());
    let missing = missing.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(missing.is_empty(), "never: {missing:?}");
}
