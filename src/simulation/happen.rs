//! What happens to regions: requests, frames, syncs, connections, and the faults of the plan.

use std::sync::Arc;

use super::host::{Asker, Done, Finished, Region, Work};
use super::plan::{Disk, Fault, Kill, Operation, OperationKind, index};
use super::report::OracleId;
use super::service::Begun;
use super::workload;
use super::world::{IDLE_US, TICK_US, Trouble, What, World, region_id};
use super::{Planted, frames};
use crate::clock::{Now, RegionId};
use crate::replica::manifest::State;
use crate::replica::mutation::{Frontier, GroupId, join, lacks};
use crate::replica::request::WriteRequest;
use crate::replica::{ApiError, log};
use crate::replication::{Action, Event, Lane};

fn index_of(region: RegionId) -> usize {
    usize::from(region.0)
}

impl World<'_> {
    fn now(&self, region: usize) -> Now {
        self.regions[region].clock.now(self.now_us)
    }

    /// Starts a region's process, which looks for its peers.
    pub(super) fn start(&mut self, region: usize) -> Result<(), Trouble> {
        self.regions[region].mind_the_clock(self.now_us);
        let now = self.now(region);
        let life = self.regions[region].life + 1;
        let mut rng = self.chance.of("life", &[index(region), life]);
        let chance = u32::try_from(rng.below(1 << 32)).unwrap_or_default();
        self.regions[region].boot(now, chance)?;
        let frontier = self.regions[region].frontier().cloned().unwrap_or_default();
        self.oracles.on_start(region_id(region), &frontier);
        self.trace(Some(region), || {
            format!("starts, life {life}, wall {}", now.wall_us)
        });
        let offset_us = self
            .chance
            .of("tick", &[index(region), life])
            .below(TICK_US);
        self.schedule(offset_us, What::Tick { region, life });
        for (a, b) in self.net.pairs() {
            if a == region || b == region {
                self.dial(a, b);
            }
        }
        Ok(())
    }

    /// The first region creates or changes the table, if it is alive.
    pub(super) fn change_table(&mut self, request: WriteRequest) -> Result<(), Trouble> {
        if !self.regions[0].is_alive() {
            return Ok(());
        }
        let (asker, request) = (Asker::World, Box::new(request));
        self.regions[0].enqueue(Work::Write { asker, request });
        self.begin_group(0, false)
    }

    pub(super) fn ask(&mut self, operation: Operation) -> Result<(), Trouble> {
        let region = operation.region;
        self.operations += 1;
        self.oracles.meter.ask(self.now_us, &operation);
        self.trace(Some(region), || {
            format!(
                "client {} asks {}: {:?}",
                operation.client, operation.id, operation.kind
            )
        });
        if !self.regions[region].serves() {
            self.refuse(&operation);
            return Ok(());
        }
        let txn = self.regions[region].snapshot()?;
        let seen = log::frontier(&*txn)?;
        if self.lacks_session(&operation, &seen) {
            drop(txn);
            self.refuse(&operation);
            return Ok(());
        }
        let Some(request) = workload::request(&operation) else {
            join(self.tokens.entry(operation.client).or_default(), &seen);
            let there =
                self.oracles
                    .on_read(&*txn, region_id(region), &operation, &self.plan.config)?;
            self.refused += u64::from(!there);
            drop(txn);
            self.answer_read(&operation, there);
            return Ok(());
        };
        drop(txn);
        let (asker, request) = (Asker::Client(operation), Box::new(request));
        self.regions[region].enqueue(Work::Write { asker, request });
        self.begin_group(region, false)
    }

    fn refuse(&mut self, operation: &Operation) {
        self.refused += 1;
        self.oracles.meter.answer(self.now_us, operation, false);
    }

    /// Reads wait for nobody: what they take is modelled.
    fn answer_read(&mut self, operation: &Operation, there: bool) {
        let mut rng = self.chance.of("read", &[operation.id]);
        let items = match operation.kind {
            OperationKind::ReadCohort { .. } => u64::from(self.plan.config.cohort_keys),
            _ => 1,
        };
        let took_us = self.plan.config.service.read(items, &mut rng);
        self.oracles
            .meter
            .answer(self.now_us + took_us, operation, there);
    }

    /// Whether a client has seen, by its token, what the region it asks has not: the region refuses, as one
    /// whose waiting time is nothing.
    fn lacks_session(&self, operation: &Operation, here: &Frontier) -> bool {
        let region = region_id(operation.region);
        let token = self.tokens.get(&operation.client);
        let lacks_some = |token| !lacks(here, token, region).is_empty();
        !self.ignores_tokens && token.is_some_and(lacks_some)
    }

    pub(super) fn tick(&mut self, region: usize, life: u64) -> Result<(), Trouble> {
        if self.regions[region].life != life || !self.regions[region].is_alive() {
            return Ok(());
        }
        self.schedule(TICK_US, What::Tick { region, life });
        self.watch_clock(region);
        self.step(region, Event::Tick)?;
        let idle = self.now_us - self.grouped_us[region] >= IDLE_US;
        self.begin_group(region, idle)
    }

    /// The replicator takes in an event, and what it wants is done.
    fn step(&mut self, region: usize, event: Event) -> Result<(), Trouble> {
        let now = self.now(region);
        for action in self.regions[region].step(now, event)? {
            match action {
                Action::Send(peer, lane, frame) => self.send(region, index_of(peer), lane, frame),
                Action::Apply { from, commits } => {
                    self.regions[region].enqueue(Work::Remote { from, commits });
                    self.begin_group(region, false)?;
                }
                Action::Stable(mut found) => {
                    if self.planted == Some(Planted::TruncateAlone) {
                        found.floors = self.regions[region].frontier().cloned().unwrap_or_default();
                    }
                    self.oracles.on_stable(region_id(region), &found);
                    self.regions[region].enqueue(Work::Stable(found));
                }
                Action::Snapshot(portion) => {
                    self.regions[region].enqueue(Work::Snapshot(portion));
                    self.begin_group(region, false)?;
                }
                Action::Reborn { above } => {
                    self.trace(Some(region), || format!("is reborn above {above}"));
                    self.regions[region].enqueue(Work::Reborn { above });
                    self.begin_group(region, false)?;
                }
                Action::Whole(group) => {
                    self.trace(Some(region), || format!("is whole: {group:?}"));
                    self.regions[region].enqueue(Work::Whole(group));
                    self.begin_group(region, false)?;
                }
                Action::Repair(offer) => {
                    self.regions[region].enqueue(Work::Repair(offer));
                }
                Action::Adopt(manifest) => {
                    self.regions[region].enqueue(Work::Adopt(manifest));
                    self.begin_group(region, false)?;
                }
                Action::Fence(line) => self.regions[region].set_fence(line),
                Action::Throttle(_) => {}
                Action::Vote(vote) => {
                    self.regions[region].enqueue(Work::Vote(vote));
                    self.begin_group(region, false)?;
                }
                Action::Rescue { from, tail } => {
                    self.regions[region].enqueue(Work::Rescue { from, tail });
                    self.begin_group(region, false)?;
                }
                Action::Wipe(rescued) => {
                    self.trace(Some(region), || format!("begins to forget: {rescued:?}"));
                    self.regions[region].enqueue(Work::Wipe(rescued));
                    self.begin_group(region, false)?;
                }
                Action::CutOff(cut_off) => self.regions[region].set_cut_off(cut_off),
                Action::Silences(silences) => {
                    self.regions[region].enqueue(Work::Silences(silences));
                }
                Action::Disconnect(peer, reason) => {
                    if self.newest_state(index_of(peer)) == Some(State::Removed)
                        || self.newest_state(region) == Some(State::Removed)
                    {
                        self.sever(region, index_of(peer))?;
                        continue;
                    }
                    let name = self.regions[region].name.clone();
                    let peer = self.regions[index_of(peer)].name.clone();
                    self.oracles.report(
                        OracleId::Liveness,
                        format!("{name} turns {peer} away: {reason}"),
                    );
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize, to: usize, lane: Lane, frame: Vec<u8>) {
        self.frames += 1;
        if lane == Lane::Log {
            self.oracles.on_send(region_id(from), &frame);
        }
        let (epoch, mut arrivals) = self.net.send(self.now_us, from, to, lane, frame.len());
        let last = arrivals.pop();
        self.oracles
            .meter
            .sent(from, to, lane, &frame, last.is_some());
        let arrive = |frame: Vec<u8>| What::Arrive {
            from,
            to,
            lane,
            epoch,
            frame,
        };
        for at_us in arrivals {
            self.schedule(at_us.saturating_sub(self.now_us), arrive(frame.clone()));
        }
        if let Some(at_us) = last {
            self.schedule(at_us.saturating_sub(self.now_us), arrive(frame));
        }
    }

    pub(super) fn arrive(
        &mut self,
        from: usize,
        to: usize,
        lane: Lane,
        epoch: u64,
        frame: Vec<u8>,
    ) -> Result<(), Trouble> {
        if !self.net.delivers(from, to, epoch) || !self.regions[to].is_alive() {
            return Ok(());
        }
        self.trace(Some(to), || {
            format!("hears of {}: {}", region_id(from), frames::describe(&frame))
        });
        let (now_us, dead_us) = (self.now_us, self.plan.config.silence_limits().dead_after_us);
        let heard = self.hearing.entry((to, from)).or_default();
        heard.again(now_us, dead_us);
        self.step(to, Event::Frame(region_id(from), lane, frame))
    }

    /// The writer begins a group, if it is free and there is something to do.
    pub(super) fn begin_group(&mut self, region: usize, idle: bool) -> Result<(), Trouble> {
        let now = self.now(region);
        let most = self.plan.config.group_jobs_max;
        let Some(begun) = self.regions[region].begin_group(now, most, idle)? else {
            return Ok(());
        };
        self.grouped_us[region] = self.now_us;
        let sync_us = self.sync_us(region, &begun);
        let life = self.regions[region].life;
        self.schedule(sync_us, What::Sync { region, life });
        if let Some(kill) = self.doomed[region].take_if(|_| !begun.is_idle()) {
            let after_us = self
                .chance
                .of("doom", &[index(region), life])
                .below(sync_us);
            self.schedule(after_us, What::Crash { life, kill });
        }
        match begun.early {
            Some(event) => self.step(region, event),
            None => Ok(()),
        }
    }

    /// How long the group's transaction and its sync take. Modelled.
    fn sync_us(&mut self, region: usize, begun: &Begun) -> u64 {
        let here = &mut self.regions[region];
        here.syncs += 1;
        let mut rng = self.chance.of("sync", &[index(region), here.syncs]);
        let service = self.plan.config.service;
        let mut sync_us = service.group(begun, &mut rng) + here.stall_us;
        if rng.per_mille(self.plan.config.slow_syncs) {
            sync_us += rng.between(5_000, 200_000);
        }
        sync_us
    }

    pub(super) fn sync(&mut self, region: usize, life: u64) -> Result<(), Trouble> {
        if self.regions[region].life != life {
            return Ok(());
        }
        let now = self.now(region);
        let Some(finished) = self.regions[region].finish_group(now)? else {
            return Ok(());
        };
        self.see_members();
        self.judge(region, &finished, true)?;
        for done in &finished.done {
            if let Done::Write {
                asker: Asker::Client(operation),
                ..
            } = done
            {
                join(
                    self.tokens.entry(operation.client).or_default(),
                    &finished.after,
                );
            }
        }
        if self.regions[region].origin() != Some(finished.origin) {
            self.step(region, Event::Born(finished.origin))?;
        }
        if self.regions[region].epoch() != Some(finished.manifest.epoch) {
            self.step(region, Event::Members(Arc::clone(&finished.manifest)))?;
        }
        if finished.wiped {
            self.trace(Some(region), || "has forgotten what it shared".into());
            self.tokens.clear();
            let wiped = Event::Wiped(finished.origin, finished.after.clone());
            self.step(region, wiped)?;
        }
        if !finished.refused {
            let durable = Event::Durable(finished.after, finished.watermark);
            self.step(region, durable)?;
        }
        for done in finished.done {
            match done {
                Done::Remote { from, ok, .. } => self.step(region, Event::Applied { from, ok })?,
                Done::Snapshot { portion, ok } => {
                    let group = portion.group;
                    self.step(region, Event::Copied { group, ok })?;
                }
                Done::Write {
                    asker: Asker::Script(ticket),
                    answer,
                } => self.go_on(ticket, Some(answer))?,
                Done::Vote { ok } => self.step(region, Event::Voted { ok })?,
                Done::Rescue { from, outcome, .. } => {
                    self.step(region, Event::Rescued { from, outcome })?;
                }
                Done::Write { asker, answer } => {
                    if matches!(asker, Asker::Client(_)) && answer.is_ok() {
                        self.see_acknowledged(region);
                    }
                    let expected =
                        matches!(answer, Ok(_) | Err(ApiError::ConditionalCheckFailed { .. }));
                    self.refused += u64::from(!expected);
                    if let Asker::Client(operation) = &asker {
                        self.oracles.meter.answer(self.now_us, operation, expected);
                    }
                }
            }
        }
        self.begin_group(region, false)
    }

    /// The oracles hear who is no member any more.
    fn see_members(&mut self) {
        if self.plan.config.newcomers == 0 {
            return;
        }
        let removed = |r: &usize| self.newest_state(*r) == Some(State::Removed);
        let gone = (0..self.regions.len()).filter(removed).map(region_id);
        self.oracles.gone = GroupId::of(gone);
    }

    /// The oracles look at a durable group.
    fn judge(&mut self, region: usize, finished: &Finished, told: bool) -> Result<(), Trouble> {
        if !finished.done.is_empty() {
            let jobs = finished.done.len();
            let last = finished.watermark;
            self.trace(Some(region), || {
                format!("commits {jobs} jobs, below {last}")
            });
        }
        self.note_clocks();
        let horizons: Vec<u64> = (0..self.regions.len())
            .map(|origin| self.horizon_us(origin))
            .collect();
        let horizon_us = |origin: RegionId| horizons.get(index_of(origin)).copied().unwrap_or(0);
        self.oracles
            .check_holds(region_id(region), finished, horizon_us);
        let dead_us = self.plan.config.silence_limits().dead_after_us;
        let (hearing, now_us) = (&self.hearing, self.now_us);
        let silent = |voter: RegionId, member: RegionId| {
            let heard = hearing.get(&(index_of(voter), index_of(member)));
            heard.is_none_or(|heard| heard.was_silent(now_us, dead_us))
        };
        if self.oracles.on_members(&finished.manifest, silent) {
            self.regions.iter_mut().for_each(Region::drop_backup);
        }
        let txn = self.regions[region].snapshot()?;
        if finished.wiped {
            let wall_us = finished.wall_us;
            self.oracles.on_wiped(&*txn, region_id(region), wall_us)?;
        }
        self.oracles
            .on_group(&*txn, region_id(region), finished, told)?;
        Ok(())
    }

    /// Someone tries to connect the two, unless they are or someone does.
    fn dial(&mut self, a: usize, b: usize) {
        if self.net.begin_dial(a, b) {
            let epoch = self.net.epoch(a, b);
            let mut rng = self
                .chance
                .of("dial", &[index(a), index(b), epoch, self.now_us]);
            self.schedule(rng.between(20_000, 600_000), What::Dial { a, b });
        }
    }

    pub(super) fn dialled(&mut self, a: usize, b: usize) -> Result<(), Trouble> {
        let alive = self.regions[a].is_alive() && self.regions[b].is_alive();
        let connected = alive && !self.net.is_cut(a, b) && self.may_connect(a, b);
        self.net.end_dial(a, b, connected);
        if !connected {
            self.dial(a, b);
            return Ok(());
        }
        self.trace(Some(a), || format!("connects to {}", region_id(b)));
        self.step(a, Event::Up(region_id(b)))?;
        self.step(b, Event::Up(region_id(a)))
    }

    pub(super) fn expire(&mut self, a: usize, b: usize, epoch: u64) -> Result<(), Trouble> {
        if self.net.epoch(a, b) == epoch && self.net.is_cut(a, b) {
            self.sever(a, b)?;
        }
        Ok(())
    }

    /// A connection dies, and both ends are told.
    fn sever(&mut self, a: usize, b: usize) -> Result<(), Trouble> {
        if !self.net.down(a, b) {
            return Ok(());
        }
        self.trace(Some(a), || format!("loses {}", region_id(b)));
        self.dial(a, b);
        self.step(a, Event::Down(region_id(b)))?;
        self.step(b, Event::Down(region_id(a)))
    }

    pub(super) fn lost(&mut self, region: usize, peer: usize, epoch: u64) -> Result<(), Trouble> {
        if self.net.is_up(region, peer) || self.net.epoch(region, peer) != epoch {
            return Ok(());
        }
        self.step(region, Event::Down(region_id(peer)))
    }

    pub(super) fn break_something(&mut self, fault: Fault) -> Result<(), Trouble> {
        if self.calm_us.is_some() {
            return Ok(());
        }
        self.trace(None, || format!("{fault:?}"));
        match fault {
            Fault::Cut { ways, fatal: true } => self.sever_ways(&ways),
            Fault::Cut { ways, .. } => ways.iter().for_each(|(from, to)| self.net.cut(*from, *to)),
            Fault::Heal { ways } => ways.iter().for_each(|(from, to)| self.net.heal(*from, *to)),
            Fault::Reset { a, b } => self.sever(a, b)?,
            Fault::Kill(kill) if kill.within_commit => self.doomed[kill.region] = Some(kill),
            Fault::Kill(kill) => {
                let life = self.regions[kill.region].life;
                self.crash(life, kill)?;
            }
            Fault::BackUp { region } => {
                if self.regions[region].back_up()? {
                    self.oracles.back_up(region_id(region));
                }
            }
            Fault::Skew { region, by_us } => {
                self.regions[region].clock.step(by_us);
                self.clock_set();
            }
            Fault::Freeze { region, frozen } => {
                let now_us = self.now_us;
                self.regions[region].clock.frozen_us = frozen.then_some(now_us);
                self.clock_set();
            }
            Fault::Stall { region, by_us } => self.regions[region].stall_us = by_us,
            Fault::Clog {
                ways,
                bulky,
                for_us,
            } => {
                let mut lanes = vec![Lane::Log, Lane::Bulk];
                if !bulky {
                    lanes.extend([Lane::Control, Lane::Probe]);
                }
                for way in ways {
                    self.net.clog(way, &lanes, self.now_us + for_us);
                }
            }
            Fault::Reroute {
                ways,
                longer_us,
                bytes_per_second,
            } => {
                for way in ways {
                    let wider = (self.net).reroute(self.now_us, way, longer_us, bytes_per_second);
                    if let Some(until_us) = wider {
                        self.hurry(way, until_us);
                    }
                }
            }
            Fault::Full { region, full } => self.regions[region].full = full,
        }
        Ok(())
    }

    /// Cuts these directions, for so long that connections die of it.
    pub(super) fn sever_ways(&mut self, ways: &[(usize, usize)]) {
        for (from, to) in ways {
            self.net.cut(*from, *to);
            self.expire_later(*from, *to);
        }
    }

    fn expire_later(&mut self, from: usize, to: usize) {
        let epoch = self.net.epoch(from, to);
        let mut rng = self
            .chance
            .of("patience", &[index(from), index(to), self.now_us]);
        let (a, b) = (from.min(to), from.max(to));
        self.schedule(
            rng.between(500_000, 3_000_000),
            What::Expire { a, b, epoch },
        );
    }

    pub(super) fn crash(&mut self, life: u64, kill: Kill) -> Result<(), Trouble> {
        let region = kill.region;
        let meant = self.regions[region].is_alive() && self.regions[region].life == life;
        if !meant || self.calm_us.is_some() {
            return Ok(());
        }
        self.crashes += 1;
        self.trace(Some(region), || "dies".into());
        let now = self.now(region);
        if let Some(finished) = self.regions[region].crash(now, kill.commit_survives)? {
            self.judge(region, &finished, false)?;
        }
        if kill.disk != Disk::Kept {
            let restored = self.regions[region].lose_disk(kill.disk == Disk::PutBack)?;
            self.trace(Some(region), || format!("disk lost, put back {restored}"));
            self.oracles.on_disk_fault(region_id(region), restored);
            self.tokens.clear();
        }
        for peer in (0..self.regions.len()).filter(|peer| *peer != region) {
            if self.net.down(region, peer) {
                let epoch = self.net.epoch(region, peer);
                let mut rng = self
                    .chance
                    .of("notice", &[index(region), index(peer), life]);
                let what = What::Lost {
                    region: peer,
                    peer: region,
                    epoch,
                };
                self.schedule(rng.between(50_000, 2_000_000), what);
                self.dial(region, peer);
            }
        }
        if let Some(after_us) = kill.restart_after_us {
            let step_us = kill.step_us;
            self.schedule(
                after_us,
                What::Restart {
                    region,
                    life,
                    step_us,
                },
            );
        }
        Ok(())
    }

    pub(super) fn restart(
        &mut self,
        region: usize,
        life: u64,
        step_us: i64,
    ) -> Result<(), Trouble> {
        if self.regions[region].is_alive() || self.regions[region].life != life {
            return Ok(());
        }
        self.regions[region].clock.step(step_us);
        self.clock_set();
        self.start(region)
    }
}
