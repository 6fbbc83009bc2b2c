//! Removing the rows of what is gone: of dropped tables and of deleted indexes, in steps. The rows are
//! invisible from the moment they are given up: a dropped table's name leads elsewhere, a deleted index is
//! in no definition.

use super::catalog::{IndexDef, TableUid};
use super::chores::Chore;
use super::conflict::{self, Conflict};
use super::keys::{self, meta};
use super::record::Record;
use super::work::{self, Lost, Purge};
use super::{Replica, deletion, members, read, ttl};
use crate::clock::Now;
use crate::store::{Db, StoreError, WriteTxn};

impl Replica {
    /// Gives up the rows of a table that is gone from here. With `lost`, another table took its name (two
    /// regions created it unseen by each other), and its items go to the conflict log: nothing is lost
    /// silently.
    pub(super) fn purge_table(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        lost: Option<Lost>,
    ) -> Result<(), StoreError> {
        let row = meta::purge_table(uid);
        if txn.get(Db::Meta, &row)?.is_some() {
            return Ok(());
        }
        for prefix in [meta::counts_of(uid), meta::builds_of(uid), row.clone()] {
            let mut all = usize::MAX;
            work::remove_some(txn, Db::Meta, &prefix, &mut all)?;
        }
        txn.delete(Db::Meta, &meta::relog(uid))?;
        members::forget(txn, uid)?;
        ttl::forget(txn, uid)?;
        deletion::forget(txn, uid)?;
        txn.delete(Db::Meta, &meta::local(uid))?;
        self.counts.retain(|(table, _), _| *table != uid);
        self.builds.remove(&uid);
        self.buckets.forget(uid);
        txn.put(Db::Meta, &row, &work::encode(&Purge::Table(lost))?)?;
        self.wake_chores();
        Ok(())
    }

    /// Gives up the rows of an index; its build ends, if it is being built.
    pub(super) fn purge_index(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        index: &IndexDef,
    ) -> Result<(), StoreError> {
        self.end_build(txn, uid, index.id)?;
        self.counts.remove(&(uid, index.id));
        txn.delete(Db::Meta, &meta::counts(uid, index.id))?;
        let purge = work::encode(&Purge::Index(index.clone()))?;
        txn.put(Db::Meta, &meta::purge_index(uid, index.id), &purge)?;
        self.wake_chores();
        Ok(())
    }

    /// The chore: removes rows until this group's share is used up.
    pub(super) fn purge_some(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        let mut budget = self.config.limits.chore_rows;
        while let Some(row) = read::rows(txn.as_read(), Db::Meta, meta::PURGES, 1)?.pop() {
            if budget == 0 {
                return Ok(Chore::More);
            }
            crate::mark!("rows purged");
            purge_step(txn, now, &row, &mut budget)?;
        }
        Ok(Chore::Done)
    }

    /// Removes what is left of an earlier stay of a table here, all at once: its replica comes back while
    /// its old rows are still being removed, and they must not mix with what comes.
    pub(super) fn finish_purge(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        uid: TableUid,
    ) -> Result<(), StoreError> {
        let row = meta::purge_table(uid);
        while txn.get(Db::Meta, &row)?.is_some() {
            crate::mark!("replica back too soon");
            let mut budget = self.config.limits.chore_rows;
            purge_step(txn, now, &row, &mut budget)?;
        }
        Ok(())
    }
}

/// One step of one purge, which is forgotten when nothing is left to remove.
fn purge_step(
    txn: &mut dyn WriteTxn,
    now: Now,
    row: &[u8],
    budget: &mut usize,
) -> Result<(), StoreError> {
    let (uid, index) = work::parse(meta::PURGES, row)?;
    let purge: Purge = work::decode(txn.get(Db::Meta, row)?.unwrap_or_default())?;
    if let Purge::Table(Some(lost)) = &purge {
        record_losses(txn, now, uid, lost, budget)?;
    }
    let places = match index {
        Some(index) => vec![(Db::Index, keys::index_prefix(uid, index))],
        None => vec![
            (Db::Items, keys::table_prefix(uid)),
            (Db::Index, keys::table_prefix(uid)),
            (Db::Ttl, keys::table_prefix(uid)),
            (Db::Gc, keys::table_prefix(uid)),
            (Db::Buckets, keys::table_prefix(uid)),
            (Db::Meta, meta::collections_of(uid)),
            (Db::Meta, meta::suspects_of(uid)),
        ],
    };
    for (db, prefix) in places {
        if *budget == 0 || !work::remove_some(txn, db, &prefix, budget)? {
            return Ok(());
        }
    }
    txn.delete(Db::Meta, row).map(|_| ())
}

/// Records the next items of a lost table as conflicts, and removes them; all of them unless the budget is
/// used up.
fn record_losses(
    txn: &mut dyn WriteTxn,
    now: Now,
    uid: TableUid,
    lost: &Lost,
    budget: &mut usize,
) -> Result<(), StoreError> {
    let prefix = keys::table_prefix(uid);
    for (row, stored) in work::step(txn.as_read(), Db::Items, &prefix, &[], budget)? {
        let record = Record::decode(&stored)?;
        txn.delete(Db::Items, &row)?;
        let Some(image) = record.image else { continue };
        let conflict = Conflict {
            table: lost.name.clone(),
            uid,
            key: read::item_key(&row, &record),
            winner: lost.winner,
            loser: record.version,
            winner_image: None,
            loser_image: Some(image.to_vec()),
            detected_us: now.wall_us,
        };
        conflict::record(txn, &conflict)?;
    }
    Ok(())
}
