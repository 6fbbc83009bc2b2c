//! What happened in the last groups that nobody asks the store for later: for counters.

use std::collections::BTreeMap;

use super::Replica;

/// Counts by table name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Items that this region expired.
    pub expired: BTreeMap<String, u64>,
    /// Versions that lost a race here.
    pub conflicts: BTreeMap<String, u64>,
}

impl Replica {
    /// What happened since it was last asked; call it once a group is durable.
    pub fn take_noted(&mut self) -> Noted {
        std::mem::take(&mut self.noted)
    }
}
