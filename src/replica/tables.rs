//! Tables: their creation, change and removal, planned here and applied like every other change.

use super::catalog::{LocalSettings, Member, MemberState, Merging, TableDef, TableUid, TimeToLive};
use super::error::ApiError;
use super::keys::meta;
use super::members::MemberStatus;
use super::mutation::{Change, GroupId};
use super::request::{TableChange, WriteResponse};
use super::work;
use super::{ExecuteError, Replica, departure, members, read};
use crate::clock::{Now, RegionId};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// Bits of an index id that count; the others are the region.
const INDEX_COUNT_BITS: u32 = 26;
/// errors-and-validation.md section 2.
const ONE_ONLINE_INDEX: &str = "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table";
/// How long a replica that was the source of another stays, where AWS's rule is kept.
const SOURCE_STAYS_US: u64 = 24 * 3_600_000_000;
/// A replica that has not come to be after so long may be removed again: its region may be gone.
const GIVE_UP_US: u64 = 60_000_000;
/// What a stream shows that a global table needs and nobody had enabled (global-tables.md section 3.1).
const GLOBAL_VIEW: &str = "NEW_AND_OLD_IMAGES";

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
        def.uid = self.next_uid(txn, now)?;
        let alone = GroupId::of([self.config.region]);
        def.group = if self.config.replicate_all {
            self.manifest.residents()
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
        let (group, uid) = (def.group, def.uid);
        def.members = departure::founding(group);
        self.commit_table(txn, now, group, def.name.clone(), uid, Some(def.clone()))?;
        if local != LocalSettings::default() {
            self.commit_settings(txn, now, def.uid, local)?;
        }
        Ok(WriteResponse::Table(Box::new(def)))
    }

    /// A uid that no table of the cluster has had: region (6 bits), incarnation (32), count (26).
    pub(super) fn next_uid(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<TableUid, StoreError> {
        self.begin_life(txn, now)?;
        let count = read::meta_u64(txn.as_read(), meta::NEXT_TABLE)?.unwrap_or(1);
        assert!(
            count < 1 << 26,
            "sixty-seven million tables were created in one region"
        );
        txn.put(Db::Meta, meta::NEXT_TABLE, &(count + 1).to_be_bytes())?;
        let region = u64::from(self.config.region.0) << 58;
        let incarnation = u64::from(self.origin.incarnation) << 26;
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
        if work::is_busy(txn.as_read(), def.uid)? || self.is_needed(txn.as_read(), &def)? {
            return Err(ApiError::table_in_use(name).into());
        }
        if !everywhere {
            self.admit_removal(&def, self.config.region, now)?;
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
            return self.commit_table(txn, now, group, def.name.clone(), def.uid, None);
        }
        let mut rest = def.clone();
        members::settle(txn.as_read(), &mut rest)?;
        rest.drop_member(self.config.region);
        rest.updated_us = now.wall_us;
        // The region that leaves says so in a log that still reaches it.
        self.commit_table(txn, now, group, def.name.clone(), def.uid, Some(rest))
    }

    /// Whether a member is coming that only this region can send what it needs, or this region is coming itself.
    fn is_needed(&self, txn: &dyn ReadTxn, def: &TableDef) -> Result<bool, StoreError> {
        let me = Some(self.config.region);
        let creating = |(region, status): &(RegionId, MemberStatus)| {
            let source = def.member(*region).and_then(|m| def.source_of(m));
            *status == MemberStatus::Creating && (Some(*region) == me || source == me)
        };
        Ok(members::statuses(txn, def)?.iter().any(creating))
    }

    /// AWS's rule, where it is kept, that a source stays for a day.
    fn admit_removal(&self, def: &TableDef, region: RegionId, now: Now) -> Result<(), ApiError> {
        let sourced_us = def.member(region).map_or(0, |m| m.sourced_us);
        let until_us = sourced_us.saturating_add(SOURCE_STAYS_US);
        if self.config.aws_waits && sourced_us > 0 && now.wall_us < until_us {
            return Err(ApiError::validation(
                "Replica cannot be deleted because it has acted as a source region for new replica(s) being \
                 added to the table in the last 24 hours.",
            ));
        }
        Ok(())
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
        if !self.admits(txn.as_read(), now, &old, &change)? {
            return Err(in_use().into());
        }
        members::settle(txn.as_read(), &mut def)?;
        match change {
            TableChange::Local { uid, read, new } => {
                return self.update_local(txn, now, old, (uid, *read), *new);
            }
            TableChange::AddReplica(region) => {
                self.add_replica(txn.as_read(), now, &mut def, region)?
            }
            TableChange::RemoveReplica(region) => {
                self.admit_removal(&def, region, now)?;
                remove_replica(&mut def, region, now)?;
            }
            TableChange::Disassociate => self.leave(&mut def)?,
            TableChange::Settings { read, .. } if *read != old => return Ok(WriteResponse::Stale),
            TableChange::Settings { new, .. } => {
                self.admit_merging(txn.as_read(), &def, new.merging)?;
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
        if def.stream_view.is_some() && old.stream_view.is_none() && def.stream_us == old.stream_us
        {
            def.stream_us = Some(self.new_label(txn.as_read(), now, name, def.stream_us)?);
        }
        // A region that leaves must hear of it, in a log that still reaches it.
        let (group, uid) = (GroupId(def.group.0 | old.group.0), def.uid);
        self.commit_table(txn, now, group, name.to_owned(), uid, Some(def.clone()))?;
        Ok(WriteResponse::Table(Box::new(def)))
    }

    /// Whether a change may be made while members come and go: settings of the table's own region, TTL, and
    /// giving up on a replica that does not come to be.
    fn admits(
        &self,
        txn: &dyn ReadTxn,
        now: Now,
        def: &TableDef,
        change: &TableChange,
    ) -> Result<bool, StoreError> {
        if members::is_joining(txn, def, self.config.region)? {
            return Ok(false);
        }
        Ok(match change {
            TableChange::Local { .. } | TableChange::TimeToLive { .. } => true,
            TableChange::RemoveReplica(region) => {
                let given_up = def
                    .member(*region)
                    .is_some_and(|m| now.wall_us > m.added.physical_us.saturating_add(GIVE_UP_US));
                let creating = (*region, MemberStatus::Creating);
                let stuck = given_up && members::statuses(txn, def)?.contains(&creating);
                stuck || !members::is_busy(txn, def, now.wall_us)?
            }
            _ => !members::is_busy(txn, def, now.wall_us)?,
        })
    }

    /// What was written in one way cannot be read in the other: who wrote what of an item is not known of items
    /// that were not merged, and would be forgotten of those that were.
    fn admit_merging(
        &self,
        txn: &dyn ReadTxn,
        def: &TableDef,
        merging: Merging,
    ) -> Result<(), ExecuteError> {
        let counted = match self.counts.get(&(def.uid, 0)) {
            Some(counts) => *counts,
            None => read::counts_of(txn, def.uid, 0)?,
        };
        if def.merging == merging || counted.items == 0 {
            return Ok(());
        }
        Err(ApiError::validation(
            "One or more parameter values were invalid: The tag meridian:merge can only be changed while the table is \
             empty: of items that are there it is not known which region wrote which attribute",
        )
        .into())
    }

    pub(super) fn add_replica(
        &mut self,
        txn: &dyn ReadTxn,
        now: Now,
        def: &mut TableDef,
        region: RegionId,
    ) -> Result<(), ExecuteError> {
        let failed = |m: &Member| matches!(m.state, MemberState::Failed(_));
        if def.member(region).is_some_and(|m| !failed(m)) {
            return Err(in_use().into());
        }
        let me = self.config.region;
        def.members.retain(|m| m.region != region);
        if let Some(source) = def.members.iter_mut().find(|m| m.region == me) {
            source.sourced_us = now.wall_us;
        }
        def.members.push(Member {
            region,
            added: self.hlc.tick(now),
            state: MemberState::Creating { source: me },
            sourced_us: 0,
        });
        def.group = def.group.with(region);
        def.protected = def.protected.without(region);
        if def.stream_view.is_none() && !self.config.replicate_all {
            def.stream_view = Some(GLOBAL_VIEW.to_owned());
            def.stream_us = Some(self.new_label(txn, now, &def.name, def.stream_us)?);
        }
        Ok(())
    }

    /// This region's replica asks to become a table of its own.
    fn leave(&self, def: &mut TableDef) -> Result<(), ExecuteError> {
        let me = self.config.region;
        let alone = def.group == GroupId::of([me]);
        match def.members.iter_mut().find(|m| m.region == me) {
            Some(member) if !alone => member.state = MemberState::Leaving,
            _ => return Err(in_use().into()),
        }
        Ok(())
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
        uid: TableUid,
        def: Option<TableDef>,
    ) -> Result<(), StoreError> {
        let def = def.map(Box::new);
        self.commit_change(txn, now, group, Change::Table { name, uid, def })
    }
}

/// Takes a member out. One that never came to be leaves nothing behind.
pub(super) fn remove_replica(
    def: &mut TableDef,
    region: RegionId,
    now: Now,
) -> Result<(), ApiError> {
    def.group = def.group.without(region);
    def.protected = def.protected.without(region);
    let Some(member) = def.members.iter_mut().find(|m| m.region == region) else {
        return Err(in_use());
    };
    member.state = match member.state {
        MemberState::Failed(_) => MemberState::Gone,
        MemberState::Deleting { .. } | MemberState::Gone => return Err(in_use()),
        _ => MemberState::Deleting {
            since_us: now.wall_us,
        },
    };
    Ok(())
}

fn in_use() -> ApiError {
    ApiError::ResourceInUse("The resource which you are attempting to change is in use.".into())
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
    def.merging = settings.merging;
    def.recorded = settings.recorded;
}

fn drop_unused_attributes(def: &mut TableDef) {
    let used: Vec<String> = std::iter::once(&def.keys)
        .chain(def.indexes.iter().map(|i| &i.keys))
        .flat_map(|keys| keys.names().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    def.attributes.retain(|a| used.contains(&a.name));
}
