//! The plan: everything a run will do, drawn from the seed before it begins.
//!
//! First a configuration (regions, clocks, which classes of fault occur at all: each is left out of half of
//! the runs), then the timed steps: what clients ask and what breaks. The storm is followed by a calm in
//! which every fault is healed and nobody asks, and everything must converge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::damage;
use super::geography::{Delay, Geography};
use super::merging::{self, MergeAct};
use super::operators::{self, Command};
use super::places::{self, Place};
use super::rng::{Chance, Rng};
use super::scenario::{self, Scenario};
use super::service::Service;
use super::steady::{self, Pace, weighted};
use super::{clocks, dead, expiries, links, load, movers, script, storms};
use crate::replica::conflict;
use crate::replica::stable::Retention;
use crate::whims::WHIMS;

/// Where nothing breaks yet: the table is being created.
pub const QUIET_US: u64 = 2_000_000;
/// How long regions may take to learn each other's clocks.
pub const CLOCK_SLACK_US: u64 = 3_000_000;

/// What the seed decided about a world. A field that a plan file does not know is 0: what it switches is off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub regions: Vec<String>,
    /// From each region to each, in the order of `regions`.
    pub delays: Vec<Vec<Delay>>,
    pub clocks: Vec<ClockSpec>,
    pub storm_us: u64,
    pub converge_us: u64,
    pub operations_per_second: u64,
    pub keys: u32,
    pub cohorts: u32,
    pub cohort_keys: u32,
    pub streams: bool,
    /// Items that expire.
    pub expiring: u32,
    pub clients_per_region: u64,
    /// Bytes that some items carry besides.
    pub padding: usize,
    /// What a disk does to one item when all is calm.
    pub damage: Option<Damage>,
    /// How far clocks may be apart.
    #[serde(default = "max_offset_us")]
    pub max_offset_us: u64,
    /// Of 1,000 operations, how many create or delete the second index.
    pub reindexes: u64,
    /// Rows that one step of heavy work takes.
    pub chore_rows: usize,
    /// How long regions keep what nobody needs.
    pub retention: Retention,
    /// What a part of a copy holds at most, though always a row.
    pub part_bytes_max: usize,
    /// How long a member may be silent before the others give it up; 0 = as long as in production.
    pub dead_after_us: u64,
    /// Whether disks may be lost and put back; `None` = as the seed says.
    pub disks: Option<bool>,
    /// Jobs that one transaction of the store takes at most.
    pub group_jobs_max: usize,
    /// Of 1,000 frames, how many arrive twice.
    pub duplicates: u64,
    /// Of 1,000 frames, how many are up to two seconds late.
    pub spikes: u64,
    /// Syncs that take a while, of 1,000.
    pub slow_syncs: u64,
    /// For how long conflicts are kept.
    pub conflicts: conflict::Retention,
    /// Of 1,000 operations, how many a client asks of another region than its own, with its session's token.
    pub moves: u64,
    /// Bytes that every item put singly carries besides.
    pub item_bytes: usize,
    /// How many of the regions, the last ones, are no founders: operators add them.
    pub newcomers: usize,
    /// Of how many of the regions, the last founders, the replica of the table comes and goes.
    pub movers: usize,
    /// How much of the operations each region's clients ask; empty: the same.
    pub shares: Vec<u64>,
    /// Items of a table that merges; 0 = there is none.
    pub merged: u32,
    /// Where regions are that AWS does not have.
    pub places: BTreeMap<String, Place>,
    /// What regions do now and then though they need not (`crate::whims`), until the calm.
    pub whims: Vec<String>,
    /// How often is done what the daemon does seldom.
    pub pace: Pace,
    /// What each kind of work takes.
    pub service: Service,
}

/// An item of a region is changed or lost, behind its back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    pub region: usize,
    pub nth: usize,
    pub flip: bool,
}

/// What plans had before they said it.
fn max_offset_us() -> u64 {
    60_000_000
}

/// One region's clock at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockSpec {
    pub offset_us: i64,
    pub drift_ppm: i64,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub at_us: u64,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    Ask(Operation),
    /// Time To Live is enabled on the table, or disabled.
    Expiry(bool),
    Break(Fault),
    /// An operator begins a command.
    Operate(Command),
}

