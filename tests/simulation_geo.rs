//! Planning by geography: the scenarios that are shipped, and what their clients see.

use std::path::{Path, PathBuf};

use meridian::simulation::scenario::Scenario;
use meridian::simulation::{Options, RunReport, run};

/// A fraction of the load is enough to see that a file is good, and is played in seconds.
const THINNED: u64 = 8;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("simulations")
}

fn thinned(path: &Path) -> Scenario {
    let mut scenario = Scenario::load(path).expect("the scenario is valid");
    for clients in &mut scenario.clients {
        clients.operations_per_second = clients.operations_per_second.div_ceil(THINNED);
    }
    scenario
}

fn play(scenario: &Scenario) -> RunReport {
    let options = Options {
        figures: true,
        expect: scenario.expect,
        ..Options::default()
    };
    run(scenario, 0, options)
}

fn meets_its_expectations(name: &str) -> RunReport {
    let scenario = thinned(&folder().join(name));
    let report = play(&scenario);
    assert!(
        report.violations.is_empty(),
        "{name}: {:?}",
        report.violations
    );
    assert!(!report.expectations.is_empty(), "{name} expects something");
    let unmet: Vec<String> = report
        .expectations
        .iter()
        .filter(|e| !e.met)
        .map(|e| e.sentence())
        .collect();
    assert!(unmet.is_empty(), "{name}: {unmet:?}");
    let figures = report.figures.as_ref().expect("they were asked for");
    for region in &figures.regions {
        let classes = figures
            .latencies
            .iter()
            .filter(|l| l.region == *region && l.count > 0);
        let classes: Vec<&str> = classes.map(|l| l.class.as_str()).collect();
        assert!(
            classes.contains(&"read") && classes.contains(&"write"),
            "{name}: {region}: {classes:?}"
        );
    }
    report
}

#[test]
fn three_continents_are_as_the_file_expects() {
    let report = meets_its_expectations("geo-three-continents.toml");
    let figures = report.figures.expect("they were asked for");
    // What a client waits has its own way in it.
    let singapore = figures
        .latencies
        .iter()
        .find(|l| l.region == "ap-southeast-1" && l.class == "read");
    assert!(
        singapore.is_some_and(|l| (45_000..47_000).contains(&l.p50_us)),
        "{singapore:?}"
    );
}

#[test]
fn the_load_follows_the_sun_as_the_file_expects() {
    meets_its_expectations("geo-follow-the-sun.toml");
}

#[test]
fn a_failover_is_as_the_file_expects() {
    let report = meets_its_expectations("geo-us-failover.toml");
    assert_eq!(report.crashes, 1);
    let figures = report.figures.expect("they were asked for");
    let of = |region: &str| {
        let mut rows = figures.latencies.iter();
        rows.find(|l| l.region == region && l.class == "read")
            .expect("they read")
            .clone()
    };
    let (virginia, oregon) = (of("us-east-1"), of("us-west-2"));
    assert!(
        virginia.refused > 0 && oregon.refused == 0,
        "{virginia:?} {oregon:?}"
    );
    assert!(
        virginia.p99_us > oregon.p99_us + 50_000,
        "the long way: {virginia:?} {oregon:?}"
    );
}

#[test]
fn a_launch_is_as_the_file_expects() {
    meets_its_expectations("geo-game-launch.toml");
}

#[test]
fn every_shipped_file_has_its_test() {
    let names = std::fs::read_dir(folder()).expect("it is there");
    let names = names.map(|entry| {
        entry
            .expect("it can be read")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let mut names: Vec<String> = names.filter(|name| name.starts_with("geo-")).collect();
    names.sort();
    let known = [
        "geo-follow-the-sun.toml",
        "geo-game-launch.toml",
        "geo-three-continents.toml",
        "geo-us-failover.toml",
    ];
    assert_eq!(names, known);
}
