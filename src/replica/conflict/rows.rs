//! Where conflicts are: rows of `Db::Conflicts`, by a letter.
//!
//! - `l` + number: the conflict. `i` + id in hexadecimal digits: its number. `t` + table + number: one of
//!   a table that may go for want of room, oldest first. `r` + id: the write that restored it.
//! - `c` + table and `k` + winner's region + loser's region: counters.

use std::ops::{Bound, ControlFlow};

use bincode::{Decode, Encode};

use super::{Conflict, ConflictId, Kept, LinkTally, TableTally, Tallies};
use crate::clock::RegionId;
use crate::replica::catalog::TableUid;
use crate::replica::entry;
use crate::replica::keys::{after_prefix, meta};
use crate::replica::mutation::Version;
use crate::replica::read;
use crate::store::{Db, Range, ReadTxn, StoreError, WriteTxn};

const FORMAT: u8 = 2;
/// Format byte and time of detection: what `keep` reads without decoding the rest.
const HEAD: usize = 9;
pub(super) const RECORDS: &[u8] = b"l";
pub(super) const IDS: &[u8] = b"i";
pub(super) const RESTORED: &[u8] = b"r";
pub(super) const OF_TABLES: &[u8] = b"t";
pub(super) const TABLES: &[u8] = b"c";
const LINKS: &[u8] = b"k";

fn record_row(number: u64) -> Vec<u8> {
    [RECORDS, &number.to_be_bytes()].concat()
}

fn id_row(id: ConflictId) -> Vec<u8> {
    [IDS, id.to_string().as_bytes()].concat()
}

fn restored_row(id: ConflictId) -> Vec<u8> {
    [RESTORED, id.to_string().as_bytes()].concat()
}

/// What the rows of a table's conflicts begin with.
pub(super) fn table_rows(uid: TableUid) -> Vec<u8> {
    [OF_TABLES, &uid.0.to_be_bytes()].concat()
}

fn table_row(uid: TableUid, number: u64) -> Vec<u8> {
    [table_rows(uid).as_slice(), &number.to_be_bytes()].concat()
}

fn tally_row(uid: TableUid) -> Vec<u8> {
    [TABLES, &uid.0.to_be_bytes()].concat()
}

fn link_row(winner: RegionId, loser: RegionId) -> Vec<u8> {
    [LINKS, &winner.0.to_be_bytes(), &loser.0.to_be_bytes()].concat()
}

