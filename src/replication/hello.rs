//! The first words of a session: who the peer is, whether it belongs here, and what each side has
//! (replication.md section 7).

use super::replicator::{Replicator, Scene};
use super::session::Session;
use super::wire::{Hello, Message};
use super::{Lane, PROTOCOL};
use crate::clock::RegionId;
use crate::store::StoreError;

impl Replicator {
    pub(super) fn on_hello(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        hello: Hello,
    ) -> Result<(), StoreError> {
        if let Err(reason) = self.admit_hello(peer, &hello) {
            self.disconnect(scene, peer, reason);
            return Ok(());
        }
        if !hello.heard_you || !self.sessions.contains_key(&peer) {
            // The peer begins anew, so nothing known of its session holds any more; nor, if it has lost its
            // disk, do the watermarks that it gave.
            self.drop_session(peer);
            self.sessions.insert(peer, Session::new(scene.now));
            self.stable.forget(peer);
            self.life.forget(peer);
        }
        self.meet(scene, peer, &hello);
        let Some(session) = self.sessions.get_mut(&peer) else {
            return Ok(());
        };
        session.established = true;
        session.whole = hello.whole;
        session.epoch = hello.epoch;
        session.confirmed |= hello.heard_you;
        self.learn(scene, peer, &hello.frontier, None);
        // It may have forgotten.
        let known = self.known.entry(peer).or_default();
        known.epoch = known.epoch.min(hello.epoch);
        if !hello.heard_you {
            self.send_hello(scene, peer, true);
        }
        self.tell_members(scene, peer, hello.epoch);
        self.send_heartbeat(scene, peer);
        self.push(scene, peer)
    }

    /// Whether the peer may replicate with us (replication.md section 7).
    pub(super) fn admit_hello(&self, peer: RegionId, hello: &Hello) -> Result<(), String> {
        let us = &self.config;
        if hello.protocol != PROTOCOL {
            return Err(format!(
                "it speaks protocol {}, this region speaks {PROTOCOL}: upgrade the older one",
                hello.protocol
            ));
        }
        if hello.cluster_id != us.manifest.cluster {
            return Err("it belongs to another cluster: the cluster ids differ".into());
        }
        if hello.region != peer {
            return Err(format!(
                "it says it is {}, but {peer} was dialled",
                hello.region
            ));
        }
        self.agrees_on_members(hello)
    }

    pub(super) fn send_hello(&mut self, scene: &mut Scene<'_>, peer: RegionId, heard_you: bool) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.hello_sent_us = scene.now.mono_us;
        }
        let mut seen_of_you = self.frontier_for(peer);
        for (log, intake) in &self.intakes {
            let seen = seen_of_you.entry(*log).or_insert(0);
            *seen = intake.received().max(*seen);
        }
        seen_of_you.retain(|log, seq| log.origin.region == peer && *seq > 0);
        let hello = Hello {
            protocol: PROTOCOL,
            cluster_id: self.config.manifest.cluster,
            region: self.config.region,
            incarnation: self.config.origin.incarnation,
            epoch: self.config.manifest.epoch,
            members_digest: self.config.manifest.digest(),
            frontier: self.frontier_for(peer),
            seen_of_you,
            heard_you,
            whole: self.is_whole(),
            clean: self.is_clean(),
        };
        self.send(scene, peer, Lane::Control, Message::Hello(hello));
    }
}
