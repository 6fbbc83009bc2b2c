//! Disassociation: a replica leaves its global table and lives on as a table of its own (global-tables.md
//! sections 2.1 and 3). It stays a member until everything that any member wrote before it asked to leave is
//! everywhere, which the stable stamp tells; then its rows move to a new identity at once, so that nothing
//! that is still on its way to the old one can touch them.

use std::ops::{Bound, ControlFlow};

use super::catalog::{Member, MemberState, TableDef, TableUid};
use super::chores::Chore;
use super::keys::{self, meta};
use super::mutation::GroupId;
use super::{Replica, TableState, local, members, read, work};
use crate::clock::{Now, Stamp};
use crate::store::{Db, Range, StoreError, WriteTxn};

/// Rows that move at a time.
const MOVE_ROWS: usize = 1024;

impl Replica {
    /// One replica that has been asked to leave, if it may by now.
    pub(super) fn finish_departures(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        for row in read::rows(txn.as_read(), Db::Meta, meta::DEPARTURES, usize::MAX)? {
            let (uid, _) = work::parse(meta::DEPARTURES, &row)?;
            let since: Stamp = work::decode(txn.get(Db::Meta, &row)?.unwrap_or_default())?;
            let TableState::Live(def) = self.table_by_uid(txn.as_read(), uid)? else {
                txn.delete(Db::Meta, &row)?;
                continue;
            };
            let leaving =
                def.member(self.config.region).map(|m| &m.state) == Some(&MemberState::Leaving);
            if !leaving {
                txn.delete(Db::Meta, &row)?;
                continue;
            }
            let alone = def.group == GroupId::of([self.config.region]);
            let stable = self.stable.stamps.get(&def.group);
            let drained = alone || stable.is_some_and(|stable| *stable >= since);
            if drained && !work::is_busy(txn.as_read(), uid)? {
                txn.delete(Db::Meta, &row)?;
                self.depart(txn, now, &def)?;
                return Ok(Chore::More);
            }
        }
        Ok(Chore::Done)
    }

    fn depart(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        def: &TableDef,
    ) -> Result<(), StoreError> {
        let me = self.config.region;
        let settings = local::settings(txn.as_read(), def.uid)?;
        let mut rest = def.clone();
        members::settle(txn.as_read(), &mut rest)?;
        rest.drop_member(me);
        rest.updated_us = now.wall_us;
        let mut own = def.clone();
        own.uid = self.next_uid(txn, now)?;
        own.group = GroupId::of([me]);
        own.protected = GroupId(def.protected.0 & own.group.0);
        own.members = founding(own.group);
        own.updated_us = now.wall_us;
        if let Some(member) = def.member(me).filter(|m| m.added > Stamp::MIN) {
            own.created_us = member.added.physical_us;
        }
        if own.stream_view.is_some() {
            own.stream_us = Some(self.new_label(txn.as_read(), now, &def.name, def.stream_us)?);
        }
        self.move_rows(txn, def.uid, own.uid)?;
        let name = def.name.clone();
        let rest = (rest.group != GroupId(0)).then_some(rest);
        self.commit_table(txn, now, def.group, name.clone(), def.uid, rest)?;
        self.departed = Some(own.uid);
        let (group, uid) = (own.group, own.uid);
        self.commit_table(txn, now, group, name, uid, Some(own))?;
        self.departed = None;
        self.commit_settings(txn, now, uid, settings)
    }

    /// Everything that is kept of the items of one table becomes another's.
    fn move_rows(
        &mut self,
        txn: &mut dyn WriteTxn,
        from: TableUid,
        to: TableUid,
    ) -> Result<(), StoreError> {
        let counted: Vec<_> = self
            .counts
            .keys()
            .filter(|(uid, _)| *uid == from)
            .copied()
            .collect();
        for (uid, index) in counted {
            if let Some(counts) = self.counts.remove(&(uid, index)) {
                txn.put(Db::Meta, &meta::counts(from, index), &counts.to_bytes())?;
            }
        }
        self.buckets.save(txn)?;
        self.buckets.forget(from);
        let places = [Db::Items, Db::Index, Db::Ttl, Db::Gc, Db::Buckets];
        let prefixes = places.map(|db| {
            (
                db,
                keys::table_prefix(from).to_vec(),
                keys::table_prefix(to).to_vec(),
            )
        });
        let meta_prefixes = [
            (Db::Meta, meta::counts_of(from), meta::counts_of(to)),
            (
                Db::Meta,
                meta::collections_of(from),
                meta::collections_of(to),
            ),
        ];
        for (db, old, new) in prefixes.into_iter().chain(meta_prefixes) {
            while move_some(txn, db, &old, &new)? {}
        }
        self.forget_tables();
        Ok(())
    }
}

/// Moves the first rows with a prefix; false when there are none.
fn move_some(txn: &mut dyn WriteTxn, db: Db, old: &[u8], new: &[u8]) -> Result<bool, StoreError> {
    let end = keys::after_prefix(old);
    let range = Range {
        from: Bound::Included(old),
        to: end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        reverse: false,
    };
    let mut rows = Vec::new();
    txn.scan(db, range, &mut |row, value| {
        rows.push((row.to_vec(), value.to_vec()));
        if rows.len() < MOVE_ROWS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    for (row, value) in &rows {
        let rest = row.get(old.len()..).unwrap_or_default();
        // What says when an item expires names the item's row, which moves too.
        let named = value.strip_prefix(old).filter(|_| db == Db::Ttl);
        let value = named.map_or_else(|| value.clone(), |rest| [new, rest].concat());
        txn.put(db, &[new, rest].concat(), &value)?;
        txn.delete(db, row)?;
    }
    Ok(!rows.is_empty())
}

/// The members of a table that is made with all of them.
pub(super) fn founding(group: GroupId) -> Vec<Member> {
    group
        .regions()
        .map(|region| Member {
            region,
            added: Stamp::MIN,
            state: MemberState::Active,
            sourced_us: 0,
        })
        .collect()
}
