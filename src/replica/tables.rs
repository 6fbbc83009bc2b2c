//! Tables: their creation, change and removal, planned here and applied like every other change.

use std::sync::Arc;

use bincode::{Decode, Encode};

use super::catalog::{LocalSettings, TableDef, TableUid, TimeToLive};
use super::error::ApiError;
use super::keys::meta;
use super::mutation::{Change, GroupId, Mutation, Version};
use super::request::{TableChange, WriteResponse};
use super::work::{self, Lost};
use super::{ExecuteError, Replica, TableState, read, ttl};
use crate::clock::{Now, RegionId};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

const FORMAT: u8 = 3;
/// Bits of an index id that count; the others are the region.
const INDEX_COUNT_BITS: u32 = 26;
/// errors-and-validation.md section 2.
const ONE_ONLINE_INDEX: &str = "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table";
/// The value of a uid whose table is gone.
const DEAD: &[u8] = b"";

/// What `meta` holds under a table's name.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct TableEntry {
    pub version: Version,
    pub def: Option<TableDef>,
}

pub(super) fn entry(txn: &dyn ReadTxn, name: &str) -> Result<Option<TableEntry>, StoreError> {
    txn.get(Db::Meta, &meta::table(name))?
        .map(decode_entry)
        .transpose()
}

pub(super) fn decode_entry(bytes: &[u8]) -> Result<TableEntry, StoreError> {
    let body = match bytes.split_first() {
        Some((&FORMAT, body)) => body,
        _ => {
            return Err(StoreError::Damaged(
                "a table's definition of an unknown format".into(),
            ));
        }
    };
    bincode::decode_from_slice(body, bincode::config::standard())
        .map(|(entry, _)| entry)
        .map_err(|e| StoreError::Damaged(format!("a table's definition cannot be read: {e}")))
}

fn encode_entry(entry: &TableEntry) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![FORMAT];
    let body = bincode::encode_to_vec(entry, bincode::config::standard())
        .map_err(|e| StoreError::Damaged(format!("a table's definition cannot be written: {e}")))?;
    bytes.extend(body);
    Ok(bytes)
}

/// What this store knows of a uid.
pub(super) fn state_of(txn: &dyn ReadTxn, uid: TableUid) -> Result<TableState, StoreError> {
    let Some(name) = txn.get(Db::Meta, &meta::uid(uid))? else {
        return Ok(TableState::Unknown);
    };
    if name == DEAD {
        return Ok(TableState::Dead);
    }
    let name = std::str::from_utf8(name).map_err(read::damaged)?;
    Ok(
        match entry(txn, name)?
            .and_then(|e| e.def)
            .filter(|def| def.uid == uid)
        {
            Some(def) => TableState::Live(Arc::new(def)),
            None => TableState::Dead,
        },
    )
}

impl Replica {
    pub(super) fn create_table(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        mut def: TableDef,
        local: LocalSettings,
    ) -> Result<WriteResponse, ExecuteError> {
        if read::table(txn.as_read(), self.config.region, &def.name)?.is_some() {
            return Err(
                ApiError::ResourceInUse(format!("Table already exists: {}", def.name)).into(),
            );
        }
        def.uid = self.next_uid(txn)?;
        let alone = GroupId::of([self.config.region]);
        def.group = if self.config.replicate_all {
            self.config.members
        } else {
            alone
        };
        def.created_us = now.wall_us;
        def.stream_us = match &def.stream_view {
            Some(_) => Some(self.new_label(txn.as_read(), now, &def.name, None)?),
            None => None,
        };
        for at in 0..def.indexes.len() {
            let id = self.next_index_id(txn, &mut def.next_index)?;
            if let Some(index) = def.indexes.get_mut(at) {
                index.id = id;
            }
        }
        def.protected = if local.deletion_protection {
            alone
        } else {
            GroupId(0)
        };
        let group = def.group;
        self.commit_table(txn, now, group, def.name.clone(), Some(def.clone()))?;
        if local != LocalSettings::default() {
            self.commit_settings(txn, now, def.uid, local)?;
        }
        Ok(WriteResponse::Table(Box::new(def)))
    }

