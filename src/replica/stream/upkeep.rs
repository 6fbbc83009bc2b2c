//! What time does to streams: records are trimmed after a day, shards replaced after some hours, and what
//! is disabled forgotten once its records are gone. A chore.

use std::ops::{Bound, ControlFlow};

use super::super::chores::Chore;
use super::super::keys::{self, meta};
use super::super::{Replica, read};
use super::catalog::{self, Stream};
use super::change::MINUTE_US;
use super::read::{bounds, first_from_age};
use crate::clock::Now;
use crate::store::{Db, Range, ReadTxn, StoreError, WriteTxn};

/// How long a record is kept, microseconds (streams-ttl-backup.md section 1.1), in the time that the region has
/// run (`Changes::grow_older`).
const KEPT_US: u64 = 24 * 3_600_000_000;
/// How long a shard stays open, microseconds: about as long as on AWS.
const SHARD_US: u64 = 4 * 3_600_000_000;
/// Between two rounds, microseconds.
const ROUND_US: u64 = 60_000_000;
/// Rows removed in one step.
const STEP: usize = 256;

impl Replica {
    /// One step of the upkeep of streams.
    pub(in super::super) fn keep_streams(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        if !self.changes.upkeep_left && now.mono_us < self.changes.next_upkeep_us {
            return Ok(Chore::Done);
        }
        self.changes.next_upkeep_us = now.mono_us + ROUND_US;
        let age_us = self.changes.grow_older(now);
        let horizon = self.move_horizon(txn, age_us)?;
        let mut room = STEP;
        for stream in catalog::scan(txn.as_read(), meta::STREAMS)? {
            self.keep_stream(txn, now, stream, horizon, &mut room)?;
            if room == 0 {
                break;
            }
        }
        self.changes.upkeep_left = room == 0;
        Ok(if room == 0 { Chore::More } else { Chore::Done })
    }

    /// Finds the LSN before which every record is too old.
    fn move_horizon(&mut self, txn: &mut dyn WriteTxn, age_us: u64) -> Result<u64, StoreError> {
        let before = bounds(txn.as_read())?.horizon;
        let Some(too_old_us) = age_us.checked_sub(KEPT_US) else {
            return Ok(before);
        };
        // The first that a minute not wholly too old begins with; without such a minute, all are too old.
        let minute = too_old_us / MINUTE_US;
        let first = first_from_age(txn.as_read(), minute)?;
        let horizon = first.unwrap_or(self.changes.next());
        if horizon <= before {
            return Ok(before);
        }
        txn.put(Db::Meta, meta::CHANGE_HORIZON, &horizon.to_be_bytes())?;
        for minutes in [meta::CHANGE_AGES, meta::CHANGE_MINUTES] {
            for row in read::rows(txn.as_read(), Db::Meta, minutes, STEP)? {
                let first = read::meta_u64(txn.as_read(), &row)?.unwrap_or(0);
                if first >= horizon {
                    break;
                }
                txn.delete(Db::Meta, &row)?;
            }
        }
        Ok(horizon)
    }

    fn keep_stream(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        mut stream: Stream,
        horizon: u64,
        room: &mut usize,
    ) -> Result<(), StoreError> {
        let before = stream.clone();
        let mut kept = Vec::new();
        for shard in std::mem::take(&mut stream.shards) {
            let rows = rows_before(txn.as_read(), shard.number, horizon, *room)?;
            *room -= rows.len();
            for row in &rows {
                txn.delete(Db::Changes, row)?;
            }
            // Closed by another's first LSN, and all its records too old: nobody can read anything there.
            let over = shard.end.is_some_and(|end| end <= horizon);
            let old = now.wall_us.saturating_sub(shard.opened_us) > KEPT_US;
            if *room == 0 || !over || !old || !is_empty(txn.as_read(), shard.number)? {
                kept.push(shard);
            }
        }
        stream.shards = kept;
        let gone = |us: u64| now.wall_us.saturating_sub(us) > KEPT_US;
        match stream.disabled_us {
            Some(us) if gone(us) && stream.shards.is_empty() => {
                txn.delete(Db::Meta, &before.row())?;
                return Ok(());
            }
            // A stream that is listed has shards.
            Some(us) if !gone(us) && stream.shards.is_empty() => {
                stream.shards = before.shards.last().cloned().into_iter().collect();
            }
            Some(_) => {}
            None => {
                let open = stream.open();
                if open.is_some_and(|s| now.wall_us.saturating_sub(s.opened_us) > SHARD_US) {
                    self.open_shard(txn, now, &mut stream)?;
                    self.changes.forget_shards();
                }
            }
        }
        if stream != before {
            catalog::save(txn, &stream)?;
        }
        Ok(())
    }
}

/// Rows of a shard's records before `horizon`, at most `limit`.
fn rows_before(
    txn: &dyn ReadTxn,
    shard: u64,
    horizon: u64,
    limit: usize,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut rows = Vec::new();
    if limit == 0 {
        return Ok(rows);
    }
    let (from, to) = (keys::change_row(shard, 0), keys::change_row(shard, horizon));
    let range = Range {
        from: Bound::Included(&from),
        to: Bound::Excluded(&to),
        reverse: false,
    };
    txn.scan(Db::Changes, range, &mut |row, _| {
        rows.push(row.to_vec());
        if rows.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(rows)
}

fn is_empty(txn: &dyn ReadTxn, shard: u64) -> Result<bool, StoreError> {
    Ok(rows_before(txn, shard, u64::MAX, 1)?.is_empty())
}
