//! How a state is stored and sent: the item's image as any other, and beside it the *marks*, which say what wrote
//! what. A put and a deletion need none: their version says it all, so a plain record is a state too
//! (docs/storage-format.md).

use std::collections::BTreeMap;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use super::{Cell, Mark, Run, State};
use crate::clock::Stamp;
use crate::item::{Item, Number, Value, codec};
use crate::replica::apply::Incoming;
use crate::replica::catalog::TableDef;
use crate::replica::mutation::{Dot, Origin, RankKind, Version};
use crate::replica::read::damaged;
use crate::replica::record::Record;
use crate::store::StoreError;

const FORMAT: u8 = 1;
/// Marks of an item of 400 KB whose every attribute was written by itself, and a hidden image.
const BYTES_MAX: usize = 32 * 1024 * 1024;

type Config = Configuration<LittleEndian, Varint, Limit<BYTES_MAX>>;

fn config() -> Config {
    bincode::config::standard().with_limit::<BYTES_MAX>()
}

/// What is known of an item besides its image.
#[derive(Debug, Default, Encode, Decode)]
struct Marks {
    base: Option<Mark>,
    /// The names of the key attributes.
    keys: Vec<String>,
    /// Of all attributes that the base did not write.
    cells: BTreeMap<String, CellMarks>,
    /// What an expiry hides.
    hidden: Option<Vec<u8>>,
}

#[derive(Debug, Encode, Decode)]
struct CellMarks {
    mark: Option<Mark>,
    /// What the runs add to, where there are runs.
    under: Under,
    runs: BTreeMap<Origin, RunMarks>,
}

#[derive(Debug, Encode, Decode)]
enum Under {
    /// What the image has, if it has the attribute.
    Image,
    Nothing,
    Number(Parts),
}

#[derive(Debug, Encode, Decode)]
struct RunMarks {
    since: Stamp,
    last: Mark,
    sum: Parts,
}

/// The parts of a number: whether it is negative, its coefficient, its exponent.
#[derive(Clone, Copy, Debug, Encode, Decode)]
struct Parts(bool, u128, i16);

impl Parts {
    fn of(number: Number) -> Parts {
        Parts(
            number.is_negative(),
            number.coefficient(),
            number.exponent(),
        )
    }

    fn number(self) -> Result<Number, StoreError> {
        let Parts(negative, coefficient, exponent) = self;
        Number::from_parts(negative, coefficient, exponent)
            .ok_or_else(|| damaged("the marks of an item hold what is not a number"))
    }
}

/// A state as it is stored and sent.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::replica) struct Form {
    pub image: Option<Vec<u8>>,
    pub marks: Option<Vec<u8>>,
}

impl State {
    /// Reads a state. `keys` names the key attributes, for a record that does not say them.
    pub fn read(record: &Record<'_>, keys: &[String]) -> Result<State, StoreError> {
        let image = record.image.map(codec::decode).transpose();
        let image = image.map_err(damaged)?;
        let Some(marks) = record.marks else {
            return Ok(State::whole(record.version, image, keys));
        };
        let marks = decode(marks)?;
        let hidden = marks.hidden.as_deref().map(codec::decode).transpose();
        let hidden = hidden.map_err(damaged)?;
        let live = image.is_some();
        let item = image.or(hidden).unwrap_or_default();
        let (keys, rest) = (item.into_iter()).partition(|(name, _)| marks.keys.contains(name));
        let rest: Item = rest;
        let mut cells = BTreeMap::new();
        for (name, cell) in marks.cells {
            let value = rest.get(&name);
            cells.insert(name, cell.read(value)?);
        }
        for (name, value) in rest {
            cells.entry(name).or_insert(Cell {
                mark: marks.base,
                value: Some(value),
                runs: BTreeMap::new(),
            });
        }
        Ok(State {
            version: record.version,
            live,
            keys,
            base: marks.base,
            cells,
        })
    }

