//! The replicas of a table: how one is added, refused, removed, and what other regions know of it
//! (global-tables.md sections 2.3 and 3).
//!
//! A region is added by a definition that names it. It answers with a report in the table's group: it has
//! heard ([`Progress::Joined`]), or it has another table of that name ([`Progress::Refused`]) and does not
//! take part. Only when it has heard do the others send their versions again, so that none of them can come
//! before the definition and be dropped. The source says when it has sent everything; once all that has
//! arrived, the region reports [`Progress::Ready`], and is ACTIVE everywhere. A region that was removed
//! reports [`Progress::Gone`] when nobody can see the table there any more.
//!
//! Reports stand beside the definition, one register for each region that only the region itself writes: so
//! they take nothing from a setting that is changed at the same time.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::apply::Incoming;
use super::catalog::{Member, MemberState, TableDef, TableUid};
use super::chores::Chore;
use super::entry::{self, TableEntry};
use super::keys::meta;
use super::mutation::{Change, Dot, GroupId, LogId, Mutation, Version};
use super::record::Record;
use super::work;
use super::{PlantedBug, Replica, TableState, log, read};
use crate::clock::{Now, RegionId, Stamp};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// A removed replica keeps other changes waiting only so long: its region may be gone for ever.
const DELETING_BLOCKS_US: u64 = 60_000_000;
/// What is said of a replica whose region has another table of that name.
pub const NAME_TAKEN: &str =
    "Failed to create the replica because a table with the same name already exists in its region";

/// How far a replica has come, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Progress {
    Joined,
    Ready,
    /// And why.
    Refused(String),
    Gone,
}

/// What a region says of its own replica. The greatest is the latest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Report {
    /// Which stay of the region it is about.
    pub added: Stamp,
    pub progress: Progress,
}

/// A member as it stands, all that is known here considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberStatus {
    Creating,
    Active,
    Deleting,
    /// And why.
    Failed(String),
    /// Leaves, and keeps its table.
    Leaving,
}

#[derive(Clone, Debug, Encode, Decode)]
struct Announcement {
    group: GroupId,
    report: Report,
}

/// What [`Change::Sent`] said, and what its source had, kept until all of it has arrived.
#[derive(Clone, Debug, Encode, Decode)]
struct Arrival {
    added: Stamp,
    upto: Vec<(LogId, u64)>,
}

/// What a region last reported of its replica.
pub(super) fn report(
    txn: &dyn ReadTxn,
    uid: TableUid,
    region: RegionId,
) -> Result<Option<Report>, StoreError> {
    txn.get(Db::Meta, &meta::report(uid, region))?
        .map(work::decode)
        .transpose()
}

/// Every member of a table and how it stands, in the order they came; those that are gone are left out.
pub fn statuses(
    txn: &dyn ReadTxn,
    def: &TableDef,
) -> Result<Vec<(RegionId, MemberStatus)>, StoreError> {
    let mut found = Vec::new();
    for member in &def.members {
        let told = report(txn, def.uid, member.region)?.filter(|r| r.added == member.added);
        let told = told.map(|r| r.progress);
        let status = match (&member.state, told) {
            (MemberState::Creating { .. }, Some(Progress::Ready)) => MemberStatus::Active,
            (MemberState::Creating { .. }, Some(Progress::Refused(why))) => {
                MemberStatus::Failed(why)
            }
            (MemberState::Deleting { .. }, Some(Progress::Gone)) | (MemberState::Gone, _) => {
                continue;
            }
            (MemberState::Active, _) => MemberStatus::Active,
            (MemberState::Creating { .. }, _) => MemberStatus::Creating,
            (MemberState::Deleting { .. }, _) => MemberStatus::Deleting,
            (MemberState::Failed(why), _) => MemberStatus::Failed(why.clone()),
            (MemberState::Leaving, _) => MemberStatus::Leaving,
        };
        found.push((member.region, status));
    }
    Ok(found)
}

