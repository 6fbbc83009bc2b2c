//! Disks that are lost or put back, and copies that make up for it.
//!
//! What only such a disk had is exempt from O2: commits of the region that no other had. What any region has of
//! its earlier lives, all must have in the end. O3 and O4 hold within a life.

use std::collections::BTreeSet;

use super::super::plan::index;
use super::super::report::OracleId;
use super::super::workload;
use super::{Known, MadeChange, Met, Oracles, movers};
use crate::clock::RegionId;
use crate::replica::catalog::TableDef;
use crate::replica::mutation::{Change, Dot, Frontier, LogId};
use crate::replica::read;
use crate::replica::snapshot::Portion;
use crate::store::{ReadTxn, StoreError};

impl Oracles {
    /// The disk of a region is copied.
    pub fn back_up(&mut self, region: RegionId) {
        let here = usize::from(region.0);
        self.backups.insert(here, self.regions[here].clone());
    }

    /// The disk of a region is lost, or what it was when it was copied.
    pub fn on_disk_fault(&mut self, region: RegionId, restored: bool) {
        let here = usize::from(region.0);
        let backup = self.backups.get(&here).filter(|_| restored);
        let mut known = backup.cloned().unwrap_or_default();
        if !restored {
            self.backups.remove(&here);
        }
        let before = std::mem::take(&mut self.regions[here]);
        known.last_issued = before.last_issued;
        known.stable = before.stable;
        known.floors = before.floors;
        known.ever = before.ever;
        for (log, seq) in before.applied {
            let ever = known.ever.entry(log).or_insert(0);
            *ever = seq.max(*ever);
        }
        self.regions[here] = known;
        let own = self.logs.keys().filter(|log| log.origin.region == region);
        self.doubted.extend(own.copied());
        // Clients may have moved, and know of what is lost.
        self.sessions.clear();
    }

    /// O10 (I4): a process starts with what its region had applied.
    pub fn on_start(&mut self, region: RegionId, frontier: &Frontier) {
        let applied = &self.regions[usize::from(region.0)].applied;
        let there = |map: &Frontier| -> Frontier {
            map.iter()
                .filter(|(_, seq)| **seq > 0)
                .map(|(l, s)| (*l, *s))
                .collect()
        };
        let same = there(frontier) == there(applied);
        self.check(OracleId::Dots, same, |world| {
            let name = world.name(region);
            format!("{name} starts with another frontier than it had")
        });
    }

    /// How many commits of a log all regions must have in the end.
    pub(super) fn required(&self, log: LogId) -> u64 {
        let made = self.logs.get(&log).map(Vec::as_slice).unwrap_or_default();
        let origin = log.origin.region;
        let doubted = self.doubted.contains(&log) || self.members_lapsed(origin);
        if !doubted && !self.gone.contains(origin) {
            return index(made.len());
        }
        // One that left handed over all that clients asked of it first. What it told of its replicas may end with it.
        let of_clients = made.iter().rposition(|made| made.of_clients);
        let handed_over = of_clients
            .filter(|_| !doubted)
            .map_or(0, |at| index(at + 1));
        let ids = (0u16..).map(RegionId).zip(&self.regions);
        let stay = ids.filter(|(at, _)| !self.members_lapsed(*at) && !self.gone.contains(*at));
        let applied = stay.map(|(_, known)| known.applied.get(&log));
        applied
            .flatten()
            .copied()
            .max()
            .unwrap_or(0)
            .max(handed_over)
    }

    /// Commits that only a lost disk had.
    pub fn lost(&self) -> u64 {
        let made = |log: &LogId| self.logs.get(log).map_or(0, |made| index(made.len()));
        let lost = |log: &LogId| made(log).saturating_sub(self.required(*log));
        self.doubted.iter().map(lost).sum()
    }

    /// A part of a copy became durable in `region`. Notes the conflicts that it should have recorded: none
    /// with what the sponsor has met already.
    pub(super) fn on_copied(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        portion: &Portion,
        touched: &mut BTreeSet<usize>,
        met: &mut Met,
    ) -> Result<(), StoreError> {
        let here = usize::from(region.0);
        let covered = |dot: Dot| {
            portion
                .base
                .get(&dot.log)
                .is_some_and(|seq| dot.seq <= *seq)
        };
        let mut present = BTreeSet::new();
        for mutation in &portion.part.mutations {
            self.follow_replicas(here, movers::replicas_of(&mutation.change));
            let (Change::Item { table, key, image }, Some(version)) =
                (&mutation.change, mutation.version)
            else {
                continue;
            };
            if self.is_merged(&mutation.change) {
                continue;
            }
            let known = self.made(version.dot).is_some();
            self.check(OracleId::Dots, known, |world| {
                let dot = world.show_dot(version.dot);
                format!(
                    "{} is given a copy of {dot}, which nobody made",
                    world.name(region)
                )
            });
            let key = self.key_number(*table, key);
            present.insert(key);
            let applied = self.regions[here].applied.get(&version.dot.log);
            let applied = applied.is_some_and(|seq| version.dot.seq <= *seq);
            let had = applied && self.regions[here].shadow(key).is_some() && !portion.again;
            if had || !covered(version.dot) {
                continue;
            }
            let there = self.regions[here].shadow(key);
            let settled = applied || there.is_some_and(|there| covered(there.version.dot));
            let change = MadeChange {
                key,
                version,
                deletes: image.is_none(),
                expires: image.as_deref().and_then(workload::expiry_of),
            };
            let pair = self.meet(here, change, touched);
            self.note_met(here, pair.filter(|_| !settled), met);
        }
        if let Some(def) = self.table(txn, region)? {
            self.see_vanished(txn, here, &def, &present, &covered)?;
        }
        if portion.part.next.is_none() {
            self.see_adopted(here, portion);
        }
        Ok(())
    }

    /// What the sponsor had, and has forgotten since, may go; O1 sees whether it should have.
    fn see_vanished(
        &mut self,
        txn: &dyn ReadTxn,
        here: usize,
        def: &TableDef,
        present: &BTreeSet<usize>,
        covered: &dyn Fn(Dot) -> bool,
    ) -> Result<(), StoreError> {
        for number in 0..self.regions[here].shadows.len() {
            let Some(shadow) = self.regions[here].shadow(number) else {
                continue;
            };
            let may_go = covered(shadow.version.dot) && !present.contains(&number);
            if may_go && read::header(txn, def, &self.keys[number])?.is_none() {
                self.regions[here].set_shadow(number, None);
                self.regions[here].visible += u64::from(!shadow.deleted);
            }
        }
        Ok(())
    }

    fn see_adopted(&mut self, here: usize, portion: &Portion) {
        let known: &mut Known = &mut self.regions[here];
        let own = |log: &LogId| usize::from(log.origin.region.0) == here;
        let group = portion
            .base
            .iter()
            .filter(|(log, _)| log.group == portion.group);
        for (log, seq) in group {
            let applied = known.applied.entry(*log).or_insert(0);
            if *seq <= *applied {
                continue;
            }
            assert!(
                !own(log) || self.doubted.contains(log),
                "nobody else has more of a region's own log than it made"
            );
            *applied = *seq;
            let floor = known.floors.entry(*log).or_insert(0);
            *floor = (*floor).max(*seq);
        }
    }
}
