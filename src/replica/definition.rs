//! Definitions of tables as they come, from here or elsewhere: the table half of the one door.
//!
//! A name is a register, and of two tables that want it the greatest rank wins. Of two definitions of one table that
//! is true of its settings only: who its members are is taken from both, member by member
//! ([`TableDef::join_members`]), so that a region that is added in one place does not lose its replica to an index
//! that is added in another.
//!
//! A deletion is for good, and of one table. Whatever was changed elsewhere meanwhile, and stamped later, does not
//! bring the table back: where it was deleted its items are gone. Nor does a deletion that comes late touch the next
//! table of that name: what is left under the name has the least rank that is known of the table, and every table made
//! after its deletion is above that.

use super::catalog::{TableDef, TableUid};
use super::entry::{DEAD, DELETED, TableEntry, encode_entry, entry};
use super::keys::meta;
use super::mutation::{Change, Dot, GroupId, Mutation, Version};
use super::work::Lost;
use super::{Replica, ttl};
use crate::clock::Now;
use crate::store::{Db, StoreError, WriteTxn};

/// What is under a name as of a version: a definition, or that there is none.
type Told<'a> = (Version, Option<&'a TableDef>);

impl Replica {
    /// Takes in a definition. `dot` is the commit it came in, which may be another than its version's when it
    /// travels on.
    pub(super) fn apply_table(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        dot: Dot,
        version: Version,
        (name, uid, def): (&str, TableUid, Option<&TableDef>),
    ) -> Result<(), StoreError> {
        let stored = entry(txn.as_read(), name)?;
        self.forget_tables();
        self.resident = false;
        if self.keep_out(txn, dot, (uid, def), stored.as_ref())? {
            return Ok(());
        }
        let known = txn.get(Db::Meta, &meta::uid(uid))?.map(<[u8]>::to_vec);
        let deleted = known.as_deref() == Some(DELETED);
        if def.is_none() {
            txn.put(Db::Meta, &meta::uid(uid), DELETED)?;
        }
        let Some(stored) = stored else {
            return self.adopt_table(txn, now, None, (version, name, uid, def));
        };
        let newer = stored.version.rank < version.rank;
        let (here, come) = (
            (stored.version, stored.def.as_ref()),
            (version, def.filter(|_| stored.uid == uid)),
        );
        if let ((_, Some(mine)), (_, Some(theirs))) = (here, come) {
            let (stands, first, second) = match newer {
                true => (version, theirs, mine),
                false => (stored.version, mine, theirs),
            };
            let mut joined = first.clone();
            joined.join_members(second);
            if joined != *first {
                crate::mark!("definitions joined");
            }
            let standing = (stands, Some(&joined));
            self.forward_definition(name, uid, standing, [here, come]);
            if standing == here {
                return Ok(());
            }
            let old = stored.def.as_ref();
            return self.adopt_table(txn, now, old, (stands, name, uid, Some(&joined)));
        }
        if stored.uid == uid {
            return self.apply_deletion(txn, now, (version, name, uid), (stored, def));
        }
        // A table that was deleted before its name was taken again.
        if deleted || def.is_none() && known.is_some() {
            return Ok(());
        }
        if !newer && !self.is_of_another(&stored, uid, def) {
            if let Some(loser) = def {
                txn.put(Db::Meta, &meta::uid(loser.uid), DEAD)?;
                self.purge_table(txn, loser.uid, Some(lost(loser, stored.version)))?;
            }
            return Ok(());
        }
        self.adopt_table(txn, now, stored.def.as_ref(), (version, name, uid, def))
    }

    /// A table that is deleted here, or as of `version`, or both.
    fn apply_deletion(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        (version, name, uid): (Version, &str, TableUid),
        (stored, def): (TableEntry, Option<&TableDef>),
    ) -> Result<(), StoreError> {
        let mine = stored.def.as_ref();
        let (ended, told) = match mine {
            None => (stored.version, (version, def)),
            Some(_) => (version, (stored.version, mine)),
        };
        let rank = stored.version.rank.min(version.rank);
        let deletion = Version { rank, ..ended };
        let standing = (deletion, None);
        if told.1.is_some() {
            self.forward_definition(name, uid, standing, [standing, told]);
            // Of what came before its definition there may be something here.
            self.purge_table(txn, uid, None)?;
        }
        if (stored.version, mine) == standing {
            return Ok(());
        }
        self.adopt_table(txn, now, mine, (deletion, name, uid, None))
    }

