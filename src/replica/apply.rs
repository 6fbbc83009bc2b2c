//! `apply`: the one door. Every change to an item or a table, local or from a peer, passes here, inside
//! one transaction with its index entries, log row, context and counts.

use super::build::Tally;
use super::catalog::{Merging, TableDef, TableUid};
use super::conflict::{self, Conflict};
use super::keys;
use super::log::{self, SealError};
use super::mutation::{
    Change, Commit, Dot, Frontier, GroupId, ItemKey, LogId, Mutation, Rank, RankKind, Version,
};
use super::read::TableCounts;
use super::record::Record;
use super::{PlantedBug, RemoteError, Replica, TableState, read, stable, ttl};
use crate::clock::policy::MAX_OFFSET_US;
use crate::clock::{Hlc, Now, Stamp};
use crate::maybe;
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// A version of an item that comes to the one door.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    pub table: TableUid,
    pub key: &'a ItemKey,
    pub version: Version,
    /// Codec bytes; `None` = a deletion or an expiry.
    pub image: Option<&'a [u8]>,
    /// What a table that merges knows of it besides.
    pub marks: Option<&'a [u8]>,
}

impl<'a> Incoming<'a> {
    /// What a change makes of an item, if it is of one.
    pub fn of(change: &'a Change, version: Version) -> Option<Self> {
        let (table, key, image, marks) = match change {
            Change::Item { table, key, image } => (table, key, image.as_deref(), None),
            Change::Expire { table, key, .. } => (table, key, None, None),
            Change::Merged {
                table,
                key,
                marks,
                image,
            } => (table, key, image.as_deref(), Some(marks.as_slice())),
            Change::Table { .. }
            | Change::Report { .. }
            | Change::Sent { .. }
            | Change::Restored { .. }
            | Change::Local { .. } => return None,
        };
        Some(Incoming {
            table: *table,
            key,
            version,
            image,
            marks,
        })
    }

    /// The version as it is stored.
    pub fn record(&self) -> Record<'a> {
        Record {
            version: self.version,
            partition: &self.key.partition,
            image: self.image,
            marks: self.marks,
        }
    }

    /// The version as it travels again.
    pub(super) fn mutation(&self) -> Mutation {
        self.record().mutation(self.table, self.key.clone())
    }
}

impl Replica {
    /// Makes a local commit of `mutations`: stamps, numbers, seals and applies it.
    pub(super) fn commit_local(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        group: GroupId,
        mutations: Vec<Mutation>,
        issued: Stamp,
    ) -> Result<(), StoreError> {
        if self.config.planted == Some(PlantedBug::TransactionSplit) && mutations.len() > 1 {
            for mutation in mutations {
                let issued = self.hlc.tick(now);
                self.commit_one(txn, now, group, vec![mutation], issued)?;
            }
            return Ok(());
        }
        self.commit_one(txn, now, group, mutations, issued)
    }

    fn commit_one(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        group: GroupId,
        mutations: Vec<Mutation>,
        issued: Stamp,
    ) -> Result<(), StoreError> {
        self.begin_life(txn, now)?;
        let log = LogId {
            group,
            origin: self.origin,
        };
        let seq = self.frontier.get(&log).copied().unwrap_or(0) + 1;
        let context = self.context_for(group);
        let commit = Commit {
            dot: Dot { log, seq },
            issued,
            context,
            mutations,
        };
        // A log that no other region reads is not kept.
        let sealed = (group != GroupId::of([self.config.region])).then(|| log::seal(&commit));
        self.apply(txn, now, &commit, sealed.as_deref())
    }

    /// The frontier of other origins' logs (of earlier lives of this region too), when it changed since this region's last commit in `group`.
    fn context_for(&mut self, group: GroupId) -> Option<Frontier> {
        let alone = GroupId::of([self.config.region]);
        let others: Frontier = self
            .frontier
            .iter()
            .filter(|(log, _)| log.origin != self.origin && log.group != alone)
            .map(|(log, seq)| (*log, *seq))
            .collect();
        let again = maybe!(
            "context again",
            self.config.region,
            self.hlc.last().physical_us
        );
        if !again && self.contexts.get(&group) == Some(&others) {
            return None;
        }
        crate::mark!("context carried");
        self.contexts.insert(group, others.clone());
        Some(others)
    }

