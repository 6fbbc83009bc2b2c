//! What one region keeps of its replica of a table ([`LocalSettings`]): changed through the one door like
//! everything else, in a group of this region alone, so that it is never sent anywhere.

use super::catalog::{LocalSettings, TableDef, TableUid};
use super::keys::meta;
use super::mutation::{Change, GroupId, Mutation};
use super::request::WriteResponse;
use super::{ExecuteError, Replica, TableState};
use crate::clock::Now;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

const FORMAT: u8 = 2;

/// What this region keeps of a table; nothing, where nothing was ever set.
pub(super) fn settings(txn: &dyn ReadTxn, uid: TableUid) -> Result<LocalSettings, StoreError> {
    let Some(bytes) = txn.get(Db::Meta, &meta::local(uid))? else {
        return Ok(LocalSettings::default());
    };
    let damaged = |e: &dyn std::fmt::Display| {
        StoreError::Damaged(format!("a table's local settings cannot be read: {e}"))
    };
    match bytes.split_first() {
        Some((&FORMAT, body)) => bincode::decode_from_slice(body, bincode::config::standard())
            .map(|(settings, _)| settings)
            .map_err(|e| damaged(&e)),
        _ => Err(damaged(&"unknown format")),
    }
}

fn encode(settings: &LocalSettings) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![FORMAT];
    let body = bincode::encode_to_vec(settings, bincode::config::standard()).map_err(|e| {
        StoreError::Damaged(format!("a table's local settings cannot be written: {e}"))
    })?;
    bytes.extend(body);
    Ok(bytes)
}

impl Replica {
    /// Changes what this region keeps of `def`, if both are still what the change was worked out from.
    pub(super) fn update_local(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        mut def: TableDef,
        (uid, read): (TableUid, LocalSettings),
        new: LocalSettings,
    ) -> Result<WriteResponse, ExecuteError> {
        if def.uid != uid || settings(txn.as_read(), uid)? != read {
            return Ok(WriteResponse::Stale);
        }
        let protected = new.deletion_protection;
        self.commit_settings(txn, now, uid, new)?;
        if protected != read.deletion_protection {
            // Told to the others, who must not remove a protected replica.
            let region = self.config.region;
            def.protected = if protected {
                def.protected.with(region)
            } else {
                def.protected.without(region)
            };
            let (group, name) = (def.group, def.name.clone());
            self.commit_table(txn, now, group, name, uid, Some(def.clone()))?;
        }
        Ok(WriteResponse::Table(Box::new(def)))
    }

    /// Commits what this region keeps of a table.
    pub(super) fn commit_settings(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        table: TableUid,
        settings: LocalSettings,
    ) -> Result<(), StoreError> {
        let change = Change::Local {
            table,
            settings: Box::new(settings),
        };
        let mutation = Mutation {
            version: None,
            change,
        };
        let alone = GroupId::of([self.config.region]);
        let issued = self.hlc.tick(now);
        self.commit_local(txn, now, alone, vec![mutation], issued)
    }

    /// The local half of the one door. A table that is gone from here keeps nothing.
    pub(super) fn apply_local(
        &mut self,
        txn: &mut dyn WriteTxn,
        table: TableUid,
        settings: &LocalSettings,
    ) -> Result<(), StoreError> {
        let here = match self.table_by_uid(txn.as_read(), table)? {
            TableState::Live(def) => def.group.contains(self.config.region),
            TableState::Dead | TableState::Unknown => false,
        };
        if here {
            txn.put(Db::Meta, &meta::local(table), &encode(settings)?)?;
        }
        Ok(())
    }
}
