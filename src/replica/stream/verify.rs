//! What `check` looks at: records are readable, dense and of a shard that is there; each begins where the
//! one before ended, and the last of each item is what the table holds (I12).

use std::collections::BTreeMap;

use super::super::mutation::ItemKey;
use super::super::{entry, read};
use super::change::{EventName, StreamRecord};
use super::{Stream, View, all_records, bounds, list};
use crate::store::{ReadTxn, StoreError};

/// Checks every record; gives their number and what is wrong, in words.
pub(in super::super) fn check(txn: &dyn ReadTxn) -> Result<(usize, Vec<String>), StoreError> {
    let mut problems = Vec::new();
    let bounds = bounds(txn)?;
    let records = all_records(txn)?;
    let mut lsns: Vec<u64> = records.iter().map(|(_, lsn, _)| *lsn).collect();
    lsns.sort_unstable();
    let due: Vec<u64> = (bounds.horizon..bounds.next).collect();
    let kept = lsns.iter().filter(|lsn| **lsn >= bounds.horizon);
    if !kept.eq(due.iter()) {
        problems.push(format!(
            "changes: the LSNs from {} to {} are not all there once",
            bounds.horizon, bounds.next
        ));
    }
    let mut shards = BTreeMap::new();
    let streams = list(txn)?;
    for (at, stream) in streams.iter().enumerate() {
        for shard in &stream.shards {
            shards.insert(shard.number, (at, shard.first, shard.end));
        }
    }
    let mut of_stream: BTreeMap<usize, Vec<(u64, &StreamRecord)>> = BTreeMap::new();
    for (shard, lsn, record) in &records {
        match shards.get(shard) {
            Some((at, first, end)) if lsn >= first && end.is_none_or(|end| *lsn < end) => {
                of_stream.entry(*at).or_default().push((*lsn, record));
            }
            _ => problems.push(format!("change {lsn} is of no stream's shard")),
        }
    }
    for (at, mut records) in of_stream {
        records.sort_by_key(|(lsn, _)| *lsn);
        if let Some(stream) = streams.get(at) {
            check_stream(txn, stream, &records, &mut problems)?;
        }
    }
    Ok((records.len(), problems))
}

fn check_stream(
    txn: &dyn ReadTxn,
    stream: &Stream,
    records: &[(u64, &StreamRecord)],
    problems: &mut Vec<String>,
) -> Result<(), StoreError> {
    if stream.view != View::NewAndOldImages {
        return Ok(());
    }
    let name = format!("stream {} of {}", stream.label(), stream.table);
    let mut images: BTreeMap<&ItemKey, Option<&Vec<u8>>> = BTreeMap::new();
    for (lsn, record) in records {
        let shape = match record.event {
            EventName::Insert => (false, true),
            EventName::Modify => (true, true),
            EventName::Remove => (true, false),
        };
        if (record.old.is_some(), record.new.is_some()) != shape {
            problems.push(format!("{name}: change {lsn} has not the images it should"));
        }
        let before = images.insert(&record.key, record.new.as_ref());
        if before.is_some_and(|before| before != record.old.as_ref()) {
            problems.push(format!("{name}: change {lsn} begins where none ended"));
        }
    }
    let def = entry::entry(txn, &stream.table)?.and_then(|e| e.def);
    let Some(def) = def.filter(|d| d.uid == stream.uid && stream.disabled_us.is_none()) else {
        return Ok(());
    };
    for (key, image) in images {
        let stored = read::version(txn, &def, key)?.and_then(|(_, image)| image);
        if stored.as_ref() != image {
            problems.push(format!(
                "{name}: the last change of an item is not the item"
            ));
        }
    }
    Ok(())
}
