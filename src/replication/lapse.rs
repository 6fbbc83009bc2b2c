//! Sessions with members that have lapsed, and how one comes back (replication.md section 10).
//!
//! Nothing is replicated to or from a lapsed member: what it has is of another time. A session with it says hello
//! only, once a second, so that it learns what became of it. Then it hands over, group by group, what nobody
//! else has to one sponsor, who decides about each mutation (`replica::rescue`); it wipes itself
//! (`replica::wipe`), says that it is clean, and the voters let it come back as one that joins with an empty
//! store. All of it may be asked for, sent and done again: a crash or a lost frame costs time only.

use std::collections::BTreeMap;

use super::replicator::{Replicator, Scene};
use super::session::Session;
use super::wire::{Hello, Message};
use super::{Action, BATCH_BYTES_MAX, Lane, PART_US};
use crate::clock::RegionId;
use crate::replica::manifest::{Manifest, State};
use crate::replica::mutation::{Frontier, GroupId, LogId, Origin};
use crate::replica::rescue::{self, Outcome, Tail};
use crate::replica::wipe;
use crate::store::StoreError;

/// One group on its way to its sponsor.
#[derive(Debug, Default)]
struct Handover {
    sponsor: Option<RegionId>,
    /// Per log, the first commit that is still to be handed over; `None` = the sponsor has not said.
    from: Option<BTreeMap<LogId, u64>>,
    /// When the sponsor was last told something that it has not answered.
    asked_us: Option<u64>,
}

/// The return of this region.
#[derive(Debug, Default)]
pub(super) struct Return {
    groups: BTreeMap<GroupId, Handover>,
    rescued: Outcome,
    /// All is handed over, and the store wipes itself.
    wiping: bool,
    /// When the store was last told to.
    told_us: Option<u64>,
}

impl Return {
    pub fn new(wiping: bool) -> Self {
        Return {
            wiping,
            ..Return::default()
        }
    }
}

/// A tail that the store is deciding about: whose, and up to which commit of which log.
pub(super) type Rescues = BTreeMap<RegionId, (LogId, u64)>;

/// Whether two members say no more than hello to each other.
pub(super) fn is_restricted(manifest: &Manifest, a: RegionId, b: RegionId) -> bool {
    let lapsed = |region| manifest.state(region) == Some(State::Lapsed);
    lapsed(a) || lapsed(b)
}

impl Replicator {
    pub(super) fn is_lapsed(&self) -> bool {
        self.config.manifest.state(self.config.region) == Some(State::Lapsed)
    }

    pub(super) fn is_restricted(&self, peer: RegionId) -> bool {
        is_restricted(&self.config.manifest, self.config.region, peer)
    }

    /// What this region holds of groups that others are counted in.
    fn in_common(&self) -> impl Iterator<Item = (LogId, u64)> {
        let others = self.others();
        let shared = move |log: &LogId| log.group.0 & others.0 != 0;
        let durable = self.durable.iter().filter(move |(log, _)| shared(log));
        durable.map(|(log, seq)| (*log, *seq))
    }

    /// This region lapsed, and has nothing any more.
    pub(super) fn is_clean(&self) -> bool {
        self.is_lapsed() && self.in_common().next().is_none()
    }

    /// Why clients are not served, while this region has not come back.
    pub(super) fn show_return(&self) -> Option<String> {
        let state = self.config.manifest.state(self.config.region)?;
        match state {
            State::Lapsed if self.returning.wiping => Some(
                "the others went on without it: it forgets what it had, to be given everything"
                    .into(),
            ),
            State::Lapsed if self.is_clean() => {
                Some("the others went on without it: waiting to be a member again".into())
            }
            State::Lapsed => {
                let left: u64 = (self.returning.groups.values())
                    .filter_map(|h| h.from.as_ref())
                    .flatten()
                    .map(|(log, from)| (self.durable_seq(*log) + 1).saturating_sub(*from))
                    .sum();
                Some(format!(
                    "the others went on without it: it hands over what only it has ({left} commits left)"
                ))
            }
            State::Joining => Some("it joins: the others do not count on it yet".into()),
            State::Active | State::Leaving | State::Removed => None,
        }
    }