/// One thing a client asks its region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Unique in the run; carried by what it writes.
    pub id: u64,
    pub client: u64,
    pub region: usize,
    /// Absent: the client is where its region is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<load::Way>,
    /// Bytes that each item it writes carries besides, where its kind does not say.
    #[serde(default, skip_serializing_if = "load::is_zero")]
    pub bytes: usize,
    pub kind: OperationKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OperationKind {
    /// `index`: the value of the indexed attribute, if the item has it.
    Put {
        key: u32,
        index: Option<u64>,
        padding: usize,
    },
    PutIfAbsent {
        key: u32,
    },
    Update {
        key: u32,
        index: Option<u64>,
    },
    Delete {
        key: u32,
    },
    Read {
        key: u32,
    },
    /// Puts an item that expires at a second of true time since the world began.
    PutExpiring {
        key: u32,
        second: u64,
    },
    /// Puts the expiry of such an item off; the item is there again if it has gone.
    Refresh {
        key: u32,
        second: u64,
    },
    /// Writes all items of a cohort, in this order.
    Transaction {
        cohort: u32,
        order: Vec<u32>,
    },
    ReadCohort {
        cohort: u32,
    },
    CreateIndex,
    DeleteIndex,
    /// On the table that merges.
    Merge {
        key: u32,
        act: MergeAct,
    },
}

/// Something breaks, or heals. Regions by their index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Nothing passes in these directions. `fatal`: their connections die of it after a while.
    Cut {
        ways: Vec<(usize, usize)>,
        fatal: bool,
    },
    Heal {
        ways: Vec<(usize, usize)>,
    },
    Reset {
        a: usize,
        b: usize,
    },
    Kill(Kill),
    /// The region's disk is copied.
    BackUp {
        region: usize,
    },
    Skew {
        region: usize,
        by_us: i64,
    },
    Stall {
        region: usize,
        by_us: u64,
    },
    /// The wall clock stands still, or goes on with the right time.
    Freeze {
        region: usize,
        frozen: bool,
    },
    /// Nothing is lost and nothing arrives in these directions for so long. `bulky`: gray failure, in which
    /// heartbeats and probes pass and commits and copies do not.
    Clog {
        ways: Vec<(usize, usize)>,
        bulky: bool,
        for_us: u64,
    },
    /// The way is another one: so much longer, and so narrow; 0 is as it was.
    Reroute {
        ways: Vec<(usize, usize)>,
        longer_us: u64,
        bytes_per_second: u64,
    },
    /// The disk takes nothing more, or does again.
    Full {
        region: usize,
        full: bool,
    },
}

impl Fault {
    /// The directions it is about, if it is about some.
    pub fn ways_mut(&mut self) -> Option<&mut Vec<(usize, usize)>> {
        match self {
            Fault::Cut { ways, .. }
            | Fault::Heal { ways }
            | Fault::Clog { ways, .. }
            | Fault::Reroute { ways, .. } => Some(ways),
            _ => None,
        }
    }
}

/// What becomes of a disk while its region's process is dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    #[default]
    Kept,
    Lost,
    /// Put back as it was when it was copied; lost, if it never was.
    PutBack,
}

/// The death of a process and its return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    pub region: usize,
    /// Waits until a transaction of the store is under way.
    pub within_commit: bool,
    /// The transaction under way reaches the disk, though nobody hears of it.
    pub commit_survives: bool,
    /// `None` = at the end of the storm.
    pub restart_after_us: Option<u64>,
    #[serde(default)]
    pub disk: Disk,
    /// How the clock is set while the process is away.
    pub step_us: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub config: Config,
    /// In the order of their times.
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn draw(scenario: &Scenario, seed: u64) -> Plan {
        let chance = Chance::new(seed);
        let mut config = config(scenario, chance);
        if !scenario.steady {
            config.damage = damage::drawn(&config, chance);
        }
        let mut steps = match scenario.clients.as_slice() {
            [] => operations(&config, scenario.workload.mix, chance),
            _ => load::operations(scenario, &config, chance),
        };
        steps.extend(expiries::steps(&config, chance, steps.len()));
        steps.extend(merging::steps(&config, chance, steps.len()));
        let count = steps.len();
        steps.extend(storms::listed(scenario, &config));
        if scenario.script.is_some() {
            steps.iter_mut().for_each(|step| step.at_us += QUIET_US);
        }
        if scenario
            .seed_faults
            .unwrap_or(scenario.faults.is_empty() && !scenario.steady)
        {
            steps.extend(storms::drawn(&config, chance));
        }
        steps.extend(operators::drawn(&config, chance));
        steps.extend(movers::drawn(&config, chance));
        assert!(count <= steps.len(), "faults are added to operations");
        steps.sort_by_key(|step| step.at_us);
        Plan { config, steps }
    }
}

