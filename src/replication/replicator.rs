//! The state of replication in one region, and the events that move it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::agreement::Agreement;
use super::anti_entropy::AntiEntropy;
use super::clocks::Clocks;
use super::intake::Intake;
use super::join::Joins;
use super::lapse::{Rescues, Return};
use super::life::Life;
use super::membership::Membership;
use super::probe::{PeerClock, Reply};
use super::pull::Incoming;
use super::ruling::Council;
use super::session::Session;
use super::shelf::{Shelf, StoreShelf};
use super::silence::Contacts;
use super::stability::Stable;
use super::traffic::Traffic;
use super::wire::{self, Heartbeat, Message};
use super::{Action, Event, HEARTBEAT_US, HELLO_US, Lane, PeerStatus, ReplicatorConfig};
use crate::clock::{Now, RegionId, Stamp};
use crate::maybe;
use crate::replica::mutation::{Frontier, LogId, Origin};
use crate::replica::stable::Stability;
use crate::store::{ReadTxn, StoreError};

/// What one step works with.
pub(super) struct Scene<'s> {
    pub now: Now,
    pub shelf: &'s dyn Shelf,
    pub out: &'s mut Vec<Action>,
}

/// What stays known of a peer when its connection does not.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub frontier: Frontier,
    pub watermark: Option<Stamp>,
    last_heard_us: Option<u64>,
    /// The epoch that it last said it goes by, all that it took of those who are not counted in it durable.
    pub epoch: u64,
    pub clock: PeerClock,
    pub traffic: Traffic,
}

/// Replication in one region.
#[derive(Debug)]
pub struct Replicator {
    pub(super) config: ReplicatorConfig,
    pub(super) durable: Frontier,
    pub(super) watermark: Stamp,
    pub(super) sessions: BTreeMap<RegionId, Session>,
    pub(super) known: BTreeMap<RegionId, Known>,
    pub(super) intakes: BTreeMap<LogId, Intake>,
    /// The logs of the applies under way, in order, by who sent them. Outlives the sessions.
    pub(super) applying: BTreeMap<RegionId, VecDeque<LogId>>,
    pub(super) clocks: Clocks,
    pub(super) contacts: Contacts,
    pub(super) differences: AntiEntropy,
    pub(super) stable: Stable,
    pub(super) life: Life,
    pub(super) joins: Joins,
    pub(super) council: Council,
    pub(super) returning: Return,
    pub(super) rescues: Rescues,
    /// Silent members hold back more of the log than there may be.
    pub(super) log_full: bool,
    pub(super) membership: Membership,
    pub(super) agreement: Agreement,
    /// When what is durable everywhere was last looked at.
    pub(super) stable_us: u64,
}

impl Replicator {
    /// Begins with what the store holds durably.
    pub fn new(config: ReplicatorConfig, durable: Frontier) -> Self {
        assert_eq!(
            config.region, config.origin.region,
            "a region originates its own commits only"
        );
        Replicator {
            life: Life::new(config.lacks.newborn),
            joins: Joins::new(&config.lacks.joining),
            contacts: Contacts::new(config.silences.clone()),
            council: Council::new(config.region, &config.manifest, config.vote.clone()),
            returning: Return::new(config.lacks.wiping),
            rescues: Rescues::new(),
            log_full: false,
            membership: Membership::default(),
            agreement: Agreement::default(),
            config,
            durable,
            watermark: Stamp::MIN,
            sessions: BTreeMap::new(),
            known: BTreeMap::new(),
            intakes: BTreeMap::new(),
            applying: BTreeMap::new(),
            clocks: Clocks::new(),
            differences: AntiEntropy::default(),
            stable: Stable::default(),
            stable_us: 0,
        }
    }

    /// Takes in one event. `txn` must be as new as the last [`Event::Durable`], or what is read from it
    /// waits for the next tick. An error is the store's, and leaves this value usable.
    pub fn step(
        &mut self,
        now: Now,
        txn: &dyn ReadTxn,
        event: Event,
        out: &mut Vec<Action>,
    ) -> Result<(), StoreError> {
        self.step_on(now, &StoreShelf(txn), event, out)
    }

