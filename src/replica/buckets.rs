//! Range fingerprints: what anti-entropy compares (replication.md section 9).
//!
//! Every table has 65,536 buckets, by the first two bytes of an item's hashed partition key, so that a
//! bucket is one range of rows. A bucket's sum is the sum, modulo 2^128, of a hash of every live item in it:
//! row, rank and image. Kept per table, it survives a table's moves between groups. Tombstones are not in
//! it: they come and go at each region's own time, and one that is lost matters only where an older version
//! is left, which has a sum.
//!
//! The hash is SipHash-2-4 of 128 bits, keyed with the cluster's id: clients do not know it, so nobody who
//! may write items can choose them to cancel out. The same in every region of a cluster, and in `check`.
//!
//! Sums change with the items' own transaction. A chore counts them again (`scrub`), and what a peer has where
//! the two differ is judged by both (`repair`).

mod repair;
mod scrub;

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::ops::ControlFlow;

use bincode::{Decode, Encode};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::apply::Incoming;
use super::catalog::TableUid;
use super::keys::{self, meta};
use super::mutation::{Dot, ItemKey, Version};
use super::read::{self, scan_after, scan_prefix};
use super::record::Record;
use crate::clock::{Now, RegionId};
use crate::item::codec;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};
pub use scrub::SCRUB_US;
use scrub::Scrub;

/// Where a store keeps its cluster's id, the key of the hash.
pub const CLUSTER_KEY: &[u8] = b"g/cluster";
/// Sums of how many groups are compared first, each of 256 buckets.
pub const GROUPS: usize = 256;
/// Items that are remembered as missed; with more, the memory begins anew.
const MISSED_MAX: usize = 1_024;

/// Items of one bucket as a peer has them, from some row on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Offer {
    pub table: TableUid,
    pub bucket: u16,
    /// When it was asked for, on the asker's monotonic clock: it was read after that.
    pub asked_us: u64,
    /// The row after which they are; `None` = from the bucket's beginning.
    pub after: Option<Vec<u8>>,
    pub items: Vec<Offered>,
    /// The last row that was looked at, where the bucket has more.
    pub next: Option<Vec<u8>>,
}

/// One version of one item, a tombstone perhaps.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Offered {
    pub key: ItemKey,
    pub version: Version,
    pub image: Option<Vec<u8>>,
    /// What a table that merges knows of it besides.
    pub marks: Option<Vec<u8>>,
}

impl Offered {
    fn incoming(&self, table: TableUid) -> Incoming<'_> {
        Incoming {
            table,
            key: &self.key,
            version: self.version,
            image: self.image.as_deref(),
            marks: self.marks.as_deref(),
        }
    }
}

/// What anti-entropy has found in this region, since its store began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Items put right.
    pub repaired: u64,
    /// Times a peer had an item that is not here and may have been deleted: left as it is.
    pub reported: u64,
    /// Buckets whose items are not what was written, and wait for a peer that has them.
    pub suspects: usize,
}

type Sums = BTreeMap<u16, u128>;

/// The hash of one cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprints {
    key: (u64, u64),
}

impl Fingerprints {
    pub fn of(txn: &dyn ReadTxn) -> Result<Self, StoreError> {
        let id = txn.get(Db::Meta, CLUSTER_KEY)?.unwrap_or_default();
        let id: [u8; 16] = id.try_into().unwrap_or_default();
        let [high, low] = [0, 8].map(|at| {
            let half = id.get(at..at + 8).and_then(|b| b.try_into().ok());
            u64::from_be_bytes(half.unwrap_or_default())
        });
        Ok(Fingerprints { key: (high, low) })
    }

    /// What a live item adds to its bucket; a tombstone nothing.
    fn weigh(self, row: &[u8], version: Version, image: Option<&[u8]>) -> u128 {
        let Some(image) = image else { return 0 };
        let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
        // Without the table: it becomes another where its replica leaves (`departure`), and its sums go along.
        let row = row.get(keys::TABLE_PREFIX_LEN..).unwrap_or_default();
        hasher.write(&(row.len() as u64).to_be_bytes());
        hasher.write(row);
        hasher.write(&version.rank.stamp.to_bytes());
        hasher.write(&[version.rank.kind as u8]);
        hasher.write(image);
        hasher.finish128().as_u128()
    }