/// Whether the replica in `region` does not have yet what it must have before anyone may use it.
pub fn is_joining(txn: &dyn ReadTxn, def: &TableDef, region: RegionId) -> Result<bool, StoreError> {
    let Some(member) = def.member(region) else {
        return Ok(false);
    };
    if !matches!(member.state, MemberState::Creating { .. }) {
        return Ok(false);
    }
    let told = report(txn, def.uid, region)?.filter(|r| r.added == member.added);
    Ok(told.is_none_or(|r| r.progress < Progress::Ready))
}

/// Whether a member comes or goes, which other changes wait for.
pub fn is_busy(txn: &dyn ReadTxn, def: &TableDef, now_us: u64) -> Result<bool, StoreError> {
    let recent = |region: RegionId| match def.member(region).map(|m| &m.state) {
        Some(MemberState::Deleting { since_us }) => {
            now_us < since_us.saturating_add(DELETING_BLOCKS_US)
        }
        _ => false,
    };
    Ok(statuses(txn, def)?.iter().any(|(region, s)| match s {
        MemberStatus::Creating | MemberStatus::Leaving => true,
        MemberStatus::Deleting => recent(*region),
        MemberStatus::Active | MemberStatus::Failed(_) => false,
    }))
}

/// Writes into the definition what its members have reported, so that whoever gets it needs no reports.
pub(super) fn settle(txn: &dyn ReadTxn, def: &mut TableDef) -> Result<(), StoreError> {
    let known: BTreeMap<RegionId, MemberStatus> = statuses(txn, def)?.into_iter().collect();
    for member in &mut def.members {
        match known.get(&member.region) {
            None => member.state = MemberState::Gone,
            Some(MemberStatus::Active) => member.state = MemberState::Active,
            Some(MemberStatus::Failed(why)) => {
                member.state = MemberState::Failed(why.clone());
                def.group = def.group.without(member.region);
                def.protected = def.protected.without(member.region);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Forgets what was reported and what is waiting of a table that is gone from here.
pub(super) fn forget(txn: &mut dyn WriteTxn, uid: TableUid) -> Result<(), StoreError> {
    for prefix in [meta::reports_of(uid), meta::resent_of(uid)] {
        let mut all = usize::MAX;
        work::remove_some(txn, Db::Meta, &prefix, &mut all)?;
    }
    for row in [
        meta::arrival(uid),
        meta::departure(uid),
        meta::announcement(uid),
        meta::refusal(uid),
    ] {
        txn.delete(Db::Meta, &row)?;
    }
    Ok(())
}

impl Replica {
    /// When this region is asked to become a member: when it was added.
    pub(super) fn asked_to_join(&self, def: &TableDef) -> Option<Stamp> {
        let member = def.member(self.config.region)?;
        let creating = matches!(member.state, MemberState::Creating { .. });
        (creating && def.group.contains(self.config.region)).then_some(member.added)
    }

    /// Whether a definition that came from elsewhere is none of this region's business: another table of that
    /// name lives here, in other regions than the commit's. Nothing is adopted and nothing overwritten; a
    /// region that was asked to become a member refuses.
    pub(super) fn keep_out(
        &mut self,
        txn: &mut dyn WriteTxn,
        dot: Dot,
        (uid, def): (TableUid, Option<&TableDef>),
        stored: Option<&TableEntry>,
    ) -> Result<bool, StoreError> {
        if dot.log.origin == self.origin {
            return Ok(false);
        }
        let me = self.config.region;
        let asked = def.and_then(|def| self.asked_to_join(def));
        let row = meta::kept_out(uid);
        let refused = txn.get(Db::Meta, &row)?.map(work::decode::<Stamp>);
        if let Some(refused) = refused.transpose()? {
            if asked.is_none_or(|added| added <= refused) {
                return Ok(true);
            }
            txn.delete(Db::Meta, &row)?;
        }
        let mine = stored.and_then(|s| s.def.as_ref());
        let Some(mine) = mine.filter(|d| d.uid != uid && d.group.contains(me)) else {
            return Ok(false);
        };
        if mine.group == dot.log.group {
            return Ok(false);
        }
        if let (Some(added), Some(def)) = (asked, def) {
            self.purge_table(txn, uid, None)?;
            txn.put(Db::Meta, &meta::uid(uid), entry::DEAD)?;
            txn.put(Db::Meta, &row, &work::encode(&added)?)?;
            let progress = Progress::Refused(NAME_TAKEN.into());
            self.announce(txn, uid, def.group, Report { added, progress })?;
        }
        Ok(true)
    }

    /// The members of a table are now as `def` says: tells the others what they must know of the one here, and
    /// sends versions again to those that have heard.
    pub(super) fn follow_members(
        &mut self,
        txn: &mut dyn WriteTxn,
        old: Option<&TableDef>,
        def: &TableDef,
        version: Version,
    ) -> Result<(), StoreError> {
        let me = self.config.region;
        let Some(member) = def.member(me) else {
            return Ok(());
        };
        let added = member.added;
        match &member.state {
            MemberState::Creating { .. } => {
                let told = report(txn.as_read(), def.uid, me)?.filter(|r| r.added == added);
                // Again where somebody may not have heard it.
                if told.is_none() || old.is_none_or(|old| old.group != def.group) {
                    let joined = Report {
                        added,
                        progress: match self.has_bug(PlantedBug::WholeBeforeCopy) {
                            true => Progress::Ready,
                            false => Progress::Joined,
                        },
                    };
                    self.announce(txn, def.uid, def.group, told.unwrap_or(joined))?;
                }
            }
            MemberState::Deleting { .. } if !def.group.contains(me) => {
                crate::mark!("replica gone");
                let progress = Progress::Gone;
                self.announce(txn, def.uid, def.group.with(me), Report { added, progress })?;
            }
            MemberState::Leaving => {
                let row = meta::departure(def.uid);
                if txn.get(Db::Meta, &row)?.is_none() {
                    txn.put(Db::Meta, &row, &work::encode(&version.issued)?)?;
                    self.wake_chores();
                }
            }
            _ => {}
        }
        if def.group.contains(me) {
            let is_source = |def: &TableDef, m: &Member| def.source_of(m) == Some(me);
            for new in def.members.iter().filter(|m| m.state.is_here()) {
                let Some(old) = old else { break };
                let known = old.member(new.region).map(|m| m.added) == Some(new.added);
                let is_source = is_source(def, new) && !is_source(old, new);
                if !known || is_source {
                    // What was made here without knowing of it; or all of it, though that may have been sent.
                    let row = meta::resent(def.uid, new.region);
                    txn.put(Db::Meta, &row, &work::encode(&Stamp::MIN)?)?;
                }
            }
            self.resend(txn, def)?;
        }
        Ok(())
    }

    fn announce(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        group: GroupId,
        report: Report,
    ) -> Result<(), StoreError> {
        let announcement = work::encode(&Announcement { group, report })?;
        txn.put(Db::Meta, &meta::announcement(uid), &announcement)?;
        self.wake_chores();
        Ok(())
    }

    /// Sends versions again to every new member that has heard of the table, once for each stay. One that is active by
    /// now has heard; of it this region may hear so late that it wrote without it meanwhile.
    fn resend(&mut self, txn: &mut dyn WriteTxn, def: &TableDef) -> Result<(), StoreError> {
        let me = self.config.region;
        let mut new = def.members.iter();
        while let Some(member) = new.find(|m| m.region != me && m.state.is_here()) {
            let comes = matches!(member.state, MemberState::Creating { .. });
            let told = report(txn.as_read(), def.uid, member.region)?;
            let told = told.filter(|r| r.added == member.added).map(|r| r.progress);
            let heard = !comes || matches!(told, Some(Progress::Joined | Progress::Ready));
            let row = meta::resent(def.uid, member.region);
            let sent = txn.get(Db::Meta, &row)?.map(work::decode::<Stamp>);
            let due = sent.transpose()?.map_or(comes, |sent| sent != member.added);
            if heard && due {
                txn.put(Db::Meta, &row, &work::encode(&member.added)?)?;
                self.begin_relog(txn, def.uid, def.source_of(member) == Some(me))?;
            }
        }
        Ok(())
    }

    /// The members' half of the one door.
    pub(super) fn apply_report(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        from: RegionId,
        new: &Report,
    ) -> Result<(), StoreError> {
        if report(txn.as_read(), uid, from)?.is_some_and(|old| old >= *new) {
            return Ok(());
        }
        let TableState::Live(def) = self.table_by_uid(txn.as_read(), uid)? else {
            // Of a table that has not been heard of yet, or is gone: then its definition does not come again.
            if txn.get(Db::Meta, &meta::uid(uid))?.is_none() {
                txn.put(Db::Meta, &meta::report(uid, from), &work::encode(new)?)?;
            }
            return Ok(());
        };
        txn.put(Db::Meta, &meta::report(uid, from), &work::encode(new)?)?;
        // Who may use the table, and how, depends on it.
        self.resident = false;
        self.forget_tables();
        if !def.group.contains(self.config.region) {
            return Ok(());
        }
        let source = def.member(from).and_then(|m| def.source_of(m));
        if matches!(new.progress, Progress::Refused(_)) && source == Some(self.config.region) {
            txn.put(Db::Meta, &meta::refusal(uid), &[])?;
            self.wake_chores();
        }
        self.resend(txn, &def)
    }

    pub(super) fn apply_sent(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        dot: Dot,
        to: &[(RegionId, Stamp)],
        upto: &[(GroupId, u64)],
    ) -> Result<(), StoreError> {
        let TableState::Live(def) = self.table_by_uid(txn.as_read(), uid)? else {
            return Ok(());
        };
        let Some(member) = def.member(self.config.region) else {
            return Ok(());
        };
        if to.contains(&(member.region, member.added)) {
            let origin = dot.log.origin;
            let log_of = |group: GroupId| LogId { group, origin };
            let sent = upto.iter().map(|(group, seq)| (log_of(*group), *seq));
            let mut wanted: Vec<(LogId, u64)> = sent.collect();
            // And what the source had of others by then: it may have replaced what it would have sent.
            wanted.extend(log::context(txn.as_read(), dot)?);
            let me = self.config.region;
            wanted.retain(|(log, _)| log.group.contains(me) && log.origin.region != me);
            let arrival = Arrival {
                added: member.added,
                upto: wanted,
            };
            txn.put(Db::Meta, &meta::arrival(uid), &work::encode(&arrival)?)?;
            self.wake_chores();
        }
        Ok(())
    }

    /// The chore: one step of what members have to tell.
    pub(super) fn keep_members(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
    ) -> Result<Chore, StoreError> {
        if let Some(row) = read::rows(txn.as_read(), Db::Meta, meta::ANNOUNCEMENTS, 1)?.pop() {
            let (table, _) = work::parse(meta::ANNOUNCEMENTS, &row)?;
            let bytes = txn.get(Db::Meta, &row)?.unwrap_or_default();
            let Announcement { group, report } = work::decode(bytes)?;
            txn.delete(Db::Meta, &row)?;
            self.commit_change(txn, now, group, Change::Report { table, report })?;
            return Ok(Chore::More);
        }
        if let Some(row) = read::rows(txn.as_read(), Db::Meta, meta::REFUSALS, 1)?.pop() {
            let (uid, _) = work::parse(meta::REFUSALS, &row)?;
            txn.delete(Db::Meta, &row)?;
            self.drop_refused(txn, now, uid)?;
            return Ok(Chore::More);
        }
        for row in read::rows(txn.as_read(), Db::Meta, meta::ARRIVALS, usize::MAX)? {
            let arrival: Arrival = work::decode(txn.get(Db::Meta, &row)?.unwrap_or_default())?;
            let has = |(log, seq): &(LogId, u64)| self.frontier.get(log) >= Some(seq);
            if arrival.upto.iter().all(has) {
                let (uid, _) = work::parse(meta::ARRIVALS, &row)?;
                txn.delete(Db::Meta, &row)?;
                self.ready(txn, uid, arrival.added)?;
                return Ok(Chore::More);
            }
        }
        self.finish_departures(txn, now)
    }

    /// This region's replica has everything: tells the others.
    pub(super) fn ready(
        &mut self,
        txn: &mut dyn WriteTxn,
        uid: TableUid,
        added: Stamp,
    ) -> Result<(), StoreError> {
        let TableState::Live(def) = self.table_by_uid(txn.as_read(), uid)? else {
            return Ok(());
        };
        if self.asked_to_join(&def) != Some(added) {
            return Ok(());
        }
        crate::mark!("replica whole");
        let progress = Progress::Ready;
        self.announce(txn, uid, def.group, Report { added, progress })
    }

    /// The source takes a replica that was refused out of the group.
    fn drop_refused(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        uid: TableUid,
    ) -> Result<(), StoreError> {
        let TableState::Live(old) = self.table_by_uid(txn.as_read(), uid)? else {
            return Ok(());
        };
        let mut def = (*old).clone();
        settle(txn.as_read(), &mut def)?;
        if def == *old {
            return Ok(());
        }
        let (group, name) = (old.group, def.name.clone());
        self.commit_table(txn, now, group, name, uid, Some(def))
    }

    /// Tells the new members, when this region has sent all it has, and was asked to.
    pub(super) fn all_sent(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        def: &TableDef,
    ) -> Result<(), StoreError> {
        let me = Some(self.config.region);
        let new = def.members.iter().filter(|m| def.source_of(m) == me);
        let to: Vec<(RegionId, Stamp)> = new.map(|m| (m.region, m.added)).collect();
        let reaches = |group: GroupId| to.iter().any(|(region, _)| group.contains(*region));
        let logs = self
            .frontier
            .iter()
            .filter(|(log, _)| log.origin == self.origin && reaches(log.group));
        let upto = logs.map(|(log, seq)| (log.group, *seq)).collect();
        if to.is_empty() {
            return Ok(());
        }
        let table = def.uid;
        self.commit_change(txn, now, def.group, Change::Sent { table, to, upto })
    }

    /// One change of this region as a commit of its own.
    pub(super) fn commit_change(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        group: GroupId,
        change: Change,
    ) -> Result<(), StoreError> {
        let version = None;
        let issued = self.hlc.tick(now);
        self.commit_local(txn, now, group, vec![Mutation { version, change }], issued)
    }

    /// A version came in a log that does not reach all who need it, from a region that will not send it again:
    /// it left the group, or came to it later; or it will, in pieces and when it has heard of the new member, whose
    /// source this region is. It travels on in a log that does, after the deletion that beats it here, if one does: where
    /// that is forgotten already, it would come back.
    pub(super) fn forward_stray(
        &mut self,
        (dot, issued): (Dot, Stamp),
        def: Option<&TableDef>,
        item: &Incoming<'_>,
        current: Option<&Record<'_>>,
    ) {
        let Some(def) = def else { return };
        if dot.log.origin == self.origin || def.group.0 & !dot.log.group.0 == 0 {
            return;
        }
        let (sender, me) = (dot.log.origin.region, self.config.region);
        let stays =
            def.group.contains(sender) && def.member(sender).is_none_or(|m| m.added < issued);
        let out = |m: &&Member| !dot.log.group.contains(m.region);
        let mut new = def.members.iter().filter(out);
        let is_source = new.any(|m| def.source_of(m) == Some(me));
        if (!stays || is_source) && def.group.contains(me) {
            crate::mark!("stray forwarded");
            let beaten = |c: &&Record<'_>| c.image.is_none() && c.version.rank > item.version.rank;
            if let Some(deletion) = current.filter(beaten) {
                let deletion = deletion.mutation(item.table, item.key.clone());
                self.forwards.push((def.group, dot, deletion));
            }
            self.forwards.push((def.group, dot, item.mutation()));
        }
    }

    /// Commits what was found to have to travel on, in the transaction of what it was found in.
    pub(super) fn forward(&mut self, txn: &mut dyn WriteTxn, now: Now) -> Result<(), StoreError> {
        let forwards = std::mem::take(&mut self.forwards);
        // What came together goes on together (I6).
        for together in forwards.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let Some((group, ..)) = together.first() else {
                continue;
            };
            let mutations = together.iter().map(|(.., mutation)| mutation.clone());
            let issued = self.hlc.tick(now);
            self.commit_local(txn, now, *group, mutations.collect(), issued)?;
        }
        Ok(())
    }
}