    pub(super) fn step_on(
        &mut self,
        now: Now,
        shelf: &dyn Shelf,
        event: Event,
        out: &mut Vec<Action>,
    ) -> Result<(), StoreError> {
        let mut scene = Scene { now, shelf, out };
        self.see_time(&mut scene, matches!(event, Event::Tick));
        self.count_silence(now.mono_us);
        match event {
            Event::Up(peer) => {
                self.on_up(&mut scene, peer);
                Ok(())
            }
            Event::Down(peer) => {
                self.drop_session(peer);
                self.membership.forget(peer);
                Ok(())
            }
            Event::Frame(peer, _, bytes) => self.on_frame(&mut scene, peer, &bytes),
            Event::Queued(peer, bytes) => {
                if let Some(session) = self.sessions.get_mut(&peer) {
                    session.queued_bytes = bytes;
                }
                Ok(())
            }
            Event::Durable(frontier, watermark) => self.on_durable(&mut scene, frontier, watermark),
            Event::Born(origin) => {
                self.config.origin = origin;
                Ok(())
            }
            Event::Members(manifest) => {
                self.on_members(&mut scene, manifest);
                Ok(())
            }
            Event::Copied { group, ok } => {
                self.on_copied(&mut scene, group, ok);
                Ok(())
            }
            Event::Applied { from, ok } => {
                self.on_applied(&mut scene, from, ok);
                Ok(())
            }
            Event::Voted { ok } => {
                self.on_voted(&mut scene, ok);
                Ok(())
            }
            Event::Rescued { from, outcome } => {
                self.on_rescued(&mut scene, from, outcome);
                Ok(())
            }
            Event::Wiped(origin, frontier) => {
                self.on_wiped(&mut scene, origin, frontier);
                Ok(())
            }
            Event::Tick => self.on_tick(&mut scene),
        }
    }

    /// What is known of every other member, connected or not.
    pub fn status(&self) -> Vec<PeerStatus> {
        let peers = self.others().regions();
        peers.map(|region| self.status_of(region)).collect()
    }

    /// The origin of the commits made here, as last said.
    pub fn origin(&self) -> Origin {
        self.config.origin
    }

    /// What is known to be durable in every member of each group.
    pub fn stability(&self) -> &Stability {
        self.stable.found()
    }

    /// The durable frontier of a member, as last heard.
    pub(super) fn frontier_of(&self, region: RegionId) -> Option<&Frontier> {
        if region == self.config.region {
            return Some(&self.durable);
        }
        self.known.get(&region).map(|k| &k.frontier)
    }

    fn status_of(&self, region: RegionId) -> PeerStatus {
        let session = self.sessions.get(&region);
        let known = self.known.get(&region);
        let frontier = known.map(|k| k.frontier.clone()).unwrap_or_default();
        let behind = (self.durable.iter())
            .filter(|(log, _)| self.is_own(**log) && log.group.contains(region))
            .map(|(log, seq)| seq.saturating_sub(frontier.get(log).copied().unwrap_or(0)))
            .sum();
        PeerStatus {
            region,
            connected: session.is_some_and(|s| s.open()),
            frontier,
            watermark: known.and_then(|k| k.watermark),
            behind,
            rtt_us: session.and_then(|s| s.rtt_us),
            offset: self.offset_of(region),
            last_heard_us: known.and_then(|k| k.last_heard_us),
            silent_us: self
                .contacts
                .silence(region, self.clocks.now.mono_us)
                .unheard_us,
            traffic: known.map(|k| k.traffic).unwrap_or_default(),
        }
    }

    pub(super) fn on_up(&mut self, scene: &mut Scene<'_>, peer: RegionId) {
        self.drop_session(peer);
        if let Some(reason) = self.is_no_peer(peer) {
            return self.dismiss(scene, peer, reason);
        }
        self.sessions.insert(peer, Session::new(scene.now));
        self.send_hello(scene, peer, false);
    }

