//! Bugs planted on purpose, each caught by the oracle that is there for it. An oracle that has never failed is a
//! decoration; one that no longer fails where it should has lost its eyes.
//!
//! One table says it all. A row is caught when its oracle objects in one of some seeds of its scenario, and the
//! branches that the bug lies behind were taken: what breaks for another reason proves nothing. A run ends at the
//! first event that any oracle objects to; others that object to the same event are printed, and are welcome.

#![allow(clippy::disallowed_methods, reason = "says how long each row takes")]

use std::collections::BTreeSet;
use std::time::Instant;

use meridian::replica::PlantedBug;
use meridian::simulation::{Options, OracleId, Planted, run};

use crate::runs::{load, on_all_cores};

/// Seeds within which a planted bug must be caught.
const SEEDS_MAX: u64 = 200;

struct Row {
    bug: Planted,
    /// Of `simulations/`.
    scenario: &'static str,
    oracle: OracleId,
    /// What must have been hit besides.
    marks: &'static [&'static str],
    /// The seed to begin with, where the first ones take long: what catches it changes with the code.
    first: u64,
}

impl Row {
    const fn from(self, first: u64) -> Row {
        Row { first, ..self }
    }
}

const fn replica(
    bug: PlantedBug,
    scenario: &'static str,
    oracle: OracleId,
    marks: &'static [&'static str],
) -> Row {
    world(Planted::Replica(bug), scenario, oracle, marks)
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
        first: 0,
    }
}

use OracleId::*;
use PlantedBug::*;

const ROWS: &[Row] = &[
    world(Planted::ShipBeforeSync, "smoke.toml", Dots, &[]),
    // Objected to as soon as it is believed, mostly before anything is dropped for it.
    world(Planted::TruncateAlone, "smoke.toml", StableStamp, &[]),
    world(Planted::TokenIgnored, "smoke.toml", Session, &[]),
    replica(
        CollectAlone,
        "smoke.toml",
        StableStamp,
        &["tombstone collected"],
    ),
    replica(ArrivalOrder, "smoke.toml", NoGoingBack, &[]),
    replica(TieByArrival, "clocks.toml", NoGoingBack, &["tie"]).from(16),
    replica(
        EqualRankWins,
        "expiry.toml",
        Convergence,
        &["expired twice"],
    )
    .from(4),
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
    replica(JoinerUncounted, "membership.toml", StableStamp, &[]).from(53),
    replica(WholeBeforeCopy, "movers.toml", Atomicity, &["replica gone"]).from(20),
    replica(CopyWithoutTombstones, "disks.toml", NoGoingBack, &[]).from(4),
    replica(TransactionSplit, "smoke.toml", Atomicity, &[]),
    replica(StreamRecordForgotten, "smoke.toml", Streams, &[]),
    replica(ExpiryAsWrite, "expiry.toml", Expiry, &["item expired"]),
    replica(
        CounterAddsTwice,
        "smoke.toml",
        Merging,
        &["versions merged"],
    ),
    replica(LapseByMinority, "dead.toml", StableStamp, &[]),
    replica(RescueDropsAbsent, "dead.toml", Conflicts, &[]).from(2),
];

/// The first seed in which the row's oracle objects, and all oracles that do.
fn catch(row: &Row) -> Option<(u64, BTreeSet<OracleId>)> {
    let scenario = load(row.scenario);
    (row.first..row.first + SEEDS_MAX).find_map(|seed| {
        let options = Options {
            planted: Some(row.bug),
            ..Options::default()
        };
        let report = run(&scenario, seed, options);
        let objected: BTreeSet<_> = report.violations.iter().map(|v| v.oracle).collect();
        let reached = row.marks.iter().all(|m| report.marks.contains_key(m));
        (reached && objected.contains(&row.oracle)).then_some((seed, objected))
    })
}

#[test]
fn every_planted_bug_is_caught_by_its_oracle() {
    let missed = on_all_cores(0..ROWS.len() as u64, |n| {
        let row = &ROWS[usize::try_from(n).expect("a few")];
        let began = Instant::now();
        let caught = catch(row);
        let ms = began.elapsed().as_millis();
        let Some((seed, mut others)) = caught else {
            return Some(Some(format!("{:?} by {}", row.bug, row.oracle)));
        };
        others.remove(&row.oracle);
        let others: Vec<&str> = others.iter().map(|oracle| oracle.id()).collect();
        println!(
            "{:?} by {}: seed {seed}, {ms} ms; besides: {others:?}",
            row.bug, row.oracle
        );
        Some(None)
    });
    let missed: Vec<String> = missed.into_iter().flatten().collect();
    assert!(
        missed.is_empty(),
        "not caught within {SEEDS_MAX} seeds: {missed:?}"
    );
}
