//! The receiving end: batches in, applies out, and asking for what does not come by itself.

use std::collections::BTreeSet;

use super::intake::{Intake, Wanted};
use super::replicator::{Replicator, Scene};
use super::wire::Message;
use super::{Action, Burden, CREDIT_BYTES_MAX, GAP_US, Lane, RELAY_US};
use crate::clock::RegionId;
use crate::maybe;
use crate::replica::mutation::{Dot, Frontier, GroupId, LogId};

/// A batch as it came.
pub(super) struct Incoming {
    pub log: LogId,
    pub first_seq: u64,
    pub commits: Vec<Vec<u8>>,
    pub done: bool,
}

impl Replicator {
    /// The most that is held of any one log or peer.
    pub fn burden(&self) -> Burden {
        let intakes = self.intakes.values();
        let sessions = self.sessions.values();
        Burden {
            intake_bytes: intakes.clone().map(|i| i.queued_bytes()).max().unwrap_or(0),
            unacked_bytes: sessions.map(|s| s.unacked_bytes()).max().unwrap_or(0),
            applies: intakes.map(|i| i.applies()).max().unwrap_or(0),
        }
    }

    /// Takes in a batch: drops what is known, queues what follows, asks for what is missing between.
    pub(super) fn on_batch(&mut self, scene: &mut Scene<'_>, peer: RegionId, batch: Incoming) {
        let log = batch.log;
        let permitted = log.group.contains(peer) && log.group.contains(self.config.region);
        if !permitted || log.origin == self.config.origin {
            let reason = format!("it sent commits of {log:?}, which are not for this region");
            return self.disconnect(scene, peer, reason);
        }
        let count = u64::try_from(batch.commits.len()).unwrap_or(u64::MAX);
        let Some(after) = batch
            .first_seq
            .checked_add(count)
            .filter(|_| batch.first_seq > 0)
        else {
            return self.disconnect(scene, peer, "it sent a batch with an impossible seq".into());
        };
        if !self.takes(log.group) {
            // The copy is of a later time: what comes now would bring back what it has passed.
            return;
        }
        let received = self.received(log);
        if batch.first_seq > received.saturating_add(1) {
            return self.report_gap(scene, peer, log);
        }
        let (first_seq, done) = (batch.first_seq, batch.done);
        let mut taken = 0;
        let fresh = (first_seq..after)
            .zip(batch.commits)
            .filter(|(seq, _)| *seq > received);
        for (seq, sealed) in fresh {
            let header = scene.shelf.header(&sealed);
            let Some((_, issued)) = header.filter(|(dot, _)| *dot == Dot { log, seq }) else {
                let reason = format!("commit {seq} of {log:?} arrived damaged");
                return self.disconnect(scene, peer, reason);
            };
            let named = (seq, issued);
            if !self.intake(scene, log).push(scene.now, peer, named, sealed) {
                break;
            }
            taken += 1;
        }
        self.count_taken(peer, log, taken);
        self.note_arrival(scene, peer, log, done);
        if after.saturating_sub(1) <= self.durable_seq(log) {
            // Sent again although durable here: the acknowledgement was lost.
            crate::mark!("sent again");
            self.send_ack(scene, peer, &BTreeSet::from([log]));
        } else if let Some(session) = self.sessions.get_mut(&peer) {
            session.ack_due.insert(log);
        }
        self.apply_next(scene, log);
        if done {
            self.pull(scene, log);
        }
    }

    fn count_taken(&mut self, peer: RegionId, log: LogId, commits: u64) {
        let traffic = self.traffic(peer);
        if peer == log.origin.region {
            traffic.commits_own += commits;
        } else {
            traffic.commits_relayed += commits;
        }
    }

