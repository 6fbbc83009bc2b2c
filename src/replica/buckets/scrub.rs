//! The chore that counts buckets again, a few rows at a time, however many a bucket has: what writers change
//! meanwhile behind the place that was reached is counted as they change it.
//!
//! Where the items are not what their sum says, the disk has changed them: the bucket is *suspect*, and by how
//! much it is off says later whether what a peer has is what was here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::{Fingerprints, bucket_of, bucket_row, sum, table_of, unreadable};
use crate::clock::Now;
use crate::replica::catalog::TableUid;
use crate::replica::chores::Chore;
use crate::replica::keys::meta;
use crate::replica::read::scan_after;
use crate::replica::{Replica, TableState, stable};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// Between the beginnings of two countings of everything, unless one takes longer: as often as peers compare.
pub const SCRUB_US: u64 = 600_000_000;
/// Rows that are counted in one step.
const STEP_ROWS: usize = 64;
/// A bucket of so many rows is counted at once where someone waits for it; a larger one by the chore.
const AT_ONCE_ROWS: usize = 256;
/// For how long a large bucket counts as counted: two rounds of anti-entropy.
const COUNTED_US: u64 = 1_200_000_000;
/// Large buckets that are remembered; with more, the memory begins anew.
const COUNTED_MAX: usize = 1_024;

/// A bucket as far as it is counted.
#[derive(Debug)]
pub(super) struct Count {
    uid: TableUid,
    bucket: u16,
    /// The last row that is in the sum; none at first.
    after: Option<Vec<u8>>,
    sum: u128,
}

impl Count {
    pub fn new(uid: TableUid, bucket: u16) -> Self {
        Count {
            uid,
            bucket,
            after: None,
            sum: 0,
        }
    }

    /// Counts up to `budget` rows, and takes them off it. True at the end of the bucket.
    fn go_on(
        &mut self,
        hash: Fingerprints,
        txn: &dyn ReadTxn,
        budget: &mut usize,
    ) -> Result<bool, StoreError> {
        let prefix = bucket_row(self.uid, self.bucket);
        let (after, mut ended) = (self.after.clone(), true);
        scan_after(
            txn,
            Db::Items,
            &prefix,
            after.as_deref(),
            &mut |row, stored| {
                if *budget == 0 {
                    ended = false;
                    return ControlFlow::Break(());
                }
                *budget -= 1;
                self.sum = self.sum.wrapping_add(hash.weigh_stored(row, stored));
                self.after = Some(row.to_vec());
                ControlFlow::Continue(())
            },
        )?;
        Ok(ended)
    }

    /// The bucket is counted: it is suspect, or not any more.
    fn conclude(&self, txn: &mut dyn WriteTxn) -> Result<(), StoreError> {
        let suspect = meta::suspect(self.uid, self.bucket);
        let off = sum(txn.as_read(), self.uid, self.bucket)?.wrapping_sub(self.sum);
        if off == 0 {
            txn.delete(Db::Meta, &suspect)?;
        } else {
            txn.put(Db::Meta, &suspect, &off.to_be_bytes())?;
        }
        Ok(())
    }
}

/// Where the chore is.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    /// The bucket under way.
    count: Option<Count>,
    /// The row in `buckets` of the last one that was counted in its turn.
    done: Option<Vec<u8>>,
    /// When the next counting of everything begins, on the monotonic clock.
    next_us: u64,
    /// Large buckets that someone waits for: they go first.
    wanted: BTreeSet<(TableUid, u16)>,
    /// When those were counted last, on the monotonic clock.
    counted: BTreeMap<(TableUid, u16), u64>,
}

impl Scrub {
    /// The weight of an item changes: where it is counted already, so does the count.
    pub fn change(&mut self, row: &[u8], less: u128, more: u128) {
        let Some(count) = &mut self.count else { return };
        let inside = table_of(row) == Some(count.uid) && bucket_of(row) == count.bucket;
        if inside && count.after.as_deref().is_some_and(|after| row <= after) {
            count.sum = count.sum.wrapping_sub(less).wrapping_add(more);
        }
    }

