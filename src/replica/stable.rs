//! What everyone has, and what may therefore be forgotten: tombstones, log prefixes and causal contexts
//! (replication.md section 10). Three chores, each a step at a time.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use super::catalog::{Merging, TableDef, TableUid};
use super::chores::Chore;
use super::keys::{self, meta};
use super::members::{self, MemberStatus};
use super::mutation::{Dot, Frontier, GroupId, LogId, Version};
use super::record::Record;
use super::{PlantedBug, Replica, TableState, entry, log, read};
use crate::clock::{Now, Stamp};
use crate::maybe;
use crate::store::{Db, Range, ReadTxn, StoreError, WriteTxn};

/// Rows that one step of one chore looks at.
const STEP_ROWS: usize = 256;

/// What replication knows to be durable in every member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stability {
    /// Per group the stable stamp `S`: every commit of the group stamped at or below it is durable in all
    /// its members, and nothing so stamped will ever come again (I8).
    pub stamps: BTreeMap<GroupId, Stamp>,
    /// Per group, what every commit that still may come was made with knowledge of: all up to this stamp.
    pub settled: BTreeMap<GroupId, Stamp>,
    /// Per log, the commits that every member has durably.
    pub floors: Frontier,
}

/// How long things are kept that nobody needs any more; for people who look, not for correctness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Tombstones, past the stable stamp.
    pub tombstones_us: u64,
    /// Commits in the log.
    pub log_us: u64,
    /// How far the stable stamp must be past a table's last change before its tombstones go: when a table
    /// moves to another group, older versions travel once more under newer commits.
    pub settle_us: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            tombstones_us: 3_600_000_000,
            log_us: 900_000_000,
            settle_us: 60_000_000,
        }
    }
}

/// Keeps the queue of tombstones as an item changes (I7): one row for each tombstone, oldest first.
pub(super) fn track(
    txn: &mut dyn WriteTxn,
    item_row: &[u8],
    current: Option<&Record<'_>>,
    incoming: &Record<'_>,
) -> Result<(), StoreError> {
    if let Some(old) = current.filter(|c| c.image.is_none()) {
        txn.delete(Db::Gc, &queue_row(item_row, old.version))?;
    }
    if incoming.image.is_none() {
        txn.put(Db::Gc, &queue_row(item_row, incoming.version), &[])?;
    }
    Ok(())
}

/// Table, issue stamp, then the rest of the item's own row.
pub(super) fn queue_row(item_row: &[u8], version: Version) -> Vec<u8> {
    let (table, rest) = item_row
        .split_at_checked(keys::TABLE_PREFIX_LEN)
        .unwrap_or((item_row, &[]));
    [table, &version.issued.to_bytes(), rest].concat()
}

/// Reads a [`queue_row`] back: the stamp, and the item's row.
fn parse_queue_row(row: &[u8]) -> Option<(TableUid, Stamp, Vec<u8>)> {
    let (table, rest) = row.split_at_checked(keys::TABLE_PREFIX_LEN)?;
    let (issued, rest) = rest.split_at_checked(14)?;
    let uid = TableUid(u64::from_be_bytes(table.try_into().ok()?));
    let issued = Stamp::from_bytes(issued.try_into().ok()?);
    Some((uid, issued, [table, rest].concat()))
}

impl Replica {
    /// Replication found what is durable everywhere.
    pub(super) fn learn_stability(&mut self, found: Stability) {
        for (group, stamp) in found.stamps {
            let known = self.stable.stamps.entry(group).or_insert(Stamp::MIN);
            *known = (*known).max(stamp);
        }
        for (group, stamp) in found.settled {
            let known = self.stable.settled.entry(group).or_insert(Stamp::MIN);
            *known = (*known).max(stamp);
        }
        for (log, seq) in found.floors {
            let known = self.stable.floors.entry(log).or_insert(0);
            *known = (*known).max(seq);
        }
    }

