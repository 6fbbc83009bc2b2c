//! Copying placement groups from a sponsor, where logs no longer reach back to what this region lacks
//! (replication.md section 8; `replica::snapshot` says what is copied and why that is right).
//!
//! The joiner asks for one part after the other; a part that does not come is asked for again, and when its
//! sponsor has gone, or has begun anew, the copy begins anew with another. Meanwhile no commit of the group is
//! applied. Then ordinary delivery goes on from where the sponsor was when the copy began, and the region is
//! whole once it has what the sponsor had when it ended: from whomever. What a version that came after the base had
//! replaced at the sponsor is missing here, and that version is among what is waited for.
//!
//! Whoever is not whole gives no copy, so too many copies may leave nobody to give one. Hence:
//!
//! - Nothing is copied that logs can bring: one peer may have dropped commits that another has. A region that was
//!   given a copy has none of what it copied in its logs.
//! - Before the first part is taken in, a region is as whole as it was, and gives copies itself.
//! - While there is nobody to copy from, commits are applied: they may make whole who only has to catch up, whatever
//!   became of its sponsor. A copy is begun again only where what it waits for is with nobody who is connected.

use std::collections::{BTreeMap, BTreeSet};

use super::life::{covers, lacking};
use super::replicator::{Replicator, Scene};
use super::wire::Message;
use super::{Action, GONE_US, Lane, PART_US};
use crate::clock::RegionId;
use crate::maybe;
use crate::replica::mutation::{Frontier, GroupId, LogId};
use crate::replica::snapshot::{At, Part, Place, Portion};
use crate::store::StoreError;

/// Asking a sponsor so often without an answer is enough.
const TRIES_MAX: u32 = 3;

/// A copy under way.
#[derive(Debug, Default)]
struct Copy {
    sponsor: Option<RegionId>,
    /// Who did not answer, or went, since all were asked in turn.
    failed: BTreeSet<RegionId>,
    /// It follows one that was not whole: the frontier may say more than is here.
    again: bool,
    /// The store has taken in parts of it.
    begun: bool,
    /// The sponsor's frontier when the first part was read.
    base: Option<Frontier>,
    after: Option<Place>,
    /// When the part after `after` was last asked for.
    asked_us: Option<u64>,
    tries: u32,
    /// The part that the store is taking in.
    applying: Option<Part>,
    rows: usize,
}

/// What this region is being given.
#[derive(Debug, Default)]
pub(super) struct Joins {
    copies: BTreeMap<GroupId, Copy>,
    /// Groups that were copied, and what they must have to be whole.
    catching_up: BTreeMap<GroupId, CatchUp>,
}

/// What the sponsor had when the copy ended. Where nobody has all that any more, the copy begins anew: the sponsor may
/// have lost what only it had, and what that replaced is not here.
#[derive(Debug)]
struct CatchUp {
    wanted: Frontier,
}

impl Joins {
    pub fn new(begun: &BTreeSet<GroupId>) -> Self {
        Joins {
            copies: begun.iter().map(|g| (*g, Copy::again())).collect(),
            catching_up: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.copies.is_empty() && self.catching_up.is_empty()
    }

    /// Whether a sponsor is asked for a copy of the group, so that none of its commits may be applied.
    pub fn is_copying(&self, group: GroupId) -> bool {
        let copy = self.copies.get(&group);
        copy.is_some_and(|copy| copy.sponsor.is_some())
    }

    /// The session with `peer` ended.
    pub fn forget(&mut self, peer: RegionId) {
        for copy in self.copies.values_mut() {
            if copy.sponsor == Some(peer) {
                copy.begin_anew();
            }
        }
    }

    /// What the store lacks. Before it takes in the first part of a copy it is as whole as it was, however old.
    pub fn show(&self, durable: &Frontier, name: impl Fn(RegionId) -> String) -> Option<String> {
        let rows: usize = self.copies.values().map(|copy| copy.rows).sum();
        if let Some(copy) = self.copies.values().find(|copy| copy.is_begun()) {
            return Some(match copy.sponsor {
                None => "waiting for a region to copy from".into(),
                Some(sponsor) => {
                    let sponsor = name(sponsor);
                    format!("copying from '{sponsor}': {rows} items so far")
                }
            });
        }
        let after = self.catching_up.values().next()?;
        let lacks = lacking(durable, &after.wanted);
        Some(format!("copied; {lacks} newer commits are still to come"))
    }
}

impl Copy {
    /// One that follows another.
    fn again() -> Self {
        Copy {
            again: true,
            ..Copy::default()
        }
    }

