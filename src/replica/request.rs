//! Typed requests as `api` and `simulation` hand them to the replica, and the answers.

use std::collections::BTreeMap;

use super::catalog::{LocalSettings, TableDef, TableUid};
use super::conflict::ConflictId;
use crate::clock::RegionId;
use crate::expression::{Condition, KeyCondition, Path, Update};
use crate::item::{Item, size::item_size};

/// What a write holds besides its values, about.
const WRITE_BYTES: usize = 256;

/// What a single-item write does to the item.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteAction {
    /// Replaces the item. `item` holds the key.
    Put {
        item: Item,
    },
    Update {
        key: Item,
        update: Update,
    },
    Delete {
        key: Item,
    },
    /// Transactions only.
    Check {
        key: Item,
    },
}

/// One conditional write of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemWrite {
    pub table: String,
    pub action: WriteAction,
    pub condition: Option<Condition>,
    /// ReturnValuesOnConditionCheckFailure = ALL_OLD.
    pub return_old_on_failure: bool,
}

/// A request that changes something. Each runs in the single writer, alone and atomically.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteRequest {
    Item(ItemWrite),
    /// BatchWriteItem: unconditional puts and deletes of distinct items.
    Batch(Vec<ItemWrite>),
    /// TransactWriteItems. `token` = (ClientRequestToken, digest of the request's parameters).
    Transaction {
        writes: Vec<ItemWrite>,
        token: Option<(String, u64)>,
    },
    /// `def` as validated by `api`; uid, group, created_us and index ids are filled in here.
    CreateTable {
        def: Box<TableDef>,
        local: Box<LocalSettings>,
    },
    UpdateTable {
        table: String,
        change: TableChange,
    },
    DeleteTable {
        table: String,
    },
    /// Writes the loser of a conflict back, if the winner is still there or with `force`.
    RestoreConflict {
        id: ConflictId,
        force: bool,
    },
}

impl ItemWrite {
    fn bytes(&self) -> usize {
        let action = match &self.action {
            WriteAction::Put { item } => item_size(item),
            WriteAction::Update { key, update } => item_size(key) + update.bytes(),
            WriteAction::Delete { key } | WriteAction::Check { key } => item_size(key),
        };
        let condition = self.condition.as_ref().map_or(0, Condition::bytes);
        action + condition + self.table.len() + WRITE_BYTES
    }
}

impl WriteRequest {
    /// About how much memory the request holds: what bounds of queues count.
    pub fn bytes(&self) -> usize {
        match self {
            WriteRequest::Item(write) => write.bytes(),
            WriteRequest::Batch(writes) | WriteRequest::Transaction { writes, .. } => {
                writes.iter().map(ItemWrite::bytes).sum::<usize>() + WRITE_BYTES
            }
            // Tables change rarely, and their definitions are small.
            _ => WRITE_BYTES,
        }
    }
}

/// One kind of UpdateTable.
#[derive(Clone, Debug, PartialEq)]
pub enum TableChange {
    AddReplica(RegionId),
    RemoveReplica(RegionId),
    /// This region's replica becomes a table of its own.
    Disassociate,
    /// The new definition's settings: throughput, stream, recorded settings. Keys and indexes are left
    /// alone. Made only of the definition it was worked out from: see [`WriteResponse::Stale`].
    Settings {
        read: Box<TableDef>,
        new: Box<TableDef>,
    },
    /// What this region keeps of the table `uid`, worked out from `read`.
    Local {
        uid: TableUid,
        read: Box<LocalSettings>,
        new: Box<LocalSettings>,
    },
    /// `attributes` are merged into the table's definitions.
    CreateIndex {
        index: super::catalog::IndexDef,
        attributes: Vec<crate::item::KeyAttribute>,
    },
    DeleteIndex(String),
    TimeToLive {
        enabled: bool,
        attribute: String,
    },
}

/// What a write did to one item.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ItemOutcome {
    pub old: Option<Item>,
    pub new: Option<Item>,
    /// Targets of the update expression, for UPDATED_OLD and UPDATED_NEW.
    pub touched: Vec<Path>,
    /// Write units of each index entry change, by index name.
    pub index_units: BTreeMap<String, f64>,
    /// The size of its item collection after the write, on a table with a local index.
    pub collection_bytes: u64,
}

impl ItemOutcome {
    /// What the write is charged by: the larger of the two images.
    pub fn size(&self) -> usize {
        let size = |item: &Option<Item>| item.as_ref().map_or(0, item_size);
        size(&self.old).max(size(&self.new))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum WriteResponse {
    Item(Box<ItemOutcome>),
    /// In request order.
    Items(Vec<ItemOutcome>),
    /// The transaction's token was used before with the same parameters: nothing was done. For each action,
    /// the larger of the images that it found and left then.
    Replayed(Vec<usize>),
    Table(Box<TableDef>),
    /// The table is no longer what the change was worked out from: nothing was done, read it again.
    Stale,
}

/// A Query or Scan page, after validation.
#[derive(Clone, Debug, PartialEq)]
pub struct PageRequest {
    pub table: String,
    pub index: Option<String>,
    /// `None` = Scan.
    pub condition: Option<KeyCondition>,
    pub filter: Option<Condition>,
    pub forward: bool,
    pub limit: Option<usize>,
    pub start: Option<Item>,
    /// Scan: (Segment, TotalSegments).
    pub segment: Option<(u32, u32)>,
}

/// One page. `items` are whole index entries or items; `api` projects them.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Page {
    pub items: Vec<Item>,
    pub scanned: usize,
    /// Bytes evaluated, for capacity.
    pub scanned_bytes: usize,
    pub last_key: Option<Item>,
}
