//! What is derived from items: index entries, their counts, the sizes of item collections. Kept with every
//! change of an item (I7), and built in steps where an index is younger than its items.
//!
//! A build walks the items of its table in row order. Behind its cursor the index is kept like any other;
//! before it there are no entries yet, and changes of items there wait for the walk. So an entry is always
//! made of the item's current image, and the entries are at any moment exactly those of the items that the
//! cursor has passed.

use super::catalog::{IndexDef, TableDef, TableUid};
use super::chores::Chore;
use super::keys::{self, meta};
use super::mutation::ItemKey;
use super::read::{self, TableCounts, damaged};
use super::record::Record;
use super::work::{self, COLLECTIONS};
use super::{PlantedBug, Replica, TableState, collection, index};
use crate::item::codec;
use crate::maybe;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// What a change adds to counts and takes from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub plus: TableCounts,
    pub minus: TableCounts,
}

impl Replica {
    /// Moves all that is derived from one item from its old image to its new one.
    pub(super) fn derive(
        &mut self,
        txn: &mut dyn WriteTxn,
        def: &TableDef,
        key: &ItemKey,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if def.indexes.is_empty() {
            return Ok(());
        }
        let row = keys::item_row(def.uid, key);
        for index in &def.indexes {
            if self.covers(def.uid, index.id, &row) {
                let tally = index::update(txn, def, index, key, old, new)?;
                self.tally(txn.as_read(), def.uid, index.id, tally)?;
            }
        }
        if collection::has_collections(def) && self.covers(def.uid, COLLECTIONS, &row) {
            let share = |image: Option<&[u8]>| {
                let item = image.map(codec::decode).transpose().map_err(damaged)?;
                Ok::<_, StoreError>(collection::share(def, item.as_ref()))
            };
            let (old, new) = (share(old)?, share(new)?);
            collection::update(txn, def.uid, &key.partition, old, new)?;
        }
        Ok(())
    }

    /// Whether an index holds what it should of the item at `row`: it is complete, or its build passed there.
    fn covers(&self, uid: TableUid, index: u32, row: &[u8]) -> bool {
        let cursor = self.builds.get(&uid).and_then(|builds| builds.get(&index));
        cursor.is_none_or(|cursor| row <= cursor.as_slice())
    }

    /// Keeps the counts of a table (index 0) or an index, saved when the group ends.
    pub(super) fn tally(
        &mut self,
        txn: &dyn ReadTxn,
        uid: TableUid,
        index: u32,
        tally: Tally,
    ) -> Result<(), StoreError> {
        if tally.plus == tally.minus {
            return Ok(());
        }
        let mut counts = match self.counts.get(&(uid, index)) {
            Some(counts) => *counts,
            None => read::counts_of(txn, uid, index)?,
        };
        counts.items = counts.items + tally.plus.items - tally.minus.items;
        counts.bytes = counts.bytes + tally.plus.bytes - tally.minus.bytes;
        self.counts.insert((uid, index), counts);
        Ok(())
    }

    /// Begins and ends indexes as the table's new definition says. An index of a table without items is
    /// complete at once.
    pub(super) fn reconcile_indexes(
        &mut self,
        txn: &mut dyn WriteTxn,
        old: Option<&TableDef>,
        def: &TableDef,
    ) -> Result<(), StoreError> {
        let before = old.map(|d| d.indexes.as_slice()).unwrap_or_default();
        let after = def.indexes.as_slice();
        let lacks = |list: &[IndexDef], id: u32| list.iter().all(|i| i.id != id);
        for gone in before.iter().filter(|i| lacks(after, i.id)) {
            self.purge_index(txn, def.uid, gone)?;
        }
        let prefix = keys::table_prefix(def.uid);
        let empty = read::rows(txn.as_read(), Db::Items, &prefix, 1)?.is_empty();
        for new in after.iter().filter(|i| lacks(before, i.id)) {
            // Rows of an earlier life of the index, if it has come back, must go first.
            let stale = txn.get(Db::Meta, &meta::purge_index(def.uid, new.id))?;
            if !empty || stale.is_some() {
                self.begin_build(txn, def.uid, new.id)?;
            }
        }
        if old.is_none() && !empty && collection::has_collections(def) {
            self.begin_build(txn, def.uid, COLLECTIONS)?;
        }
        Ok(())
    }

