//! What this region proposes to the voters (`ruling`): changes of the members that a person asks for, or that are
//! due, and members that have been silent for too long.
//!
//! - What is asked for is proposed over and over, until it is so, or the members have become such that it cannot
//!   be any more; and not for long after the last time that somebody asked.
//! - Two regions that propose at once hinder each other for a moment: one goes first, and what the other wants is
//!   judged again by the members that there are then.

use super::WishError;
use super::replicator::{Replicator, Scene};
use super::ruling::{Cause, Intent};
use crate::clock::RegionId;
use crate::replica::manifest::{Change, State};
use crate::store::StoreError;

/// For how long something is proposed after it was last asked for.
const WISH_US: u64 = 30_000_000;
/// Between two looks at how far changes have come.
const LOOK_US: u64 = 200_000;
/// A member that a person gives up, or that holds too much back, must have been silent for so long all the same.
const QUIET_US: u64 = 5_000_000;

/// What somebody asked for here.
#[derive(Debug)]
struct Wish {
    change: Change,
    asked_us: u64,
}

/// What is to be proposed here.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    wish: Option<Wish>,
    due: Option<Change>,
    looked_us: u64,
}

impl Agreement {
    /// The members are others now: what was due is looked at anew.
    pub fn move_on(&mut self) {
        self.due = None;
        self.looked_us = 0;
    }
}

impl Replicator {
    /// Asks for a change of the members, or asks for it again. That a region has lapsed goes before all else:
    /// nothing else can be agreed on without it.
    pub fn wish(&mut self, now_us: u64, change: Change) -> Result<(), WishError> {
        let us = self.config.region;
        let manifest = &self.config.manifest;
        if !manifest.voters().contains(us) {
            let state = manifest.state(us);
            return Err(WishError::NotActive(state.map_or("no member", State::name)));
        }
        manifest.propose(&change)?;
        let lapsed = match change {
            Change::Lapse { region } => Some(region),
            _ => None,
        };
        if lapsed == Some(us) {
            return Err(WishError::Itself);
        }
        if lapsed.is_some_and(|region| !self.is_quiet(region)) {
            return Err(WishError::Heard);
        }
        let other = |wish: &Wish| wish.change != change;
        if lapsed.is_none() && self.agreement.wish.as_ref().is_some_and(other) {
            return Err(WishError::Busy);
        }
        let asked_us = now_us;
        self.agreement.wish = Some(Wish { change, asked_us });
        Ok(())
    }

    /// What the change that was asked for here waits for, in words; `None` where none is.
    pub fn asked(&self) -> Option<String> {
        let wish = self.agreement.wish.as_ref()?;
        let by_all = !matches!(wish.change, Change::Lapse { .. });
        let voters = self.config.manifest.voters();
        let others = voters.without(self.config.region).regions();
        let silent: Vec<String> = others
            .filter(|peer| !self.sessions.get(peer).is_some_and(|s| s.open()))
            .map(|peer| format!("'{}'", self.member_name(peer)))
            .collect();
        if by_all && !silent.is_empty() {
            return Some(format!("{} to connect and agree", silent.join(", ")));
        }
        let who = if by_all { "all" } else { "a majority of the" };
        Some(match self.ruling_trouble() {
            Some(trouble) => format!("{who} active regions to agree ({trouble})"),
            None => format!("{who} active regions to agree"),
        })
    }

    /// Looks, now and then, what is due, and what is still wanted.
    pub(super) fn pursue(&mut self, scene: &mut Scene<'_>) -> Result<(), StoreError> {
        let now_us = scene.now.mono_us;
        if now_us.saturating_sub(self.agreement.looked_us) < LOOK_US {
            return Ok(());
        }
        self.agreement.looked_us = now_us;
        if let Some(txn) = scene.shelf.txn() {
            self.agreement.due = self.next_step(txn)?;
        }
        let manifest = &self.config.manifest;
        self.agreement.wish.take_if(|w| {
            let old = now_us.saturating_sub(w.asked_us) > WISH_US;
            old || manifest.propose(&w.change).is_err()
        });
        Ok(())
    }

    /// What this region sees a reason for: what was asked for goes before what is due.
    pub(super) fn intent(&self) -> Option<Intent> {
        let manifest = &self.config.manifest;
        if !manifest.voters().contains(self.config.region) {
            return None;
        }
        let intent = |change: &Change, cause| {
            let change = change.clone();
            Intent { change, cause }
        };
        let asked = self.agreement.wish.as_ref();
        let asked = asked.map(|wish| intent(&wish.change, Cause::Person));
        let due = self.agreement.due.as_ref();
        let due = due.map(|change| intent(change, Cause::Progress));
        asked.or(due).or_else(|| self.silent())
    }

    /// A member that has been silent for too long. Of two, neither can tell.
    fn silent(&self) -> Option<Intent> {
        if self.config.manifest.voters().regions().count() == 2 {
            return None;
        }
        let full = self.log_full.then_some(Cause::LogFull);
        [Some(Cause::Silent), full]
            .into_iter()
            .flatten()
            .find_map(|cause| {
                let mut others = self.others().regions();
                let region = others.find(|peer| self.may_lapse(*peer, cause))?;
                let change = Change::Lapse { region };
                Some(Intent { change, cause })
            })
    }

    /// Whether a member may be taken for dead, if that is the reason. Who lacks something waits with that: the silent
    /// one may be the one that has it. Only a person may know better.
    pub(super) fn may_lapse(&self, region: RegionId, cause: Cause) -> bool {
        let silence = self.contacts.silence(region, self.clocks.now.mono_us);
        match cause {
            Cause::Silent => {
                silence.unheard_us >= self.config.limits.dead_after_us && self.is_whole()
            }
            Cause::LogFull => self.is_quiet(region) && self.is_whole(),
            Cause::Person => self.is_quiet(region),
            Cause::Progress => false,
        }
    }

    pub(super) fn is_quiet(&self, region: RegionId) -> bool {
        let connected = self.sessions.get(&region).is_some_and(|s| s.open());
        let silence = self.contacts.silence(region, self.clocks.now.mono_us);
        !connected && silence.unheard_us >= QUIET_US
    }
}
