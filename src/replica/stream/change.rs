//! Writing records: one for every visible change, with the region's next LSN (I12).

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::super::catalog::{TableDef, TableUid};
use super::super::keys::{self, meta};
use super::super::mutation::ItemKey;
use super::super::read::damaged;
use super::super::{PlantedBug, Replica};
use super::catalog::{self, View};
use crate::clock::Now;
use crate::item::codec;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

const FORMAT: u8 = 1;
/// The grain of the index from time to LSN, microseconds.
pub(super) const MINUTE_US: u64 = 60_000_000;

/// What happened to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EventName {
    Insert,
    Modify,
    Remove,
}

impl EventName {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            EventName::Insert => "INSERT",
            EventName::Modify => "MODIFY",
            EventName::Remove => "REMOVE",
        }
    }
}

/// One visible change of one item, as it is kept. Images are codec bytes, and only those that the stream's
/// view shows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StreamRecord {
    /// This region's wall clock, never before that of an earlier record.
    pub created_us: u64,
    pub event: EventName,
    /// This region removed the item because its time to live had passed (global-tables.md section 5.4).
    pub expired: bool,
    pub key: ItemKey,
    pub old: Option<Vec<u8>>,
    pub new: Option<Vec<u8>>,
}

impl StreamRecord {
    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![FORMAT];
        bytes.extend(
            bincode::encode_to_vec(self, bincode::config::standard())
                .map_err(|e| StoreError::Damaged(format!("a change cannot be written: {e}")))?,
        );
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let body = match bytes.split_first() {
            Some((&FORMAT, body)) => body,
            _ => return Err(StoreError::Damaged("a change of an unknown format".into())),
        };
        bincode::decode_from_slice(body, bincode::config::standard())
            .map(|(record, _)| record)
            .map_err(|e| StoreError::Damaged(format!("a change cannot be read: {e}")))
    }
}

/// Where the records of a table go.
#[derive(Clone, Copy, Debug)]
struct Target {
    shard: u64,
    view: View,
}

/// The region's place in its changes, saved with the group that moved it.
#[derive(Debug)]
pub(in super::super) struct Changes {
    next: u64,
    last_us: u64,
    age: Age,
    moved: bool,
    /// By table, as last looked up; `None` = no stream is on.
    targets: BTreeMap<TableUid, Option<Target>>,
    /// Upkeep stopped before it was through.
    pub(super) upkeep_left: bool,
    /// When upkeep looks again, on the monotonic clock.
    pub(super) next_upkeep_us: u64,
}

/// For how long the region has run, by its monotonic clock: what the age of records is counted in. The wall
/// clock may be set at any time, and a record that was made a minute ago is not a day old because the clock
/// was wrong when it was made. What a region does not run does not count, so nothing is trimmed unread
/// because the region was away; and as nothing is written meanwhile, no more than a day's records are kept.
#[derive(Debug, Default)]
struct Age {
    us: u64,
    /// The monotonic clock when `us` was counted last.
    counted_us: Option<u64>,
    /// The minute of the age that has its row.
    minute: Option<u64>,
}

impl Changes {
    pub(in super::super) fn load(txn: &dyn ReadTxn) -> Result<Self, StoreError> {
        let Place {
            next,
            last_us,
            age_us,
        } = place(txn)?;
        Ok(Changes {
            next,
            last_us,
            age: Age {
                us: age_us,
                ..Age::default()
            },
            moved: false,
            targets: BTreeMap::new(),
            upkeep_left: false,
            next_upkeep_us: 0,
        })
    }

    /// The LSN that the next record gets.
    pub(in super::super) fn next(&self) -> u64 {
        self.next
    }

    /// The region's age now; it is saved with the group.
    pub(super) fn grow_older(&mut self, now: Now) -> u64 {
        let before_us = self.age.counted_us.replace(now.mono_us);
        let passed_us = before_us.map_or(0, |us| now.mono_us.saturating_sub(us));
        self.age.us = self.age.us.saturating_add(passed_us);
        self.moved = true;
        self.age.us
    }

    /// Streams or shards changed: looks them up anew.
    pub(super) fn forget_shards(&mut self) {
        self.targets.clear();
    }