    /// A lapsed peer, or any peer while this region has lapsed, says hello.
    pub(super) fn on_lapsed_hello(&mut self, scene: &mut Scene<'_>, peer: RegionId, hello: &Hello) {
        if let Err(reason) = self.admit_hello(peer, hello) {
            return self.disconnect(scene, peer, reason);
        }
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.epoch = hello.epoch;
            session.is_clean = hello.clean;
            session.whole = hello.whole;
        }
        self.tell_members(scene, peer, hello.epoch);
    }

    /// What a session with a lapsed member carries besides.
    pub(super) fn on_lapsed_frame(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        message: Message,
    ) -> Result<(), StoreError> {
        match message {
            Message::Manifest(bytes) => self.on_manifest(scene, peer, &bytes),
            Message::TailAsk { group, frontier } => {
                self.on_tail_ask(scene, peer, group, &frontier);
            }
            Message::TailFrom { group, from } => {
                self.on_tail_from(peer, group, from);
                return self.hand_over(scene);
            }
            Message::Tail(tail) => self.on_tail(scene, peer, tail),
            Message::TailTaken { log, upto, outcome } => {
                self.on_tail_taken(peer, log, upto, outcome);
                return self.hand_over(scene);
            }
            // Of a time when it had not lapsed, or was not known to have.
            _ => {}
        }
        Ok(())
    }

    /// The record of the members changed: sessions that were one kind are the other now, and whoever is not
    /// counted any more is forgotten.
    pub(super) fn follow_states(&mut self, scene: &mut Scene<'_>, old: &Manifest) {
        let us = self.config.region;
        let new = std::sync::Arc::clone(&self.config.manifest);
        // Nor does one that has lapsed hear any more where the others are, or what their clocks show.
        let lapsed = self.is_lapsed();
        for region in old.counted().regions() {
            if new.counted().contains(region) && !lapsed {
                continue;
            }
            self.known.remove(&region);
            self.stable.forget(region);
            self.life.forget(region);
            for (log, intake) in &mut self.intakes {
                if log.origin.region == region {
                    let durable = self.durable.get(log).copied().unwrap_or(0);
                    intake.drop_waiting(durable);
                }
            }
        }
        let peers: Vec<RegionId> = self.sessions.keys().copied().collect();
        for peer in peers {
            if is_restricted(old, us, peer) != is_restricted(&new, us, peer) {
                self.drop_session(peer);
                self.sessions.insert(peer, Session::new(scene.now));
                self.send_hello(scene, peer, false);
            }
        }
        if old.state(us) != new.state(us) {
            self.returning = Return::new(false);
            if new.joins(us) {
                self.life.join();
            }
        }
    }

    /// The epoch that others may count on: nothing of those who are not counted in it is being applied.
    pub(super) fn said_epoch(&self) -> u64 {
        let counted = self.config.manifest.counted();
        let mut applying = self.applying.values().flatten();
        let late = applying.any(|log| !counted.contains(log.origin.region));
        self.epoch().saturating_sub(u64::from(late))
    }

    /// Hands over what nobody else has; then this region begins anew.
    pub(super) fn hand_over(&mut self, scene: &mut Scene<'_>) -> Result<(), StoreError> {
        let busy = self.applying.values().any(|logs| !logs.is_empty());
        if !self.is_lapsed() || busy || self.is_clean() {
            return Ok(());
        }
        if self.returning.wiping {
            return self.insist_on_wipe(scene);
        }
        let groups: Vec<GroupId> = self.in_common().map(|(log, _)| log.group).collect();
        let mut all_done = true;
        for group in groups {
            all_done &= self.hand_over_group(scene, group)?;
        }
        if all_done {
            self.returning.wiping = true;
            self.insist_on_wipe(scene)?;
        }
        Ok(())
    }

    /// Tells the store to wipe itself, until it has begun: a full disk may refuse even that.
    fn insist_on_wipe(&mut self, scene: &mut Scene<'_>) -> Result<(), StoreError> {
        let now_us = scene.now.mono_us;
        let lately = |at_us: u64| now_us.saturating_sub(at_us) < PART_US;
        let begun = match scene.shelf.txn() {
            Some(txn) => wipe::wiping(txn)?.is_some(),
            None => false,
        };
        if !begun && !self.returning.told_us.is_some_and(lately) {
            self.returning.told_us = Some(now_us);
            scene.out.push(Action::Wipe(self.returning.rescued));
        }
        Ok(())
    }

    /// True when nothing of the group is left to hand over.
    fn hand_over_group(
        &mut self,
        scene: &mut Scene<'_>,
        group: GroupId,
    ) -> Result<bool, StoreError> {
        let (now_us, epoch) = (scene.now.mono_us, self.epoch());
        let manifest = &self.config.manifest;
        let can = |(peer, session): &(&RegionId, &Session)| {
            let active = manifest.state(**peer) == Some(State::Active);
            active && group.contains(**peer) && session.whole && session.epoch == epoch
        };
        let sponsors: Vec<RegionId> = (self.sessions.iter())
            .filter(can)
            .map(|(peer, _)| *peer)
            .collect();
        let handover = self.returning.groups.entry(group).or_default();
        if handover.from.as_ref().is_some_and(BTreeMap::is_empty) {
            return Ok(true);
        }
        if handover.sponsor.is_none_or(|s| !sponsors.contains(&s)) {
            *handover = Handover {
                sponsor: sponsors.first().copied(),
                ..Handover::default()
            };
        }
        let Some(sponsor) = handover.sponsor else {
            return Ok(false);
        };
        let lately = |at_us: u64| now_us.saturating_sub(at_us) < PART_US;
        if handover.asked_us.is_some_and(lately) {
            return Ok(false);
        }
        handover.asked_us = Some(now_us);
        let next = handover.from.as_ref().and_then(|from| from.iter().next());
        let next = next.map(|(log, seq)| (*log, *seq));
        let message = match (next, scene.shelf.txn()) {
            (Some((log, from)), Some(txn)) => {
                match rescue::read_tail(txn, log, from, BATCH_BYTES_MAX)? {
                    Some((_, tail)) => Message::Tail(tail),
                    // Nothing is there: it is not this region's to hand over.
                    None => {
                        let upto = self.durable_seq(log);
                        self.on_tail_taken(sponsor, log, upto, Outcome::default());
                        return Ok(false);
                    }
                }
            }
            _ => {
                let of_it = self.in_common().filter(|(log, _)| log.group == group);
                let frontier = of_it.collect();
                Message::TailAsk { group, frontier }
            }
        };
        self.send(scene, sponsor, Lane::Bulk, message);
        Ok(false)
    }

    fn on_tail_from(&mut self, peer: RegionId, group: GroupId, mut from: BTreeMap<LogId, u64>) {
        let durable = &self.durable;
        let has = |log: &LogId| durable.get(log).copied().unwrap_or(0);
        from.retain(|log, seq| log.group == group && *seq > 0 && *seq <= has(log));
        let Some(handover) = self.returning.groups.get_mut(&group) else {
            return;
        };
        if handover.sponsor == Some(peer) && handover.from.is_none() {
            handover.from = Some(from);
            handover.asked_us = None;
        }
    }

    fn on_tail_taken(&mut self, peer: RegionId, log: LogId, upto: u64, outcome: Outcome) {
        let has = self.durable_seq(log);
        let Some(handover) = self.returning.groups.get_mut(&log.group) else {
            return;
        };
        let Some(from) = handover
            .from
            .as_mut()
            .filter(|_| handover.sponsor == Some(peer))
        else {
            return;
        };
        match from.get_mut(&log) {
            Some(next) if upto >= *next => *next = upto.saturating_add(1),
            // Said before.
            _ => return,
        }
        if upto >= has {
            from.remove(&log);
        }
        handover.asked_us = None;
        self.returning.rescued.add(outcome);
    }

    /// A lapsed member asks what of its logs nobody else has. No answer where that is not known yet.
    fn on_tail_ask(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        group: GroupId,
        has: &Frontier,
    ) {
        if !self.is_sponsor_of(peer, group) {
            return;
        }
        let counted = self.config.manifest.counted();
        let mut from = BTreeMap::new();
        for (log, seq) in has.iter().filter(|(log, _)| log.group == group) {
            let end = self.end_of(*log);
            if *seq <= end {
                continue;
            }
            if log.origin == self.config.origin {
                // It knows more of us than we do: what we make from now on must be another life's.
                let above = log.origin.incarnation;
                return scene.out.push(Action::Reborn { above });
            }
            let origin = log.origin.region;
            let known = match counted.contains(origin) {
                true => self.are_all_here(group),
                false => self.is_closed(group, origin),
            };
            if !known {
                return;
            }
            from.insert(*log, end.saturating_add(1));
        }
        let message = Message::TailFrom { group, from };
        self.send(scene, peer, Lane::Control, message);
    }

    fn is_sponsor_of(&self, peer: RegionId, group: GroupId) -> bool {
        let manifest = &self.config.manifest;
        let us = self.config.region;
        let lapsed = manifest.state(peer) == Some(State::Lapsed);
        let active = manifest.state(us) == Some(State::Active) && self.is_whole();
        lapsed && active && group.contains(us) && group.contains(peer)
    }

    /// The last commit of a log that this region or any other that is counted has.
    fn end_of(&self, log: LogId) -> u64 {
        let others = self.others().regions();
        let known = others.filter_map(|peer| self.known.get(&peer)?.frontier.get(&log).copied());
        known.max().unwrap_or(0).max(self.durable_seq(log))
    }

    /// Whether every other member of a group that is counted is connected, and knows what this region knows.
    fn are_all_here(&self, group: GroupId) -> bool {
        let epoch = self.epoch();
        let mut others = GroupId(group.0 & self.others().0).regions();
        others.all(|peer| {
            let open = self.sessions.get(&peer).is_some_and(|s| s.open());
            open && self.known.get(&peer).is_some_and(|k| k.epoch >= epoch)
        })
    }

    /// A lapsed member hands over commits. One tail of each is decided about at a time.
    fn on_tail(&mut self, scene: &mut Scene<'_>, peer: RegionId, tail: Tail) {
        let last = tail.commits.last().and_then(|c| scene.shelf.header(c));
        let Some((dot, _)) = last.filter(|(dot, _)| dot.log == tail.log) else {
            return;
        };
        if !self.is_sponsor_of(peer, tail.log.group) || self.rescues.contains_key(&peer) {
            return;
        }
        self.rescues.insert(peer, (tail.log, dot.seq));
        scene.out.push(Action::Rescue {
            from: peer,
            tail: Box::new(tail),
        });
    }

    /// The store has decided about a tail, or could not.
    pub(super) fn on_rescued(
        &mut self,
        scene: &mut Scene<'_>,
        from: RegionId,
        outcome: Option<Outcome>,
    ) {
        let Some((log, upto)) = self.rescues.remove(&from) else {
            return;
        };
        let here = self.sessions.contains_key(&from) && self.is_restricted(from);
        if let Some(outcome) = outcome.filter(|_| here) {
            let message = Message::TailTaken { log, upto, outcome };
            self.send(scene, from, Lane::Control, message);
        }
    }

    /// The store of this region is empty, and it has begun a new incarnation: replication begins anew.
    pub(super) fn on_wiped(&mut self, scene: &mut Scene<'_>, origin: Origin, frontier: Frontier) {
        let peers: Vec<RegionId> = self.sessions.keys().copied().collect();
        let mut config = self.config.clone();
        config.origin = origin;
        config.lacks = super::Lacks {
            newborn: true,
            ..super::Lacks::default()
        };
        let mut anew = Replicator::new(config, frontier);
        std::mem::swap(&mut anew.contacts, &mut self.contacts);
        std::mem::swap(&mut anew.council, &mut self.council);
        std::mem::swap(&mut anew.clocks, &mut self.clocks);
        *self = anew;
        for peer in peers {
            self.on_up(scene, peer);
        }
    }
}
