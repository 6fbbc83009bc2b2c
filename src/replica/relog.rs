//! Logging versions again, in the group their table moved to, so that a new replica gets them: its source
//! sends all it has, every other member what it made itself and may still be on its way.
//!
//! Only once the new replica has said that it knows of the table ([`super::members`]), for what comes to a
//! region that does not know that it is a member again is dropped there. In steps, in row order. A version
//! that replaces one before the cursor meets the walk later; one that replaces another behind it is in the
//! new group's logs by itself, as its origin knows of the new replica too, or its origin sends it again when
//! it hears of that. So nothing is missed, and what travels twice is known by its version and changes
//! nothing.

use super::apply::Incoming;
use super::catalog::TableUid;
use super::chores::Chore;
use super::keys::{self, meta};
use super::mutation::{Dot, Mutation};
use super::record::Record;
use super::work::{self, Relog};
use super::{Replica, TableState, log, merge, read};
use crate::clock::{Now, Stamp};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// Versions that travel again in one commit.
const RELOG_CHUNK: usize = 256;

/// What the commit that made the version at `row` made besides, where it is still there. A commit that is not in the
/// log any more came to all long ago.
fn made_with(
    txn: &dyn ReadTxn,
    uid: TableUid,
    row: &[u8],
    dot: Dot,
) -> Result<Vec<Mutation>, StoreError> {
    let mut found = Vec::new();
    let Some(sealed) = txn.get(Db::Log, &keys::dot_row(dot))? else {
        return Ok(found);
    };
    let commit = log::open(sealed).map_err(read::damaged)?;
    for mutation in &commit.mutations {
        let Some(item) = Incoming::of(&mutation.change, mutation.version_in(dot, commit.issued))
        else {
            continue;
        };
        let other = keys::item_row(item.table, item.key);
        if item.table != uid || other == row {
            continue;
        }
        let Some(stored) = txn.get(Db::Items, &other)? else {
            continue;
        };
        let record = Record::decode(stored)?;
        if record.version == item.version {
            found.push(item.mutation());
        }
    }
    Ok(found)
}

impl Replica {
    /// A new member has heard of the table: begins, or begins again. `all`: not only what this region made.
    pub(super) fn begin_relog(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        all: bool,
    ) -> Result<(), StoreError> {
        let row = meta::relog(uid);
        let under_way = match txn.get(Db::Meta, &row)? {
            Some(bytes) => Some(work::decode::<Relog>(bytes)?),
            None => None,
        };
        let relog = Relog {
            all: all || under_way.is_some_and(|r| r.all),
            since: self.hlc.last(),
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
        // Who is given what it lost itself sends nothing until it has it.
        if self.rebuilding || txn.get(Db::Meta, meta::NEWBORN)?.is_some() {
            return Ok(Chore::Done);
        }
        let (uid, _) = work::parse(meta::RELOGS, &row)?;
        let mut relog: Relog = work::decode(txn.get(Db::Meta, &row)?.unwrap_or_default())?;
        if self.relog_step(txn, now, uid, &mut relog)? {
            txn.delete(Db::Meta, &row)?;
            if let (true, TableState::Live(def)) =
                (relog.all, self.table_by_uid(txn.as_read(), uid)?)
            {
                self.all_sent(txn, now, &def)?;
            }
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
            let writes = merge::form::writes(record.version, record.marks)?;
            let mine = |(dot, _): &&(Dot, Stamp)| dot.log.origin.region == self.config.region;
            let there =
                |(dot, issued): &(Dot, Stamp)| dot.log.group == def.group && *issued > relog.since;
            // All that this region wrote of it is in the new group's logs, if it wrote any of it.
            let mut mine = writes.iter().filter(mine).peekable();
            let wrote = mine.peek().is_some();
            if !(wrote && mine.all(there)) && (relog.all || wrote) {
                moving.push(record.mutation(uid, read::item_key(row, &record)));
                // The new member may be read already: what was made together comes together (I6).
                if !relog.all {
                    moving.extend(made_with(txn.as_read(), uid, row, record.version.dot)?);
                }
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
