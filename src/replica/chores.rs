//! Chores: work in the background that belongs to no request, done a little at a time within ordinary
//! groups, so that it is atomic and durable with them, costs no sync of its own and runs in the simulator
//! as it is. A chore finds what is left to do in the store itself: it needs no memory across restarts.

use super::keys::meta;
use super::{Replica, read};
use crate::clock::Now;
use crate::maybe;
use crate::store::{Db, StoreError, WriteTxn};

/// How often chores look for work while there was none, microseconds.
const REST_US: u64 = 100_000;
/// Tokens forgotten in one step.
const TOKENS_STEP: usize = 64;

/// Whether a chore has more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    Done,
    More,
}

impl Replica {
    /// One step of every chore, bounded in rows; called at the end of a group.
    /// `fenced`: the clock is not to be trusted, or nobody is reached, so nothing expires.
    pub(super) fn do_chores(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        fenced: bool,
    ) -> Result<(), StoreError> {
        let early = maybe!("early chores", self.config.region, now);
        if !early && !self.chores_left && now.mono_us < self.next_chores_us {
            return Ok(());
        }
        self.next_chores_us = now.mono_us + REST_US;
        if self.is_lapsed() {
            self.chores_left = self.wipe_some(txn, now)? == Chore::More;
            return Ok(());
        }
        if !self.may_commit(txn.as_read())? {
            // What chores change, others may have to hear of.
            self.chores_left = false;
            return Ok(());
        }
        let steps = [
            forget_tokens(txn, now)?,
            self.collect_tombstones(txn, now)?,
            self.truncate_logs(txn, now)?,
            self.rebuild_ttl(txn)?,
            if fenced {
                Chore::Done
            } else {
                self.sweep(txn, now)?
            },
            self.keep_streams(txn, now)?,
            self.finish_deletions(txn, now)?,
            self.keep_members(txn, now)?,
            self.follow_manifest(txn, now)?,
            self.drop_conflicts(txn, now)?,
            self.do_heavy(txn, now)?,
            self.scrub(txn, now)?,
        ];
        self.chores_left = steps.contains(&Chore::More);
        Ok(())
    }

    /// What takes many steps: removing rows (first, as a build may wait for it), sending versions again,
    /// building indexes.
    fn do_heavy(&mut self, txn: &mut dyn WriteTxn, now: Now) -> Result<Chore, StoreError> {
        if !self.heavy {
            return Ok(Chore::Done);
        }
        let steps = [
            self.purge_some(txn, now)?,
            self.relog_some(txn, now)?,
            self.build_some(txn)?,
        ];
        self.heavy = steps.contains(&Chore::More);
        Ok(if self.heavy { Chore::More } else { Chore::Done })
    }

    /// There is heavy work now: its first step comes at the end of this group.
    pub(super) fn wake_chores(&mut self) {
        self.heavy = true;
        self.chores_left = true;
    }

    /// Whether the driver should run the next group at once, though no job waits: a chore is under way.
    pub fn has_chores(&self) -> bool {
        self.chores_left
    }
}

/// Forgets transactions' tokens that are past their life.
fn forget_tokens(txn: &mut dyn WriteTxn, now: Now) -> Result<Chore, StoreError> {
    let rows = read::rows(txn.as_read(), Db::Meta, meta::TOKEN_EXPIRIES, TOKENS_STEP)?;
    for row in &rows {
        let rest = row.get(meta::TOKEN_EXPIRIES.len()..).unwrap_or_default();
        let Some((expiry, token)) = rest.split_at_checked(8) else {
            continue;
        };
        if expiry >= now.wall_us.to_be_bytes().as_slice() {
            return Ok(Chore::Done);
        }
        txn.delete(Db::Meta, row)?;
        let token = meta::token(&String::from_utf8_lossy(token));
        // The token may have been used again since, and live longer.
        let stale = txn
            .get(Db::Meta, &token)?
            .is_some_and(|stored| stored.get(..8) == Some(expiry));
        if stale {
            txn.delete(Db::Meta, &token)?;
        }
    }
    Ok(if rows.len() < TOKENS_STEP {
        Chore::Done
    } else {
        Chore::More
    })
}
