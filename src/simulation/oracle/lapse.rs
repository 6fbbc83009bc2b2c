//! Members that lapse and come back: O2, O8 and O9 for them.
//!
//! What the others did not have of a lapsed region's commits counts no more as commits. Each of its mutations must
//! come to one sponsor, who makes of it what is worked out here once more, from what the world knows: written
//! again under its rank, or a conflict. A region forgets nothing before all of it was.

use std::collections::BTreeSet;

use super::super::report::OracleId;
use super::groups::Fresh;
use super::{Known, Made, MadeChange, Met, Oracles, Shadow};
use crate::clock::policy::{MAX_OFFSET_US, QUARANTINE_US};
use crate::clock::{RegionId, Stamp};
use crate::replica::log;
use crate::replica::manifest::{Manifest, State};
use crate::replica::mutation::{Commit, Dot, LogId, Rank, RankKind};
use crate::replica::rescue::Tail;
use crate::replica::stream;
use crate::store::{ReadTxn, StoreError};

/// What the world knows of the members.
#[derive(Debug, Default)]
pub(super) struct Members {
    epoch: u64,
    /// Those that are not counted, and those that are being given everything.
    pub lapsed: BTreeSet<RegionId>,
    pub joining: BTreeSet<RegionId>,
    /// Commits that a sponsor has decided about.
    rescued: BTreeSet<Dot>,
}

impl Oracles {
    /// A record of the members is durable somewhere. `silent`: whether a voter (first) had reason to believe that
    /// a member (second) was dead. True when one has lapsed: no copy of a disk that was made before is put back.
    pub fn on_members(
        &mut self,
        manifest: &Manifest,
        silent: impl Fn(RegionId, RegionId) -> bool,
    ) -> bool {
        if manifest.epoch <= self.members.epoch {
            return false;
        }
        let in_state = |wanted: State| {
            let group = manifest.in_state(|state| state == wanted);
            group.regions().collect::<BTreeSet<RegionId>>()
        };
        let (lapsed, joining) = (in_state(State::Lapsed), in_state(State::Joining));
        let all = (0..self.regions.len()).filter_map(|at| u16::try_from(at).ok().map(RegionId));
        let voters: Vec<RegionId> = all.filter(|region| !self.is_away(*region)).collect();
        for region in lapsed.difference(&self.members.lapsed.clone()) {
            let others = voters.iter().filter(|voter| *voter != region);
            let agree = others.filter(|voter| silent(**voter, *region)).count();
            let (agree, of) = (agree, voters.len());
            self.check(OracleId::StableStamp, 2 * agree > of, |world| {
                format!(
                    "{} has lapsed, though only {agree} of {of} had not heard it for long",
                    world.name(*region)
                )
            });
        }
        self.members.epoch = manifest.epoch;
        let closed = self.logs.keys().copied();
        let closed: Vec<LogId> = closed
            .filter(|log| lapsed.contains(&log.origin.region))
            .collect();
        self.doubted.extend(closed);
        let new = lapsed.iter().any(|region| !self.members_lapsed(*region));
        if new {
            self.backups.clear();
        }
        (self.members.lapsed, self.members.joining) = (lapsed, joining);
        new
    }

    pub(super) fn members_lapsed(&self, region: RegionId) -> bool {
        self.members.lapsed.contains(&region)
    }

    pub(super) fn is_away(&self, region: RegionId) -> bool {
        self.members.lapsed.contains(&region) || self.members.joining.contains(&region)
    }

    /// A lapsed region has forgotten what it shared: by then all of it is with others.
    pub fn on_wiped(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        wall_us: u64,
    ) -> Result<(), StoreError> {
        let here = usize::from(region.0);
        let applied = self.regions[here].applied.clone();
        for (log, has) in applied {
            let others = (self.regions.iter().enumerate()).filter(|(at, _)| *at != here);
            let others = others.filter_map(|(_, known)| known.applied.get(&log).copied());
            let elsewhere = others.max().unwrap_or(0);
            let lost = (elsewhere + 1..=has).find(|seq| {
                let dot = Dot { log, seq: *seq };
                !self.members.rescued.contains(&dot)
            });
            self.check(OracleId::Durability, lost.is_none(), |world| {
                let seq = lost.unwrap_or(0);
                format!(
                    "{} forgets {}, which nobody else has and no sponsor decided about",
                    world.name(region),
                    world.show_dot(Dot { log, seq })
                )
            });
        }
        self.backups.remove(&here);
        let records = stream::all_records(txn)?.len() as u64;
        let before = std::mem::take(&mut self.regions[here]);
        self.regions[here] = Known {
            conflicts: before.conflicts,
            visible: before.visible,
            // What a clock that was far ahead has stamped is gone.
            last_issued: (before.last_issued)
                .filter(|last| lead_us(*last, wall_us) <= QUARANTINE_US),
            stable: before.stable,
            floors: before.floors,
            ever: before.ever,
            forgot_at: before.forgot_at,
            recorded_anew: before.recorded_anew,
            ..Known::default()
        };
        self.regions[here].forgot_at.insert(records);
        for (log, seq) in before.applied {
            let ever = self.regions[here].ever.entry(log).or_insert(0);
            *ever = seq.max(*ever);
        }
        let own = self.logs.keys().filter(|log| log.origin.region == region);
        self.doubted.extend(own.copied());
        self.backups.remove(&here);
        // Clients may have moved, and know of what lost.
        self.sessions.clear();
        Ok(())
    }

