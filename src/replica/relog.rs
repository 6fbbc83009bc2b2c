//! Logging versions again, in the group their table moved to, so that a new replica gets them: the region
//! that made the change sends all it has, every other what it made itself and may still be on its way.
//!
//! In steps, in row order. A version that replaces one before the cursor meets the walk later; one that
//! replaces another behind it is in the new group's logs by itself, as it is issued after the move, or its
//! origin logs it again when it hears of the move. So nothing is missed, and what travels twice is known
//! by its version and changes nothing.

use super::catalog::{TableDef, TableUid};
use super::chores::Chore;
use super::keys::{self, meta};
use super::mutation::{Change, Mutation, Version};
use super::record::Record;
use super::work::{self, Relog};
use super::{Replica, TableState, read};
use crate::clock::Now;
use crate::store::{Db, StoreError, WriteTxn};

/// Versions that travel again in one commit.
const RELOG_CHUNK: usize = 256;

impl Replica {
    /// The table moved to another group by the change `moved`: begins, or begins again, if regions came to it.
    pub(super) fn begin_relog(
        &mut self,
        txn: &mut dyn WriteTxn,
        old: &TableDef,
        new: &TableDef,
        moved: Version,
    ) -> Result<(), StoreError> {
        if new.group.0 & !old.group.0 == 0 {
            return Ok(());
        }
        let row = meta::relog(new.uid);
        let under_way = match txn.get(Db::Meta, &row)? {
            Some(bytes) => Some(work::decode::<Relog>(bytes)?),
            None => None,
        };
        let relog = Relog {
            all: moved.dot.log.origin == self.origin || under_way.is_some_and(|r| r.all),
            since: moved.issued,
            after: Vec::new(),
        };
        txn.put(Db::Meta, &row, &work::encode(&relog)?)?;
        self.wake_chores();
        Ok(())
    }

    /// The chore: one commit of versions of one table.
    pub(super) fn relog_some(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        let Some(row) = read::rows(txn.as_read(), Db::Meta, meta::RELOGS, 1)?.pop() else {
            return Ok(Chore::Done);
        };
        let (uid, _) = work::parse(meta::RELOGS, &row)?;
        let mut relog: Relog = work::decode(txn.get(Db::Meta, &row)?.unwrap_or_default())?;
        if self.relog_step(txn, now, uid, &mut relog)? {
            txn.delete(Db::Meta, &row)?;
        } else {
            txn.put(Db::Meta, &row, &work::encode(&relog)?)?;
        }
        let next = read::rows(txn.as_read(), Db::Meta, meta::RELOGS, 1)?;
        Ok(if next.is_empty() {
            Chore::Done
        } else {
            Chore::More
        })
    }

    /// True when the table has no more versions to log again.
    fn relog_step(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        uid: TableUid,
        relog: &mut Relog,
    ) -> Result<bool, StoreError> {
        let TableState::Live(def) = self.table_by_uid(txn.as_read(), uid)? else {
            return Ok(true);
        };
        let mut budget = self.config.limits.chore_rows.min(RELOG_CHUNK);
        let prefix = keys::table_prefix(uid);
        let rows = work::step(txn.as_read(), Db::Items, &prefix, &relog.after, &mut budget)?;
        let Some((last, _)) = rows.last() else {
            return Ok(true);
        };
        relog.after = last.clone();
        let mut moving = Vec::new();
        for (row, stored) in &rows {
            let record = Record::decode(stored)?;
            let version = record.version;
            let there = version.dot.log.group == def.group && version.issued > relog.since;
            let mine = version.dot.log.origin.region == self.config.region;
            if !there && (relog.all || mine) {
                let change = Change::Item {
                    table: uid,
                    key: read::item_key(row, &record),
                    image: record.image.map(<[u8]>::to_vec),
                };
                moving.push(Mutation {
                    version: Some(version),
                    change,
                });
            }
        }
        if !moving.is_empty() {
            let issued = self.hlc.tick(now);
            self.commit_local(txn, now, def.group, moving, issued)?;
        }
        // What did not use up its share was the rest.
        Ok(budget > 0)
    }
}
