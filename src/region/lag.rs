//! How far another region is behind this one, by this region's own log and clock.

use crate::clock::RegionId;
use crate::replica::log;
use crate::replication::PeerStatus;
use crate::store::{ReadTxn, StoreError};

/// Commits of one log that are looked at: what is behind by more is shown as behind by at least this much.
const COMMITS_MAX: u64 = 10_000;

/// What a peer lacks of this region's commits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lag {
    /// Since the first of them was made.
    pub seconds: f64,
    /// At least: of a long backlog only the beginning is measured.
    pub bytes: u64,
}

/// Nothing for a peer of which nothing is known yet: it may well have all.
pub(super) fn of(
    txn: &dyn ReadTxn,
    us: RegionId,
    peer: RegionId,
    known: Option<&PeerStatus>,
    now_us: u64,
) -> Result<Lag, StoreError> {
    let mut lag = Lag::default();
    let Some(known) = known.filter(|known| known.last_heard_us.is_some()) else {
        return Ok(lag);
    };
    let mut oldest_us = None;
    for (id, durable) in log::frontier(txn)? {
        if id.origin.region != us || !id.group.contains(peer) {
            continue;
        }
        let has = known.frontier.get(&id).copied().unwrap_or(0);
        if has >= durable {
            continue;
        }
        let backlog = log::backlog(txn, id, has.saturating_add(1), COMMITS_MAX)?;
        lag.bytes = lag.bytes.saturating_add(backlog.bytes);
        let issued = backlog.oldest.map(|stamp| stamp.physical_us);
        oldest_us = oldest_us.into_iter().chain(issued).min();
    }
    if let Some(oldest_us) = oldest_us {
        let behind_us: u64 = now_us.saturating_sub(oldest_us);
        lag.seconds = std::time::Duration::from_micros(behind_us).as_secs_f64();
    }
    Ok(lag)
}