    fn on_frame(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let Some(session) = self.sessions.get(&peer) else {
            return Ok(());
        };
        let established = session.established;
        let message = match wire::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.disconnect(scene, peer, error.to_string());
                return Ok(());
            }
        };
        self.known.entry(peer).or_default().last_heard_us = Some(scene.now.mono_us);
        self.contacts.heard(peer, scene.now.mono_us);
        match message {
            Message::Hello(hello) if self.is_restricted(peer) => {
                self.on_lapsed_hello(scene, peer, &hello);
                Ok(())
            }
            message if self.is_restricted(peer) => self.on_lapsed_frame(scene, peer, message),
            Message::Hello(hello) => self.on_hello(scene, peer, hello),
            Message::Manifest(bytes) => {
                self.on_manifest(scene, peer, &bytes);
                Ok(())
            }
            // A lane may overtake the one that the hello is on; what is dropped here is sent again.
            _ if !established => Ok(()),
            Message::Heartbeat(beat) => self.on_heartbeat(scene, peer, beat),
            Message::Ack { frontier } => self.on_ack(scene, peer, &frontier),
            Message::Want { log, from, credit } => self.on_want(scene, peer, log, from, credit),
            Message::Gone { log, start } => {
                self.on_gone(scene, peer, log, start);
                Ok(())
            }
            Message::Fetch { group, after } => self.on_fetch(scene, peer, group, after),
            Message::Chunk { group, after, part } => {
                self.on_chunk(scene, peer, group, after, part);
                Ok(())
            }
            Message::Probe { sent_us } => {
                self.on_probe(scene, peer, sent_us);
                Ok(())
            }
            Message::ProbeReply {
                sent_us,
                heard_wall_us,
                answered_wall_us,
            } => {
                let reply = Reply {
                    sent_us,
                    heard_wall_us,
                    answered_wall_us,
                };
                self.on_probe_reply(scene, peer, reply);
                Ok(())
            }
            Message::Sums { table, groups } => self.on_sums(scene, peer, table, &groups),
            Message::BucketSums {
                table,
                differ,
                buckets,
            } => self.on_bucket_sums(scene, peer, table, &differ, &buckets),
            Message::AskItems {
                table,
                buckets,
                asked_us,
            } => self.on_ask_items(scene, peer, (table, buckets), asked_us),
            Message::Ruling { epoch, said } => {
                self.on_ruling(scene, peer, epoch, said);
                Ok(())
            }
            // Between members one of which lapsed only.
            Message::TailAsk { .. }
            | Message::TailFrom { .. }
            | Message::Tail(_)
            | Message::TailTaken { .. } => Ok(()),
            Message::Items(offer) => {
                self.on_items(scene, peer, offer);
                Ok(())
            }
            Message::Batch {
                log,
                first_seq,
                commits,
                done,
            } => {
                let batch = Incoming {
                    log,
                    first_seq,
                    commits,
                    done,
                };
                self.on_batch(scene, peer, batch);
                Ok(())
            }
        }
    }

    fn on_heartbeat(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        beat: Heartbeat,
    ) -> Result<(), StoreError> {
        self.note_owed(peer, &beat.frontier);
        if let Some(session) = self.sessions.get_mut(&peer) {
            // Only a peer that has accepted our hello sends heartbeats.
            session.confirmed = true;
            session.whole = beat.whole;
            session.epoch = beat.epoch;
            session.measure(scene.now, &beat);
        }
        if let Some(echo) = beat.echo {
            self.contacts.reached(peer, echo.sent_us, scene.now.mono_us);
        }
        self.tell_members(scene, peer, beat.epoch);
        self.learn(scene, peer, &beat.frontier, Some(beat.watermark));
        self.known.entry(peer).or_default().epoch = beat.epoch;
        if let Some(known) = self.known.get(&peer) {
            self.membership.heard(peer, beat.epoch, &known.frontier);
        }
        self.note_watermark(peer, beat.watermark);
        let (us, own) = (self.config.region, beat.watermark);
        self.stable
            .heard(us, peer, own, &beat.frontier, &beat.others);
        self.stable.advance(&self.durable);
        self.push(scene, peer)?;
        self.pull_all(scene);
        Ok(())
    }

    fn on_ack(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        frontier: &Frontier,
    ) -> Result<(), StoreError> {
        self.note_owed(peer, frontier);
        self.learn(scene, peer, frontier, None);
        self.push(scene, peer)
    }

    /// Takes in what a peer says it has durably.
    pub(super) fn learn(
        &mut self,
        scene: &Scene<'_>,
        peer: RegionId,
        frontier: &Frontier,
        watermark: Option<Stamp>,
    ) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        session.acknowledge(scene.now, frontier);
        let known = self.known.entry(peer).or_default();
        known.frontier.clone_from(&session.frontier);
        known.watermark = known.watermark.max(watermark);
    }

    fn on_durable(
        &mut self,
        scene: &mut Scene<'_>,
        frontier: Frontier,
        watermark: Stamp,
    ) -> Result<(), StoreError> {
        for (log, seq) in &frontier {
            assert!(
                *seq >= self.durable_seq(*log),
                "I4: the frontier of {log:?} went back to {seq}"
            );
        }
        let advanced: BTreeSet<LogId> = (frontier.iter())
            .filter(|(log, seq)| **seq > self.durable_seq(**log))
            .map(|(log, _)| *log)
            .collect();
        self.durable = frontier;
        self.stable.advance(&self.durable);
        self.watermark = self.watermark.max(watermark);
        for log in &advanced {
            let durable = self.durable_seq(*log);
            if let Some(intake) = self.intakes.get_mut(log) {
                intake.advance(scene.now, durable);
            }
        }
        self.acknowledge(scene, &advanced);
        if advanced.iter().any(|log| self.is_own(*log)) {
            let peers: Vec<RegionId> = self.sessions.keys().copied().collect();
            for peer in peers {
                self.push(scene, peer)?;
            }
        }
        Ok(())
    }

    fn on_tick(&mut self, scene: &mut Scene<'_>) -> Result<(), StoreError> {
        self.end_dismissals(scene);
        self.watch_clocks(scene);
        self.watch_silence(scene);
        let now_us = scene.now.mono_us;
        let peers: Vec<RegionId> = self.sessions.keys().copied().collect();
        for peer in peers {
            let Some(session) = self.sessions.get(&peer) else {
                continue;
            };
            let (established, open) = (session.established, session.open());
            let elapsed =
                |since_us: u64, every_us: u64| now_us.saturating_sub(since_us) >= every_us;
            let beat_due = session
                .heartbeat_sent_us
                .is_none_or(|at| elapsed(at, HEARTBEAT_US));
            let us = self.config.region;
            let again = established && maybe!("hello again", us, peer, scene.now);
            if again || (!open && elapsed(session.hello_sent_us, HELLO_US)) {
                self.send_hello(scene, peer, established);
            }
            let early = maybe!("early heartbeat", us, peer, scene.now);
            let late = maybe!("late heartbeat", us, peer, scene.now);
            if established && (early || (beat_due && !late)) {
                self.send_heartbeat(scene, peer);
            }
            self.push_overdue(scene, peer)?;
        }
        let logs: Vec<LogId> = self.intakes.keys().copied().collect();
        for log in logs {
            self.apply_next(scene, log);
        }
        self.pull_all(scene);
        self.mend(scene);
        self.pursue(scene)?;
        self.find_stability(scene);
        self.watch_log(scene)?;
        self.rule(scene);
        self.hand_over(scene)?;
        self.compare(scene)
    }

    /// The durable frontier of the logs that `peer` may hold.
    pub(super) fn frontier_for(&self, peer: RegionId) -> Frontier {
        let shared = self
            .durable
            .iter()
            .filter(|(log, _)| log.group.contains(peer));
        shared.map(|(log, seq)| (*log, *seq)).collect()
    }

    pub(super) fn send(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        lane: Lane,
        message: Message,
    ) {
        match self.frame_for(peer, lane, message) {
            Some(frame) => scene.out.push(Action::Send(peer, lane, frame)),
            None => self.disconnect(scene, peer, "a commit is too long to be sent".into()),
        }
    }

    /// Ends the session for a reason that the operator reads.
    pub(super) fn disconnect(&mut self, scene: &mut Scene<'_>, peer: RegionId, reason: String) {
        self.drop_session(peer);
        scene.out.push(Action::Disconnect(peer, reason));
    }

    pub(super) fn drop_session(&mut self, peer: RegionId) {
        self.sessions.remove(&peer);
        for intake in self.intakes.values_mut() {
            intake.forget(peer);
        }
        self.joins.forget(peer);
    }

    /// Whether this region originates `log`, in this incarnation or an earlier one.
    pub(super) fn is_own(&self, log: LogId) -> bool {
        log.origin.region == self.config.region
    }

    pub(super) fn durable_seq(&self, log: LogId) -> u64 {
        self.durable.get(&log).copied().unwrap_or(0)
    }
}
