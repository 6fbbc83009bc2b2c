//! Time To Live (streams-ttl-backup.md section 2): an index of items by the second they expire, kept with the
//! items (I7), and the sweep that expires what is due.
//!
//! An expiry is a [`Change::Expire`]: it takes the rank stamp of the version it expires with the kind
//! `Expire`, so it beats exactly that version and loses to every later write, whatever the clocks of the two
//! regions say (replication.md section 4). The region that wrote the version expires it; the others do so
//! only when it has not for ten minutes. Two regions that expire the same version make the same outcome.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};

use super::catalog::{TableDef, TableUid};
use super::chores::Chore;
use super::keys::{self, meta};
use super::mutation::{Change, ItemKey, Mutation};
use super::read::{self, Rows, damaged};
use super::record::Record;
use super::{PlantedBug, Replica, TableState};
use crate::clock::Now;
use crate::item::{Item, Value, codec};
use crate::store::{Db, Range, ReadTxn, StoreError, WriteTxn};

/// Between two sweeps unless configured otherwise: 60 s.
pub const INTERVAL_US: u64 = 60_000_000;
/// Rows that one step of a sweep looks at, and so the most items of one commit of expiries.
const SWEEP_STEP: usize = 64;
/// Rows that one step of a rebuild removes, and items that it reads.
const REBUILD_STEP: usize = 256;
/// What expired longer ago is taken for a mistake and never removed, seconds.
const TOO_OLD_S: u64 = 5 * 365 * 86_400;
/// How long the region that wrote a version has to expire it before others do: ten minutes.
const OTHERS_AFTER_S: u64 = 600;

/// How a region expires items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlSettings {
    /// Between two sweeps.
    pub interval_us: u64,
    /// For how long after a change of a table's Time To Live the next one is refused. DynamoDB refuses it
    /// for about an hour; the default is 0.
    pub cool_down_us: u64,
    /// How long the region that wrote a version has to expire it before others do, seconds. Only the
    /// simulator has other values, so that regions expire the same versions often.
    pub others_after_s: u64,
}

impl Default for TtlSettings {
    fn default() -> Self {
        TtlSettings {
            interval_us: INTERVAL_US,
            cool_down_us: 0,
            others_after_s: OTHERS_AFTER_S,
        }
    }
}

/// Where the sweep stands. Kept in memory only: a restart begins a new one, which finds the same rows.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When the next one begins, on the monotonic clock.
    next_us: u64,
    /// Tables to look at yet.
    left: VecDeque<TableUid>,
    /// The last row looked at in the first of them.
    after: Option<Vec<u8>>,
}

/// What a rebuild is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    /// Removes every row of the table: they are of another attribute, or of none.
    Clear,
    /// Makes the rows of the items after this one.
    Build(Vec<u8>),
}

