//! Reads: on the caller's own read transaction, never waiting for the writer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use super::catalog::{IndexDef, LocalSettings, TableDef, TableUid};
use super::error::ApiError;
use super::keys::{self, meta};
use super::members::MemberStatus;
use super::mutation::{ItemKey, Version};
use super::record::Record;
use super::{entry, local, members, work};
use crate::clock::RegionId;
use crate::item::key::KeyBytes;
use crate::item::{Item, codec, size};
use crate::store::{Db, Range, ReadTxn, StoreError, Visit};

pub use super::page::{admit_start, page};

/// How many items a table has here, and their size as DynamoDB counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    pub items: u64,
    pub bytes: u64,
}

/// What a table and its indexes hold here, and what is under way with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableDetails {
    pub counts: TableCounts,
    /// By index id.
    pub indexes: BTreeMap<u32, TableCounts>,
    /// Ids of indexes that are being built here and cannot be read yet.
    pub building: BTreeSet<u32>,
    /// Indexes that are gone, and whose rows are being removed here.
    pub deleting: Vec<IndexDef>,
    /// Its replicas, this region's included, and how they stand.
    pub members: Vec<(RegionId, MemberStatus)>,
}

impl TableDetails {
    /// Whether an index is being built or removed: the table is UPDATING (api.md section 4).
    pub fn is_busy(&self) -> bool {
        !self.building.is_empty() || !self.deleting.is_empty()
    }
}

impl TableCounts {
    pub(super) fn of(item: &Item) -> Self {
        TableCounts {
            items: 1,
            bytes: size::item_size(item) as u64,
        }
    }

    pub(super) fn add(&mut self, more: TableCounts) {
        self.items += more.items;
        self.bytes += more.bytes;
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        [self.items.to_be_bytes(), self.bytes.to_be_bytes()].concat()
    }
}

/// The table of that name, when `region` has a replica of it.
pub fn table(
    txn: &dyn ReadTxn,
    region: RegionId,
    name: &str,
) -> Result<Option<TableDef>, StoreError> {
    let entry = entry::entry(txn, name)?;
    Ok(entry
        .and_then(|e| e.def)
        .filter(|def| def.group.contains(region)))
}

/// What is stored of the table of that name: as long as it is the same, so is the definition.
pub fn table_row<'t>(txn: &'t dyn ReadTxn, name: &str) -> Result<Option<&'t [u8]>, StoreError> {
    txn.get(Db::Meta, &meta::table(name))
}

/// The table of that name as the control plane sees it: with what `region` alone keeps of it, its own
/// protection in the definition too.
pub fn table_here(
    txn: &dyn ReadTxn,
    region: RegionId,
    name: &str,
) -> Result<Option<(TableDef, LocalSettings)>, StoreError> {
    let Some(mut def) = table(txn, region, name)? else {
        return Ok(None);
    };
    let settings = local::settings(txn, def.uid)?;
    def.protected = if settings.deletion_protection {
        def.protected.with(region)
    } else {
        def.protected.without(region)
    };
    Ok(Some((def, settings)))
}

/// Every table that has a replica in `region`, in name order.
pub fn tables(txn: &dyn ReadTxn, region: RegionId) -> Result<Vec<TableDef>, StoreError> {
    let mut names = Vec::new();
    for row in rows(txn, Db::Meta, meta::TABLES, usize::MAX)? {
        let name = row.get(meta::TABLES.len()..).unwrap_or_default();
        let name = std::str::from_utf8(name).map_err(damaged)?;
        names.extend(table(txn, region, name)?);
    }
    Ok(names)
}

/// The item at `key` (exactly the key attributes).
pub fn get(txn: &dyn ReadTxn, def: &TableDef, key: &Item) -> Result<Option<Item>, ApiError> {
    let key = def
        .keys
        .admit_key(key)
        .map_err(|e| ApiError::validation(e.to_string()))?;
    let image = get_encoded(txn, def, &key)?;
    Ok(image
        .as_deref()
        .map(codec::decode)
        .transpose()
        .map_err(damaged)?)
}

/// The codec bytes of the item at `key`.
pub fn get_encoded(
    txn: &dyn ReadTxn,
    def: &TableDef,
    key: &KeyBytes,
) -> Result<Option<Vec<u8>>, StoreError> {
    let key = ItemKey {
        partition: key.partition.clone(),
        sort: key.sort.clone(),
    };
    let image = record(txn, def, &key)?.and_then(|record| record.image);
    Ok(image.map(<[u8]>::to_vec))
}

/// What is stored of the item at `key`.
fn record<'t>(
    txn: &'t dyn ReadTxn,
    def: &TableDef,
    key: &ItemKey,
) -> Result<Option<Record<'t>>, StoreError> {
    let row = keys::item_row(def.uid, key);
    txn.get(Db::Items, &row)?.map(Record::decode).transpose()
}

/// The version at `key` and its image (`None` = a tombstone), for oracles.
#[allow(clippy::type_complexity)] // a row without its key, as `versions` has them
pub fn version(
    txn: &dyn ReadTxn,
    def: &TableDef,
    key: &ItemKey,
) -> Result<Option<(Version, Option<Vec<u8>>)>, StoreError> {
    let record = record(txn, def, key)?;
    Ok(record.map(|record| (record.version, record.image.map(<[u8]>::to_vec))))
}