    fn begin_build(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        index: u32,
    ) -> Result<(), StoreError> {
        txn.put(Db::Meta, &meta::build(uid, index), &[])?;
        self.builds
            .entry(uid)
            .or_default()
            .insert(index, Vec::new());
        self.wake_chores();
        Ok(())
    }

    /// Ends a build, be it complete or not.
    pub(super) fn end_build(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        index: u32,
    ) -> Result<(), StoreError> {
        txn.delete(Db::Meta, &meta::build(uid, index))?;
        if let Some(builds) = self.builds.get_mut(&uid) {
            builds.remove(&index);
            if builds.is_empty() {
                self.builds.remove(&uid);
            }
        }
        Ok(())
    }

    /// The chore: goes on with builds, one after the other, until this group's share of rows is used up.
    pub(super) fn build_some(&mut self, txn: &mut dyn WriteTxn) -> Result<Chore, StoreError> {
        let short = maybe!(
            "short build",
            self.config.region,
            self.hlc.last().physical_us
        );
        let mut budget = if short {
            1
        } else {
            self.config.limits.chore_rows
        };
        let mut under_way = Vec::new();
        for (uid, builds) in &self.builds {
            under_way.extend(builds.keys().map(|index| (*uid, *index)));
        }
        for (uid, index) in under_way {
            if txn.get(Db::Meta, &meta::purge_index(uid, index))?.is_some() {
                continue;
            }
            while budget > 0 && self.build_step(txn, uid, index, &mut budget)? == Chore::More {}
        }
        Ok(if self.builds.is_empty() {
            Chore::Done
        } else {
            Chore::More
        })
    }

    fn build_step(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        index: u32,
        budget: &mut usize,
    ) -> Result<Chore, StoreError> {
        let TableState::Live(def) = self.table_by_uid(txn.as_read(), uid)? else {
            self.end_build(txn, uid, index)?;
            return Ok(Chore::Done);
        };
        let builds = self.builds.get(&uid);
        let after = builds.and_then(|b| b.get(&index)).cloned();
        let after = after.unwrap_or_default();
        let prefix = keys::table_prefix(uid);
        let mut rows = work::step(txn.as_read(), Db::Items, &prefix, &after, budget)?;
        if self.config.planted == Some(PlantedBug::BackfillSkips) && rows.len() > 1 {
            rows.remove(0);
        }
        for (row, stored) in &rows {
            self.build_entry(txn, &def, index, row, stored)?;
        }
        let Some((last, _)) = rows.pop() else {
            self.end_build(txn, uid, index)?;
            return Ok(Chore::Done);
        };
        txn.put(Db::Meta, &meta::build(uid, index), &last)?;
        self.builds.entry(uid).or_default().insert(index, last);
        Ok(Chore::More)
    }

    fn build_entry(
        &mut self,
        txn: &mut dyn WriteTxn,
        def: &TableDef,
        index: u32,
        row: &[u8],
        stored: &[u8],
    ) -> Result<(), StoreError> {
        let record = Record::decode(stored)?;
        let Some(image) = record.image else {
            return Ok(());
        };
        let key = read::item_key(row, &record);
        if index == COLLECTIONS {
            let item = codec::decode(image).map_err(damaged)?;
            let share = collection::share(def, Some(&item));
            return collection::update(txn, def.uid, &key.partition, 0, share);
        }
        if let Some(index) = def.indexes.iter().find(|i| i.id == index) {
            crate::mark!("index backfilled");
            let tally = index::update(txn, def, index, &key, None, Some(image))?;
            self.tally(txn.as_read(), def.uid, index.id, tally)?;
        }
        Ok(())
    }
}
