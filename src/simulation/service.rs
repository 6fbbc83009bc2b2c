//! What a region's work takes, as `benches/service.rs` measures it and prints it.

use serde::{Deserialize, Serialize};

use super::host::Work;
use super::plan::index;
use super::rng::Rng;
use crate::replication::Event;

/// What a read takes on its way through the API besides. Not measured alone.
const REQUEST_US: u64 = 120;

/// A group that has begun.
pub(super) struct Begun {
    /// Commits of other regions that it applies, and its other jobs.
    pub commits: u64,
    pub others: u64,
    /// Where the region ships before its sync: what the replicator is told too early.
    pub early: Option<Event>,
}

impl Begun {
    pub(super) fn with(work: &[Work]) -> Self {
        let commits = |work: &Work| match work {
            Work::Remote { commits, .. } => Some(index(commits.len())),
            _ => None,
        };
        Begun {
            commits: work.iter().filter_map(commits).sum(),
            others: index(work.iter().filter(|w| commits(w).is_none()).count()),
            early: None,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.commits + self.others == 0
    }
}

/// How long a region takes for each kind of work, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// To read an item.
    pub read_us: u64,
    /// To do a client's write, and to apply a commit of another region, without the sync.
    pub write_us: u64,
    pub apply_us: u64,
    /// A sync at least, and by how much more at most: evenly drawn.
    pub sync_us: u64,
    pub sync_spread_us: u64,
}

/// Chosen: about what a small cloud VM with a network disk does. Measure yours, and say so in the scenario.
impl Default for Service {
    fn default() -> Self {
        Service {
            read_us: 15,
            write_us: 20,
            apply_us: 20,
            sync_us: 800,
            sync_spread_us: 1_500,
        }
    }
}

impl Service {
    /// How long a read of so many items takes: it waits for nobody.
    pub(super) fn read(&self, items: u64, rng: &mut Rng) -> u64 {
        REQUEST_US + self.read_us * items + rng.below(120).min(rng.below(400))
    }

    /// How long a group and its sync take. What is no commit takes as long as a write.
    pub(super) fn group(&self, begun: &Begun, rng: &mut Rng) -> u64 {
        let sync_us = self.sync_us + rng.below(self.sync_spread_us);
        sync_us + self.write_us * begun.others + self.apply_us * begun.commits
    }
}
