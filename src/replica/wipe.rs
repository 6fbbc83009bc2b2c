//! A region that lapsed and has handed over what only it had begins anew: it forgets what it shares with
//! others, is then like a region whose disk was lost, and is given everything.
//!
//! What it shares with nobody stays: tables that are here only, its settings of tables, its conflict log, the
//! records of its streams. In steps, since there may be much; a row says that it is under way, so that a
//! crash at any point goes on where it was. Until the last step nothing else of this region happens.

use std::collections::BTreeSet;

use super::catalog::TableUid;
use super::chores::Chore;
use super::keys::{self, meta};
use super::manifest::State;
use super::mutation::GroupId;
use super::rescue::Outcome;
use super::{Replica, entry, log, read, work};
use crate::clock::policy::QUARANTINE_US;
use crate::clock::{Hlc, Now, Stamp};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// Log rows that go in one step.
const STEP_ROWS: usize = 1024;

/// Whether this region is wiping itself, and what became of what it handed over.
pub fn wiping(txn: &dyn ReadTxn) -> Result<Option<Outcome>, StoreError> {
    let row = txn.get(Db::Meta, meta::RETURNING)?;
    row.map(work::decode).transpose()
}

/// What became of what this region had alone when it last came back, if it ever did.
pub fn returned(txn: &dyn ReadTxn) -> Result<Option<Outcome>, StoreError> {
    let row = txn.get(Db::Meta, meta::RETURNED)?;
    row.map(work::decode).transpose()
}

impl Replica {
    /// Whether the others have given this region up: then it takes no writes, and makes no commits at all.
    pub fn is_lapsed(&self) -> bool {
        self.manifest.state(self.config.region) == Some(State::Lapsed)
    }

    /// Whether the last group ended a wipe; once.
    pub fn take_wiped(&mut self) -> bool {
        std::mem::take(&mut self.wiped)
    }

    /// What only this region had is with others now: it begins to forget. It may be told so again at any time.
    pub(super) fn begin_wipe(
        &mut self,
        txn: &mut dyn WriteTxn,
        rescued: Outcome,
    ) -> Result<(), StoreError> {
        let mut logs = self.frontier.keys();
        let has_any = logs.any(|log| self.is_shared(log.group));
        if self.is_lapsed() && has_any && wiping(txn.as_read())?.is_none() {
            txn.put(Db::Meta, meta::RETURNING, &work::encode(&rescued)?)?;
            self.chores_left = true;
        }
        Ok(())
    }

    /// The only chore of a region that lapsed.
    pub(super) fn wipe_some(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        if wiping(txn.as_read())?.is_none() {
            return Ok(Chore::Done);
        }
        if self.wipe_logs(txn)? == Chore::More {
            return Ok(Chore::More);
        }
        self.give_up_tables(txn, now)?;
        if self.purge_some(txn, now)? == Chore::More {
            return Ok(Chore::More);
        }
        self.end_wipe(txn, now)?;
        Ok(Chore::Done)
    }

    /// Whether others are given what is in a group: none but this region is left in the rest.
    fn is_shared(&self, group: GroupId) -> bool {
        let counted = self.manifest.counted().without(self.config.region);
        group.0 & counted.0 != 0
    }

    fn wipe_logs(&mut self, txn: &mut dyn WriteTxn) -> Result<Chore, StoreError> {
        let shared = self.frontier.keys().filter(|log| self.is_shared(log.group));
        let mut budget = STEP_ROWS;
        for log in shared {
            for db in [Db::Log, Db::Context] {
                if budget == 0 || !work::remove_some(txn, db, &keys::log_prefix(*log), &mut budget)?
                {
                    return Ok(Chore::More);
                }
            }
        }
        Ok(Chore::Done)
    }