    /// A uid that no table of the cluster has had: region (6 bits), incarnation (26), count (32).
    fn next_uid(&mut self, txn: &mut dyn WriteTxn) -> Result<TableUid, StoreError> {
        let count = read::meta_u64(txn.as_read(), meta::NEXT_TABLE)?.unwrap_or(1);
        assert!(
            count <= u64::from(u32::MAX),
            "four billion tables were created in one incarnation"
        );
        txn.put(Db::Meta, meta::NEXT_TABLE, &(count + 1).to_be_bytes())?;
        let region = u64::from(self.config.region.0) << 58;
        let incarnation = u64::from(self.origin.incarnation & 0x03ff_ffff) << 32;
        Ok(TableUid(region | incarnation | count))
    }

    /// The id of a new index: region (6 bits), count (26). Two regions that change one table at the same time
    /// give different ids, and an id whose definition lost to another's is never given again.
    fn next_index_id(&mut self, txn: &mut dyn WriteTxn, next: &mut u32) -> Result<u32, StoreError> {
        let given = read::meta_u64(txn.as_read(), meta::NEXT_INDEX)?.unwrap_or(0);
        let count = given.max(u64::from(*next)) + 1;
        txn.put(Db::Meta, meta::NEXT_INDEX, &count.to_be_bytes())?;
        *next = u32::try_from(count).unwrap_or(u32::MAX);
        assert!(
            *next < 1 << INDEX_COUNT_BITS,
            "sixty million indexes were created in one region"
        );
        Ok(u32::from(self.config.region.0) << INDEX_COUNT_BITS | *next)
    }

    /// Removes this region's replica of a table, as DynamoDB does (global-tables.md section 3.1); the table
    /// itself with its last replica. Where every table is global by the topology, it goes everywhere: what
    /// one CreateTable made, one DeleteTable removes, and its name is free again.
    pub(super) fn delete_table(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        name: &str,
    ) -> Result<WriteResponse, ExecuteError> {
        let def = self.table_to_change(txn.as_read(), name)?;
        let others = def.group.without(self.config.region);
        let everywhere = self.config.replicate_all || others == GroupId(0);
        let protected = def.protected.contains(self.config.region)
            || everywhere && def.protected.0 & def.group.0 != 0;
        if protected {
            return Err(ApiError::validation(
                "Resource cannot be deleted as it is currently protected against deletion. \
                 Disable deletion protection first.",
            )
            .into());
        }
        if work::is_busy(txn.as_read(), def.uid)? {
            return Err(ApiError::table_in_use(name).into());
        }
        if self.config.table_delay_us > 0 {
            self.delete_later(txn, now, &def)?;
        } else {
            self.remove_table(txn, now, &def)?;
        }
        Ok(WriteResponse::Table(Box::new(def)))
    }

    /// What DeleteTable does in the end.
    pub(super) fn remove_table(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        def: &TableDef,
    ) -> Result<(), StoreError> {
        let group = def.group;
        let left = group.without(self.config.region);
        if self.config.replicate_all || left == GroupId(0) {
            return self.commit_table(txn, now, group, def.name.clone(), None);
        }
        let mut rest = def.clone();
        rest.group = left;
        rest.protected = rest.protected.without(self.config.region);
        rest.updated_us = now.wall_us;
        // The region that leaves says so in a log that still reaches it.
        self.commit_table(txn, now, group, def.name.clone(), Some(rest))
    }

