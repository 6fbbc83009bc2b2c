//! Copying a placement group from a peer, where logs no longer reach back (replication.md section 8).
//!
//! The sponsor reads parts, each from a short read transaction of its own: first the definitions of tables,
//! then items and tombstones in the order of their rows. The joiner applies each part through the one door,
//! with the versions that it says: merged by rank, without rows in the log and without a change of the
//! frontier. With the last part it takes over the frontier that the sponsor had when the first was read
//! (the *base*), and logs go on from there.
//!
//! - Every version of the group that the base covers, or one that beat it, is in the copy, save for deletions
//!   that all members had and that are forgotten. So what the joiner holds of such versions where the copy
//!   has nothing was deleted, and goes.
//! - A table whose replicas have come or gone has versions of several groups: it is in the copy of each, save where
//!   it is in none that both regions are of.
//! - Whoever is being given a replica of such a table itself, or has given it up, sends none of it, unless nobody else
//!   can. One that gives it up amid the copy ends it so: the rest is not to be had there.
//! - A region that had a replica and has none any more hears so by any copy, whatever group says it by now.
//! - What the sponsor came to have after the base is left out, and comes with the logs. Taken in now, it would
//!   stay here alone if the sponsor lost its disk before the logs brought it. Until they have, the region is not
//!   whole, since what such a version replaced is not in the copy either.
//! - What this region has applied before, and has, is left out too: it has met all that is here. (What it has
//!   applied and has not was of a table that it had no replica of, or of a group whose copy had not that table.)
//!   Not so where the copy before did not become whole: what newer versions had replaced at its sponsor is
//!   covered, and was never here.
//! - What members reported of their replicas comes with the definitions.
//! - A version here that the base covers has met the sponsor's already: no conflict is looked for. Nor with what this
//!   region's frontier covers, which a copy brings again after one that did not become whole. Any other one meets
//!   the sponsor's here, so the causal contexts of what is copied come along.
//! - What changes by a copy is a change like any other: streams have a record of it (I12).
//! - No commit of the group from another region may be applied between the first part and the last: it would
//!   bring back what the copy has passed. Replication sees to that.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use bincode::{Decode, Encode};

use super::apply::Incoming;
use super::catalog::{TableDef, TableUid};
use super::keys::{self, meta};
use super::members::{self, MemberStatus};
use super::mutation::{
    Change, Dot, Frontier, GroupId, LogId, Mutation, Origin, Rank, RankKind, Version,
};
use super::record::Record;
use super::{PlantedBug, Replica, entry, log, merge, read, stable, ttl};
use crate::clock::{Now, RegionId, Stamp};
use crate::store::{Db, Range, ReadTxn, StoreError, Visit, WriteTxn};

/// Where a copy stands: what was copied last.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Place {
    /// The table of this name.
    Table(String),
    /// The item or tombstone at this row.
    Item(Vec<u8>),
}

/// A part of a group, as its sponsor holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The sponsor's whole durable frontier when the part was read; in the first part, what the copy is of.
    pub frontier: Frontier,
    /// Causal contexts of what is in `mutations`, and, in the first part, of where each log stands.
    pub contexts: Vec<(Dot, Frontier)>,
    /// Each with its version.
    pub mutations: Vec<Mutation>,
    /// Where the next part begins; `None` = this is the last.
    pub next: Option<Place>,
}

/// A part on its way into a joiner's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    pub group: GroupId,
    /// The sponsor's frontier when the first part was read.
    pub base: Frontier,
    /// Where this part begins.
    pub after: Option<Place>,
    pub part: Part,
    /// The copy follows one that did not become whole.
    pub again: bool,
}

