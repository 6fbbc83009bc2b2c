//! Worlds for planning: what a seed would draw is set to what a well-run cluster has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::{ClockSpec, Config};
use super::rng::Rng;
use super::scenario::Workload;
use crate::replica::stable::Retention;
use crate::replica::{Limits, conflict};
use crate::replication::ANTI_ENTROPY_US;

/// How long it is between two of what is done now and then, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Comparisons of everything with one peer.
    pub anti_entropy_us: u64,
    /// Countings of all items.
    pub scrub_us: u64,
    /// Looks of the oracles at everything that a region has, where that is little.
    pub look_us: u64,
}

/// So short that a world sees it all many times.
impl Default for Pace {
    fn default() -> Self {
        Pace {
            anti_entropy_us: 3_000_000,
            scrub_us: 0,
            look_us: 2_000_000,
        }
    }
}

/// Nothing is left to chance but the instants, and regions are set up as the daemon is.
pub fn set(config: &mut Config) {
    config.clocks = vec![ClockSpec::default(); config.regions.len()];
    (config.duplicates, config.spikes, config.slow_syncs) = (0, 0, 0);
    config.dead_after_us = 0;
    (config.moves, config.reindexes, config.padding) = (0, 0, 0);
    (config.retention, config.conflicts) = (Retention::default(), conflict::Retention::default());
    (config.group_jobs_max, config.chore_rows) = (256, Limits::default().chore_rows);
    config.clients_per_region = 8;
    config.whims.clear();
    config.max_offset_us = 500_000;
    config.pace = Pace {
        anti_entropy_us: ANTI_ENTROPY_US,
        scrub_us: Limits::default().scrub_us,
        // Nothing is expected to go wrong, and all is looked at in the end.
        look_us: 60_000_000,
    };
}

/// The weights of the regions' clients; none when all are the same.
pub fn shares(workload: &Workload, regions: &[String]) -> Vec<u64> {
    let of = |shares: &BTreeMap<String, u64>| {
        let share = |region: &String| shares.get(region).copied().unwrap_or(0);
        regions.iter().map(share).collect()
    };
    workload.shares.as_ref().map_or(Vec::new(), of)
}

/// An index, as often as its weight says.
pub fn weighted(weights: &[u64], rng: &mut Rng) -> usize {
    let mut left = rng.below(weights.iter().sum());
    for (at, weight) in weights.iter().enumerate() {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return at,
        }
    }
    0
}
