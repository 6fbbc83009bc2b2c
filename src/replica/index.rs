//! Secondary indexes, derived from items within the transaction that changes them (I7).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::build::Tally;
use super::catalog::{IndexDef, IndexKind, Projection, TableDef};
use super::keys;
use super::mutation::ItemKey;
use super::read::TableCounts;
use crate::item::{Item, KeyError, codec, size};
use crate::store::{Db, KEY_BYTES_MAX, StoreError, WriteTxn};

/// Bytes in one write unit.
const WRITE_UNIT: usize = 1024;

/// What an index holds of an item, or `None` when the item is not in it. An item whose index key has the
/// wrong type is left out: writes refuse it, only older items can have it.
pub(super) fn projected<'i>(
    def: &TableDef,
    index: &IndexDef,
    item: &'i Item,
) -> Option<Cow<'i, Item>> {
    index.keys.admit_index(&index.name, item).ok().flatten()?;
    let mut entry = match &index.projection {
        Projection::All => return Some(Cow::Borrowed(item)),
        Projection::KeysOnly => Item::new(),
        Projection::Include(names) => names
            .iter()
            .filter_map(|n| item.get(n).map(|v| (n.clone(), v.clone())))
            .collect(),
    };
    entry.extend(def.keys.key_of(item));
    entry.extend(index.keys.key_of(item));
    Some(Cow::Owned(entry))
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

/// Moves one index's entry of one item from its old image to its new one.
pub(super) fn update<'i>(
    txn: &mut dyn WriteTxn,
    def: &TableDef,
    index: &IndexDef,
    key: &ItemKey,
    old: Option<&'i Item>,
    new: Option<&'i Item>,
) -> Result<Tally, StoreError> {
    let entry = |item: &'i Item| {
        let entry = projected(def, index, item)?;
        Some((entry_row(def, index, key, &entry)?, entry))
    };
    let (old, new) = (old.and_then(entry), new.and_then(entry));
    let mut tally = Tally::default();
    if old == new {
        return Ok(tally);
    }
    let new_row = new.as_ref().map(|(row, _)| row);
    if let Some((row, entry)) = &old {
        tally.minus = TableCounts::of(entry);
        if Some(row) != new_row {
            txn.delete(Db::Index, row)?;
        }
    }
    if let Some((row, entry)) = &new {
        tally.plus = TableCounts::of(entry);
        txn.put(Db::Index, row, &codec::encode(entry))?;
    }
    Ok(tally)
}

/// Write units that a change of an item costs in each index (values-and-keys.md section 6).
pub(super) fn write_units(
    def: &TableDef,
    old: Option<&Item>,
    new: Option<&Item>,
) -> BTreeMap<String, f64> {
    let mut units = BTreeMap::new();
    for index in &def.indexes {
        let entry = |item| projected(def, index, item);
        let cost = |entry: &Item| size::item_size(entry).div_ceil(WRITE_UNIT).max(1);
        let cost = match (old.and_then(entry), new.and_then(entry)) {
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
