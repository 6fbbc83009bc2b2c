//! What failed is kept, made small and told; what was kept is played for ever.

use std::path::Path;

use meridian::replica::PlantedBug;
use meridian::simulation::file::PlanFile;
use meridian::simulation::scenario::Scenario;
use meridian::simulation::{Options, OracleId, Planted, play, run, shrink, tell};

/// The most steps that the story of a planted bug may have.
const STEPS_MAX: usize = 10;

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn smoke() -> Scenario {
    Scenario::load(&folder("simulations/smoke.toml")).expect("the scenario is valid")
}

#[test]
fn a_plan_from_its_file_is_the_run_again() {
    let scenario = smoke();
    for seed in [0, 3, 4] {
        let first = run(&scenario, seed, Options::default());
        let text = PlanFile::draw(&scenario, seed).to_toml();
        let plan = PlanFile::parse(&text, "plan.toml").expect("what is written can be read");
        assert_eq!(play(&plan, Options::default()), first, "seed {seed}");
    }
}

/// Plans that failed once, by the oracle that each names. A plan of a planted bug passes without the bug.
#[test]
fn plans_that_failed_once_pass() {
    let files = std::fs::read_dir(folder("simulations/found")).expect("the folder is there");
    let mut played = 0;
    for file in files {
        let path = file.expect("the folder can be read").path();
        if !path.to_string_lossy().ends_with(".plan.toml") {
            continue;
        }
        let plan = PlanFile::load(&path).expect("the plan is valid");
        let report = play(&plan, Options::default());
        assert!(
            report.violations.is_empty(),
            "{}: {:?}",
            path.display(),
            report.violations
        );
        assert!(report.converged_us.is_some(), "{}", path.display());
        played += 1;
    }
    assert!(played > 0, "there is at least one plan");
}

/// Finds a seed in which the bug breaks the oracle first, and shrinks it.
fn shrinks(planted: Planted, oracle: OracleId) {
    let scenario = smoke();
    let options = |planted| Options {
        planted: Some(planted),
        ..Options::default()
    };
    let failing = (0..200).map(|seed| PlanFile::draw(&scenario, seed));
    let failing = failing.into_iter().find(|plan| {
        let report = play(plan, options(planted));
        report.violations.first().map(|v| v.oracle) == Some(oracle)
    });
    let plan = failing.expect("a seed fails");
    let shrunk = shrink::shrink(&plan, Some(planted), &mut |_| true).expect("it still fails");
    let text = shrunk.plan.to_toml();
    assert!(
        shrunk.plan.len() <= STEPS_MAX,
        "{} steps of {}:\n{text}",
        shrunk.plan.len(),
        plan.len()
    );
    assert!(shrunk.runs <= shrink::RUNS_MAX);
    let again = PlanFile::parse(&text, "small.toml").expect("what is written can be read");
    let report = play(&again, options(planted));
    assert_eq!(
        report.violations.first().map(|v| v.oracle),
        Some(oracle),
        "{text}"
    );
    let story = tell(&again, &report);
    println!(
        "{} of {} steps, {} runs: {story}",
        shrunk.plan.len(),
        plan.len(),
        shrunk.runs
    );
    assert!(
        story.contains(oracle.id()) && story.contains("regions:"),
        "{story}"
    );
}

#[test]
fn a_forgotten_conflict_shrinks_to_a_few_steps() {
    shrinks(
        Planted::Replica(PlantedBug::ConflictForgotten),
        OracleId::Conflicts,
    );
}

#[test]
fn a_split_transaction_shrinks_to_a_few_steps() {
    shrinks(
        Planted::Replica(PlantedBug::TransactionSplit),
        OracleId::Atomicity,
    );
}

#[test]
fn shipping_before_the_sync_shrinks_to_a_few_steps() {
    shrinks(Planted::ShipBeforeSync, OracleId::Dots);
}

