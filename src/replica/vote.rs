//! What this region has bound itself to about the next record of the members, as its store remembers it:
//! `replication::consensus` says what it means. Written before anyone is told of it.

use bincode::{Decode, Encode};

use super::keys::meta;
use super::work;
use crate::clock::RegionId;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// A round of one proposer. The greater one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Ballot {
    pub round: u64,
    pub region: RegionId,
}

impl Ballot {
    /// Below every ballot that is used.
    pub const ZERO: Ballot = Ballot {
        round: 0,
        region: RegionId(0),
    };
}

/// Promises and acceptances of one voter.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Vote<V> {
    /// What is decided: the record of this epoch.
    pub epoch: u64,
    /// Nothing of a smaller ballot is promised or accepted.
    pub promised: Ballot,
    pub accepted: Option<(Ballot, V)>,
}

impl<V> Vote<V> {
    /// Bound to nothing.
    pub fn new(epoch: u64) -> Self {
        Vote {
            epoch,
            promised: Ballot::ZERO,
            accepted: None,
        }
    }
}

/// A vote about a record as it is kept and sent.
pub type MemberVote = Vote<Vec<u8>>;

/// What was last kept.
pub fn stored(txn: &dyn ReadTxn) -> Result<Option<MemberVote>, StoreError> {
    txn.get(Db::Meta, meta::VOTE)?.map(work::decode).transpose()
}

pub(super) fn keep(txn: &mut dyn WriteTxn, vote: &MemberVote) -> Result<(), StoreError> {
    txn.put(Db::Meta, meta::VOTE, &work::encode(vote)?)
}
