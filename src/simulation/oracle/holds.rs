//! Commits from the future: O11 says that they wait, and that they are applied in the end.

use super::super::host::{Done, Finished};
use super::super::report::OracleId;
use super::super::skew::EPOCH_US;
use super::super::workload;
use super::{Made, Oracles};
use crate::clock::RegionId;
use crate::replica::{ApiError, log, read};
use crate::store::ReadTxn;

impl Oracles {
    /// O11: no commit was applied while it was further ahead than clocks may be. `horizon_us`: the greatest
    /// stamp of an origin that may be.
    pub fn check_holds(
        &mut self,
        region: RegionId,
        finished: &Finished,
        horizon_us: impl Fn(RegionId) -> u64,
    ) {
        for done in &finished.done {
            let Done::Remote { commits, ok, .. } = done else {
                continue;
            };
            for sealed in commits.iter().filter(|_| *ok) {
                let Ok((dot, issued)) = log::header(sealed) else {
                    continue;
                };
                let horizon_us = horizon_us(dot.log.origin.region);
                self.check(
                    OracleId::Clocks,
                    issued.physical_us <= horizon_us,
                    |world| {
                        format!(
                            "{} applies {}, stamped {issued}, where nothing after {horizon_us} may be",
                            world.name(region),
                            world.show_dot(dot)
                        )
                    },
                );
            }
        }
    }

    /// O11: what was stamped ahead of its time is there in the end, if nothing newer is.
    pub(super) fn check_held(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        max_offset_us: u64,
    ) -> Result<(), ApiError> {
        let Some(def) = self.table(txn, region)? else {
            return Ok(());
        };
        let ahead = |made: &&Made| {
            let due_us = EPOCH_US + made.at_us + max_offset_us;
            made.issued.physical_us > due_us
        };
        let mut changes = Vec::new();
        for (log, made) in &self.logs {
            // What is held is in memory: where the origin lost its disk meanwhile, it is nowhere.
            let required = usize::try_from(self.required(*log)).unwrap_or(usize::MAX);
            let kept = made.iter().take(required).filter(ahead);
            changes.extend(kept.flat_map(|made| made.changes.clone()));
        }
        for change in changes {
            let there = read::header(txn, &def, &self.keys[change.key])?;
            let there = there.map(|(version, _)| version.rank);
            let holds = there >= Some(change.version.rank) || self.is_stable(change.version.rank);
            self.check(OracleId::Clocks, holds, |world| {
                format!(
                    "{} never applied {} to {}, which was held",
                    world.name(region),
                    world.show_version(change.version),
                    workload::name_of(&world.keys[change.key])
                )
            });
        }
        Ok(())
    }
}
