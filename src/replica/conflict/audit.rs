//! What must hold between the rows of conflicts, for `check` and for the simulator.

use std::collections::BTreeMap;

use super::rows;
use super::{TableTally, list, tallies};
use crate::replica::catalog::TableUid;
use crate::replica::read;
use crate::store::{Db, ReadTxn, StoreError};

/// Counts everything anew and says what differs from the counters. Also gives how many are kept.
pub fn audit(txn: &dyn ReadTxn) -> Result<(usize, Vec<String>), StoreError> {
    let mut problems = Vec::new();
    let mut counted: BTreeMap<TableUid, TableTally> = BTreeMap::new();
    let kept = list(txn, None, usize::MAX)?;
    let mut of_room = 0;
    for one in &kept {
        let table = counted.entry(one.conflict.uid).or_default();
        table.kept += 1;
        if !one.conflict.is_last_copy() {
            table.bytes += rows::size_of(txn, one.number)?;
            of_room += 1;
        }
        if super::get(txn, one.id)?.as_ref() != Some(one) {
            problems.push(format!("conflict {} is not found by its id", one.id));
        }
    }
    let tallies = tallies(txn)?;
    for (uid, tally) in &tallies.tables {
        let table = counted.remove(uid).unwrap_or_default();
        if (table.kept, table.bytes) != (tally.kept, tally.bytes)
            || tally.recorded != tally.kept + tally.dropped
        {
            let (has, bytes) = (table.kept, table.bytes);
            problems.push(format!(
                "table {}: {has} conflicts of {bytes} bytes are there, where the counters say {tally:?}",
                tally.name
            ));
        }
    }
    for uid in counted.keys() {
        problems.push(format!("the conflicts of table {uid:?} are not counted"));
    }
    let (recorded, ever) = (tallies.recorded(), super::count(txn)?);
    let links: u64 = tallies.links.iter().map(|link| link.recorded).sum();
    if recorded != ever || links != ever {
        problems.push(format!(
            "{ever} conflicts were recorded; by table they are {recorded}, by link {links}"
        ));
    }
    for (rows, wanted) in [(rows::IDS, kept.len()), (rows::OF_TABLES, of_room)] {
        let found = read::rows(txn, Db::Conflicts, rows, usize::MAX)?.len();
        if found != wanted {
            problems.push(format!("{found} rows name {wanted} conflicts"));
        }
    }
    Ok((kept.len(), problems))
}