    pub(super) fn update_table(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        name: &str,
        change: TableChange,
    ) -> Result<WriteResponse, ExecuteError> {
        let old = self.table_to_change(txn.as_read(), name)?;
        let mut def = old.clone();
        if takes_a_while(&old, &change) {
            def.updated_us = now.wall_us;
        }
        match change {
            TableChange::Local { uid, read, new } => {
                return self.update_local(txn, now, old, (uid, *read), *new);
            }
            TableChange::AddReplica(region) => def.group = old.group.with(region),
            TableChange::RemoveReplica(region) => {
                def.group = old.group.without(region);
                def.protected = old.protected.without(region);
            }
            TableChange::Settings { read, .. } if *read != old => return Ok(WriteResponse::Stale),
            TableChange::Settings { new, .. } => {
                self.admit_stream(&def, new.stream_view.as_deref())?;
                apply_settings(&mut def, *new);
            }
            TableChange::CreateIndex {
                mut index,
                attributes,
            } => {
                if def.index(&index.name).is_some() {
                    return Err(ApiError::validation(
                        "Attempting to create an index which already exists",
                    )
                    .into());
                }
                if work::is_busy(txn.as_read(), def.uid)? {
                    return Err(ApiError::LimitExceeded(ONE_ONLINE_INDEX.into()).into());
                }
                index.id = self.next_index_id(txn, &mut def.next_index)?;
                def.indexes.push(index);
                for attribute in attributes {
                    if !def.attributes.iter().any(|a| a.name == attribute.name) {
                        def.attributes.push(attribute);
                    }
                }
            }
            TableChange::DeleteIndex(index) => {
                let Some(gone) = def.index(&index) else {
                    return Err(ApiError::resource_not_found().into());
                };
                // Deleting an index that is being built cancels that.
                if work::is_busy(txn.as_read(), def.uid)?
                    && !work::is_building(txn.as_read(), def.uid, gone.id)?
                {
                    return Err(ApiError::LimitExceeded(ONE_ONLINE_INDEX.into()).into());
                }
                def.indexes.retain(|i| i.name != index);
                let of_index = |name: &str| name.split_once('/').is_some_and(|(_, i)| i == index);
                def.recorded.retain(|(name, _)| !of_index(name));
                drop_unused_attributes(&mut def);
            }
            TableChange::TimeToLive { enabled, attribute } => {
                let cool_down_us = self.config.ttl.cool_down_us;
                def.ttl = time_to_live(&old.ttl, enabled, attribute, now.wall_us, cool_down_us)?;
            }
        }
        if def.stream_view.is_some() && old.stream_view.is_none() {
            def.stream_us = Some(self.new_label(txn.as_read(), now, name, def.stream_us)?);
        }
        // A region that leaves must hear of it, in a log that still reaches it.
        let group = if def.group.0 & old.group.0 == def.group.0 {
            old.group
        } else {
            def.group
        };
        self.commit_table(txn, now, group, name.to_owned(), Some(def.clone()))?;
        Ok(WriteResponse::Table(Box::new(def)))
    }

    fn table_to_change(&self, txn: &dyn ReadTxn, name: &str) -> Result<TableDef, ExecuteError> {
        read::table_here(txn, self.config.region, name)?
            .map(|(def, _)| def)
            .ok_or_else(|| ApiError::table_not_found(name).into())
    }

    pub(super) fn commit_table(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        group: GroupId,
        name: String,
        def: Option<TableDef>,
    ) -> Result<(), StoreError> {
        let change = Change::Table {
            name,
            def: def.map(Box::new),
        };
        let issued = self.hlc.tick(now);
        self.commit_local(
            txn,
            now,
            group,
            vec![Mutation {
                version: None,
                change,
            }],
            issued,
        )
    }