    /// Drops tombstones that no member of their table's group can still need (I9).
    pub(super) fn collect_tombstones(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        let mut floor: Option<(TableUid, Stamp)> = None;
        let short = maybe!("short collection", self.config.region, now);
        for _ in 0..if short { 1 } else { STEP_ROWS } {
            let Some(row) = first_row(txn.as_read(), Db::Gc, self.collecting.as_deref())? else {
                self.collecting = None;
                return Ok(Chore::Done);
            };
            let (uid, issued, item_row) = parse_queue_row(&row).ok_or_else(|| {
                StoreError::Damaged("a row of the tombstone queue cannot be read".into())
            })?;
            let until = match floor.filter(|(known, _)| *known == uid) {
                Some((_, until)) => until,
                None => self.tombstone_floor(txn.as_read(), now, uid, issued)?,
            };
            floor = Some((uid, until));
            if issued <= until {
                crate::mark!("tombstone collected");
                txn.delete(Db::Gc, &row)?;
                txn.delete(Db::Items, &item_row)?;
                self.collecting = Some(row);
            } else {
                // The rest of this table is younger: on to the next one.
                self.collecting = keys::after_prefix(&keys::table_prefix(uid));
            }
        }
        Ok(Chore::More)
    }

    /// The issue stamp up to which tombstones of a table may go, or any below `oldest`, the first that there is.
    pub(super) fn tombstone_floor(
        &mut self,
        txn: &dyn ReadTxn,
        now: Now,
        uid: TableUid,
        oldest: Stamp,
    ) -> Result<Stamp, StoreError> {
        if self.config.planted == Some(PlantedBug::CollectAlone) {
            return Ok(self.hlc.last());
        }
        let TableState::Live(def) = self.table_by_uid(txn, uid)? else {
            return Ok(Stamp::MIN);
        };
        if def.group == GroupId::of([self.config.region]) {
            return Ok(self.hlc.last());
        }
        // A version of a table that merges holds more than its own write: what a deletion removed must not come
        // back with one that was made before the deletion was heard of.
        let stamps = match def.merging {
            Merging::Items => &self.stable.stamps,
            Merging::Attributes => &self.stable.settled,
        };
        let stable = stamps.get(&def.group).copied();
        let stable = stable.unwrap_or(Stamp::MIN);
        let grace_us = self.config.retention.tombstones_us;
        let floor = stable.min(Stamp {
            physical_us: now.wall_us.saturating_sub(grace_us),
            ..Stamp::MIN
        });
        if floor < oldest {
            return Ok(Stamp::MIN);
        }
        // What a new member must still be sent must not go meanwhile.
        for (region, status) in members::statuses(txn, &def)? {
            let counted = self.manifest.counted().contains(region);
            if status == MemberStatus::Creating && counted {
                return Ok(Stamp::MIN);
            }
        }
        if !self.is_settled(txn, &def)? {
            return Ok(Stamp::MIN);
        }
        Ok(floor)
    }

    /// Whether what is stable is so far past the table's last change that no older versions travel again. It may have
    /// come from another group, whose logs bring what was made of it there.
    pub(super) fn is_settled(&self, txn: &dyn ReadTxn, def: &TableDef) -> Result<bool, StoreError> {
        let defined = entry::entry(txn, &def.name)?.map_or(Stamp::MIN, |e| e.version.issued);
        let settle_us = self.config.retention.settle_us;
        let settled_us = defined.physical_us.saturating_add(settle_us);
        let others = def.group.without(self.config.region);
        let groups = self.frontier.keys().map(|log| log.group);
        let carriers = groups.filter(|group| group.0 & others.0 != 0);
        Ok(carriers.chain([def.group]).all(|group| {
            let stable = self.stable.stamps.get(&group);
            stable.is_some_and(|stable| stable.physical_us >= settled_us)
        }))
    }

