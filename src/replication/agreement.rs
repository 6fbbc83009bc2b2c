//! Changes of the members that a person asks for, or that are due: what is handed to the voters (`ruling`).
//!
//! - Every active member must agree to them, where to give up a silent member a majority is enough. Writes of
//!   clients wait for none of it.
//! - What is asked for is proposed over and over, until it is so, or the members have become such that it cannot
//!   be any more; and not for long after the last time that somebody asked.
//! - Two regions that propose at once hinder each other for a moment: one goes first, and what the other wants is
//!   judged again by the members that there are then.

use super::replicator::{Replicator, Scene};
use crate::replica::manifest::{Change, State};
use crate::store::StoreError;

/// For how long something is proposed after it was last asked for.
const WISH_US: u64 = 30_000_000;
/// Between two looks at how far changes have come.
const LOOK_US: u64 = 200_000;

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

impl Replicator {
    /// Asks for a change of the members, or asks for it again. An error says why it cannot be.
    pub fn wish(&mut self, now_us: u64, change: Change) -> Result<(), String> {
        let manifest = &self.config.manifest;
        if !manifest.voters().contains(self.config.region) {
            let state = manifest.state(self.config.region);
            let state = state.map_or("no member", State::name);
            return Err(format!("this region is {state}: ask an active one"));
        }
        manifest
            .propose(&change)
            .map_err(|error| error.to_string())?;
        let wish = &mut self.agreement.wish;
        if let Some(wish) = wish.as_mut().filter(|w| w.change == change) {
            wish.asked_us = now_us;
            return Ok(());
        }
        if wish.is_some() {
            return Err("another change is being agreed on here: try again".into());
        }
        let asked_us = now_us;
        *wish = Some(Wish { change, asked_us });
        Ok(())
    }

    /// What the change that was asked for here waits for, in words; `None` where none is.
    pub fn asked(&self) -> Option<String> {
        self.agreement.wish.as_ref()?;
        let voters = self.config.manifest.voters();
        let others = voters.without(self.config.region).regions();
        let silent: Vec<String> = others
            .filter(|peer| !self.sessions.get(peer).is_some_and(|s| s.open()))
            .map(|peer| format!("'{}'", self.member_name(peer)))
            .collect();
        if !silent.is_empty() {
            return Some(format!("{} to connect and agree", silent.join(", ")));
        }
        Some(match self.ruling_trouble() {
            Some(trouble) => format!("all active regions to agree ({trouble})"),
            None => "all active regions to agree".into(),
        })
    }

    /// Looks, now and then, what is due, and what is still wanted.
    pub(super) fn pursue(&mut self, scene: &mut Scene<'_>) -> Result<(), StoreError> {
        let now_us = scene.now.mono_us;
        if now_us.saturating_sub(self.agreement.looked_us) < LOOK_US {
            return Ok(());
        }
        self.agreement.looked_us = now_us;
        self.agreement.due = match scene.shelf.txn() {
            Some(txn) => self.next_step(txn)?,
            None => {
                self.membership.looked_without_store();
                None
            }
        };
        let manifest = &self.config.manifest;
        self.agreement.wish.take_if(|w| {
            let old = now_us.saturating_sub(w.asked_us) > WISH_US;
            old || manifest.propose(&w.change).is_err()
        });
        Ok(())
    }

    /// What this region proposes: what was asked for goes before what is due.
    pub(super) fn wanted(&self) -> Option<(Change, bool)> {
        let asked = self
            .agreement
            .wish
            .as_ref()
            .map(|w| (w.change.clone(), true));
        let due = self.agreement.due.clone().map(|change| (change, false));
        let wanted = asked.or(due)?;
        self.config.manifest.propose(&wanted.0).ok()?;
        Some(wanted)
    }
}