    fn weigh_stored(self, row: &[u8], stored: &[u8]) -> u128 {
        // What cannot be read adds nothing, and so is missed.
        Record::decode(stored).map_or(0, |r| self.weigh(row, r.version, r.image))
    }

    /// The sums of a table, by its items.
    pub fn recount(self, txn: &dyn ReadTxn, uid: TableUid) -> Result<Sums, StoreError> {
        let mut sums = Sums::new();
        scan_prefix(
            txn,
            Db::Items,
            &keys::table_prefix(uid),
            &mut |row, stored| {
                let sum = sums.entry(bucket_of(row)).or_default();
                *sum = sum.wrapping_add(self.weigh_stored(row, stored));
                ControlFlow::Continue(())
            },
        )?;
        sums.retain(|_, sum| *sum != 0);
        Ok(sums)
    }
}

/// Sums that changed in the open group, and where the counting is.
#[derive(Debug)]
pub(super) struct Buckets {
    pub hash: Fingerprints,
    changes: BTreeMap<(TableUid, u16), u128>,
    scrub: Scrub,
    /// Rows of items that a peer had and this region had not, though it must have had them: the version, and
    /// when that was seen first, on the monotonic clock.
    missed: BTreeMap<Vec<u8>, (Dot, u64)>,
}

impl Buckets {
    pub fn load(txn: &dyn ReadTxn) -> Result<Self, StoreError> {
        Ok(Buckets {
            hash: Fingerprints::of(txn)?,
            changes: BTreeMap::new(),
            scrub: Scrub::default(),
            missed: BTreeMap::new(),
        })
    }

    /// A version is missed here that a peer had after `asked_us`. Says whether it was missed before that: an
    /// offer that was long on its way may have what every region has deleted and forgotten since; one that
    /// was asked for after the item was missed first cannot.
    fn is_missed_still(&mut self, row: Vec<u8>, dot: Dot, asked_us: u64, now: Now) -> bool {
        if self.missed.len() >= MISSED_MAX {
            self.missed.clear();
        }
        let missed = self.missed.entry(row).or_insert((dot, now.mono_us));
        if missed.0 != dot {
            *missed = (dot, now.mono_us);
        }
        asked_us > missed.1
    }

    /// An item changes.
    pub fn change(&mut self, row: &[u8], old: Option<&Record<'_>>, new: &Record<'_>) {
        let Some(uid) = table_of(row) else { return };
        let weigh = |r: &Record<'_>| self.hash.weigh(row, r.version, r.image);
        let (less, more) = (old.map_or(0, weigh), weigh(new));
        let sum = self.changes.entry((uid, bucket_of(row))).or_default();
        *sum = sum.wrapping_sub(less).wrapping_add(more);
        self.scrub.change(row, less, more);
    }

    /// Forgets what a dropped group would have changed.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.scrub.restart();
    }

    /// The table is gone, with its sums.
    pub fn forget(&mut self, uid: TableUid) {
        self.changes.retain(|(table, _), _| *table != uid);
        self.scrub.forget(uid);
    }

    /// Saves what the group changed.
    pub fn save(&mut self, txn: &mut dyn WriteTxn) -> Result<(), StoreError> {
        for ((uid, bucket), change) in std::mem::take(&mut self.changes) {
            let sum = sum(txn.as_read(), uid, bucket)?.wrapping_add(change);
            let row = bucket_row(uid, bucket);
            if sum == 0 {
                txn.delete(Db::Buckets, &row)?;
            } else {
                txn.put(Db::Buckets, &row, &sum.to_be_bytes())?;
            }
        }
        Ok(())
    }
}