    /// Forgets the definitions of shared tables; their rows go in steps.
    fn give_up_tables(&mut self, txn: &mut dyn WriteTxn, now: Now) -> Result<(), StoreError> {
        let mut kept = BTreeSet::new();
        for row in read::rows(txn.as_read(), Db::Meta, meta::TABLES, usize::MAX)? {
            let Some(bytes) = txn.get(Db::Meta, &row)? else {
                continue;
            };
            let known = entry::decode_entry(bytes)?;
            let group = known.def.as_ref().map(|def| def.group);
            if !self.is_shared(group.unwrap_or(known.version.dot.log.group)) {
                kept.insert(known.uid);
                continue;
            }
            if let Some(def) = &known.def {
                self.follow_stream(txn, now, &def.name, None, false)?;
            }
            self.give_up_table(txn, known.uid)?;
            txn.delete(Db::Meta, &row)?;
        }
        // Items may have come before their table.
        for uid in stored_uids(txn.as_read())? {
            if !kept.contains(&uid) {
                self.give_up_table(txn, uid)?;
            }
        }
        self.forget_tables();
        Ok(())
    }

    fn give_up_table(&mut self, txn: &mut dyn WriteTxn, uid: TableUid) -> Result<(), StoreError> {
        let local = meta::local(uid);
        let settings = txn.get(Db::Meta, &local)?.map(<[u8]>::to_vec);
        self.purge_table(txn, uid, None)?;
        if let Some(settings) = settings {
            txn.put(Db::Meta, &local, &settings)?;
        }
        txn.delete(Db::Meta, &meta::uid(uid))?;
        Ok(())
    }

    /// Nothing is left: this region is as one whose disk was lost.
    fn end_wipe(&mut self, txn: &mut dyn WriteTxn, now: Now) -> Result<(), StoreError> {
        let logs: Vec<_> = self.frontier.keys().copied().collect();
        for log in logs.into_iter().filter(|log| self.is_shared(log.group)) {
            txn.delete(Db::Meta, &meta::frontier(log))?;
            txn.delete(Db::Meta, &meta::log_start(log))?;
        }
        for row in read::rows(txn.as_read(), Db::Meta, meta::JOINING, usize::MAX)? {
            txn.delete(Db::Meta, &row)?;
        }
        txn.put(Db::Meta, meta::NEWBORN, &[])?;
        if let Some(rescued) = wiping(txn.as_read())? {
            txn.put(Db::Meta, meta::RETURNED, &work::encode(&rescued)?)?;
        }
        txn.delete(Db::Meta, meta::RETURNING)?;
        self.mint(txn, now, 0)?;
        self.forget_the_future(txn.as_read(), now)?;
        self.frontier = log::frontier(txn.as_read())?;
        self.dirty.clear();
        self.contexts.clear();
        self.counts.clear();
        self.stable = super::Stability::default();
        self.rebuilding = false;
        self.collecting = None;
        self.forget_tables();
        self.wiped = true;
        Ok(())
    }

    /// A clock that was far ahead left stamps that nobody else took in. Where they are gone with what they were on,
    /// this region need not go on from there. The new bound is stored with the group.
    fn forget_the_future(&mut self, txn: &dyn ReadTxn, now: Now) -> Result<(), StoreError> {
        let lead_us = self.hlc.last().physical_us.saturating_sub(now.wall_us);
        let tables = read::rows(txn, Db::Meta, meta::TABLES, 1)?;
        if lead_us > QUARANTINE_US && tables.is_empty() {
            crate::mark!("future forgotten");
            self.hlc = Hlc::new(self.config.region);
            self.hlc.observe(Stamp::MIN, now);
            self.clock_bound = 0;
        }
        Ok(())
    }
}

/// The uids of all tables that have items here.
fn stored_uids(txn: &dyn ReadTxn) -> Result<Vec<TableUid>, StoreError> {
    let mut uids = Vec::new();
    let mut from: Option<Vec<u8>> = None;
    while let Some(row) = super::stable::first_row(txn, Db::Items, from.as_deref())? {
        let prefix = row.first_chunk::<{ keys::TABLE_PREFIX_LEN }>();
        let Some(prefix) = prefix else { break };
        uids.push(TableUid(u64::from_be_bytes(*prefix)));
        from = keys::after_prefix(prefix);
        if from.is_none() {
            break;
        }
    }
    Ok(uids)
}
