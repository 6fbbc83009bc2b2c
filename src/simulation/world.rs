//! The world: virtual time, and everything that happens in it, one event after the other.
//!
//! Events are ordered by (time, sequence). Each is folded into a hash before it is handled, so that two
//! runs of one seed can be compared; each is handled under `catch_unwind`, so that a failed assertion in
//! a region is a finding and not the end of the night.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use siphasher::sip::SipHasher13;

use super::host::{CLUSTER_ID, Region, Tuning};
use super::net::Net;
use super::operators::Command;
use super::oracle::Oracles;
use super::plan::{Act, Kill, Plan, index};
use super::report::{OracleId, RunReport, percentile};
use super::rng::Chance;
use super::script::{Api, Stage};
use super::skew::{EPOCH_US, SkewedClock};
use super::volume::Volumes;
use super::{Planted, measure, workload};
use super::{clocks::Watch, dead::Hearing};
use crate::clock::RegionId;
use crate::replica::manifest::{Manifest, State};
use crate::replica::mutation::{Frontier, GroupId};
use crate::replica::ttl::TtlSettings;
use crate::replica::{ApiError, Limits, OpenError, PlantedBug, ReplicaConfig};
use crate::replication::Lane;
use crate::store::StoreError;
use crate::{marks, whims};

/// Between two ticks of a replicator.
pub(super) const TICK_US: u64 = 50_000;
/// How long a writer is idle before it runs an empty group, as the daemon's does.
pub(super) const IDLE_US: u64 = 1_000_000;
/// Between two sweeps of a region for items that have expired.
const SWEEP_US: u64 = 500_000;
/// Between two looks at everything a region has.
pub(super) const LOOK_US: u64 = 2_000_000;
/// A region with more rows is looked at more rarely, so that looking costs a world the same, whatever it holds.
const LOOK_ROWS: u64 = 500;
/// Between two looks at whether all is equal yet. Not in step with the ticks: a writer that is busy for a moment
/// after each would never be found idle.
const POLL_US: u64 = 93_077;

/// What a region could not do. None of it can happen to a store in memory.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// One event. Regions by their index; `life` and `epoch` tell whom it was meant for.
#[derive(Debug)]
pub(super) enum What {
    Step(usize),
    Tick {
        region: usize,
        life: u64,
    },
    Arrive {
        from: usize,
        to: usize,
        lane: Lane,
        epoch: u64,
        frame: Vec<u8>,
    },
    Sync {
        region: usize,
        life: u64,
    },
    /// An attempt to connect succeeds or fails.
    Dial {
        a: usize,
        b: usize,
    },
    /// A connection over a cut runs out of patience.
    Expire {
        a: usize,
        b: usize,
        epoch: u64,
    },
    /// A region notices that another's process is gone.
    Lost {
        region: usize,
        peer: usize,
        epoch: u64,
    },
    Crash {
        life: u64,
        kill: Kill,
    },
    Restart {
        region: usize,
        life: u64,
        step_us: i64,
    },
    Look,
    /// Operators ask again.
    Pursue,
    Calm,
    Poll,
}