/// Where a part begins.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// With the copy, which is of what this covers: its base.
    Base(&'a Frontier),
    After(&'a Place),
}

/// Reads a part of `group` for the region `to`: about `bytes_max`, and at least one row. Its frontier is that of the
/// store, which may show more than is durable. `None`: another region has more.
pub fn read_part(
    txn: &dyn ReadTxn,
    (region, to): (RegionId, RegionId),
    group: GroupId,
    at: At<'_>,
    bytes_max: usize,
) -> Result<Option<Part>, StoreError> {
    let mut tables = read::tables(txn, to)?;
    tables.retain(|def| may_be_of(def, group, to));
    for def in &tables {
        if lacks_much(txn, (region, to), group, def)? {
            return Ok(None);
        }
    }
    tables.retain(|def| def.group.contains(region));
    let mut part = Part {
        frontier: log::frontier(txn)?,
        ..Part::default()
    };
    let mut bytes = 0;
    let after = match at {
        At::After(place) => Some(place),
        At::Base(base) => {
            // Commits that the logs bring after it may have no context of their own: it is as before.
            for (&log, &seq) in base.iter().filter(|(log, _)| log.group == group) {
                part.contexts
                    .extend(log::context_entry(txn, Dot { log, seq })?);
            }
            None
        }
    };
    if !matches!(after, Some(Place::Item(_))) {
        let last = read_tables(txn, (group, to), after, bytes_max, &mut bytes, &mut part)?;
        if last.is_some() {
            part.next = last;
            return Ok(Some(part));
        }
    }
    let after_row = match after {
        Some(Place::Item(row)) => Some(row.as_slice()),
        _ => None,
    };
    let uids: BTreeSet<TableUid> = tables.iter().map(|def| def.uid).collect();
    for uid in uids {
        let last = read_items(txn, uid, after_row, bytes_max, &mut bytes, &mut part)?;
        if last.is_some() {
            part.next = last;
            break;
        }
    }
    add_contexts(txn, &mut part)?;
    Ok(Some(part))
}

/// Definitions of the group's tables, and of those that its logs last spoke of. The last one read, when
/// there may be more.
fn read_tables(
    txn: &dyn ReadTxn,
    (group, to): (GroupId, RegionId),
    after: Option<&Place>,
    bytes_max: usize,
    bytes: &mut usize,
    part: &mut Part,
) -> Result<Option<Place>, StoreError> {
    let after = match after {
        Some(Place::Table(name)) => Some(meta::table(name)),
        _ => None,
    };
    for row in read::rows(txn, Db::Meta, meta::TABLES, usize::MAX)? {
        if after.as_ref().is_some_and(|after| row <= *after) {
            continue;
        }
        let name = row.get(meta::TABLES.len()..).unwrap_or_default();
        let name = std::str::from_utf8(name).map_err(read::damaged)?.to_owned();
        let Some(entry) = entry::entry(txn, &name)? else {
            continue;
        };
        // That it has no replica any more `to` may not know, in whatever group that was said again.
        let of_group = |def: &TableDef| may_be_of(def, group, to) || has_left(def, to);
        let here = entry.def.as_ref().is_some_and(of_group);
        if !here && entry.version.dot.log.group != group {
            continue;
        }
        *bytes += txn.get(Db::Meta, &row)?.map_or(0, <[u8]>::len);
        if let Some(def) = &entry.def {
            part.mutations.extend(reports_of(txn, group, def)?);
        }
        part.mutations.push(Mutation {
            version: Some(entry.version),
            change: Change::Table {
                name: name.clone(),
                uid: entry.uid,
                def: entry.def.map(Box::new),
            },
        });
        if *bytes >= bytes_max {
            return Ok(Some(Place::Table(name)));
        }
    }
    Ok(None)
}

/// What the members of a table have reported, as if it had just come. The region that says it is all that counts of
/// such a version.
fn reports_of(
    txn: &dyn ReadTxn,
    group: GroupId,
    def: &TableDef,
) -> Result<Vec<Mutation>, StoreError> {
    let mut told = Vec::new();
    for member in &def.members {
        let Some(report) = members::report(txn, def.uid, member.region)? else {
            continue;
        };
        let origin = Origin {
            region: member.region,
            incarnation: 0,
        };
        let log = LogId { group, origin };
        let (stamp, kind) = (Stamp::MIN, RankKind::Write);
        let version = Version {
            rank: Rank { stamp, kind },
            dot: Dot { log, seq: 0 },
            issued: stamp,
        };
        let table = def.uid;
        told.push(Mutation {
            version: Some(version),
            change: Change::Report { table, report },
        });
    }
    Ok(told)
}

/// Whether what `to` has of a table may be versions of `group`.
fn may_be_of(def: &TableDef, group: GroupId, to: RegionId) -> bool {
    def.group == group || def.group.contains(to) && def.has_moved()
}

/// Whether a table had a replica in a region that has none any more.
fn has_left(def: &TableDef, region: RegionId) -> bool {
    !def.group.contains(region) && def.members.iter().any(|m| m.region == region)
}

/// Whether this region is being given its replica of a table itself, and another than `to` has it. Or it has none any
/// more, be it since the copy began, and another of the group has it, who can give the copy.
fn lacks_much(
    txn: &dyn ReadTxn,
    (region, to): (RegionId, RegionId),
    group: GroupId,
    def: &TableDef,
) -> Result<bool, StoreError> {
    let others = match has_left(def, region) {
        true => group,
        false if members::is_joining(txn, def, region)? => def.group,
        false => return Ok(false),
    };
    let others = others.without(region).without(to);
    let has = |(other, status): &(RegionId, MemberStatus)| {
        others.contains(*other) && *status == MemberStatus::Active
    };
    Ok(members::statuses(txn, def)?.iter().any(has))
}

/// Items and tombstones of one table after a row. The last one read, when there may be more.
fn read_items(
    txn: &dyn ReadTxn,
    uid: TableUid,
    after: Option<&[u8]>,
    bytes_max: usize,
    bytes: &mut usize,
    part: &mut Part,
) -> Result<Option<Place>, StoreError> {
    let (mut last, mut failure) = (None, None);
    walk(txn, uid, after, None, &mut |row, stored| {
        let record = match Record::decode(stored) {
            Ok(record) => record,
            Err(error) => {
                failure = Some(error);
                return ControlFlow::Break(());
            }
        };
        *bytes += row.len() + stored.len();
        part.mutations
            .push(record.mutation(uid, read::item_key(row, &record)));
        if *bytes >= bytes_max {
            last = Some(Place::Item(row.to_vec()));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    failure.map_or(Ok(last), Err)
}

/// Visits the rows of a table after `after` and up to `upto`.
fn walk(
    txn: &dyn ReadTxn,
    uid: TableUid,
    after: Option<&[u8]>,
    upto: Option<&[u8]>,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    let prefix = keys::table_prefix(uid);
    let end = keys::after_prefix(&prefix);
    let from = match after {
        Some(row) if row >= prefix.as_slice() => Bound::Excluded(row),
        _ => Bound::Included(prefix.as_slice()),
    };
    let to = match (upto, end.as_deref()) {
        (Some(row), Some(end)) if row < end => Bound::Included(row),
        (Some(row), None) => Bound::Included(row),
        (_, Some(end)) => Bound::Excluded(end),
        (None, None) => Bound::Unbounded,
    };
    let reverse = false;
    txn.scan(Db::Items, Range { from, to, reverse }, visit)
}

/// The causal context of every version in a part.
fn add_contexts(txn: &dyn ReadTxn, part: &mut Part) -> Result<(), StoreError> {
    let mut asked = BTreeSet::new();
    let mut known: BTreeSet<Dot> = part.contexts.iter().map(|(dot, _)| *dot).collect();
    for mutation in &part.mutations {
        let Some(version) = mutation.version else {
            continue;
        };
        let marks = match &mutation.change {
            Change::Merged { marks, .. } => Some(marks.as_slice()),
            _ => None,
        };
        for (dot, _) in merge::form::writes(version, marks)? {
            if !asked.insert(dot) {
                continue;
            }
            if let Some((dot, context)) = log::context_entry(txn, dot)?
                && known.insert(dot)
            {
                part.contexts.push((dot, context));
            }
        }
    }
    Ok(())
}

/// The groups that this store is being given a copy of.
pub fn joining(txn: &dyn ReadTxn) -> Result<BTreeSet<GroupId>, StoreError> {
    let rows = read::rows(txn, Db::Meta, meta::JOINING, usize::MAX)?;
    let group = |row: &Vec<u8>| {
        let number = row.strip_prefix(meta::JOINING)?.try_into().ok()?;
        Some(GroupId(u64::from_be_bytes(number)))
    };
    let groups = rows.iter().map(group).collect::<Option<_>>();
    groups.ok_or_else(|| StoreError::Damaged("a row of what is being copied".into()))
}

fn covers(base: &Frontier, dot: Dot) -> bool {
    base.get(&dot.log).is_some_and(|seq| dot.seq <= *seq)
}

/// The commit that something in a copy is said to come in, in a log of these regions.
fn carrier(group: GroupId, version: Version) -> Dot {
    let log = LogId {
        group,
        origin: version.dot.log.origin,
    };
    Dot { log, ..version.dot }
}

impl Replica {
    /// Takes in a part of a copy.
    pub(super) fn copy_in(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        portion: &Portion,
    ) -> Result<(), StoreError> {
        let part = &portion.part;
        txn.put(Db::Meta, &meta::joining(portion.group), &[])?;
        self.rebuilding = true;
        self.leave_life(txn, now, &portion.base)?;
        for (dot, context) in &part.contexts {
            if !covers(&portion.base, *dot) {
                continue;
            }
            txn.put(
                Db::Context,
                &keys::dot_row(*dot),
                &log::encode_context(context),
            )?;
        }
        self.copying = Some(portion.base.clone());
        let mut present = BTreeSet::new();
        for mutation in &part.mutations {
            let Some(version) = mutation.version else {
                continue;
            };
            if let Change::Report { table, report } = &mutation.change {
                self.apply_report(txn, *table, version.dot.log.origin.region, report)?;
                continue;
            }
            // A definition may know of more replicas than when its version was made.
            let mut seen = false;
            if let Some(item) = Incoming::of(&mutation.change, version) {
                let row = keys::item_row(item.table, item.key);
                let has = txn.get(Db::Items, &row)?.is_some();
                seen = has && covers(&self.frontier, version.dot) && !portion.again;
                present.insert(row);
            }
            // What merges is taken whole: it may hold what other versions brought of commits that will never come.
            let merges = matches!(mutation.change, Change::Merged { .. });
            if !merges && (!covers(&portion.base, version.dot) || seen) {
                continue;
            }
            self.hlc
                .observe(version.rank.stamp.max(version.issued), now);
            // Whoever the copy is for has all of it: nothing must travel on from here.
            let everyone = carrier(GroupId(u64::MAX), version);
            match &mutation.change {
                Change::Item { image, .. } | Change::Merged { image, .. } => {
                    let skip = self.config.planted == Some(PlantedBug::CopyWithoutTombstones);
                    let item = Incoming::of(&mutation.change, version);
                    if let Some(item) = item.filter(|_| image.is_some() || !skip) {
                        self.apply_item(txn, now, (everyone, version.issued), &item)?;
                    }
                }
                Change::Table { name, uid, def } => {
                    let table = (name.as_str(), *uid, def.as_deref());
                    let carrier = carrier(portion.group, version);
                    self.apply_table(txn, now, carrier, version, table)?;
                }
                // A copy has outcomes, not what led to them.
                Change::Expire { .. }
                | Change::Local { .. }
                | Change::Report { .. }
                | Change::Restored { .. }
                | Change::Sent { .. } => {}
            }
        }
        self.copying = None;
        self.drop_vanished(txn, now, portion, &present)?;
        if part.next.is_none() {
            self.adopt(txn, portion)?;
        }
        Ok(())
    }

    /// Begins another life if the sponsor has more of this one than this store: that is brought back by the
    /// copy, and then belongs to an earlier life, which what is made from here on has seen.
    fn leave_life(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        base: &Frontier,
    ) -> Result<(), StoreError> {
        let unknown = |(log, seq): &(&LogId, &u64)| {
            log.origin.region == self.origin.region
                && log.origin >= self.origin
                && self.frontier.get(log) < Some(seq)
        };
        let more = base.iter().filter(unknown);
        match more.map(|(log, _)| log.origin.incarnation).max() {
            Some(above) => self.be_reborn(txn, now, above),
            None => Ok(()),
        }
    }

    /// Removes what the sponsor had and has no more, not even as a deletion: all had that deletion.
    fn drop_vanished(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        portion: &Portion,
        present: &BTreeSet<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let upto = match &portion.part.next {
            Some(Place::Table(_)) => return Ok(()),
            Some(Place::Item(row)) => Some(row.as_slice()),
            None => None,
        };
        let after = match &portion.after {
            Some(Place::Item(row)) => Some(row.as_slice()),
            _ => None,
        };
        for def in read::tables(txn.as_read(), self.config.region)? {
            if def.group != portion.group {
                continue;
            }
            let mut vanished = Vec::new();
            let mut failure = None;
            walk(
                txn.as_read(),
                def.uid,
                after,
                upto,
                &mut |row, stored| match Record::decode(stored) {
                    Ok(record) => {
                        let writes = merge::form::writes(record.version, record.marks);
                        let gone = writes.map(|writes| {
                            (writes.iter()).all(|(dot, _)| covers(&portion.base, *dot))
                        });
                        match gone {
                            Ok(true) if !present.contains(row) => {
                                vanished.push((row.to_vec(), stored.to_vec()));
                            }
                            Ok(_) => {}
                            Err(error) => failure = Some(error),
                        }
                        ControlFlow::Continue(())
                    }
                    Err(error) => {
                        failure = Some(error);
                        ControlFlow::Break(())
                    }
                },
            )?;
            failure.map_or(Ok(()), Err)?;
            for (row, stored) in vanished {
                self.drop_row(txn, now, &def, &row, &Record::decode(&stored)?)?;
            }
        }
        Ok(())
    }

    fn drop_row(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        def: &TableDef,
        row: &[u8],
        record: &Record<'_>,
    ) -> Result<(), StoreError> {
        crate::mark!("vanished");
        txn.delete(Db::Items, row)?;
        if record.image.is_none() {
            txn.delete(Db::Gc, &stable::queue_row(row, record.version))?;
            return Ok(());
        }
        let gone = Record {
            image: None,
            marks: None,
            ..*record
        };
        self.buckets.change(row, Some(record), &gone);
        let key = read::item_key(row, record);
        self.count(txn.as_read(), def.uid, record.image, None)?;
        self.derive(txn, def, &key, record.image, None)?;
        ttl::update(txn, def, &key, record.image, None)?;
        self.record_change(txn, now, def, &key, (record.image, None), false)
    }

    /// The copy is whole as of the base: logs go on from there, and what was kept of them before goes, so that
    /// they have no gap.
    fn adopt(&mut self, txn: &mut dyn WriteTxn, portion: &Portion) -> Result<(), StoreError> {
        let ahead: Vec<(LogId, u64)> = (portion.base.iter())
            .filter(|(log, _)| log.group == portion.group && log.origin != self.origin)
            .filter(|(log, seq)| self.frontier.get(log).is_none_or(|have| have < *seq))
            .map(|(log, seq)| (*log, *seq))
            .collect();
        for (log, seq) in ahead {
            for row in read::rows(txn.as_read(), Db::Log, &keys::log_prefix(log), usize::MAX)? {
                txn.delete(Db::Log, &row)?;
            }
            txn.put(Db::Meta, &meta::log_start(log), &(seq + 1).to_be_bytes())?;
            self.frontier.insert(log, seq);
            self.dirty.insert(log);
        }
        Ok(())
    }

    /// Whether a version stored here and one that comes in a copy have met already, elsewhere: the sponsor has had the
    /// one, or what this region has, be it of another sponsor, the other.
    pub(super) fn has_met_already(&self, stored: Dot, coming: Dot) -> bool {
        (self.copying.as_ref())
            .is_some_and(|base| covers(base, stored) || covers(&self.frontier, coming))
    }

    /// The store lacks nothing any more: of a group it was given a copy of, or, with `None`, of all that
    /// there was when it began empty.
    pub(super) fn be_whole(
        &mut self,
        txn: &mut dyn WriteTxn,
        group: Option<GroupId>,
    ) -> Result<(), StoreError> {
        let row = group.map_or_else(|| meta::NEWBORN.to_vec(), meta::joining);
        txn.delete(Db::Meta, &row)?;
        self.rebuilding = !joining(txn.as_read())?.is_empty();
        // What this region was to send others, it can now.
        self.wake_chores();
        for def in read::tables(txn.as_read(), self.config.region)? {
            let added = self.asked_to_join(&def);
            if let Some(added) = added.filter(|_| Some(def.group) == group) {
                self.ready(txn, def.uid, added)?;
            }
        }
        Ok(())
    }
}
