//! Shrinking: the shortest plan that breaks the same oracle.
//!
//! Works on the plan, never on the seed: draws are keyed by what they are about, so leaving a step out does
//! not reshuffle the rest. A candidate is kept only if it breaks the *same* oracle; another finding is
//! another story. From the coarse to the fine: cut after the failure, whole classes of fault and operation,
//! regions, halves down to single steps, then clocks, links and items, and last round times.

use serde_json::Value;

use super::file::{PlanFile, regions_named, visit_regions};
use super::plan::{Act, Config, Damage, OperationKind, Plan, Step, index};
use super::report::{OracleId, RunReport};
use super::{Options, Planted, movers, play};

/// The most runs that one shrinking takes.
pub const RUNS_MAX: u32 = 500;
/// After the last step, so that what it began can end.
const TAIL_US: u64 = 1_000_000;

/// How far it has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub runs: u32,
    pub steps: usize,
}

/// The smallest that was found.
#[derive(Debug)]
pub struct Shrunk {
    pub plan: PlanFile,
    pub report: RunReport,
    pub oracle: OracleId,
    pub runs: u32,
    /// Steps that the plan had before.
    pub steps_before: usize,
}

/// Shrinks a failing plan, as long as `go_on` says so: time is the caller's. `None`: it does not fail.
pub fn shrink(
    plan: &PlanFile,
    planted: Option<Planted>,
    go_on: &mut dyn FnMut(Progress) -> bool,
) -> Option<Shrunk> {
    let report = run(plan, planted);
    let oracle = report.violations.first()?.oracle;
    let mut shrinker = Shrinker {
        name: plan.name.clone(),
        seed: plan.seed(),
        planted,
        oracle,
        best: plan.to_plan(),
        report,
        runs: 1,
        tired: false,
        go_on,
    };
    shrinker.shrink();
    let best = shrinker.best;
    Some(Shrunk {
        plan: PlanFile::of(&plan.name, plan.seed(), best, Some(oracle)),
        report: shrinker.report,
        oracle,
        runs: shrinker.runs,
        steps_before: plan.len(),
    })
}

fn run(plan: &PlanFile, planted: Option<Planted>) -> RunReport {
    let options = Options {
        planted,
        ..Options::default()
    };
    play(plan, options)
}

struct Shrinker<'s> {
    name: String,
    seed: u64,
    planted: Option<Planted>,
    oracle: OracleId,
    best: Plan,
    /// What the best does.
    report: RunReport,
    runs: u32,
    /// The budget is used up.
    tired: bool,
    go_on: &'s mut dyn FnMut(Progress) -> bool,
}