    /// From the first part, with whatever sponsor; a part that the store is taking in is harmless.
    fn begin_anew(&mut self) {
        crate::mark!("copy begun anew");
        self.failed.extend(self.sponsor);
        *self = Copy {
            applying: self.applying.take(),
            failed: std::mem::take(&mut self.failed),
            again: self.again,
            begun: self.begun,
            ..Copy::default()
        };
    }

    /// Who is asked for it: the first that has not failed, or the first of all again.
    fn choose(&mut self, sponsors: &[RegionId]) {
        let fresh = sponsors.iter().find(|peer| !self.failed.contains(peer));
        if fresh.is_none() {
            self.failed.clear();
        }
        self.sponsor = fresh.or(sponsors.first()).copied();
    }

    /// Whether the store is between what it was and what the copy makes of it.
    fn is_begun(&self) -> bool {
        self.again || self.begun || self.applying.is_some()
    }
}

impl Replicator {
    /// Tells `peer` when commits of `log` from seq `from` on are not to be had here any more.
    pub(super) fn say_if_gone(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        log: LogId,
        from: u64,
    ) -> Result<(), StoreError> {
        if from > self.durable_seq(log) {
            return Ok(());
        }
        let start = scene.shelf.start(log)?;
        let now_us = scene.now.mono_us;
        let Some(session) = self.sessions.get_mut(&peer).filter(|s| s.open()) else {
            return Ok(());
        };
        let said = session.gone_sent_us.get(&log).copied();
        let lately = said.is_some_and(|at_us| now_us.saturating_sub(at_us) < GONE_US);
        if from >= start || lately {
            return Ok(());
        }
        crate::mark!("log gone");
        session.gone_sent_us.insert(log, now_us);
        self.send(scene, peer, Lane::Control, Message::Gone { log, start });
        Ok(())
    }

    /// A peer has dropped commits that we lack.
    pub(super) fn on_gone(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        log: LogId,
        start: u64,
    ) {
        let (group, us) = (log.group, self.config.region);
        let permitted = group.contains(peer) && group.contains(us);
        if !permitted || log.origin == self.config.origin {
            return;
        }
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.starts.insert(log, start);
        }
        if let Some(intake) = self.intakes.get_mut(&log) {
            intake.forget(peer);
        }
        self.copy_if_gone(scene, log);
    }

    /// Whether a peer has dropped commits of `log` that we lack, and no other that is connected has them.
    fn is_gone(&self, log: LogId) -> bool {
        let next = self.received(log).saturating_add(1);
        let mut open = self.sessions.values().filter(|s| s.open());
        let dropped = |start: &u64| *start > next;
        open.any(|s| s.starts.get(&log).is_some_and(dropped))
            && !self.sessions.values().any(|s| s.can_send(log, next))
    }

    /// Copies the group of a log that is gone.
    pub(super) fn copy_if_gone(&mut self, scene: &mut Scene<'_>, log: LogId) {
        if self.is_gone(log) {
            let again = self.joins.catching_up.remove(&log.group).is_some();
            self.joins.copies.entry(log.group).or_default().again |= again;
            self.mend(scene);
        }
    }

    /// Whether any log of the group is gone.
    fn has_gone(&self, group: GroupId) -> bool {
        let of_it = |log: &LogId| log.group == group;
        let logs = self.sessions.values().flat_map(|s| s.starts.keys());
        logs.copied().filter(of_it).any(|log| self.is_gone(log))
    }

    /// Asks for what comes next of every copy, and looks whether those that ended are whole.
    pub(super) fn join_all(&mut self, scene: &mut Scene<'_>) {
        let groups: Vec<GroupId> = self.joins.copies.keys().copied().collect();
        for group in groups {
            let unasked = |copy: &Copy| copy.sponsor.is_none() && !copy.is_begun();
            if self.joins.copies.get(&group).is_some_and(unasked) && !self.has_gone(group) {
                self.joins.copies.remove(&group);
            }
            self.fetch_next(scene, group);
        }
        let catching_up: Vec<GroupId> = self.joins.catching_up.keys().copied().collect();
        for group in catching_up {
            self.catch_up(scene, group);
        }
    }