/// The version at `key`, and whether it is an item rather than a tombstone, for oracles.
pub fn header(
    txn: &dyn ReadTxn,
    def: &TableDef,
    key: &ItemKey,
) -> Result<Option<(Version, bool)>, StoreError> {
    let record = record(txn, def, key)?;
    Ok(record.map(|record| (record.version, record.image.is_some())))
}

pub fn counts(txn: &dyn ReadTxn, def: &TableDef) -> Result<TableCounts, StoreError> {
    counts_of(txn, def.uid, 0)
}

/// How the table and its indexes stand here.
pub fn details(txn: &dyn ReadTxn, def: &TableDef) -> Result<TableDetails, StoreError> {
    let mut indexes = BTreeMap::new();
    for index in &def.indexes {
        indexes.insert(index.id, counts_of(txn, def.uid, index.id)?);
    }
    Ok(TableDetails {
        counts: counts(txn, def)?,
        indexes,
        building: work::builds_of(txn, def.uid)?.into_keys().collect(),
        deleting: work::deleting(txn, def.uid)?,
        members: members::statuses(txn, def)?,
    })
}

/// The counts of a table (index 0) or of one of its indexes.
pub(super) fn counts_of(
    txn: &dyn ReadTxn,
    uid: TableUid,
    index: u32,
) -> Result<TableCounts, StoreError> {
    let Some(stored) = txn.get(Db::Meta, &meta::counts(uid, index))? else {
        return Ok(TableCounts::default());
    };
    let word = |at: usize| {
        stored
            .get(at..at + 8)
            .and_then(|b| b.try_into().ok())
            .map(u64::from_be_bytes)
    };
    match (word(0), word(8)) {
        (Some(items), Some(bytes)) => Ok(TableCounts { items, bytes }),
        _ => Err(StoreError::Damaged(
            "a table's counts cannot be read".into(),
        )),
    }
}

/// Every version of a table here, tombstones too.
#[allow(clippy::type_complexity)] // (key, version, image): a row, named where it is used
pub fn versions(
    txn: &dyn ReadTxn,
    def: &TableDef,
) -> Result<Vec<(ItemKey, Version, Option<Vec<u8>>)>, StoreError> {
    let prefix = keys::table_prefix(def.uid);
    let mut versions = Vec::new();
    let mut failure = None;
    scan_prefix(
        txn,
        Db::Items,
        &prefix,
        &mut |row, stored| match Record::decode(stored) {
            Ok(record) => {
                versions.push((
                    item_key(row, &record),
                    record.version,
                    record.image.map(<[u8]>::to_vec),
                ));
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failure.map_or(Ok(versions), Err)
}

/// Keys and values as they are stored.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Every index entry of a table here: row and codec bytes, for the oracle that rebuilds them.
pub fn index_rows(txn: &dyn ReadTxn, def: &TableDef) -> Result<Rows, StoreError> {
    let prefix = keys::table_prefix(def.uid);
    let mut entries = Vec::new();
    scan_prefix(txn, Db::Index, &prefix, &mut |row, value| {
        entries.push((row.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(entries)
}

/// The number of the partition that a row of items is in: the same in whatever table its item is.
pub fn partition_of_row(row: &[u8]) -> Option<u128> {
    let hash = row.get(keys::TABLE_PREFIX_LEN..)?.first_chunk()?;
    Some(u128::from_be_bytes(*hash))
}

/// What [`partition_of_row`] is of an item's row, for oracles.
pub fn partition_number(key: &ItemKey) -> u128 {
    u128::from_be_bytes(keys::hash(&key.partition))
}

/// The key of the item stored at `row`.
pub(super) fn item_key(row: &[u8], record: &Record<'_>) -> ItemKey {
    let sort = row
        .get(keys::TABLE_PREFIX_LEN + keys::HASH_LEN..)
        .unwrap_or_default();
    ItemKey {
        partition: record.partition.to_vec(),
        sort: sort.to_vec(),
    }
}

/// Visits the rows that begin with `prefix`.
pub(super) fn scan_prefix(
    txn: &dyn ReadTxn,
    db: Db,
    prefix: &[u8],
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    scan_after(txn, db, prefix, None, visit)
}

/// Visits the rows that begin with `prefix`, from the one after `after` on.
pub(super) fn scan_after(
    txn: &dyn ReadTxn,
    db: Db,
    prefix: &[u8],
    after: Option<&[u8]>,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    let end = keys::after_prefix(prefix);
    let range = Range {
        from: after.map_or(Bound::Included(prefix), Bound::Excluded),
        to: end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        reverse: false,
    };
    txn.scan(db, range, visit)
}

/// The keys that begin with `prefix`, at most `limit`.
pub(super) fn rows(
    txn: &dyn ReadTxn,
    db: Db,
    prefix: &[u8],
    limit: usize,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut found = Vec::new();
    scan_prefix(txn, db, prefix, &mut |row, _| {
        found.push(row.to_vec());
        if found.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(found)
}

pub(super) fn meta_u64(txn: &dyn ReadTxn, key: &[u8]) -> Result<Option<u64>, StoreError> {
    match txn.get(Db::Meta, key)? {
        None => Ok(None),
        Some(bytes) => bytes
            .try_into()
            .map(|b| Some(u64::from_be_bytes(b)))
            .map_err(|_| {
                StoreError::Damaged(format!("'{}' cannot be read", String::from_utf8_lossy(key)))
            }),
    }
}

pub(super) fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(error.to_string())
}
