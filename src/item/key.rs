//! Key schemas and order-preserving key bytes (values-and-keys.md section 3).

use serde::{Deserialize, Serialize};

/// The scalar types a key attribute may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub enum KeyType {
    S,
    N,
    B,
}

/// One attribute of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct KeyAttribute {
    pub name: String,
    pub kind: KeyType,
}

/// The key of a table or an index. Tables and LSIs have exactly one partition attribute and at most one
/// sort attribute; a GSI may have up to four of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct KeySchema {
    pub partition: Vec<KeyAttribute>,
    pub sort: Vec<KeyAttribute>,
}

/// Why a key could not be taken from an item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key")]
pub struct KeyError;