impl Work {
    fn encode(&self) -> Vec<u8> {
        match self {
            Work::Clear => vec![0],
            Work::Build(after) => [&[1], after.as_slice()].concat(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Work, StoreError> {
        match bytes.split_first() {
            Some((0, [])) => Ok(Work::Clear),
            Some((1, after)) => Ok(Work::Build(after.to_vec())),
            _ => Err(StoreError::Damaged(
                "the state of a rebuild of Time To Live cannot be read".into(),
            )),
        }
    }
}

/// The second at which an item expires: the attribute's integer part where it is a number that is not
/// negative. Anything else never expires.
fn second(def: &TableDef, item: &Item) -> Option<u64> {
    let Value::N(number) = item.get(def.ttl.attribute.as_ref()?)? else {
        return None;
    };
    u64::try_from(number.to_i64()?).ok()
}

/// Whether what expires at `second` is to be removed at `now_s`.
fn is_due(second: u64, now_s: u64) -> bool {
    second < now_s && second > now_s.saturating_sub(TOO_OLD_S)
}

/// The row that the index should hold for an item, and its value: the row of the item in `items`.
pub(super) fn expected_row(
    def: &TableDef,
    key: &ItemKey,
    item: &Item,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let row = keys::ttl_row(def.uid, second(def, item)?, key);
    Some((row, keys::item_row(def.uid, key)))
}

/// Moves the row of one item from its old image to its new one.
pub(super) fn update(
    txn: &mut dyn WriteTxn,
    def: &TableDef,
    key: &ItemKey,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
) -> Result<(), StoreError> {
    if def.ttl.attribute.is_none() {
        return Ok(());
    }
    let expected = |image: Option<&[u8]>| -> Result<_, StoreError> {
        let item = image.map(codec::decode).transpose().map_err(damaged)?;
        Ok(item.and_then(|item| expected_row(def, key, &item)))
    };
    let (old, new) = (expected(old)?, expected(new)?);
    if old == new {
        return Ok(());
    }
    if let Some((row, _)) = old {
        txn.delete(Db::Ttl, &row)?;
    }
    if let Some((row, item_row)) = new {
        txn.put(Db::Ttl, &row, &item_row)?;
    }
    Ok(())
}

/// Notes that the index of a table must be made anew; a chore does it.
pub(super) fn begin_rebuild(txn: &mut dyn WriteTxn, uid: TableUid) -> Result<(), StoreError> {
    txn.put(Db::Meta, &meta::ttl_work(uid), &Work::Clear.encode())
}

/// Forgets a rebuild of a table that is gone.
pub(super) fn forget(txn: &mut dyn WriteTxn, uid: TableUid) -> Result<(), StoreError> {
    txn.delete(Db::Meta, &meta::ttl_work(uid)).map(|_| ())
}

/// Whether the index of a table is being made or removed: DescribeTimeToLive says ENABLING or DISABLING, and
/// nothing expires meanwhile.
pub fn is_rebuilding(txn: &dyn ReadTxn, uid: TableUid) -> Result<bool, StoreError> {
    Ok(txn.get(Db::Meta, &meta::ttl_work(uid))?.is_some())
}

/// The seconds at which the index of a table has items expire, in order; for the simulator's oracles.
pub fn seconds(txn: &dyn ReadTxn, def: &TableDef) -> Result<Vec<u64>, StoreError> {
    let rows = read::rows(txn, Db::Ttl, &keys::table_prefix(def.uid), usize::MAX)?;
    let second = |row: &Vec<u8>| keys::ttl_second(row);
    let seconds = rows.iter().map(second).collect::<Option<_>>();
    seconds.ok_or_else(|| StoreError::Damaged("a row of what expires is cut short".into()))
}

/// The rows that the index of a table holds, and those that a rebuild from its items gives, for `check`.
/// They differ while a rebuild is under way.
pub(super) fn rows_and_rebuilt(
    txn: &dyn ReadTxn,
    def: &TableDef,
) -> Result<(Rows, Rows), StoreError> {
    let prefix = keys::table_prefix(def.uid);
    let (from, end) = (
        Bound::Included(prefix.as_slice()),
        keys::after_prefix(&prefix),
    );
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let held = scan(txn, Db::Ttl, (from, to), usize::MAX)?;
    let mut rebuilt = Vec::new();
    for (key, _, image) in read::versions(txn, def)? {
        // What cannot be read is another finding's matter.
        let item = image.and_then(|image| codec::decode(&image).ok());
        rebuilt.extend(item.and_then(|item| expected_row(def, &key, &item)));
    }
    rebuilt.sort_unstable();
    Ok((held, rebuilt))
}

fn scan(
    txn: &dyn ReadTxn,
    db: Db,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
    limit: usize,
) -> Result<Rows, StoreError> {
    let reverse = false;
    let mut rows = Vec::new();
    txn.scan(db, Range { from, to, reverse }, &mut |row, value| {
        rows.push((row.to_vec(), value.to_vec()));
        if rows.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(rows)
}

impl Replica {
    /// One step of the rebuild that is first in line.
    pub(super) fn rebuild_ttl(&mut self, txn: &mut dyn WriteTxn) -> Result<Chore, StoreError> {
        let Some(work_row) = read::rows(txn.as_read(), Db::Meta, meta::TTL_WORK, 1)?.pop() else {
            return Ok(Chore::Done);
        };
        let uid = meta::ttl_work_table(&work_row)
            .ok_or_else(|| StoreError::Damaged("a rebuild of no table".into()))?;
        let mut work = Work::decode(txn.get(Db::Meta, &work_row)?.unwrap_or_default())?;
        let def = match self.table_by_uid(txn.as_read(), uid)? {
            TableState::Live(def) if def.ttl.attribute.is_some() => Some(def),
            _ => None,
        };
        let mut next = Some(work.clone());
        if work == Work::Clear && clear_step(txn, uid)? {
            work = Work::Build(Vec::new());
            next = Some(work.clone());
        }
        if let Work::Build(after) = &work {
            next = match &def {
                Some(def) => build_step(txn, def, after)?.map(Work::Build),
                None => None,
            };
        }
        match next {
            Some(work) => txn.put(Db::Meta, &work_row, &work.encode())?,
            None => forget(txn, uid)?,
        }
        Ok(Chore::More)
    }

    /// One step of the sweep, when one is due: expires the items of one table that are.
    pub(super) fn sweep(&mut self, txn: &mut dyn WriteTxn, now: Now) -> Result<Chore, StoreError> {
        if self.sweep.left.is_empty() {
            if now.mono_us < self.sweep.next_us {
                return Ok(Chore::Done);
            }
            self.sweep.next_us = now.mono_us.saturating_add(self.config.ttl.interval_us);
            let tables = read::tables(txn.as_read(), self.config.region)?;
            let expiring = tables.iter().filter(|def| def.ttl.attribute.is_some());
            self.sweep.left = expiring.map(|def| def.uid).collect();
        }
        let Some(uid) = self.sweep.left.front().copied() else {
            return Ok(Chore::Done);
        };
        let after = self.sweep.after.take();
        self.sweep.after = self.sweep_step(txn, now, uid, after)?;
        if self.sweep.after.is_none() {
            self.sweep.left.pop_front();
        }
        Ok(if self.sweep.left.is_empty() {
            Chore::Done
        } else {
            Chore::More
        })
    }

    /// Looks at the next due rows of a table; `None` when these were the last.
    fn sweep_step(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        uid: TableUid,
        after: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let def = match self.table_by_uid(txn.as_read(), uid)? {
            TableState::Live(def) if def.group.contains(self.config.region) => def,
            _ => return Ok(None),
        };
        if is_rebuilding(txn.as_read(), uid)? {
            return Ok(None);
        }
        let now_s = now.wall_us / 1_000_000;
        let oldest = keys::ttl_prefix(uid, now_s.saturating_sub(TOO_OLD_S).saturating_add(1));
        let end = keys::ttl_prefix(uid, now_s);
        let from = match &after {
            Some(row) => Bound::Excluded(row.as_slice()),
            None => Bound::Included(oldest.as_slice()),
        };
        let to = Bound::Excluded(end.as_slice());
        let rows = scan(txn.as_read(), Db::Ttl, (from, to), SWEEP_STEP)?;
        let mut mutations = Vec::new();
        for (_, item_row) in &rows {
            mutations.extend(self.expiry(txn.as_read(), &def, now_s, item_row)?);
        }
        if !mutations.is_empty() {
            let expired = self.noted.expired.entry(def.name.clone());
            *expired.or_default() += mutations.len() as u64;
            let issued = self.hlc.tick(now);
            if self.config.planted == Some(PlantedBug::ExpiryAsWrite) {
                for mutation in &mut mutations {
                    if let Change::Expire { expired, .. } = &mut mutation.change {
                        *expired = issued;
                    }
                }
            }
            self.commit_local(txn, now, def.group, mutations, issued)?;
        }
        let last = rows.last().map(|(row, _)| row.clone());
        Ok(last.filter(|_| rows.len() >= SWEEP_STEP))
    }

    /// The expiry of the item stored at `item_row`, if it is due and this region's to make.
    fn expiry(
        &self,
        txn: &dyn ReadTxn,
        def: &TableDef,
        now_s: u64,
        item_row: &[u8],
    ) -> Result<Option<Mutation>, StoreError> {
        let Some(stored) = txn.get(Db::Items, item_row)? else {
            return Ok(None);
        };
        let record = Record::decode(stored)?;
        let Some(image) = record.image else {
            return Ok(None);
        };
        let item = codec::decode(image).map_err(damaged)?;
        let Some(second) = second(def, &item).filter(|second| is_due(*second, now_s)) else {
            return Ok(None);
        };
        let ours = record.version.dot.log.origin.region == self.config.region;
        if !ours && second.saturating_add(self.config.ttl.others_after_s) >= now_s {
            return Ok(None);
        }
        let change = Change::Expire {
            table: def.uid,
            key: read::item_key(item_row, &record),
            expired: record.version.rank.stamp,
        };
        Ok(Some(Mutation {
            version: None,
            change,
        }))
    }
}

/// Removes some rows of a table; true when none are left.
fn clear_step(txn: &mut dyn WriteTxn, uid: TableUid) -> Result<bool, StoreError> {
    let rows = read::rows(
        txn.as_read(),
        Db::Ttl,
        &keys::table_prefix(uid),
        REBUILD_STEP,
    )?;
    for row in &rows {
        txn.delete(Db::Ttl, row)?;
    }
    Ok(rows.len() < REBUILD_STEP)
}

/// Makes the rows of some items after `after`; the last of them, or `None` when there are no more.
fn build_step(
    txn: &mut dyn WriteTxn,
    def: &TableDef,
    after: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let prefix = keys::table_prefix(def.uid);
    let end = keys::after_prefix(&prefix);
    let from = if after.is_empty() {
        Bound::Included(prefix.as_slice())
    } else {
        Bound::Excluded(after)
    };
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let items = scan(txn.as_read(), Db::Items, (from, to), REBUILD_STEP)?;
    for (item_row, stored) in &items {
        let record = Record::decode(stored)?;
        let Some(image) = record.image else { continue };
        let item = codec::decode(image).map_err(damaged)?;
        let key = read::item_key(item_row, &record);
        if let Some((row, item_row)) = expected_row(def, &key, &item) {
            txn.put(Db::Ttl, &row, &item_row)?;
        }
    }
    let last = items.last().map(|(row, _)| row.clone());
    Ok(last.filter(|_| items.len() >= REBUILD_STEP))
}

#[cfg(test)]
#[path = "ttl_tests.rs"]
mod tests;
