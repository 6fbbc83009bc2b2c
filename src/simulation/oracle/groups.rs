//! What must hold of every group that becomes durable: O2 to O5 at their origin, O3, O8, O10, O11.

use std::collections::BTreeSet;

use super::super::host::{Asker, Done, Finished};
use super::super::merging::MergeAct;
use super::super::plan::{Operation, OperationKind};
use super::super::report::OracleId;
use super::super::workload;
use super::{Made, MadeChange, Met, Oracles, Pair, Shadow, hash_of, movers};
use crate::clock::RegionId;
use crate::replica::mutation::{Change, Commit, Dot, ItemKey, Rank, RankKind, Version};
use crate::replica::request::WriteResponse;
use crate::replica::{ApiError, conflict, log, read};
use crate::store::{ReadTxn, StoreError};

/// A group's own commits, in order, with the hashes of their bytes.
pub(super) type Fresh = std::vec::IntoIter<(Commit, u64)>;

impl Oracles {
    /// A group became durable in `region`. `told`: those who asked hear of it.
    pub fn on_group(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        group: &Finished,
        told: bool,
    ) -> Result<(), StoreError> {
        let mut fresh = self.fresh_commits(txn, region, group)?.peekable();
        let mut touched = BTreeSet::new();
        let mut met = Met::default();
        for done in &group.done {
            match done {
                Done::Remote { commits, ok, .. } => {
                    if *ok {
                        self.on_remote(region, commits, &mut touched, &mut met);
                    }
                }
                Done::Snapshot { portion, ok: true } => {
                    self.on_copied(txn, region, portion, &mut touched, &mut met)?;
                }
                Done::Write {
                    asker: Asker::Script(_),
                    ..
                } => {}
                Done::Snapshot { ok: false, .. } | Done::Vote { .. } => {}
                Done::Rescue { tail, outcome, .. } => {
                    if outcome.is_some() {
                        let decided = (tail.as_ref(), group.wall_us);
                        self.on_rescue(region, decided, &mut fresh, &mut touched, &mut met);
                    }
                }
                Done::Write { asker, answer } => {
                    self.on_answer(region, asker, answer, told, &mut fresh, &mut touched)
                }
            }
        }
        for (commit, hash) in fresh {
            let dot = commit.dot;
            let expiries = commit.mutations.iter();
            let mut expiries = expiries.map(|m| matches!(m.change, Change::Expire { .. }));
            if self.scripted {
                self.on_own(region, &commit, hash, &mut touched);
                continue;
            }
            if expiries.all(|is_expiry| is_expiry) {
                self.check_expiries(region, &commit, group.wall_us);
                self.on_own(region, &commit, hash, &mut touched);
                continue;
            }
            self.on_own(region, &commit, hash, &mut touched);
            if is_of_members(&commit) {
                continue;
            }
            self.report(
                OracleId::Atomicity,
                format!("nobody asked for {}", self.show_dot(dot)),
            );
        }
        self.check_visible(txn, region, &touched)?;
        self.see_collected(txn, region, &group.changed.items)?;
        if group.changed.conflicts || met != Met::default() {
            self.check_conflicts(txn, region, &met)?;
        }
        Ok(())
    }

    /// The commits this group made: what its own logs gained.
    fn fresh_commits(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        group: &Finished,
    ) -> Result<Fresh, StoreError> {
        let mut fresh = Vec::new();
        let own = group
            .after
            .iter()
            .filter(|(log, _)| log.origin.region == region);
        for (log, seq) in own {
            let before = group.before.get(log).copied().unwrap_or(0);
            if *seq == before {
                continue;
            }
            for (seq, sealed) in log::read(txn, *log, before + 1, usize::MAX)? {
                match log::open(&sealed) {
                    // Of an earlier life, and back again.
                    Ok(commit) if log.origin != group.origin && self.made(commit.dot).is_some() => {
                    }
                    Ok(commit) => fresh.push((commit, hash_of(&sealed))),
                    Err(error) => {
                        let name = self.name(region).to_owned();
                        self.report(
                            OracleId::Dots,
                            format!("{name} made commit {seq}, and {error}"),
                        );
                    }
                }
            }
        }
        fresh.sort_by_key(|(commit, _)| commit.issued);
        Ok(fresh.into_iter())
    }

