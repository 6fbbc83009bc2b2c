//! What several tests look at: runs of the scenarios in `simulations/`, each played once, on all cores.

#![allow(clippy::disallowed_methods, reason = "uses all cores")]

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use meridian::simulation::scenario::Scenario;
use meridian::simulation::{Options, RunReport, run};

/// Of `simulations/`, in turn.
const SCENARIOS: [&str; 10] = [
    "disks.toml",
    "smoke.toml",
    "expiry.toml",
    "clocks.toml",
    "triangle.toml",
    "merging.toml",
    "dead.toml",
    "ahead.toml",
    "membership.toml",
    "movers.toml",
];
/// Six of each scenario. A release build plays many more in little time: `.ci/run` does.
pub const COUNT: u64 = 60;

pub fn load(name: &str) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulations");
    Scenario::load(&folder.join(name)).expect("the scenario is valid")
}

/// Run `n`: of the scenario whose turn it is, with the seed `n`, as the same seed makes much the same of all.
pub fn nth(n: u64, options: Options<'_>) -> RunReport {
    let at = usize::try_from(n % SCENARIOS.len() as u64).expect("a few");
    run(&load(SCENARIOS[at]), n, options)
}

/// The first [`COUNT`] runs.
pub fn played() -> &'static [RunReport] {
    static PLAYED: LazyLock<Vec<RunReport>> = LazyLock::new(|| {
        let play = |n| Some(nth(n, Options::default()));
        on_all_cores(0..COUNT, play)
    });
    &PLAYED
}

/// Those of them that are of one scenario: clean, and all regions equal in the end.
pub fn played_of(name: &str) -> Vec<&'static RunReport> {
    let at = SCENARIOS.iter().position(|scenario| *scenario == name);
    let at = at.expect("one of the scenarios");
    let of: Vec<_> = played().iter().skip(at).step_by(SCENARIOS.len()).collect();
    of.iter().for_each(|report| assert_clean(report));
    of
}

pub fn assert_clean(report: &RunReport) {
    let RunReport { scenario, seed, .. } = report;
    let found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{scenario}: {}", found.join("\n"));
    assert!(
        report.converged_us.is_some(),
        "{scenario}, seed {seed}, ended without converging"
    );
}

/// What `work` makes of the numbers, in their order, until it makes nothing of one.
pub fn on_all_cores<T: Send>(range: Range<u64>, work: impl Fn(u64) -> Option<T> + Sync) -> Vec<T> {
    let next = AtomicU64::new(range.start);
    let done = Mutex::new(Vec::new());
    let look = || done.lock().unwrap_or_else(PoisonError::into_inner);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(result) = Some(n).filter(|n| *n < range.end).and_then(&work) else {
                        return;
                    };
                    look().push((n, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}