    /// Applies a peer's commits of one log. Commits already applied are dropped; a gap refuses the rest.
    pub(super) fn absorb(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        sealed: &[Vec<u8>],
    ) -> Result<Result<(), RemoteError>, StoreError> {
        let commits = match self.admit(sealed) {
            Ok(commits) => commits,
            Err(error) => return Ok(Err(error)),
        };
        for (commit, sealed) in &commits {
            let lead_us = commit.issued.physical_us.saturating_sub(now.wall_us);
            if lead_us > MAX_OFFSET_US && self.has_bug(PlantedBug::HeldDropped) {
                txn.put(Db::Log, &keys::dot_row(commit.dot), sealed)?;
                self.frontier.insert(commit.dot.log, commit.dot.seq);
                self.dirty.insert(commit.dot.log);
                continue;
            }
            self.hlc.observe(commit.issued, now);
            self.apply(txn, now, commit, Some(sealed))?;
            self.note_arrival(txn.as_read(), commit)?;
        }
        Ok(Ok(()))
    }

    fn admit<'a>(&self, sealed: &'a [Vec<u8>]) -> Result<Vec<(Commit, &'a [u8])>, RemoteError> {
        let mut expected = None;
        let mut commits = Vec::with_capacity(sealed.len());
        for bytes in sealed {
            let (dot, issued) = log::header(bytes)?;
            Hlc::admit(issued)?;
            if !dot.log.group.contains(self.config.region) {
                return Err(RemoteError::Foreign(dot.log.group));
            }
            let next = expected.unwrap_or(self.frontier.get(&dot.log).copied().unwrap_or(0) + 1);
            if dot.seq < next {
                continue;
            }
            if dot.log.origin == self.origin {
                return Err(RemoteError::Forged(dot));
            }
            self.may_be_of(dot)?;
            if dot.seq > next {
                return Err(RemoteError::Gap {
                    log: dot.log,
                    expected: next,
                    found: dot.seq,
                });
            }
            if commits
                .last()
                .is_some_and(|(last, _): &(Commit, &[u8])| last.dot.log != dot.log)
            {
                return Err(RemoteError::Seal(SealError::Body(
                    "one job holds commits of two logs".into(),
                )));
            }
            commits.push((log::open(bytes)?, bytes.as_slice()));
            expected = Some(next + 1);
        }
        Ok(commits)
    }

    /// Whether the commit may be there at all, by who the members are.
    fn may_be_of(&self, dot: Dot) -> Result<(), RemoteError> {
        if !self.may_originate() {
            return Err(RemoteError::Departed);
        }
        if self.manifest.member(dot.log.origin.region).is_none() {
            return Err(RemoteError::Stranger(dot));
        }
        Ok(())
    }

    /// The one door. `sealed` goes into the log as it is.
    fn apply(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        commit: &Commit,
        sealed: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let dot = commit.dot;
        let before = self.frontier.get(&dot.log).copied().unwrap_or(0);
        assert!(dot.seq == before + 1, "I4: {dot:?} jumps from {before}");
        if let Some(context) = &commit.context {
            txn.put(
                Db::Context,
                &keys::dot_row(dot),
                &log::encode_context(context),
            )?;
        }
        for mutation in &commit.mutations {
            let version = mutation.version_in(dot, commit.issued);
            if let Some(item) = Incoming::of(&mutation.change, version) {
                self.apply_item(txn, now, (dot, commit.issued), &item)?;
                continue;
            }
            match &mutation.change {
                Change::Item { .. } | Change::Merged { .. } | Change::Expire { .. } => {}
                Change::Table { name, uid, def } => {
                    let change = (name.as_str(), *uid, def.as_deref());
                    self.apply_table(txn, now, dot, version, change)?
                }
                Change::Report { table, report } => {
                    self.apply_report(txn, *table, dot.log.origin.region, report)?
                }
                Change::Sent { table, to, upto } => self.apply_sent(txn, *table, dot, to, upto)?,
                Change::Restored { conflict } => conflict::mark_restored(txn, *conflict, version)?,
                Change::Local { table, settings } => {
                    // Nobody changes what is another region's own.
                    if dot.log.origin == self.origin {
                        self.apply_local(txn, *table, settings)?;
                    }
                }
            }
        }
        if let Some(sealed) = sealed {
            txn.put(Db::Log, &keys::dot_row(dot), sealed)?;
        }
        self.frontier.insert(dot.log, dot.seq);
        self.dirty.insert(dot.log);
        Ok(())
    }

    pub(super) fn apply_item(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        carrier: (Dot, Stamp),
        item: &Incoming<'_>,
    ) -> Result<(), StoreError> {
        let (uid, key, version) = (item.table, item.key, item.version);
        let def = match self.table_by_uid(txn.as_read(), uid)? {
            TableState::Dead => return Ok(()),
            TableState::Live(def) if !def.group.contains(self.config.region) => return Ok(()),
            TableState::Live(def) => Some(def),
            TableState::Unknown => None,
        };
        let row = keys::item_row(uid, key);
        let stored = txn.get(Db::Items, &row)?.map(<[u8]>::to_vec);
        let current = stored.as_deref().map(Record::decode).transpose()?;
        let incoming = item.record();
        if let Some(current) = &current {
            assert!(
                current.partition == key.partition,
                "two partition keys hash alike"
            );
        }
        let merges = def
            .as_ref()
            .is_some_and(|def| def.merging != Merging::Items);
        if merges || item.marks.is_some() || current.is_some_and(|c| c.marks.is_some()) {
            self.forward_stray(carrier, def.as_deref(), item, current.as_ref());
            let there = (row.as_slice(), current.as_ref());
            return self.merge_item(txn, now, def.as_deref(), item, there);
        }
        // What travels again comes to those it was made for in its own log, whole (I6).
        let due = self.frontier.get(&version.dot.log) < Some(&version.dot.seq);
        let again = version.dot != carrier.0 && version.dot.log.group.contains(self.config.region);
        if due && again && self.copying.is_none() {
            crate::mark!("sent again too early");
            return Ok(());
        }
        self.forward_stray(carrier, def.as_deref(), item, current.as_ref());
        if let Some(current) = &current {
            if current.version == version {
                return Ok(());
            }
            if version.rank == current.version.rank {
                crate::mark!("expired twice");
                // Two regions expired one version: the outcome is the same. The header of the one issued last
                // stays, whole, in every region: a dot that says which commit came here, and the stamp at
                // which all have both, so that what is forgotten does not come back as the other.
                let later = version.issued > current.version.issued;
                if later || self.has_bug(PlantedBug::EqualRankWins) {
                    stable::track(txn, &row, Some(current), &incoming)?;
                    txn.put(Db::Items, &row, &incoming.encode())?;
                }
                return Ok(());
            }
            let wins = self.beats(version.rank, current.version.rank);
            let there = (version, version.dot);
            if self.is_conflict(txn.as_read(), def.as_deref(), there, current.version)? {
                let (winner, loser) = if wins {
                    (&incoming, current)
                } else {
                    (current, &incoming)
                };
                self.record_conflict(txn, now, uid, def.as_deref(), key, winner, loser)?;
            }
            if !wins && self.config.planted != Some(PlantedBug::ArrivalOrder) {
                return Ok(());
            }
        }
        let there = (row.as_slice(), current.as_ref());
        self.store_item(txn, now, def.as_deref(), item, there, &incoming)
    }

    /// Puts a version in the place of what is stored at `row`, with everything that is derived from it.
    pub(super) fn store_item(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        def: Option<&TableDef>,
        item: &Incoming<'_>,
        (row, current): (&[u8], Option<&Record<'_>>),
        new: &Record<'_>,
    ) -> Result<(), StoreError> {
        let (key, version, image) = (item.key, new.version, new.image);
        txn.put(Db::Items, row, &new.encode())?;
        stable::track(txn, row, current, new)?;
        self.buckets.change(row, current, new);
        let old_image = current.and_then(|c| c.image);
        self.count(txn.as_read(), item.table, old_image, image)?;
        if let Some(def) = def {
            let forget = self.config.planted == Some(PlantedBug::IndexDeleteForgotten);
            let derived = old_image.filter(|_| !forget);
            self.derive(txn, def, key, derived, image)?;
            ttl::update(txn, def, key, derived, image)?;
            let mine = version.dot.log.origin.region == self.config.region;
            let expired = mine && version.rank.kind == RankKind::Expire;
            self.record_change(txn, now, def, key, (old_image, image), expired)?;
        }
        Ok(())
    }

    /// Whether what comes replaces what is there (I5).
    fn beats(&self, incoming: Rank, current: Rank) -> bool {
        let instant = |rank: Rank| (rank.stamp.physical_us, rank.stamp.logical);
        if instant(incoming) == instant(current) && incoming.stamp != current.stamp {
            crate::mark!("tie");
            if self.has_bug(PlantedBug::TieByArrival) {
                return true;
            }
        }
        incoming > current
    }

    /// Whether something was lost that its writer did not know would be (I10): neither writer had seen the
    /// other's version, and the one that lost is a write.
    ///
    /// An expiry that loses is no conflict: nobody wrote it, and what it would have removed was replaced by
    /// the write that beats it, such as a refresh made where the expiry had not been heard of. An expiry
    /// that beats a write other than the one it expires is one: the version it expires has beaten that
    /// write already, unseen, and may come here only after its expiry, when nothing is left to compare.
    ///
    /// What was there when a replica was added came to it before anybody could write there, though not in
    /// the log that it was made in: its writers have seen it.
    ///
    /// `via` is the commit whose causal context says what the incoming version's writer had seen: its own.
    pub(super) fn is_conflict(
        &self,
        txn: &dyn ReadTxn,
        def: Option<&TableDef>,
        (incoming, via): (Version, Dot),
        current: Version,
    ) -> Result<bool, StoreError> {
        let loser = if incoming.rank > current.rank {
            current
        } else {
            incoming
        };
        if loser.rank.kind == RankKind::Expire {
            crate::mark!("expiry beaten");
        }
        if loser.rank.kind == RankKind::Expire || self.has_met_already(current.dot, incoming.dot) {
            return Ok(false);
        }
        let with_replica = |old: Version, new: Version| {
            let writer = new.dot.log.origin.region;
            let added = def.and_then(|d| d.member(writer)).map(|m| m.added);
            !old.dot.log.group.contains(writer) && added.is_some_and(|added| old.issued < added)
        };
        if with_replica(incoming, current) || with_replica(current, incoming) {
            return Ok(false);
        }
        self.concurrent(txn, (incoming, via), current)
    }

    /// Whether neither writer had seen the other's version (replication.md section 6).
    fn concurrent(
        &self,
        txn: &dyn ReadTxn,
        (incoming, via): (Version, Dot),
        current: Version,
    ) -> Result<bool, StoreError> {
        let (m, c) = (incoming.dot, current.dot);
        if m.log.origin == c.log.origin || m.log.origin == self.origin {
            return Ok(false);
        }
        crate::mark!("context consulted");
        if self.has_bug(PlantedBug::ContextIgnored) {
            return Ok(true);
        }
        let saw =
            |context: Frontier, dot: Dot| context.get(&dot.log).is_some_and(|seq| dot.seq <= *seq);
        Ok(!saw(log::context(txn, via)?, c) && !saw(log::context(txn, c)?, m))
    }

    #[allow(clippy::too_many_arguments)] // one call, all of it the record's content
    pub(super) fn record_conflict(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        uid: TableUid,
        def: Option<&TableDef>,
        key: &ItemKey,
        winner: &Record<'_>,
        loser: &Record<'_>,
    ) -> Result<bool, StoreError> {
        let both_deleted = winner.image.is_none() && loser.image.is_none();
        if both_deleted {
            crate::mark!("both deleted");
            return Ok(false);
        }
        let conflict = Conflict {
            table: def.map(|d| d.name.clone()).unwrap_or_default(),
            uid,
            key: key.clone(),
            winner: winner.version,
            loser: loser.version,
            winner_image: winner.image.map(<[u8]>::to_vec),
            loser_image: loser.image.map(<[u8]>::to_vec),
            detected_us: now.wall_us,
        };
        self.note_conflict(txn, &conflict)
    }

    /// Records a conflict that was found here, and counts it, once. Says whether it is new.
    pub(super) fn note_conflict(
        &mut self,
        txn: &mut dyn WriteTxn,
        conflict: &Conflict,
    ) -> Result<bool, StoreError> {
        if self.config.planted == Some(PlantedBug::ConflictForgotten) {
            return Ok(true);
        }
        let is_new = conflict::record(txn, conflict)?;
        if is_new {
            let lost = self.noted.conflicts.entry(conflict.table.clone());
            *lost.or_default() += 1;
        }
        Ok(is_new)
    }

    /// Keeps the table's item and byte counts.
    pub(super) fn count(
        &mut self,
        txn: &dyn ReadTxn,
        uid: TableUid,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let counts = |image: Option<&[u8]>| -> Result<TableCounts, StoreError> {
            let Some(image) = image else {
                return Ok(TableCounts::default());
            };
            let bytes = crate::item::codec::item_size(image).map_err(read::damaged)? as u64;
            Ok(TableCounts { items: 1, bytes })
        };
        let (plus, minus) = (counts(new)?, counts(old)?);
        self.tally(txn, uid, 0, Tally { plus, minus })
    }
}