    /// Saves the place, if the group moved it.
    pub(in super::super) fn flush(&mut self, txn: &mut dyn WriteTxn) -> Result<(), StoreError> {
        if !std::mem::take(&mut self.moved) {
            return Ok(());
        }
        let place = [self.next, self.last_us, self.age.us].map(u64::to_be_bytes);
        txn.put(Db::Meta, meta::CHANGES, &place.concat())
    }
}

/// Where a region's changes stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The LSN that the next record gets.
    pub next: u64,
    /// When the last record was made, by the wall clock.
    last_us: u64,
    age_us: u64,
}

pub(super) fn place(txn: &dyn ReadTxn) -> Result<Place, StoreError> {
    let Some(stored) = txn.get(Db::Meta, meta::CHANGES)? else {
        return Ok(Place {
            next: 1,
            last_us: 0,
            age_us: 0,
        });
    };
    let word = |at: usize| {
        let bytes = stored.get(at..at + 8)?;
        bytes.try_into().ok().map(u64::from_be_bytes)
    };
    match (word(0), word(8), word(16)) {
        (Some(next), Some(last_us), Some(age_us)) => Ok(Place {
            next,
            last_us,
            age_us,
        }),
        _ => Err(StoreError::Damaged(
            "the place in the changes cannot be read".into(),
        )),
    }
}

/// Whether two images are different items: numbers by value, sets whatever their order. What a reader sees.
fn differ(old: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, StoreError> {
    match (old, new) {
        (Some(a), Some(b)) if a != b => {
            Ok(codec::decode(a).map_err(damaged)? != codec::decode(b).map_err(damaged)?)
        }
        (Some(_), Some(_)) | (None, None) => Ok(false),
        _ => Ok(true),
    }
}

impl Replica {
    /// Records the change of an item from one image to another, if its table has a stream and there is
    /// anything to see.
    pub(in super::super) fn record_change(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        def: &TableDef,
        key: &ItemKey,
        (old, new): (Option<&[u8]>, Option<&[u8]>),
        expired: bool,
    ) -> Result<(), StoreError> {
        let Some(target) = self.target(txn.as_read(), def)? else {
            return Ok(());
        };
        if !differ(old, new)? {
            return Ok(());
        }
        let event = match (old, new) {
            (None, _) => EventName::Insert,
            (Some(_), Some(_)) => EventName::Modify,
            (Some(_), None) => EventName::Remove,
        };
        if self.config.planted == Some(PlantedBug::StreamRecordForgotten)
            && event == EventName::Remove
        {
            return Ok(());
        }
        let changes = &mut self.changes;
        let aged = changes.grow_older(now) / MINUTE_US;
        if changes.age.minute != Some(aged) {
            let row = meta::change_age(aged);
            if txn.get(Db::Meta, &row)?.is_none() {
                txn.put(Db::Meta, &row, &changes.next.to_be_bytes())?;
            }
            changes.age.minute = Some(aged);
        }
        let created_us = now.wall_us.max(changes.last_us);
        let minute = created_us / MINUTE_US;
        if changes.next == 1 || minute > changes.last_us / MINUTE_US {
            let first = changes.next.to_be_bytes();
            txn.put(Db::Meta, &meta::change_minute(minute), &first)?;
        }
        let image = |image: Option<&[u8]>, shown: bool| image.filter(|_| shown).map(<[u8]>::to_vec);
        let record = StreamRecord {
            created_us,
            event,
            expired,
            key: key.clone(),
            old: image(old, target.view.shows_old()),
            new: image(new, target.view.shows_new()),
        };
        let row = keys::change_row(target.shard, changes.next);
        txn.put(Db::Changes, &row, &record.encode()?)?;
        changes.next += 1;
        changes.last_us = created_us;
        Ok(())
    }

    /// Where records of a table go, if its stream is on.
    fn target(&mut self, txn: &dyn ReadTxn, def: &TableDef) -> Result<Option<Target>, StoreError> {
        if def.stream_view.is_none() {
            return Ok(None);
        }
        if let Some(known) = self.changes.targets.get(&def.uid) {
            return Ok(*known);
        }
        let row = meta::stream(
            &def.name,
            catalog::label_of(def, self.config.region),
            def.uid,
        );
        let found = catalog::scan(txn, &row)?.into_iter().next();
        let target = found.and_then(|stream| {
            let shard = stream.open()?.number;
            Some(Target {
                shard,
                view: stream.view,
            })
        });
        self.changes.targets.insert(def.uid, target);
        Ok(target)
    }
}