    /// The table half of the one door: a name is a register, the greatest rank wins.
    pub(super) fn apply_table(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        version: Version,
        name: &str,
        def: Option<&TableDef>,
    ) -> Result<(), StoreError> {
        let stored = entry(txn.as_read(), name)?;
        self.forget_tables();
        if let Some(stored) = &stored
            && stored.version.rank >= version.rank
        {
            let current = stored.def.as_ref().map(|d| d.uid);
            if let Some(loser) = def.filter(|d| Some(d.uid) != current) {
                txn.put(Db::Meta, &meta::uid(loser.uid), DEAD)?;
                self.purge_table(txn, loser.uid, Some(lost(loser, stored.version)))?;
            }
            return Ok(());
        }
        let old = stored.and_then(|s| s.def);
        let unseen = match def {
            Some(def) => txn.get(Db::Meta, &meta::uid(def.uid))?.is_none(),
            None => false,
        };
        let new_entry = TableEntry {
            version,
            def: def.cloned(),
        };
        txn.put(Db::Meta, &meta::table(name), &encode_entry(&new_entry)?)?;
        if let Some(old) = &old
            && def.is_none_or(|d| d.uid != old.uid)
        {
            txn.put(Db::Meta, &meta::uid(old.uid), DEAD)?;
            let replaced = def.is_some().then(|| lost(old, version));
            self.purge_table(txn, old.uid, replaced)?;
        }
        let here = def.filter(|def| def.group.contains(self.config.region));
        self.follow_stream(txn, now, name, here, unseen)?;
        let Some(def) = def else { return Ok(()) };
        txn.put(Db::Meta, &meta::uid(def.uid), name.as_bytes())?;
        if !def.group.contains(self.config.region) {
            return self.purge_table(txn, def.uid, None);
        }
        self.finish_purge(txn, now, def.uid)?;
        let old = old.filter(|o| o.uid == def.uid);
        let was_here = old.as_ref().filter(|o| is_here(o, self.config.region));
        self.reconcile_indexes(txn, was_here, def)?;
        let expires_by = old.as_ref().and_then(|o| o.ttl.attribute.as_ref());
        if expires_by != def.ttl.attribute.as_ref() {
            ttl::begin_rebuild(txn, def.uid)?;
            self.chores_left = true;
        }
        match old {
            Some(old) => self.begin_relog(txn, &old, def, version),
            None => Ok(()),
        }
    }
}

fn lost(table: &TableDef, winner: Version) -> Lost {
    Lost {
        name: table.name.clone(),
        winner,
    }
}

/// Whether AWS shows a table as UPDATING for a while after such a change.
fn takes_a_while(old: &TableDef, change: &TableChange) -> bool {
    match change {
        TableChange::TimeToLive { .. } => false,
        TableChange::Local { .. } => false,
        TableChange::Settings { new, .. } => {
            let units =
                |def: &TableDef| def.indexes.iter().map(|i| i.throughput).collect::<Vec<_>>();
            new.throughput != old.throughput
                || new.stream_view != old.stream_view
                || units(new) != units(old)
        }
        _ => true,
    }
}

/// The Time To Live after a change (errors-and-validation.md section 6; streams-ttl-backup.md section 2).
fn time_to_live(
    old: &TimeToLive,
    enabled: bool,
    attribute: String,
    now_us: u64,
    cool_down_us: u64,
) -> Result<TimeToLive, ApiError> {
    let refuse = |text: String| Err(ApiError::Validation(text));
    match (&old.attribute, enabled) {
        (Some(current), _) if *current != attribute => {
            return refuse(format!(
                "TimeToLive is active on a different AttributeName: current AttributeName is {current}"
            ));
        }
        (Some(_), true) => return refuse("TimeToLive is already enabled".into()),
        (None, false) => return refuse("TimeToLive is already disabled".into()),
        _ => {}
    }
    if old.changed_us > 0 && now_us < old.changed_us.saturating_add(cool_down_us) {
        return refuse(
            "Time to live has been modified multiple times within a fixed interval".into(),
        );
    }
    Ok(TimeToLive {
        attribute: enabled.then_some(attribute),
        changed_us: now_us,
    })
}

fn apply_settings(def: &mut TableDef, settings: TableDef) {
    for index in &mut def.indexes {
        if let Some(new) = settings.index(&index.name) {
            index.throughput = new.throughput;
        }
    }
    def.throughput = settings.throughput;
    def.stream_view = settings.stream_view;
    def.recorded = settings.recorded;
}

fn drop_unused_attributes(def: &mut TableDef) {
    let used: Vec<String> = std::iter::once(&def.keys)
        .chain(def.indexes.iter().map(|i| &i.keys))
        .flat_map(|keys| keys.names().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    def.attributes.retain(|a| used.contains(&a.name));
}

/// Whether `region` holds a replica of the table.
pub(super) fn is_here(def: &TableDef, region: RegionId) -> bool {
    def.group.contains(region)
}