    /// A sponsor has decided about commits of a lapsed region. Notes the conflicts that it should have recorded.
    pub(super) fn on_rescue(
        &mut self,
        region: RegionId,
        (tail, wall_us): (&Tail, u64),
        fresh: &mut std::iter::Peekable<Fresh>,
        touched: &mut BTreeSet<usize>,
        met: &mut Met,
    ) {
        for sealed in &tail.commits {
            let Ok(commit) = log::open(sealed) else {
                self.report(OracleId::Dots, "a tail holds what is no commit".into());
                continue;
            };
            self.members.rescued.insert(commit.dot);
            self.rescue_one(region, (&commit, wall_us), fresh, touched, met);
        }
    }

    fn rescue_one(
        &mut self,
        region: RegionId,
        (commit, wall_us): (&Commit, u64),
        fresh: &mut std::iter::Peekable<Fresh>,
        touched: &mut BTreeSet<usize>,
        met: &mut Met,
    ) {
        let here = usize::from(region.0);
        let changes = self.made(commit.dot).map(|made| made.changes.clone());
        let mut wanted = BTreeSet::new();
        for change in changes.unwrap_or_default() {
            if change.version.rank.kind != RankKind::Write {
                continue;
            }
            let there = self.regions[here]
                .shadows
                .get(change.key)
                .copied()
                .flatten();
            let fate = self.fate_of((commit.dot, wall_us), change, there);
            if fate.again {
                wanted.insert(change.version.rank);
            }
            let pair = fate
                .conflict
                .map(|(winner, loser)| (change.key, winner, loser));
            self.note_met(here, pair, met);
        }
        let mut written = BTreeSet::new();
        let again = |next: &(Commit, u64)| {
            let mut versions = next.0.mutations.iter().map(|m| m.version);
            versions.all(|v| {
                v.is_some_and(|v| v.rank.stamp == commit.issued || written_of(commit, v.rank))
            })
        };
        while let Some((next, hash)) = fresh.next_if(again) {
            let versions = next.mutations.iter().filter_map(|m| m.version);
            written.extend(versions.map(|v| v.rank));
            self.on_own(region, &next, hash, touched);
        }
        let all = wanted.is_subset(&written);
        self.check(OracleId::Durability, all, |world| {
            format!(
                "{} should have written again what only {} had",
                world.name(region),
                world.show_dot(commit.dot)
            )
        });
    }

    /// What should become of one mutation where `there` is.
    fn fate_of(
        &self,
        (dot, wall_us): (Dot, u64),
        change: MadeChange,
        there: Option<Shadow>,
    ) -> Fate {
        let rank = change.version.rank;
        let aside = (
            Rank {
                kind: RankKind::Expire,
                ..rank
            },
            rank,
        );
        let Some(there) = there else {
            return Fate {
                again: false,
                conflict: (!change.deletes).then_some(aside),
            };
        };
        let current = there.version.rank;
        if current < rank && lead_us(rank.stamp, wall_us) > MAX_OFFSET_US {
            return Fate {
                again: false,
                conflict: Some(aside),
            };
        }
        let maker = dot.log.origin.region;
        let seen = self.made(dot).map(|made: &Made| {
            let seen = made.seen_of(there.version.dot.log);
            seen.is_some_and(|seq| there.version.dot.seq <= seq)
        });
        let knew = seen.unwrap_or(false) || current.stamp.region == maker;
        let both_deleted = there.deleted && change.deletes;
        if current < rank {
            let lost = !knew && !both_deleted && current.kind == RankKind::Write;
            return Fate {
                again: true,
                conflict: lost.then_some((rank, current)),
            };
        }
        let replaced = current.stamp.region == rank.stamp.region;
        let lost = current > rank && !replaced && !both_deleted;
        Fate {
            again: false,
            conflict: lost.then_some((current, rank)),
        }
    }
}

fn lead_us(stamp: Stamp, wall_us: u64) -> u64 {
    stamp.physical_us.saturating_sub(wall_us)
}

/// Whether a rank is of a version that travelled in the commit.
fn written_of(commit: &Commit, rank: Rank) -> bool {
    let mut versions = commit.mutations.iter().filter_map(|m| m.version);
    versions.any(|v| v.rank == rank)
}

struct Fate {
    again: bool,
    /// Winner and loser.
    conflict: Option<(Rank, Rank)>,
}