    /// A commit of this region became durable.
    pub(super) fn on_own(
        &mut self,
        region: RegionId,
        commit: &Commit,
        hash: u64,
        touched: &mut BTreeSet<usize>,
    ) {
        let dot = commit.dot;
        let home = usize::from(region.0);
        let count = self.logs.get(&dot.log).map_or(0, |log| log.len() as u64);
        self.check(OracleId::Dots, dot.seq == count + 1, |world| {
            let what = if dot.seq <= count {
                "again"
            } else {
                "out of turn"
            };
            format!("{} is made {what}: there were {count}", world.show_dot(dot))
        });
        let last = self.regions[home].last_issued;
        self.check(OracleId::Clocks, Some(commit.issued) > last, |world| {
            format!(
                "{} is stamped {}, after {}",
                world.show_dot(dot),
                commit.issued,
                last.map_or("nothing".into(), |l| l.to_string())
            )
        });
        self.must_be_new(region, dot.log.group, commit.issued);
        self.regions[home].last_issued = last.max(Some(commit.issued));
        if dot.seq != count + 1 {
            return;
        }
        let changes = self.changes_of(commit);
        let replicas = movers::replicas_in(commit);
        let applied = self.regions[home].applied.iter();
        let made = Made {
            hash,
            issued: commit.issued,
            at_us: self.now_us,
            seen: applied.map(|(log, seq)| (*log, *seq)).collect(),
            changes: changes.clone(),
            replicas: replicas.clone(),
            of_clients: !is_of_members(commit),
        };
        self.logs.entry(dot.log).or_default().push(made);
        self.meter.made(self.now_us, dot);
        self.follow_replicas(home, &replicas);
        for change in changes {
            // Who writes has seen what is there.
            self.meet(home, change, touched);
        }
        self.regions[home].applied.insert(dot.log, dot.seq);
    }

    /// The items a commit changed; they are remembered for the fold.
    fn changes_of(&mut self, commit: &Commit) -> Vec<MadeChange> {
        let mut changes = Vec::new();
        for mutation in &commit.mutations {
            if self.is_merged(&mutation.change) {
                continue;
            }
            let (table, key, image, rank) = match &mutation.change {
                Change::Item { table, key, image } => {
                    (*table, key, image.as_deref(), write_rank(commit))
                }
                Change::Expire {
                    table,
                    key,
                    expired,
                } => {
                    let (stamp, kind) = (*expired, RankKind::Expire);
                    (*table, key, None, Rank { stamp, kind })
                }
                Change::Merged { .. }
                | Change::Table { .. }
                | Change::Local { .. }
                | Change::Report { .. }
                | Change::Sent { .. }
                | Change::Restored { .. } => continue,
            };
            let version = mutation.version.unwrap_or(Version {
                rank,
                dot: commit.dot,
                issued: commit.issued,
            });
            let key = self.key_number(table, key);
            let expires = image.and_then(workload::expiry_of);
            let deletes = image.is_none();
            self.versions[key].push((version, image.map(hash_of)));
            changes.push(MadeChange {
                key,
                version,
                deletes,
                expires,
            });
        }
        changes
    }