/// What anti-entropy has found here.
pub fn repairs(txn: &dyn ReadTxn) -> Result<Repairs, StoreError> {
    Ok(Repairs {
        repaired: read::meta_u64(txn, meta::REPAIRS)?.unwrap_or(0),
        reported: read::meta_u64(txn, meta::REPAIRS_REPORTED)?.unwrap_or(0),
        suspects: read::rows(txn, Db::Meta, meta::SUSPECTS, usize::MAX)?.len(),
    })
}

/// How many buckets of a table have items that are not what their sums say.
pub fn wrong(txn: &dyn ReadTxn, uid: TableUid) -> Result<usize, StoreError> {
    let (kept, counted) = (sums(txn, uid)?, Fingerprints::of(txn)?.recount(txn, uid)?);
    let missed = kept
        .iter()
        .filter(|(bucket, sum)| counted.get(bucket) != Some(sum));
    let unknown = counted.keys().filter(|bucket| !kept.contains_key(bucket));
    Ok(missed.count() + unknown.count())
}

/// What a bad disk does: changes the image of a live item of a table, or loses it. Only the simulator calls
/// it. False when there is none.
pub fn damage(
    txn: &mut dyn WriteTxn,
    uid: TableUid,
    nth: usize,
    flip: bool,
) -> Result<bool, StoreError> {
    let mut live = Vec::new();
    scan_prefix(
        txn.as_read(),
        Db::Items,
        &keys::table_prefix(uid),
        &mut |row, stored| {
            if Record::decode(stored).is_ok_and(|record| record.image.is_some()) {
                live.push((row.to_vec(), stored.to_vec()));
            }
            ControlFlow::Continue(())
        },
    )?;
    let Some((row, mut stored)) = nth.checked_rem(live.len()).map(|at| live.swap_remove(at)) else {
        return Ok(false);
    };
    if let Some(last) = stored.last_mut() {
        *last ^= 1;
    }
    let image = Record::decode(&stored).ok().and_then(|record| record.image);
    if flip && image.is_some_and(|image| codec::decode(image).is_ok()) {
        txn.put(Db::Items, &row, &stored)?;
    } else {
        txn.delete(Db::Items, &row)?;
    }
    Ok(true)
}

/// The suspect buckets, at most `limit`.
pub fn suspects(txn: &dyn ReadTxn, limit: usize) -> Result<Vec<(TableUid, u16)>, StoreError> {
    let rows = read::rows(txn, Db::Meta, meta::SUSPECTS, limit)?;
    let parse = |row: &Vec<u8>| {
        let rest = row.get(meta::SUSPECTS.len()..).unwrap_or_default();
        table_of(rest).map(|uid| (uid, bucket_of(rest)))
    };
    Ok(rows.iter().filter_map(parse).collect())
}

/// The uids of the tables that this region and `peer` both have.
pub fn shared_tables(
    txn: &dyn ReadTxn,
    region: RegionId,
    peer: RegionId,
) -> Result<Vec<TableUid>, StoreError> {
    let defs = read::tables(txn, region)?.into_iter();
    let shared = defs.filter(|def| def.group.contains(peer));
    Ok(shared.map(|def| def.uid).collect())
}

/// The kept sums of a table.
pub fn sums(txn: &dyn ReadTxn, uid: TableUid) -> Result<BTreeMap<u16, u128>, StoreError> {
    let mut sums = Sums::new();
    scan_prefix(
        txn,
        Db::Buckets,
        &keys::table_prefix(uid),
        &mut |row, value| {
            sums.insert(bucket_of(row), as_sum(value));
            ControlFlow::Continue(())
        },
    )?;
    Ok(sums)
}

/// The kept sums of those groups of a table's buckets that `differ`.
pub fn sums_in(
    txn: &dyn ReadTxn,
    uid: TableUid,
    differ: &[bool],
) -> Result<BTreeMap<u16, u128>, StoreError> {
    let mut sums = Sums::new();
    for (group, _) in (0..=u8::MAX).zip(differ).filter(|(_, differs)| **differs) {
        let prefix = [keys::table_prefix(uid).as_slice(), &[group]].concat();
        scan_prefix(txn, Db::Buckets, &prefix, &mut |row, value| {
            sums.insert(bucket_of(row), as_sum(value));
            ControlFlow::Continue(())
        })?;
    }
    Ok(sums)
}

