//! What must hold when all is calm: O1, O2, and a last look at everything else.

use std::collections::BTreeMap;

use super::super::plan::Config;
use super::super::report::OracleId;
use super::super::workload;
use super::groups::joined;
use super::{Folded, Oracles, at, hash_of};
use crate::clock::RegionId;
use crate::replica::mutation::{Dot, ItemKey, Version};
use crate::replica::{ApiError, log, read};
use crate::store::ReadTxn;

impl Oracles {
    /// The last look at one region.
    pub fn check_last(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        config: &Config,
    ) -> Result<(), ApiError> {
        self.check_logs(txn, region)?;
        self.check_fold(txn, region)?;
        self.check_merged(txn, region)?;
        self.check_held(txn, region, config.max_offset_us)?;
        self.check_finished(txn, region)?;
        self.check_region(txn, region, config, true)
    }

    /// O2: every commit that was durable at its origin, acknowledged or not, is in this region's log, byte
    /// for byte, save for those at its beginning that all have.
    fn check_logs(&mut self, txn: &dyn ReadTxn, region: RegionId) -> Result<(), ApiError> {
        let logs: Vec<_> = self.logs.keys().copied().collect();
        for log in logs {
            let held = log::read(txn, log, 1, usize::MAX)?;
            let made = self.logs.get(&log).map(Vec::as_slice).unwrap_or_default();
            let count = at(self.required(log) + 1).min(made.len());
            let dropped = count.saturating_sub(held.len());
            let kept = made.iter().take(count).skip(dropped).map(|m| m.hash);
            let hashes = held.iter().map(|(_, sealed)| hash_of(sealed));
            let same =
                held.len() <= count && dropped <= self.kept_from(region, log) && hashes.eq(kept);
            self.check(OracleId::Durability, same, |world| {
                format!(
                    "{} has {} of the {count} commits that {} made, or has others",
                    world.name(region),
                    held.len(),
                    world.name(log.origin.region)
                )
            });
        }
        Ok(())
    }

    /// The greatest rank of an item and its image, over all commits but those that are nowhere any more.
    fn fold(&self, versions: &[Folded]) -> Option<Folded> {
        let there =
            |dot: Dot| !self.doubted.contains(&dot.log) || dot.seq <= self.required(dot.log);
        let mut fold: Option<&Folded> = None;
        let mut merged = None;
        for one in versions.iter().filter(|(version, _)| there(version.dot)) {
            match fold {
                Some((best, _)) if best.rank == one.0.rank => {
                    merged = Some(joined(merged.unwrap_or(*best), one.0));
                }
                Some((best, _)) if best.rank > one.0.rank => {}
                _ => (fold, merged) = (Some(one), None),
            }
        }
        fold.map(|(version, image)| (merged.unwrap_or(*version), image.clone()))
    }

    /// Whether some region may have forgotten a deletion, or one of the expiries that it is made of.
    fn is_forgettable(&self, number: usize, deletion: Version) -> bool {
        let versions = self.versions.get(number);
        let mut equal = versions.into_iter().flatten();
        self.is_collectable(deletion)
            || equal
                .any(|(version, _)| version.rank == deletion.rank && self.is_collectable(*version))
    }

    /// O1: the region's versions are the fold of all commits.
    fn check_fold(&mut self, txn: &dyn ReadTxn, region: RegionId) -> Result<(), ApiError> {
        if self.scripted {
            return Ok(());
        }
        let stored: BTreeMap<ItemKey, Folded> = match read::table(txn, region, workload::TABLE)? {
            Some(def) => read::versions(txn, &def)?
                .into_iter()
                .map(|(key, version, image)| (key, (version, image)))
                .collect(),
            None => BTreeMap::new(),
        };
        let folds: Vec<Option<Folded>> = self.versions.iter().map(|v| self.fold(v)).collect();
        let known = self.keys.iter().enumerate().zip(&folds);
        let folded = known.filter_map(|((number, key), fold)| Some((number, key, fold.as_ref()?)));
        // A deletion that all have may be forgotten, and an older one, such as a second expiry, come after.
        let right = |(number, key, fold): &(usize, &ItemKey, &Folded)| {
            let has = stored.get(*key);
            let absent = has.is_none_or(|(_, image)| image.is_none()) && fold.1.is_none();
            has == Some(*fold) || (absent && self.is_forgettable(*number, fold.0))
        };
        let wrong = folded.clone().find(|one| !right(one));
        let wrong = wrong.map(|(_, key, (version, _))| {
            let has = stored
                .get(key)
                .map_or("nothing".into(), |(v, _)| self.show_version(*v));
            let wanted = self.show_version(*version);
            format!(
                "{} is {has}, and should be {wanted}",
                workload::name_of(key)
            )
        });
        let (has, wanted) = (stored.len(), folded.count());
        let holds = wrong.is_none() && has <= wanted;
        self.check(OracleId::Convergence, holds, |world| {
            let name = world.name(region);
            let wrong = wrong.unwrap_or_default();
            format!("{name} has {has} versions where the commits make {wanted}; {wrong}")
        });
        Ok(())
    }
}
