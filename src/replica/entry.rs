//! What `meta` holds of tables: under a name the definition or its absence, under a uid what became of it.

use std::sync::Arc;

use bincode::{Decode, Encode};

use super::catalog::{TableDef, TableUid};
use super::keys::meta;
use super::mutation::Version;
use super::{TableState, read};
use crate::store::{Db, ReadTxn, StoreError};

const FORMAT: u8 = 5;
/// The value of a uid whose table is gone from here: another has its name.
pub(super) const DEAD: &[u8] = b"";
/// The value of a uid whose table was deleted. No name is as short.
pub(super) const DELETED: &[u8] = b"-";

/// What `meta` holds under a table's name.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct TableEntry {
    pub version: Version,
    /// Of the table, also where it was deleted.
    pub uid: TableUid,
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

pub(super) fn encode_entry(entry: &TableEntry) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![FORMAT];
    let body = bincode::encode_to_vec(entry, bincode::config::standard())
        .map_err(|e| StoreError::Damaged(format!("a table's definition cannot be written: {e}")))?;
    bytes.extend(body);
    Ok(bytes)
}

/// The name of the table of a uid, empty where it is gone or not known yet.
pub(super) fn name_of(txn: &dyn ReadTxn, uid: TableUid) -> Result<String, StoreError> {
    let name = txn.get(Db::Meta, &meta::uid(uid))?.unwrap_or_default();
    let name = if name == DELETED { DEAD } else { name };
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// What this store knows of a uid.
pub(super) fn state_of(txn: &dyn ReadTxn, uid: TableUid) -> Result<TableState, StoreError> {
    let Some(name) = txn.get(Db::Meta, &meta::uid(uid))? else {
        return Ok(TableState::Unknown);
    };
    if name == DEAD || name == DELETED {
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
