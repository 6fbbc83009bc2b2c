//! Where things live in the store: the byte layout of every key (docs/storage-format.md).

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use super::catalog::TableUid;
use super::mutation::{Dot, GroupId, ItemKey, LogId, Origin};
use crate::clock::RegionId;
use crate::item::key::KeyBytes;

/// Length of a hashed partition key.
pub const HASH_LEN: usize = 16;
/// Length of the prefix of every row of one table in `items`.
pub const TABLE_PREFIX_LEN: usize = 8;
/// Length of the prefix of every row of one index in `index`.
pub const INDEX_PREFIX_LEN: usize = 12;
const CHUNK: usize = 8;
/// Marks a chunk that another follows; the last chunk's marker is its length (0 to 8).
const MORE: u8 = 9;

/// Spreads partition keys over the key space. 128 bits of SipHash: two keys never meet in practice,
/// and the order of partitions says nothing of their keys.
pub fn hash(bytes: &[u8]) -> [u8; HASH_LEN] {
    let mut hasher = SipHasher13::new_with_keys(0x6d65_7269_6469_616e, 0x7061_7274_6974_696f);
    hasher.write(bytes);
    hasher.finish128().as_u128().to_be_bytes()
}

impl From<KeyBytes> for ItemKey {
    fn from(key: KeyBytes) -> Self {
        ItemKey {
            partition: key.partition,
            sort: key.sort,
        }
    }
}

/// The row of an item in `items`.
pub fn item_row(table: TableUid, key: &ItemKey) -> Vec<u8> {
    let mut row = Vec::with_capacity(TABLE_PREFIX_LEN + HASH_LEN + key.sort.len());
    row.extend_from_slice(&table.0.to_be_bytes());
    row.extend_from_slice(&hash(&key.partition));
    row.extend_from_slice(&key.sort);
    row
}

/// What the rows of one partition of a table begin with.
pub fn partition_prefix(table: TableUid, partition: &[u8]) -> Vec<u8> {
    let mut row = table_prefix(table);
    row.extend_from_slice(&hash(partition));
    row
}

/// What the rows of a table begin with, in `items` and in `index`.
pub fn table_prefix(table: TableUid) -> Vec<u8> {
    table.0.to_be_bytes().to_vec()
}

/// What the rows of an index begin with.
pub fn index_prefix(table: TableUid, index: u32) -> Vec<u8> {
    let mut row = table_prefix(table);
    row.extend_from_slice(&index.to_be_bytes());
    row
}

/// What the rows of one partition of an index begin with.
pub fn index_partition_prefix(table: TableUid, index: u32, partition: &[u8]) -> Vec<u8> {
    begin_index_row(table, index, partition, 0)
}

/// The same, with room for what follows.
fn begin_index_row(table: TableUid, index: u32, partition: &[u8], room: usize) -> Vec<u8> {
    let mut row = Vec::with_capacity(INDEX_PREFIX_LEN + HASH_LEN + room);
    row.extend_from_slice(&table.0.to_be_bytes());
    row.extend_from_slice(&index.to_be_bytes());
    row.extend_from_slice(&hash(partition));
    row
}

/// The row of an index entry: the index key in order, then a digest of the base key that keeps equal
/// index keys apart.
pub fn index_row(table: TableUid, index: u32, key: &KeyBytes, base: &ItemKey) -> Vec<u8> {
    let sort = (key.sort.len() / CHUNK + 1) * (CHUNK + 1);
    let mut row = begin_index_row(table, index, &key.partition, sort + HASH_LEN);
    push_terminated(&mut row, &key.sort);
    row.extend_from_slice(&base_digest(base));
    row
}

/// What the rows in `ttl` begin with of items of a table that expire at `second`.
pub fn ttl_prefix(table: TableUid, second: u64) -> Vec<u8> {
    let mut row = table_prefix(table);
    row.extend_from_slice(&second.to_be_bytes());
    row
}

/// The row in `ttl` of an item that expires at `second`.
pub fn ttl_row(table: TableUid, second: u64, base: &ItemKey) -> Vec<u8> {
    let mut row = ttl_prefix(table, second);
    row.extend_from_slice(&base_digest(base));
    row
}

