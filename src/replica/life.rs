//! Incarnations: the lives of a region's store, and why no dot is ever used twice (I1; replication.md
//! section 11).
//!
//! A store cannot tell whether it is older than it was: a restored backup and a volume that was rolled back
//! look like a clean start, and whatever was committed since may be known to some peers and not to others. So
//! no start goes on with the sequence numbers that it finds: the first commit that a region makes after a
//! start begins a new incarnation, in that commit's own transaction. A start that makes no commit begins
//! none. What the earlier incarnations made and this store lacks is pulled from peers like any other
//! origin's log.
//!
//! Nothing in a backup tells two lives apart that begin from it, so what tells them apart comes from outside.
//! An incarnation is the quarter seconds since 2020 by the wall clock; not by the clock that stamps, which
//! begins at the stored bound, up to seconds ahead, and so at the same time in both. Where that is not above
//! every incarnation known, the clock was set back, or stands where it stood in the other life: then it is
//! one of the next [`STEPS`], at random. A clock beyond the year 2054 counts as one set back.

use super::keys::meta;
use super::mutation::Origin;
use super::{PlantedBug, Replica, ReplicaConfig, read};
use crate::clock::Now;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// 2020-01-01T00:00:00Z, in microseconds since 1970.
const YEAR_2020_US: u64 = 1_577_836_800_000_000;
/// How much time has one number: as little as lets a u32 count it for 34 years.
const QUARTER_US: u64 = 250_000;
/// Among how many numbers chance decides where the clock cannot: so many that two lives hardly meet, and so
/// few, 17 minutes of numbers, that time catches up soon after the clock was set right.
pub(super) const STEPS: u32 = 4_096;

/// The stored incarnation; `None` in a new store.
pub(super) fn stored(txn: &dyn ReadTxn) -> Result<Option<u32>, StoreError> {
    let Some(number) = read::meta_u64(txn, meta::INCARNATION)? else {
        return Ok(None);
    };
    let number = u32::try_from(number);
    number
        .map(Some)
        .map_err(|_| StoreError::Damaged("the incarnation is out of range".into()))
}

/// The incarnation that begins at `now`, after all up to `above`.
fn next(now: Now, above: u32, chance: u32) -> u32 {
    let quarters = now.wall_us.saturating_sub(YEAR_2020_US) / QUARTER_US;
    match u32::try_from(quarters) {
        Ok(by_time) if by_time > above => by_time,
        _ => above.saturating_add(1 + chance % STEPS),
    }
}

/// The origin of a store that is opened, and the incarnation in which it may commit as it is. A new store
/// begins its first, and, where the region is not alone, may lack what an earlier store of it had.
pub(super) fn open(
    txn: &mut dyn WriteTxn,
    config: &ReplicaConfig,
    alone: bool,
    now: Now,
    chance: u32,
) -> Result<(Origin, Option<u32>), StoreError> {
    let kept = config.planted == Some(PlantedBug::IncarnationKept);
    let stored = stored(txn.as_read())?;
    let incarnation = match stored {
        Some(incarnation) => incarnation,
        None => {
            let first = if kept { 1 } else { next(now, 0, chance) };
            txn.put(Db::Meta, meta::INCARNATION, &u64::from(first).to_be_bytes())?;
            if !alone {
                txn.put(Db::Meta, meta::NEWBORN, &[])?;
            }
            first
        }
    };
    let origin = Origin {
        region: config.region,
        incarnation,
    };
    let lived = (stored.is_none() || alone || kept).then_some(incarnation);
    Ok((origin, lived))
}

impl Replica {
    /// Begins this life's incarnation, unless it has one: what is committed from here on has new dots.
    pub(super) fn begin_life(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<(), StoreError> {
        if self.lived == Some(self.origin.incarnation) {
            return Ok(());
        }
        self.mint(txn, now, 0)
    }

    /// Peers know an incarnation of this region that this store does not, or more of its own than it has.
    pub(super) fn be_reborn(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        above: u32,
    ) -> Result<(), StoreError> {
        if above < self.origin.incarnation && self.lived == Some(self.origin.incarnation) {
            return Ok(());
        }
        self.mint(txn, now, above)
    }

    pub(super) fn mint(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        above: u32,
    ) -> Result<(), StoreError> {
        if self.config.planted == Some(PlantedBug::IncarnationKept) {
            return Ok(());
        }
        let incarnation = next(now, above.max(self.origin.incarnation), self.chance);
        assert!(
            incarnation > self.origin.incarnation,
            "I1: a new incarnation is greater than every one before"
        );
        txn.put(
            Db::Meta,
            meta::INCARNATION,
            &u64::from(incarnation).to_be_bytes(),
        )?;
        self.origin = Origin {
            region: self.config.region,
            incarnation,
        };
        self.lived = Some(incarnation);
        Ok(())
    }

    /// Whether this store began empty and has not yet been found to lack nothing.
    pub fn is_newborn(&self) -> Result<bool, StoreError> {
        Ok(self
            .store
            .begin_read()?
            .get(Db::Meta, meta::NEWBORN)?
            .is_some())
    }
}
