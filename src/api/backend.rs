//! What the API needs of a region.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::auth::Keys;
use super::throttle::Throttle;
use crate::clock::RegionId;
use crate::replica::catalog::{Busy, TableDef};
use crate::replica::mutation::{Frontier, lacks};
use crate::replica::request::{WriteRequest, WriteResponse};
use crate::replica::{ApiError, log, members};
use crate::store::ReadTxn;
use crate::telemetry::Metrics;

/// The names of a cluster's regions. They come and go while it runs; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Regions(Arc<RwLock<Vec<(RegionId, String)>>>);

impl Regions {
    pub fn new(regions: Vec<(RegionId, String)>) -> Self {
        Regions(Arc::new(RwLock::new(regions)))
    }

    pub fn list(&self) -> Vec<(RegionId, String)> {
        self.read().clone()
    }

    pub fn set(&self, regions: Vec<(RegionId, String)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = regions;
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<(RegionId, String)>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who this region is and which regions there are.
#[derive(Clone, Debug)]
pub struct RegionInfo {
    pub name: String,
    pub id: RegionId,
    /// The account in every ARN: `000000000000`.
    pub account: String,
    /// All regions that are members, this one included.
    pub topology: Regions,
}

impl RegionInfo {
    /// The name of a region that is a member.
    pub fn name_of(&self, region: RegionId) -> Option<String> {
        let regions = self.topology.read();
        let found = regions.iter().find(|(id, _)| *id == region);
        found.map(|(_, name)| name.clone())
    }

    /// The region of that name.
    pub fn id_of(&self, name: &str) -> Option<RegionId> {
        let regions = self.topology.read();
        let found = regions.iter().find(|(_, n)| n == name);
        found.map(|(id, _)| *id)
    }

    /// The ARN of a table of this region.
    pub fn table_arn(&self, table: &str) -> String {
        format!(
            "arn:aws:dynamodb:{}:{}:table/{table}",
            self.name, self.account
        )
    }

    /// The ARN of a stream of this region.
    pub fn stream_arn(&self, table: &str, label: &str) -> String {
        format!("{}/stream/{label}", self.table_arn(table))
    }
}

/// The answer to a write, when it comes.
pub type WriteFuture<'a> =
    Pin<Box<dyn Future<Output = Result<WriteResponse, ApiError>> + Send + 'a>>;

/// What a region still lacked when the waiting ended: nothing, if it came in time.
pub type ReachFuture<'a> = Pin<Box<dyn Future<Output = Result<Frontier, ApiError>> + Send + 'a>>;

/// The region behind the API: its one writer, and snapshots for readers. `api` never opens a transaction.
pub trait Backend: Send + Sync + 'static {
    fn region(&self) -> &RegionInfo;
    /// Who may call.
    fn keys(&self) -> &Keys;
    /// Queues a write; resolves when it is durable or refused.
    fn write(&self, request: WriteRequest) -> WriteFuture<'_>;
    /// The buckets of capacity, where requests beyond it are refused.
    fn throttle(&self) -> Option<&Throttle> {
        None
    }
    /// Where requests are counted, if they are.
    fn metrics(&self) -> Option<&Metrics> {
        None
    }
    /// What a table is busy with: its replica here does not have everything yet, or this region slows the
    /// states of tables down, which by default it does not.
    fn busy(&self, txn: &dyn ReadTxn, def: &TableDef) -> Result<Option<Busy>, ApiError> {
        let joining = members::is_joining(txn, def, self.region().id)?;
        Ok(joining.then_some(Busy::Creating))
    }
    /// What this region has applied, as a reader that begins now sees it.
    fn frontier(&self) -> Result<Frontier, ApiError> {
        let mut frontier = Frontier::new();
        self.read(&mut |txn| {
            frontier = log::frontier(txn)?;
            Ok(())
        })?;
        Ok(frontier)
    }
    /// Waits until this region has applied what `wanted` says of its logs, for `wait` at most; by default it
    /// only looks.
    fn reach(&self, wanted: &Frontier, _wait: Duration) -> ReachFuture<'_> {
        let region = self.region().id;
        let lacking = self.frontier().map(|here| lacks(&here, wanted, region));
        Box::pin(std::future::ready(lacking))
    }
    /// Runs `reader` on a snapshot, on the caller's thread.
    fn read(
        &self,
        reader: &mut dyn FnMut(&dyn ReadTxn) -> Result<(), ApiError>,
    ) -> Result<(), ApiError>;
}
