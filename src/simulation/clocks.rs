//! Wrong clocks: how worlds set them, and O18, which knows whose is wrong.

use super::plan::{CLOCK_SLACK_US, ClockSpec, Config, index};
use super::report::OracleId;
use super::rng::Chance;
use super::skew::EPOCH_US;
use super::world::{World, region_id};
use crate::replica::mutation::GroupId;

/// How long things must have been so before a region has to know: enough for a probe that was not late.
const NOTICE_US: u64 = 8_000_000;
/// What a clock may be off from another's besides, in what a region can measure.
const MARGIN_US: u64 = 100_000;
/// How far stamps may be ahead of a clock on their own: the window of the durable bound, and some.
const BOUND_US: u64 = 4_000_000;

/// A region's clock as the world sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// Since when it has been ahead of so many that it must be fenced.
    wrong_us: Option<u64>,
    /// Since when it has been within bounds of all others.
    right_us: Option<u64>,
    /// The furthest it was ever ahead of the truth.
    lead_us: u64,
}

/// Half of the worlds have clocks that differ, half of those by seconds; in a few, one is off by up to a year.
pub(super) fn draw(chance: Chance, region: usize) -> ClockSpec {
    let mut world = chance.of("clocks", &[]);
    let (skewed, drifting) = (world.coin(), world.coin());
    let size_us = world.pick(&[1_000, 100_000, 5_000_000]);
    let mut rng = chance.of("clock", &[index(region)]);
    let mut spec = ClockSpec {
        offset_us: if skewed { rng.around(size_us) } else { 0 },
        drift_ppm: if drifting { rng.around(200) } else { 0 },
    };
    let mut far = chance.of("far clock", &[]);
    // Not the first region, which creates the table.
    if far.per_mille(100) && region == 1 {
        let size_us = far_us(far.below(3));
        spec.offset_us = far.around(size_us);
    }
    spec
}

/// How far a clock is off that is off by far.
pub(super) fn far_us(size: u64) -> u64 {
    const DAY_US: u64 = 86_400_000_000;
    match size {
        0 => 7_200_000_000,
        1 => 30 * DAY_US,
        _ => 365 * DAY_US,
    }
}

