//! What one region takes for a request, a commit of another region and a sync, on this machine. Prints the section
//! of a scenario that lets simulated regions take as long (docs/simulator.md).
//!
//!     cargo bench --bench service -- [--count 4000] [--bytes 400]

#![allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]

mod support;

use std::time::Duration;

use support::{apply, argument};

/// The time that so many of 1,000 did not pass.
fn percentile(times: &mut [Duration], of_1000: usize) -> u128 {
    times.sort_unstable();
    let at = (times.len() * of_1000 / 1_000).min(times.len().saturating_sub(1));
    times.get(at).map_or(0, Duration::as_micros)
}

fn main() {
    let mut times = apply::service(argument("--count", 4_000), argument("--bytes", 400));
    println!("[service]");
    println!("read_us = {}", percentile(&mut times.reads, 500));
    println!("write_us = {}", percentile(&mut times.writes, 500));
    println!("apply_us = {}", percentile(&mut times.applies, 500));
    let [fast, slow] = [100, 900].map(|of_1000| percentile(&mut times.syncs, of_1000));
    println!("sync_us = {fast}");
    println!("sync_spread_us = {}", slow - fast);
}
