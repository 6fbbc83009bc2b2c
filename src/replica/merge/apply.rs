//! A version of a table that merges, as the one door lets it in.

use super::State;
use super::edit::Edit;
use super::form::{self, Form};
use super::meet::{self, Loss};
use crate::clock::{Now, Stamp};
use crate::replica::apply::Incoming;
use crate::replica::catalog::TableDef;
use crate::replica::conflict::Conflict;
use crate::replica::execute::Plan;
use crate::replica::keys;
use crate::replica::mutation::{Change, Dot, Frontier, ItemKey, LogId, Rank, Version};
use crate::replica::record::Record;
use crate::replica::{PlantedBug, Replica};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

impl Replica {
    /// Joins an incoming version to what is stored at `row`, and records what either lost.
    pub(in crate::replica) fn merge_item(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        def: Option<&TableDef>,
        incoming: &Incoming<'_>,
        (row, stored): (&[u8], Option<&Record<'_>>),
    ) -> Result<(), StoreError> {
        let version = incoming.version;
        let names = key_names(def, incoming.marks, stored.and_then(|record| record.marks))?;
        let record = incoming.record();
        let mut new = State::read(&record, &names)?;
        let current = stored
            .map(|record| State::read(record, &names))
            .transpose()?;
        if let Some(current) = &current {
            if self.has_bug(PlantedBug::CounterAddsTwice) {
                add_twice(current, &mut new);
            }
            for loss in meet::losses(current, &new) {
                if self.is_unseen(txn.as_read(), def, version.dot, &loss)? {
                    self.record_loss(txn, now, (incoming, def), loss)?;
                }
            }
        }
        let joined = match &current {
            Some(current) => current.join(&new),
            None => new,
        };
        if current.as_ref() == Some(&joined) {
            return Ok(());
        }
        crate::mark!("versions merged");
        let Form { image, marks } = joined.form()?;
        let record = Record {
            version: joined.version,
            image: image.as_deref(),
            marks: marks.as_deref(),
            ..record
        };
        self.store_item(txn, now, def, incoming, (row, stored), &record)
    }

    /// Whether the two writes of a loss had not seen each other, as far as is known here.
    ///
    /// What comes in may hold writes of commits that have not come yet: what their origins had seen is not
    /// known, and that of the version that brings them stands for it.
    fn is_unseen(
        &self,
        txn: &dyn ReadTxn,
        def: Option<&TableDef>,
        via: Dot,
        loss: &Loss,
    ) -> Result<bool, StoreError> {
        let (incoming, current) = match loss.incoming_wins {
            true => (loss.winner, loss.loser),
            false => (loss.loser, loss.winner),
        };
        // What has been applied here has met what is here.
        if is_covered(&self.frontier, incoming.dot) {
            return Ok(false);
        }
        let via = match self.copying {
            Some(_) => incoming.dot,
            None => via,
        };
        self.is_conflict(txn, def, (incoming.version(), via), current.version())
    }

    fn record_loss(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        (incoming, def): (&Incoming<'_>, Option<&TableDef>),
        loss: Loss,
    ) -> Result<(), StoreError> {
        let conflict = Conflict {
            table: def.map(|d| d.name.clone()).unwrap_or_default(),
            uid: incoming.table,
            key: incoming.key.clone(),
            winner: loss.winner.version(),
            loser: loss.loser.version(),
            winner_image: loss.winner_image,
            loser_image: loss.loser_image,
            detected_us: now.wall_us,
        };
        self.note_conflict(txn, &conflict).map(drop)
    }

    /// What an update makes of an item, as part of the commit that this region makes next in the table's group.
    pub(in crate::replica) fn merged_change(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        plan: &Plan,
        edit: &Edit,
        issued: Stamp,
    ) -> Result<Change, StoreError> {
        self.begin_life(txn, now)?;
        let log = LogId {
            group: plan.def.group,
            origin: self.origin,
        };
        let seq = self.frontier.get(&log).copied().unwrap_or(0) + 1;
        let row = keys::item_row(plan.def.uid, &plan.key);
        let stored = txn.get(Db::Items, &row)?.map(Record::decode).transpose()?;
        let marks = stored.and_then(|record| record.marks);
        let names = key_names(Some(&plan.def), None, marks)?;
        let before = stored
            .map(|record| State::read(&record, &names))
            .transpose()?;
        let after = edit.apply(before.as_ref(), self.origin, Dot { log, seq }, issued);
        let Form { image, marks } = after.form()?;
        let (table, key) = (plan.def.uid, plan.key.clone());
        Ok(match marks {
            None => Change::Item { table, key, image },
            Some(marks) => Change::Merged {
                table,
                key,
                marks,
                image,
            },
        })
    }

    /// Whether nothing of what `version` holds is newer than what this region has applied. What was made in a group
    /// that it is not in came to it with the table, in other commits.
    pub(in crate::replica) fn has_all_of(
        &self,
        version: Version,
        marks: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let writes = form::writes(version, marks)?;
        let has = |dot: Dot| {
            let before = !dot.log.group.contains(self.config.region);
            before || is_covered(&self.frontier, dot)
        };
        Ok(writes.iter().all(|(dot, _)| has(*dot)))
    }
}

/// Whether the attributes that an edit changes are still as the write of that rank left them.
pub(in crate::replica) fn is_still_as(
    txn: &dyn ReadTxn,
    def: &TableDef,
    key: &ItemKey,
    edit: &Edit,
    rank: Rank,
) -> Result<bool, StoreError> {
    let row = keys::item_row(def.uid, key);
    let Some(stored) = txn.get(Db::Items, &row)?.map(Record::decode).transpose()? else {
        return Ok(false);
    };
    let names = key_names(Some(def), None, stored.marks)?;
    let state = State::read(&stored, &names)?;
    let as_left = |name: &str| state.cell(name).mark.is_some_and(|mark| mark.rank == rank);
    Ok(state.version.rank == rank || edit.names().all(as_left))
}

/// The names of the key attributes: of the definition, or of what was written with one.
fn key_names(
    def: Option<&TableDef>,
    incoming: Option<&[u8]>,
    stored: Option<&[u8]>,
) -> Result<Vec<String>, StoreError> {
    if let Some(def) = def {
        return Ok(def.keys.names().map(str::to_owned).collect());
    }
    for marks in [incoming, stored].into_iter().flatten() {
        let names = form::key_names(marks)?;
        if !names.is_empty() {
            return Ok(names);
        }
    }
    Ok(Vec::new())
}

fn is_covered(frontier: &Frontier, dot: Dot) -> bool {
    frontier.get(&dot.log).is_some_and(|seq| dot.seq <= *seq)
}

/// What the planted bug does: a newer sum of a region's additions is added to the one that is here.
fn add_twice(current: &State, new: &mut State) {
    for (name, cell) in &mut new.cells {
        let known = current.cell(name).runs;
        for (origin, run) in &mut cell.runs {
            if let Some(old) = known
                .get(origin)
                .filter(|old| old.last.rank < run.last.rank)
            {
                run.sum = run.sum.checked_add(old.sum).unwrap_or(run.sum);
            }
        }
    }
}