    fn note_arrival(&mut self, scene: &Scene<'_>, peer: RegionId, log: LogId, done: bool) {
        let intake = self.intake(scene, log);
        if peer == log.origin.region {
            // The origin delivers, be it what a relay brought first: no relay is needed.
            intake.server = None;
            intake.wanted = None;
        } else if let Some(wanted) = intake.wanted.as_mut().filter(|w| w.server == peer) {
            wanted.at_us = scene.now.mono_us;
            if done {
                intake.wanted = None;
            }
        }
    }

    fn report_gap(&mut self, scene: &mut Scene<'_>, peer: RegionId, log: LogId) {
        let rtt_us = self.sessions.get(&peer).and_then(|s| s.rtt_us).unwrap_or(0);
        let intake = self.intake(scene, log);
        if intake.may_report_gap(scene.now, rtt_us.max(GAP_US)) {
            crate::mark!("gap");
            let from = intake.received().saturating_add(1);
            self.send_want(scene, peer, log, from);
        }
    }

    fn send_want(&mut self, scene: &mut Scene<'_>, peer: RegionId, log: LogId, from: u64) {
        let credit = u64::try_from(CREDIT_BYTES_MAX).unwrap_or(u64::MAX);
        if maybe!("want twice", self.config.region, peer, from) {
            let want = Message::Want { log, from, credit };
            self.send(scene, peer, Lane::Control, want);
        }
        self.send(
            scene,
            peer,
            Lane::Control,
            Message::Want { log, from, credit },
        );
    }

    /// Hands on what is queued, as long as few applies are under way.
    pub(super) fn apply_next(&mut self, scene: &mut Scene<'_>, log: LogId) {
        let held = !self.takes(log.group);
        let horizon_us = self.horizon_us();
        let Some(intake) = self.intakes.get_mut(&log).filter(|_| !held) else {
            return;
        };
        while let Some(load) = intake.take(horizon_us) {
            let applying = self.applying.entry(load.from).or_default();
            applying.push_back(log);
            scene.out.push(Action::Apply {
                from: load.from,
                commits: load.commits,
            });
        }
    }

    /// An apply ended. One that was never asked for is of an earlier life of this region.
    pub(super) fn on_applied(&mut self, scene: &mut Scene<'_>, from: RegionId, ok: bool) {
        let Some(log) = self.applying.get_mut(&from).and_then(|q| q.pop_front()) else {
            return;
        };
        let durable = self.durable_seq(log);
        self.intake(scene, log).applied(scene.now, ok, durable);
        self.apply_next(scene, log);
    }

    /// Tells `peer` the durable frontier of `logs`.
    pub(super) fn send_ack(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        logs: &BTreeSet<LogId>,
    ) {
        let frontier: Frontier = (logs.iter())
            .filter_map(|log| self.durable.get(log).map(|seq| (*log, *seq)))
            .collect();
        if !frontier.is_empty() {
            self.send(scene, peer, Lane::Control, Message::Ack { frontier });
        }
    }