    /// What was counted may not be so: the bucket under way is counted anew.
    pub fn restart(&mut self) {
        if let Some(count) = &mut self.count {
            *count = Count::new(count.uid, count.bucket);
        }
    }

    pub fn forget(&mut self, uid: TableUid) {
        self.count = self.count.take().filter(|count| count.uid != uid);
        self.wanted.retain(|(table, _)| *table != uid);
        self.counted.retain(|(table, _), _| *table != uid);
    }
}

impl Replica {
    /// One step of the chore. Never in a hurry.
    pub(in crate::replica) fn scrub(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        self.buckets.save(txn)?;
        let mut budget = STEP_ROWS;
        while budget > 0 {
            let Some(mut count) = self.next_count(txn.as_read(), now)? else {
                break;
            };
            // An empty bucket costs a look too.
            budget -= 1;
            if !self.is_here(txn.as_read(), count.uid)? {
                self.buckets.scrub.wanted.remove(&(count.uid, count.bucket));
                continue;
            }
            if !count.go_on(self.buckets.hash, txn.as_read(), &mut budget)? {
                self.buckets.scrub.count = Some(count);
                break;
            }
            count.conclude(txn)?;
            let scrub = &mut self.buckets.scrub;
            let named = (count.uid, count.bucket);
            if scrub.wanted.remove(&named) {
                if scrub.counted.len() >= COUNTED_MAX {
                    scrub.counted.clear();
                }
                scrub.counted.insert(named, now.mono_us);
            }
        }
        Ok(Chore::Done)
    }

    /// The bucket to go on with, which is no longer under way.
    fn next_count(&mut self, txn: &dyn ReadTxn, now: Now) -> Result<Option<Count>, StoreError> {
        let scrub = &mut self.buckets.scrub;
        if let Some(count) = scrub.count.take() {
            return Ok(Some(count));
        }
        if let Some((uid, bucket)) = scrub.wanted.first() {
            return Ok(Some(Count::new(*uid, *bucket)));
        }
        if scrub.done.is_none() {
            if now.mono_us < scrub.next_us {
                return Ok(None);
            }
            scrub.next_us = now.mono_us.saturating_add(self.config.limits.scrub_us);
        }
        let Some(row) = stable::first_row(txn, Db::Buckets, scrub.done.as_deref())? else {
            scrub.done = None;
            return Ok(None);
        };
        let uid = table_of(&row).ok_or_else(unreadable)?;
        scrub.done = Some([row.as_slice(), &[0]].concat());
        Ok(Some(Count::new(uid, bucket_of(&row))))
    }

    /// Whether the table has a replica here that is not being removed.
    fn is_here(&mut self, txn: &dyn ReadTxn, uid: TableUid) -> Result<bool, StoreError> {
        let state = self.table_by_uid(txn, uid)?;
        let region = self.config.region;
        Ok(matches!(state, TableState::Live(def) if def.group.contains(region)))
    }

    /// Whether it is known of late that what is in a bucket is what was written. Where it has many rows, the
    /// chore counts it first, for whoever asks again.
    pub(super) fn is_counted(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        (uid, bucket): (TableUid, u16),
    ) -> Result<bool, StoreError> {
        let (mut count, mut budget) = (Count::new(uid, bucket), AT_ONCE_ROWS);
        if count.go_on(self.buckets.hash, txn.as_read(), &mut budget)? {
            count.conclude(txn)?;
            return Ok(true);
        }
        let scrub = &mut self.buckets.scrub;
        let at_us = scrub.counted.get(&(uid, bucket)).copied();
        let lately = at_us.is_some_and(|at_us| now.mono_us.saturating_sub(at_us) < COUNTED_US);
        if !lately && scrub.wanted.insert((uid, bucket)) {
            // From its beginning: what was lost meanwhile may be in the count already.
            scrub.restart();
        }
        Ok(lately)
    }
}
