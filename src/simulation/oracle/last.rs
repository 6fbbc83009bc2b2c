//! What must hold when all is calm: O1, O2, and a last look at everything else.

use std::collections::BTreeMap;

use super::super::plan::Config;
use super::super::report::OracleId;
use super::super::workload;
use super::{Folded, Oracles, at, hash_of};
use crate::clock::RegionId;
use crate::replica::catalog::TableDef;
use crate::replica::mutation::{Dot, ItemKey};
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
        self.check_gone(txn, region)?;
        self.check_definitions(txn, region)?;
        self.check_merged(txn, region)?;
        self.check_held(txn, region, config.max_offset_us)?;
        self.check_finished(txn, region)?;
        self.check_region(txn, region, config, true)
    }

    /// O2: every commit that was durable at its origin, acknowledged or not, is in this region's log, byte
    /// for byte, save for those at its beginning that all have.
    fn check_logs(&mut self, txn: &dyn ReadTxn, region: RegionId) -> Result<(), ApiError> {
        let logs = self.logs.keys().copied();
        let logs: Vec<_> = logs.filter(|log| log.group.contains(region)).collect();
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

    /// O1: all regions have the same definitions of the tables of which they have a replica.
    fn check_definitions(&mut self, txn: &dyn ReadTxn, region: RegionId) -> Result<(), ApiError> {
        let defs = read::tables(txn, region)?;
        let first = self.definitions.get_or_insert_with(|| defs.clone());
        let here = first.iter().filter(|def| def.group.contains(region));
        let first: Vec<TableDef> = here.cloned().collect();
        self.check(OracleId::Convergence, defs == first, |world| {
            let name = world.name(region);
            format!("{name} has other definitions of tables than another: {defs:?} and {first:?}")
        });
        Ok(())
    }

    /// The greatest rank of an item and its image, over all commits but those that are nowhere any more.
    fn fold(&self, versions: &[Folded]) -> Option<Folded> {
        let there =
            |dot: Dot| !self.doubted.contains(&dot.log) || dot.seq <= self.required(dot.log);
        let there = versions.iter().filter(|(version, _)| there(version.dot));
        // Of two expiries of one version, which have one rank, the one issued last.
        there
            .max_by_key(|(version, _)| (version.rank, version.issued))
            .copied()
    }

    /// O1: the region's versions are the fold of all commits.
    fn check_fold(&mut self, txn: &dyn ReadTxn, region: RegionId) -> Result<(), ApiError> {
        if self.scripted || !self.regions[usize::from(region.0)].has_replica() {
            return Ok(());
        }
        let stored: BTreeMap<ItemKey, Folded> = match self.table(txn, region)? {
            Some(def) => read::versions(txn, &def)?
                .into_iter()
                .map(|(key, version, image)| (key, (version, image.as_deref().map(hash_of))))
                .collect(),
            None => BTreeMap::new(),
        };
        let folds: Vec<Option<Folded>> = self.versions.iter().map(|v| self.fold(v)).collect();
        let known = self.keys.iter().zip(&folds);
        let folded = known.filter_map(|(key, fold)| Some((key, fold.as_ref()?)));
        // A deletion that all have may be forgotten, and an older one, such as a second expiry, come after.
        let right = |(key, fold): &(&ItemKey, &Folded)| {
            let has = stored.get(*key);
            let absent = has.is_none_or(|(_, image)| image.is_none()) && fold.1.is_none();
            has == Some(*fold) || (absent && self.is_collectable(fold.0))
        };
        let wrong = folded.clone().find(|one| !right(one));
        let wrong = wrong.map(|(key, (version, _))| {
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
