//! The model's updates and projections (expressions.md sections 7 and 8).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::condition::{Path, Printer, Step, path, wrong_type};
use super::value::{Item, V, member, value};

#[derive(Clone, Debug)]
pub(super) enum Source {
    Path(Path),
    Value(V),
    IfNotExists(Path, Box<Source>),
}

#[derive(Clone, Debug)]
pub(super) enum Right {
    Only(Source),
    Plus(Source, Source),
    Minus(Source, Source),
    Append(Source, Source),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Update {
    pub(super) set: Vec<(Path, Right)>,
    pub(super) remove: Vec<Path>,
    pub(super) add: Vec<(Path, V)>,
    pub(super) delete: Vec<(Path, V)>,
}

const INCORRECT_TYPE: &str = "An operand in the update expression has an incorrect data type";
const INVALID_PATH: &str =
    "The document path provided in the update expression is invalid for update";
const MISSING: &str =
    "The provided expression refers to an attribute that does not exist in the item";

impl Source {
    fn print(&self, out: &mut Printer) -> String {
        match self {
            Source::Path(path) => out.path(path),
            Source::Value(value) => out.value(value),
            Source::IfNotExists(path, other) => {
                format!("if_not_exists({}, {})", out.path(path), other.print(out))
            }
        }
    }

    fn get(&self, item: &Item) -> Result<V, &'static str> {
        match self {
            Source::Path(path) => path.get(item).cloned().ok_or(MISSING),
            Source::Value(value) => Ok(value.clone()),
            Source::IfNotExists(path, other) => match path.get(item) {
                Some(value) => Ok(value.clone()),
                None => other.get(item),
            },
        }
    }

    fn literal(&self) -> Option<&V> {
        match self {
            Source::Value(value) => Some(value),
            _ => None,
        }
    }
}

impl Right {
    fn print(&self, out: &mut Printer) -> String {
        match self {
            Right::Only(a) => a.print(out),
            Right::Plus(a, b) => format!("{} + {}", a.print(out), b.print(out)),
            Right::Minus(a, b) => format!("{} - {}", a.print(out), b.print(out)),
            Right::Append(a, b) => format!("list_append({}, {})", a.print(out), b.print(out)),
        }
    }

    /// The value, or everything that may be said to be wrong.
    fn get(&self, item: &Item) -> Result<V, Vec<&'static str>> {
        let both = |a: &Source, b: &Source| -> Result<(V, V), Vec<&'static str>> {
            match (a.get(item), b.get(item)) {
                (Ok(a), Ok(b)) => Ok((a, b)),
                (a, b) => Err([a.err(), b.err()]
                    .into_iter()
                    .flatten()
                    .chain([INCORRECT_TYPE])
                    .collect()),
            }
        };
        match self {
            Right::Only(a) => a.get(item).map_err(|e| vec![e]),
            Right::Plus(a, b) => match both(a, b)? {
                (V::N(a), V::N(b)) => Ok(V::N(a + b)),
                _ => Err(vec![INCORRECT_TYPE]),
            },
            Right::Minus(a, b) => match both(a, b)? {
                (V::N(a), V::N(b)) => Ok(V::N(a - b)),
                _ => Err(vec![INCORRECT_TYPE]),
            },
            Right::Append(a, b) => match both(a, b)? {
                (V::L(a), V::L(b)) => Ok(V::L(a.into_iter().chain(b).collect())),
                _ => Err(vec![INCORRECT_TYPE]),
            },
        }
    }

    fn faults(&self, faults: &mut Vec<String>) {
        let (op, tag, a, b) = match self {
            Right::Only(_) => return,
            Right::Plus(a, b) => ("+", "N", a, b),
            Right::Minus(a, b) => ("-", "N", a, b),
            Right::Append(a, b) => ("list_append", "L", a, b),
        };
        for literal in [a, b].into_iter().filter_map(Source::literal) {
            if literal.tag() != tag {
                faults.push(wrong_type(op, literal.tag()));
            }
        }
    }
}

impl Update {
    pub(super) fn is_empty(&self) -> bool {
        self.targets().is_empty()
    }