    /// Drops commits that every member has and that are old enough.
    pub(super) fn truncate_logs(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        let oldest_us = now.wall_us.saturating_sub(self.config.retention.log_us);
        let floors: Vec<(LogId, u64)> = (self.stable.floors.iter())
            .map(|(log, seq)| (*log, *seq))
            .collect();
        let short = maybe!("short truncation", self.config.region, now);
        let mut budget = if short { 1 } else { STEP_ROWS };
        for (log, floor) in floors {
            let start = log_start(txn.as_read(), log)?;
            let mut next = start;
            while next <= floor && budget > 0 {
                let row = keys::dot_row(Dot { log, seq: next });
                let Some(sealed) = txn.get(Db::Log, &row)? else {
                    break;
                };
                let (_, issued) = log::header(sealed).map_err(read::damaged)?;
                if issued.physical_us > oldest_us {
                    break;
                }
                txn.delete(Db::Log, &row)?;
                next += 1;
                budget -= 1;
            }
            if next > start {
                crate::mark!("log truncated");
                txn.put(Db::Meta, &meta::log_start(log), &next.to_be_bytes())?;
                self.forget_contexts(txn, log, next)?;
            }
        }
        Ok(if budget == 0 {
            Chore::More
        } else {
            Chore::Done
        })
    }

    /// Drops causal contexts that only commits at or below the stable stamp could ask for: whatever comes
    /// now was issued after those, and cannot have been seen by them.
    fn forget_contexts(
        &self,
        txn: &mut dyn WriteTxn,
        log: LogId,
        first_kept: u64,
    ) -> Result<(), StoreError> {
        let stable = self.stable.stamps.get(&log.group).copied();
        let row = keys::dot_row(Dot {
            log,
            seq: first_kept,
        });
        let issued = match txn.get(Db::Log, &row)? {
            Some(sealed) => log::header(sealed).map_err(read::damaged)?.1,
            // The whole log is gone: its end is as old as its floor.
            None => return Ok(()),
        };
        if stable.is_none_or(|stable| issued > stable) {
            return Ok(());
        }
        // The entry that the first kept commit reads stays.
        let rows = read::rows(
            txn.as_read(),
            Db::Context,
            &keys::log_prefix(log),
            STEP_ROWS,
        )?;
        for pair in rows.windows(2) {
            let [old, next] = pair else { continue };
            if keys::parse_dot(next).is_some_and(|dot| dot.seq <= first_kept) {
                crate::mark!("context forgotten");
                txn.delete(Db::Context, old)?;
            }
        }
        Ok(())
    }
}

/// The first commit of a log that this store still has, or would have: 1 until something was dropped.
pub fn log_start(txn: &dyn ReadTxn, log: LogId) -> Result<u64, StoreError> {
    Ok(read::meta_u64(txn, &meta::log_start(log))?.unwrap_or(1))
}

/// How many tombstones wait to be collected, without looking at each.
pub fn waiting(txn: &dyn ReadTxn) -> Result<u64, StoreError> {
    Ok(txn.size(Db::Gc)?.entries)
}

/// How many tombstones wait to be collected.
pub fn tombstones(txn: &dyn ReadTxn) -> Result<usize, StoreError> {
    Ok(read::rows(txn, Db::Gc, &[], usize::MAX)?.len())
}

/// Every tombstone that the queue names: its item's row, for checks.
pub(super) fn queued(txn: &dyn ReadTxn, uid: TableUid) -> Result<Vec<Vec<u8>>, StoreError> {
    read::rows(txn, Db::Gc, &keys::table_prefix(uid), usize::MAX)
}

/// The first row at or after `from`.
pub(super) fn first_row(
    txn: &dyn ReadTxn,
    db: Db,
    from: Option<&[u8]>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let range = Range {
        from: from.map_or(Bound::Unbounded, Bound::Included),
        to: Bound::Unbounded,
        reverse: false,
    };
    let mut first = None;
    txn.scan(db, range, &mut |row, _| {
        first = Some(row.to_vec());
        ControlFlow::Break(())
    })?;
    Ok(first)
}
