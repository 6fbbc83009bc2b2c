//! What regions hold to be durable everywhere, and what they forget because of it: O9.

use std::collections::BTreeMap;

use super::super::report::OracleId;
use super::super::workload;
use super::{Known, Oracles, Shadow, at};
use crate::clock::{RegionId, Stamp};
use crate::replica::mutation::{Dot, GroupId, LogId, Rank, Version};
use crate::replica::read;
use crate::replica::stable::Stability;
use crate::store::{ReadTxn, StoreError};

impl Oracles {
    /// O9 (I8): every commit stamped at or below the stable stamp, and every commit below a floor, is
    /// durable in all members of its group. `own_commit` sees that no such commit is made later.
    pub fn on_stable(&mut self, region: RegionId, found: &Stability) {
        let here = usize::from(region.0);
        for (group, stamp) in &found.stamps {
            // A region begins anew to learn it when it starts again: what counts is the greatest.
            let known = self.regions[here].stable.entry(*group).or_insert(*stamp);
            *known = (*known).max(*stamp);
            let logs: Vec<LogId> = self.logs.keys().copied().collect();
            for log in logs.into_iter().filter(|log| log.group == *group) {
                let made = self.logs.get(&log).map(Vec::as_slice).unwrap_or_default();
                let below = made.partition_point(|commit| commit.issued <= *stamp) as u64;
                // What only a lost disk had is nowhere; should it come after all, `must_arrive_above` sees it.
                let below = below.min(self.required(log));
                self.must_be_everywhere(region, log, below, "its stable stamp");
            }
        }
        for (log, floor) in &found.floors {
            let known = self.regions[here].floors.entry(*log).or_insert(*floor);
            *known = (*known).max(*floor);
            self.must_be_everywhere(region, *log, *floor, "the floor of a log");
        }
    }

    fn must_be_everywhere(&mut self, region: RegionId, log: LogId, seq: u64, what: &str) {
        let mut members = log
            .group
            .regions()
            .filter(|member| !self.is_away(*member) && !self.gone.contains(*member));
        let lacking = members.find(|member| {
            let known = self.regions.get(usize::from(member.0));
            // What a region had before it lost its disk, it said it had, and will be given back.
            let had = |map: fn(&Known) -> &BTreeMap<LogId, u64>| {
                known.and_then(|k| map(k).get(&log)).copied().unwrap_or(0)
            };
            had(|k| &k.applied).max(had(|k| &k.ever)) < seq
        });
        self.check(OracleId::StableStamp, lacking.is_none(), |world| {
            let lacking = lacking.map_or("nobody", |r| world.name(r));
            format!(
                "{} believes that all have commit {seq} of {} ({what}), but {lacking} lacks it",
                world.name(region),
                world.name(log.origin.region)
            )
        });
    }

    /// O9: what comes back of an earlier life of a region is newer than what those it comes to hold to be
    /// stable, unless they lost it themselves.
    pub(super) fn must_arrive_above(&mut self, region: RegionId, dot: Dot) {
        let known = &self.regions[usize::from(region.0)];
        let Some(issued) = self.made(dot).map(|made| made.issued) else {
            return;
        };
        if !self.doubted.contains(&dot.log) || !known.ever.is_empty() {
            return;
        }
        let stable = known.stable.get(&dot.log.group).copied();
        self.check(OracleId::StableStamp, stable < Some(issued), |world| {
            format!(
                "{} comes to {}, which held it to be everywhere",
                world.show_dot(dot),
                world.name(region)
            )
        });
    }

    /// O9: what a region makes now is newer than whatever anyone holds to be stable.
    pub(super) fn must_be_new(&mut self, region: RegionId, group: GroupId, issued: Stamp) {
        let stables = self
            .regions
            .iter()
            .filter_map(|known| known.stable.get(&group));
        let stable = stables.max().copied();
        if self.members_lapsed(region) {
            // It does not know yet that the others went on.
            return;
        }
        self.check(OracleId::StableStamp, stable < Some(issued), |world| {
            format!(
                "{} makes a commit stamped {issued}, though {} is held to be stable",
                world.name(region),
                stable.map_or("nothing".into(), |s| s.to_string())
            )
        });
    }

    /// Whether some region may have forgotten a deletion: all have it. Where tables move between groups, that may be
    /// known in another than it was made in.
    pub(super) fn is_collectable(&self, deletion: Version) -> bool {
        if self.tables_move() {
            return self.is_stable(Rank {
                stamp: deletion.issued,
                ..deletion.rank
            });
        }
        let group = deletion.dot.log.group;
        let known = self.regions.iter();
        let stables = known.filter_map(|known| known.stable.get(&group));
        stables.max() >= Some(&deletion.issued)
    }

    /// Whether every version of this rank or a lower one is durable everywhere, in whatever group.
    pub(super) fn is_stable(&self, rank: Rank) -> bool {
        let stables = self.regions.iter().flat_map(|known| known.stable.values());
        stables.max() >= Some(&rank.stamp)
    }

    /// Notes which tombstones a group has collected that changed these rows, and O9 (I9) whether it might.
    pub(super) fn see_collected(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        rows: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        let here = usize::from(region.0);
        let numbers = rows.iter().flat_map(|row| self.numbers_near(row));
        let tombstones = &self.regions[here].tombstones;
        let numbers = numbers.filter(|number| tombstones.contains(number));
        self.see_gone(txn, region, &numbers.copied().collect::<Vec<_>>())
    }

    /// The same of all tombstones of a region, whatever took them away.
    pub(super) fn see_all_collected(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
    ) -> Result<(), StoreError> {
        let tombstones = &self.regions[usize::from(region.0)].tombstones;
        self.see_gone(txn, region, &tombstones.iter().copied().collect::<Vec<_>>())
    }

    fn see_gone(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        numbers: &[usize],
    ) -> Result<(), StoreError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let Some(def) = self.table(txn, region)? else {
            return Ok(());
        };
        let here = usize::from(region.0);
        for number in numbers.iter().copied() {
            let Some(shadow) = self.regions[here].shadow(number) else {
                continue;
            };
            let stored = read::header(txn, &def, &self.keys[number])?;
            let version = stored.map(|(version, _)| version);
            if version.is_some_and(|v| v.rank >= shadow.version.rank) {
                continue;
            }
            let stable = self.regions[here].stable.get(&shadow.version.dot.log.group);
            // A newcomer goes by the group that its table came to it in, and so do all where replicas come and go.
            let late = self.moving || self.late.contains(region);
            let moved = self.regions[here].stable.get(&def.group).filter(|_| late);
            let known = stable.max(moved).copied();
            let allowed = known >= Some(shadow.version.issued);
            self.check(OracleId::StableStamp, allowed, |world| {
                format!(
                    "{} has forgotten the deletion of {}, {} in {:?}, which not all have: it holds {} to be stable",
                    world.name(region),
                    workload::name_of(&world.keys[number]),
                    world.show_version(shadow.version),
                    shadow.version.dot.log.group,
                    known.map_or("nothing".into(), |s| s.to_string())
                )
            });
            let older = version.map(|version| Shadow {
                version,
                deleted: true,
                expires: None,
            });
            self.regions[here].set_shadow(number, older);
        }
        Ok(())
    }

    /// The first commit of a log that a region may still have to have.
    pub(super) fn kept_from(&self, region: RegionId, log: LogId) -> usize {
        let known = self.regions.get(usize::from(region.0));
        let floor = known.and_then(|k| k.floors.get(&log)).copied().unwrap_or(0);
        at(floor + 1)
    }
}