    pub(super) fn targets(&self) -> Vec<&Path> {
        let set = self.set.iter().map(|(p, _)| p);
        let add = self.add.iter().map(|(p, _)| p);
        let delete = self.delete.iter().map(|(p, _)| p);
        set.chain(&self.remove).chain(add).chain(delete).collect()
    }

    /// An update that only removes makes nothing of nothing.
    pub(super) fn creates(&self) -> bool {
        !self.set.is_empty() || !self.add.is_empty() || self.is_empty()
    }

    pub(super) fn print(&self, out: &mut Printer) -> String {
        let mut clauses = Vec::new();
        let mut clause = |name: &str, parts: Vec<String>| {
            if !parts.is_empty() {
                clauses.push(format!("{name} {}", parts.join(", ")));
            }
        };
        let set = self.set.iter();
        let set = set
            .map(|(p, r)| format!("{} = {}", out.path(p), r.print(out)))
            .collect();
        clause("SET", set);
        clause("remove", self.remove.iter().map(|p| out.path(p)).collect());
        let add = self.add.iter();
        clause(
            "ADD",
            add.map(|(p, v)| format!("{} {}", out.path(p), out.value(v)))
                .collect(),
        );
        let delete = self.delete.iter();
        let delete = delete
            .map(|(p, v)| format!("{} {}", out.path(p), out.value(v)))
            .collect();
        clause("DELETE", delete);
        clauses.join(" ")
    }

    /// What is wrong with the expression itself, less `Invalid UpdateExpression: `.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (_, right) in &self.set {
            right.faults(&mut faults);
        }
        for (op, list) in [("ADD", &self.add), ("DELETE", &self.delete)] {
            for (_, value) in list {
                let legal = matches!(value, V::Ss(_) | V::Ns(_) | V::Bs(_))
                    || op == "ADD" && matches!(value, V::N(_));
                if !legal {
                    faults.push(format!(
                        "Incorrect operand type for operator or function; operator: {op}, operand type: {}",
                        long_name(value)
                    ));
                }
            }
        }
        clashes(&self.targets(), &mut faults);
        faults
    }

    /// The item after the update, or the messages of which one is said.
    pub(super) fn apply(
        &self,
        before: Option<&Item>,
        key: &Item,
    ) -> Result<Item, Vec<&'static str>> {
        let mut item = before.cloned().unwrap_or_default();
        item.extend(key.clone());
        let mut faults = Vec::new();
        let mut writes = Vec::new();
        let mut removals: Vec<&Path> = self.remove.iter().collect();
        for (path, right) in &self.set {
            match right.get(&item) {
                Ok(value) => writes.push((path, value)),
                Err(wrong) => faults.extend(wrong),
            }
        }
        for (path, operand) in &self.add {
            match path.get(&item) {
                None => writes.push((path, operand.clone())),
                Some(old) => match sum(old, operand) {
                    Some(value) => writes.push((path, value)),
                    None => faults.push(INCORRECT_TYPE),
                },
            }
        }
        for (path, operand) in &self.delete {
            match path.get(&item) {
                None => removals.push(path),
                Some(old) => match difference(old, operand) {
                    Some(Some(value)) => writes.push((path, value)),
                    Some(None) => removals.push(path),
                    None => faults.push(INCORRECT_TYPE),
                },
            }
        }
        for path in writes
            .iter()
            .map(|(path, _)| *path)
            .chain(removals.iter().copied())
        {
            let removes = removals.iter().any(|r| r == &path);
            let accepted = has_parent(path, &item) || (removes && before.is_none());
            if !accepted {
                faults.push(INVALID_PATH);
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        // Elements beyond a list's end in the order of their indexes; removals from the back.
        writes.sort_by_key(|(path, _)| (*path).clone());
        removals.sort();
        for (path, value) in writes {
            put(path, value, &mut item);
        }
        for path in removals.into_iter().rev() {
            take(path, &mut item);
        }
        Ok(item)
    }
}

