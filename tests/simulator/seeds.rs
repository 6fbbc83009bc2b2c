//! The simulator finds what it should, and only that; and it does so again.

use std::path::Path;

use meridian::simulation::scenario::Scenario;
use meridian::simulation::{Options, OracleId, RunReport, run};

use crate::runs::{self, assert_clean, load, played, played_of};

fn sum(reports: &[&RunReport], of: fn(&RunReport) -> u64) -> u64 {
    reports.iter().map(|report| of(report)).sum()
}

fn looked(reports: &[&RunReport], oracle: OracleId) -> u64 {
    let checks = reports.iter().filter_map(|r| r.checks.get(&oracle));
    checks.sum()
}

#[test]
fn one_seed_gives_one_world() {
    let scenario = load("smoke.toml");
    let play = |seed| {
        let mut events = Vec::new();
        let mut trace = |line: String| events.push(line);
        let options = Options {
            trace: Some(&mut trace),
            ..Options::default()
        };
        (run(&scenario, seed, options), events)
    };
    let ((one, first), (other, second)) = (play(1), play(1));
    let differs = first.iter().zip(&second).find(|(a, b)| a != b);
    assert_eq!(differs, None, "the first event that differs");
    assert_eq!(one, other);
    for (n, report) in (0..).zip(&played()[..2]) {
        assert_eq!(runs::nth(n, Options::default()), *report, "seed {n}");
    }
    assert_ne!(played()[1].hash, played()[11].hash);
}

#[test]
fn a_seed_gives_the_same_world_on_real_files() {
    for n in [0, 1, 9, 11] {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            files: Some(folder.path().to_owned()),
            ..Options::default()
        };
        let at = usize::try_from(n).expect("small");
        assert_eq!(runs::nth(n, options), played()[at], "seed {n}");
    }
}

#[test]
fn smoke_seeds_pass_and_every_oracle_looks() {
    let reports = played_of("smoke.toml");
    assert!(
        sum(&reports, |r| r.acknowledged) > 500,
        "clients got something done"
    );
    assert!(
        sum(&reports, |r| r.conflicts) > 0,
        "some writes were concurrent"
    );
    assert!(sum(&reports, |r| r.crashes) > 0, "some regions crashed");
    let oracles = [
        OracleId::Convergence,
        OracleId::Durability,
        OracleId::NoGoingBack,
        OracleId::Session,
        OracleId::Atomicity,
        OracleId::DerivedState,
        OracleId::Streams,
        OracleId::Conflicts,
        OracleId::StableStamp,
        OracleId::Dots,
        OracleId::Clocks,
        OracleId::Fence,
        OracleId::Merging,
    ];
    for oracle in oracles {
        assert!(looked(&reports, oracle) > 0, "{oracle} never looked");
    }
}

#[test]
fn a_cut_link_is_bridged_by_a_relay() {
    let reports = played_of("triangle.toml");
    assert!(reports.iter().all(|r| r.marks.contains_key("relay")));
    let mut lags: Vec<u64> = reports.iter().map(|r| r.lag_max_us).collect();
    lags.sort_unstable();
    let usual_us = lags[lags.len() / 2];
    assert!(usual_us < 8_000_000, "commits took {lags:?} us");
}

#[test]
fn items_expire_and_refreshes_win() {
    let expired = looked(&played_of("expiry.toml"), OracleId::Expiry);
    assert!(expired > 30, "only {expired} items expired");
}

#[test]
fn additions_made_in_several_regions_all_count() {
    let compared = looked(&played_of("merging.toml"), OracleId::Merging);
    assert!(compared > 0, "O21 never looked");
}

#[test]
fn lost_disks_are_made_up_for() {
    let reports = played_of("disks.toml");
    let copied = |r: &RunReport| r.marks.get("copied").copied().unwrap_or(0);
    assert!(sum(&reports, copied) > 0, "nobody was given a copy");
    assert!(
        sum(&reports, |r| r.lost) > 0,
        "some commits were on the lost disk only"
    );
}

/// What seeds have found before, each with the story in its file. Plans are played by plans.rs.
#[test]
fn what_was_found_once_stays_fixed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulations/found");
    let files = std::fs::read_dir(folder).expect("the folder is there");
    for file in files {
        let path = file.expect("the folder can be read").path();
        if path.to_string_lossy().ends_with(".plan.toml") {
            continue;
        }
        let scenario = Scenario::load(&path).expect("the scenario is valid");
        for seed in 0..3 {
            assert_clean(&run(&scenario, seed, Options::default()));
        }
    }
}

#[test]
fn wrong_clocks_fence_and_hold_and_nothing_is_lost() {
    let reports = played_of("clocks.toml");
    let fenced = looked(&reports, OracleId::Fence);
    assert!(fenced > 100, "O18 looked {fenced} times");
    let lag_us = reports.iter().map(|r| r.lag_max_us).max();
    assert!(lag_us > Some(1_000_000), "nothing was held");
}

/// That nothing else is repaired is what O12 looks at, in all worlds.
#[test]
fn what_a_disk_damages_is_put_right_and_nothing_else_is_repaired() {
    let all: Vec<&RunReport> = played().iter().collect();
    all.iter().for_each(|report| assert_clean(report));
    assert!(sum(&all, |r| r.repairs) > 0, "no disk was damaged");
}

#[test]
fn members_that_are_dead_for_long_lapse_and_come_back_with_all_they_had() {
    let reports = played_of("dead.toml");
    assert!(
        reports
            .iter()
            .any(|r| r.marks.contains_key("lapse decided"))
    );
}

#[test]
fn members_come_and_go() {
    let scenario = load("membership.toml");
    let mut done = 0;
    // 1 and 8 are what was found first: a region that left told of its replicas last, and an index that was added
    // where nobody had heard of the newcomer. In 160 all clocks leap by days while a replica is made.
    for seed in (0..12).chain([160]) {
        let mut trace = |line: String| done += u64::from(line.contains("} is done"));
        let options = Options {
            trace: Some(&mut trace),
            ..Options::default()
        };
        assert_clean(&run(&scenario, seed, options));
    }
    assert!(done > 5, "only {done} commands were done");
}

/// Most worlds take replicas away and give them back; none of it is lost, and none of it is left where it is gone.
#[test]
fn replicas_of_a_table_come_and_go() {
    let reports = played_of("movers.toml");
    for mark in ["replica gone", "replica whole"] {
        let hit = reports.iter().filter(|r| r.marks.contains_key(mark));
        assert!(hit.count() > 2, "{mark}");
    }
}
