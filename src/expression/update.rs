//! Updates applied to items (expressions.md section 8).
//!
//! First everything is read from the item as it was, then everything is written: sets in place, elements
//! set beyond a list's end appended, removals last. No write moves a list element before the last
//! removal of its list, so every index means what it meant in the old item.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::ExpressionError;
use super::ast::{Path, SetOperand, SetValue, Step, Update};
use crate::item::size::{ITEM_SIZE_MAX, value_size};
use crate::item::{Item, Number, Value};

/// Lists and maps that may stand inside one another below the item itself (values-and-keys.md section 1.1).
const NESTING_MAX: usize = 32;

/// What an update, and each of its actions, is charged besides the bytes of the item.
const ANY_UPDATE: usize = 3;
const WRITING_ACTION: usize = 19;
const ARITHMETIC: usize = 50;
const REMOVING_ACTION: usize = 2;

const INCORRECT_TYPE: &str = "An operand in the update expression has an incorrect data type";
const INVALID_PATH: &str =
    "The document path provided in the update expression is invalid for update";
const MISSING_ATTRIBUTE: &str =
    "The provided expression refers to an attribute that does not exist in the item";
/// What `AttributeUpdates` answers where an UpdateExpression answers [`INCORRECT_TYPE`].
const TYPE_MISMATCH: &str = "Type mismatch for attribute to update";
const TOO_DEEP: &str = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit";
const TOO_LARGE: &str = "Item size to update has exceeded the maximum allowed size";

fn error(message: &str) -> ExpressionError {
    ExpressionError(message.into())
}

/// What an update comes to on one item: values and removals, all right-hand sides read.
#[derive(Default)]
struct Changes<'a> {
    writes: Vec<(&'a Path, Value)>,
    removals: Vec<&'a Path>,
    /// Bytes of `writes`. All of them end up in the item, so this alone can exceed its limit; checked
    /// as they are read, or an expression of 4 KB could copy a large attribute a thousand times.
    bytes: usize,
}

impl<'a> Changes<'a> {
    fn write(&mut self, path: &'a Path, value: Value) -> Result<(), ExpressionError> {
        if path.steps.len() + nesting(&value) > NESTING_MAX {
            return Err(error(TOO_DEEP));
        }
        self.bytes = self.bytes.saturating_add(value_size(&value));
        if self.bytes > ITEM_SIZE_MAX {
            return Err(error(TOO_LARGE));
        }
        self.writes.push((path, value));
        Ok(())
    }
}

impl Update {
    /// Every path the update writes or removes: SET, REMOVE, ADD, DELETE, each in text order.
    pub fn targets(&self) -> impl Iterator<Item = &Path> {
        let set = self.set.iter().map(|(path, _)| path);
        let add = self.add.iter().map(|(path, _)| path);
        let delete = self.delete.iter().map(|(path, _)| path);
        set.chain(&self.remove).chain(add).chain(delete)
    }

    /// Every path that a right-hand side reads.
    pub fn sources(&self) -> impl Iterator<Item = &Path> {
        let mut paths = Vec::new();
        for (_, value) in &self.set {
            value_sources(value, &mut paths);
        }
        paths.into_iter()
    }

    /// Whether the update brings a missing item into being. One that only removes does not, though an
    /// update without any clause does: it leaves the bare key.
    pub fn creates_item(&self) -> bool {
        let removes = !self.remove.is_empty() || !self.delete.is_empty();
        !self.set.is_empty() || !self.add.is_empty() || !removes
    }

    /// Bytes that UpdateItem charges for what the update does when it holds the result to 400 KB, whatever the
    /// values (values-and-keys.md section 5; list elements and arithmetic as measured since).
    pub fn surcharge(&self) -> usize {
        if !self.surcharged {
            return 0;
        }
        let element = |path: &Path| usize::from(matches!(path.steps.last(), Some(Step::Index(_))));
        let set = self.set.iter().map(|(path, value)| {
            let arithmetic = matches!(value, SetValue::Plus(..) | SetValue::Minus(..));
            WRITING_ACTION + element(path) + if arithmetic { ARITHMETIC } else { 0 }
        });
        let add = WRITING_ACTION * self.add.len();
        let removing = REMOVING_ACTION * (self.remove.len() + self.delete.len());
        ANY_UPDATE + set.sum::<usize>() + add + removing
    }