pub struct World<'o> {
    pub(super) plan: Plan,
    pub(super) seed: u64,
    pub(super) planted: Option<Planted>,
    pub(super) chance: Chance,
    pub(super) now_us: u64,
    events: BTreeMap<(u64, u64), What>,
    scheduled: u64,
    pub(super) regions: Vec<Region>,
    /// Per region, the kill that waits for its next group.
    pub(super) doomed: Vec<Option<Kill>>,
    /// Per region, when all that it has is looked at again.
    look_us: Vec<u64>,
    /// Per region, when it last began a group.
    pub(super) grouped_us: Vec<u64>,
    pub(super) watches: Vec<Watch>,
    /// The region whose disk did something, and when; until it is put right.
    pub(super) damaged: Option<(usize, u64)>,
    pub(super) repairs: u64,
    pub(super) net: Net,
    pub(super) oracles: Oracles,
    pub(super) hearing: BTreeMap<(usize, usize), Hearing>,
    /// Regions that have not been started yet.
    pub(super) unborn: BTreeSet<usize>,
    /// What operators want and is not so yet.
    pub(super) commands: Vec<Command>,
    /// The session tokens of clients that may move, by client.
    pub(super) tokens: BTreeMap<u64, Frontier>,
    /// `TokenIgnored` is planted.
    pub(super) ignores_tokens: bool,
    digest: SipHasher13,
    trace: Option<&'o mut dyn FnMut(String)>,
    /// Where disks are files, if they are.
    files: Option<PathBuf>,
    /// Where clients of a script ask; the world has no clients and no table of its own then.
    pub(super) stage: Option<Stage<'o>>,
    pub(super) calm_us: Option<u64>,
    pub(super) converged_us: Option<u64>,
    pub(super) operations: u64,
    pub(super) refused: u64,
    pub(super) frames: u64,
    pub(super) crashes: u64,
    /// How often whims have fired.
    whims: BTreeMap<&'static str, u64>,
    handled: u64,
}

impl<'o> World<'o> {
    pub fn new(
        plan: Plan,
        seed: u64,
        planted: Option<Planted>,
        trace: Option<&'o mut dyn FnMut(String)>,
    ) -> Self {
        let chance = Chance::new(seed);
        let config = &plan.config;
        let founders = World::founders(config);
        let all = GroupId::of((0..config.regions.len()).map(region_id));
        let unborn = World::unborn(config);
        let founding = |of| [all, founders][usize::from(founders.contains(of))];
        let region = |(at, name): (usize, &String)| {
            let replica = ReplicaConfig {
                region: region_id(at),
                region_name: name.clone(),
                // A newcomer's topology has it, the founders' do not.
                manifest: Manifest::of(CLUSTER_ID, founding(region_id(at))),
                replicate_all: true,
                retention: config.retention,
                ttl: TtlSettings {
                    interval_us: SWEEP_US,
                    others_after_s: 1,
                    ..TtlSettings::default()
                },
                table_delay_us: 0,
                aws_waits: false,
                conflicts: config.conflicts,
                planted: planted.and_then(Planted::in_replica),
                limits: Limits {
                    chore_rows: config.chore_rows,
                    scrub_us: config.pace.scrub_us,
                    ..Limits::default()
                },
            };
            let spec = config.clocks.get(at).copied().unwrap_or_default();
            let clock = SkewedClock {
                offset_us: spec.offset_us,
                drift_ppm: spec.drift_ppm,
                frozen_us: None,
                mono_start_us: 1_000_000 * (index(at) + 1),
            };
            let dropped = planted == Some(Planted::Replica(PlantedBug::HeldDropped));
            let max_offset_us = if dropped {
                u64::MAX
            } else {
                config.max_offset_us
            };
            let tuning = Tuning {
                part_bytes_max: config.part_bytes_max,
                max_offset_us,
                anti_entropy_us: config.pace.anti_entropy_us,
                limits: config.silence_limits(),
                ship_before_sync: planted == Some(Planted::ShipBeforeSync),
            };
            Region::new(replica, clock, tuning)
        };
        let regions: Vec<Region> = config.regions.iter().enumerate().map(region).collect();
        let mut oracles = Oracles::new(seed, config);
        oracles.late = GroupId(all.0 & !founders.0);
        World {
            chance,
            seed,
            planted,
            now_us: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            doomed: vec![None; regions.len()],
            look_us: vec![0; regions.len()],
            grouped_us: vec![0; regions.len()],
            damaged: None,
            repairs: 0,
            watches: vec![Watch::default(); regions.len()],
            net: Net::new(config, chance),
            hearing: BTreeMap::new(),
            oracles,
            unborn,
            commands: Vec::new(),
            tokens: BTreeMap::new(),
            ignores_tokens: planted == Some(Planted::TokenIgnored),
            digest: SipHasher13::new(),
            trace,
            files: None,
            stage: None,
            calm_us: None,
            converged_us: None,
            operations: 0,
            refused: 0,
            frames: 0,
            crashes: 0,
            whims: BTreeMap::new(),
            handled: 0,
            regions,
            plan,
        }
    }

