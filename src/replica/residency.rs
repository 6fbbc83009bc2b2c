//! Tables follow the members of the cluster (replication.md sections 8 and 14): a region that joins is given a
//! replica of every table that all active members have, where new tables are global at once; one that leaves, or
//! was removed, has its replicas taken out. By the ordinary way of replicas ([`super::members`]), one change of a
//! table at a time, made by the first active member of the table's group.

use std::sync::Arc;

use super::catalog::TableDef;
use super::chores::Chore;
use super::error::ApiError;
use super::keys::meta;
use super::manifest::{Manifest, State};
use super::members::{self, MemberStatus};
use super::mutation::GroupId;
use super::{ExecuteError, Replica, read, tables};
use crate::clock::{Now, RegionId};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// A region that joins gets a replica of this table.
fn is_for_all(def: &TableDef, manifest: &Manifest) -> bool {
    let voters = manifest.voters();
    voters != GroupId(0) && def.group.0 & voters.0 == voters.0
}

/// Whether the regions of this state have their replicas taken out.
fn goes(state: State) -> bool {
    matches!(state, State::Leaving | State::Removed)
}

/// The tables of which the replica in `region`, which joins or leaves, has not come or gone yet, as far as `us`
/// can see.
pub fn unsettled(
    txn: &dyn ReadTxn,
    us: RegionId,
    manifest: &Manifest,
    replicate_all: bool,
    region: RegionId,
) -> Result<Vec<String>, StoreError> {
    let joins = manifest.joins(region);
    let leaves = manifest.state(region).is_some_and(goes);
    let mut found = Vec::new();
    for def in read::tables(txn, us)? {
        let statuses = members::statuses(txn, &def)?;
        let status = statuses.into_iter().find(|(r, _)| *r == region);
        let waits = match status.map(|(_, status)| status) {
            Some(MemberStatus::Failed(_)) => false,
            Some(MemberStatus::Active) => leaves,
            // Until it says that its replica has come, or gone.
            Some(_) => joins || leaves,
            None => joins && replicate_all && is_for_all(&def, manifest),
        };
        found.extend(waits.then_some(def.name));
    }
    Ok(found)
}

impl Replica {
    /// Whether clients may write here, by what this region is among the members.
    pub(super) fn takes_writes(&self) -> bool {
        let voters = self.manifest.voters();
        voters.contains(self.config.region)
    }

    /// Why they may not. Retryable, elsewhere.
    pub(super) fn write_refusal(&self) -> ApiError {
        crate::mark!("write refused to a member");
        let text = match self.manifest.state(self.config.region) {
            Some(State::Joining) => {
                "This region is joining its cluster and does not have everything yet. Use another region \
                 meanwhile."
            }
            Some(State::Leaving) => {
                "This region is leaving its cluster and takes no more writes. Use another region."
            }
            Some(State::Lapsed) => {
                "This region has lapsed: the others went on without it. It takes no writes until it is back. Use \
                 another region."
            }
            _ => {
                "This region was removed from its cluster and takes no writes. Use another region."
            }
        };
        ApiError::ServiceUnavailable(text.into())
    }

    /// Whether this region is one of those that make commits.
    pub(super) fn may_originate(&self) -> bool {
        let originators = self.manifest.originators();
        originators.contains(self.config.region)
    }

    /// Whether it may make one now. Where it joins, the others have held stamps to be stable without asking it, and
    /// its own are above those only once it lacks nothing.
    pub(super) fn may_commit(&self, txn: &dyn ReadTxn) -> Result<bool, StoreError> {
        let joins = self.manifest.joins(self.config.region);
        Ok(self.may_originate() && !(joins && txn.get(Db::Meta, meta::NEWBORN)?.is_some()))
    }

    /// The chore: one change of one table, where the members changed and this region sees to the table.
    pub(super) fn follow_manifest(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        if self.resident {
            return Ok(Chore::Done);
        }
        let manifest = Arc::clone(&self.manifest);
        let comes = if self.config.replicate_all {
            manifest.in_state(|state| state == State::Joining)
        } else {
            GroupId(0)
        };
        let leaves = manifest.in_state(goes);
        let mut left = false;
        if comes != GroupId(0) || leaves != GroupId(0) {
            for def in read::tables(txn.as_read(), self.config.region)? {
                let active = GroupId(def.group.0 & manifest.voters().0);
                let due = self.due(&def, &manifest, comes, leaves);
                let Some(due) = due.filter(|_| active.regions().next() == Some(self.config.region))
                else {
                    continue;
                };
                left = true;
                // One that was removed says no more that its replica has gone.
                let removed = manifest.state(due) == Some(State::Removed);
                if removed || !members::is_busy(txn.as_read(), &def, now.wall_us)? {
                    self.settle_resident(txn, now, def, due)?;
                    return Ok(Chore::More);
                }
            }
        }
        self.resident = !left;
        Ok(Chore::Done)
    }

    /// The first region whose replica of the table is to come or go.
    fn due(
        &self,
        def: &TableDef,
        manifest: &Manifest,
        comes: GroupId,
        leaves: GroupId,
    ) -> Option<RegionId> {
        let stays = |region: &RegionId| match manifest.state(*region) {
            Some(State::Removed) => def.member(*region).is_some(),
            _ => def.group.contains(*region),
        };
        if let Some(gone) = leaves.regions().find(stays) {
            return Some(gone);
        }
        let lacks = |region: &RegionId| def.member(*region).is_none();
        let mut comes = comes.regions().filter(lacks);
        comes.next().filter(|_| is_for_all(def, manifest))
    }

    fn settle_resident(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        old: TableDef,
        region: RegionId,
    ) -> Result<(), StoreError> {
        let mut def = old.clone();
        members::settle(txn.as_read(), &mut def)?;
        def.updated_us = now.wall_us;
        let changed = if self.manifest.state(region) == Some(State::Removed) {
            crate::mark!("replica of a leaver taken out");
            def.drop_member(region);
            Ok(())
        } else if def.group.contains(region) {
            crate::mark!("replica of a leaver taken out");
            tables::remove_replica(&mut def, region, now).map_err(ExecuteError::from)
        } else {
            crate::mark!("replica for a joiner");
            self.add_replica(txn.as_read(), now, &mut def, region)
        };
        match changed {
            Ok(()) => {}
            // It has come or gone meanwhile.
            Err(ExecuteError::Api(_)) => return Ok(()),
            Err(ExecuteError::Store(error)) => return Err(error),
        }
        let group = GroupId(def.group.0 | old.group.0);
        let (name, uid) = (def.name.clone(), def.uid);
        self.commit_table(txn, now, group, name, uid, Some(def))
    }
}
