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

/// What programs may read: keys are only ever added, and say their unit. `_us` are microseconds, `_microusd`
/// millionths of a dollar.
#[test]
fn keys_of_the_report_are_stable_and_costs_add_up() {
    let text = "name = \"x\"\nregions = [\"us-east-1\", \"sa-east-1\", \"eu-west-1\"]\nduration = \"12s\"\nsteady = true\n\
        [workload]\nstreams = false\n[[clients]]\nregion = \"us-east-1\"\noperations_per_second = 20\nitem_bytes = 1500\n\
        mix = { put = 1, read = 1, transaction = 1 }\n[[fault]]\nat = \"4s\"\ncut = [\"us-east-1\", \"sa-east-1\"]\nheal_after = \"5s\"";
    let report = play(&Scenario::parse(text, "x.toml").expect("the scenario is valid"));
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    let figures = report.figures.expect("they were asked for");
    let travel = &figures.travel;
    assert!(
        travel.commits_relayed > 0 && travel.commits_sent >= travel.commits_needed,
        "{travel:?}"
    );
    let of = |region: &str| {
        figures
            .costs
            .iter()
            .find(|c| c.region == region)
            .expect("it is there")
    };
    let (virginia, paulo) = (of("us-east-1"), of("sa-east-1"));
    assert!(
        virginia.replicated_write_units > paulo.replicated_write_units,
        "transactions count twice where asked"
    );
    let links = figures.links.iter().filter(|l| l.from == "us-east-1");
    let links: u64 = links.filter_map(|l| l.transfer_microusd_per_month).sum();
    assert_eq!(virginia.transfer_microusd_per_month, Some(links));
    assert_eq!(figures.clock_beliefs.len(), 6);
    assert!(
        figures
            .clock_beliefs
            .iter()
            .all(|b| b.looks > 0 && b.beyond_bound == 0),
        "{:?}",
        figures.clock_beliefs
    );
    assert!(
        figures
            .stability
            .iter()
            .all(|line| line.stable_age_us.iter().any(|(_, age)| age.is_some()))
    );

    let value = serde_json::to_value(&figures).expect("it is plain");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let first = |list: &str| keys(&value[list][0]);
    assert_eq!(
        first("links"),
        [
            "bytes_per_month",
            "commits_relayed",
            "commits_sent",
            "count",
            "delay_us",
            "from",
            "lag_histogram",
            "lag_strip_us",
            "max_us",
            "p50_us",
            "p90_us",
            "p999_us",
            "p99_us",
            "to",
            "traffic",
            "transfer_microusd_per_month"
        ]
    );
    assert_eq!(
        first("costs"),
        [
            "bytes_sent",
            "bytes_sent_per_month",
            "dynamodb_writes_microusd_per_month",
            "region",
            "replicated_write_units",
            "replicated_write_units_per_month",
            "transfer_microusd_per_month"
        ]
    );
    assert_eq!(
        first("regions_in_full"),
        [
            "conflicts_per_hour",
            "losses_per_hour",
            "operation_strip",
            "operations",
            "place",
            "refused",
            "region"
        ]
    );
    assert_eq!(
        first("clock_beliefs"),
        [
            "beyond_bound",
            "error",
            "error_bound_us",
            "looks",
            "offset_estimated_us",
            "offset_true_us",
            "peer",
            "region"
        ]
    );
    assert_eq!(
        first("stability"),
        [
            "held_commits_max",
            "log_commits",
            "region",
            "stable_age_us",
            "tombstones"
        ]
    );
    assert_eq!(
        keys(&value["travel"]),
        [
            "commits_needed",
            "commits_relayed",
            "commits_sent",
            "relayed_permille"
        ]
    );
}

/// Runs the program, which must succeed. Gives what it prints.
fn meridian(arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args(arguments)
        .output()
        .expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn compare_prints_what_a_longer_way_and_more_load_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = |name: &str, rate: u64, rtt: &str| -> String {
        let text = format!(
            "name = \"x\"\nregions = [\"us-east-1\", \"eu-west-1\"]\nduration = \"6s\"\nsteady = true\n\
             [workload]\nstreams = false\n[[clients]]\nregion = \"us-east-1\"\noperations_per_second = {rate}\n\
             mix = {{ put = 1, read = 1 }}\nrtt = \"{rtt}\""
        );
        let file = folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, text).expect("it can be written");
        let report = folder.path().join(name).to_string_lossy().into_owned();
        meridian(&["sim", "run", &file.to_string_lossy(), "--report", &report]);
        let page = std::fs::read_to_string(folder.path().join(name).join("report.html"));
        let page = page.expect("it was written");
        assert!(page.contains("class=\"land\"") && page.contains("list prices, about 2025"));
        report
    };
    let (before, after) = (report("before", 10, "5ms"), report("after", 30, "50ms"));
    let changes = meridian(&["sim", "compare", &before, &after]);
    for key in [
        "latencies/us-east-1/read/p50_us",
        "links/us-east-1/eu-west-1/bytes_per_month",
        "costs/us-east-1/transfer_microusd_per_month",
        "costs/eu-west-1/dynamodb_writes_microusd_per_month",
        "regions_in_full/us-east-1/operations",
        "travel/commits_sent",
    ] {
        assert!(changes.contains(key), "{key} is not in:\n{changes}");
    }
    let same = meridian(&["sim", "compare", &before, &before]);
    assert!(same.contains("figures are the same"), "{same}");
}
