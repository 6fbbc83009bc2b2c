//! What must hold of a region's stream at any instant: O7.

use std::collections::BTreeMap;

use super::super::report::OracleId;
use super::super::workload;
use super::Oracles;
use crate::clock::RegionId;
use crate::replica::catalog::TableDef;
use crate::replica::mutation::ItemKey;
use crate::replica::stream::StreamRecord;
use crate::replica::{read, stream};
use crate::store::{ReadTxn, StoreError};

/// The newest shard of all streams.
fn newest_shard(txn: &dyn ReadTxn) -> Result<Option<u64>, StoreError> {
    let streams = stream::list(txn)?;
    let shards = streams.iter().flat_map(|stream| &stream.shards);
    Ok(shards.map(|shard| shard.number).max())
}

/// What the records make of the items. Where a replica comes back, and where it is added anew while it is there, another
/// shard begins: with nothing, or with what there was. What follows says which.
struct Folds(Vec<BTreeMap<ItemKey, Vec<u8>>>);

impl Folds {
    fn begin_anew(&mut self) {
        self.0 = vec![BTreeMap::new()];
    }

    fn may_begin_anew(&mut self) {
        if self.0.iter().all(|fold| !fold.is_empty()) {
            self.0.push(BTreeMap::new());
        }
    }

    /// Whether the record may be the next.
    fn take(&mut self, record: &StreamRecord) -> bool {
        let fits = |fold: &BTreeMap<_, _>| fold.get(&record.key) == record.old.as_ref();
        let any = self.0.iter().any(fits);
        self.0.retain(|fold| !any || fits(fold));
        for fold in &mut self.0 {
            match &record.new {
                Some(new) => fold.insert(record.key.clone(), new.clone()),
                None => fold.remove(&record.key),
            };
        }
        any
    }
}

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
        let mut folds = Folds(vec![BTreeMap::new()]);
        let here = self.regions.get(usize::from(region.0));
        let forgot_at = here
            .map(|known| known.forgot_at.clone())
            .unwrap_or_default();
        let mut last = records.first().map(|(shard, ..)| *shard);
        for (number, (shard, lsn, record)) in (1u64..).zip(&records) {
            if forgot_at.contains(&(number - 1)) {
                // The region forgot what it had, and was given it anew.
                folds.begin_anew();
            } else if self.moving && last != Some(*shard) {
                folds.may_begin_anew();
            }
            last = Some(*shard);
            let name = || workload::name_of(&record.key);
            let fits = folds.take(record);
            let fault = if *lsn != number {
                format!("record {lsn} is where {number} should be")
            } else if !fits {
                format!("record {lsn} of {} begins where none ended", name())
            } else if record.old == record.new {
                format!("record {lsn} of {} changes nothing", name())
            } else {
                continue;
            };
            wrong = wrong.or(Some(fault));
        }
        if forgot_at.contains(&(records.len() as u64)) {
            folds.begin_anew();
        } else if self.moving && last != newest_shard(txn)? {
            folds.may_begin_anew();
        }
        let versions = read::versions(txn, def)?.into_iter();
        let table: BTreeMap<ItemKey, Vec<u8>> = versions
            .filter_map(|(key, _, image)| Some((key, image?)))
            .collect();
        if wrong.is_none() && !folds.0.contains(&table) {
            wrong = Some(format!(
                "its {} records make {} items, not the {} that are there",
                records.len(),
                folds.0.first().map_or(0, BTreeMap::len),
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