    /// Acknowledges to every peer what it sent and `advanced` made durable.
    pub(super) fn acknowledge(&mut self, scene: &mut Scene<'_>, advanced: &BTreeSet<LogId>) {
        let peers: Vec<RegionId> = self.sessions.keys().copied().collect();
        for peer in peers {
            let Some(session) = self.sessions.get(&peer).filter(|s| s.open()) else {
                continue;
            };
            let due: BTreeSet<LogId> = session.ack_due.intersection(advanced).copied().collect();
            // Otherwise the next heartbeat says it.
            if !maybe!("silent ack", self.config.region, peer, scene.now) {
                self.send_ack(scene, peer, &due);
            }
            let settled: Vec<LogId> = (due.into_iter())
                .filter(|log| self.durable_seq(*log) >= self.received(*log))
                .collect();
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.ack_due.retain(|log| !settled.contains(log));
            }
        }
    }

    /// Looks at every log that some peer is ahead of us on.
    pub(super) fn pull_all(&mut self, scene: &mut Scene<'_>) {
        let mut behind = BTreeSet::new();
        for session in self.sessions.values().filter(|s| s.open()) {
            for (log, seq) in &session.frontier {
                // What is durable was received; most often that is all there is.
                let more = *seq > self.durable_seq(*log) && *seq > self.received(*log);
                if more && self.is_wanted(*log) {
                    behind.insert(*log);
                }
            }
        }
        for (log, intake) in &mut self.intakes {
            if !behind.contains(log) {
                intake.behind_since_us = None;
            }
        }
        for log in behind {
            self.copy_if_gone(scene, log);
            if self.takes(log.group) {
                self.pull(scene, log);
            }
        }
    }

    /// Asks a peer to relay `log`, where its origin has not delivered for too long. Receiver-driven and
    /// sticky: one asks, one serves.
    fn pull(&mut self, scene: &mut Scene<'_>, log: LogId) {
        let now_us = scene.now.mono_us;
        let mut candidates = self.relays_ahead(log);
        let patience_us = match self.sessions.get(&log.origin.region).filter(|s| s.open()) {
            Some(origin) => origin.patience_us(),
            None => RELAY_US,
        };
        let impatient = maybe!(
            "impatient reader",
            self.config.region,
            log.origin.region,
            scene.now
        );
        let patience_us = if impatient { 0 } else { patience_us };
        let expiry_us = (self.intakes.get(&log).and_then(|i| i.wanted))
            .and_then(|w| self.sessions.get(&w.server))
            .map_or(0, |s| s.patience_us());
        let intake = self.intake(scene, log);
        let behind_since_us = *intake.behind_since_us.get_or_insert(now_us);
        if candidates.is_empty() || !intake.has_room(scene.now) {
            return;
        }
        if let Some(wanted) = intake.wanted {
            if now_us.saturating_sub(wanted.at_us) < expiry_us {
                return;
            }
            // It did not serve: ask another, if there is one.
            crate::mark!("relay silent");
            intake.wanted = None;
            intake.server = intake.server.filter(|server| *server != wanted.server);
            if candidates.len() > 1 {
                candidates.retain(|peer| *peer != wanted.server);
            }
        } else if intake.server.is_none() {
            let since_us = behind_since_us.max(intake.progress_us);
            if now_us.saturating_sub(since_us) < patience_us {
                return;
            }
        }
        let sticky = intake.server.filter(|server| candidates.contains(server));
        let Some(server) = sticky.or(candidates.first().copied()) else {
            return;
        };
        intake.server = Some(server);
        intake.wanted = Some(Wanted {
            server,
            at_us: now_us,
        });
        let from = intake.received().saturating_add(1);
        self.send_want(scene, server, log, from);
    }

    /// The peers that can relay `log` to us, nearest first. Its origin is not among them: it pushes.
    fn relays_ahead(&self, log: LogId) -> Vec<RegionId> {
        let next = self.received(log).saturating_add(1);
        let mut relays: Vec<(u64, RegionId)> = (self.sessions.iter())
            .filter(|(peer, s)| **peer != log.origin.region && s.can_send(log, next))
            .map(|(peer, s)| (s.rtt_us.unwrap_or(u64::MAX), *peer))
            .collect();
        relays.sort_unstable();
        relays.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Whether another's word on `log` matters to us.
    fn is_wanted(&self, log: LogId) -> bool {
        log.group.contains(self.config.region)
            && log.origin != self.config.origin
            && self.takes(log.group)
    }

    /// Whether commits of a group may be applied at present.
    fn takes(&self, group: GroupId) -> bool {
        self.knows_members() && !self.joins.is_copying(group)
    }

    /// The highest seq of `log` that need not be sent to us any more.
    pub(super) fn received(&self, log: LogId) -> u64 {
        match self.intakes.get(&log) {
            Some(intake) => intake.received(),
            None => self.durable_seq(log),
        }
    }

    fn intake(&mut self, scene: &Scene<'_>, log: LogId) -> &mut Intake {
        let durable = self.durable_seq(log);
        (self.intakes.entry(log)).or_insert_with(|| Intake::new(scene.now, durable))
    }
}