fn long_name(value: &V) -> &'static str {
    match value {
        V::S(_) => "STRING",
        V::N(_) => "NUMBER",
        V::B(_) => "BINARY",
        V::Bool(_) => "BOOLEAN",
        V::Null => "NULL",
        V::L(_) => "LIST",
        V::M(_) => "MAP",
        _ => "*",
    }
}

fn sum(old: &V, add: &V) -> Option<V> {
    Some(match (old, add) {
        (V::N(a), V::N(b)) => V::N(a + b),
        (V::Ss(a), V::Ss(b)) => V::Ss(a | b),
        (V::Ns(a), V::Ns(b)) => V::Ns(a | b),
        (V::Bs(a), V::Bs(b)) => V::Bs(a | b),
        _ => return None,
    })
}

/// The outer `None` = types differ, the inner = nothing is left.
fn difference(old: &V, less: &V) -> Option<Option<V>> {
    Some(match (old, less) {
        (V::Ss(a), V::Ss(b)) => Some(a - b).filter(|s| !s.is_empty()).map(V::Ss),
        (V::Ns(a), V::Ns(b)) => Some(a - b).filter(|s| !s.is_empty()).map(V::Ns),
        (V::Bs(a), V::Bs(b)) => Some(a - b).filter(|s| !s.is_empty()).map(V::Bs),
        _ => return None,
    })
}

fn parent<'i>(path: &Path, item: &'i mut Item) -> Option<&'i mut V> {
    let (_, above) = path.steps.split_last()?;
    let mut value = item.get_mut(&path.root)?;
    for step in above {
        value = match (step, value) {
            (Step::Key(name), V::M(map)) => map.get_mut(name)?,
            (Step::At(at), V::L(list)) => list.get_mut(*at)?,
            _ => return None,
        };
    }
    Some(value)
}

fn has_parent(path: &Path, item: &Item) -> bool {
    let Some((last, above)) = path.steps.split_last() else {
        return true;
    };
    let above = Path {
        root: path.root.clone(),
        steps: above.to_vec(),
    };
    matches!(
        (last, above.get(item)),
        (Step::Key(_), Some(V::M(_))) | (Step::At(_), Some(V::L(_)))
    )
}

fn put(path: &Path, value: V, item: &mut Item) {
    let Some(last) = path.steps.last() else {
        item.insert(path.root.clone(), value);
        return;
    };
    match (last, parent(path, item)) {
        (Step::Key(name), Some(V::M(map))) => drop(map.insert(name.clone(), value)),
        (Step::At(at), Some(V::L(list))) => match list.get_mut(*at) {
            Some(place) => *place = value,
            None => list.push(value),
        },
        _ => panic!("the parent of {path:?} was there"),
    }
}

fn take(path: &Path, item: &mut Item) {
    let Some(last) = path.steps.last() else {
        item.remove(&path.root);
        return;
    };
    match (last, parent(path, item)) {
        (Step::Key(name), Some(V::M(map))) => drop(map.remove(name)),
        (Step::At(at), Some(V::L(list))) if *at < list.len() => drop(list.remove(*at)),
        _ => {}
    }
}

/// Overlaps and conflicts of paths, each way round.
pub(super) fn clashes(paths: &[&Path], faults: &mut Vec<String>) {
    for (position, one) in paths.iter().enumerate() {
        for other in &paths[position + 1..] {
            let Some(clash) = clash(one, other) else {
                continue;
            };
            for (one, two) in [(one, other), (other, one)] {
                faults.push(format!(
                    "Two document paths {clash} with each other; must remove or rewrite one of these paths; path \
                     one: {}, path two: {}",
                    one.shown(),
                    two.shown()
                ));
            }
        }
    }
}

fn clash(one: &Path, other: &Path) -> Option<&'static str> {
    if one.root != other.root {
        return None;
    }
    for (a, b) in one.steps.iter().zip(&other.steps) {
        match (a, b) {
            (Step::Key(_), Step::At(_)) | (Step::At(_), Step::Key(_)) => return Some("conflict"),
            _ if a != b => return None,
            _ => {}
        }
    }
    Some("overlap")
}

