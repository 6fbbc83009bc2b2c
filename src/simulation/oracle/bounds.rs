//! O13: memory that a peer can make a region use is bounded in bytes, whatever peers, disks and links do.

use super::super::report::OracleId;
use super::Oracles;
use crate::clock::RegionId;
use crate::replication::{
    APPLY_IN_FLIGHT_MAX, BATCH_BYTES_MAX, Burden, INTAKE_BYTES_MAX, WINDOW_BYTES_MAX,
};

/// A bound may be passed by one commit: no transaction of the workload is as large.
const COMMIT_BYTES: usize = 64 * 1024;

impl Oracles {
    /// O13: what waits for apply, what is unacknowledged, and what waits for the writer.
    pub fn check_bounds(&mut self, region: RegionId, burden: Burden, queued_bytes: usize) {
        let logs = self.logs.len().max(1);
        let batch = BATCH_BYTES_MAX + COMMIT_BYTES;
        let held = [
            (
                "of one log for its apply",
                burden.intake_bytes,
                INTAKE_BYTES_MAX + COMMIT_BYTES,
            ),
            (
                "for the acknowledgement of one peer",
                burden.unacked_bytes,
                WINDOW_BYTES_MAX + batch,
            ),
            (
                "for the writer",
                queued_bytes,
                logs * APPLY_IN_FLIGHT_MAX * batch,
            ),
        ];
        for (what, bytes, most) in held {
            self.check(OracleId::Bounds, bytes <= most, |world| {
                let name = world.name(region);
                format!("in {name} {bytes} bytes wait {what}, {most} may")
            });
        }
        let applies = burden.applies;
        self.check(OracleId::Bounds, applies <= APPLY_IN_FLIGHT_MAX, |world| {
            let name = world.name(region);
            format!("in {name} {applies} applies of one log are under way")
        });
    }
}