/// The number at the end of a row.
pub(super) fn number_in(row: &[u8]) -> Option<u64> {
    let tail = row.get(row.len().checked_sub(8)?..)?;
    tail.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn encode(value: &impl Encode) -> Result<Vec<u8>, StoreError> {
    bincode::encode_to_vec(value, bincode::config::standard())
        .map_err(|e| StoreError::Damaged(format!("a conflict cannot be written: {e}")))
}

fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, StoreError> {
    bincode::decode_from_slice(bytes, bincode::config::standard())
        .map(|(value, _)| value)
        .map_err(|e| StoreError::Damaged(format!("a conflict cannot be read: {e}")))
}

fn lost(what: &str) -> StoreError {
    StoreError::Damaged(format!("the rows of conflicts disagree: {what}"))
}

fn parse(bytes: &[u8]) -> Result<Conflict, StoreError> {
    match (bytes.first(), bytes.get(HEAD..)) {
        (Some(&FORMAT), Some(body)) => decode(body),
        _ => Err(lost("a conflict of an unknown format")),
    }
}

/// When the conflict in a row was seen.
pub(super) fn detected_us(bytes: &[u8]) -> Result<u64, StoreError> {
    bytes
        .get(1..HEAD)
        .and_then(|b| b.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or_else(|| lost("a conflict is cut short"))
}

/// Records a conflict, unless this region has it already, and says whether it is new.
pub(in crate::replica) fn record(
    txn: &mut dyn WriteTxn,
    conflict: &Conflict,
) -> Result<bool, StoreError> {
    let id = conflict.id()?;
    if txn.get(Db::Conflicts, &id_row(id))?.is_some() {
        return Ok(false);
    }
    let number = count(txn.as_read())? + 1;
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&conflict.detected_us.to_be_bytes());
    bytes.extend(encode(conflict)?);
    txn.put(Db::Conflicts, &record_row(number), &bytes)?;
    txn.put(Db::Conflicts, &id_row(id), &number.to_be_bytes())?;
    let mut of_room = 0;
    if !conflict.is_last_copy() {
        of_room = bytes.len() as u64;
        txn.put(Db::Conflicts, &table_row(conflict.uid, number), &[])?;
    }
    txn.put(Db::Meta, meta::NEXT_CONFLICT, &number.to_be_bytes())?;
    change_tally(txn, conflict.uid, |tally| {
        if !conflict.table.is_empty() {
            tally.name.clone_from(&conflict.table);
        }
        tally.recorded += 1;
        tally.kept += 1;
        tally.bytes += of_room;
    })?;
    let regions = |version: Version| version.dot.log.origin.region;
    let link = link_row(regions(conflict.winner), regions(conflict.loser));
    let before = match txn.get(Db::Conflicts, &link)? {
        None => 0,
        Some(bytes) => number_in(bytes).ok_or_else(|| lost("a counter of a link"))?,
    };
    txn.put(Db::Conflicts, &link, &(before + 1).to_be_bytes())?;
    Ok(true)
}

/// Drops the conflict of that number and says how much room that makes. `counted` is false only where a bug is planted.
pub(super) fn drop_one(
    txn: &mut dyn WriteTxn,
    number: u64,
    counted: bool,
) -> Result<u64, StoreError> {
    let row = record_row(number);
    let bytes = txn
        .get(Db::Conflicts, &row)?
        .ok_or_else(|| lost("one to drop is not there"))?;
    let (conflict, mut size) = (parse(bytes)?, bytes.len() as u64);
    if conflict.is_last_copy() {
        size = 0;
    }
    let id = conflict.id()?;
    for row in [
        row,
        id_row(id),
        restored_row(id),
        table_row(conflict.uid, number),
    ] {
        txn.delete(Db::Conflicts, &row)?;
    }
    change_tally(txn, conflict.uid, |tally| {
        tally.dropped += u64::from(counted);
        tally.kept = tally.kept.saturating_sub(1);
        tally.bytes = tally.bytes.saturating_sub(size);
    })?;
    Ok(size)
}

/// Marks a conflict as restored by `version`, where it is kept and not marked yet.
pub(in crate::replica) fn mark_restored(
    txn: &mut dyn WriteTxn,
    id: ConflictId,
    version: Version,
) -> Result<(), StoreError> {
    let Some(kept) = get(txn.as_read(), id)? else {
        return Ok(());
    };
    if kept.restored.is_some() {
        return Ok(());
    }
    txn.put(Db::Conflicts, &restored_row(id), &encode(&version)?)?;
    change_tally(txn, kept.conflict.uid, |tally| tally.restored += 1)
}

fn change_tally(
    txn: &mut dyn WriteTxn,
    uid: TableUid,
    change: impl FnOnce(&mut TableTally),
) -> Result<(), StoreError> {
    let row = tally_row(uid);
    let stored = txn.get(Db::Conflicts, &row)?;
    let mut tally: TableTally = stored.map(decode).transpose()?.unwrap_or_default();
    change(&mut tally);
    txn.put(Db::Conflicts, &row, &encode(&tally)?)
}

fn kept(txn: &dyn ReadTxn, number: u64, bytes: &[u8]) -> Result<Kept, StoreError> {
    let mut conflict = parse(bytes)?;
    if conflict.table.is_empty() {
        // Its definition came after its items.
        conflict.table = entry::name_of(txn, conflict.uid)?;
    }
    let id = conflict.id()?;
    let restored = txn.get(Db::Conflicts, &restored_row(id))?;
    Ok(Kept {
        id,
        number,
        conflict,
        restored: restored.map(decode).transpose()?,
    })
}

/// The newest conflicts first, of one table or of all.
pub fn list(txn: &dyn ReadTxn, table: Option<&str>, limit: usize) -> Result<Vec<Kept>, StoreError> {
    Ok(walk(txn, table, limit, RECORDS, true)?.conflicts)
}

/// Conflicts, oldest first, and how far was looked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Newer {
    pub conflicts: Vec<Kept>,
    /// What to ask [`after`] for next.
    pub next: u64,
}

/// The conflicts whose numbers are greater than `after`, oldest first.
pub fn after(
    txn: &dyn ReadTxn,
    table: Option<&str>,
    after: u64,
    limit: usize,
) -> Result<Newer, StoreError> {
    let mut newer = walk(txn, table, limit, &record_row(after), false)?;
    if newer.conflicts.len() < limit {
        newer.next = count(txn)?;
    }
    Ok(newer)
}

