//! What regions believe, looked at now and then for the report: each other's clocks, and what is durable
//! everywhere. Nothing that happens depends on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::figures::Spread;
use super::measure::spread;
use super::skew::EPOCH_US;
use super::world::{Trouble, World};
use crate::clock::RegionId;
use crate::replica::stable;
use crate::store::Db;

/// How far a region believes another's clock to be ahead of its own, and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockBelief {
    pub region: String,
    pub peer: String,
    /// Instants at which it had an estimate.
    pub looks: u64,
    /// At the last of them.
    pub offset_true_us: i64,
    pub offset_estimated_us: i64,
    /// What the region itself says that it may be wrong by, then.
    pub error_bound_us: u64,
    /// How wrong it was.
    #[serde(rename = "error")]
    pub error: Spread,
    /// Looks at which it was wrong by more than it says: a clock that was just set is known a little later.
    pub beyond_bound: u64,
}

/// What one region keeps, and how far what is durable everywhere is behind the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StabilityLine {
    pub region: String,
    /// Instants; the true time less the stable stamp, microseconds. Absent: it knows of none yet.
    pub stable_age_us: Vec<(u64, Option<u64>)>,
    /// Instants; tombstones that wait to be collected.
    pub tombstones: Vec<(u64, u64)>,
    /// Instants; commits that its logs still have.
    pub log_commits: Vec<(u64, u64)>,
    /// The most commits of others that were held, because their stamps were ahead.
    pub held_commits_max: u64,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    true_us: i64,
    estimated_us: i64,
    bound_us: u64,
}

/// All looks of a run.
#[derive(Debug, Default)]
pub struct Watched {
    clocks: BTreeMap<(usize, usize), Vec<Look>>,
    lines: BTreeMap<usize, StabilityLine>,
}

impl Watched {
    pub fn beliefs(&self, names: &[String]) -> Vec<ClockBelief> {
        let name = |at: &usize| names.get(*at).cloned().unwrap_or_default();
        let belief = |((region, peer), looks): (&(usize, usize), &Vec<Look>)| {
            let wrong_us = |look: &Look| look.true_us.abs_diff(look.estimated_us);
            let last = looks.last()?;
            let beyond = looks.iter().filter(|look| wrong_us(look) > look.bound_us);
            Some(ClockBelief {
                region: name(region),
                peer: name(peer),
                looks: super::plan::index(looks.len()),
                offset_true_us: last.true_us,
                offset_estimated_us: last.estimated_us,
                error_bound_us: last.bound_us,
                error: spread(looks.iter().map(wrong_us).collect()),
                beyond_bound: super::plan::index(beyond.count()),
            })
        };
        self.clocks.iter().filter_map(belief).collect()
    }

    pub fn stability(&self) -> Vec<StabilityLine> {
        self.lines.values().cloned().collect()
    }
}

fn at(region: RegionId) -> usize {
    usize::from(region.0)
}

impl World<'_> {
    /// Notes what every living region believes.
    pub(super) fn watch_beliefs(&mut self) -> Result<(), Trouble> {
        if !self.oracles.meter.on {
            return Ok(());
        }
        for region in 0..self.regions.len() {
            self.watch_peers(region);
            self.watch_stability(region)?;
        }
        Ok(())
    }

    fn watch_peers(&mut self, region: usize) {
        for peer in self.regions[region].peers() {
            let Some(offset) = peer.offset else { continue };
            let other = at(peer.region);
            let look = Look {
                true_us: self.lead_us(other).saturating_sub(self.lead_us(region)),
                estimated_us: offset.offset_us,
                bound_us: offset.error_us,
            };
            let watched = &mut self.oracles.meter.watched;
            watched
                .clocks
                .entry((region, other))
                .or_default()
                .push(look);
        }
    }

    fn watch_stability(&mut self, region: usize) -> Result<(), Trouble> {
        let here = &self.regions[region];
        let Some((stable_us, held)) = here.stable_and_held() else {
            return Ok(());
        };
        let now_us = self.now_us;
        let age_us = stable_us.map(|us| (EPOCH_US + now_us).saturating_sub(us));
        let txn = here.snapshot()?;
        let (tombstones, log) = (stable::waiting(&*txn)?, txn.size(Db::Log)?.entries);
        drop(txn);
        let name = here.name.clone();
        let line = self.oracles.meter.watched.lines.entry(region).or_default();
        line.region = name;
        line.stable_age_us.push((now_us, age_us));
        line.tombstones.push((now_us, tombstones));
        line.log_commits.push((now_us, log));
        line.held_commits_max = line.held_commits_max.max(held);
        Ok(())
    }
}