    /// The item after the update, and the paths it touched.
    ///
    /// `before` is empty when there is no item; `key` holds the key attributes, which the result is
    /// given if it lacks them. Unlike conditions, an update sees them on a missing item too: there
    /// `SET b = if_not_exists(b, pk)` copies the key. Whether a missing item is created at all is for
    /// [`Update::creates_item`] to say.
    pub fn apply(&self, before: &Item, key: &Item) -> Result<(Item, Vec<Path>), ExpressionError> {
        let mut start = before.clone();
        for (name, value) in key {
            start.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let changes = self.read(&start)?;
        let mut after = start.clone();
        write(&mut after, changes.writes)?;
        remove(&mut after, changes.removals, before)?;
        Ok((after, self.targets().cloned().collect()))
    }

    fn read(&self, before: &Item) -> Result<Changes<'_>, ExpressionError> {
        let mut changes = Changes::default();
        for (path, value) in &self.set {
            let value = evaluate(value, before)?.into_owned();
            changes.write(path, value)?;
        }
        changes.removals.extend(&self.remove);
        let mismatch = if self.legacy {
            TYPE_MISMATCH
        } else {
            INCORRECT_TYPE
        };
        for (path, operand) in &self.add {
            let value = match path.get(before) {
                None => operand.clone(),
                Some(old) => sum(old, operand, self.legacy)?.ok_or_else(|| error(mismatch))?,
            };
            changes.write(path, value)?;
        }
        for (path, operand) in &self.delete {
            match path.get(before) {
                // Nothing to do, but the parent must be there all the same.
                None => changes.removals.push(path),
                Some(old) => match difference(old, operand).ok_or_else(|| error(mismatch))? {
                    None => changes.removals.push(path),
                    Some(value) => changes.write(path, value)?,
                },
            }
        }
        Ok(changes)
    }
}

/// Recurses as deep as the parser let the value nest.
fn value_sources<'a>(value: &'a SetValue, paths: &mut Vec<&'a Path>) {
    match value {
        SetValue::Operand(operand) => operand_sources(operand, paths),
        SetValue::Plus(left, right) | SetValue::Minus(left, right) => {
            operand_sources(left, paths);
            operand_sources(right, paths);
        }
    }
}

fn operand_sources<'a>(operand: &'a SetOperand, paths: &mut Vec<&'a Path>) {
    match operand {
        SetOperand::Path(path) => paths.push(path),
        SetOperand::Value(_) => {}
        SetOperand::IfNotExists(path, otherwise) => {
            paths.push(path);
            operand_sources(otherwise, paths);
        }
        SetOperand::ListAppend(head, tail) => {
            operand_sources(head, paths);
            operand_sources(tail, paths);
        }
        SetOperand::Group(value) => value_sources(value, paths),
    }
}

/// Levels of lists and maps in a value. Values at rest are at most [`NESTING_MAX`] deep, and each
/// update adds at most that, so the recursion is bounded.
fn nesting(value: &Value) -> usize {
    match value {
        Value::L(list) => 1 + list.iter().map(nesting).max().unwrap_or(0),
        Value::M(map) => 1 + map.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}

fn evaluate<'a>(value: &'a SetValue, before: &'a Item) -> Result<Cow<'a, Value>, ExpressionError> {
    let (left, right, combine): (_, _, fn(Number, Number) -> _) = match value {
        SetValue::Operand(operand) => return resolve(operand, before),
        SetValue::Plus(left, right) => (left, right, Number::checked_add),
        SetValue::Minus(left, right) => (left, right, Number::checked_sub),
    };
    match (
        resolve(left, before)?.as_ref(),
        resolve(right, before)?.as_ref(),
    ) {
        (Value::N(left), Value::N(right)) => {
            let result = combine(*left, *right).map_err(|e| ExpressionError(e.to_string()))?;
            Ok(Cow::Owned(Value::N(result)))
        }
        _ => Err(error(INCORRECT_TYPE)),
    }
}

fn resolve<'a>(
    operand: &'a SetOperand,
    before: &'a Item,
) -> Result<Cow<'a, Value>, ExpressionError> {
    match operand {
        SetOperand::Value(value) => Ok(Cow::Borrowed(value)),
        SetOperand::Path(path) => path
            .get(before)
            .map(Cow::Borrowed)
            .ok_or_else(|| error(MISSING_ATTRIBUTE)),
        SetOperand::IfNotExists(path, otherwise) => match path.get(before) {
            Some(value) => Ok(Cow::Borrowed(value)),
            None => resolve(otherwise, before),
        },
        SetOperand::ListAppend(head, tail) => match (
            resolve(head, before)?.as_ref(),
            resolve(tail, before)?.as_ref(),
        ) {
            (Value::L(head), Value::L(tail)) => Ok(Cow::Owned(Value::L(
                head.iter().chain(tail).cloned().collect(),
            ))),
            _ => Err(error(INCORRECT_TYPE)),
        },
        SetOperand::Group(value) => evaluate(value, before),
    }
}