    /// Commits of another region became durable here. Notes the conflicts they should have recorded.
    fn on_remote(
        &mut self,
        region: RegionId,
        commits: &[Vec<u8>],
        touched: &mut BTreeSet<usize>,
        met: &mut Met,
    ) {
        let here = usize::from(region.0);
        for sealed in commits {
            let Ok((dot, _)) = log::header(sealed) else {
                continue;
            };
            let applied = self.regions[here]
                .applied
                .get(&dot.log)
                .copied()
                .unwrap_or(0);
            if dot.seq <= applied {
                continue;
            }
            let known = self.made(dot).map(|made| {
                (
                    made.hash,
                    made.at_us,
                    made.changes.clone(),
                    made.replicas.clone(),
                )
            });
            let intact = known
                .as_ref()
                .is_some_and(|(hash, ..)| *hash == hash_of(sealed));
            self.check(OracleId::Dots, intact && dot.seq == applied + 1, |world| {
                let name = world.name(region);
                format!(
                    "{name} applies {} after {applied}, or not as it was made",
                    world.show_dot(dot)
                )
            });
            let Some((_, at_us, changes, replicas)) = known else {
                continue;
            };
            self.must_arrive_above(region, dot);
            self.lags_us.push(self.now_us.saturating_sub(at_us));
            self.meter.applied(self.now_us, region, dot);
            self.follow_replicas(here, &replicas);
            for change in changes {
                // What travels again waits for its own commit, where that comes too.
                let made = change.version.dot;
                let applied = self.regions[here].applied.get(&made.log);
                let comes = made != dot && made.log.group.contains(region);
                if comes && applied < Some(&made.seq) {
                    continue;
                }
                let pair = self.meet(here, change, touched);
                self.note_met(here, pair, met);
            }
            self.regions[here].applied.insert(dot.log, dot.seq);
        }
    }

    /// Two versions met in a region. However often they do, they are one conflict.
    pub(super) fn note_met(&mut self, here: usize, pair: Option<Pair>, met: &mut Met) {
        let Some(pair) = pair else { return };
        if self.regions[here].conflicts.insert(pair) {
            met.first += 1;
        } else {
            met.again += 1;
        }
    }

    /// A version comes to a region. Says whether it met one that was made without knowledge of it, and the
    /// other way round, and one of the two is worth keeping.
    pub(super) fn meet(
        &mut self,
        here: usize,
        change: MadeChange,
        touched: &mut BTreeSet<usize>,
    ) -> Option<Pair> {
        if !self.regions[here].has_replica() {
            return None;
        }
        touched.insert(change.key);
        let incoming = Shadow {
            version: change.version,
            deleted: change.deletes,
            expires: change.expires,
        };
        let known = &mut self.regions[here];
        let current = known.shadow(change.key);
        if let Some(mut current) = current.filter(|c| c.version.rank == change.version.rank) {
            // Two expiries of one version leave the header of the one issued last.
            if change.version.issued > current.version.issued {
                current.version = change.version;
                known.set_shadow(change.key, Some(current));
            }
            return None;
        }
        let wins = current.is_none_or(|c| change.version.rank > c.version.rank);
        if wins {
            known.set_shadow(change.key, Some(incoming));
            let seen = !change.deletes || current.is_some_and(|c| !c.deleted);
            known.visible += u64::from(seen);
        }
        let current = current?;
        let (a, b) = (current.version.dot, change.version.dot);
        let both_deleted = current.deleted && change.deletes;
        // An expiry that loses is nobody's loss.
        let (winner, loser) = if wins {
            (change.version, current.version)
        } else {
            (current.version, change.version)
        };
        let written = loser.rank.kind == RankKind::Write;
        let conflict = written && a != b && !both_deleted && !self.saw(a, b) && !self.saw(b, a);
        conflict.then_some((change.key, winner.rank, loser.rank))
    }