/// The second in a [`ttl_row`].
pub fn ttl_second(row: &[u8]) -> Option<u64> {
    let bytes = row.get(TABLE_PREFIX_LEN..TABLE_PREFIX_LEN + 8)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn base_digest(base: &ItemKey) -> [u8; HASH_LEN] {
    let mut joined = hash(&base.partition).to_vec();
    joined.extend_from_slice(&base.sort);
    hash(&joined)
}

/// Appends `bytes` so that the order of encodings is the order of the bytes whatever follows: chunks of
/// eight, zero-padded, each with a marker.
pub fn push_terminated(row: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let take = rest.len().min(CHUNK);
        let (chunk, tail) = rest.split_at(take);
        row.extend_from_slice(chunk);
        row.resize(row.len() + CHUNK - take, 0);
        if tail.is_empty() {
            row.push(u8::try_from(take).unwrap_or(MORE));
            return;
        }
        row.push(MORE);
        rest = tail;
    }
}

/// The smallest byte string greater than every string that begins with `prefix`; `None` when all are.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut next = prefix.get(..=last)?.to_vec();
    if let Some(byte) = next.last_mut() {
        *byte += 1;
    }
    Some(next)
}

/// Length of a [`log_prefix`].
const LOG_PREFIX_LEN: usize = 14;

pub fn log_prefix(log: LogId) -> [u8; LOG_PREFIX_LEN] {
    let mut row = [0; LOG_PREFIX_LEN];
    row[..8].copy_from_slice(&log.group.0.to_be_bytes());
    row[8..10].copy_from_slice(&log.origin.region.0.to_be_bytes());
    row[10..].copy_from_slice(&log.origin.incarnation.to_be_bytes());
    row
}

/// The row of a commit in `log`, and of a context in `context`.
pub fn dot_row(dot: Dot) -> [u8; LOG_PREFIX_LEN + 8] {
    let mut row = [0; LOG_PREFIX_LEN + 8];
    row[..LOG_PREFIX_LEN].copy_from_slice(&log_prefix(dot.log));
    row[LOG_PREFIX_LEN..].copy_from_slice(&dot.seq.to_be_bytes());
    row
}

/// Reads a [`dot_row`] back.
pub fn parse_dot(bytes: &[u8]) -> Option<Dot> {
    let log = parse_log(bytes.get(..14)?)?;
    Some(Dot {
        log,
        seq: u64::from_be_bytes(bytes.get(14..22)?.try_into().ok()?),
    })
}

/// Reads a [`log_prefix`] back.
pub fn parse_log(bytes: &[u8]) -> Option<LogId> {
    Some(LogId {
        group: GroupId(u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?)),
        origin: Origin {
            region: RegionId(u16::from_be_bytes(bytes.get(8..10)?.try_into().ok()?)),
            incarnation: u32::from_be_bytes(bytes.get(10..14)?.try_into().ok()?),
        },
    })
}

/// The row of a stream's record: its shard, then its sequence number in the region.
pub fn change_row(shard: u64, lsn: u64) -> Vec<u8> {
    [shard.to_be_bytes(), lsn.to_be_bytes()].concat()
}

/// Reads a [`change_row`] back.
pub fn parse_change_row(row: &[u8]) -> Option<(u64, u64)> {
    let (shard, lsn) = row.split_at_checked(8)?;
    let shard = u64::from_be_bytes(shard.try_into().ok()?);
    Some((shard, u64::from_be_bytes(lsn.try_into().ok()?)))
}

/// Rows of `meta`.
pub mod meta {
    use super::{GroupId, LogId, RegionId, TableUid, log_prefix};

