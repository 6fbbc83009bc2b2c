//! Heavy work under way in this region, as `meta` remembers it across restarts: indexes being built, rows
//! being removed, versions travelling again. None of it is replicated: every region does its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use bincode::{Decode, Encode};

use super::catalog::{IndexDef, TableUid};
use super::keys::{self, meta};
use super::mutation::Version;
use super::read::{self, Rows};
use crate::clock::Stamp;
use crate::store::{Db, Range, ReadTxn, StoreError, WriteTxn};

/// Among the indexes of a table, what stands for the sizes of its item collections. Ids begin at 1.
pub(super) const COLLECTIONS: u32 = 0;
/// A row costs a step as much as this many bytes do.
const ROW_BYTES: usize = 2 * 1024;

/// Per table and index, the last item row that its build has seen (empty = none yet). What is not here
/// is complete.
pub(super) type Builds = BTreeMap<TableUid, BTreeMap<u32, Vec<u8>>>;

/// Rows to remove. They are invisible already.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) enum Purge {
    /// All of a table that is gone from here.
    Table(Option<Lost>),
    /// All of an index that is gone.
    Index(IndexDef),
}

/// A table whose name another took: its items go to the conflict log.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct Lost {
    pub name: String,
    pub winner: Version,
}

/// Versions to be logged again in the group their table moved to.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct Relog {
    /// All versions here, or only those this region made.
    pub all: bool,
    /// When it began: what this region issued later goes to the new member by itself.
    pub since: Stamp,
    /// The last item row that was looked at.
    pub after: Vec<u8>,
}

pub(super) fn encode(value: &impl Encode) -> Result<Vec<u8>, StoreError> {
    bincode::encode_to_vec(value, bincode::config::standard()).map_err(read::damaged)
}

pub(super) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, StoreError> {
    bincode::decode_from_slice(bytes, bincode::config::standard())
        .map(|(value, _)| value)
        .map_err(|e| StoreError::Damaged(format!("unfinished work cannot be read: {e}")))
}

/// Every build under way.
pub(super) fn builds(txn: &dyn ReadTxn) -> Result<Builds, StoreError> {
    let mut builds = Builds::new();
    for (row, cursor) in all(txn, meta::BUILDS)? {
        let (uid, Some(index)) = parse(meta::BUILDS, &row)? else {
            return Err(unreadable());
        };
        builds.entry(uid).or_default().insert(index, cursor);
    }
    Ok(builds)
}

/// Per index of one table that is being built, the last item row its build has seen.
pub(super) fn builds_of(
    txn: &dyn ReadTxn,
    uid: TableUid,
) -> Result<BTreeMap<u32, Vec<u8>>, StoreError> {
    let prefix = meta::builds_of(uid);
    let mut builds = BTreeMap::new();
    for (row, cursor) in all(txn, &prefix)? {
        if let (_, Some(index)) = parse(meta::BUILDS, &row)? {
            builds.insert(index, cursor);
        }
    }
    Ok(builds)
}

/// The indexes of one table whose rows are being removed.
pub(super) fn deleting(txn: &dyn ReadTxn, uid: TableUid) -> Result<Vec<IndexDef>, StoreError> {
    let prefix = meta::purge_table(uid);
    let mut indexes = Vec::new();
    for (_, value) in all(txn, &prefix)? {
        if let Purge::Index(index) = decode(&value)? {
            indexes.push(index);
        }
    }
    Ok(indexes)
}

/// Whether an index may not be read yet.
pub(super) fn is_building(
    txn: &dyn ReadTxn,
    uid: TableUid,
    index: u32,
) -> Result<bool, StoreError> {
    Ok(txn.get(Db::Meta, &meta::build(uid, index))?.is_some())
}

/// Whether an index of the table is being built or removed.
pub(super) fn is_busy(txn: &dyn ReadTxn, uid: TableUid) -> Result<bool, StoreError> {
    let any = |prefix: &[u8]| Ok(!read::rows(txn, Db::Meta, prefix, 1)?.is_empty());
    Ok(any(&meta::builds_of(uid))? || any(&meta::purge_table(uid))?)
}

/// The ids of indexes whose rows are being removed.
pub(super) fn deleting_ids(txn: &dyn ReadTxn, uid: TableUid) -> Result<BTreeSet<u32>, StoreError> {
    Ok(deleting(txn, uid)?.into_iter().map(|i| i.id).collect())
}

pub(super) fn parse(prefix: &[u8], row: &[u8]) -> Result<(TableUid, Option<u32>), StoreError> {
    meta::parse(prefix, row).ok_or_else(unreadable)
}

fn unreadable() -> StoreError {
    StoreError::Damaged("unfinished work has an unreadable name".into())
}

fn all(txn: &dyn ReadTxn, prefix: &[u8]) -> Result<Rows, StoreError> {
    let mut budget = usize::MAX;
    step(txn, Db::Meta, prefix, &[], &mut budget)
}

/// The next rows with a prefix after `after`, as many as `budget` allows, which they are taken off: each
/// costs one, and one more for every [`ROW_BYTES`]. At least one, if there is one.
pub(super) fn step(
    txn: &dyn ReadTxn,
    db: Db,
    prefix: &[u8],
    after: &[u8],
    budget: &mut usize,
) -> Result<Rows, StoreError> {
    let end = keys::after_prefix(prefix);
    let range = Range {
        from: if after.is_empty() {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        },
        to: end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        reverse: false,
    };
    let mut rows = Rows::new();
    txn.scan(db, range, &mut |row, value| {
        *budget = budget.saturating_sub(1 + value.len() / ROW_BYTES);
        rows.push((row.to_vec(), value.to_vec()));
        if *budget > 0 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(rows)
}

/// Removes rows with a prefix, as many as `budget` allows, and takes them off it. True when none are left.
pub(super) fn remove_some(
    txn: &mut dyn WriteTxn,
    db: Db,
    prefix: &[u8],
    budget: &mut usize,
) -> Result<bool, StoreError> {
    let rows = read::rows(txn.as_read(), db, prefix, *budget)?;
    let done = rows.len() < *budget;
    for row in &rows {
        txn.delete(db, row)?;
    }
    *budget -= rows.len();
    Ok(done)
}