    /// O17: each expiry of a commit that `region` is about to make expires what is there, and that is due.
    fn check_expiries(&mut self, region: RegionId, commit: &Commit, wall_us: u64) {
        let wall_s = wall_us / 1_000_000;
        for mutation in &commit.mutations {
            let Change::Expire {
                table,
                key,
                expired,
            } = &mutation.change
            else {
                continue;
            };
            let number = self.key_number(*table, key);
            let there = self.regions[usize::from(region.0)].shadow(number);
            let (stamp, kind) = (*expired, RankKind::Write);
            let holds = there.is_some_and(|there| {
                there.version.rank == Rank { stamp, kind }
                    && there.expires.is_some_and(|second| second < wall_s)
            });
            self.check(OracleId::Expiry, holds, |world| {
                let name = world.name(region);
                let there = there.map_or("nothing".into(), |there| {
                    let version = world.show_version(there.version);
                    format!("{version}, which expires at {:?}", there.expires)
                });
                format!(
                    "at {wall_s} {name} expires {stamp} at {}, where it has {there}",
                    workload::name_of(key)
                )
            });
        }
    }

    /// Whether the origin of commit `a` had applied commit `b` when it made `a`.
    pub(super) fn saw(&self, a: Dot, b: Dot) -> bool {
        if a.log == b.log {
            return b.seq < a.seq;
        }
        let seen = self.made(a).and_then(|made| made.seen_of(b.log));
        seen.is_some_and(|seq| b.seq <= seq)
    }

    /// A write was done or refused: its commit is there exactly when it should be (O2), and whole (O5).
    fn on_answer(
        &mut self,
        region: RegionId,
        asker: &Asker,
        answer: &Result<WriteResponse, ApiError>,
        told: bool,
        fresh: &mut std::iter::Peekable<Fresh>,
        touched: &mut BTreeSet<usize>,
    ) {
        let Ok(response) = answer else { return };
        let changes = match (asker, response) {
            (Asker::Client(operation), WriteResponse::Item(outcome)) => {
                let deletes = matches!(
                    operation.kind,
                    OperationKind::Delete { .. }
                        | OperationKind::Merge {
                            act: MergeAct::Delete,
                            ..
                        }
                );
                !deletes || outcome.old.is_some()
            }
            _ => true,
        };
        if !changes {
            return;
        }
        let next = fresh.next();
        if let Some((commit, hash)) = &next {
            self.on_own(region, commit, *hash, touched);
        }
        let Asker::Client(operation) = asker else {
            return;
        };
        let commit = next.map(|(commit, _)| commit);
        if let Some(commit) = &commit {
            self.remember_merged(commit, operation);
        }
        let keys = workload::written_keys(&operation.kind);
        let carried = commit.as_ref().map_or(0, |c| carried(c, operation, &keys));
        let wanted = keys.len();
        let oracle = match operation.kind {
            OperationKind::Transaction { .. } => OracleId::Atomicity,
            _ => OracleId::Durability,
        };
        self.check(oracle, carried == wanted, |world| {
            let name = world.name(region);
            format!(
                "{name} did operation {} on {wanted} items, and {carried} are in its commit",
                operation.id
            )
        });
        if let (true, Some(commit)) = (told, commit) {
            self.acknowledged += 1;
            self.remember_write(&commit, operation, keys);
        }
    }

    fn remember_write(&mut self, commit: &Commit, operation: &Operation, keys: Vec<ItemKey>) {
        if let OperationKind::Merge { .. } = operation.kind {
            return;
        }
        let rank = write_rank(commit);
        for key in keys {
            let floor = self.sessions.entry((operation.client, key)).or_insert(rank);
            *floor = rank.max(*floor);
        }
    }

    /// O3: what is visible after the group is no older than before, and no older than what came.
    fn check_visible(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        touched: &BTreeSet<usize>,
    ) -> Result<(), StoreError> {
        let Some(def) = self.table(txn, region)? else {
            return Ok(());
        };
        for key in touched {
            let shadow = self.regions[usize::from(region.0)].shadow(*key);
            let Some(expected) = shadow else { continue };
            let visible = read::header(txn, &def, &self.keys[*key])?;
            let holds = match &visible {
                Some((visible, _)) if visible.rank >= expected.version.rank => true,
                Some((_, true)) => false,
                _ => expected.deleted && self.is_collectable(expected.version),
            };
            let visible = visible.map(|(version, _)| version);
            self.check(OracleId::NoGoingBack, holds, |world| {
                format!(
                    "{} shows {} at {}, although {} is there",
                    world.name(region),
                    workload::name_of(&world.keys[*key]),
                    visible.map_or("nothing".into(), |v| world.show_version(v)),
                    world.show_version(expected.version)
                )
            });
        }
        Ok(())
    }

