//! Mutations, commits and what names them (replication.md sections 2 and 6).

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::catalog::{LocalSettings, TableDef, TableUid};
use super::conflict::ConflictId;
use super::members::Report;
use crate::clock::{RegionId, Stamp};

/// A placement group: the set of regions (bit n = `RegionId(n)`) that hold the same tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct GroupId(pub u64);

impl GroupId {
    pub fn of(regions: impl IntoIterator<Item = RegionId>) -> Self {
        GroupId(regions.into_iter().fold(0, |set, r| set | 1 << r.0))
    }

    pub fn contains(self, region: RegionId) -> bool {
        region.0 < 64 && self.0 & (1 << region.0) != 0
    }

    pub fn with(self, region: RegionId) -> Self {
        GroupId(self.0 | 1 << region.0)
    }

    pub fn without(self, region: RegionId) -> Self {
        GroupId(self.0 & !(1 << region.0))
    }

    pub fn regions(self) -> impl Iterator<Item = RegionId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let next = u16::try_from(left.trailing_zeros())
                .ok()
                .filter(|n| *n < 64)?;
            left &= left - 1;
            Some(RegionId(next))
        })
    }
}

/// One life of one region's store; a restored or rebuilt store begins a new incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Origin {
    pub region: RegionId,
    pub incarnation: u32,
}

/// Names one log: the commits of one origin in one placement group, numbered 1, 2, 3 ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LogId {
    pub group: GroupId,
    pub origin: Origin,
}

/// Names one commit (I1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Dot {
    pub log: LogId,
    pub seq: u64,
}

/// Per log, the highest contiguous sequence number applied (I4).
pub type Frontier = BTreeMap<LogId, u64>;

/// What of `wanted` a region at `frontier` has not applied. Logs that do not concern it, it never will.
pub fn lacks(frontier: &Frontier, wanted: &Frontier, region: RegionId) -> Frontier {
    wanted
        .iter()
        .filter(|(log, seq)| {
            log.group.contains(region) && frontier.get(log).copied().unwrap_or(0) < **seq
        })
        .map(|(log, seq)| (*log, *seq))
        .collect()
}

/// Raises `frontier` to cover `other` too.
pub fn join(frontier: &mut Frontier, other: &Frontier) {
    for (log, seq) in other {
        let here = frontier.entry(*log).or_default();
        *here = (*here).max(*seq);
    }
}

/// What a version is: an ordinary write (put or delete), or the expiry of exactly one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum RankKind {
    Write,
    Expire,
}

/// The total order on the versions of one item (I5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Rank {
    pub stamp: Stamp,
    pub kind: RankKind,
}

/// What identifies a version of an item: its rank, the commit that made it, and when that was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Version {
    pub rank: Rank,
    pub dot: Dot,
    pub issued: Stamp,
}

/// The primary key of an item in storage: the same bytes in every region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct ItemKey {
    /// The partition key, type-tagged and canonical (`item::key::partition_bytes`).
    pub partition: Vec<u8>,
    /// The sort key in order-preserving bytes; empty where the table has none.
    pub sort: Vec<u8>,
}

/// One stamped change.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Change {
    /// A new image (codec bytes) of an item, or its absence.
    Item {
        table: TableUid,
        key: ItemKey,
        image: Option<Vec<u8>>,
    },
    /// The item expired (replication.md section 4): `expired` is the rank stamp of the version it expires,
    /// and with the kind `Expire` the rank of the tombstone it leaves. So it beats exactly that version,
    /// and every later write beats it.
    Expire {
        table: TableUid,
        key: ItemKey,
        expired: Stamp,
    },
    /// A new definition of the table of that name, or its absence.
    Table {
        name: String,
        uid: TableUid,
        def: Option<Box<TableDef>>,
    },
    /// How far the replica of the region that made the commit has come.
    Report { table: TableUid, report: Report },
    /// The region that made the commit has sent these new members (region, when added) all it had of a
    /// table: it is in its logs up to these numbers.
    Sent {
        table: TableUid,
        to: Vec<(RegionId, Stamp)>,
        upto: Vec<(GroupId, u64)>,
    },
    /// The loser of this conflict was written back by the commit: where the conflict is kept, it is marked.
    Restored { conflict: ConflictId },
    /// What this region keeps of a table. Only in the log of the region's own group, which no other reads.
    Local {
        table: TableUid,
        settings: Box<LocalSettings>,
    },
    /// All that a region knows of an item of a table that merges ([`super::merge`]), the write of the commit
    /// included: `image` as in `Item`, `marks` what wrote what of it.
    Merged {
        table: TableUid,
        key: ItemKey,
        marks: Vec<u8>,
        image: Option<Vec<u8>>,
    },
}

/// One change and the version it makes. The version is the commit's own, except where an existing
/// version travels again (a table's items copied to a new replica).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Mutation {
    /// `None` = made by the commit: its dot and issue stamp, and the rank that [`Mutation::version_in`] says.
    pub version: Option<Version>,
    pub change: Change,
}

impl Mutation {
    /// The version that this mutation makes as part of the commit `dot`, issued at `issued`.
    pub fn version_in(&self, dot: Dot, issued: Stamp) -> Version {
        let rank = match self.change {
            Change::Expire { expired, .. } => Rank {
                stamp: expired,
                kind: RankKind::Expire,
            },
            _ => Rank {
                stamp: issued,
                kind: RankKind::Write,
            },
        };
        self.version.unwrap_or(Version { rank, dot, issued })
    }
}

/// The mutations that one region made atomically.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Commit {
    pub dot: Dot,
    pub issued: Stamp,
    /// The origin's frontier of other regions' logs before this commit, when it changed since the
    /// origin's previous commit in this log: the causal context.
    pub context: Option<Frontier>,
    pub mutations: Vec<Mutation>,
}
