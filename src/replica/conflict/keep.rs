//! How long conflicts are kept, and the chore that drops the rest, oldest first, and counts it.

use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use super::rows;
use crate::clock::Now;
use crate::replica::chores::Chore;
use crate::replica::keys::after_prefix;
use crate::replica::{PlantedBug, Replica, read};
use crate::store::{Db, Range, ReadTxn, StoreError, WriteTxn};

/// Conflicts dropped in one step; each may hold two items.
const STEP: usize = 32;

/// What is kept (replication.md section 12): what is older goes, and what a table has too much, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Since this region saw it, on its wall clock, microseconds.
    pub keep_us: u64,
    /// Of one table's conflicts, both versions and all.
    pub table_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            keep_us: 30 * 86_400_000_000,
            table_bytes: 64 << 20,
        }
    }
}

impl Replica {
    /// One step of dropping conflicts that are too old or too many.
    pub(in crate::replica) fn drop_conflicts(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        let keep = self.config.conflicts;
        let counted = self.config.planted != Some(PlantedBug::ConflictDropUncounted);
        let oldest_us = now.wall_us.saturating_sub(keep.keep_us);
        let mut dropped = 0;
        for number in older(txn.as_read(), oldest_us)? {
            crate::mark!("conflict dropped");
            rows::drop_one(txn, number, counted)?;
            dropped += 1;
        }
        for (uid, tally) in rows::table_tallies(txn.as_read())? {
            let mut over = tally.bytes.saturating_sub(keep.table_bytes);
            let prefix = rows::table_rows(uid);
            while over > 0 && dropped < STEP {
                let oldest = read::rows(txn.as_read(), Db::Conflicts, &prefix, 1)?;
                let Some(number) = oldest.first().and_then(|row| rows::number_in(row)) else {
                    break;
                };
                over = over.saturating_sub(rows::drop_one(txn, number, counted)?);
                dropped += 1;
            }
        }
        Ok(if dropped < STEP {
            Chore::Done
        } else {
            Chore::More
        })
    }
}

/// The oldest conflicts, as long as they were seen before `oldest_us`.
fn older(txn: &dyn ReadTxn, oldest_us: u64) -> Result<Vec<u64>, StoreError> {
    let end = after_prefix(rows::RECORDS);
    let range = Range {
        from: Bound::Included(rows::RECORDS),
        to: end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        reverse: false,
    };
    let mut found = Vec::new();
    let mut failure = None;
    txn.scan(Db::Conflicts, range, &mut |row, bytes| {
        match rows::detected_us(bytes) {
            Ok(at) if at < oldest_us => found.extend(rows::number_in(row)),
            Ok(_) => return ControlFlow::Break(()),
            Err(error) => failure = Some(error),
        }
        if failure.is_some() || found.len() >= STEP {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    failure.map_or(Ok(found), Err)
}
