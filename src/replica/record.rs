//! What is stored at an item's key: its version, then its image (docs/storage-format.md).

use super::catalog::TableUid;
use super::keys;
use super::mutation::{Change, ItemKey, Mutation, Rank, RankKind, Version};
use crate::clock::Stamp;
use crate::store::StoreError;

const FORMAT: u8 = 2;
const STAMP_LEN: usize = 14;
const DOT_LEN: usize = 22;
/// In the state byte: marks follow the partition key, after their length.
const MARKED: u8 = 2;
const MARKS_LEN: usize = 4;
const FIXED_LEN: usize = 3 + STAMP_LEN + DOT_LEN + STAMP_LEN + 2;

/// A stored item or tombstone, borrowed from the store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    pub version: Version,
    /// The partition key, so that a hashed key can be told again.
    pub partition: &'a [u8],
    /// Codec bytes; `None` for a tombstone.
    pub image: Option<&'a [u8]>,
    /// What a table that merges knows of the item besides ([`super::merge`]); `None` in all others.
    pub marks: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let image = self.image.unwrap_or_default();
        let marks = self.marks.unwrap_or_default();
        let rest = self.partition.len() + MARKS_LEN + marks.len() + image.len();
        let mut bytes = Vec::with_capacity(FIXED_LEN + rest);
        bytes.push(FORMAT);
        bytes.push(match self.version.rank.kind {
            RankKind::Write => 0,
            RankKind::Expire => 1,
        });
        let live = u8::from(self.image.is_some());
        bytes.push(live | if self.marks.is_some() { MARKED } else { 0 });
        bytes.extend_from_slice(&self.version.rank.stamp.to_bytes());
        bytes.extend_from_slice(&keys::dot_row(self.version.dot));
        bytes.extend_from_slice(&self.version.issued.to_bytes());
        let partition_len = u16::try_from(self.partition.len())
            .expect("partition keys are at most 2048 bytes, tagged");
        bytes.extend_from_slice(&partition_len.to_be_bytes());
        bytes.extend_from_slice(self.partition);
        if self.marks.is_some() {
            let marks_len = u32::try_from(marks.len()).expect("marks are far below 4 GiB");
            bytes.extend_from_slice(&marks_len.to_be_bytes());
            bytes.extend_from_slice(marks);
        }
        bytes.extend_from_slice(image);
        bytes
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Self, StoreError> {
        Self::parse(bytes)
            .ok_or_else(|| StoreError::Damaged("an item's record cannot be read".into()))
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let fixed = bytes.get(..FIXED_LEN)?;
        let rest = bytes.get(FIXED_LEN..)?;
        if fixed.first() != Some(&FORMAT) {
            return None;
        }
        let kind = match fixed.get(1)? {
            0 => RankKind::Write,
            1 => RankKind::Expire,
            _ => return None,
        };
        let stamp = stamp_at(fixed, 3)?;
        let dot = keys::parse_dot(fixed.get(3 + STAMP_LEN..)?)?;
        let issued = stamp_at(fixed, 3 + STAMP_LEN + DOT_LEN)?;
        let partition_len = u16::from_be_bytes(fixed.get(FIXED_LEN - 2..)?.try_into().ok()?);
        let partition = rest.get(..usize::from(partition_len))?;
        let mut image = rest.get(usize::from(partition_len)..)?;
        let state = *fixed.get(2)?;
        let mut marks = None;
        if state & MARKED != 0 {
            let (len, rest) = image.split_first_chunk::<MARKS_LEN>()?;
            let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
            let (bytes, rest) = rest.split_at_checked(len)?;
            (marks, image) = (Some(bytes), rest);
        }
        Some(Record {
            version: Version {
                rank: Rank { stamp, kind },
                dot,
                issued,
            },
            partition,
            image: match state & !MARKED {
                0 if image.is_empty() => None,
                1 => Some(image),
                _ => return None,
            },
            marks,
        })
    }

    /// The version as it travels again.
    pub fn mutation(&self, table: TableUid, key: ItemKey) -> Mutation {
        let image = self.image.map(<[u8]>::to_vec);
        let change = match self.marks {
            None => Change::Item { table, key, image },
            Some(marks) => Change::Merged {
                table,
                key,
                marks: marks.to_vec(),
                image,
            },
        };
        Mutation {
            version: Some(self.version),
            change,
        }
    }
}

fn stamp_at(bytes: &[u8], at: usize) -> Option<Stamp> {
    Some(Stamp::from_bytes(
        bytes.get(at..at + STAMP_LEN)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::super::mutation::{Dot, GroupId, LogId, Origin};
    use super::*;
    use crate::clock::RegionId;

    fn version() -> Version {
        let stamp = Stamp {
            physical_us: 7,
            logical: 3,
            region: RegionId(2),
        };
        let log = LogId {
            group: GroupId(5),
            origin: Origin {
                region: RegionId(2),
                incarnation: 1,
            },
        };
        Version {
            rank: Rank {
                stamp,
                kind: RankKind::Write,
            },
            dot: Dot { log, seq: 9 },
            issued: stamp,
        }
    }

    #[test]
    fn records_survive_their_encoding() {
        for image in [None, Some(&b"image"[..]), Some(&b""[..])] {
            for marks in [None, Some(&b"marks"[..]), Some(&b""[..])] {
                let record = Record {
                    version: version(),
                    partition: b"Sp",
                    image,
                    marks,
                };
                assert_eq!(Record::decode(&record.encode()).unwrap(), record);
            }
        }
    }

    #[test]
    fn damaged_records_are_refused() {
        let bytes = Record {
            version: version(),
            partition: b"Sp",
            image: None,
            marks: None,
        }
        .encode();
        assert!(Record::decode(&bytes[..bytes.len() - 1]).is_err());
        let mut other = bytes.clone();
        other[0] = 9;
        assert!(Record::decode(&other).is_err());
    }
}