/// The parts of an item that the paths select, under their original structure.
pub(super) fn select<'p>(paths: impl IntoIterator<Item = &'p Path>, item: &Item) -> Item {
    let mut roots: BTreeMap<&str, Vec<&[Step]>> = BTreeMap::new();
    for path in paths {
        roots.entry(&path.root).or_default().push(&path.steps);
    }
    roots
        .into_iter()
        .filter_map(|(root, paths)| Some((root.to_owned(), pick(item.get(root)?, &paths)?)))
        .collect()
}

fn pick(value: &V, paths: &[&[Step]]) -> Option<V> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    let below = |step: &Step| -> Vec<&[Step]> {
        let matching = paths.iter().filter(|p| p.first() == Some(step));
        matching.map(|p| &p[1..]).collect()
    };
    match value {
        V::M(map) => {
            let parts = map.iter().filter_map(|(name, inner)| {
                let paths = below(&Step::Key(name.clone()));
                Some((name.clone(), pick(inner, &paths)?))
            });
            Some(parts.collect::<Item>())
                .filter(|m| !m.is_empty())
                .map(V::M)
        }
        V::L(list) => {
            let parts = list.iter().enumerate();
            let parts = parts.filter_map(|(at, inner)| pick(inner, &below(&Step::At(at))));
            Some(parts.collect::<Vec<_>>())
                .filter(|l| !l.is_empty())
                .map(V::L)
        }
        _ => None,
    }
}

// --- what is generated ----------------------------------------------------------------------------------

fn source() -> BoxedStrategy<Source> {
    let simple = prop_oneof![
        2 => path().prop_map(Source::Path),
        1 => Just(Source::Path(Path::of("pk"))),
        5 => value().prop_map(Source::Value),
    ];
    prop_oneof![
        5 => simple.clone(),
        1 => (path(), simple).prop_map(|(p, s)| Source::IfNotExists(p, Box::new(s))),
    ]
    .boxed()
}

fn number() -> BoxedStrategy<Source> {
    prop_oneof![
        (-3i64..9).prop_map(|n| Source::Value(V::N(n))),
        path().prop_map(Source::Path),
        (path(), -3i64..9)
            .prop_map(|(p, n)| Source::IfNotExists(p, Box::new(Source::Value(V::N(n))))),
    ]
    .boxed()
}

fn list() -> BoxedStrategy<Source> {
    prop_oneof![
        prop::collection::vec(value(), 0..2).prop_map(|l| Source::Value(V::L(l))),
        path().prop_map(Source::Path),
    ]
    .boxed()
}

fn right() -> BoxedStrategy<Right> {
    prop_oneof![
        6 => source().prop_map(Right::Only),
        2 => (number(), number()).prop_map(|(a, b)| Right::Plus(a, b)),
        1 => (number(), number()).prop_map(|(a, b)| Right::Minus(a, b)),
        1 => (list(), list()).prop_map(|(a, b)| Right::Append(a, b)),
        1 => (source(), source()).prop_map(|(a, b)| Right::Plus(a, b)),
    ]
    .boxed()
}

/// What ADD and DELETE take, mostly.
fn operand() -> BoxedStrategy<V> {
    prop_oneof![
        2 => (-2i64..4).prop_map(V::N),
        1 => prop::collection::btree_set(-1i64..4, 1..3).prop_map(V::Ns),
        1 => prop::collection::btree_set(member(), 1..3).prop_map(V::Ss),
        1 => value(),
    ]
    .boxed()
}

pub(super) fn update() -> BoxedStrategy<Update> {
    let target = || {
        let key = prop::sample::select(vec!["pk", "sk", "g", "h", "l"]);
        prop_oneof![14 => path(), 2 => key.prop_map(Path::of)]
    };
    let set = prop::collection::vec((target(), right()), 0..4);
    let remove = prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(target(), 1..3)];
    let one = || prop::collection::vec((target(), operand()), 1..2);
    let add = prop_oneof![2 => Just(vec![]), 1 => one()];
    let delete = prop_oneof![3 => Just(vec![]), 1 => one()];
    (set, remove, add, delete)
        .prop_map(|(set, remove, add, delete)| Update {
            set,
            remove,
            add,
            delete,
        })
        .boxed()
}