/// ADD: a sum or a union; lists are concatenated for the legacy parameter only. `None` for types that
/// do not go together.
fn sum(old: &Value, operand: &Value, lists: bool) -> Result<Option<Value>, ExpressionError> {
    Ok(match (old, operand) {
        (Value::N(old), Value::N(add)) => Some(Value::N(
            old.checked_add(*add)
                .map_err(|e| ExpressionError(e.to_string()))?,
        )),
        (Value::Ss(old), Value::Ss(add)) => Some(Value::Ss(old | add)),
        (Value::Ns(old), Value::Ns(add)) => Some(Value::Ns(old | add)),
        (Value::Bs(old), Value::Bs(add)) => Some(Value::Bs(old | add)),
        (Value::L(old), Value::L(add)) if lists => {
            Some(Value::L(old.iter().chain(add).cloned().collect()))
        }
        _ => None,
    })
}

/// DELETE: what is left of the set, `Some(None)` when that is nothing. `None` for types that do not go
/// together.
fn difference(old: &Value, operand: &Value) -> Option<Option<Value>> {
    fn rest<T: Ord + Clone>(
        old: &BTreeSet<T>,
        gone: &BTreeSet<T>,
        wrap: fn(BTreeSet<T>) -> Value,
    ) -> Option<Value> {
        let rest = old - gone;
        (!rest.is_empty()).then(|| wrap(rest))
    }
    match (old, operand) {
        (Value::Ss(old), Value::Ss(gone)) => Some(rest(old, gone, Value::Ss)),
        (Value::Ns(old), Value::Ns(gone)) => Some(rest(old, gone, Value::Ns)),
        (Value::Bs(old), Value::Bs(gone)) => Some(rest(old, gone, Value::Bs)),
        _ => None,
    }
}

/// The place a path names inside its container, whether or not something is there.
enum Place<'a> {
    Field(&'a mut BTreeMap<String, Value>, &'a str),
    Element(&'a mut Vec<Value>, usize),
}

/// Finds the container a path ends in; it must exist and be of the right type.
fn place<'a>(item: &'a mut Item, path: &'a Path) -> Result<Place<'a>, ExpressionError> {
    let Some((last, inner)) = path.steps.split_last() else {
        return Ok(Place::Field(item, &path.root));
    };
    let mut value = item
        .get_mut(&path.root)
        .ok_or_else(|| error(INVALID_PATH))?;
    for step in inner {
        let next = match (step, value) {
            (Step::Field(name), Value::M(map)) => map.get_mut(name),
            (Step::Index(index), Value::L(list)) => list.get_mut(*index),
            _ => None,
        };
        value = next.ok_or_else(|| error(INVALID_PATH))?;
    }
    match (last, value) {
        (Step::Field(name), Value::M(map)) => Ok(Place::Field(map, name)),
        (Step::Index(index), Value::L(list)) => Ok(Place::Element(list, *index)),
        _ => Err(error(INVALID_PATH)),
    }
}

/// Sets in place, then appends what was set beyond the end of a list, by ascending index.
fn write(item: &mut Item, writes: Vec<(&Path, Value)>) -> Result<(), ExpressionError> {
    let mut appends: Vec<(&Path, Value)> = Vec::new();
    for (path, value) in writes {
        match place(item, path)? {
            Place::Field(map, name) => {
                map.insert(name.to_string(), value);
            }
            Place::Element(list, index) => match list.get_mut(index) {
                Some(element) => *element = value,
                None => appends.push((path, value)),
            },
        }
    }
    appends.sort_by_key(|(path, _)| *path);
    for (path, value) in appends {
        if let Place::Element(list, _) = place(item, path)? {
            list.push(value);
        }
    }
    Ok(())
}

/// Removes in descending path order: what is inside an element before the element, later elements
/// before earlier ones, so that no removal moves what another names.
fn remove(item: &mut Item, mut paths: Vec<&Path>, before: &Item) -> Result<(), ExpressionError> {
    paths.sort_by(|left, right| right.cmp(left));
    for path in paths {
        match place(item, path) {
            Ok(Place::Field(map, name)) => {
                map.remove(name);
            }
            // An index beyond the old list may by now be that of an appended element.
            Ok(Place::Element(list, index)) => {
                if path.get(before).is_some() && index < list.len() {
                    list.remove(index);
                }
            }
            // DynamoDB lets anything be removed from an item that does not exist.
            Err(_) if before.is_empty() => {}
            Err(invalid) => return Err(invalid),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