    /// The state as it is stored and sent.
    pub fn form(&self) -> Result<Form, StoreError> {
        let image = self.item().map(|item| codec::encode(&item));
        if self.is_plain() {
            return Ok(Form { image, marks: None });
        }
        let by_itself =
            |(_, cell): &(&String, &Cell)| cell.mark != self.base || !cell.runs.is_empty();
        let cells = self.cells.iter().filter(by_itself);
        let hidden = !self.live && !self.cells.is_empty();
        let marks = Marks {
            base: self.base,
            keys: self.keys.keys().cloned().collect(),
            cells: cells
                .map(|(name, cell)| (name.clone(), CellMarks::of(cell)))
                .collect(),
            hidden: hidden.then(|| codec::encode(&self.shown())),
        };
        let body = bincode::encode_to_vec(marks, config()).map_err(damaged)?;
        let marks = [&[FORMAT], body.as_slice()].concat();
        Ok(Form {
            image,
            marks: Some(marks),
        })
    }

    /// Whether the version says all: it is a put or a deletion that nothing was added to.
    fn is_plain(&self) -> bool {
        let whole = |cell: &Cell| cell.mark == self.base && cell.runs.is_empty();
        let written = self.version.rank.kind == RankKind::Write;
        let base = written.then(|| Mark::of(self.version));
        self.base == base && self.cells.values().all(whole) && (self.live || self.cells.is_empty())
    }
}

impl CellMarks {
    fn of(cell: &Cell) -> CellMarks {
        let under = match &cell.value {
            _ if cell.runs.is_empty() => Under::Image,
            Some(Value::N(number)) => Under::Number(Parts::of(*number)),
            Some(_) => Under::Image,
            None => Under::Nothing,
        };
        let run = |run: &Run| RunMarks {
            since: run.since,
            last: run.last,
            sum: Parts::of(run.sum),
        };
        CellMarks {
            mark: cell.mark,
            under,
            runs: cell.runs.iter().map(|(o, r)| (*o, run(r))).collect(),
        }
    }

    fn read(self, shown: Option<&Value>) -> Result<Cell, StoreError> {
        let value = match self.under {
            Under::Image => shown.cloned(),
            Under::Nothing => None,
            Under::Number(parts) => Some(Value::N(parts.number()?)),
        };
        let mut runs = BTreeMap::new();
        for (origin, run) in self.runs {
            let RunMarks { since, last, sum } = run;
            let sum = sum.number()?;
            runs.insert(origin, Run { since, last, sum });
        }
        Ok(Cell {
            mark: self.mark,
            value,
            runs,
        })
    }
}

fn decode(bytes: &[u8]) -> Result<Marks, StoreError> {
    let Some((&FORMAT, body)) = bytes.split_first() else {
        return Err(damaged("the marks of an item are of an unknown format"));
    };
    let (marks, read) = bincode::decode_from_slice(body, config()).map_err(damaged)?;
    if read != body.len() {
        return Err(damaged("the marks of an item have bytes left over"));
    }
    Ok(marks)
}

/// Whether a version that comes in would change what is stored.
pub(in crate::replica) fn adds(
    here: &Record<'_>,
    item: &Incoming<'_>,
    def: &TableDef,
) -> Result<bool, StoreError> {
    let names: Vec<String> = def.keys.names().map(str::to_owned).collect();
    let here = State::read(here, &names)?;
    let there = State::read(&item.record(), &names)?;
    Ok(here.join(&there).item() != here.item())
}

/// The names of the key attributes, where a record says them.
pub(in crate::replica) fn key_names(marks: &[u8]) -> Result<Vec<String>, StoreError> {
    Ok(decode(marks)?.keys)
}

/// The writes that a version still knows of, and when they were issued: of a plain one, its own.
pub(in crate::replica) fn writes(
    version: Version,
    marks: Option<&[u8]>,
) -> Result<Vec<(Dot, Stamp)>, StoreError> {
    let mut writes = vec![(version.dot, version.issued)];
    let Some(marks) = marks else {
        return Ok(writes);
    };
    let marks = decode(marks)?;
    let cells = marks.cells.values().flat_map(|cell| {
        let runs = cell.runs.values().map(|run| run.last);
        cell.mark.into_iter().chain(runs)
    });
    let all = marks.base.into_iter().chain(cells);
    writes.extend(all.map(|mark| (mark.dot, mark.rank.stamp)));
    writes.sort_unstable();
    writes.dedup();
    Ok(writes)
}
