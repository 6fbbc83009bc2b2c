//! Five regions under writes while links are cut, cut one way and slow, processes die and stall, and one region
//! loses its data: in the end all are equal and nothing that was acknowledged is lost.
//!
//! `MERIDIAN_STORM_SEED` repeats what the weather did, as far as processes and sockets let anything be repeated;
//! with `MERIDIAN_STORM_SECONDS`, or as `cargo bench --bench storm -- --minutes 5`, it rages for longer.

use std::time::Duration;

use crate::fleet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_loses_nothing_and_leaves_all_regions_equal() {
    let seed = given("MERIDIAN_STORM_SEED").unwrap_or_else(fresh_seed);
    let seconds = given("MERIDIAN_STORM_SECONDS").unwrap_or(10);
    println!("MERIDIAN_STORM_SEED={seed} MERIDIAN_STORM_SECONDS={seconds}");
    let summary = fleet::storm(seed, Duration::from_secs(seconds)).await;
    println!("{summary}");
    for (region, count) in &summary.acknowledged {
        assert!(*count >= 20, "only {count} writes in {region}");
    }
    assert_eq!(summary.acknowledged.len(), fleet::FLEET.len());
}

fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// Another storm every time.
fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_millis() as u64 ^ u64::from(std::process::id())
}
