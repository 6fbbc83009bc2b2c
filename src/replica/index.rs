//! Secondary indexes, derived from items within the transaction that changes them (I7).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::build::Tally;
use super::catalog::{IndexDef, IndexKind, Projection, TableDef};
use super::keys;
use super::mutation::ItemKey;
use super::read::{TableCounts, damaged};
use crate::item::codec::{self, CodecError};
use crate::item::{Item, KeyError, KeySchema, size};
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
    let is_in = index.keys.admits_index(&index.name, item);
    is_in.ok().filter(|is_in| *is_in)?;
    if index.projection == Projection::All {
        return Some(Cow::Borrowed(item));
    }
    let entry = (item.iter())
        .filter(|(name, _)| projects(def, index, name))
        .map(|(name, value)| (name.clone(), value.clone()));
    Some(Cow::Owned(entry.collect()))
}

/// Whether an index's entries have this attribute of their items.
fn projects(def: &TableDef, index: &IndexDef, name: &str) -> bool {
    let is_key = |keys: &KeySchema| keys.names().any(|key| key == name);
    let included = match &index.projection {
        Projection::All => true,
        Projection::KeysOnly => false,
        Projection::Include(names) => names.iter().any(|n| n == name),
    };
    included || is_key(&index.keys) || is_key(&def.keys)
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

/// What an index holds of an item, made of the item's own encoding.
#[derive(PartialEq, Eq)]
struct Entry<'i> {
    /// The attributes of the index's key.
    keys: Item,
    encoded: Cow<'i, [u8]>,
}

impl<'i> Entry<'i> {
    /// As [`projected`]; an entry that has all of the item is encoded as the item is.
    fn of(
        def: &TableDef,
        index: &IndexDef,
        image: Option<&'i [u8]>,
    ) -> Result<Option<Entry<'i>>, CodecError> {
        let Some(image) = image else { return Ok(None) };
        let is_key = |name: &str| index.keys.names().any(|key| key == name);
        let keys = codec::pick(image, is_key)?;
        if !(index.keys.admits_index(&index.name, &keys)).is_ok_and(|is_in| is_in) {
            return Ok(None);
        }
        let encoded = match &index.projection {
            Projection::All => Cow::Borrowed(image),
            _ => {
                let entry = codec::pick(image, |name| projects(def, index, name))?;
                Cow::Owned(codec::encode(&entry))
            }
        };
        Ok(Some(Entry { keys, encoded }))
    }

    fn counts(&self) -> Result<TableCounts, CodecError> {
        let bytes = codec::item_size(&self.encoded)? as u64;
        Ok(TableCounts { items: 1, bytes })
    }
}

/// Moves one index's entry of one item from its old image to its new one.
pub(super) fn update(
    txn: &mut dyn WriteTxn,
    def: &TableDef,
    index: &IndexDef,
    key: &ItemKey,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
) -> Result<Tally, StoreError> {
    let old = Entry::of(def, index, old).map_err(damaged)?;
    let new = Entry::of(def, index, new).map_err(damaged)?;
    let mut tally = Tally::default();
    // The row of an entry is made of what is in it.
    if old == new {
        return Ok(tally);
    }
    let row = |entry: &Option<Entry<'_>>| entry_row(def, index, key, &entry.as_ref()?.keys);
    let (old_row, new_row) = (row(&old), row(&new));
    if let (Some(entry), Some(row)) = (&old, &old_row) {
        tally.minus = entry.counts().map_err(damaged)?;
        if old_row != new_row {
            txn.delete(Db::Index, row)?;
        }
    }
    if let (Some(entry), Some(row)) = (&new, &new_row) {
        tally.plus = entry.counts().map_err(damaged)?;
        txn.put(Db::Index, row, &entry.encoded)?;
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
