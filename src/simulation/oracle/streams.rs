//! What must hold of a region's stream at any instant: O7.

use std::collections::BTreeMap;

use super::super::report::OracleId;
use super::super::workload;
use super::Oracles;
use crate::clock::RegionId;
use crate::replica::catalog::TableDef;
use crate::replica::mutation::ItemKey;
use crate::replica::{read, stream};
use crate::store::{ReadTxn, StoreError};

impl Oracles {
    /// O7: the records' numbers are dense; each begins with the image that the one before left, and changes
    /// it; there are no more than visible changes; and their fold is the table. No world lasts a day, so nothing is
    /// trimmed, whatever clocks say.
    pub fn check_streams(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        def: &TableDef,
    ) -> Result<(), StoreError> {
        if def.stream_view.is_none() {
            return Ok(());
        }
        let mut records = stream::all_records(txn)?;
        records.sort_by_key(|(_, lsn, _)| *lsn);
        let mut wrong = None;
        let mut fold: BTreeMap<ItemKey, Vec<u8>> = BTreeMap::new();
        let here = self.regions.get(usize::from(region.0));
        let forgot_at = here
            .map(|known| known.forgot_at.clone())
            .unwrap_or_default();
        for (number, (_, lsn, record)) in (1u64..).zip(&records) {
            if forgot_at.contains(&(number - 1)) {
                // The region forgot what it had, and was given it anew.
                fold.clear();
            }
            let name = || workload::name_of(&record.key);
            let before = match &record.new {
                Some(new) => fold.insert(record.key.clone(), new.clone()),
                None => fold.remove(&record.key),
            };
            let fault = if *lsn != number {
                format!("record {lsn} is where {number} should be")
            } else if before != record.old {
                format!("record {lsn} of {} begins where none ended", name())
            } else if record.old == record.new {
                format!("record {lsn} of {} changes nothing", name())
            } else {
                continue;
            };
            wrong = wrong.or(Some(fault));
        }
        if forgot_at.contains(&(records.len() as u64)) {
            fold.clear();
        }
        let versions = read::versions(txn, def)?.into_iter();
        let table: BTreeMap<ItemKey, Vec<u8>> = versions
            .filter_map(|(key, _, image)| Some((key, image?)))
            .collect();
        if wrong.is_none() && fold != table {
            wrong = Some(format!(
                "its {} records make {} items, not the {} that are there",
                records.len(),
                fold.len(),
                table.len()
            ));
        }
        let visible = here.map_or(0, |known| known.visible);
        if wrong.is_none() && records.len() as u64 > visible {
            wrong = Some(format!(
                "it has {} records of {visible} visible changes",
                records.len()
            ));
        }
        self.check(OracleId::Streams, wrong.is_none(), |world| {
            let wrong = wrong.unwrap_or_default();
            format!("the stream of {}: {wrong}", world.name(region))
        });
        Ok(())
    }
}
