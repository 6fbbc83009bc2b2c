//! Conflicts as people read them: DynamoDB JSON, names instead of numbers.
//!
//! GET /conflicts?table=&limit= lists the newest first; with `after=N`, those numbered above N, oldest
//! first, and with `wait_ms` the answer comes when there are some. GET /conflicts/ID, where the first digits
//! of an id do, is one of them, and POST /conflicts/ID/restore writes its loser back.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::admin::AdminError;
use super::status::Status;
use crate::api::Backend;
use crate::item::codec;
use crate::replica::ApiError;
use crate::replica::conflict::{self, Conflict, ConflictId, Kept, Tallies};
use crate::replica::mutation::{RankKind, Version};
use crate::replica::read;
use crate::replica::request::WriteRequest;
use crate::store::{ReadTxn, StoreError};

/// How many conflicts are listed unless asked otherwise, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 10_000;
const WAIT_MAX_MS: u64 = 20_000;
const ID_DIGITS: usize = 32;

/// The query of GET /conflicts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    table: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
    wait_ms: u64,
}

/// POST /conflicts/ID/restore.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoreRequest {
    /// Whatever is there now.
    #[serde(default)]
    force: bool,
}

/// Answers what is below /conflicts; `path` is what follows it.
pub(super) async fn route(
    status: &Status,
    method: &Method,
    path: &str,
    query: &str,
    body: Bytes,
) -> Result<Value, AdminError> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        (&Method::GET, []) => {
            let query = parse(query)?;
            match query.after {
                None => Ok(status.newest(&query)?),
                Some(after) => Ok(status.newer(&query, after).await?),
            }
        }
        (&Method::GET, [id]) => status.one(id),
        (&Method::POST, [id, "restore"]) => {
            let wanted = match body.is_empty() {
                true => RestoreRequest::default(),
                false => serde_json::from_slice(&body).map_err(|error| {
                    AdminError::Bad(format!("the body is not a restore request: {error}"))
                })?,
            };
            status.restore(id, wanted.force).await
        }
        _ => Err(AdminError::NotFound(format!("{method} /conflicts{path}"))),
    }
}

/// Table names need no escapes (letters, digits, `-`, `_`, `.`), so none are read.
fn parse(query: &str) -> Result<Query, AdminError> {
    let mut wanted = Query::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| AdminError::Bad(format!("'{pair}' is not a number")))
        };
        match pair.split_once('=') {
            Some(("table", "")) => {}
            Some(("table", name)) => wanted.table = Some(name.to_string()),
            Some(("limit", text)) => {
                wanted.limit = Some(usize::try_from(number(text)?).unwrap_or(LIMIT_MAX));
            }
            Some(("after", text)) => wanted.after = Some(number(text)?),
            Some(("wait_ms", text)) => wanted.wait_ms = number(text)?.min(WAIT_MAX_MS),
            _ => return Err(AdminError::Bad(format!("'{pair}' is not known here"))),
        }
    }
    Ok(wanted)
}

impl Query {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX)
    }
}

impl Status {
    /// The newest conflicts first.
    fn newest(&self, query: &Query) -> Result<Value, StoreError> {
        let txn = self.store.begin_read()?;
        let listed = conflict::list(&*txn, query.table.as_deref(), query.limit())?;
        self.listed(&*txn, &listed, conflict::count(&*txn)?)
    }

    /// The oldest above a number; as long as there are none, waits for the frontier to move.
    async fn newer(&self, query: &Query, after: u64) -> Result<Value, StoreError> {
        let deadline = Instant::now() + Duration::from_millis(query.wait_ms);
        let mut visible = self.backend.visible.clone();
        loop {
            visible.borrow_and_update();
            let (found, answer) = self.page_after(query, after)?;
            if found || query.wait_ms == 0 {
                return Ok(answer);
            }
            match timeout_at(deadline, visible.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(answer),
            }
        }
    }

    fn page_after(&self, query: &Query, after: u64) -> Result<(bool, Value), StoreError> {
        let txn = self.store.begin_read()?;
        let newer = conflict::after(&*txn, query.table.as_deref(), after, query.limit())?;
        let answer = self.listed(&*txn, &newer.conflicts, newer.next)?;
        Ok((!newer.conflicts.is_empty(), answer))
    }

    fn listed(&self, txn: &dyn ReadTxn, listed: &[Kept], next: u64) -> Result<Value, StoreError> {
        let rows: Result<Vec<Value>, StoreError> =
            listed.iter().map(|kept| self.conflict(txn, kept)).collect();
        let mut answer = self.conflict_counts(txn)?;
        if let Some(members) = answer.as_object_mut() {
            members.insert("region".into(), self.info.name.clone().into());
            members.insert("total".into(), conflict::count(txn)?.into());
            members.insert("next".into(), next.into());
            members.insert("conflicts".into(), rows?.into());
        }
        Ok(answer)
    }

