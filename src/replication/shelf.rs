//! Where replication finds sealed commits: the one place that knows how the replica stores them.

use crate::clock::{RegionId, Stamp};
use crate::replica::mutation::{Dot, GroupId, LogId};
use crate::replica::snapshot::{self, At, Part};
use crate::replica::{log, stable};
use crate::store::{ReadTxn, StoreError};

/// Reads logs and looks into sealed commits.
pub(super) trait Shelf {
    /// The commits of `log` from seq `from` on, in order: as many as `bytes_max` holds, at least one.
    fn read(
        &self,
        log: LogId,
        from: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;
    /// The first commit of `log` that is there, or would be.
    fn start(&self, log: LogId) -> Result<u64, StoreError>;
    /// A part of a copy of `group`, as the first region has it, for the second, with the frontier of the store that it
    /// was read from. `None`: another region has more.
    fn part(
        &self,
        regions: (RegionId, RegionId),
        group: GroupId,
        at: At<'_>,
        bytes_max: usize,
    ) -> Result<Option<Part>, StoreError>;
    /// The store itself; `None` where there is only a shelf.
    fn txn(&self) -> Option<&dyn ReadTxn> {
        None
    }
    /// Which commit the sealed bytes claim to be, and its stamp; `None` when they are damaged.
    fn header(&self, sealed: &[u8]) -> Option<(Dot, Stamp)>;
}

/// The logs of a store.
pub(super) struct StoreShelf<'t>(pub &'t dyn ReadTxn);

impl Shelf for StoreShelf<'_> {
    fn read(
        &self,
        log: LogId,
        from: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        log::read(self.0, log, from, bytes_max)
    }

    fn start(&self, log: LogId) -> Result<u64, StoreError> {
        stable::log_start(self.0, log)
    }

    fn part(
        &self,
        regions: (RegionId, RegionId),
        group: GroupId,
        at: At<'_>,
        bytes_max: usize,
    ) -> Result<Option<Part>, StoreError> {
        snapshot::read_part(self.0, regions, group, at, bytes_max)
    }

    fn txn(&self) -> Option<&dyn ReadTxn> {
        Some(self.0)
    }

    fn header(&self, sealed: &[u8]) -> Option<(Dot, Stamp)> {
        log::header(sealed).ok()
    }
}
