//! Table definitions as every region stores and replicates them.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::mutation::GroupId;
use crate::clock::{RegionId, Stamp};
use crate::item::{KeyAttribute, KeySchema};

/// The cluster-wide identity of one creation of a table; a table re-created under its name has another.
/// Made of the creating region (upper 16 bits) and its HLC time, so it needs no agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct TableUid(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum IndexKind {
    Global,
    Local,
}

/// What an index entry holds besides the index's and the table's keys.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Projection {
    KeysOnly,
    Include(Vec<String>),
    All,
}

/// A secondary index. `id` is unique within its table for ever.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct IndexDef {
    pub id: u32,
    pub name: String,
    pub kind: IndexKind,
    pub keys: KeySchema,
    pub projection: Projection,
    /// Provisioned (read, write) units; `None` on demand and on LSIs.
    pub throughput: Option<(u64, u64)>,
}

/// A table's Time To Live (streams-ttl-backup.md section 2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TimeToLive {
    /// The attribute that holds the second at which an item expires; `None` = disabled.
    pub attribute: Option<String>,
    /// When it was last enabled or disabled, on the wall clock of the region that was asked; 0 = never.
    pub changed_us: u64,
}

/// What a table is busy with, where a region slows the states of tables down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    Creating,
    Updating,
    Deleting,
}

/// One region's replica of a table, as the definition has it. What the region itself has reported since
/// ([`super::members`]) says how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    pub region: RegionId,
    /// When it was added, which tells one stay of a region from the next; [`Stamp::MIN`] = with the table.
    pub added: Stamp,
    pub state: MemberState,
    /// When it was last the source of a new replica; 0 = never.
    pub sourced_us: u64,
}

/// What is being done with a member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum MemberState {
    Active,
    /// Added by `source`, which sends it all it has.
    Creating {
        source: RegionId,
    },
    /// Out of the group, and about to remove its items.
    Deleting {
        since_us: u64,
    },
    /// Refused by its region, and why.
    Failed(String),
    /// About to become a table of its own, once all that was written before has arrived everywhere.
    Leaving,
}

/// What becomes of writes that regions make to one item without knowledge of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum Merging {
    /// The last writer wins the whole item, as in DynamoDB.
    #[default]
    Items,
    /// Each attribute by itself, and additions count in any case ([`super::merge`]).
    Attributes,
}

/// The definition of a table, the same in every region of its group.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TableDef {
    pub name: String,
    pub uid: TableUid,
    /// The regions that hold a replica.
    pub group: GroupId,
    pub attributes: Vec<KeyAttribute>,
    pub keys: KeySchema,
    pub indexes: Vec<IndexDef>,
    pub created_us: u64,
    /// When UpdateTable last changed what takes AWS a while: throughput, stream, indexes, replicas; else 0.
    pub updated_us: u64,
    /// Provisioned (read, write) units; `None` = PAY_PER_REQUEST.
    pub throughput: Option<(u64, u64)>,
    /// NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES or KEYS_ONLY when a stream is on.
    pub stream_view: Option<String>,
    /// When the newest stream was enabled, which is its label; kept when it is disabled.
    pub stream_us: Option<u64>,
    /// The regions whose replica is protected against deletion, as they last said: what others go by. A region
    /// goes by its own [`LocalSettings`].
    pub protected: GroupId,
    /// The regions of `group` and those that are leaving it or were refused, in the order they came.
    pub members: Vec<Member>,
    pub ttl: TimeToLive,
    /// Settings kept and echoed only, by their API name, as JSON text; those of an index by `name/index`.
    pub recorded: Vec<(String, String)>,
    /// The id that the next index will get.
    pub next_index: u32,
    pub merging: Merging,
}

/// What one region keeps of its replica of a table: never replicated, never inherited (global-tables.md
/// section 4). It goes with the replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct LocalSettings {
    pub deletion_protection: bool,
    /// DisassociationProtectionEnabled was set to false.
    pub may_disassociate: bool,
    /// Tags, resource policy, insights, destinations: kept and echoed only, by name, as JSON text.
    pub recorded: BTreeMap<String, String>,
}

impl TableDef {
    /// A recorded setting, as JSON text.
    pub fn recorded(&self, name: &str) -> Option<&str> {
        let found = self.recorded.iter().find(|(n, _)| n == name);
        found.map(|(_, text)| text.as_str())
    }

    /// A region's replica.
    pub fn member(&self, region: RegionId) -> Option<&Member> {
        self.members.iter().find(|m| m.region == region)
    }

    /// When the newest stream of a region's replica was enabled, which is its label: with the table's, or with
    /// the replica itself.
    pub fn stream_us_in(&self, region: RegionId) -> Option<u64> {
        let added_us = self.member(region).map_or(0, |m| m.added.physical_us);
        self.stream_us.map(|us| us.max(added_us))
    }

    pub fn index(&self, name: &str) -> Option<&IndexDef> {
        self.indexes.iter().find(|i| i.name == name)
    }

    /// What the table is busy with at `now_us`, where tables take `delay_us` for everything. Told by the
    /// definition alone, so no timer is kept; regions whose clocks differ see it end at different instants.
    pub fn busy(&self, now_us: u64, delay_us: u64) -> Option<Busy> {
        let within = |since_us: u64| now_us < since_us.saturating_add(delay_us);
        if within(self.created_us) {
            Some(Busy::Creating)
        } else if self.updated_us > 0 && within(self.updated_us) {
            Some(Busy::Updating)
        } else {
            None
        }
    }
}
