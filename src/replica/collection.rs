//! Item collections: the items of one partition of a table with a local index, and their entries in those
//! indexes. Their sizes are kept as they change, since DynamoDB bounds them (values-and-keys.md section 5).

use super::catalog::{IndexDef, IndexKind, TableDef, TableUid};
use super::error::ApiError;
use super::index::projected;
use super::keys::meta;
use super::read;
use crate::item::{Item, size};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// What an item or an entry counts besides its attributes, as DynamoDB bills it.
const OVERHEAD: u64 = 100;
/// How large an item collection may grow: 10 GB.
pub const COLLECTION_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;

fn local(def: &TableDef) -> impl Iterator<Item = &IndexDef> {
    def.indexes.iter().filter(|i| i.kind == IndexKind::Local)
}

/// Whether the table has item collections.
pub fn has_collections(def: &TableDef) -> bool {
    local(def).next().is_some()
}

/// The sizes of an item and of its entries in local indexes.
fn sizes(def: &TableDef, item: &Item) -> impl Iterator<Item = u64> {
    let entries: Vec<u64> = local(def)
        .filter_map(|index| projected(def, index, item))
        .map(|entry| size::item_size(&entry) as u64)
        .collect();
    std::iter::once(size::item_size(item) as u64).chain(entries)
}

/// What an item adds to its collection.
pub(super) fn share(def: &TableDef, item: Option<&Item>) -> u64 {
    item.map_or(0, |item| sizes(def, item).map(|s| s + OVERHEAD).sum())
}

/// The size of the collection of a partition.
pub(super) fn size_of(
    txn: &dyn ReadTxn,
    uid: TableUid,
    partition: &[u8],
) -> Result<u64, StoreError> {
    let kept = read::meta_u64(txn, &meta::collection(uid, partition))?;
    Ok(kept.unwrap_or(0))
}

/// The size of the collection that `item` (or key) is in.
pub fn of_item(txn: &dyn ReadTxn, def: &TableDef, item: &Item) -> Result<u64, ApiError> {
    let key = def.keys.bytes(item);
    let key = key.map_err(|error| ApiError::validation(error.to_string()))?;
    Ok(size_of(txn, def.uid, &key.partition)?)
}

/// Replaces one item's share of its collection by another.
pub(super) fn update(
    txn: &mut dyn WriteTxn,
    uid: TableUid,
    partition: &[u8],
    old: u64,
    new: u64,
) -> Result<(), StoreError> {
    if old == new {
        return Ok(());
    }
    let size = size_of(txn.as_read(), uid, partition)? + new;
    assert!(
        size >= old,
        "I7: an item collection is smaller than its item"
    );
    let row = meta::collection(uid, partition);
    match size - old {
        0 => txn.delete(Db::Meta, &row).map(|_| ()),
        size => txn.put(Db::Meta, &row, &size.to_be_bytes()),
    }
}

/// Refuses a write that makes a collection larger than `limit`.
pub(super) fn admit(
    txn: &dyn ReadTxn,
    def: &TableDef,
    partition: &[u8],
    old: Option<&Item>,
    new: Option<&Item>,
    limit: u64,
) -> Result<(), super::ExecuteError> {
    if !has_collections(def) {
        return Ok(());
    }
    let (old, new) = (share(def, old), share(def, new));
    if new > old && size_of(txn, def.uid, partition)?.saturating_sub(old) + new > limit {
        return Err(ApiError::ItemCollectionSizeLimitExceeded.into());
    }
    Ok(())
}
