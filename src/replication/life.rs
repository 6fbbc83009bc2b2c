//! What this region's store may lack, of its own making or of everything (replication.md section 11).
//!
//! A store that was restored, rolled back or lost knows less of its region than peers do. They say so: in
//! `Hello` and in every frontier. Then a new incarnation is begun, above all that they know, and what the
//! earlier ones made is pulled back like any other origin's log. Nothing of this life has to be made again:
//! its commits have an incarnation of their own since before they were made (`replica::life`).
//!
//! - Clients are not served while a connected peer has more of this region than this region has, nor, by a store
//!   that began empty, before it has what the first whole peer had that it heard. Where it hears of none, it is among
//!   the first of its cluster only if it has heard a majority: alone it may as well be what is left of a lost disk.
//! - This region's own watermark is `Stamp::MIN` until every member has been heard in this life, and all that
//!   any of them has of its earlier lives is here. Otherwise the stable stamp could pass commits of an earlier
//!   life that one member has and others do not: those would arrive below it. One that joins makes nothing before
//!   it has given that word: what is stable by then did not wait for it.
//! - A store that lost what its region did has lost as well who the members are, and what this region bound itself to
//!   about them. It takes nothing from anyone, or it might take what a region that has lapsed made for what counts;
//!   and it votes for nothing, before so many voters have told it what they know that they know of all that was ever
//!   decided (`consensus`). A store that began empty where others have anything of an earlier time is taken for such
//!   a one. Where too few answer it goes on after [`MEMORY_US`] with those that do, and says so.
//! - Frontier entries of earlier incarnations stay for good: a few bytes for each start that wrote something.

use std::collections::{BTreeMap, BTreeSet};

use super::replicator::{Replicator, Scene};
use super::wire::Hello;
use super::{Action, GONE_US, MEMORY_US, NEWBORN_US};
use crate::clock::{RegionId, Stamp};
use crate::replica::manifest::State;
use crate::replica::mutation::{Frontier, LogId};

/// A store that began empty.
#[derive(Debug, Default)]
struct Newborn {
    /// When it was first seen to wait, for the first time or for another.
    since_us: Option<u64>,
    /// What the whole peer that was heard first had.
    target: Option<(RegionId, Frontier)>,
}

/// Stores whose first incarnations, counted in quarters of a second, are no further apart began with their cluster.
const TOGETHER: u32 = 4;

/// Whether this region knows what it knew of the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Memory {
    /// Nothing says that it lost anything.
    #[default]
    Kept,
    /// It asks, since then.
    Lost { since_us: u64 },
    /// Enough others told it.
    Restored,
    /// Too few did.
    Guessed,
}

#[derive(Debug, Default)]
pub(super) struct Life {
    newborn: Option<Newborn>,
    memory: Memory,
    /// Members heard in this life.
    heard: BTreeSet<RegionId>,
    /// The most that each peer has said to have of this region's logs.
    owed: BTreeMap<RegionId, Frontier>,
    /// Every member has been heard, and what they had of this region is here.
    settled: bool,
    asked_us: Option<u64>,
    /// The first watermark of each member that came after all had been heard.
    since: BTreeMap<RegionId, Stamp>,
    /// Peers turn this region away.
    unwelcome: bool,
}

impl Life {
    pub fn new(newborn: bool) -> Self {
        Life {
            newborn: newborn.then(Newborn::default),
            ..Life::default()
        }
    }

    /// A peer begins anew, or is not counted any more: what it had it may have no longer, or keep.
    pub fn forget(&mut self, peer: RegionId) {
        self.owed.remove(&peer);
        let by_peer = |newborn: &Newborn| newborn.target.as_ref().is_some_and(|t| t.0 == peer);
        if self.newborn.as_ref().is_some_and(by_peer) {
            self.newborn = Some(Newborn::default());
        }
    }

    /// Whether all is in `durable` that any peer has said to have of this region's logs.
    fn is_paid(&self, durable: &Frontier) -> bool {
        self.owed.values().all(|owed| covers(durable, owed))
    }

    /// This region comes to be one that joins: whatever it has, and had heard, it lacks what the others made without it.
    pub fn join(&mut self) {
        self.newborn.get_or_insert_default();
        self.settled = false;
        self.since.clear();
    }
}

pub(super) fn covers(durable: &Frontier, wanted: &Frontier) -> bool {
    let has = |(log, seq): (_, &u64)| durable.get(log).is_some_and(|have| have >= seq);
    wanted.iter().all(has)
}

/// How many commits of `wanted` are not in `durable`.
pub(super) fn lacking(durable: &Frontier, wanted: &Frontier) -> u64 {
    let lacks = |(log, seq): (_, &u64)| seq.saturating_sub(durable.get(log).copied().unwrap_or(0));
    wanted.iter().map(lacks).sum()
}