fn walk(
    txn: &dyn ReadTxn,
    table: Option<&str>,
    limit: usize,
    from: &[u8],
    reverse: bool,
) -> Result<Newer, StoreError> {
    let mut found = Newer::default();
    if limit == 0 {
        return Ok(found);
    }
    let end = after_prefix(RECORDS);
    let range = Range {
        from: Bound::Excluded(from),
        to: end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        reverse,
    };
    let mut failure = None;
    txn.scan(Db::Conflicts, range, &mut |row, bytes| {
        let number = number_in(row).unwrap_or_default();
        match kept(txn, number, bytes) {
            Ok(kept) => {
                found.next = number;
                if table.is_none_or(|t| t == kept.conflict.table) {
                    found.conflicts.push(kept);
                }
            }
            Err(error) => failure = Some(error),
        }
        if failure.is_some() || found.conflicts.len() >= limit {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    failure.map_or(Ok(found), Err)
}

/// The conflict of that id, if it is kept here.
pub fn get(txn: &dyn ReadTxn, id: ConflictId) -> Result<Option<Kept>, StoreError> {
    let Some(number) = txn.get(Db::Conflicts, &id_row(id))? else {
        return Ok(None);
    };
    let number = number_in(number).ok_or_else(|| lost("an id without a number"))?;
    let bytes = txn.get(Db::Conflicts, &record_row(number))?;
    let bytes = bytes.ok_or_else(|| lost("an id whose conflict is gone"))?;
    kept(txn, number, bytes).map(Some)
}

/// The ids that begin with these hexadecimal digits: one, or as many as tell that they are not enough.
pub fn find(txn: &dyn ReadTxn, digits: &str) -> Result<Vec<ConflictId>, StoreError> {
    let prefix = [IDS, digits.to_ascii_lowercase().as_bytes()].concat();
    let rows = read::rows(txn, Db::Conflicts, &prefix, 2)?;
    let id = |row: &Vec<u8>| {
        let digits = std::str::from_utf8(row.get(IDS.len()..)?).ok()?;
        digits.parse().ok()
    };
    Ok(rows.iter().filter_map(id).collect())
}

/// How many conflicts were ever recorded here.
pub fn count(txn: &dyn ReadTxn) -> Result<u64, StoreError> {
    Ok(read::meta_u64(txn, meta::NEXT_CONFLICT)?.unwrap_or(0))
}

/// The counters of every table.
pub fn table_tallies(txn: &dyn ReadTxn) -> Result<Vec<(TableUid, TableTally)>, StoreError> {
    let mut tallies = Vec::new();
    for row in read::rows(txn, Db::Conflicts, TABLES, usize::MAX)? {
        let stored = txn.get(Db::Conflicts, &row)?.unwrap_or_default();
        let uid = TableUid(number_in(&row).ok_or_else(|| lost("a counter of a table"))?);
        let mut tally: TableTally = decode(stored)?;
        if tally.name.is_empty() {
            tally.name = entry::name_of(txn, uid)?;
        }
        tallies.push((uid, tally));
    }
    Ok(tallies)
}

/// The counters of every table and link.
pub fn tallies(txn: &dyn ReadTxn) -> Result<Tallies, StoreError> {
    let mut tallies = Tallies {
        tables: table_tallies(txn)?,
        links: Vec::new(),
    };
    for row in read::rows(txn, Db::Conflicts, LINKS, usize::MAX)? {
        let word = |at: usize| {
            let bytes = row.get(at..at + 2)?;
            bytes.try_into().ok().map(u16::from_be_bytes).map(RegionId)
        };
        let stored = txn.get(Db::Conflicts, &row)?.and_then(number_in);
        let (Some(winner), Some(loser), Some(recorded)) = (word(1), word(3), stored) else {
            return Err(lost("a counter of a link"));
        };
        tallies.links.push(LinkTally {
            winner,
            loser,
            recorded,
        });
    }
    Ok(tallies)
}

/// The bytes that the conflict of that number takes.
pub(super) fn size_of(txn: &dyn ReadTxn, number: u64) -> Result<u64, StoreError> {
    let stored = txn.get(Db::Conflicts, &record_row(number))?;
    Ok(stored.map_or(0, |bytes| bytes.len() as u64))
}