    pub const INCARNATION: &[u8] = b"m/incarnation";
    /// Who the members of the cluster are.
    pub const MANIFEST: &[u8] = b"m/manifest";
    pub const CLOCK_BOUND: &[u8] = b"m/clock_bound";
    /// What this region has bound itself to about the next record of the members.
    pub const VOTE: &[u8] = b"m/vote";
    /// How far a region that lapsed has come with its return.
    pub const RETURNING: &[u8] = b"m/returning";
    /// What became of what this region had alone when it last came back.
    pub const RETURNED: &[u8] = b"m/returned";
    /// What became of what lapsed regions brought back.
    pub const RESCUED: &[u8] = b"m/rescued";
    /// For how long other regions have been silent.
    pub const SILENCES: &[u8] = b"m/silences";
    pub const NEXT_TABLE: &[u8] = b"m/next_table";
    pub const NEXT_INDEX: &[u8] = b"m/next_index";
    pub const NEXT_CONFLICT: &[u8] = b"m/next_conflict";
    pub const NEXT_SHARD: &[u8] = b"m/next_shard";
    pub const CHANGES: &[u8] = b"m/changes";
    pub const CHANGE_HORIZON: &[u8] = b"m/change_horizon";
    pub const FRONTIERS: &[u8] = b"f/";
    pub const TABLES: &[u8] = b"t/";
    pub const TOKEN_EXPIRIES: &[u8] = b"e/";
    pub const STREAMS: &[u8] = b"s/";
    pub const CHANGE_MINUTES: &[u8] = b"sm/";
    pub const CHANGE_AGES: &[u8] = b"sa/";
    /// Indexes being built, rows being removed, versions travelling again: this region's own business.
    pub const BUILDS: &[u8] = b"ib/";
    pub const PURGES: &[u8] = b"xp/";
    pub const RELOGS: &[u8] = b"rl/";
    /// What this region has to tell of its own replicas.
    pub const ANNOUNCEMENTS: &[u8] = b"ra/";
    /// New replicas here whose source has sent everything.
    pub const ARRIVALS: &[u8] = b"rw/";
    /// Replicas here that are about to become tables of their own.
    pub const DEPARTURES: &[u8] = b"rd/";
    /// Tables of which a new replica was refused.
    pub const REFUSALS: &[u8] = b"rx/";
    pub const TTL_WORK: &[u8] = b"x/";
    pub const DELETIONS: &[u8] = b"d/";
    /// There while a store that began empty may lack what its region had before.
    pub const NEWBORN: &[u8] = b"m/newborn";
    pub const JOINING: &[u8] = b"j/";
    /// Buckets whose items are not what was written.
    pub const SUSPECTS: &[u8] = b"fs/";
    pub const REPAIRS: &[u8] = b"m/repairs";
    pub const REPAIRS_REPORTED: &[u8] = b"m/repairs_reported";