impl Shrinker<'_> {
    fn shrink(&mut self) {
        self.cut();
        self.drop_classes();
        self.drop_regions();
        self.drop_steps();
        self.cut();
        self.drop_regions();
        self.flatten();
        self.simplify_items();
        self.drop_steps();
        self.round();
        self.cut();
    }

    /// Takes the candidate if it breaks the same oracle first.
    fn accept(&mut self, candidate: Plan) -> bool {
        let progress = Progress {
            runs: self.runs,
            steps: self.best.steps.len(),
        };
        self.tired = self.tired || self.runs >= RUNS_MAX || !(self.go_on)(progress);
        if self.tired || candidate == self.best {
            return false;
        }
        self.runs += 1;
        let file = PlanFile::of(&self.name, self.seed, candidate.clone(), None);
        let report = run(&file, self.planted);
        let same = report.violations.first().map(|v| v.oracle) == Some(self.oracle);
        if same {
            (self.best, self.report) = (candidate, report);
        }
        same
    }

    fn accept_config(&mut self, change: impl FnOnce(&mut Config)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate.config);
        self.accept(candidate)
    }

    /// Nothing after the failure, and no longer a storm than the steps need.
    fn cut(&mut self) {
        let failed_us = self.report.violations.first().map_or(u64::MAX, |v| v.at_us);
        let mut candidate = self.best.clone();
        candidate.steps.retain(|step| step.at_us <= failed_us);
        self.accept(candidate);
        let last_us = self.best.steps.last().map_or(0, |step| step.at_us);
        for tail_us in [1, TAIL_US, 5 * TAIL_US] {
            let storm_us = last_us.max(super::plan::QUIET_US) + tail_us;
            if storm_us >= self.best.config.storm_us
                || self.accept_config(|config| config.storm_us = storm_us)
            {
                break;
            }
        }
    }

    fn drop_classes(&mut self) {
        let mut classes: Vec<String> = self.best.steps.iter().map(class_of).collect();
        classes.sort_unstable();
        classes.dedup();
        for class in classes {
            let mut candidate = self.best.clone();
            candidate.steps.retain(|step| class_of(step) != class);
            self.accept(candidate);
        }
    }

    fn drop_regions(&mut self) {
        for region in (0..self.best.config.regions.len()).rev() {
            if self.best.config.regions.len() > 2
                && let Some(candidate) = without(&self.best, region)
            {
                self.accept(candidate);
            }
        }
    }

    /// Leaves out ever smaller parts, down to single steps, until none can be spared.
    fn drop_steps(&mut self) {
        let mut part = self.best.steps.len().div_ceil(2).max(1);
        while !self.tired {
            let mut dropped = false;
            // The late ones first: what comes last depends on nothing after it.
            let mut end = self.best.steps.len();
            while end > 0 && !self.tired {
                let begin = end.saturating_sub(part);
                let mut candidate = self.best.clone();
                candidate.steps.drain(begin..end);
                dropped |= self.accept(candidate);
                end = begin;
            }
            if part == 1 && !dropped {
                break;
            }
            part = part.div_ceil(2).min(self.best.steps.len().max(1));
        }
    }

    /// Clocks to zero, links to constant, chance to nothing.
    fn flatten(&mut self) {
        self.accept_config(|config| {
            config
                .clocks
                .iter_mut()
                .for_each(|c| *c = Default::default());
        });
        self.accept_config(|config| {
            config
                .delays
                .iter_mut()
                .flatten()
                .for_each(|d| d.spread_us = 0);
        });
        self.accept_config(|config| (config.duplicates, config.spikes) = (0, 0));
        self.accept_config(|config| config.slow_syncs = 0);
        self.accept_config(|config| config.damage = None);
        self.accept_config(|config| (config.reindexes, config.moves, config.padding) = (0, 0, 0));
        self.accept_config(|config| config.retention = Default::default());
        self.accept_config(|config| config.conflicts = Default::default());
        self.accept_config(|config| config.group_jobs_max = 64);
        self.accept_config(|config| config.chore_rows = 512);
        self.accept_config(|config| config.streams = false);
        self.accept_config(|config| config.whims.clear());
        for at in (0..self.best.config.whims.len()).rev() {
            self.accept_config(|config| drop(config.whims.remove(at)));
        }
        for at in 0..self.best.config.clocks.len() {
            self.accept_config(|config| {
                config
                    .clocks
                    .get_mut(at)
                    .into_iter()
                    .for_each(|c| *c = Default::default());
            });
        }
    }

    fn simplify_items(&mut self) {
        for at in 0..self.best.steps.len() {
            let mut candidate = self.best.clone();
            let step = candidate.steps.get_mut(at);
            if step.is_some_and(simplify) {
                self.accept(candidate);
            }
        }
    }

    /// All times to whole seconds, or tenths, or hundredths; then each.
    fn round(&mut self) {
        for unit_us in [1_000_000, 100_000, 10_000] {
            let mut candidate = self.best.clone();
            for step in &mut candidate.steps {
                step.at_us = step.at_us.div_ceil(unit_us) * unit_us;
            }
            candidate.config.storm_us = candidate.config.storm_us.next_multiple_of(unit_us);
            if self.accept(candidate) {
                return;
            }
        }
        for at in (0..self.best.steps.len()).rev() {
            let mut candidate = self.best.clone();
            if let Some(step) = candidate.steps.get_mut(at) {
                step.at_us = step.at_us.next_multiple_of(100_000);
            }
            if candidate.steps.is_sorted_by_key(|step| step.at_us) {
                self.accept(candidate);
            }
        }
    }
}

