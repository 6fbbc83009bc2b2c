//! Conflicts are data: versions that lost a race, kept with the winner (replication.md section 12).

use std::ops::{Bound, ControlFlow};

use bincode::{Decode, Encode};

use super::catalog::TableUid;
use super::keys::meta;
use super::mutation::{ItemKey, Version};
use super::read;
use crate::store::{Db, Range, ReadTxn, StoreError, WriteTxn};

const FORMAT: u8 = 1;

/// Two versions of one item whose writers had not seen each other.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Conflict {
    /// The table's name when the conflict was found; empty when its definition had not arrived.
    pub table: String,
    pub uid: TableUid,
    pub key: ItemKey,
    pub winner: Version,
    pub loser: Version,
    /// Codec bytes; `None` = a delete.
    pub winner_image: Option<Vec<u8>>,
    pub loser_image: Option<Vec<u8>>,
    /// This region's wall clock when the two met.
    pub detected_us: u64,
}

/// Appends a conflict.
pub(super) fn record(txn: &mut dyn WriteTxn, conflict: &Conflict) -> Result<(), StoreError> {
    let lsn = read::meta_u64(txn.as_read(), meta::NEXT_CONFLICT)?.unwrap_or(0);
    let mut bytes = vec![FORMAT];
    bytes.extend(
        bincode::encode_to_vec(conflict, bincode::config::standard())
            .map_err(|e| StoreError::Damaged(format!("a conflict cannot be written: {e}")))?,
    );
    txn.put(Db::Conflicts, &lsn.to_be_bytes(), &bytes)?;
    txn.put(Db::Meta, meta::NEXT_CONFLICT, &(lsn + 1).to_be_bytes())
}

/// The newest conflicts first, of one table or of all.
pub fn list(
    txn: &dyn ReadTxn,
    table: Option<&str>,
    limit: usize,
) -> Result<Vec<Conflict>, StoreError> {
    let mut conflicts = Vec::new();
    let mut failure = None;
    let all = Range {
        from: Bound::Unbounded,
        to: Bound::Unbounded,
        reverse: true,
    };
    txn.scan(Db::Conflicts, all, &mut |_, value| {
        if conflicts.len() >= limit {
            return ControlFlow::Break(());
        }
        match decode(value) {
            Ok(conflict) if table.is_none_or(|t| t == conflict.table) => conflicts.push(conflict),
            Ok(_) => {}
            Err(error) => {
                failure = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failure.map_or(Ok(conflicts), Err)
}

/// How many conflicts were ever recorded here.
pub fn count(txn: &dyn ReadTxn) -> Result<u64, StoreError> {
    Ok(read::meta_u64(txn, meta::NEXT_CONFLICT)?.unwrap_or(0))
}

fn decode(bytes: &[u8]) -> Result<Conflict, StoreError> {
    let body = match bytes.split_first() {
        Some((&FORMAT, body)) => body,
        _ => {
            return Err(StoreError::Damaged(
                "a conflict of an unknown format".into(),
            ));
        }
    };
    bincode::decode_from_slice(body, bincode::config::standard())
        .map(|(conflict, _)| conflict)
        .map_err(|e| StoreError::Damaged(format!("a conflict cannot be read: {e}")))
}
