//! What local writes make of a state. A put and a deletion are whole by themselves ([`State::whole`]); an update
//! changes the attributes that it names.

use std::collections::BTreeMap;

use super::{Cell, Mark, Run, State, later};
use crate::clock::Stamp;
use crate::expression::Update;
use crate::item::{Item, Number, Value};
use crate::replica::mutation::{Dot, Origin, Rank, RankKind, Version};

/// What an update does to the attributes that it names, and the item that it makes.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::replica) struct Edit {
    pub keys: Item,
    /// By attribute, what it becomes.
    changes: BTreeMap<String, Change>,
}

#[derive(Clone, Debug, PartialEq)]
struct Change {
    /// What the attribute is after the update.
    value: Option<Value>,
    /// Where it was added to, and nothing else: how much.
    added: Option<Number>,
}

impl Edit {
    /// Of an update that makes `after`. An `ADD` of a number to a whole attribute is an addition; everything else
    /// assigns what the attribute is afterwards, nested or not.
    pub fn of(update: &Update, keys: Item, after: &Item) -> Edit {
        let mut changes = BTreeMap::new();
        for path in update.targets() {
            let value = after.get(&path.root).cloned();
            let added = None;
            changes.insert(path.root.clone(), Change { value, added });
        }
        for (path, operand) in &update.add {
            if let (true, Value::N(number)) = (path.steps.is_empty(), operand)
                && let Some(change) = changes.get_mut(&path.root)
            {
                change.added = Some(*number);
            }
        }
        Edit { keys, changes }
    }

    /// The attributes that it changes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.changes.keys().map(String::as_str)
    }

    /// The state after the update, as `origin` makes it at `issued` in the commit `dot`.
    pub fn apply(&self, before: Option<&State>, origin: Origin, dot: Dot, issued: Stamp) -> State {
        let rank = Rank {
            stamp: issued,
            kind: RankKind::Write,
        };
        let mark = Mark { rank, dot };
        let mut state = before.cloned().unwrap_or_else(|| State {
            version: mark.version(),
            live: false,
            keys: Item::new(),
            base: None,
            cells: BTreeMap::new(),
        });
        if !state.live {
            // What has expired is not updated: this write is the one that does away with what the expiry hides.
            let rank = state.version.rank;
            let gone = (rank.kind == RankKind::Expire).then_some(Mark { rank, dot });
            let base = later(state.base, gone);
            state.base = base;
            state.cells.retain(|_, cell| !cell.settle(base));
        }
        for (name, change) in &self.changes {
            let before = state.cell(name);
            let cell = change.apply(before, origin, mark);
            state.cells.insert(name.clone(), cell);
        }
        State {
            version: Version { rank, dot, issued },
            live: true,
            keys: self.keys.clone(),
            ..state
        }
    }
}

impl Change {
    fn apply(&self, before: Cell, origin: Origin, mark: Mark) -> Cell {
        let added = self
            .added
            .and_then(|added| add(before, origin, mark, added));
        // What cannot be kept as an addition is an assignment.
        let added = added.filter(|cell| cell.value() == self.value);
        added.unwrap_or_else(|| Cell {
            mark: Some(mark),
            value: self.value.clone(),
            runs: BTreeMap::new(),
        })
    }
}

/// The attribute with an addition to its region's run; `None` when the run's sum has no room for it.
fn add(mut cell: Cell, origin: Origin, mark: Mark, added: Number) -> Option<Cell> {
    let since = mark.rank.stamp;
    let run = cell.runs.entry(origin).or_insert(Run {
        since,
        last: mark,
        sum: Number::ZERO,
    });
    run.last = mark;
    run.sum = run.sum.checked_add(added).ok()?;
    Some(cell)
}
