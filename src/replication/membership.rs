//! Who the members are: told to peers that know an older record, taken over from those that know a newer one
//! (`replica::manifest`). And how far the changes of it have come that take a while:
//!
//! - A region that joins becomes active once every active member has heard of it, what each had made before it
//!   had is known here, all tables that it is to have are there, and it lacks nothing.
//! - A region that leaves is removed once it has heard so, and so takes no more writes, its replicas are out of all
//!   tables, and every other member has all that it made.
//!
//! The first active member sees to both, so nobody has to wait for who asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Action;
use super::Lane;
use super::life::lacking;
use super::replicator::{Replicator, Scene};
use super::wire::{Hello, Message};
use crate::clock::{RegionId, Stamp};
use crate::replica::manifest::{Change, Manifest, Member, State};
use crate::replica::mutation::{Frontier, GroupId};
use crate::replica::residency;
use crate::store::{ReadTxn, StoreError};

/// How many tables are named.
const SHOWN: usize = 3;

/// How long a region that is no member any more has to take in the word of it.
const DISMISSAL_US: u64 = 1_000_000;

/// What is known of how far changes have come.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// Per peer, the epoch that it last said to know, and its frontier when it first said so.
    heard: BTreeMap<RegionId, (u64, Frontier)>,
    /// Those that are told to be no members any more, since when, and in which words.
    dismissed: BTreeMap<RegionId, (u64, String)>,
    /// What members that come or go are waiting for.
    waits: BTreeMap<RegionId, String>,
}

impl Membership {
    pub fn heard(&mut self, peer: RegionId, epoch: u64, frontier: &Frontier) {
        let known = self.heard.entry(peer).or_default();
        if known.0 != epoch {
            *known = (epoch, frontier.clone());
        }
    }

    pub fn forget(&mut self, peer: RegionId) {
        self.dismissed.remove(&peer);
    }
}

impl Replicator {
    /// What members that come or go are waiting for, in words.
    pub fn waits(&self) -> &BTreeMap<RegionId, String> {
        &self.membership.waits
    }

    /// Looks how far changes have come: the next step of one, if it is due and this region sees to it.
    pub(super) fn next_step(&mut self, txn: &dyn ReadTxn) -> Result<Option<Change>, StoreError> {
        let manifest = Arc::clone(&self.config.manifest);
        let sees_to = manifest.voters().regions().next() == Some(self.config.region);
        self.membership.waits.clear();
        let mut due = None;
        for member in &manifest.members {
            let region = member.region;
            let (wait, change) = match member.state {
                State::Joining => (self.waits_for(txn, member)?, Change::Activate { region }),
                State::Leaving => (self.waits_for(txn, member)?, Change::Remove { region }),
                State::Lapsed if self.has_handed_over(region) => (None, Change::Return { region }),
                _ => continue,
            };
            match wait {
                Some(words) => {
                    self.membership.waits.insert(region, words);
                }
                // That one leaves all have to agree to: it is enough if one proposes it.
                None if sees_to || member.state != State::Leaving => due = due.or(Some(change)),
                None => {}
            }
        }
        Ok(due)
    }

    /// What a region that joins or leaves waits for, in words.
    fn waits_for(&self, txn: &dyn ReadTxn, member: &Member) -> Result<Option<String>, StoreError> {
        let (region, name) = (member.region, &member.name);
        let joins = member.state == State::Joining;
        if region != self.config.region && !self.is_established(region) {
            return Ok(Some(match joins {
                true => format!("'{name}' to be started and connect"),
                false => format!(
                    "'{name}' to connect, as it may have what no other region has (`--force` gives that up)"
                ),
            }));
        }
        if let Some(words) = self.unheard() {
            return Ok(Some(words));
        }
        let (us, all) = (self.config.region, self.config.replicate_all);
        let tables = residency::unsettled(txn, us, &self.config.manifest, all, region)?;
        if !tables.is_empty() {
            let what = if joins {
                "be copied"
            } else {
                "lose its replica"
            };
            return Ok(Some(format!("{} to {what}", shown(&tables))));
        }
        Ok(match joins {
            true => self.joiner_lacks(member),
            false => self.leaver_is_needed(region),
        })
    }

