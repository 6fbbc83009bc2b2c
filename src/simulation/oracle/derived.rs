//! O6: what is derived from items is what a rebuild gives. Of an index that is still being built: no more
//! than that.

use super::super::report::OracleId;
use super::super::workload;
use super::Oracles;
use crate::clock::RegionId;
use crate::item::{Item, codec, size};
use crate::replica::ApiError;
use crate::replica::catalog::{IndexDef, TableDef};
use crate::replica::read::{self, TableCounts, TableDetails};
use crate::replica::request::PageRequest;
use crate::store::{ReadTxn, StoreError};

/// One index as it is stored.
struct Stored {
    entries: Vec<Vec<u8>>,
    counts: TableCounts,
}

impl Oracles {
    pub(super) fn check_derived(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        def: &TableDef,
    ) -> Result<(), ApiError> {
        let mut items = Vec::new();
        for (_, _, image) in read::versions(txn, def)? {
            items.extend(image.as_deref().map(decode).transpose()?);
        }
        let details = read::details(txn, def)?;
        let live = counts_of(&items);
        self.check(OracleId::DerivedState, details.counts == live, |world| {
            let name = world.name(region);
            format!("{name} counts {:?} where {live:?} are", details.counts)
        });
        for index in &def.indexes {
            self.check_index(txn, region, def, index, &items, &details)?;
        }
        self.check_strays(txn, region, def, &details)
    }

    fn check_index(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        def: &TableDef,
        index: &IndexDef,
        items: &[Item],
        details: &TableDetails,
    ) -> Result<(), ApiError> {
        let entries = items.iter();
        let entries = entries.filter_map(|item| workload::entry_of(&index.name, item));
        let mut expected: Vec<Vec<u8>> = entries.map(|e| codec::encode(&e)).collect();
        expected.sort_unstable();
        let stored = stored(txn, def, index.id)?;
        let building = details.building.contains(&index.id);
        let holds = if building {
            stored
                .entries
                .iter()
                .all(|e| expected.binary_search(e).is_ok())
        } else {
            expected == stored.entries && expected == scan_index(txn, def, &index.name)?
        };
        self.check(OracleId::DerivedState, holds, |world| {
            format!(
                "index {} in {}{} has {} entries, where a rebuild has {}",
                index.name,
                world.name(region),
                if building { ", being built," } else { "" },
                stored.entries.len(),
                expected.len()
            )
        });
        let kept = details.indexes.get(&index.id).copied().unwrap_or_default();
        self.check(OracleId::DerivedState, kept == stored.counts, |world| {
            let name = world.name(region);
            let counts = stored.counts;
            format!(
                "{name} counts {kept:?} in {}, and has {counts:?}",
                index.name
            )
        });
        Ok(())
    }

    /// Every row belongs to an index, or to one whose rows are being removed.
    fn check_strays(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        def: &TableDef,
        details: &TableDetails,
    ) -> Result<(), ApiError> {
        let ids = def.indexes.iter().chain(&details.deleting).map(|i| i.id);
        let ids: Vec<u32> = ids.collect();
        let rows = read::index_rows(txn, def)?;
        let stray =
            |(row, _): &&(Vec<u8>, Vec<u8>)| index_of(row).is_none_or(|id| !ids.contains(&id));
        let strays = rows.iter().filter(stray).count();
        self.check(OracleId::DerivedState, strays == 0, |world| {
            let name = world.name(region);
            format!("{name} has {strays} rows of indexes that are not there")
        });
        Ok(())
    }

    /// When all is calm no heavy work is left.
    pub(super) fn check_finished(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
    ) -> Result<(), ApiError> {
        if let Some(def) = self.table(txn, region)? {
            let details = read::details(txn, &def)?;
            self.check(OracleId::DerivedState, !details.is_busy(), |world| {
                let name = world.name(region);
                format!("{name} is idle and has not finished its indexes: {details:?}")
            });
        }
        Ok(())
    }
}

fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(error.to_string())
}

fn decode(image: &[u8]) -> Result<Item, StoreError> {
    codec::decode(image).map_err(damaged)
}

fn counts_of(items: &[Item]) -> TableCounts {
    TableCounts {
        items: items.len() as u64,
        bytes: items.iter().map(|i| size::item_size(i) as u64).sum(),
    }
}

/// The index that a row is of: its second part.
fn index_of(row: &[u8]) -> Option<u32> {
    let id = row.get(8..12)?.try_into().ok()?;
    Some(u32::from_be_bytes(id))
}

fn stored(txn: &dyn ReadTxn, def: &TableDef, id: u32) -> Result<Stored, ApiError> {
    let rows = read::index_rows(txn, def)?.into_iter();
    let rows = rows.filter(|(row, _)| index_of(row) == Some(id));
    let mut entries: Vec<Vec<u8>> = rows.map(|(_, entry)| entry).collect();
    entries.sort_unstable();
    let mut counts = TableCounts::default();
    for entry in &entries {
        let bytes = codec::item_size(entry).map_err(damaged)?;
        counts.items += 1;
        counts.bytes += bytes as u64;
    }
    Ok(Stored { counts, entries })
}

/// The whole index in the order of its bytes, through the pages that clients get.
fn scan_index(txn: &dyn ReadTxn, def: &TableDef, index: &str) -> Result<Vec<Vec<u8>>, ApiError> {
    let mut request = PageRequest {
        table: workload::TABLE.into(),
        index: Some(index.into()),
        condition: None,
        filter: None,
        forward: true,
        limit: None,
        start: None,
        segment: None,
    };
    let mut entries = Vec::new();
    loop {
        let page = read::page(txn, def, &request)?;
        entries.extend(page.items.iter().map(codec::encode));
        match page.last_key {
            None => break,
            Some(key) => request.start = Some(key),
        }
    }
    entries.sort_unstable();
    Ok(entries)
}
