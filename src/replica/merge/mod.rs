//! Merging, for tables that ask for it (docs/merging.md): attributes are last-writer-wins registers of their
//! own, and numbers that `ADD` changes are counters. A pure model: nothing here knows of stores or time.
//!
//! What a region knows of an item is a [`State`]; every version that travels is one, whole. Two are merged by
//! [`State::join`], which is commutative, associative and idempotent, so that regions that know of the same
//! writes have the same item, in whatever order and however often they heard of them.
//!
//! - A write that says what the whole item is (a put, a delete) is the item's *base*: attributes assigned
//!   before it are gone.
//! - An assignment (`SET`, `REMOVE`, and all other ways to change an attribute) gives one attribute its value.
//!   The later one stays.
//! - An addition counts on top of what its region found assigned. The additions that a region makes to one
//!   assigned value are a *run*, kept as its sum: of a run there is one newest, which has all before it. An
//!   assignment replaces the runs that began before it; runs that began after it count, whether or not their
//!   regions knew of it.
//! - An expiry beats exactly the version it expires, so what it hides is kept: a write made elsewhere that had
//!   not heard of it brings it back.
//!
//! [`form`] is how a state is stored and sent, [`edit`] what local writes make of one, [`meet`] what is lost
//! where two meet, `apply` brings it to the one door, [`audit`] checks what is stored.

mod apply;
pub(super) mod audit;
pub(super) mod edit;
pub(super) mod form;
pub(super) mod meet;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::mutation::{Dot, Origin, Rank, RankKind, Version};
pub(super) use apply::is_still_as;

use crate::clock::Stamp;
use crate::item::{Item, Number, Value};

/// Names one write as its effects remember it: its place in the order of writes, and its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(super) struct Mark {
    pub rank: Rank,
    pub dot: Dot,
}

impl Mark {
    pub fn of(version: Version) -> Mark {
        Mark {
            rank: version.rank,
            dot: version.dot,
        }
    }

    /// The version that the write made.
    pub fn version(self) -> Version {
        Version {
            rank: self.rank,
            dot: self.dot,
            issued: self.rank.stamp,
        }
    }
}

/// The later of two marks. Marks of equal rank are of one write, or of expiries of one version: then the
/// smaller dot stays, as in [`Version::merged`].
fn later(a: Option<Mark>, b: Option<Mark>) -> Option<Mark> {
    let (Some(a), Some(b)) = (a, b) else {
        return a.or(b);
    };
    let order = a.rank.cmp(&b.rank).then(b.dot.cmp(&a.dot));
    Some(if order.is_ge() { a } else { b })
}

/// What one region has added to an attribute since it found the value that it adds to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    /// The first addition.
    pub since: Stamp,
    /// The last one, of which there is one newest.
    pub last: Mark,
    pub sum: Number,
}

/// One attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cell {
    /// The assignment that stands; `None` = nobody has assigned anything.
    pub mark: Option<Mark>,
    /// What was assigned; `None` = the attribute was removed, or is not there.
    pub value: Option<Value>,
    /// Additions on top of it, by who made them.
    pub runs: BTreeMap<Origin, Run>,
}

impl Cell {
    /// Whether a run counts on what stands assigned: it began after it.
    fn counts(mark: Option<Mark>, run: &Run) -> bool {
        mark.is_none_or(|mark| run.began() > mark.rank)
    }

    /// The attribute's value. Additions count on numbers and on nothing; those that a sum has no room for (more
    /// than 38 digits, or out of range) are left out, the ones that began last first.
    pub fn value(&self) -> Option<Value> {
        if self.runs.is_empty() {
            return self.value.clone();
        }
        let mut total = match &self.value {
            None => Number::ZERO,
            Some(Value::N(number)) => *number,
            Some(other) => return Some(other.clone()),
        };
        let mut runs: Vec<&Run> = self.runs.values().collect();
        runs.sort_by_key(|run| (run.since, run.last.dot));
        for run in runs {
            total = total.checked_add(run.sum).unwrap_or(total);
        }
        Some(Value::N(total))
    }

