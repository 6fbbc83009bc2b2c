//! What the API sees of a region.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::clock::RegionClock;
use super::gate::Gate;
use super::queue::{Queue, Refused};
use crate::api::{Backend, Keys, ReachFuture, RegionInfo, Throttle, WriteFuture};
use crate::replica::catalog::{Busy, TableDef};
use crate::replica::mutation::{Frontier, lacks};
use crate::replica::request::WriteRequest;
use crate::replica::{ApiError, deletion, members};
use crate::store::{ReadTxn, Store};
use crate::telemetry::Metrics;

/// Why a write was refused before it was queued; retryable.
const QUEUE_FULL: &str =
    "The write queue of this region is full. Slow down and try again with exponential backoff.";
const STOPPING: &str = "This region is shutting down.";
/// Retryable, and the write may have happened: the writer took it and did not answer.
const NO_ANSWER: &str = "The region stopped before the outcome of the write was known.";

pub(super) struct RegionBackend {
    pub info: RegionInfo,
    pub keys: Keys,
    pub store: Arc<dyn Store>,
    pub queue: Arc<Queue>,
    pub gate: Arc<Gate>,
    pub throttle: Option<Throttle>,
    pub metrics: Arc<Metrics>,
    pub clock: RegionClock,
    /// How long tables are busy with everything; 0 = not at all.
    pub table_delay_us: u64,
    /// What the writer has made visible.
    pub visible: watch::Receiver<Frontier>,
}

impl Backend for RegionBackend {
    fn region(&self) -> &RegionInfo {
        &self.info
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn throttle(&self) -> Option<&Throttle> {
        self.throttle.as_ref()
    }

    fn metrics(&self) -> Option<&Metrics> {
        Some(&self.metrics)
    }

    fn write(&self, request: WriteRequest) -> WriteFuture<'_> {
        if let Err(refusal) = self.gate.admit() {
            return Box::pin(async move { Err(refusal) });
        }
        let (answer, answered) = oneshot::channel();
        let queued = self.queue.push_write(request, answer);
        if let Err(refused) = &queued {
            let reason = match refused {
                Refused::Full => "queue_full",
                Refused::Closed => "stopping",
            };
            self.metrics.writes_refused.with(&[reason]).add(1);
        }
        Box::pin(async move {
            match queued {
                Ok(()) => answered
                    .await
                    .unwrap_or_else(|_gone| Err(ApiError::InternalServer(NO_ANSWER.into()))),
                Err(Refused::Full) => Err(ApiError::Throttling(QUEUE_FULL.into())),
                Err(Refused::Closed) => Err(ApiError::ServiceUnavailable(STOPPING.into())),
            }
        })
    }

    fn busy(&self, txn: &dyn ReadTxn, def: &TableDef) -> Result<Option<Busy>, ApiError> {
        if members::is_joining(txn, def, self.info.id)? {
            return Ok(Some(Busy::Creating));
        }
        if self.table_delay_us == 0 {
            return Ok(None);
        }
        if deletion::is_deleting(txn, def.uid)? {
            return Ok(Some(Busy::Deleting));
        }
        Ok(def.busy(self.clock.now().wall_us, self.table_delay_us))
    }

    fn reach(&self, wanted: &Frontier, wait: Duration) -> ReachFuture<'_> {
        let (region, wanted) = (self.info.id, wanted.clone());
        let mut visible = self.visible.clone();
        Box::pin(async move {
            let there = visible.wait_for(|here| lacks(here, &wanted, region).is_empty());
            // Where time is up or the writer has stopped, what is lacking says so.
            if let Ok(Ok(_)) = tokio::time::timeout(wait, there).await {
                return Ok(Frontier::new());
            }
            let lacking = lacks(&visible.borrow(), &wanted, region);
            Ok(lacking)
        })
    }

    fn read(
        &self,
        reader: &mut dyn FnMut(&dyn ReadTxn) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        self.gate.admit()?;
        let txn = self.store.begin_read()?;
        reader(&*txn)
    }
}
