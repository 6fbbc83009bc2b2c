//! What replication does about clocks: it probes, judges, and holds commits from the future
//! (replication.md section 3).

use super::probe::{PeerClock, Reply};
use super::replicator::{Replicator, Scene};
use super::wire::Message;
use super::{Action, Lane, PROBE_US, PeerOffset};
use crate::clock::policy::{self, FenceLine, Judgement, QUARANTINE_US, Reading};
use crate::clock::{Now, RegionId};
use crate::replica::mutation::LogId;

/// By how much the fence must move before the replica is told.
const FENCE_STEP_US: u64 = 5_000;

/// Commits of one log that wait until local time catches up with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLog {
    pub log: LogId,
    pub commits: usize,
    /// How far the first of them is ahead of the time here.
    pub lead_us: u64,
}

impl HeldLog {
    /// Too far ahead to be waited out: somebody must set things right at the origin.
    pub fn needs_help(&self) -> bool {
        self.lead_us > QUARANTINE_US
    }
}

/// What is known of clocks, for `status` and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockStatus {
    pub judgement: Judgement,
    pub held: Vec<HeldLog>,
}

/// What the replicator keeps of clocks.
#[derive(Debug)]
pub(super) struct Clocks {
    pub judgement: Judgement,
    /// The line that the replica was last told.
    told: Option<FenceLine>,
    /// The time of the last step.
    pub now: Now,
}

impl Clocks {
    pub fn new() -> Self {
        let now = Now {
            wall_us: 0,
            mono_us: 0,
        };
        Clocks {
            judgement: Judgement::unknown(now),
            told: None,
            now,
        }
    }
}

impl Replicator {
    /// What is known of clocks, as of the last step.
    pub fn clocks(&self) -> ClockStatus {
        let time_us = self.clocks.judgement.time_us;
        let held = self.intakes.iter().filter_map(|(log, intake)| {
            let (commits, issued) = intake.waiting()?;
            let lead_us = issued.physical_us.saturating_sub(time_us);
            (lead_us > self.config.max_offset_us).then_some(HeldLog {
                log: *log,
                commits,
                lead_us,
            })
        });
        ClockStatus {
            judgement: self.clocks.judgement,
            held: held.collect(),
        }
    }

    /// A peer's clock as last measured.
    pub(super) fn offset_of(&self, peer: RegionId) -> Option<PeerOffset> {
        let now = self.clocks.now;
        let reading = self.known.get(&peer)?.clock.reading(now)?;
        Some(PeerOffset {
            offset_us: reading.offset_us(now),
            error_us: reading.error_us,
        })
    }

    /// Asks every connected peer for its time, once a second, and judges our clock by what is known.
    pub(super) fn watch_clocks(&mut self, scene: &mut Scene<'_>) {
        let now_us = scene.now.mono_us;
        let open = self.sessions.iter().filter(|(_, session)| session.open());
        let peers: Vec<RegionId> = open.map(|(peer, _)| *peer).collect();
        for peer in peers {
            let clock: &mut PeerClock = &mut self.known.entry(peer).or_default().clock;
            let asked = clock.asked_us;
            if asked.is_some_and(|at_us| now_us.saturating_sub(at_us) < PROBE_US) {
                continue;
            }
            clock.asked_us = Some(now_us);
            self.send(scene, peer, Lane::Probe, Message::Probe { sent_us: now_us });
        }
    }

    /// A peer asks what the time is.
    pub(super) fn on_probe(&mut self, scene: &mut Scene<'_>, peer: RegionId, sent_us: u64) {
        let wall_us = scene.now.wall_us;
        let reply = Message::ProbeReply {
            sent_us,
            heard_wall_us: wall_us,
            answered_wall_us: wall_us,
        };
        self.send(scene, peer, Lane::Probe, reply);
    }

    pub(super) fn on_probe_reply(&mut self, scene: &mut Scene<'_>, peer: RegionId, reply: Reply) {
        let clock = &mut self.known.entry(peer).or_default().clock;
        if clock.heard(scene.now, reply) {
            self.judge(scene);
        }
    }

    /// A step begins. Our clock is judged anew where it was set since the last one, and with every tick, as what
    /// is known of the others' ages; until then time passes, and no more.
    pub(super) fn see_time(&mut self, scene: &mut Scene<'_>, ticks: bool) {
        let (now, before) = (scene.now, self.clocks.now);
        if ticks || policy::shift(now) != policy::shift(before) {
            return self.judge(scene);
        }
        self.clocks.now = now;
        let passed_us = now.mono_us.saturating_sub(before.mono_us);
        let time_us = &mut self.clocks.judgement.time_us;
        *time_us = time_us.saturating_add(passed_us);
    }

    /// Judges our clock anew.
    fn judge(&mut self, scene: &mut Scene<'_>) {
        let now = scene.now;
        self.clocks.now = now;
        let readings: Vec<Reading> = (self.known.values())
            .filter_map(|known| known.clock.reading(now))
            .collect();
        self.clocks.judgement = policy::judge(self.config.max_offset_us, &readings, now);
        let fence = self.clocks.judgement.fence;
        let near = |(old, new): (FenceLine, FenceLine)| {
            old.limit_us.abs_diff(new.limit_us) < FENCE_STEP_US
                && old.reference_us.abs_diff(new.reference_us) < FENCE_STEP_US
        };
        match fence {
            Some(line) if !self.clocks.told.is_some_and(|told| near((told, line))) => {
                self.clocks.told = fence;
                scene.out.push(Action::Fence(line));
            }
            // Members were given up, and of those that are left none can say whose clock is wrong.
            None if self.clocks.told.take().is_some() => {
                scene.out.push(Action::Fence(FenceLine::OPEN));
            }
            _ => {}
        }
    }

    /// The greatest stamp that is applied now, microseconds: what is beyond it is held.
    pub(super) fn horizon_us(&self) -> u64 {
        (self.clocks.judgement.time_us).saturating_add(self.config.max_offset_us)
    }
}