    /// What was recorded, dropped and restored, by table and by link.
    pub fn conflict_counts(&self, txn: &dyn ReadTxn) -> Result<Value, StoreError> {
        let tallies: Tallies = conflict::tallies(txn)?;
        let table = |(uid, t): &(crate::replica::catalog::TableUid, conflict::TableTally)| {
            json!({
                "table": t.name, "uid": format!("{:016x}", uid.0),
                "recorded": t.recorded, "kept": t.kept, "dropped": t.dropped,
                "restored": t.restored, "bytes": t.bytes,
            })
        };
        let link = |link: &conflict::LinkTally| {
            json!({
                "winner": self.name(link.winner), "loser": self.name(link.loser),
                "recorded": link.recorded,
            })
        };
        Ok(json!({
            "recorded": tallies.recorded(),
            "kept": tallies.kept(),
            "dropped": tallies.dropped(),
            "restored": tallies.restored(),
            "tables": tallies.tables.iter().map(table).collect::<Vec<_>>(),
            "links": tallies.links.iter().map(link).collect::<Vec<_>>(),
        }))
    }

    /// One conflict, by the first digits of its id.
    fn one(&self, digits: &str) -> Result<Value, AdminError> {
        let txn = self.store.begin_read()?;
        let id = find(&*txn, digits)?;
        self.shown(&*txn, id)
    }

    fn shown(&self, txn: &dyn ReadTxn, id: ConflictId) -> Result<Value, AdminError> {
        let kept = conflict::get(txn, id)?;
        let kept = kept.ok_or_else(|| unknown(&id.to_string()))?;
        Ok(self.conflict(txn, &kept)?)
    }

    /// Writes the loser back, and shows the conflict as it is then.
    async fn restore(&self, digits: &str, force: bool) -> Result<Value, AdminError> {
        let id = {
            let txn = self.store.begin_read()?;
            find(&*txn, digits)?
        };
        let request = WriteRequest::RestoreConflict { id, force };
        match self.backend.write(request).await {
            Ok(_) => {}
            Err(ApiError::ConditionalCheckFailed { .. }) => {
                let txn = self.store.begin_read()?;
                return Err(self.moved_on(&*txn, id)?);
            }
            Err(ApiError::ResourceNotFound(message)) => return Err(AdminError::Gone(message)),
            Err(ApiError::Validation(message)) => return Err(AdminError::Bad(message)),
            Err(other) => return Err(AdminError::Unavailable(other.to_string())),
        }
        info!(conflict = %id, force, "restored");
        let txn = self.store.begin_read()?;
        Ok(json!({"restored": self.shown(&*txn, id)?}))
    }

    /// Why a restore was refused: what is at the key now.
    fn moved_on(&self, txn: &dyn ReadTxn, id: ConflictId) -> Result<AdminError, AdminError> {
        let kept = conflict::get(txn, id)?.ok_or_else(|| unknown(&id.to_string()))?;
        let Some(def) = read::table(txn, self.info.id, &kept.conflict.table)? else {
            let message = format!("table {} is gone", kept.conflict.table);
            return Ok(AdminError::Gone(message));
        };
        let now = match read::version(txn, &def, &kept.conflict.key)? {
            None => Value::Null,
            Some((version, image)) => self.version(&version, image.as_deref())?,
        };
        Ok(AdminError::MovedOn {
            id: id.to_string(),
            now,
        })
    }

    fn conflict(&self, txn: &dyn ReadTxn, kept: &Kept) -> Result<Value, StoreError> {
        let conflict = &kept.conflict;
        let restored = kept.restored.map(|version| {
            let stamp = version.issued;
            json!({
                "region": self.name(version.dot.log.origin.region),
                "stamp": stamp.to_string(),
                "physical_us": stamp.physical_us,
                "seq": version.dot.seq,
            })
        });
        Ok(json!({
            "id": kept.id.to_string(),
            "number": kept.number,
            "table": conflict.table,
            "key": self.key(txn, conflict)?,
            "winner": self.version(&conflict.winner, conflict.winner_image.as_deref())?,
            "loser": self.version(&conflict.loser, conflict.loser_image.as_deref())?,
            "detected_us": conflict.detected_us,
            "detected_in": self.info.name,
            "restored": restored,
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

fn unknown(digits: &str) -> AdminError {
    AdminError::Gone(format!("there is no conflict {digits} here"))
}

fn find(txn: &dyn ReadTxn, digits: &str) -> Result<ConflictId, AdminError> {
    let is_id = |c: char| c.is_ascii_hexdigit();
    if digits.is_empty() || digits.len() > ID_DIGITS || !digits.chars().all(is_id) {
        let problem = format!("'{digits}' is not the id of a conflict, nor its first digits");
        return Err(AdminError::Bad(problem));
    }
    match conflict::find(txn, digits)?.as_slice() {
        [] => Err(unknown(digits)),
        [id] => Ok(*id),
        _ => Err(AdminError::Bad(format!(
            "several ids begin with {digits}: give more digits"
        ))),
    }
}

fn image(bytes: &[u8]) -> Result<Value, StoreError> {
    let damaged = |reason: String| StoreError::Damaged(reason);
    let mut text = Vec::new();
    codec::write_json(bytes, &mut text).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_or_refused() {
        let query = parse("table=Movies&limit=7&after=3&wait_ms=99999999").expect("reads");
        let wanted = Query {
            table: Some("Movies".into()),
            limit: Some(7),
            after: Some(3),
            wait_ms: WAIT_MAX_MS,
        };
        assert_eq!(query, wanted);
        assert_eq!(parse("table=&").expect("reads"), Query::default());
        for bad in ["limit=x", "after=-1", "what=1", "limit"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