    /// What is under the name is now this.
    fn adopt_table(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        old: Option<&TableDef>,
        (version, name, uid, def): (Version, &str, TableUid, Option<&TableDef>),
    ) -> Result<(), StoreError> {
        let unseen = match def {
            Some(def) => txn.get(Db::Meta, &meta::uid(def.uid))?.is_none(),
            None => false,
        };
        let new_entry = TableEntry {
            version,
            uid,
            def: def.cloned(),
        };
        txn.put(Db::Meta, &meta::table(name), &encode_entry(&new_entry)?)?;
        if let Some(old) = old
            && def.is_none_or(|d| d.uid != old.uid)
        {
            let here = old.group.contains(self.config.region);
            let replaced = (old.uid != uid && here).then(|| lost(old, version));
            if old.uid != uid {
                txn.put(Db::Meta, &meta::uid(old.uid), DEAD)?;
            }
            self.purge_table(txn, old.uid, replaced)?;
        }
        let here = def.filter(|def| def.group.contains(self.config.region));
        let departed = def.is_some_and(|d| self.departed == Some(d.uid));
        self.follow_stream(txn, now, name, here, unseen && !departed)?;
        let Some(def) = def else { return Ok(()) };
        txn.put(Db::Meta, &meta::uid(def.uid), name.as_bytes())?;
        let old = old.filter(|o| o.uid == def.uid);
        if here.is_none() {
            self.purge_table(txn, def.uid, None)?;
            return self.follow_members(txn, old, def, version);
        }
        self.finish_purge(txn, now, def.uid)?;
        let was_here = match departed {
            true => Some(def),
            false => old.filter(|o| o.group.contains(self.config.region)),
        };
        self.reconcile_indexes(txn, was_here, def)?;
        let expires_by = was_here.and_then(|o| o.ttl.attribute.as_ref());
        if expires_by != def.ttl.attribute.as_ref() {
            ttl::begin_rebuild(txn, def.uid)?;
            self.chores_left = true;
        }
        self.follow_members(txn, old, def, version)
    }

    /// Whether what is stored under the name is a table that is not here, and this region is asked to join one
    /// with which it shares nothing but the name: then their ranks say nothing.
    fn is_of_another(&self, stored: &TableEntry, uid: TableUid, def: Option<&TableDef>) -> bool {
        let here = stored
            .def
            .as_ref()
            .is_some_and(|d| d.group.contains(self.config.region));
        let asked = def.and_then(|def| self.asked_to_join(def)).is_some();
        stored.uid != uid && !here && asked
    }

    /// Two definitions of a table met: the regions that hold a replica by one of them, and were not reached by the
    /// other, must hear of what stands.
    fn forward_definition(
        &mut self,
        name: &str,
        uid: TableUid,
        standing: Told<'_>,
        [here, come]: [Told<'_>; 2],
    ) {
        let mut unaware = 0;
        for (heard, other) in [(here, come), (come, here)] {
            if heard != standing {
                unaware |= replicas(heard).0 & !reach(other).0;
            }
        }
        let group = GroupId(reach(here).0 | reach(come).0);
        if unaware == 0 || !group.contains(self.config.region) {
            return;
        }
        let (version, def) = standing;
        let change = Change::Table {
            name: name.to_owned(),
            uid,
            def: def.cloned().map(Box::new),
        };
        let version = Some(version);
        self.forwards
            .push((group, standing.0.dot, Mutation { version, change }));
    }
}

/// The regions that hold a replica by what they were told.
fn replicas((version, def): Told<'_>) -> GroupId {
    def.map_or(version.dot.log.group, |def| def.group)
}

/// The regions that are told: those that a definition names, and those that its log goes to.
fn reach((version, def): Told<'_>) -> GroupId {
    GroupId(def.map_or(0, |d| d.group.0) | version.dot.log.group.0)
}

fn lost(table: &TableDef, winner: Version) -> Lost {
    Lost {
        name: table.name.clone(),
        winner,
    }
}
