//! Table definitions as every region stores and replicates them.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::mutation::GroupId;
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
    /// Provisioned (read, write) units; `None` = PAY_PER_REQUEST.
    pub throughput: Option<(u64, u64)>,
    /// NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES or KEYS_ONLY when a stream is on (recorded only, yet).
    pub stream_view: Option<String>,
    /// The regions whose replica is protected against deletion, as they last said: what others go by. A region
    /// goes by its own [`LocalSettings`].
    pub protected: GroupId,
    /// Settings kept and echoed only, by their API name, as JSON text; those of an index by `name/index`.
    pub recorded: Vec<(String, String)>,
    /// The id that the next index will get.
    pub next_index: u32,
}

/// What one region keeps of its replica of a table: never replicated, never inherited (global-tables.md
/// section 4). It goes with the replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct LocalSettings {
    pub deletion_protection: bool,
    /// Tags, resource policy, insights, destinations: kept and echoed only, by name, as JSON text.
    pub recorded: BTreeMap<String, String>,
}

impl TableDef {
    /// A recorded setting, as JSON text.
    pub fn recorded(&self, name: &str) -> Option<&str> {
        let found = self.recorded.iter().find(|(n, _)| n == name);
        found.map(|(_, text)| text.as_str())
    }

    pub fn index(&self, name: &str) -> Option<&IndexDef> {
        self.indexes.iter().find(|i| i.name == name)
    }
}