    fn catch_up(&mut self, scene: &mut Scene<'_>, group: GroupId) {
        let Some(CatchUp { wanted }) = self.joins.catching_up.get(&group) else {
            return;
        };
        if lacking(&self.durable, wanted) == 0 {
            self.joins.catching_up.remove(&group);
            scene.out.push(Action::Whole(Some(group)));
            return;
        }
        let open = || self.sessions.values().filter(|s| s.open());
        let here = |log: &LogId, seq: &u64| self.durable_seq(*log) >= *seq;
        let mut lost = wanted.iter().filter(|(log, seq)| !here(log, seq));
        let is_lost = lost.any(|(log, seq)| !open().any(|s| s.acked(*log) >= *seq));
        if is_lost && !self.sponsors(group).is_empty() {
            self.joins.catching_up.remove(&group);
            self.joins.copies.insert(group, Copy::again());
            self.fetch_next(scene, group);
        }
    }

    fn fetch_next(&mut self, scene: &mut Scene<'_>, group: GroupId) {
        let mut intakes = self.intakes.iter();
        let applying = intakes.any(|(log, intake)| log.group == group && intake.is_applying());
        if applying || !self.knows_members() {
            return;
        }
        let mut sponsors = self.sponsors(group);
        if maybe!("far sponsor", self.config.region, scene.now) {
            sponsors.reverse();
        }
        let patience_us = |peer: &RegionId| {
            let session = self.sessions.get(peer);
            session.map_or(0, |s| s.patience_us().saturating_add(PART_US))
        };
        let (us, now_us) = (self.config.region, scene.now.mono_us);
        let Some(copy) = self.joins.copies.get_mut(&group) else {
            return;
        };
        if copy.applying.is_some() {
            return;
        }
        if let (Some(sponsor), Some(asked_us)) = (copy.sponsor, copy.asked_us)
            && now_us.saturating_sub(asked_us) < patience_us(&sponsor)
        {
            return;
        }
        if copy.tries >= TRIES_MAX || copy.sponsor.is_some_and(|s| !sponsors.contains(&s)) {
            copy.begin_anew();
        }
        if copy.sponsor.is_none() {
            copy.choose(&sponsors);
        }
        let Some(sponsor) = copy.sponsor else { return };
        copy.asked_us = Some(now_us);
        copy.tries += 1;
        let after = copy.after.clone();
        let fetch = Message::Fetch { group, after };
        if maybe!("fetch twice", us, sponsor, scene.now) {
            self.send(scene, sponsor, Lane::Control, fetch.clone());
        }
        self.send(scene, sponsor, Lane::Control, fetch);
    }

    /// The peers that can give a copy of `group`, nearest first.
    fn sponsors(&self, group: GroupId) -> Vec<RegionId> {
        let can =
            (self.sessions.iter()).filter(|(p, s)| s.open() && s.whole && group.contains(**p));
        let mut sponsors: Vec<(u64, RegionId)> = can
            .map(|(peer, s)| (s.rtt_us.unwrap_or(u64::MAX), *peer))
            .collect();
        sponsors.sort_unstable();
        sponsors.into_iter().map(|(_, peer)| peer).collect()
    }

    /// A peer asks for a part of a copy. Nothing is kept in mind of it.
    pub(super) fn on_fetch(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        group: GroupId,
        after: Option<Place>,
    ) -> Result<(), StoreError> {
        let us = self.config.region;
        if !group.contains(peer) || !group.contains(us) || !self.is_whole() {
            return Ok(());
        }
        let tiny = maybe!("tiny part", us, peer, scene.now);
        let bytes_max = if tiny { 1 } else { self.config.part_bytes_max };
        let base = match after {
            None => self.base_for(scene, peer, group)?,
            Some(_) => self.durable.clone(),
        };
        let at = after.as_ref().map_or(At::Base(&base), At::After);
        let part = (scene.shelf).part((us, peer), group, at, bytes_max)?;
        let Some(mut part) = part else {
            return Ok(());
        };
        let seen = std::mem::replace(&mut part.frontier, base);
        // The store shows commits that are not known to be durable. What they replaced is left out, so the copy
        // does not end before it can say that they are to be waited for; nor with a part that says less than is durable.
        let ends = part.frontier == self.durable && covers(&self.durable, &seen);
        if part.next.is_none() && !ends {
            part.next = Some(after.clone().unwrap_or(Place::Item(Vec::new())));
        }
        let chunk = Message::Chunk { group, after, part };
        self.send(scene, peer, Lane::Bulk, chunk);
        Ok(())
    }

