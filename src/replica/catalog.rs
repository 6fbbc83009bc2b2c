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
    /// It was a member. Kept so that nobody who knows it as one yet brings it back.
    Gone,
}

impl MemberState {
    /// Within one stay of a region the greater one is the later.
    fn stage(&self) -> (u8, u64) {
        match self {
            MemberState::Creating { .. } => (0, 0),
            MemberState::Active => (1, 0),
            MemberState::Failed(_) => (2, 0),
            MemberState::Leaving => (3, 0),
            MemberState::Deleting { since_us } => (4, *since_us),
            MemberState::Gone => (5, 0),
        }
    }

    /// Whether the region holds a replica.
    pub(super) fn is_here(&self) -> bool {
        matches!(
            self,
            MemberState::Creating { .. } | MemberState::Active | MemberState::Leaving
        )
    }
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
    /// The regions of `group` and those that are leaving it, were refused or were members, in the order they came.
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
        let mut members = self.members.iter();
        members.find(|m| m.region == region && m.state != MemberState::Gone)
    }

    /// Whether it may have had another group than it has.
    pub fn has_moved(&self) -> bool {
        let founding = |m: &Member| m.added == Stamp::MIN && m.state == MemberState::Active;
        !self.members.iter().all(founding)
    }

    /// A region is no member any more.
    pub fn drop_member(&mut self, region: RegionId) {
        if let Some(member) = self.members.iter_mut().find(|m| m.region == region) {
            member.state = MemberState::Gone;
        }
        self.group = self.group.without(region);
        self.protected = self.protected.without(region);
    }

    /// Takes over what another definition of the same table says of its replicas: of each region the latest that
    /// either knows. In whatever order definitions meet, the outcome is the same.
    pub fn join_members(&mut self, other: &TableDef) {
        for theirs in &other.members {
            let mut known = self.members.iter_mut();
            let Some(mine) = known.find(|m| m.region == theirs.region) else {
                self.members.push(theirs.clone());
                continue;
            };
            mine.sourced_us = mine.sourced_us.max(theirs.sourced_us);
            let latest = |member: &Member| (member.added, member.state.stage());
            if latest(theirs) > latest(mine) {
                (mine.added, mine.state) = (theirs.added, theirs.state.clone());
            }
        }
        self.members.sort_by_key(|m| (m.added, m.region));
        let here = self.members.iter().filter(|m| m.state.is_here());
        self.group = GroupId::of(here.map(|m| m.region));
        self.protected = GroupId(self.protected.0 & self.group.0);
    }

    /// Who sends a new member all that there is: who added it, or the first that stays where that one is out itself.
    pub fn source_of(&self, new: &Member) -> Option<RegionId> {
        let MemberState::Creating { source } = new.state else {
            return None;
        };
        let active = |m: &&Member| m.state == MemberState::Active;
        let mut stay = self.members.iter().filter(active);
        let named = stay.clone().find(|m| m.region == source);
        named.or_else(|| stay.next()).map(|m| m.region)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_member(region: u16) -> impl Strategy<Value = Member> {
        (0u64..3, 0u8..6, 0u64..3).prop_map(move |(added, stage, us)| Member {
            region: RegionId(region),
            added: Stamp {
                physical_us: added,
                ..Stamp::MIN
            },
            state: match stage {
                // One stay has one source.
                0 => MemberState::Creating {
                    source: RegionId(9),
                },
                1 => MemberState::Active,
                2 => MemberState::Failed("taken".into()),
                3 => MemberState::Leaving,
                4 => MemberState::Deleting { since_us: us },
                _ => MemberState::Gone,
            },
            sourced_us: us,
        })
    }

    /// A definition of some of three regions; all members that are here are its group.
    fn any_def() -> impl Strategy<Value = TableDef> {
        let member = |region| prop::option::of(any_member(region));
        (member(0), member(1), member(2)).prop_map(|(a, b, c)| {
            let mut def = TableDef {
                name: "t".into(),
                uid: TableUid(1),
                group: GroupId(0),
                attributes: Vec::new(),
                keys: KeySchema::simple(("k", crate::item::KeyType::S), None),
                indexes: Vec::new(),
                created_us: 0,
                updated_us: 0,
                throughput: None,
                stream_view: None,
                stream_us: None,
                protected: GroupId(0b111),
                members: [a, b, c].into_iter().flatten().collect(),
                ttl: TimeToLive::default(),
                recorded: Vec::new(),
                next_index: 0,
                merging: Merging::default(),
            };
            def.join_members(&def.clone());
            def
        })
    }

    fn joined(a: &TableDef, b: &TableDef) -> Vec<Member> {
        let mut both = a.clone();
        both.join_members(b);
        both.members
    }

    proptest! {
        #[test]
        fn members_join_alike_in_every_order(a in any_def(), b in any_def(), c in any_def()) {
            prop_assert_eq!(joined(&a, &b), joined(&b, &a));
            prop_assert_eq!(joined(&a, &a), a.members.clone());
            let (mut left, mut right) = (a.clone(), b.clone());
            left.join_members(&b);
            left.join_members(&c);
            right.join_members(&c);
            prop_assert_eq!(&left.members, &joined(&a, &right));
            let out = left.members.iter().filter(|m| !left.group.contains(m.region));
            for member in out {
                prop_assert!(left.source_of(member).is_none() || member.state.is_here());
            }
        }
    }
}
