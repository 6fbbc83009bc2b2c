//! The storm of tests/black_box/storm.rs for as long as one likes; docs/benchmarks.md says what it does.
//!
//!     cargo bench --bench storm -- [--minutes 3] [--seed 1]

#![allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]

#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../tests/black_box/common/mod.rs"]
mod common;
#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../tests/black_box/fleet/mod.rs"]
mod fleet;
mod support;

use std::time::Duration;

#[tokio::main]
async fn main() {
    let minutes: f64 = support::argument("--minutes", 3.0);
    let seed: u64 = support::argument("--seed", 1);
    println!("a storm of {minutes} minutes, seed {seed}");
    let summary = fleet::storm(seed, Duration::from_secs_f64(minutes * 60.0)).await;
    println!("{summary}");
}
