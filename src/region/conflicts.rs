//! Conflicts as people read them: DynamoDB JSON, names instead of numbers.

use serde_json::{Value, json};

use super::status::Status;
use crate::item::codec;
use crate::replica::conflict::{self, Conflict};
use crate::replica::mutation::{RankKind, Version};
use crate::replica::read;
use crate::store::{ReadTxn, StoreError};

/// How many conflicts are listed unless asked otherwise, and at most.
pub(super) const LIMIT_DEFAULT: usize = 100;
pub(super) const LIMIT_MAX: usize = 10_000;

impl Status {
    /// The newest conflicts first: GET /conflicts.
    pub fn conflicts(&self, table: Option<&str>, limit: usize) -> Result<Value, StoreError> {
        let txn = self.store.begin_read()?;
        let listed = conflict::list(&*txn, table, limit.min(LIMIT_MAX))?;
        let rows: Result<Vec<Value>, StoreError> = listed
            .iter()
            .map(|conflict| self.conflict(&*txn, conflict))
            .collect();
        Ok(json!({
            "region": self.info.name,
            "total": conflict::count(&*txn)?,
            "conflicts": rows?,
        }))
    }

    fn conflict(&self, txn: &dyn ReadTxn, conflict: &Conflict) -> Result<Value, StoreError> {
        Ok(json!({
            "table": conflict.table,
            "key": self.key(txn, conflict)?,
            "winner": self.version(&conflict.winner, conflict.winner_image.as_deref())?,
            "loser": self.version(&conflict.loser, conflict.loser_image.as_deref())?,
            "detected_us": conflict.detected_us,
            "detected_in": self.info.name,
        }))
    }

    /// The key attributes; null when the table is gone, or is another of the same name.
    fn key(&self, txn: &dyn ReadTxn, conflict: &Conflict) -> Result<Value, StoreError> {
        let Some(def) = read::table(txn, self.info.id, &conflict.table)? else {
            return Ok(Value::Null);
        };
        if def.uid != conflict.uid {
            return Ok(Value::Null);
        }
        let key = def
            .keys
            .key_item(&conflict.key.partition, &conflict.key.sort);
        key.map_or(Ok(Value::Null), |key| image(&codec::encode(&key)))
    }

    fn version(&self, version: &Version, bytes: Option<&[u8]>) -> Result<Value, StoreError> {
        let stamp = version.rank.stamp;
        let kind = match version.rank.kind {
            RankKind::Write if bytes.is_none() => "delete",
            RankKind::Write => "write",
            RankKind::Expire => "expire",
        };
        Ok(json!({
            "region": self.name(version.dot.log.origin.region),
            "kind": kind,
            "stamp": stamp.to_string(),
            "physical_us": stamp.physical_us,
            "logical": stamp.logical,
            "seq": version.dot.seq,
            "item": bytes.map_or(Ok(Value::Null), image)?,
        }))
    }
}

fn image(bytes: &[u8]) -> Result<Value, StoreError> {
    let damaged = |reason: String| StoreError::Damaged(reason);
    let mut text = Vec::new();
    codec::write_json(bytes, &mut text).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}
