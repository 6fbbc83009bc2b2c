//! The commit log: commits sealed once at their origin and forwarded as the same bytes
//! (replication.md section 6).

use std::hash::Hasher;
use std::ops::{Bound, ControlFlow};

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use siphasher::sip::SipHasher13;

use super::keys::{self, meta};
use super::mutation::{Commit, Dot, Frontier, LogId};
use crate::clock::Stamp;
use crate::store::{Db, Range, ReadTxn, StoreError};

const MAGIC: [u8; 2] = *b"Mc";
/// The schema of a commit's body. A reader refuses what it does not know; it never skips.
const SCHEMA: u16 = 5;
const HEADER_LEN: usize = 2 + 2 + 22 + 14 + 4 + 8;
/// The largest sealed body: a 4 MB transaction with its images, and room to spare.
const BODY_MAX: usize = 32 * 1024 * 1024;

type BodyConfig = Configuration<LittleEndian, Varint, Limit<BODY_MAX>>;

fn body_config() -> BodyConfig {
    bincode::config::standard().with_limit::<BODY_MAX>()
}

/// Why sealed bytes were refused. None of it is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    #[error("a commit is cut short")]
    Short,
    #[error("not a commit: it does not begin as one")]
    Magic,
    #[error(
        "a commit of schema {0} needs a newer version of meridian (this one knows schema {SCHEMA})"
    )]
    UnknownSchema(u16),
    #[error("a commit's checksum does not match: it was damaged on its way or on disk")]
    Checksum,
    #[error("a commit's body cannot be read: {0}")]
    Body(String),
}

/// The last two parts of a sealed commit's header and where its body begins.
struct Seal<'a> {
    dot: Dot,
    issued: Stamp,
    checksum: u64,
    covered: &'a [u8],
    body: &'a [u8],
}

/// Seals a commit: magic, schema, dot, issue stamp, body length, checksum, body.
pub fn seal(commit: &Commit) -> Vec<u8> {
    let body = bincode::encode_to_vec((&commit.context, &commit.mutations), body_config())
        .expect("a commit admitted by execute is far below the body limit");
    let body_len = u32::try_from(body.len()).expect("the body limit is below 4 GiB");
    let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&SCHEMA.to_be_bytes());
    bytes.extend_from_slice(&keys::dot_row(commit.dot));
    bytes.extend_from_slice(&commit.issued.to_bytes());
    bytes.extend_from_slice(&body_len.to_be_bytes());
    let checksum = checksum(&bytes, &body);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn checksum(header: &[u8], body: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(header);
    hasher.write(body);
    hasher.finish()
}

fn parse(bytes: &[u8]) -> Result<Seal<'_>, SealError> {
    let header = bytes.get(..HEADER_LEN).ok_or(SealError::Short)?;
    let body = bytes.get(HEADER_LEN..).ok_or(SealError::Short)?;
    let field = |from: usize, to: usize| header.get(from..to).ok_or(SealError::Short);
    if field(0, 2)? != MAGIC {
        return Err(SealError::Magic);
    }
    let schema = u16::from_be_bytes(field(2, 4)?.try_into().map_err(|_| SealError::Short)?);
    if schema != SCHEMA {
        return Err(SealError::UnknownSchema(schema));
    }
    let dot = keys::parse_dot(field(4, 26)?).ok_or(SealError::Short)?;
    let issued = Stamp::from_bytes(field(26, 40)?.try_into().map_err(|_| SealError::Short)?);
    let body_len = u32::from_be_bytes(field(40, 44)?.try_into().map_err(|_| SealError::Short)?);
    if u64::from(body_len) != body.len() as u64 {
        return Err(SealError::Short);
    }
    let checksum = u64::from_be_bytes(field(44, 52)?.try_into().map_err(|_| SealError::Short)?);
    Ok(Seal {
        dot,
        issued,
        checksum,
        covered: field(0, 44)?,
        body,
    })
}

/// The dot and issue stamp of a sealed commit, without reading its body.
pub fn header(bytes: &[u8]) -> Result<(Dot, Stamp), SealError> {
    parse(bytes).map(|seal| (seal.dot, seal.issued))
}

/// Checks and reads a sealed commit.
pub fn open(bytes: &[u8]) -> Result<Commit, SealError> {
    let seal = parse(bytes)?;
    if checksum(seal.covered, seal.body) != seal.checksum {
        return Err(SealError::Checksum);
    }
    let ((context, mutations), read) = bincode::decode_from_slice(seal.body, body_config())
        .map_err(|e| SealError::Body(e.to_string()))?;
    if read != seal.body.len() {
        return Err(SealError::Body("bytes are left over".into()));
    }
    Ok(Commit {
        dot: seal.dot,
        issued: seal.issued,
        context,
        mutations,
    })
}

/// Sealed commits of `log` from `from_seq` on, up to about `max_bytes` (at least one when there is one).
pub fn read(
    txn: &dyn ReadTxn,
    log: LogId,
    from_seq: u64,
    max_bytes: usize,
) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let from = keys::dot_row(Dot { log, seq: from_seq });
    let to = keys::dot_row(Dot { log, seq: u64::MAX });
    let range = Range {
        from: Bound::Included(&from),
        to: Bound::Included(&to),
        reverse: false,
    };
    let mut commits = Vec::new();
    let mut bytes = 0;
    txn.scan(Db::Log, range, &mut |key, value| {
        if !commits.is_empty() && bytes + value.len() > max_bytes {
            return ControlFlow::Break(());
        }
        if let Some(dot) = keys::parse_dot(key) {
            bytes += value.len();
            commits.push((dot.seq, value.to_vec()));
        }
        ControlFlow::Continue(())
    })?;
    Ok(commits)
}

