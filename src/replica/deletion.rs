//! Tables that show DELETING for a while, where a region slows the states of tables down (api.md section 4).
//!
//! The table goes when its time has come, by a chore; until then this region alone knows, in one row of
//! `meta`. Nothing of it is replicated: other regions show the table until it is gone.

use super::catalog::{TableDef, TableUid};
use super::chores::Chore;
use super::keys::meta;
use super::{Replica, TableState, read};
use crate::clock::Now;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// Whether a table is about to go.
pub fn is_deleting(txn: &dyn ReadTxn, uid: TableUid) -> Result<bool, StoreError> {
    Ok(txn.get(Db::Meta, &meta::deletion(uid))?.is_some())
}

/// Forgets the deletion of a table that is gone.
pub(super) fn forget(txn: &mut dyn WriteTxn, uid: TableUid) -> Result<(), StoreError> {
    txn.delete(Db::Meta, &meta::deletion(uid)).map(|_| ())
}

impl Replica {
    /// Deletes a table when the region's table delay has passed.
    pub(super) fn delete_later(
        &self,
        txn: &mut dyn WriteTxn,
        now: Now,
        def: &TableDef,
    ) -> Result<(), StoreError> {
        let due_us = now.wall_us.saturating_add(self.config.table_delay_us);
        txn.put(Db::Meta, &meta::deletion(def.uid), &due_us.to_be_bytes())
    }

    /// Deletes one table whose time has come. Without a delay, as after a restart with other settings, it
    /// has come for all.
    pub(super) fn finish_deletions(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        for row in read::rows(txn.as_read(), Db::Meta, meta::DELETIONS, usize::MAX)? {
            let due_us = read::meta_u64(txn.as_read(), &row)?.unwrap_or(0);
            if self.config.table_delay_us > 0 && now.wall_us < due_us {
                continue;
            }
            let uid = meta::deletion_table(&row)
                .ok_or_else(|| StoreError::Damaged("a deletion of no table".into()))?;
            forget(txn, uid)?;
            if let TableState::Live(def) = self.table_by_uid(txn.as_read(), uid)? {
                self.remove_table(txn, now, &def)?;
            }
            return Ok(Chore::More);
        }
        Ok(Chore::Done)
    }
}