    /// The base of a copy for `peer`: what is durable here, but of what this region made only what another that might
    /// give a copy is known to have too, or what is in no log any more. The log brings the rest. Were it in the copy,
    /// and this disk lost amid it, the joiner would go on with a copy of the other, and have alone what nobody can
    /// send. Where there is no other, nobody could go on, and all is in the copy.
    fn base_for(
        &self,
        scene: &Scene<'_>,
        peer: RegionId,
        group: GroupId,
    ) -> Result<Frontier, StoreError> {
        let mut base = self.durable.clone();
        let may_be_whole = |other: &RegionId| {
            let session = self.sessions.get(other).filter(|s| s.open());
            *other != peer && group.contains(*other) && session.is_none_or(|s| s.whole)
        };
        let ours = |log: &LogId| log.group == group && log.origin.region == self.config.region;
        for (log, seq) in base.iter_mut().filter(|(log, _)| ours(log)) {
            let others = self.known.iter().filter(|(other, _)| may_be_whole(other));
            let theirs = others.map(|(_, known)| known.frontier.get(log).copied().unwrap_or(0));
            let Some(theirs) = theirs.max() else { continue };
            let dropped = scene.shelf.start(*log)?.saturating_sub(1);
            *seq = dropped.max(theirs).min(*seq);
        }
        Ok(base)
    }

    /// A part has come. One that was not asked for, or came twice, is dropped.
    pub(super) fn on_chunk(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        group: GroupId,
        after: Option<Place>,
        part: Part,
    ) {
        let Some(copy) = self.joins.copies.get_mut(&group) else {
            return;
        };
        let asked = copy.sponsor == Some(peer) && copy.asked_us.is_some() && copy.after == after;
        if !asked || copy.applying.is_some() {
            return;
        }
        copy.asked_us = None;
        let base = copy.base.get_or_insert_with(|| part.frontier.clone());
        let portion = Portion {
            group,
            base: base.clone(),
            after,
            part: part.clone(),
            again: copy.again,
        };
        copy.applying = Some(part);
        scene.out.push(Action::Snapshot(Box::new(portion)));
    }

    /// The store has taken in a part, or could not.
    pub(super) fn on_copied(&mut self, scene: &mut Scene<'_>, group: GroupId, ok: bool) {
        let Some(copy) = self.joins.copies.get_mut(&group) else {
            return;
        };
        let Some(part) = copy.applying.take() else {
            return;
        };
        copy.begun |= ok;
        // Begun anew meanwhile, or refused: the part does not count.
        if let (true, true, Some(sponsor)) = (ok, copy.base.is_some(), copy.sponsor) {
            copy.rows += part.mutations.len();
            copy.tries = 0;
            copy.after = part.next;
            if copy.after.is_none() {
                crate::mark!("copied");
                let mut wanted = part.frontier;
                wanted.retain(|log, _| log.group == group && log.origin != self.config.origin);
                self.learn(scene, sponsor, &wanted, None);
                self.joins.copies.remove(&group);
                self.joins.catching_up.insert(group, CatchUp { wanted });
                self.pull_all(scene);
            }
        }
        self.mend(scene);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_give_a_copy_is_asked_in_turn() {
        let sponsors: Vec<RegionId> = [3, 2, 1].map(RegionId).into();
        let mut copy = Copy::default();
        let mut asked = Vec::new();
        for _ in 0..5 {
            copy.choose(&sponsors);
            asked.extend(copy.sponsor.map(|peer| peer.0));
            copy.begin_anew();
        }
        assert_eq!(asked, [3, 2, 1, 3, 2]);
    }
}