    /// What a region that joins lacks yet: what each active region had made before it heard of it, and the word
    /// that it may be counted on.
    fn joiner_lacks(&self, member: &Member) -> Option<String> {
        let (region, name) = (member.region, &member.name);
        let voters = self.config.manifest.voters();
        let heard = self.membership.heard.iter();
        for (peer, (_, frontier)) in heard.filter(|(peer, _)| voters.contains(**peer)) {
            let mut before = frontier.clone();
            before.retain(|log, _| {
                log.origin.region == *peer && log.group.contains(self.config.region)
            });
            let lacks = lacking(&self.durable, &before);
            if lacks > 0 {
                let name = self.member_name(*peer);
                return Some(format!("{lacks} commits of '{name}' from before it heard"));
            }
        }
        let session = self.sessions.get(&region).filter(|s| s.open());
        if region != self.config.region && !session.is_some_and(|s| s.whole) {
            return Some(format!("'{name}' to have what it lacks"));
        }
        let known = self.known.get(&region).and_then(|k| k.watermark);
        let word = match region == self.config.region {
            true => Some(self.own_watermark()),
            false => known.filter(|_| session.is_some_and(|s| s.epoch == self.epoch())),
        };
        let counts = word > Some(Stamp::MIN);
        (!counts).then(|| format!("'{name}' to have heard all, and its clock to be past theirs"))
    }

    /// Who lacks anything of what a region made that leaves.
    fn leaver_is_needed(&self, region: RegionId) -> Option<String> {
        let mut made = self.frontier_of(region).cloned().unwrap_or_default();
        made.retain(|log, _| log.origin.region == region);
        for other in self.config.manifest.counted().without(region).regions() {
            let mut wanted = made.clone();
            wanted.retain(|log, _| log.group.contains(other));
            let lacks = match self.frontier_of(other) {
                Some(frontier) => lacking(frontier, &wanted),
                None => lacking(&Frontier::new(), &wanted),
            };
            if lacks > 0 {
                let name = self.member_name(other);
                return Some(format!("'{name}' to get {lacks} commits of it"));
            }
        }
        None
    }

    /// Whether a lapsed member says that it has handed over all it had, and has nothing any more.
    fn has_handed_over(&self, region: RegionId) -> bool {
        let session = self.sessions.get(&region);
        session.is_some_and(|s| s.is_clean && s.epoch == self.epoch())
    }

    /// An active or leaving member that does not know the record that the store here has, as far as is known.
    pub(super) fn unheard(&self) -> Option<String> {
        let epoch = self.epoch();
        let others = self.others();
        let knows = |peer: &RegionId| {
            let heard = self.membership.heard.get(peer);
            heard.is_some_and(|(known, _)| *known >= epoch)
        };
        let missing = others.regions().find(|peer| !knows(peer))?;
        Some(format!("'{}' to hear of it", self.member_name(missing)))
    }

    pub(super) fn member_name(&self, region: RegionId) -> String {
        let member = self.config.manifest.member(region);
        member.map_or_else(|| region.to_string(), |m| m.name.clone())
    }

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
        let us = self.config.region;
        if manifest.state(us) == Some(State::Removed) {
            return Some(format!(
                "this region was removed (members of epoch {})",
                manifest.epoch
            ));
        }
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
                 with differ in regions, names or ids, or each has given the other up",
                manifest.epoch
            ));
        }
        Ok(())
    }

    /// Connected to a region with which nothing is exchanged. One that was a member is told first.
    pub(super) fn dismiss(&mut self, scene: &mut Scene<'_>, peer: RegionId, reason: String) {
        let known = self.config.manifest.member(peer).is_some() && peer != self.config.region;
        if !known {
            return scene.out.push(Action::Disconnect(peer, reason));
        }
        self.tell_members(scene, peer, 0);
        let now_us = scene.now.mono_us;
        self.membership.dismissed.insert(peer, (now_us, reason));
    }

    /// Those that have been told go.
    pub(super) fn end_dismissals(&mut self, scene: &mut Scene<'_>) {
        let now_us = scene.now.mono_us;
        self.membership
            .dismissed
            .retain(|peer, (since_us, reason)| {
                let over = now_us.saturating_sub(*since_us) >= DISMISSAL_US;
                if over {
                    scene.out.push(Action::Disconnect(*peer, reason.clone()));
                }
                !over
            });
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
        self.agreement.move_on();
        self.follow_states(scene, &old);
        let peers: Vec<RegionId> = self.sessions.keys().copied().collect();
        for peer in peers {
            match self.is_no_peer(peer) {
                Some(reason) => {
                    self.drop_session(peer);
                    self.dismiss(scene, peer, reason);
                }
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

/// A few tables by name, the others by number.
fn shown(tables: &[String]) -> String {
    let named: Vec<&str> = tables.iter().take(SHOWN).map(String::as_str).collect();
    match tables.len().saturating_sub(SHOWN) {
        0 => format!("table {}", named.join(", ")),
        more => format!("table {} and {more} more", named.join(", ")),
    }
}