impl Replicator {
    /// A peer has said hello.
    pub(super) fn meet(&mut self, scene: &mut Scene<'_>, peer: RegionId, hello: &Hello) {
        self.life.heard.insert(peer);
        self.note_owed(peer, &hello.frontier);
        self.note_owed(peer, &hello.seen_of_you);
        self.mend(scene);
    }

    /// Takes in what a peer says to have of our own logs.
    pub(super) fn note_owed(&mut self, peer: RegionId, frontier: &Frontier) {
        let us = self.config.region;
        let (newborn, life) = (self.life.newborn.is_some(), self.config.origin.incarnation);
        let lost = |(log, seq): (&LogId, &u64)| {
            let of_before = newborn && log.origin.incarnation.abs_diff(life) > TOGETHER;
            of_before || log.origin.region == us && *seq > self.durable_seq(*log)
        };
        if self.life.memory == Memory::Kept && frontier.iter().any(lost) {
            crate::mark!("memory lost");
            self.council.recover();
            let since_us = self.clocks.now.mono_us;
            self.life.memory = Memory::Lost { since_us };
        }
        let owed = self.life.owed.entry(peer).or_default();
        for (log, seq) in frontier.iter().filter(|(log, _)| log.origin.region == us) {
            let owed = owed.entry(*log).or_insert(0);
            *owed = (*owed).max(*seq);
        }
    }

    /// Others tell who the members are, or there are too few that do.
    fn remember(&mut self, now_us: u64) {
        let Memory::Lost { since_us } = self.life.memory else {
            return;
        };
        let manifest = &self.config.manifest;
        let mut told = !self.council.is_recovering();
        if !manifest.voters().contains(self.config.region) {
            let heard = (self.life.heard.iter()).filter(|peer| manifest.voters().contains(**peer));
            told = heard.count() >= self.council.recovery_quorum();
        }
        if told {
            self.life.memory = Memory::Restored;
        } else if now_us.saturating_sub(since_us) >= MEMORY_US {
            self.council.stop_recovering();
            self.life.memory = Memory::Guessed;
        }
    }

    /// Whether this region knows who the members are, as far as it can tell: else it takes nothing from anyone.
    pub(super) fn knows_members(&self) -> bool {
        !matches!(self.life.memory, Memory::Lost { .. })
    }

    /// Whether it lost what it knew of the members, and goes on though too few others were there to tell.
    pub fn guesses_members(&self) -> bool {
        self.life.memory == Memory::Guessed
    }

    /// Looks after everything that the store may lack.
    pub(super) fn mend(&mut self, scene: &mut Scene<'_>) {
        self.remember(scene.now.mono_us);
        self.be_reborn(scene);
        self.settle();
        self.grow_up(scene);
        self.join_all(scene);
    }

    /// Peers know more of us than we do: what we make from now on must not be taken for what we made.
    fn be_reborn(&mut self, scene: &mut Scene<'_>) {
        let ours = self.config.origin;
        let more = (self.life.owed.values().flatten())
            .filter(|(log, seq)| log.origin >= ours && self.durable_seq(**log) < **seq)
            .map(|(log, _)| log.origin.incarnation)
            .max();
        let Some(above) = more else { return };
        let now_us = scene.now.mono_us;
        let asked = |at_us: u64| now_us.saturating_sub(at_us) < GONE_US;
        if !self.life.asked_us.is_some_and(asked) {
            crate::mark!("reborn");
            self.life.asked_us = Some(now_us);
            scene.out.push(Action::Reborn { above });
        }
    }

    fn settle(&mut self) {
        if self.life.settled {
            return;
        }
        let others = self.others();
        let heard = others.regions().all(|peer| self.life.heard.contains(&peer));
        self.life.settled = heard && self.is_past_all() && self.life.is_paid(&self.durable);
    }

    /// A member says up to when it has made everything. It counts once all others know the members that this
    /// region does, and so wait for this one.
    pub(super) fn note_watermark(&mut self, peer: RegionId, watermark: Stamp) {
        if watermark > Stamp::MIN && self.unheard().is_none() {
            self.life.since.entry(peer).or_insert(watermark);
        }
    }

    /// What a member stamps that comes to be counted must be above all that the others hold to be stable. None of
    /// them holds more to be stable than any one of them has made, as of when all had heard that it is
    /// counted; so its own clock must have passed the least of that. Others that join are not asked: they give
    /// their word as late.
    fn is_past_all(&self) -> bool {
        let manifest = &self.config.manifest;
        if !manifest.joins(self.config.region) {
            return true;
        }
        let asked = manifest.in_state(|state| matches!(state, State::Active | State::Leaving));
        let stamps: Option<Vec<Stamp>> = (asked.regions())
            .map(|peer| self.life.since.get(&peer).copied())
            .collect();
        let least = stamps.map(|all| all.into_iter().min().unwrap_or(Stamp::MIN));
        least.is_some_and(|least| self.watermark > least)
    }