/// The sums of a table's 256 groups of buckets.
pub fn group_sums(txn: &dyn ReadTxn, uid: TableUid) -> Result<Vec<u128>, StoreError> {
    let mut groups = vec![0u128; GROUPS];
    let prefix = keys::table_prefix(uid);
    scan_prefix(txn, Db::Buckets, &prefix, &mut |row, value| {
        if let Some(group) = groups.get_mut(usize::from(bucket_of(row) >> 8)) {
            *group = group.wrapping_add(as_sum(value));
        }
        ControlFlow::Continue(())
    })?;
    Ok(groups)
}

/// The versions of a bucket after the row `after`, asked for at `asked_us`: as many as `bytes_max` holds, and at
/// least one.
pub fn offer(
    txn: &dyn ReadTxn,
    (uid, bucket): (TableUid, u16),
    after: Option<Vec<u8>>,
    asked_us: u64,
    bytes_max: usize,
) -> Result<Offer, StoreError> {
    let prefix = bucket_row(uid, bucket);
    let mut offer = Offer {
        table: uid,
        bucket,
        asked_us,
        after: after.filter(|row| row.starts_with(&prefix)),
        items: Vec::new(),
        next: None,
    };
    let Offer {
        after, items, next, ..
    } = &mut offer;
    let (mut last, mut bytes): (Option<Vec<u8>>, usize) = (None, 0);
    scan_after(
        txn,
        Db::Items,
        &prefix,
        after.as_deref(),
        &mut |row, stored| {
            bytes = bytes.saturating_add(row.len() + stored.len());
            if bytes > bytes_max && last.is_some() {
                *next = last.take();
                return ControlFlow::Break(());
            }
            last = Some(row.to_vec());
            // What cannot be read here is not offered.
            if let Ok(record) = Record::decode(stored) {
                items.push(Offered {
                    key: read::item_key(row, &record),
                    version: record.version,
                    image: record.image.map(<[u8]>::to_vec),
                    marks: record.marks.map(<[u8]>::to_vec),
                });
            }
            ControlFlow::Continue(())
        },
    )?;
    Ok(offer)
}

/// The kept sum of one bucket.
fn sum(txn: &dyn ReadTxn, uid: TableUid, bucket: u16) -> Result<u128, StoreError> {
    Ok(as_sum(
        txn.get(Db::Buckets, &bucket_row(uid, bucket))?
            .unwrap_or_default(),
    ))
}

/// What cannot be read is no sum of anything, and will not match.
fn as_sum(value: &[u8]) -> u128 {
    value.try_into().map_or(0, u128::from_be_bytes)
}

fn bucket_row(uid: TableUid, bucket: u16) -> Vec<u8> {
    [keys::table_prefix(uid).as_slice(), &bucket.to_be_bytes()].concat()
}

fn table_of(row: &[u8]) -> Option<TableUid> {
    let uid = row.get(..keys::TABLE_PREFIX_LEN)?;
    Some(TableUid(u64::from_be_bytes(uid.try_into().ok()?)))
}

/// The bucket in a row of `items` or of `buckets`.
fn bucket_of(row: &[u8]) -> u16 {
    let bytes = row.get(keys::TABLE_PREFIX_LEN..keys::TABLE_PREFIX_LEN + 2);
    let bytes = bytes.and_then(|b| b.try_into().ok());
    bytes.map_or(0, u16::from_be_bytes)
}

fn unreadable() -> StoreError {
    StoreError::Damaged("a row of the fingerprints cannot be read".into())
}

fn add(txn: &mut dyn WriteTxn, key: &[u8], more: u64) -> Result<(), StoreError> {
    let count = read::meta_u64(txn.as_read(), key)?.unwrap_or(0) + more;
    txn.put(Db::Meta, key, &count.to_be_bytes())
}
