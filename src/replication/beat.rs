//! Heartbeats: what a peer is told five times a second.

use super::Lane;
use super::replicator::{Replicator, Scene};
use super::wire::{Heartbeat, Message};
use crate::clock::{RegionId, Stamp};
use crate::maybe;
use crate::replica::mutation::{Frontier, LogId};

/// What has not changed for long comes along in one of so many heartbeats, so that none that is lost matters.
const WHOLE_EVERY: u64 = 25;

impl Replicator {
    pub(super) fn send_heartbeat(&mut self, scene: &mut Scene<'_>, peer: RegionId) {
        let mut watermark = self.own_watermark();
        let mut others = self.stable.watermarks(self.config.region, watermark, peer);
        let mut frontier = self.frontier_of_beat(peer);
        if maybe!("stale heartbeat", self.config.region, peer, scene.now) {
            (frontier, watermark, others) = (Frontier::new(), Stamp::MIN, Default::default());
        }
        let (whole, epoch) = (self.is_whole(), self.said_epoch());
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        session.heartbeats += 1;
        session.heartbeat_sent_us = Some(scene.now.mono_us);
        let beat = Heartbeat {
            frontier,
            watermark,
            others,
            whole,
            epoch,
            sent_us: scene.now.mono_us,
            echo: session.echo(scene.now),
        };
        self.send(scene, peer, Lane::Control, Message::Heartbeat(beat));
    }

    /// The durable frontier for `peer`, in most heartbeats without the logs that have ended and of which it has
    /// all that is here: an entry stays for every start that wrote something, and there may be many. The peer heard
    /// of them in our `Hello`, and a watermark promises nothing of them that it lacks.
    fn frontier_of_beat(&self, peer: RegionId) -> Frontier {
        let mut frontier = self.frontier_for(peer);
        let Some(session) = self.sessions.get(&peer) else {
            return frontier;
        };
        if session.heartbeats.is_multiple_of(WHOLE_EVERY) {
            return frontier;
        }
        // Backwards, the newest incarnation of a region comes first.
        let mut newer: Option<LogId> = None;
        let of_one = |a: LogId, b: LogId| (a.group, a.origin.region) == (b.group, b.origin.region);
        let ended: Vec<LogId> = (frontier.iter().rev())
            .filter(|(log, seq)| {
                let ended = newer
                    .replace(**log)
                    .is_some_and(|newer| of_one(newer, **log));
                ended && session.acked(**log) >= **seq
            })
            .map(|(log, _)| *log)
            .collect();
        for log in ended {
            frontier.remove(&log);
        }
        frontier
    }
}