    fn join(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
        [prefix, rest].concat()
    }
    pub fn frontier(log: LogId) -> Vec<u8> {
        join(FRONTIERS, &log_prefix(log))
    }
    pub fn log_start(log: LogId) -> Vec<u8> {
        join(b"b/", &log_prefix(log))
    }
    /// There while a group is being copied from a peer.
    pub fn joining(group: GroupId) -> Vec<u8> {
        join(JOINING, &group.0.to_be_bytes())
    }
    pub fn table(name: &str) -> Vec<u8> {
        join(TABLES, name.as_bytes())
    }
    pub fn uid(uid: TableUid) -> Vec<u8> {
        join(b"u/", &uid.0.to_be_bytes())
    }
    /// The counts of a table (index 0) or of one of its indexes.
    pub fn counts(uid: TableUid, index: u32) -> Vec<u8> {
        [counts_of(uid).as_slice(), &index.to_be_bytes()].concat()
    }
    pub fn counts_of(uid: TableUid) -> Vec<u8> {
        join(b"c/", &uid.0.to_be_bytes())
    }
    /// What the rows of the streams of a table of that name begin with.
    pub fn streams_of(table: &str) -> Vec<u8> {
        [STREAMS, table.as_bytes(), &[0]].concat()
    }
    pub fn stream(table: &str, label_us: u64, uid: TableUid) -> Vec<u8> {
        let rest = [label_us.to_be_bytes(), uid.0.to_be_bytes()].concat();
        join(&streams_of(table), &rest)
    }
    pub fn change_minute(minute: u64) -> Vec<u8> {
        join(CHANGE_MINUTES, &minute.to_be_bytes())
    }
    pub fn change_age(minute: u64) -> Vec<u8> {
        join(CHANGE_AGES, &minute.to_be_bytes())
    }
    /// How far the building of an index (or, as 0, of the sizes of item collections) has come.
    pub fn build(uid: TableUid, index: u32) -> Vec<u8> {
        [builds_of(uid).as_slice(), &index.to_be_bytes()].concat()
    }
    pub fn builds_of(uid: TableUid) -> Vec<u8> {
        join(BUILDS, &uid.0.to_be_bytes())
    }
    /// That all rows of a table are to go.
    pub fn purge_table(uid: TableUid) -> Vec<u8> {
        join(PURGES, &uid.0.to_be_bytes())
    }
    /// That all rows of an index are to go.
    pub fn purge_index(uid: TableUid, index: u32) -> Vec<u8> {
        [purge_table(uid).as_slice(), &index.to_be_bytes()].concat()
    }
    pub fn announcement(uid: TableUid) -> Vec<u8> {
        join(ANNOUNCEMENTS, &uid.0.to_be_bytes())
    }
    pub fn arrival(uid: TableUid) -> Vec<u8> {
        join(ARRIVALS, &uid.0.to_be_bytes())
    }
    pub fn departure(uid: TableUid) -> Vec<u8> {
        join(DEPARTURES, &uid.0.to_be_bytes())
    }
    pub fn refusal(uid: TableUid) -> Vec<u8> {
        join(REFUSALS, &uid.0.to_be_bytes())
    }
    /// That this region does not take part in the table: when it was last asked to.
    pub fn kept_out(uid: TableUid) -> Vec<u8> {
        join(b"rf/", &uid.0.to_be_bytes())
    }
    /// What a region last reported of its replica.
    pub fn report(uid: TableUid, region: RegionId) -> Vec<u8> {
        [reports_of(uid).as_slice(), &region.0.to_be_bytes()].concat()
    }
    pub fn reports_of(uid: TableUid) -> Vec<u8> {
        join(b"rp/", &uid.0.to_be_bytes())
    }
    /// For which stay of a member its versions travel again, or did.
    pub fn resent(uid: TableUid, region: RegionId) -> Vec<u8> {
        [resent_of(uid).as_slice(), &region.0.to_be_bytes()].concat()
    }
    pub fn resent_of(uid: TableUid) -> Vec<u8> {
        join(b"rb/", &uid.0.to_be_bytes())
    }
    pub fn suspect(uid: TableUid, bucket: u16) -> Vec<u8> {
        [suspects_of(uid).as_slice(), &bucket.to_be_bytes()].concat()
    }
    pub fn suspects_of(uid: TableUid) -> Vec<u8> {
        join(SUSPECTS, &uid.0.to_be_bytes())
    }
    pub fn relog(uid: TableUid) -> Vec<u8> {
        join(RELOGS, &uid.0.to_be_bytes())
    }
    /// The size of an item collection, by the hash of its partition key.
    pub fn collection(uid: TableUid, partition: &[u8]) -> Vec<u8> {
        [collections_of(uid).as_slice(), &super::hash(partition)].concat()
    }
    pub fn collections_of(uid: TableUid) -> Vec<u8> {
        join(b"lc/", &uid.0.to_be_bytes())
    }
    /// The uid and, if it has one, the index in a row that begins with `prefix`.
    pub fn parse(prefix: &[u8], row: &[u8]) -> Option<(TableUid, Option<u32>)> {
        let (uid, index) = row.strip_prefix(prefix)?.split_first_chunk::<8>()?;
        let index = match index {
            [] => None,
            index => Some(u32::from_be_bytes(index.try_into().ok()?)),
        };
        Some((TableUid(u64::from_be_bytes(*uid)), index))
    }
    /// What this region alone keeps of a table.
    pub fn local(uid: TableUid) -> Vec<u8> {
        join(b"l/", &uid.0.to_be_bytes())
    }
    /// A rebuild of a table's Time To Live that is under way.
    pub fn ttl_work(uid: TableUid) -> Vec<u8> {
        join(TTL_WORK, &uid.0.to_be_bytes())
    }
    /// Whose rebuild a [`ttl_work`] row is.
    pub fn ttl_work_table(row: &[u8]) -> Option<TableUid> {
        table_after(TTL_WORK, row)
    }
    /// A table that is to be deleted.
    pub fn deletion(uid: TableUid) -> Vec<u8> {
        join(DELETIONS, &uid.0.to_be_bytes())
    }
    /// Whose a [`deletion`] row is.
    pub fn deletion_table(row: &[u8]) -> Option<TableUid> {
        table_after(DELETIONS, row)
    }
    fn table_after(prefix: &[u8], row: &[u8]) -> Option<TableUid> {
        let uid = row.strip_prefix(prefix)?.try_into().ok()?;
        Some(TableUid(u64::from_be_bytes(uid)))
    }
    pub fn token(token: &str) -> Vec<u8> {
        join(b"k/", token.as_bytes())
    }
    pub fn token_expiry(expires_us: u64, token: &str) -> Vec<u8> {
        [TOKEN_EXPIRIES, &expires_us.to_be_bytes(), token.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn terminated_bytes_keep_their_order(a: Vec<u8>, b: Vec<u8>, x: u8, y: u8) {
            let (mut ea, mut eb) = (Vec::new(), Vec::new());
            push_terminated(&mut ea, &a);
            push_terminated(&mut eb, &b);
            ea.push(x);
            eb.push(y);
            if a != b {
                prop_assert_eq!(a.cmp(&b), ea.cmp(&eb));
            }
        }

        #[test]
        fn dots_survive_their_row(group: u64, region: u16, incarnation: u32, seq: u64) {
            let origin = Origin { region: RegionId(region), incarnation };
            let dot = Dot { log: LogId { group: GroupId(group), origin }, seq };
            prop_assert_eq!(parse_dot(&dot_row(dot)), Some(dot));
        }
    }
}
