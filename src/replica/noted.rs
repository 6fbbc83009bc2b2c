//! What happened in the last group that nobody asks the store for later: for counters.

use std::collections::BTreeMap;

use super::catalog::TableUid;
use super::mutation::{Change, Commit};
use super::{Replica, TableState};
use crate::clock::RegionId;
use crate::store::{ReadTxn, StoreError};

/// Counts by table name, and what came from other regions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Items that this region expired.
    pub expired: BTreeMap<String, u64>,
    /// Versions that lost a race here.
    pub conflicts: BTreeMap<String, u64>,
    pub arrived: BTreeMap<TableUid, Arrived>,
}

/// Commits of other regions that touch items of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub table: String,
    /// Who made each, and when, on its wall clock, microseconds.
    pub commits: Vec<(RegionId, u64)>,
}

impl Replica {
    /// What happened in the last group; call it once the group is durable.
    pub fn take_noted(&mut self) -> Noted {
        std::mem::take(&mut self.noted)
    }

    /// Notes a commit of another region with every table that it touches.
    pub(super) fn note_arrival(
        &mut self,
        txn: &dyn ReadTxn,
        commit: &Commit,
    ) -> Result<(), StoreError> {
        let mut touched: Vec<TableUid> = Vec::new();
        for mutation in &commit.mutations {
            let (Change::Item { table, .. }
            | Change::Expire { table, .. }
            | Change::Merged { table, .. }) = &mutation.change
            else {
                continue;
            };
            if !touched.contains(table) {
                touched.push(*table);
            }
        }
        let made = (commit.dot.log.origin.region, commit.issued.physical_us);
        for uid in touched {
            if let Some(arrived) = self.noted.arrived.get_mut(&uid) {
                arrived.commits.push(made);
            } else if let TableState::Live(def) = self.table_by_uid(txn, uid)? {
                let (table, commits) = (def.name.clone(), vec![made]);
                self.noted.arrived.insert(uid, Arrived { table, commits });
            }
        }
        Ok(())
    }
}