    /// Runs of both; of one origin the newer.
    fn join(&self, other: &Cell) -> Cell {
        let mark = later(self.mark, other.mark);
        let value = match mark == self.mark {
            true => self.value.clone(),
            false => other.value.clone(),
        };
        let mut runs = self.runs.clone();
        for (origin, run) in &other.runs {
            let known = runs.entry(*origin).or_insert(*run);
            if known.last.rank < run.last.rank {
                *known = *run;
            }
        }
        Cell { mark, value, runs }
    }

    /// Forgets what `base` and the assignment replace; true when nothing is left to know.
    fn settle(&mut self, base: Option<Mark>) -> bool {
        let rank = |mark: Option<Mark>| mark.map(|mark| mark.rank);
        match rank(self.mark).cmp(&rank(base)) {
            Ordering::Less => (self.mark, self.value) = (base, None),
            Ordering::Equal => self.mark = base,
            Ordering::Greater => {}
        }
        let mark = self.mark;
        self.runs.retain(|_, run| Cell::counts(mark, run));
        self.mark == base && self.value.is_none() && self.runs.is_empty()
    }
}

impl Run {
    fn began(&self) -> Rank {
        Rank {
            stamp: self.since,
            kind: RankKind::Write,
        }
    }
}

/// What is known of one item: what all the writes come to that a region has heard of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    /// Of the write of the greatest rank.
    pub version: Version,
    /// Whether that write leaves an item. Where it does not, `cells` are what an expiry hides.
    pub live: bool,
    /// The key attributes, which nothing changes; empty where there is nothing else.
    pub keys: Item,
    /// The last write that said what the whole item is.
    pub base: Option<Mark>,
    /// All other attributes that anything is known of, but for those that the base left out.
    pub cells: BTreeMap<String, Cell>,
}

impl State {
    /// A put (`item`, with `keys` the names of its key attributes) or a deletion, which may be an expiry.
    pub fn whole(version: Version, item: Option<Item>, keys: &[String]) -> State {
        let written = version.rank.kind == RankKind::Write;
        let base = written.then(|| Mark::of(version));
        let live = item.is_some();
        let (keys, rest) = item
            .unwrap_or_default()
            .into_iter()
            .partition(|(name, _)| keys.contains(name));
        let rest: Item = rest;
        let cell = |(name, value)| {
            let cell = Cell {
                mark: base,
                value: Some(value),
                runs: BTreeMap::new(),
            };
            (name, cell)
        };
        State {
            version,
            live,
            keys,
            base,
            cells: rest.into_iter().map(cell).collect(),
        }
    }

    /// What both know together.
    pub fn join(&self, other: &State) -> State {
        // Two expiries of one version have one rank: the one issued last stays.
        let order = |state: &State| (state.version.rank, state.version.issued);
        let newer = match order(self) >= order(other) {
            true => self,
            false => other,
        };
        let base = later(self.base, other.base);
        let mut cells = self.cells.clone();
        for (name, theirs) in &other.cells {
            let ours = cells.get(name);
            let joined = ours.map_or_else(|| theirs.clone(), |ours| ours.join(theirs));
            cells.insert(name.clone(), joined);
        }
        cells.retain(|_, cell| !cell.settle(base));
        let keys = match newer.live || !cells.is_empty() {
            true if self.keys.is_empty() => other.keys.clone(),
            true => self.keys.clone(),
            false => Item::new(),
        };
        State {
            version: newer.version,
            live: newer.live,
            keys,
            base,
            cells,
        }
    }

    /// The attribute of that name; of one that is not known, what the base left.
    pub fn cell(&self, name: &str) -> Cell {
        self.cells.get(name).cloned().unwrap_or(Cell {
            mark: self.base,
            ..Cell::default()
        })
    }

    /// The item, if there is one.
    pub fn item(&self) -> Option<Item> {
        self.live.then(|| self.shown())
    }

    /// The item, or the one that an expiry hides.
    fn shown(&self) -> Item {
        let mut item = self.keys.clone();
        let values = self.cells.iter();
        item.extend(values.filter_map(|(name, cell)| Some((name.clone(), cell.value()?))));
        item
    }
}
