//! Rare branches that no seed takes are not tested, whatever passes: every mark is hit and every whim fires within
//! some seeds, and nothing goes wrong by it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use meridian::marks::MARKS;
use meridian::simulation::{Options, RunReport, run};
use meridian::whims::WHIMS;

use crate::runs;

/// Where what is rare happened when last looked. That changes with the code: what is still missing is looked for in
/// more runs, and these lines can be put right by what the test prints.
const RARE: [(&str, u64); 5] = [
    ("disks.toml", 49),
    ("disks.toml", 54),
    ("smoke.toml", 57),
    ("dead.toml", 14),
    ("movers.toml", 17),
];
/// Runs within which everything must have happened.
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
    for (name, seed) in RARE {
        if !missing.is_empty() {
            let report = run(&runs::load(name), seed, Options::default());
            runs::assert_clean(&report);
            missing.strike(&report);
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
