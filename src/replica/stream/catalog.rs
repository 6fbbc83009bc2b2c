//! Which streams and shards there are, kept with the tables they belong to.

use std::ops::{Bound, ControlFlow};

use bincode::{Decode, Encode};

use super::super::catalog::{TableDef, TableUid};
use super::super::keys::{self, meta};
use super::super::{ApiError, Replica, read};
use super::label;
use crate::clock::{Now, RegionId};
use crate::item::KeySchema;
use crate::store::{Db, Range, ReadTxn, StoreError, WriteTxn};

const FORMAT: u8 = 1;
/// Labels have milliseconds.
const LABEL_STEP_US: u64 = 1000;

/// What the records of a stream show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum View {
    KeysOnly,
    NewImage,
    OldImage,
    NewAndOldImages,
}

impl View {
    /// The view of that API name.
    pub fn from_name(name: &str) -> Option<View> {
        Some(match name {
            "KEYS_ONLY" => View::KeysOnly,
            "NEW_IMAGE" => View::NewImage,
            "OLD_IMAGE" => View::OldImage,
            "NEW_AND_OLD_IMAGES" => View::NewAndOldImages,
            _ => return None,
        })
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            View::KeysOnly => "KEYS_ONLY",
            View::NewImage => "NEW_IMAGE",
            View::OldImage => "OLD_IMAGE",
            View::NewAndOldImages => "NEW_AND_OLD_IMAGES",
        }
    }

    pub fn shows_new(self) -> bool {
        matches!(self, View::NewImage | View::NewAndOldImages)
    }

    pub fn shows_old(self) -> bool {
        matches!(self, View::OldImage | View::NewAndOldImages)
    }
}

/// A run of records of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Shard {
    /// Unique in its store for ever: what the rows of its records begin with.
    pub number: u64,
    /// Its id in the API. Ids of one stream rise in byte order.
    pub id: String,
    pub parent: Option<String>,
    pub opened_us: u64,
    /// No record before this LSN is in it.
    pub first: u64,
    /// Once closed, no record from this LSN on is in it.
    pub end: Option<u64>,
}

/// A stream of one region. It outlives being disabled, and its table, for as long as records are kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Stream {
    pub table: String,
    pub uid: TableUid,
    /// When it was enabled; its label.
    pub label_us: u64,
    pub view: View,
    pub keys: KeySchema,
    pub disabled_us: Option<u64>,
    /// Oldest first; the last is open while the stream is enabled.
    pub shards: Vec<Shard>,
}

impl Stream {
    pub fn label(&self) -> String {
        label(self.label_us)
    }

    pub fn shard(&self, id: &str) -> Option<&Shard> {
        self.shards.iter().find(|s| s.id == id)
    }

    pub(super) fn row(&self) -> Vec<u8> {
        meta::stream(&self.table, self.label_us, self.uid)
    }

    /// The shard that records go to.
    pub(super) fn open(&self) -> Option<&Shard> {
        self.shards.last().filter(|s| s.end.is_none())
    }