    /// Clients are those of a script.
    pub fn play_script(&mut self, api: &'o dyn Api) {
        self.stage = Some(Stage::new(api));
        self.oracles.scripted = true;
    }

    /// Keeps the disks as files in this folder.
    pub fn use_files(&mut self, folder: PathBuf) {
        self.files = Some(folder);
    }

    /// Runs until all is equal, a bound is passed, or an oracle has seen something.
    pub fn run(mut self, scenario: &str) -> RunReport {
        self.open();
        while self.converged_us.is_none() && self.next_event(u64::MAX) {}
        self.report(scenario)
    }

    /// Begins: nothing has happened yet.
    pub(super) fn open(&mut self) {
        marks::begin();
        whims::begin(self.seed, &self.plan.config.whims);
        self.guarded(Self::begin);
    }

    /// Lets the next event happen, if there is one until then and no oracle has seen anything.
    pub(super) fn next_event(&mut self, until_us: u64) -> bool {
        let due = self.events.first_key_value();
        if !self.oracles.violations.is_empty()
            || due.is_none_or(|((at_us, _), _)| *at_us > until_us)
        {
            return false;
        }
        let Some(((at_us, _), what)) = self.events.pop_first() else {
            return false;
        };
        assert!(at_us >= self.now_us, "time does not go back");
        self.now_us = at_us;
        self.handled += 1;
        self.oracles.set_time(at_us);
        self.fold(&what);
        self.guarded(|world| world.handle(what));
        true
    }

    /// Lets everything happen until then.
    pub(super) fn advance(&mut self, until_us: u64) {
        while self.next_event(until_us) {}
        self.now_us = self.now_us.max(until_us);
        self.oracles.set_time(self.now_us);
    }

    fn end_whims(&mut self) {
        if self.calm_us.is_none() {
            self.whims = whims::end();
        }
    }

