//! What must hold of reads, at any instant: O4, O5, O6.

use std::collections::BTreeSet;

use super::super::plan::{Config, Operation, OperationKind};
use super::super::report::OracleId;
use super::super::workload;
use super::Oracles;
use crate::clock::RegionId;
use crate::item::{Item, codec};
use crate::replica::catalog::TableDef;
use crate::replica::mutation::Rank;
use crate::replica::{ApiError, buckets, conflict, read, ttl};
use crate::store::{ReadTxn, StoreError};

impl Oracles {
    /// A client reads. False when its region has no table yet.
    pub fn on_read(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        operation: &Operation,
        config: &Config,
    ) -> Result<bool, ApiError> {
        let Some(def) = self.readable(txn, region)? else {
            return Ok(false);
        };
        match &operation.kind {
            OperationKind::Read { key } => {
                self.read_item(
                    txn,
                    region,
                    &def,
                    operation.client,
                    &workload::register(*key),
                )?;
            }
            OperationKind::ReadCohort { cohort } => {
                self.check_cohort(txn, region, &def, *cohort, config)?;
            }
            _ => {}
        }
        Ok(true)
    }

    /// O4: a read returns what is stored, and nothing older than the client's last write and read.
    fn read_item(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        def: &TableDef,
        client: u64,
        key: &Item,
    ) -> Result<(), ApiError> {
        let item = read::get(txn, def, key)?;
        let key = workload::item_key(key);
        let stored = read::version(txn, def, &key)?;
        let (rank, image) = match stored {
            Some((version, image)) => (Some(version.rank), image),
            None => (None, None),
        };
        let same = image.as_deref().map(codec::decode).transpose().ok() == Some(item);
        self.check(OracleId::Session, same, |world| {
            let (name, key) = (world.name(region), workload::name_of(&key));
            format!("{name} answers a read of {key} with something else than it stores")
        });
        let floor = self.sessions.get(&(client, key.clone())).copied();
        // A deletion that all have may be forgotten.
        let forgotten = rank.is_none() && floor.is_some_and(|rank| self.is_stable(rank));
        self.check(OracleId::Session, rank >= floor || forgotten, |world| {
            let show = |rank: Option<Rank>| rank.map_or("nothing".into(), |r| r.stamp.to_string());
            let (name, key) = (world.name(region), workload::name_of(&key));
            format!(
                "{name} shows client {client} {} at {key}, after it wrote or read {}",
                show(rank),
                show(floor)
            )
        });
        if let Some(rank) = rank {
            self.sessions.insert((client, key), rank);
        }
        Ok(())
    }

    /// O5: all items of a cohort carry one id, or none is there.
    pub fn check_cohort(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        def: &TableDef,
        cohort: u32,
        config: &Config,
    ) -> Result<(), ApiError> {
        let mut writers = BTreeSet::new();
        for member in 0..config.cohort_keys {
            let item = read::get(txn, def, &workload::member(cohort, member))?;
            writers.insert(item.as_ref().and_then(workload::writer_in));
        }
        self.check(OracleId::Atomicity, writers.len() == 1, |world| {
            let show = |w: &Option<u64>| w.map_or("nobody".into(), |w| format!("operation {w}"));
            let writers: Vec<String> = writers.iter().map(show).collect();
            let name = world.name(region);
            format!(
                "in {name} cohort {cohort} was written by {}",
                writers.join(" and ")
            )
        });
        Ok(())
    }

    /// O5, O6 and O7 on all that a region has.
    pub fn check_region(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        config: &Config,
        serves: bool,
    ) -> Result<(), ApiError> {
        let Some(def) = self.table(txn, region)? else {
            return Ok(());
        };
        self.see_all_collected(txn, region)?;
        // A copy under way has parts of transactions, which is why nobody may read it.
        let whole = serves && self.readable(txn, region)?.is_some();
        for cohort in (0..config.cohorts).filter(|_| whole) {
            self.check_cohort(txn, region, &def, cohort, config)?;
        }
        self.check_kept_conflicts(txn, region)?;
        self.check_streams(txn, region, &def)?;
        self.check_derived(txn, region, &def)?;
        let wrong = buckets::wrong(txn, def.uid)?;
        self.check(OracleId::DerivedState, wrong == 0, |world| {
            format!(
                "{} keeps fingerprints of {wrong} ranges that are not those of their items",
                world.name(region)
            )
        });
        self.check_expiries_of(txn, region, &def)
    }

    /// O8: what is kept and what was dropped of the conflicts add up to those that happened.
    fn check_kept_conflicts(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
    ) -> Result<(), StoreError> {
        let happened = self.regions[usize::from(region.0)].conflicts();
        let (kept, problems) = conflict::audit(txn)?;
        let (recorded, dropped) = self.other_conflicts(txn)?;
        let counted = recorded == happened || !self.judges_conflicts();
        let holds = problems.is_empty() && counted;
        self.check(OracleId::Conflicts, holds, |world| {
            let name = world.name(region);
            format!(
                "{name} keeps {kept} and dropped {dropped} of {happened} conflicts; {}",
                problems.join("; ")
            )
        });
        Ok(())
    }

    /// O6: the rows of what expires are the seconds that the items say, once they are made.
    fn check_expiries_of(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        def: &TableDef,
    ) -> Result<(), ApiError> {
        if ttl::is_rebuilding(txn, def.uid)? {
            return Ok(());
        }
        let versions = match def.ttl.attribute {
            Some(_) => read::versions(txn, def)?,
            None => Vec::new(),
        };
        let images = versions.into_iter().filter_map(|(_, _, image)| image);
        let mut wanted: Vec<u64> = images
            .filter_map(|image| workload::expiry_of(&image))
            .collect();
        wanted.sort_unstable();
        let held = ttl::seconds(txn, def)?;
        self.check(OracleId::DerivedState, held == wanted, |world| {
            let name = world.name(region);
            format!("{name} keeps {held:?} as what expires, where its items say {wanted:?}")
        });
        Ok(())
    }
}
