//! Bugs planted on purpose, each caught by the oracle that is there for it. An oracle that has never failed is a
//! decoration; one that no longer fails where it should has lost its eyes.
//!
//! One table says it all. A row is caught when its oracle objects in one of the first seeds of its scenario, and
//! the branches that the bug lies behind were taken: what breaks for another reason proves nothing.

#![allow(clippy::disallowed_methods, reason = "uses all cores")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use meridian::replica::PlantedBug;
use meridian::simulation::file::PlanFile;
use meridian::simulation::scenario::Scenario;
use meridian::simulation::{Options, OracleId, Planted, play};

/// Seeds within which a planted bug must be caught.
const SEEDS_MAX: u64 = 200;
struct Row {
    bug: Planted,
    /// Of `simulations/`.
    scenario: &'static str,
    oracle: OracleId,
    /// What must have been hit besides.
    marks: &'static [&'static str],
}

const fn replica(
    bug: PlantedBug,
    scenario: &'static str,
    oracle: OracleId,
    marks: &'static [&'static str],
) -> Row {
    let bug = Planted::Replica(bug);
    Row {
        bug,
        scenario,
        oracle,
        marks,
    }
}

const fn world(
    bug: Planted,
    scenario: &'static str,
    oracle: OracleId,
    marks: &'static [&'static str],
) -> Row {
    Row {
        bug,
        scenario,
        oracle,
        marks,
    }
}

use OracleId::*;
use PlantedBug::*;

const ROWS: &[Row] = &[
    world(Planted::ShipBeforeSync, "smoke.toml", Dots, &[]),
    world(
        Planted::TruncateAlone,
        "smoke.toml",
        StableStamp,
        &["log truncated"],
    ),
    world(Planted::TokenIgnored, "smoke.toml", Session, &[]),
    replica(
        CollectAlone,
        "smoke.toml",
        StableStamp,
        &["tombstone collected"],
    ),
    replica(ArrivalOrder, "smoke.toml", NoGoingBack, &[]),
    replica(TieByArrival, "clocks.toml", NoGoingBack, &["tie"]),
    replica(
        EqualRankWins,
        "expiry.toml",
        Convergence,
        &["expired twice"],
    ),
    replica(FrontierLate, "smoke.toml", Dots, &[]),
    replica(IndexDeleteForgotten, "smoke.toml", DerivedState, &[]),
    replica(
        BackfillSkips,
        "smoke.toml",
        DerivedState,
        &["index backfilled"],
    ),
    replica(
        ConflictForgotten,
        "smoke.toml",
        Conflicts,
        &["context consulted"],
    ),
    replica(
        ContextIgnored,
        "smoke.toml",
        Conflicts,
        &["context consulted"],
    ),
    replica(
        ConflictDropUncounted,
        "smoke.toml",
        Conflicts,
        &["conflict dropped"],
    ),
    replica(ClockBoundForgotten, "smoke.toml", Clocks, &[]),
    replica(HeldDropped, "clocks.toml", Clocks, &[]),
    replica(FenceForgotten, "clocks.toml", Fence, &[]),
    replica(IncarnationKept, "disks.toml", Dots, &[]),
    replica(JoinerUncounted, "membership.toml", StableStamp, &[]),
    replica(CopyWithoutTombstones, "disks.toml", NoGoingBack, &[]),
    replica(TransactionSplit, "smoke.toml", Atomicity, &[]),
    replica(StreamRecordForgotten, "smoke.toml", Streams, &[]),
    replica(ExpiryAsWrite, "expiry.toml", Expiry, &["item expired"]),
    replica(
        CounterAddsTwice,
        "smoke.toml",
        Merging,
        &["versions merged"],
    ),
];

fn load(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("simulations")
        .join(name);
    Scenario::load(&path).expect("the scenario is valid")
}

fn with(bug: Planted) -> Options<'static> {
    Options {
        planted: Some(bug),
        ..Options::default()
    }
}

/// The first seed in which the row's oracle objects, as a plan.
fn catch(row: &Row) -> Option<PlanFile> {
    let scenario = load(row.scenario);
    let plans = (0..SEEDS_MAX).map(|seed| PlanFile::draw(&scenario, seed));
    plans.into_iter().find(|plan| {
        let report = play(plan, with(row.bug));
        let mut seen = report.violations.iter().map(|v| v.oracle);
        seen.any(|oracle| oracle == row.oracle)
            && row.marks.iter().all(|m| report.marks.contains_key(m))
    })
}

#[test]
fn every_planted_bug_is_caught_by_its_oracle() {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let missed = std::thread::scope(|scope| {
        let work = || {
            let mut missed = Vec::new();
            while let Some(row) = ROWS.get(next.fetch_add(1, Ordering::Relaxed)) {
                let began = std::time::Instant::now();
                let caught = catch(row).map(|plan| plan.seed());
                let ms = began.elapsed().as_millis();
                println!("{:?} by {}: seed {caught:?}, {ms} ms", row.bug, row.oracle);
                if caught.is_none() {
                    missed.push(format!("{:?} by {}", row.bug, row.oracle));
                }
            }
            missed
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|w| w.join().expect("no panic"));
        joined.flatten().collect::<Vec<_>>()
    });
    assert!(
        missed.is_empty(),
        "not caught within {SEEDS_MAX} seeds: {missed:?}"
    );
}
