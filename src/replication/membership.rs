//! Who the members are: told to peers that know an older record, taken over from those that know a newer one
//! (`replica::manifest`).

use std::sync::Arc;

use super::Action;
use super::Lane;
use super::replicator::{Replicator, Scene};
use super::wire::{Hello, Message};
use crate::clock::RegionId;
use crate::replica::manifest::{Manifest, State};
use crate::replica::mutation::GroupId;

impl Replicator {
    /// The epoch of the record that the store holds.
    pub fn epoch(&self) -> u64 {
        self.config.manifest.epoch
    }

    /// The other members, as far as anything is kept for them.
    pub(super) fn others(&self) -> GroupId {
        let counted = self.config.manifest.counted();
        counted.without(self.config.region)
    }

    /// Why nothing is exchanged with that region.
    pub(super) fn is_no_peer(&self, peer: RegionId) -> Option<String> {
        let manifest = &self.config.manifest;
        let lapsed = manifest.state(peer) == Some(State::Lapsed) && peer != self.config.region;
        if self.others().contains(peer) || lapsed {
            return None;
        }
        Some(match manifest.member(peer) {
            Some(member) if member.state == State::Removed => format!(
                "'{}' was removed from this cluster (members of epoch {})",
                member.name, manifest.epoch
            ),
            _ => format!(
                "{peer} is not another member of this cluster (members of epoch {})",
                manifest.epoch
            ),
        })
    }

    /// Two records of one epoch cannot both be right; of two epochs, one region hears of the newer.
    pub(super) fn agrees_on_members(&self, hello: &Hello) -> Result<(), String> {
        let manifest = &self.config.manifest;
        if hello.epoch == manifest.epoch && hello.members_digest != manifest.digest() {
            return Err(format!(
                "it knows other members at the same epoch, {}: the topologies that the two were first started \
                 with differ in regions, names or ids",
                manifest.epoch
            ));
        }
        Ok(())
    }

    /// A peer that knows an older record is sent ours.
    pub(super) fn tell_members(&mut self, scene: &mut Scene<'_>, peer: RegionId, epoch: u64) {
        if epoch >= self.epoch() {
            return;
        }
        match self.config.manifest.encode() {
            Ok(bytes) => self.send(scene, peer, Lane::Control, Message::Manifest(bytes)),
            Err(error) => self.disconnect(scene, peer, error.to_string()),
        }
    }

    /// A peer sends its record.
    pub(super) fn on_manifest(&mut self, scene: &mut Scene<'_>, peer: RegionId, bytes: &[u8]) {
        let known = &self.config.manifest;
        match Manifest::decode(bytes, &known.cluster) {
            Ok(new) if new.epoch <= known.epoch => {}
            Ok(new) if new.member(self.config.region).is_none() => {
                let reason = "it knows newer members, and this region is none of them";
                self.disconnect(scene, peer, reason.into());
            }
            Ok(new) => scene.out.push(Action::Adopt(Arc::new(new))),
            Err(error) => self.disconnect(scene, peer, error.to_string()),
        }
    }

    /// The store holds another record: whoever is no member any more is turned away.
    pub(super) fn on_members(&mut self, scene: &mut Scene<'_>, manifest: Arc<Manifest>) {
        if manifest.epoch <= self.epoch() {
            return;
        }
        let old = std::mem::replace(&mut self.config.manifest, manifest);
        self.council.move_on(&self.config.manifest);
        self.follow_states(scene, &old);
        let peers: Vec<RegionId> = self.sessions.keys().copied().collect();
        for peer in peers {
            match self.is_no_peer(peer) {
                Some(reason) => self.disconnect(scene, peer, reason),
                // At once, so that the record goes on.
                None if self.is_established(peer) => self.send_heartbeat(scene, peer),
                None => {}
            }
        }
    }

    fn is_established(&self, peer: RegionId) -> bool {
        self.sessions.get(&peer).is_some_and(|s| s.established)
    }
}
