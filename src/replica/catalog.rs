//! Table definitions as every region stores and replicates them.

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
    /// NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES or KEYS_ONLY when a stream is on.
    pub stream_view: Option<String>,
    /// When the newest stream was enabled, which is its label; kept when it is disabled.
    pub stream_us: Option<u64>,
    pub deletion_protection: bool,
    /// Settings kept and echoed only, by their API name, as JSON text.
    pub recorded: Vec<(String, String)>,
    /// The id that the next index will get.
    pub next_index: u32,
}

impl TableDef {
    pub fn index(&self, name: &str) -> Option<&IndexDef> {
        self.indexes.iter().find(|i| i.name == name)
    }
}