fn config(scenario: &Scenario, chance: Chance) -> Config {
    let mut rng = chance.of("config", &[]);
    let aws = Geography::aws();
    let regions = scenario.regions.clone().unwrap_or_else(|| {
        let mut names = aws.names();
        rng.shuffle(&mut names);
        let count = rng.pick(&[2, 3, 3, 4, 5]);
        let count = count.max(movers::regions_min(scenario));
        names.into_iter().take(count).map(str::to_owned).collect()
    });
    let newcomers = operators::newcomers(scenario, regions.len());
    let movers = movers::count(scenario, regions.len() - newcomers);
    let mut rng = chance.of("tunables", &[]);
    let storm_us = rng.between(20, 50) * 1_000_000;
    let storm_us = scenario.duration.map_or(storm_us, |d| d.forward_us());
    let workload = &scenario.workload;
    let rate = rng.pick(&[4, 10, 20, 40]);
    let rate = workload.operations_per_second.unwrap_or(rate);
    let delays = links::delays(scenario, &regions);
    let operations = rate * storm_us / 1_000_000;
    let mut config = Config {
        clocks: (0..regions.len())
            .map(|r| clocks::draw(chance, r))
            .collect(),
        storm_us,
        converge_us: scenario
            .converge_within
            .map_or_else(|| converge_us(&delays, operations), |d| d.forward_us()),
        operations_per_second: rate,
        keys: workload.keys.unwrap_or(rng.pick(&[1, 4, 16, 64])),
        cohorts: workload.cohorts.unwrap_or(rng.pick(&[1, 2, 4])),
        streams: workload.streams.unwrap_or(true),
        cohort_keys: workload.cohort_keys.unwrap_or(rng.pick(&[2, 3, 5])),
        expiring: (workload.expiring)
            .unwrap_or_else(|| chance.of("expiring", &[]).pick(&[0, 0, 2, 8])),
        clients_per_region: rng.between(1, 3),
        padding: rng.pick(&[0, 0, 100, 2_000, 30_000]),
        damage: None,
        max_offset_us: chance
            .of("max offset", &[])
            .pick(&[200_000, 500_000, 5_000_000, 60_000_000]),
        retention: operators::retention(
            scenario,
            regions.len(),
            movers,
            Retention {
                tombstones_us: rng.pick(&[0, 0, 2_000_000, 3_600_000_000]),
                log_us: rng.pick(&[0, 0, 2_000_000, 900_000_000]),
                settle_us: 0,
            },
        ),
        part_bytes_max: chance.of("parts", &[]).pick(&[600, 4_000, 1_000_000]),
        dead_after_us: dead::after_us(scenario, chance),
        disks: scenario.disks,
        group_jobs_max: rng.pick(&[1, 4, 64]),
        duplicates: if rng.coin() { rng.between(10, 200) } else { 0 },
        spikes: if rng.coin() { rng.between(2, 30) } else { 0 },
        slow_syncs: if rng.coin() { rng.between(5, 50) } else { 0 },
        conflicts: keep_conflicts(chance),
        moves: chance.of("moves", &[]).pick(&[0, 0, 100, 500]),
        reindexes: if rng.coin() { rng.between(5, 60) } else { 0 },
        chore_rows: rng.pick(&[1, 3, 8, 512]),
        item_bytes: workload.item_bytes.unwrap_or(0),
        newcomers,
        movers,
        shares: steady::shares(workload, &regions),
        merged: (workload.merged).unwrap_or_else(|| merging::draw(scenario, chance)),
        places: places::named(scenario),
        whims: whims(chance),
        pace: Pace::default(),
        service: scenario.service.unwrap_or_default(),
        delays,
        regions,
    };
    dead::allow_for_returns(&mut config);
    movers::allow_for_them(&mut config);
    if scenario.steady {
        steady::set(&mut config);
    }
    if !scenario.clients.is_empty() {
        load::set(&mut config, scenario);
    }
    if let Some(script) = &scenario.script {
        script::set(&mut config, script);
    }
    config
}

/// Each of them is in one of four worlds.
fn whims(chance: Chance) -> Vec<String> {
    let names = WHIMS.iter().map(|(name, _)| *name);
    let drawn = names.filter(|name| chance.of(name, &[]).below(4) == 0);
    drawn.map(str::to_owned).collect()
}

/// Half of the worlds forget conflicts while they run: the old ones, or all but a few.
fn keep_conflicts(chance: Chance) -> conflict::Retention {
    let mut rng = chance.of("keep conflicts", &[]);
    let forever = conflict::Retention::default();
    conflict::Retention {
        keep_us: rng.pick(&[forever.keep_us, forever.keep_us, 1_000_000, 8_000_000]),
        table_bytes: rng.pick(&[forever.table_bytes, forever.table_bytes, 400, 4_000]),
    }
}

/// How long convergence may take once all is healed: reconnecting and the patience of replication, holds, a copy in
/// small parts, seventy-five of the longest round trips, and a millisecond for each commit that may have to move.
fn converge_us(delays: &[Vec<Delay>], operations: u64) -> u64 {
    let longest = delays.iter().flatten().map(|d| d.base_us + d.spread_us);
    25_000_000 + clocks::holds_us() + 150 * longest.max().unwrap_or(0) + operations * 1_000
}

