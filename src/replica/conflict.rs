//! Conflicts are data: versions that lost a race, kept with the winner (replication.md section 12).
//!
//! Each has an id that every region which sees it gives it, a number in the order in which this region saw
//! it, and can be written back (`restore`). They are kept for a while (`keep`): what is dropped is counted.

mod audit;
mod keep;
mod restore;
mod rows;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

use super::catalog::TableUid;
use super::keys;
use super::mutation::{ItemKey, Version};
use crate::clock::RegionId;
use crate::store::StoreError;

pub use audit::audit;
pub use keep::Retention;
pub use rows::{Newer, after, count, find, get, list, table_tallies, tallies};
pub(super) use rows::{mark_restored, record};

/// Names a conflict in every region: made of the table, the key and the ranks of both versions, and a rank
/// has one dot. Ranks, because the headers of expiries of one version merge, and dots, because a
/// transaction has many items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ConflictId(pub u128);

impl fmt::Display for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ConflictId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(ConflictId)
    }
}

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

impl Conflict {
    /// Whether nothing is known to have beaten the loser: a lapsed region brought it back, and it was set aside
    /// (`replica::rescue`), mostly because there was nothing at the key, and a deletion that is forgotten is taken to
    /// have won. This may be all that is left of an item, so it goes by age only, never for want of room.
    pub fn is_last_copy(&self) -> bool {
        self.winner.dot == self.loser.dot
    }

    pub fn id(&self) -> Result<ConflictId, StoreError> {
        let named = (self.uid, &self.key, self.winner.rank, self.loser.rank);
        let bytes = rows::encode(&named)?;
        Ok(ConflictId(u128::from_be_bytes(keys::hash(&bytes))))
    }
}

/// A conflict as it is kept in this region.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub id: ConflictId,
    /// 1, 2, 3 ... in the order in which this region saw them.
    pub number: u64,
    pub conflict: Conflict,
    /// The write that brought the loser back, if one did.
    pub restored: Option<Version>,
}

/// What became of one table's conflicts here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TableTally {
    /// The table's name; empty while its definition has not arrived.
    pub name: String,
    /// Ever.
    pub recorded: u64,
    /// By age or for room.
    pub dropped: u64,
    /// Whose loser was written back.
    pub restored: u64,
    /// Still there.
    pub kept: u64,
    /// Of those that may go for want of room.
    pub bytes: u64,
}

/// How often a version of one region beat one of another here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTally {
    pub winner: RegionId,
    pub loser: RegionId,
    pub recorded: u64,
}

/// All counters of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    pub tables: Vec<(TableUid, TableTally)>,
    pub links: Vec<LinkTally>,
}

impl Tallies {
    fn sum(&self, of: impl Fn(&TableTally) -> u64) -> u64 {
        self.tables.iter().map(|(_, tally)| of(tally)).sum()
    }

    pub fn recorded(&self) -> u64 {
        self.sum(|t| t.recorded)
    }

    pub fn dropped(&self) -> u64 {
        self.sum(|t| t.dropped)
    }

    pub fn kept(&self) -> u64 {
        self.sum(|t| t.kept)
    }

    pub fn restored(&self) -> u64 {
        self.sum(|t| t.restored)
    }
}
