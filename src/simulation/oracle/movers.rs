//! Replicas of the table that come and go. What a region had of it is gone when its replica is removed, and when it
//! is back it has everything again: O1 and O2 in the end, O3 within a stay.
//!
//! Whether a region has a replica is told by the definitions that it has applied, each as its commit has it, not by
//! what it made of them: of its own replica the greatest counts, by when it was added and how far it has come.

use std::sync::Arc;

use super::super::report::OracleId;
use super::super::workload;
use super::{Known, Oracles};
use crate::clock::{RegionId, Stamp};
use crate::replica::catalog::{Member, MemberState, TableDef};
use crate::replica::mutation::{Change, Commit};
use crate::replica::{ApiError, members, read};
use crate::store::{ReadTxn, StoreError};

/// What a region has been told of its own replica: when it was added, and how far it is.
pub(super) type Stay = (Stamp, u8);

/// How far a replica is; from 4 on it is none.
fn stage(state: &MemberState) -> u8 {
    match state {
        MemberState::Creating { .. } => 0,
        MemberState::Active => 1,
        MemberState::Failed(_) => 2,
        MemberState::Leaving => 3,
        MemberState::Deleting { .. } => 4,
        MemberState::Gone => 5,
    }
}

fn has_replica(stay: Stay) -> bool {
    matches!(stay.1, 0 | 1 | 3)
}

impl Known {
    /// Whether what comes of the table is kept here. Where nobody has told yet, it is.
    pub(super) fn has_replica(&self) -> bool {
        self.stay.is_none_or(has_replica)
    }
}

/// The replicas of the table that a commit is about.
pub(super) fn replicas_in(commit: &Commit) -> Vec<Member> {
    let changes = commit.mutations.iter().map(|mutation| &mutation.change);
    changes.flat_map(replicas_of).cloned().collect()
}

pub(super) fn replicas_of(change: &Change) -> &[Member] {
    match change {
        Change::Table { name, def, .. } if name == workload::TABLE => {
            def.as_ref().map_or(&[], |def| &def.members)
        }
        _ => &[],
    }
}

impl Oracles {
    /// A definition of the table comes to a region: its replica there may end, or begin anew.
    pub(super) fn follow_replicas(&mut self, here: usize, replicas: &[Member]) {
        let own = |m: &&Member| usize::from(m.region.0) == here;
        let Some(member) = replicas.iter().find(own) else {
            return;
        };
        let told = (member.added, stage(&member.state));
        let known = &mut self.regions[here];
        if known.stay >= Some(told) {
            return;
        }
        // Where two operators add it, in two regions at once, what has come already stays.
        let ends = known.has_replica() && !has_replica(told);
        known.stay = Some(told);
        if ends {
            known.shadows.clear();
            known.tombstones.clear();
            // Clients know of what was here.
            self.sessions.clear();
        }
    }

    /// The table, if clients may read it in a region: its replica has everything.
    pub(super) fn readable(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
    ) -> Result<Option<Arc<TableDef>>, StoreError> {
        let Some(def) = self.table(txn, region)? else {
            return Ok(None);
        };
        let joining = members::is_joining(txn, &def, region)?;
        Ok((!joining).then_some(def))
    }

    /// O1, in the end: a region has the table as the definitions say that it has applied, and nothing of it is
    /// left where it has none.
    pub(super) fn check_gone(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
    ) -> Result<(), ApiError> {
        if self.scripted {
            return Ok(());
        }
        let there = self.table(txn, region)?.is_some();
        // Nobody has told where every disk that knew the table is lost.
        if let Some(told) = self.regions[usize::from(region.0)].stay.map(has_replica) {
            self.check(OracleId::Convergence, told == there, |world| {
                let name = world.name(region);
                format!("{name} has a replica: {there}, and was told that it has one: {told}")
            });
        }
        if there {
            return Ok(());
        }
        // By the name of a region that has it.
        let mut others = self.names.iter().enumerate();
        let def = others.find_map(|(at, _)| {
            let other = RegionId(u16::try_from(at).ok()?);
            read::table(txn, other, workload::TABLE).transpose()
        });
        let Some(def) = def.transpose()? else {
            return Ok(());
        };
        let rows = read::versions(txn, &def)?.len() + read::index_rows(txn, &def)?.len();
        let counted = read::details(txn, &def)?.counts.items;
        self.check(OracleId::Convergence, rows == 0 && counted == 0, |world| {
            let name = world.name(region);
            format!("{name} has no replica, {rows} rows of it and counts {counted} items")
        });
        Ok(())
    }
}
