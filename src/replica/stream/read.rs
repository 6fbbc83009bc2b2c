//! Reading streams, on the caller's own read transaction.

use std::ops::{Bound, ControlFlow};

use super::super::keys::{self, meta};
use super::super::read;
use super::catalog::{self, Shard, Stream};
use super::change::{MINUTE_US, StreamRecord, place};
use crate::store::{Db, Range, ReadTxn, StoreError};

/// Which LSNs can be read in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Records before this one are trimmed, or about to be.
    pub horizon: u64,
    /// The next record gets this one.
    pub next: u64,
}

/// Some records of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPage {
    /// LSN and record.
    pub records: Vec<(u64, StreamRecord)>,
    /// Where to read on; `None` at the end of a closed shard.
    pub next: Option<u64>,
}

pub fn bounds(txn: &dyn ReadTxn) -> Result<Bounds, StoreError> {
    let next = place(txn)?.next;
    let horizon = read::meta_u64(txn, meta::CHANGE_HORIZON)?.unwrap_or(1);
    Ok(Bounds { horizon, next })
}

/// Every stream of the region, by table name and label; those disabled less than a day ago too.
pub fn list(txn: &dyn ReadTxn) -> Result<Vec<Stream>, StoreError> {
    catalog::scan(txn, meta::STREAMS)
}

/// The streams of the tables that have had that name, oldest first.
pub fn of_table(txn: &dyn ReadTxn, table: &str) -> Result<Vec<Stream>, StoreError> {
    catalog::scan(txn, &meta::streams_of(table))
}

/// Called with the LSN and the stored record of each.
type VisitRecord<'v> = dyn FnMut(u64, &[u8]) -> Result<ControlFlow<()>, StoreError> + 'v;

/// Visits the records of a shard from an LSN on, while `visit` says so.
fn visit(
    txn: &dyn ReadTxn,
    shard: u64,
    from: u64,
    visit: &mut VisitRecord<'_>,
) -> Result<(), StoreError> {
    let from = keys::change_row(shard, from);
    let to = keys::change_row(shard, u64::MAX);
    let range = Range {
        from: Bound::Included(&from),
        to: Bound::Included(&to),
        reverse: false,
    };
    let mut failure = None;
    txn.scan(Db::Changes, range, &mut |row, value| {
        let lsn = keys::parse_change_row(row).map_or(0, |(_, lsn)| lsn);
        visit(lsn, value).unwrap_or_else(|error| {
            failure = Some(error);
            ControlFlow::Break(())
        })
    })?;
    failure.map_or(Ok(()), Err)
}

/// Records of a shard from LSN `from` on: at most `limit`, and about `bytes_max` (at least one when there
/// is one).
pub fn page(
    txn: &dyn ReadTxn,
    shard: &Shard,
    from: u64,
    limit: usize,
    bytes_max: usize,
) -> Result<RecordPage, StoreError> {
    let bounds = bounds(txn)?;
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut next = None;
    visit(
        txn,
        shard.number,
        from.max(bounds.horizon),
        &mut |lsn, value| {
            if records.len() >= limit || (!records.is_empty() && bytes + value.len() > bytes_max) {
                next = Some(lsn);
                return Ok(ControlFlow::Break(()));
            }
            bytes += value.len();
            records.push((lsn, StreamRecord::decode(value)?));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    // All of the shard was seen: the position moves on with the region, so that a quiet shard's readers
    // don't fall behind the horizon.
    if next.is_none() && shard.end.is_none() {
        next = Some(bounds.next.max(from));
    }
    Ok(RecordPage { records, next })
}

/// The LSN of the first record of a shard made at that time or later.
pub fn at_time(txn: &dyn ReadTxn, shard: &Shard, us: u64) -> Result<u64, StoreError> {
    let bounds = bounds(txn)?;
    let minute = first_of_minute(txn, us / MINUTE_US)?;
    let from = minute.unwrap_or(0).max(bounds.horizon).max(shard.first);
    let mut found = None;
    visit(txn, shard.number, from, &mut |lsn, value| {
        if StreamRecord::decode(value)?.created_us < us {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some(lsn);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found.unwrap_or(bounds.next))
}

/// The first LSN of the last minute that had records, up to and including `minute`.
fn first_of_minute(txn: &dyn ReadTxn, minute: u64) -> Result<Option<u64>, StoreError> {
    let to = meta::change_minute(minute);
    first_minute(
        txn,
        Range {
            from: Bound::Included(meta::CHANGE_MINUTES),
            to: Bound::Included(&to),
            reverse: true,
        },
    )
}

/// The first LSN of the first minute of the region's age that had records, from `minute` on.
pub(super) fn first_from_age(txn: &dyn ReadTxn, minute: u64) -> Result<Option<u64>, StoreError> {
    let from = meta::change_age(minute);
    let to = keys::after_prefix(meta::CHANGE_AGES);
    first_minute(
        txn,
        Range {
            from: Bound::Included(&from),
            to: to.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
            reverse: false,
        },
    )
}

fn first_minute(txn: &dyn ReadTxn, range: Range<'_>) -> Result<Option<u64>, StoreError> {
    let mut found = None;
    txn.scan(Db::Meta, range, &mut |_, value| {
        found = value.try_into().ok().map(u64::from_be_bytes);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Every record of the region, by shard: shard number, LSN, record. For checks and oracles.
pub fn all_records(txn: &dyn ReadTxn) -> Result<Vec<(u64, u64, StreamRecord)>, StoreError> {
    let mut records = Vec::new();
    let mut failure = None;
    txn.scan(Db::Changes, Range::ALL, &mut |row, value| {
        let Some((shard, lsn)) = keys::parse_change_row(row) else {
            failure = Some(StoreError::Damaged("a change has a strange key".into()));
            return ControlFlow::Break(());
        };
        match StreamRecord::decode(value) {
            Ok(record) => {
                records.push((shard, lsn, record));
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failure.map_or(Ok(records), Err)
}