impl World<'_> {
    /// The region's wall clock less the truth.
    pub(super) fn lead_us(&self, region: usize) -> i64 {
        let wall_us = self.regions[region].clock.now(self.now_us).wall_us;
        let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        signed(wall_us) - signed(EPOCH_US + self.now_us)
    }

    /// A clock was set: who knows of it must find out anew.
    pub(super) fn clock_set(&mut self) {
        self.note_clocks();
        for watch in &mut self.watches {
            (watch.wrong_us, watch.right_us) = (None, None);
        }
    }

    /// Notes how wrong every clock is, now and then.
    pub(super) fn note_clocks(&mut self) {
        for region in 0..self.regions.len() {
            let lead_us = u64::try_from(self.lead_us(region)).unwrap_or(0);
            let watch = &mut self.watches[region];
            watch.lead_us = watch.lead_us.max(lead_us);
        }
    }

    /// Notes since when the region's clock is right or wrong, and O18: a clock that is right fences nothing.
    pub(super) fn watch_clock(&mut self, region: usize) {
        self.note_clocks();
        let max_us = self.plan.config.max_offset_us;
        let here_us = self.lead_us(region);
        let others: Vec<usize> = (0..self.regions.len()).filter(|r| *r != region).collect();
        let heard = |peer: &usize| {
            let (a, b) = (region, *peer);
            self.regions[b].is_alive() && self.net.is_up(a, b) && !self.net.is_cut(a, b)
        };
        let ahead_of = |peer: &usize| {
            let slack_us = max_us + MARGIN_US + round_trip_us(&self.plan.config, region, *peer);
            let lead_us = here_us.saturating_sub(self.lead_us(*peer));
            u64::try_from(lead_us).is_ok_and(|us| us > slack_us)
        };
        let near = |peer: &usize| here_us.abs_diff(self.lead_us(*peer)) <= max_us;
        // Only those are measured that it counts as members.
        let counted = self.regions[region].members().map(|m| m.counted());
        let counted = counted.unwrap_or(GroupId(0));
        let measured = others.iter().filter(|p| counted.contains(region_id(**p)));
        let measured: Vec<&usize> = measured.collect();
        let behind = measured.iter().filter(|p| heard(p) && ahead_of(p)).count();
        let wrong = behind >= (measured.len() / 2 + 1).max(2);
        let right = others.iter().all(|p| heard(p) && near(p));
        let now_us = self.now_us;
        let since = |held: bool, us: Option<u64>| held.then(|| us.unwrap_or(now_us));
        let watch = &mut self.watches[region];
        watch.wrong_us = since(wrong, watch.wrong_us);
        watch.right_us = since(right, watch.right_us);
        let settled = watch.right_us.is_some_and(|us| now_us - us >= NOTICE_US);
        let fenced = self.fenced_us(region);
        if settled {
            let name = self.regions[region].name.clone();
            self.oracles.check_clock(fenced.is_none(), || {
                format!("{name} is fenced, {fenced:?} us ahead, though its clock is right")
            });
        }
    }

    /// O18: a client's write was acknowledged.
    pub(super) fn see_acknowledged(&mut self, region: usize) {
        let wrong_us = self.watches[region].wrong_us;
        let must_fence = wrong_us.is_some_and(|us| self.now_us - us >= NOTICE_US);
        let name = self.regions[region].name.clone();
        self.oracles.check_clock(!must_fence, || {
            format!("{name} takes a write, though its clock has long been ahead of most others'")
        });
    }

    /// By how much the region believes that it is ahead, if it is fenced.
    pub(super) fn fenced_us(&self, region: usize) -> Option<u64> {
        let here = &self.regions[region];
        here.fenced(here.clock.now(self.now_us))
    }

    /// The greatest stamp that the region may apply of another: any clock but the origin's may be what it
    /// goes by.
    pub(super) fn horizon_us(&self, origin: usize) -> u64 {
        let others = self.watches.iter().enumerate();
        let others = others.filter(|(region, _)| *region != origin);
        let lead_us = others.map(|(_, watch)| watch.lead_us).max().unwrap_or(0);
        EPOCH_US + self.now_us + lead_us + self.plan.config.max_offset_us + 10 * MARGIN_US
    }

    /// The calm: every clock is within bounds of every other, and so late that no stamp is ahead of it for
    /// long. Holds end only as time passes, and a year of it is not waited for.
    pub(super) fn set_clocks_right(&mut self) {
        self.note_clocks();
        // Nor may one be set forward alone because its store forgot what it has stamped: the others would fence it.
        let floor_us = self.regions.iter().map(|r| r.clock_floor_us()).max();
        let floor_us = floor_us.unwrap_or(0).saturating_sub(EPOCH_US + self.now_us);
        let furthest_us = self.watches.iter().map(|w| w.lead_us).max().unwrap_or(0);
        let furthest_us = furthest_us.max(floor_us);
        let furthest_us = furthest_us + BOUND_US * u64::from(furthest_us > 0);
        for region in 0..self.regions.len() {
            let mut rng = self.chance.of("right clock", &[index(region)]);
            let apart_us = rng.around(self.plan.config.max_offset_us / 8);
            self.regions[region].clock.set_right(
                self.now_us,
                i64::try_from(furthest_us).unwrap_or(0) + apart_us,
            );
        }
        self.clock_set();
    }
}

fn round_trip_us(config: &Config, a: usize, b: usize) -> u64 {
    let way = |from: usize, to: usize| {
        let delay = config.delays.get(from).and_then(|row| row.get(to));
        delay.map_or(0, |d| d.base_us + 2 * d.spread_us)
    };
    way(a, b) + way(b, a)
}

/// How much longer convergence may take because commits are held.
pub(super) fn holds_us() -> u64 {
    BOUND_US + CLOCK_SLACK_US
}

impl super::oracle::Oracles {
    fn check_clock(&mut self, holds: bool, explain: impl FnOnce() -> String) {
        self.check(OracleId::Fence, holds, |_| explain());
    }
}