/// What kind of step it is: the name of its fault, or of what a client asks.
pub(super) fn class_of(step: &Step) -> String {
    let inner = match &step.act {
        Act::Ask(operation) => serde_json::to_value(&operation.kind),
        other => serde_json::to_value(other).map(|mut value| match value.get_mut("break") {
            Some(fault) => fault.take(),
            None => value,
        }),
    };
    match inner {
        Ok(Value::String(name)) => name,
        Ok(Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

/// A smaller item, or a smaller ask. False: it is as small as it gets.
fn simplify(step: &mut Step) -> bool {
    let Act::Ask(operation) = &mut step.act else {
        return false;
    };
    let carried = std::mem::take(&mut operation.bytes) > 0;
    let simpler = match &mut operation.kind {
        OperationKind::Put { index, padding, .. } => {
            let smaller = index.is_some() || *padding > 0;
            (*index, *padding) = (None, 0);
            smaller
        }
        OperationKind::Update { index, .. } => index.take().is_some(),
        OperationKind::Transaction { order, .. } => {
            let sorted = order.is_sorted();
            order.sort_unstable();
            !sorted
        }
        _ => false,
    };
    simpler || carried
}

/// The plan without a region and what is about it; the regions after it move up.
fn without(plan: &Plan, region: usize) -> Option<Plan> {
    if plan.config.movers > 0 && region < movers::STAY {
        return None;
    }
    let mut plan = plan.clone();
    let gone = index(region);
    plan.steps.retain_mut(|step| {
        if let Act::Break(fault) = &mut step.act
            && let Some(ways) = fault.ways_mut()
        {
            ways.retain(|(from, to)| *from != region && *to != region);
            return !ways.is_empty();
        }
        !regions_named(step).contains(&gone)
    });
    for step in &mut plan.steps {
        let mut act = serde_json::to_value(&step.act).ok()?;
        visit_regions(&mut act, &mut |value| {
            if let Some(named) = value.as_u64().filter(|named| *named > gone) {
                *value = Value::from(named - 1);
            }
        });
        step.act = serde_json::from_value(act).ok()?;
    }
    let config = &mut plan.config;
    if region >= config.regions.len().saturating_sub(config.newcomers) {
        config.newcomers = config.newcomers.saturating_sub(1);
    }
    config.regions.remove(region);
    config.delays.remove(region);
    for row in &mut config.delays {
        row.remove(region);
    }
    config.damage = match config.damage {
        Some(damage) if damage.region == region => None,
        Some(damage) if damage.region > region => Some(Damage {
            region: damage.region - 1,
            ..damage
        }),
        other => other,
    };
    if region < config.shares.len() {
        config.shares.remove(region);
    }
    if region < config.clocks.len() {
        config.clocks.remove(region);
    }
    Some(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::scenario::Scenario;

    #[test]
    fn a_region_leaves_with_all_that_is_about_it() {
        let plans = (0..20).map(|seed| Plan::draw(&Scenario::default(), seed));
        for plan in plans.filter(|plan| plan.config.regions.len() > 2) {
            let smaller = without(&plan, 1).unwrap();
            let count = plan.config.regions.len() - 1;
            assert_eq!(smaller.config.regions.len(), count);
            let file = PlanFile::of("x", 1, smaller, None);
            assert!(PlanFile::parse(&file.to_toml(), "x").is_ok());
        }
    }

    #[test]
    fn what_passes_is_not_shrunk() {
        let plan = PlanFile::draw(&Scenario::default(), 0);
        assert!(shrink(&plan, None, &mut |_| true).is_none());
    }
}
