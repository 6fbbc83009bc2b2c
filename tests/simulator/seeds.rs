//! The simulator finds what it should, and only that; and it does so again.

use std::path::Path;

use meridian::simulation::scenario::Scenario;
use meridian::simulation::{Options, OracleId, RunReport, run};

fn load(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("simulations")
        .join(name);
    Scenario::load(&path).expect("the scenario is valid")
}

fn play(scenario: &Scenario, seed: u64) -> RunReport {
    run(scenario, seed, Options::default())
}

fn assert_clean(report: &RunReport) {
    let found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn one_seed_gives_one_world() {
    let scenario = load("smoke.toml");
    for seed in 0..3 {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut trace = |line: String| first.push(line);
        let options = Options {
            trace: Some(&mut trace),
            ..Options::default()
        };
        let one = run(&scenario, seed, options);
        let mut trace = |line: String| second.push(line);
        let options = Options {
            trace: Some(&mut trace),
            ..Options::default()
        };
        let other = run(&scenario, seed, options);
        let differs = first.iter().zip(&second).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}: the first event that differs");
        assert_eq!(one, other, "seed {seed}");
    }
    assert_ne!(play(&scenario, 0).hash, play(&scenario, 1).hash);
}

#[test]
fn a_seed_gives_the_same_world_on_real_files() {
    for (name, seeds) in [("smoke.toml", 0..2), ("disks.toml", 0..2)] {
        let scenario = load(name);
        for seed in seeds {
            let folder = tempfile::tempdir().expect("a folder");
            let options = Options {
                files: Some(folder.path().to_owned()),
                ..Options::default()
            };
            let on_files = run(&scenario, seed, options);
            assert_eq!(on_files, play(&scenario, seed), "{name}, seed {seed}");
        }
    }
}

#[test]
fn smoke_seeds_pass_and_every_oracle_looks() {
    let scenario = load("smoke.toml");
    let mut reports = Vec::new();
    for seed in 0..16 {
        let report = play(&scenario, seed);
        assert_clean(&report);
        assert!(
            report.converged_us.is_some(),
            "seed {seed} ended without converging"
        );
        reports.push(report);
    }
    let sum = |of: fn(&RunReport) -> u64| reports.iter().map(of).sum::<u64>();
    assert!(sum(|r| r.acknowledged) > 500, "clients got something done");
    assert!(sum(|r| r.conflicts) > 0, "some writes were concurrent");
    assert!(sum(|r| r.crashes) > 0, "some regions crashed");
    let looked = [
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
    for oracle in looked {
        let checks = reports.iter().filter_map(|r| r.checks.get(&oracle));
        assert!(checks.sum::<u64>() > 0, "{oracle} never looked");
    }
}

#[test]
fn a_cut_link_is_bridged_by_a_relay() {
    let scenario = load("triangle.toml");
    for seed in 0..3 {
        let report = play(&scenario, seed);
        assert_clean(&report);
        assert!(
            report.lag_max_us < 8_000_000,
            "a commit took {} us",
            report.lag_max_us
        );
    }
}

#[test]
fn items_expire_and_refreshes_win() {
    let scenario = load("expiry.toml");
    let mut looked = 0;
    for seed in 0..16 {
        let report = play(&scenario, seed);
        assert_clean(&report);
        assert!(
            report.converged_us.is_some(),
            "seed {seed} ended without converging"
        );
        looked += report.checks.get(&OracleId::Expiry).copied().unwrap_or(0);
    }
    assert!(looked > 100, "only {looked} items expired");
}

#[test]
fn additions_made_in_several_regions_all_count() {
    let scenario = load("merging.toml");
    for seed in 0..8 {
        assert_clean(&play(&scenario, seed));
    }
}

#[test]
fn lost_disks_are_made_up_for() {
    let scenario = load("disks.toml");
    let (mut copies, mut lost) = (0, 0);
    for seed in 0..16 {
        let mut trace = |line: String| copies += u64::from(line.contains("part of"));
        let options = Options {
            trace: Some(&mut trace),
            ..Options::default()
        };
        let report = run(&scenario, seed, options);
        assert_clean(&report);
        assert!(
            report.converged_us.is_some(),
            "seed {seed} ended without converging"
        );
        lost += report.lost;
    }
    assert!(copies > 10, "only {copies} parts of copies were sent");
    assert!(lost > 0, "some commits were on the lost disk only");
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
            assert_clean(&play(&scenario, seed));
        }
    }
}

#[test]
fn wrong_clocks_fence_and_hold_and_nothing_is_lost() {
    let scenario = load("clocks.toml");
    let (mut fenced, mut lag_us) = (0, 0);
    for seed in 0..16 {
        let report = play(&scenario, seed);
        assert_clean(&report);
        assert!(
            report.converged_us.is_some(),
            "seed {seed} ended without converging"
        );
        fenced += report.checks.get(&OracleId::Fence).copied().unwrap_or(0);
        lag_us = lag_us.max(report.lag_max_us);
    }
    assert!(fenced > 100, "O18 looked {fenced} times");
    assert!(lag_us > 1_000_000, "nothing was held");
}

#[test]
fn what_a_disk_damages_is_put_right_and_nothing_else_is_repaired() {
    let scenario = load("triangle.toml");
    let mut repairs = 0;
    for seed in 0..12 {
        let report = play(&scenario, seed);
        assert_clean(&report);
        repairs += report.repairs;
    }
    assert!(repairs > 0, "no disk was damaged");
}

#[test]
fn members_that_are_dead_for_long_lapse_and_come_back_with_all_they_had() {
    let scenario = load("dead.toml");
    for seed in 0..8 {
        let report = play(&scenario, seed);
        assert_clean(&report);
        assert!(
            report.converged_us.is_some(),
            "seed {seed} ended without converging"
        );
    }
}

#[test]
fn members_come_and_go() {
    let scenario = load("membership.toml");
    let mut done = 0;
    // 1 and 8 are what was found first: a region that left told of its replicas last, and an index that was added
    // where nobody had heard of the newcomer.
    for seed in 0..12 {
        let mut trace = |line: String| done += u64::from(line.contains("} is done"));
        let options = Options {
            trace: Some(&mut trace),
            ..Options::default()
        };
        let report = run(&scenario, seed, options);
        assert_clean(&report);
        assert!(
            report.converged_us.is_some(),
            "seed {seed} ended without converging"
        );
    }
    assert!(done > 5, "only {done} commands were done");
}
