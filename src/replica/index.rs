//! Secondary indexes, derived from items within the transaction that changes them (I7).

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::catalog::{IndexDef, IndexKind, Projection, TableDef};
use super::keys;
use super::mutation::ItemKey;
use super::read::{self, Rows, damaged};
use super::record::Record;
use crate::item::{Item, KeyError, codec, size};
use crate::store::{Db, KEY_BYTES_MAX, Range, ReadTxn, StoreError, WriteTxn};

/// Items indexed between two looks at the store while an index is built.
const BACKFILL_CHUNK: usize = 1000;
/// Bytes in one write unit.
const WRITE_UNIT: usize = 1024;

/// What an index holds of an item, or `None` when the item is not in it. An item whose index key has the
/// wrong type is left out: writes refuse it, only older items can have it.
pub(super) fn projected(def: &TableDef, index: &IndexDef, item: &Item) -> Option<Item> {
    index.keys.admit_index(&index.name, item).ok().flatten()?;
    let mut entry = match &index.projection {
        Projection::All => return Some(item.clone()),
        Projection::KeysOnly => Item::new(),
        Projection::Include(names) => names
            .iter()
            .filter_map(|n| item.get(n).map(|v| (n.clone(), v.clone())))
            .collect(),
    };
    entry.extend(def.keys.key_of(item));
    entry.extend(index.keys.key_of(item));
    Some(entry)
}

fn entry_row(def: &TableDef, index: &IndexDef, key: &ItemKey, entry: &Item) -> Option<Vec<u8>> {
    let bytes = index.keys.bytes(entry).ok()?;
    let row = keys::index_row(def.uid, index.id, &bytes, key);
    (row.len() <= KEY_BYTES_MAX).then_some(row)
}

/// Whether an item's index keys are ones that DynamoDB and the store can hold: right types, not empty, not
/// too long. Sort keys of several attributes can be within DynamoDB's limits and still too long here when
/// they are full of zero bytes.
pub(super) fn admit(def: &TableDef, key: &ItemKey, item: &Item) -> Result<(), KeyError> {
    for index in &def.indexes {
        if let Some(bytes) = index.keys.admit_index(&index.name, item)?
            && keys::index_row(def.uid, index.id, &bytes, key).len() > KEY_BYTES_MAX
        {
            return Err(KeyError::SortTooLong);
        }
    }
    Ok(())
}

/// The size that the limit of 400 KB is about: the item and what its local indexes hold of it
/// (values-and-keys.md section 5).
pub(super) fn size_with_local_entries(def: &TableDef, item: &Item) -> usize {
    let local = def.indexes.iter().filter(|i| i.kind == IndexKind::Local);
    let entries = local.filter_map(|index| projected(def, index, item));
    size::item_size(item) + entries.map(|entry| size::item_size(&entry)).sum::<usize>()
}

/// The row and value that an index should hold for an item.
pub(super) fn expected_row(
    def: &TableDef,
    index: &IndexDef,
    key: &ItemKey,
    item: &Item,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let entry = projected(def, index, item)?;
    Some((entry_row(def, index, key, &entry)?, codec::encode(&entry)))
}

/// Moves every index entry of one item from its old image to its new one.
pub(super) fn update(
    txn: &mut dyn WriteTxn,
    def: &TableDef,
    key: &ItemKey,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
) -> Result<(), StoreError> {
    if def.indexes.is_empty() {
        return Ok(());
    }
    let decode = |image: Option<&[u8]>| image.map(codec::decode).transpose().map_err(damaged);
    let (old, new) = (decode(old)?, decode(new)?);
    for index in &def.indexes {
        let entry = |item: &Option<Item>| item.as_ref().and_then(|i| projected(def, index, i));
        let (old, new) = (entry(&old), entry(&new));
        if old == new {
            continue;
        }
        let old_row = old.and_then(|e| entry_row(def, index, key, &e));
        let new_row = new.as_ref().and_then(|e| entry_row(def, index, key, e));
        if let Some(row) = old_row.filter(|row| Some(row) != new_row.as_ref()) {
            txn.delete(Db::Index, &row)?;
        }
        if let (Some(row), Some(entry)) = (new_row, new) {
            txn.put(Db::Index, &row, &codec::encode(&entry))?;
        }
    }
    Ok(())
}

/// Write units that a change of an item costs in each index (values-and-keys.md section 6).
pub(super) fn write_units(
    def: &TableDef,
    old: Option<&Item>,
    new: Option<&Item>,
) -> BTreeMap<String, f64> {
    let mut units = BTreeMap::new();
    for index in &def.indexes {
        let entry = |item: Option<&Item>| item.and_then(|i| projected(def, index, i));
        let cost = |entry: &Item| size::item_size(entry).div_ceil(WRITE_UNIT).max(1);
        let cost = match (entry(old), entry(new)) {
            (None, None) => continue,
            (None, Some(one)) | (Some(one), None) => cost(&one),
            (Some(a), Some(b)) if a == b => continue,
            (Some(a), Some(b)) if index.keys.key_of(&a) == index.keys.key_of(&b) => {
                cost(&a).max(cost(&b))
            }
            (Some(a), Some(b)) => cost(&a) + cost(&b),
        };
        units.insert(index.name.clone(), cost as f64);
    }
    units
}

/// Builds the entries of a new index from the items that are there.
pub(super) fn backfill(
    txn: &mut dyn WriteTxn,
    def: &TableDef,
    index: &IndexDef,
) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let chunk = read_chunk(txn.as_read(), def, after.as_deref())?;
        let Some((last, _)) = chunk.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        for (row, stored) in &chunk {
            let record = Record::decode(stored)?;
            let Some(image) = record.image else { continue };
            let key = read::item_key(row, &record);
            let item = codec::decode(image).map_err(damaged)?;
            if let Some((entry_row, entry)) = expected_row(def, index, &key, &item) {
                txn.put(Db::Index, &entry_row, &entry)?;
            }
        }
    }
}

fn read_chunk(txn: &dyn ReadTxn, def: &TableDef, after: Option<&[u8]>) -> Result<Rows, StoreError> {
    let prefix = keys::table_prefix(def.uid);
    let end = keys::after_prefix(&prefix);
    let range = Range {
        from: after.map_or(Bound::Included(prefix.as_slice()), Bound::Excluded),
        to: end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        reverse: false,
    };
    let mut rows = Vec::new();
    txn.scan(Db::Items, range, &mut |row, stored| {
        rows.push((row.to_vec(), stored.to_vec()));
        if rows.len() < BACKFILL_CHUNK {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(rows)
}