#[test]
fn deciding_by_arrival_shrinks_to_a_few_steps() {
    shrinks(
        Planted::Replica(PlantedBug::ArrivalOrder),
        OracleId::NoGoingBack,
    );
}

#[test]
fn collecting_tombstones_alone_shrinks_to_a_few_steps() {
    shrinks(
        Planted::Replica(PlantedBug::CollectAlone),
        OracleId::StableStamp,
    );
}

#[test]
fn a_planning_run_answers_and_its_expectations_are_held_against_it() {
    let text = "name = \"plan\"\ntopology = \"regions/aws-global-5.toml\"\nduration = \"20s\"\nsteady = true\n\
        [network]\nmbit_per_s = 50\nloss_ppm = 1000\n\
        [workload]\noperations_per_second = 20\nkeys = 50\nstreams = false\nitem_bytes = 500\n\
        mix = { put = 2, update = 1, read = 4 }\n\
        [expect]\nlag_p50_ms = 200\nlag_max_ms = 1\nrefused_max = 0\nconverge_within = \"10s\"";
    let file = folder("simulations/plan.toml");
    let scenario = Scenario::parse(text, &file.to_string_lossy()).expect("the scenario is valid");
    let options = Options {
        expect: scenario.expect,
        figures: true,
        ..Options::default()
    };
    let report = run(&scenario, 1, options);
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    let unmet: Vec<&str> = report
        .expectations
        .iter()
        .filter(|e| !e.met)
        .map(|e| e.key.as_str())
        .collect();
    assert_eq!(unmet, ["lag_max_ms"], "{:?}", report.expectations);
    assert!(!report.passed());
    let figures = report.figures.as_ref().expect("they were asked for");
    assert_eq!(figures.links.len(), 20);
    for link in &figures.links {
        assert!(
            link.lag.p50_us >= link.delay_us,
            "nothing is faster than light: {link:?}"
        );
        assert_eq!(link.lag.count, link.lag_histogram.iter().sum::<u64>());
        assert!(link.traffic.iter().any(|t| t.lane == "log" && t.bytes > 0));
    }
    let everywhere = &figures.visible[0];
    assert_eq!(
        (everywhere.spread.count, everywhere.unfinished),
        (report.commits, 0)
    );
    assert!(
        figures
            .latencies
            .iter()
            .all(|l| l.refused == 0 && l.p50_us > 0)
    );

    let page =
        meridian::simulation::page::Report::new(vec![report], |seed| format!("replay {seed}"));
    let html = page.to_html();
    assert!(
        html.contains("lag_max_ms") && html.contains("replay 1") && html.ends_with("</html>\n")
    );
    let fetched = ["<script", "http://", "https://", "@import", "url("];
    for what in fetched {
        assert!(!html.contains(what), "the page has {what}");
    }
}

#[test]
fn a_narrow_link_and_loss_cost_time() {
    let text = |network: &str| {
        format!(
            "name = \"plan\"\nregions = [\"us-east-1\", \"eu-west-1\"]\nduration = \"20s\"\nsteady = true\n{network}\n\
             [workload]\noperations_per_second = 20\nkeys = 50\nstreams = false\nitem_bytes = 4000\n\
             mix = {{ put = 1 }}"
        )
    };
    let lag = |network: &str| {
        let scenario = Scenario::parse(&text(network), "x.toml").expect("the scenario is valid");
        let report = run(&scenario, 1, Options::default());
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        (report.lag_p50_us, report.lag_p99_us)
    };
    let (plain, narrow, lossy) = (
        lag(""),
        lag("network = { mbit_per_s = 1 }"),
        lag("network = { loss_ppm = 20000 }"),
    );
    assert!(
        narrow.0 > plain.0 + 20_000,
        "a commit takes 32 ms to leave: {plain:?} {narrow:?}"
    );
    assert!(
        lossy.1 > plain.1 + 50_000,
        "a lost packet takes a round trip: {plain:?} {lossy:?}"
    );
}