    /// O16: does something; a panic or an error of the store is a violation.
    pub(super) fn guarded(&mut self, action: impl FnOnce(&mut Self) -> Result<(), Trouble>) {
        let outcome = catch_unwind(AssertUnwindSafe(|| action(self)));
        let explanation = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(trouble)) => trouble.to_string(),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
                format!("panicked: {}", text.unwrap_or_default())
            }
        };
        self.trace(None, || explanation.clone());
        self.oracles.report(OracleId::Panic, explanation);
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        if let Some(folder) = &self.files {
            for region in &mut self.regions {
                region.set_volumes(Volumes::below(folder.join(&region.name)))?;
            }
        }
        for (at, step) in self.plan.steps.iter().enumerate() {
            self.events
                .insert((step.at_us, self.scheduled), What::Step(at));
            self.scheduled += 1;
        }
        for region in 0..self.regions.len() {
            if !self.unborn.contains(&region) {
                self.start(region)?;
            }
        }
        self.schedule(LOOK_US, What::Look);
        self.schedule(self.plan.config.storm_us, What::Calm);
        if self.stage.is_some() {
            return Ok(());
        }
        self.change_table(workload::create_table(self.plan.config.streams))?;
        if self.plan.config.merged > 0 {
            self.change_table(workload::create_merged())?;
        }
        Ok(())
    }

    fn handle(&mut self, what: What) -> Result<(), Trouble> {
        match what {
            What::Step(at) => match self.plan.steps[at].act.clone() {
                Act::Ask(operation) => self.ask(operation),
                Act::Expiry(on) => self.change_table(workload::time_to_live(on)),
                Act::Break(fault) => self.break_something(fault),
                Act::Operate(command) => self.operate(command),
            },
            What::Tick { region, life } => self.tick(region, life),
            What::Arrive {
                from,
                to,
                lane,
                epoch,
                frame,
            } => self.arrive(from, to, lane, epoch, frame),
            What::Sync { region, life } => self.sync(region, life),
            What::Dial { a, b } => self.dialled(a, b),
            What::Expire { a, b, epoch } => self.expire(a, b, epoch),
            What::Lost {
                region,
                peer,
                epoch,
            } => self.lost(region, peer, epoch),
            What::Crash { life, kill } => self.crash(life, kill),
            What::Restart {
                region,
                life,
                step_us,
            } => self.restart(region, life, step_us),
            What::Look => self.look(),
            What::Pursue => self.pursue(),
            What::Calm => self.calm(),
            What::Poll => self.poll(),
        }
    }

    pub(super) fn schedule(&mut self, after_us: u64, what: What) {
        self.events
            .insert((self.now_us + after_us, self.scheduled), what);
        self.scheduled += 1;
    }

    /// What is on its way arrives by `until_us`, in the order in which it was sent.
    pub(super) fn hurry(&mut self, way: (usize, usize), until_us: u64) {
        let on_it =
            |what: &What| matches!(what, What::Arrive { from, to, .. } if (*from, *to) == way);
        let later = self.events.range((until_us, 0)..);
        let late: Vec<(u64, u64)> = later
            .filter(|(_, what)| on_it(what))
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            if let Some(what) = self.events.remove(&key) {
                self.events.insert((until_us, key.1), what);
            }
        }
    }

    /// Looks at everything, now and then.
    fn look(&mut self) -> Result<(), Trouble> {
        for region in &self.regions {
            let (burden, queued) = (region.burden(), region.queued_bytes());
            self.oracles.check_bounds(region.id(), burden, queued);
        }
        if self.calm_us.is_none() {
            self.measure_clocks();
            self.watch_beliefs()?;
        }
        for (at, region) in self.regions.iter().enumerate() {
            let gone = self.newest_state(at) == Some(State::Removed);
            let due = self.look_us[at] <= self.now_us && !gone;
            if !due || !region.is_alive() || self.is_damaged(at)? {
                continue;
            }
            let rows = self.oracles.rows(region.id(), self.plan.config.streams);
            let every_us = self.plan.config.pace.look_us;
            self.look_us[at] = self.now_us + every_us * (1 + rows / LOOK_ROWS);
            let txn = region.snapshot()?;
            self.oracles
                .check_region(&*txn, region.id(), &self.plan.config, region.serves())?;
        }
        self.schedule(LOOK_US, What::Look);
        Ok(())
    }

    /// Every fault is healed; from here on things must come right.
    fn calm(&mut self) -> Result<(), Trouble> {
        self.trace(None, || "calm".into());
        self.end_whims();
        self.calm_us = Some(self.now_us);
        for (way, until_us) in self.net.calm(self.now_us) {
            self.hurry(way, until_us);
        }
        self.doomed.fill(None);
        self.set_clocks_right();
        for region in 0..self.regions.len() {
            self.regions[region].stall_us = 0;
            self.regions[region].full = false;
            if !self.regions[region].is_alive() && !self.unborn.contains(&region) {
                self.start(region)?;
            }
        }
        self.schedule(POLL_US, What::Poll);
        Ok(())
    }

    /// O14: looks whether all is equal, until it must be.
    fn poll(&mut self) -> Result<(), Trouble> {
        let calm_us = self.calm_us.unwrap_or(self.now_us);
        let members = self.final_members();
        if self.is_converged() && self.survives_damage()? {
            self.check_repairs()?;
            for region in members {
                let region = &self.regions[region];
                let txn = region.snapshot()?;
                self.oracles
                    .check_last(&*txn, region.id(), &self.plan.config)?;
            }
            self.converged_us = Some(self.now_us - calm_us);
            return Ok(());
        }
        if self.damaged.is_none() && self.now_us - calm_us > self.plan.config.converge_us {
            let explanation = self.show_frontiers();
            self.oracles.report(OracleId::Liveness, explanation);
        }
        self.schedule(POLL_US, What::Poll);
        Ok(())
    }

    /// Folds an event into the hash.
    fn fold(&mut self, what: &What) {
        let (tag, ids): (u8, [u64; 3]) = match what {
            What::Step(at) => (0, [index(*at), 0, 0]),
            What::Tick { region, life } => (1, [index(*region), *life, 0]),
            What::Arrive {
                from,
                to,
                epoch,
                frame,
                ..
            } => {
                self.digest.write(frame);
                (2, [index(*from), index(*to), *epoch])
            }
            What::Sync { region, life } => (3, [index(*region), *life, 0]),
            What::Dial { a, b } => (4, [index(*a), index(*b), 0]),
            What::Expire { a, b, epoch } => (5, [index(*a), index(*b), *epoch]),
            What::Lost {
                region,
                peer,
                epoch,
            } => (6, [index(*region), index(*peer), *epoch]),
            What::Crash { life, kill } => (7, [*life, index(kill.region), 0]),
            What::Restart { region, life, .. } => (8, [index(*region), *life, 0]),
            What::Look => (9, [0; 3]),
            What::Calm => (10, [0; 3]),
            What::Poll => (11, [0; 3]),
            What::Pursue => (12, [0; 3]),
        };
        let mut bytes = [tag; 33];
        let numbers = [self.now_us, ids[0], ids[1], ids[2]];
        for (room, number) in bytes[1..].chunks_exact_mut(8).zip(numbers) {
            room.copy_from_slice(&number.to_be_bytes());
        }
        self.digest.write(&bytes);
    }

    /// One line for people, if anyone reads.
    pub(super) fn trace(&mut self, region: Option<usize>, text: impl FnOnce() -> String) {
        let Some(print) = &mut self.trace else { return };
        let (seconds, micros) = (self.now_us / 1_000_000, self.now_us % 1_000_000);
        let region = region.and_then(|r| self.regions.get(r));
        let name = region.map_or("-", |r| r.name.as_str());
        print(format!("{seconds:>6}.{micros:06} {name:<15} {}", text()));
    }

    /// Measures for the report, or does not.
    pub fn measure(&mut self, on: bool) {
        self.oracles.meter.on = on;
        self.oracles.meter.cohort_keys = self.plan.config.cohort_keys;
    }

    fn measure_clocks(&mut self) {
        for (at, region) in self.regions.iter().enumerate() {
            let wall_us = region.clock.now(self.now_us).wall_us;
            let right_us = EPOCH_US + self.now_us;
            let offset_us = i64::try_from(wall_us.abs_diff(right_us)).unwrap_or(i64::MAX);
            let offset_us = if wall_us < right_us {
                -offset_us
            } else {
                offset_us
            };
            self.oracles.meter.clock(self.now_us, at, offset_us);
        }
    }

    pub(super) fn report(mut self, scenario: &str) -> RunReport {
        self.end_whims();
        let (commits, lost) = (self.oracles.commits(), self.oracles.lost());
        let conflicts = self.oracles.conflicts();
        let meter = &self.oracles.meter;
        let figures = meter
            .on
            .then(|| measure::figures(meter, &self.plan, self.now_us));
        let mut lags_us = self.oracles.lags_us;
        lags_us.sort_unstable();
        RunReport {
            scenario: scenario.to_owned(),
            seed: self.seed,
            hash: self.digest.finish(),
            regions: self.plan.config.regions,
            virtual_us: self.now_us,
            operations: self.operations,
            acknowledged: self.oracles.acknowledged,
            refused: self.refused,
            events: self.handled,
            frames: self.frames,
            crashes: self.crashes,
            commits,
            lost,
            conflicts,
            repairs: self.repairs,
            lag_p50_us: percentile(&lags_us, 500),
            lag_p99_us: percentile(&lags_us, 990),
            lag_max_us: percentile(&lags_us, 1_000),
            converged_us: self.converged_us,
            checks: self.oracles.checks,
            marks: marks::take(),
            whims: self.whims,
            violations: self.oracles.violations,
            expectations: Vec::new(),
            findings: Vec::new(),
            figures,
        }
    }
}

/// The id of the region at an index.
pub(super) fn region_id(at: usize) -> RegionId {
    RegionId(u16::try_from(at).expect("a world has a handful of regions"))
}