/// What a log holds from some commit on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    pub commits: u64,
    pub bytes: u64,
    /// When the first of them was issued.
    pub oldest: Option<Stamp>,
}

/// What the log holds from `from_seq` on; no more than `limit` commits are looked at.
pub fn backlog(
    txn: &dyn ReadTxn,
    log: LogId,
    from_seq: u64,
    limit: u64,
) -> Result<Backlog, StoreError> {
    let from = keys::dot_row(Dot { log, seq: from_seq });
    let to = keys::dot_row(Dot { log, seq: u64::MAX });
    let range = Range {
        from: Bound::Included(&from),
        to: Bound::Included(&to),
        reverse: false,
    };
    let mut found = Backlog::default();
    txn.scan(Db::Log, range, &mut |_, value| {
        if found.commits >= limit {
            return ControlFlow::Break(());
        }
        if found.oldest.is_none() {
            found.oldest = header(value).ok().map(|(_, issued)| issued);
        }
        found.commits += 1;
        found.bytes += value.len() as u64;
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// What this store has applied, log by log (I4).
pub fn frontier(txn: &dyn ReadTxn) -> Result<Frontier, StoreError> {
    let to = keys::after_prefix(meta::FRONTIERS);
    let range = Range {
        from: Bound::Included(meta::FRONTIERS),
        to: to.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        reverse: false,
    };
    let mut frontier = Frontier::new();
    let mut damaged = false;
    txn.scan(Db::Meta, range, &mut |key, value| {
        let log = key.get(meta::FRONTIERS.len()..).and_then(keys::parse_log);
        match (log, value.try_into().map(u64::from_be_bytes)) {
            (Some(log), Ok(seq)) => {
                frontier.insert(log, seq);
                ControlFlow::Continue(())
            }
            _ => {
                damaged = true;
                ControlFlow::Break(())
            }
        }
    })?;
    if damaged {
        return Err(StoreError::Damaged("a frontier cannot be read".into()));
    }
    Ok(frontier)
}

/// The causal context of a commit: what its origin had applied of other logs when it was made. The
/// greatest entry at or below its sequence number; empty when there is none.
pub fn context(txn: &dyn ReadTxn, dot: Dot) -> Result<Frontier, StoreError> {
    Ok(context_entry(txn, dot)?.map_or_else(Frontier::new, |(_, context)| context))
}

/// The entry that [`context`] reads, and which commit brought it.
pub(super) fn context_entry(
    txn: &dyn ReadTxn,
    dot: Dot,
) -> Result<Option<(Dot, Frontier)>, StoreError> {
    let from = keys::log_prefix(dot.log);
    let to = keys::dot_row(dot);
    let range = Range {
        from: Bound::Included(&from),
        to: Bound::Included(&to),
        reverse: true,
    };
    let mut found = None;
    txn.scan(Db::Context, range, &mut |row, value| {
        found = Some((row.to_vec(), value.to_vec()));
        ControlFlow::Break(())
    })?;
    let Some((row, bytes)) = found else {
        return Ok(None);
    };
    let dot = keys::parse_dot(&row)
        .ok_or_else(|| StoreError::Damaged("a causal context of no commit".into()))?;
    Ok(Some((dot, decode_context(&bytes)?)))
}

pub(super) fn encode_context(context: &Frontier) -> Vec<u8> {
    bincode::encode_to_vec(context, body_config()).expect("a frontier is far below the body limit")
}

fn decode_context(bytes: &[u8]) -> Result<Frontier, StoreError> {
    bincode::decode_from_slice(bytes, body_config())
        .map(|(context, _)| context)
        .map_err(|e| StoreError::Damaged(format!("a causal context cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::super::catalog::TableUid;
    use super::super::mutation::{Change, GroupId, ItemKey, Mutation, Origin};
    use super::*;
    use crate::clock::RegionId;

    fn commit() -> Commit {
        let log = LogId {
            group: GroupId(7),
            origin: Origin {
                region: RegionId(1),
                incarnation: 2,
            },
        };
        let key = ItemKey {
            partition: b"Sp".to_vec(),
            sort: b"s".to_vec(),
        };
        let change = Change::Item {
            table: TableUid(3),
            key,
            image: Some(b"image".to_vec()),
        };
        Commit {
            dot: Dot { log, seq: 4 },
            issued: Stamp {
                physical_us: 5,
                logical: 6,
                region: RegionId(1),
            },
            context: Some(Frontier::from([(log, 3)])),
            mutations: vec![Mutation {
                version: None,
                change,
            }],
        }
    }

    #[test]
    fn sealed_commits_open_again() {
        let sealed = seal(&commit());
        assert_eq!(open(&sealed).unwrap(), commit());
        assert_eq!(header(&sealed).unwrap(), (commit().dot, commit().issued));
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let sealed = seal(&commit());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(open(&damaged).is_err(), "byte {at}");
            assert!(open(&sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_schema_is_refused_by_name() {
        let mut sealed = seal(&commit());
        sealed[3] = 9;
        assert_eq!(open(&sealed), Err(SealError::UnknownSchema(9)));
    }

    /// The bytes of schema 5, for ever.
    #[test]
    fn schema_5_has_these_bytes() {
        let hex: String = seal(&commit()).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            &hex[..88],
            "4d63000500000000000000070001000000020000000000000004000000000000000500000006000100000016"
        );
    }
}