    /// A store that began empty has what it found when it came. Not while it has lapsed: it is given nothing.
    fn grow_up(&mut self, scene: &mut Scene<'_>) {
        if self.life.newborn.is_none() || self.is_lapsed() {
            return;
        }
        let others = self.others().regions();
        let (heard, unheard): (Vec<_>, Vec<_>) =
            others.partition(|peer| self.life.heard.contains(peer));
        let knows = self.knows_members();
        let whole = |s: &super::session::Session| s.open() && s.whole && knows;
        let first = self.sessions.iter().find(|(_, session)| whole(session));
        let found = first.map(|(peer, session)| (*peer, session.frontier.clone()));
        let joins = self.config.manifest.joins(self.config.region);
        let Some(newborn) = &mut self.life.newborn else {
            return;
        };
        let now_us = scene.now.mono_us;
        let since_us = *newborn.since_us.get_or_insert(now_us);
        if newborn.target.is_none() {
            newborn.target = found;
        }
        let grown = match &newborn.target {
            Some((_, target)) => covers(&self.durable, target),
            None => {
                let waited = now_us.saturating_sub(since_us) >= NEWBORN_US;
                // What has lived waits in any case: who has everything may be about to say so.
                let new = self.life.memory == Memory::Kept && unheard.is_empty();
                new || waited && heard.len() + 1 > unheard.len()
            }
        };
        if grown && knows && self.joins.is_empty() && (self.life.settled || !joins) {
            crate::mark!("grown up");
            self.life.newborn = None;
            scene.out.push(Action::Whole(None));
        }
    }

    /// Our own watermark as others may rely on it.
    pub(super) fn own_watermark(&self) -> Stamp {
        if self.life.settled {
            self.watermark
        } else {
            Stamp::MIN
        }
    }

    /// Whether this region lacks nothing that it knows of.
    pub(super) fn is_whole(&self) -> bool {
        self.show_lacks().is_none()
    }

    /// A peer has turned this region away as no member: then it is not among the first of its cluster.
    pub fn set_unwelcome(&mut self, unwelcome: bool) {
        self.life.unwelcome = unwelcome;
    }

    /// Why clients are not served; `None` when they are.
    pub fn closed(&self) -> Option<String> {
        let rebuilding = self.rebuilding();
        if !self.config.manifest.joins(self.config.region) {
            return rebuilding;
        }
        let waits = self.waits().get(&self.config.region).cloned();
        let waits = rebuilding.or(waits.map(|words| format!("waiting for {words}")));
        let waits = waits.unwrap_or_else(|| "waiting for the others to agree".into());
        Some(format!("it is joining its cluster: {waits}"))
    }

    /// What this region lacks, and how far it is; `None` when it lacks nothing that it knows of.
    pub fn rebuilding(&self) -> Option<String> {
        self.show_lacks().or_else(|| self.show_return())
    }

    /// What this region lacks, if it lacks anything that it knows of.
    fn show_lacks(&self) -> Option<String> {
        if self.is_lapsed() {
            return self.show_return();
        }
        if !self.knows_members() {
            return Some(
                "the data folder is new or older than it was: waiting for enough other regions to say who the members \
                 are"
                    .into(),
            );
        }
        if let Some(text) = self.joins.show(&self.durable, |r| self.member_name(r)) {
            return Some(text);
        }
        if let Some(newborn) = &self.life.newborn {
            return Some(match &newborn.target {
                None if self.life.unwelcome => {
                    "the data folder is new, and the other regions do not know this one: \
                     `meridian region add` makes it a member"
                        .into()
                }
                None => {
                    "the data folder is new: waiting to hear from a majority of the regions".into()
                }
                Some((_, target)) => format!(
                    "the data folder is new: {} commits of this cluster are still to come",
                    lacking(&self.durable, target)
                ),
            });
        }
        let us = self.config.region;
        let open = self.sessions.values().filter(|s| s.open());
        let more = open.map(|session| {
            let own = session.frontier.iter();
            let own = own.filter(|(log, _)| log.origin.region == us);
            own.map(|(log, seq)| seq.saturating_sub(self.durable_seq(*log)))
                .sum::<u64>()
        });
        let more = more.max().unwrap_or(0);
        (more > 0).then(|| {
            format!(
                "the data folder is older than it was: {more} commits of this region are still to come back"
            )
        })
    }
}