    /// O8: those conflicts are recorded, and no others, where versions met that had not seen each other.
    fn check_conflicts(
        &mut self,
        txn: &dyn ReadTxn,
        region: RegionId,
        met: &Met,
    ) -> Result<(), StoreError> {
        if !self.judges_conflicts() {
            return Ok(());
        }
        let here = usize::from(region.0);
        let (recorded, dropped) = self.other_conflicts(txn)?;
        if met.again > 0 && dropped > 0 {
            let anew = recorded.saturating_sub(self.regions[here].conflicts());
            self.regions[here].recorded_anew += anew.min(met.again);
        }
        let expected = self.regions[here].conflicts();
        if met.first == 0 && recorded == expected {
            return Ok(());
        }
        let newest = conflict::list(txn, self.judged_table(), met.first)?;
        let mut named = true;
        for kept in &newest {
            self.meter.conflict(self.now_us, region, &kept.conflict);
            let (winner, loser) = (kept.conflict.winner.rank, kept.conflict.loser.rank);
            let key = self.key_number(kept.conflict.uid, &kept.conflict.key);
            named &= self.regions[here].conflicts.contains(&(key, winner, loser));
        }
        let holds = recorded == expected && named;
        self.check(OracleId::Conflicts, holds, |world| {
            let name = world.name(region);
            let newest = newest.first().map_or(String::new(), |c| {
                let (winner, loser) = (&c.conflict.winner, &c.conflict.loser);
                let (winner, loser) = (world.show_version(*winner), world.show_version(*loser));
                format!("; the newest record: {winner} beat {loser}")
            });
            format!("{name} recorded {recorded} conflicts where {expected} happened{newest}")
        });
        Ok(())
    }
}

/// Whether a commit is what regions tell each other of replicas that come and go: nobody asks for it.
fn is_of_members(commit: &Commit) -> bool {
    commit.mutations.iter().all(|m| match &m.change {
        Change::Item { .. } | Change::Expire { .. } => m.version.is_some(),
        Change::Table { .. } | Change::Report { .. } | Change::Sent { .. } => true,
        Change::Local { .. } | Change::Restored { .. } => false,
        Change::Merged { .. } => m.version.is_some(),
    })
}

/// The rank of what a commit writes.
fn write_rank(commit: &Commit) -> Rank {
    Rank {
        stamp: commit.issued,
        kind: RankKind::Write,
    }
}

/// How many items of the operation are in the commit, as the operation writes them.
fn carried(commit: &Commit, operation: &Operation, keys: &[ItemKey]) -> usize {
    let deletes = matches!(operation.kind, OperationKind::Delete { .. });
    let merges = matches!(operation.kind, OperationKind::Merge { .. });
    let written = |change: &Change| match change {
        Change::Item { key, .. } | Change::Merged { key, .. } if merges => keys.contains(key),
        Change::Item { key, image, .. } => {
            let ours = match image {
                Some(image) => workload::writer_of(image) == Some(operation.id),
                None => deletes,
            };
            ours && keys.contains(key)
        }
        Change::Expire { .. }
        | Change::Merged { .. }
        | Change::Table { .. }
        | Change::Local { .. }
        | Change::Report { .. }
        | Change::Sent { .. }
        | Change::Restored { .. } => false,
    };
    commit
        .mutations
        .iter()
        .filter(|m| written(&m.change))
        .count()
}
