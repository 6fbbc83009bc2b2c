//! For how long other regions have been silent, as the store remembers it across restarts.
//!
//! Counted by the monotonic clock and only while this region runs: neither a clock that is set nor a cluster
//! that was stopped for a week makes anybody silent. `replication` counts; here it is only kept.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::keys::meta;
use super::work;
use crate::clock::RegionId;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// What is known of one region's silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Silence {
    /// Since anything was heard of it.
    pub unheard_us: u64,
    /// Since something was sent that it has heard, and said so.
    pub unreached_us: u64,
}

/// By region; one that is absent is not silent.
pub type Silences = BTreeMap<RegionId, Silence>;

/// What was last kept.
pub fn silences(txn: &dyn ReadTxn) -> Result<Silences, StoreError> {
    let kept = txn.get(Db::Meta, meta::SILENCES)?;
    Ok(kept.map(work::decode).transpose()?.unwrap_or_default())
}

pub(super) fn keep(txn: &mut dyn WriteTxn, silences: &Silences) -> Result<(), StoreError> {
    txn.put(Db::Meta, meta::SILENCES, &work::encode(silences)?)
}