/// Of 1,000: what clients ask. Drawn by the seed so that some runs only overwrite, others only delete.
struct Mix {
    weights: [u64; 7],
}

impl Mix {
    fn draw(rng: &mut Rng) -> Mix {
        let mut weights = [0; 7];
        for weight in &mut weights {
            *weight = rng.pick(&[0, 1, 2, 4]);
        }
        // Something is always put, read and written together.
        for always in [0, 4, 5] {
            weights[always] += 1;
        }
        Mix { weights }
    }

    fn pick(&self, rng: &mut Rng) -> usize {
        weighted(&self.weights, rng)
    }
}

fn operations(config: &Config, mix: Option<scenario::Mix>, chance: Chance) -> Vec<Step> {
    let mix = match mix {
        Some(mix) => Mix {
            weights: mix.weights(),
        },
        None => Mix::draw(&mut chance.of("mix", &[])),
    };
    let span_us = config.storm_us.saturating_sub(QUIET_US / 2);
    let count = config.operations_per_second * span_us / 1_000_000;
    let step = |id: u64| {
        let mut rng = chance.of("operation", &[id]);
        let region = match config.shares.as_slice() {
            [] => rng.index(config.regions.len()),
            shares => weighted(shares, &mut rng),
        };
        let client =
            index(region) * config.clients_per_region + rng.below(config.clients_per_region);
        let mut operation = Operation {
            id: id + 1,
            client,
            region,
            way: None,
            bytes: 0,
            kind: kind(config, &mix, &mut rng),
        };
        let mut rng_move = chance.of("move", &[id]);
        if rng_move.per_mille(config.moves) {
            operation.region = rng_move.index(config.regions.len());
        }
        Step {
            at_us: QUIET_US / 2 + rng.below(span_us),
            act: Act::Ask(operation),
        }
    };
    (0..count).map(step).collect()
}

fn kind(config: &Config, mix: &Mix, rng: &mut Rng) -> OperationKind {
    if rng.per_mille(config.reindexes) {
        return if rng.coin() {
            OperationKind::CreateIndex
        } else {
            OperationKind::DeleteIndex
        };
    }
    // The smaller of two draws: low keys are hot.
    let below = |rng: &mut Rng, limit: u32| {
        let limit = u64::from(limit.max(1));
        u32::try_from(rng.below(limit).min(rng.below(limit))).unwrap_or(0)
    };
    let key = below(rng, config.keys);
    let indexed = rng.per_mille(750);
    let index = indexed.then(|| rng.below(4));
    let cohort = below(rng, config.cohorts);
    let padding = if rng.per_mille(100) {
        config.padding
    } else {
        config.item_bytes
    };
    match mix.pick(rng) {
        1 => OperationKind::PutIfAbsent { key },
        2 => OperationKind::Update { key, index },
        3 => OperationKind::Delete { key },
        4 => OperationKind::Read { key },
        5 if config.cohorts > 0 => {
            let mut order: Vec<u32> = (0..config.cohort_keys).collect();
            rng.shuffle(&mut order);
            OperationKind::Transaction { cohort, order }
        }
        6 if config.cohorts > 0 => OperationKind::ReadCohort { cohort },
        _ => OperationKind::Put {
            key,
            index,
            padding,
        },
    }
}

/// A small index as a number that draws are keyed by.
pub fn index(at: usize) -> u64 {
    u64::try_from(at).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_follow_from_their_seed_and_differ_between_seeds() {
        let scenario = Scenario::default();
        let shown = |seed| format!("{:?}", Plan::draw(&scenario, seed));
        assert_eq!(shown(3), shown(3));
        assert_ne!(shown(3), shown(4));
    }

    #[test]
    fn a_scenario_fixes_what_it_names() {
        let text = "name = \"x\"\nregions = [\"eu-west-1\", \"us-east-1\"]\nduration = \"9s\"\n\
            [workload]\nkeys = 3\noperations_per_second = 7\n[[fault]]\nat = \"5s\"\nkill = \"us-east-1\"";
        let scenario = Scenario::parse(text, "x.toml").unwrap();
        for seed in 0..8 {
            let plan = Plan::draw(&scenario, seed);
            assert_eq!(plan.config.regions, ["eu-west-1", "us-east-1"]);
            assert_eq!(plan.config.storm_us, 9_000_000);
            assert_eq!(plan.config.keys, 3);
            let faults = plan.steps.iter().filter(|s| matches!(s.act, Act::Break(_)));
            assert_eq!(faults.count(), 1);
            assert!(plan.steps.is_sorted_by_key(|s| s.at_us));
        }
    }
}