    fn close(&mut self, end: u64) {
        if let Some(open) = self.shards.last_mut().filter(|s| s.end.is_none()) {
            open.end = Some(end.max(open.first));
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Stream, StoreError> {
    let body = match bytes.split_first() {
        Some((&FORMAT, body)) => body,
        _ => return Err(StoreError::Damaged("a stream of an unknown format".into())),
    };
    bincode::decode_from_slice(body, bincode::config::standard())
        .map(|(stream, _)| stream)
        .map_err(|e| StoreError::Damaged(format!("a stream cannot be read: {e}")))
}

pub(super) fn save(txn: &mut dyn WriteTxn, stream: &Stream) -> Result<(), StoreError> {
    let mut bytes = vec![FORMAT];
    bytes.extend(
        bincode::encode_to_vec(stream, bincode::config::standard())
            .map_err(|e| StoreError::Damaged(format!("a stream cannot be written: {e}")))?,
    );
    txn.put(Db::Meta, &stream.row(), &bytes)
}

/// The streams whose rows begin with `prefix`, by table and label.
pub(super) fn scan(txn: &dyn ReadTxn, prefix: &[u8]) -> Result<Vec<Stream>, StoreError> {
    let end = keys::after_prefix(prefix);
    let range = Range {
        from: Bound::Included(prefix),
        to: end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        reverse: false,
    };
    let mut streams = Vec::new();
    let mut failure = None;
    txn.scan(Db::Meta, range, &mut |_, value| match decode(value) {
        Ok(stream) => {
            streams.push(stream);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failure.map_or(Ok(streams), Err)
}

/// When the stream that a table has on in a region was enabled.
pub(super) fn label_of(def: &TableDef, region: RegionId) -> u64 {
    def.stream_us_in(region).unwrap_or(def.created_us)
}

pub(super) fn view_of(def: &TableDef) -> Result<Option<View>, StoreError> {
    let Some(name) = &def.stream_view else {
        return Ok(None);
    };
    View::from_name(name)
        .map(Some)
        .ok_or_else(|| StoreError::Damaged(format!("'{name}' is no stream view")))
}

impl Replica {
    /// When a stream enabled now is enabled: later than every other stream of a table of that name, so that
    /// no two have one ARN.
    pub(in super::super) fn new_label(
        &self,
        txn: &dyn ReadTxn,
        now: Now,
        table: &str,
        last: Option<u64>,
    ) -> Result<u64, StoreError> {
        let known = scan(txn, &meta::streams_of(table))?;
        let newest = known.iter().map(|s| s.label_us).chain(last).max();
        let after = newest.map_or(0, |us| us.saturating_add(LABEL_STEP_US));
        Ok(now.wall_us.max(after))
    }

    /// Whether the table's stream may be set so: its view changes only by way of disabling it.
    pub(in super::super) fn admit_stream(
        &self,
        def: &TableDef,
        view: Option<&str>,
    ) -> Result<(), ApiError> {
        match (def.stream_view.as_deref(), view) {
            (Some(old), Some(new)) if old != new => Err(ApiError::validation(format!(
                "Table already has an enabled stream: TableName: {}",
                def.name
            ))),
            // Members of a global table that UpdateTable made keep their streams (global-tables.md section 3.1);
            // where the topology makes every table global, streams are the user's.
            (Some(_), None) if def.group.regions().count() > 1 && !self.config.replicate_all => {
                Err(ApiError::validation(
                    "One or more parameter values were invalid: \
                     Disabling Stream is not allowed for a Global Table replica.",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Lets the catalog follow a table: `def` is what it is here now, if it is here. `unseen`: items of it
    /// may have come before the table itself, and become visible with it.
    pub(in super::super) fn follow_stream(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        name: &str,
        def: Option<&TableDef>,
        unseen: bool,
    ) -> Result<(), StoreError> {
        let region = self.config.region;
        let wanted = def.filter(|d| d.stream_view.is_some());
        let mut found = false;
        for mut stream in scan(txn.as_read(), &meta::streams_of(name))? {
            let same = wanted
                .is_some_and(|d| d.uid == stream.uid && label_of(d, region) == stream.label_us);
            found |= same;
            match (stream.disabled_us, same) {
                (None, false) => {
                    stream.close(self.changes.next());
                    stream.disabled_us = Some(now.wall_us);
                }
                (Some(_), true) => {
                    stream.disabled_us = None;
                    self.open_shard(txn, now, &mut stream)?;
                }
                _ => continue,
            }
            save(txn, &stream)?;
        }
        self.changes.forget_shards();
        let Some(def) = wanted else { return Ok(()) };
        if !found && let Some(view) = view_of(def)? {
            let mut stream = Stream {
                table: name.to_owned(),
                uid: def.uid,
                label_us: label_of(def, region),
                view,
                keys: def.keys.clone(),
                disabled_us: None,
                shards: Vec::new(),
            };
            self.open_shard(txn, now, &mut stream)?;
            save(txn, &stream)?;
        }
        if unseen {
            for (key, _, image) in read::versions(txn.as_read(), def)? {
                self.record_change(txn, now, def, &key, (None, image.as_deref()), false)?;
            }
        }
        Ok(())
    }

    /// Closes the stream's open shard, if it has one, and opens the next.
    pub(super) fn open_shard(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        stream: &mut Stream,
    ) -> Result<(), StoreError> {
        let number = read::meta_u64(txn.as_read(), meta::NEXT_SHARD)?.unwrap_or(1);
        txn.put(Db::Meta, meta::NEXT_SHARD, &(number + 1).to_be_bytes())?;
        let first = self.changes.next();
        stream.close(first);
        let before = stream.shards.last();
        let after = before.map_or(0, |s| s.opened_us.saturating_add(LABEL_STEP_US));
        let opened_us = now.wall_us.max(after);
        let [a, b, c, d, ..] = keys::hash(&number.to_be_bytes());
        let milliseconds = opened_us / 1000;
        let shard = Shard {
            number,
            id: format!("shardId-{milliseconds:020}-{a:02x}{b:02x}{c:02x}{d:02x}"),
            parent: before.map(|s| s.id.clone()),
            opened_us,
            first,
            end: None,
        };
        stream.shards.push(shard);
        Ok(())
    }
}
