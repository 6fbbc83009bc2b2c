//! The model's conditions: generated as a tree, printed as an expression, evaluated as
//! expressions.md sections 4 and 5 say.

use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::value::{Item, V, member, value};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    At(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    pub(super) root: String,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Path(Path),
    Value(V),
}

#[derive(Clone, Debug)]
pub(super) enum Cond {
    Compare(&'static str, Operand, Operand),
    Size(Path, &'static str, i64),
    Between(Path, Operand, Operand),
    In(Path, Vec<Operand>),
    Exists(Path),
    NotExists(Path),
    Type(Path, &'static str),
    Begins(Path, Operand),
    Contains(Path, Operand),
    And(Box<Cond>, Box<Cond>),
    Or(Box<Cond>, Box<Cond>),
    Not(Box<Cond>),
}

/// Prints the expressions of one request, and collects their placeholders.
#[derive(Default)]
pub(super) struct Printer {
    names: Map<String, Json>,
    values: Map<String, Json>,
}

impl Printer {
    pub(super) fn name(&mut self, name: &str) -> String {
        if matches!(name, "a" | "b") {
            return name.to_owned();
        }
        let placeholder = format!("#n{}", name.bytes().map(usize::from).sum::<usize>());
        self.names.insert(placeholder.clone(), json!(name));
        placeholder
    }

    pub(super) fn path(&mut self, path: &Path) -> String {
        let mut out = self.name(&path.root);
        for step in &path.steps {
            match step {
                Step::Key(name) => {
                    out.push('.');
                    out.push_str(&self.name(name));
                }
                Step::At(at) => out.push_str(&format!("[{at}]")),
            }
        }
        out
    }

    pub(super) fn value(&mut self, value: &V) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value.json());
        placeholder
    }

    pub(super) fn operand(&mut self, operand: &Operand) -> String {
        match operand {
            Operand::Path(path) => self.path(path),
            Operand::Value(value) => self.value(value),
        }
    }

    /// Adds the maps to a request that has an expression.
    pub(super) fn finish(self, request: &mut Map<String, Json>) {
        if !self.names.is_empty() {
            request.insert("ExpressionAttributeNames".into(), Json::Object(self.names));
        }
        if !self.values.is_empty() {
            request.insert(
                "ExpressionAttributeValues".into(),
                Json::Object(self.values),
            );
        }
    }
}

impl Path {
    pub(super) fn of(root: &str) -> Path {
        Path {
            root: root.to_owned(),
            steps: Vec::new(),
        }
    }

    pub(super) fn get<'i>(&self, item: &'i Item) -> Option<&'i V> {
        let mut value = item.get(&self.root)?;
        for step in &self.steps {
            value = match (step, value) {
                (Step::Key(name), V::M(map)) => map.get(name)?,
                (Step::At(at), V::L(list)) => list.get(*at)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// How error messages show a path.
    pub(super) fn shown(&self) -> String {
        let mut parts = vec![self.root.clone()];
        for step in &self.steps {
            parts.push(match step {
                Step::Key(name) => name.clone(),
                Step::At(at) => format!("[{at}]"),
            });
        }
        format!("[{}]", parts.join(", "))
    }
}

impl Operand {
    fn get<'i>(&'i self, item: &'i Item) -> Option<&'i V> {
        match self {
            Operand::Path(path) => path.get(item),
            Operand::Value(value) => Some(value),
        }
    }
}

fn compare(op: &str, left: Option<&V>, right: Option<&V>) -> bool {
    if op == "<>" {
        return left.is_none() || right.is_none() || left != right;
    }
    let (Some(left), Some(right)) = (left, right) else {
        return false;
    };
    if op == "=" {
        return left == right;
    }
    left.order(right).is_some_and(|order| match op {
        "<" => order == Ordering::Less,
        "<=" => order != Ordering::Greater,
        ">" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

fn size_of(value: &V) -> Option<usize> {
    Some(match value {
        V::S(s) => s.chars().count(),
        V::B(b) => b.len(),
        V::Ss(set) => set.len(),
        V::Ns(set) => set.len(),
        V::Bs(set) => set.len(),
        V::L(list) => list.len(),
        V::M(map) => map.len(),
        V::N(_) | V::Bool(_) | V::Null => return None,
    })
}

fn contains(whole: &V, part: &V) -> bool {
    match (whole, part) {
        (V::S(s), V::S(t)) => s.contains(t.as_str()),
        (V::B(b), V::B(c)) => c.is_empty() || b.windows(c.len()).any(|w| w == c.as_slice()),
        (V::Ss(set), V::S(t)) => set.contains(t),
        (V::Ns(set), V::N(n)) => set.contains(n),
        (V::Bs(set), V::B(b)) => set.contains(b),
        (V::L(list), any) => list.contains(any),
        _ => false,
    }
}

impl Cond {
    pub(super) fn holds(&self, item: &Item) -> bool {
        match self {
            Cond::Compare(op, left, right) => compare(op, left.get(item), right.get(item)),
            Cond::Size(path, op, n) => {
                let size = path.get(item).and_then(size_of);
                size.is_some_and(|size| compare(op, Some(&V::N(size as i64)), Some(&V::N(*n))))
            }
            Cond::Between(path, low, high) => {
                let value = path.get(item);
                compare(">=", value, low.get(item)) && compare("<=", value, high.get(item))
            }
            Cond::In(path, list) => list
                .iter()
                .any(|other| compare("=", path.get(item), other.get(item))),
            Cond::Exists(path) => path.get(item).is_some(),
            Cond::NotExists(path) => path.get(item).is_none(),
            Cond::Type(path, tag) => path.get(item).is_some_and(|v| v.tag() == *tag),
            Cond::Begins(path, prefix) => match (path.get(item), prefix.get(item)) {
                (Some(V::S(s)), Some(V::S(p))) => s.starts_with(p.as_str()),
                (Some(V::B(b)), Some(V::B(p))) => b.starts_with(p),
                _ => false,
            },
            Cond::Contains(path, part) => match (path.get(item), part.get(item)) {
                (Some(whole), Some(part)) => contains(whole, part),
                _ => false,
            },
            Cond::And(a, b) => a.holds(item) && b.holds(item),
            Cond::Or(a, b) => a.holds(item) || b.holds(item),
            Cond::Not(a) => !a.holds(item),
        }
    }

    pub(super) fn print(&self, out: &mut Printer) -> String {
        match self {
            Cond::Compare(op, left, right) => {
                format!("{} {op} {}", out.operand(left), out.operand(right))
            }
            Cond::Size(path, op, n) => {
                format!("size({}) {op} {}", out.path(path), out.value(&V::N(*n)))
            }
            Cond::Between(path, low, high) => format!(
                "{} BETWEEN {} and {}",
                out.path(path),
                out.operand(low),
                out.operand(high)
            ),
            Cond::In(path, list) => {
                let path = out.path(path);
                let list: Vec<_> = list.iter().map(|o| out.operand(o)).collect();
                format!("{path} IN ({})", list.join(","))
            }
            Cond::Exists(path) => format!("attribute_exists({})", out.path(path)),
            Cond::NotExists(path) => format!("attribute_not_exists ( {} )", out.path(path)),
            Cond::Type(path, tag) => format!(
                "attribute_type({}, {})",
                out.path(path),
                out.value(&V::S((*tag).into()))
            ),
            Cond::Begins(path, prefix) => {
                format!("begins_with({}, {})", out.path(path), out.operand(prefix))
            }
            Cond::Contains(path, part) => {
                format!("contains({}, {})", out.path(path), out.operand(part))
            }
            Cond::And(a, b) => format!("({}) AND ({})", a.print(out), b.print(out)),
            Cond::Or(a, b) => format!("({}) or ({})", a.print(out), b.print(out)),
            Cond::Not(a) => format!("NOT ({})", a.print(out)),
        }
    }

    /// The top-level attributes it names.
    pub(super) fn roots(&self) -> Vec<&str> {
        fn of(operand: &Operand) -> Option<&str> {
            match operand {
                Operand::Path(path) => Some(&path.root),
                Operand::Value(_) => None,
            }
        }
        match self {
            Cond::Compare(_, a, b) => of(a).into_iter().chain(of(b)).collect(),
            Cond::Between(p, a, b) => {
                let first = Some(p.root.as_str());
                [first, of(a), of(b)].into_iter().flatten().collect()
            }
            Cond::In(p, list) => {
                let rest = list.iter().filter_map(of);
                [p.root.as_str()].into_iter().chain(rest).collect()
            }
            Cond::Begins(p, o) | Cond::Contains(p, o) => [Some(p.root.as_str()), of(o)]
                .into_iter()
                .flatten()
                .collect(),
            Cond::Size(p, ..) | Cond::Exists(p) | Cond::NotExists(p) | Cond::Type(p, _) => {
                vec![&p.root]
            }
            Cond::And(a, b) | Cond::Or(a, b) => a.roots().into_iter().chain(b.roots()).collect(),
            Cond::Not(a) => a.roots(),
        }
    }

    /// The messages, less `Invalid {Kind}: `, of what is wrong with the expression itself. Which of several
    /// DynamoDB names first is its own affair.
    pub(super) fn faults(&self, faults: &mut Vec<String>) {
        let mut distinct = |op: &str, first: &Path, rest: &[&Operand]| {
            if rest.contains(&&Operand::Path(first.clone())) {
                faults.push(format!(
                    "The first operand must be distinct from the remaining operands for this operator or function; \
                     operator: {op}, first operand: {}",
                    first.shown()
                ));
            }
        };
        match self {
            Cond::Compare(op, left, right) => {
                if let Operand::Path(path) = left {
                    distinct(op, path, &[right]);
                }
                if !matches!(*op, "=" | "<>") {
                    ordered(op, [left, right], faults);
                }
            }
            Cond::Between(path, low, high) => {
                distinct("BETWEEN", path, &[low, high]);
                ordered("BETWEEN", [low, high], faults);
                if let (Operand::Value(low), Operand::Value(high)) = (low, high) {
                    bounds(low, high, faults);
                }
            }
            Cond::In(path, list) => distinct("IN", path, &list.iter().collect::<Vec<_>>()),
            Cond::Begins(path, prefix) => {
                distinct("begins_with", path, &[prefix]);
                if let Operand::Value(value) = prefix
                    && !matches!(value, V::S(_) | V::B(_))
                {
                    faults.push(wrong_type("begins_with", value.tag()));
                }
            }
            Cond::Contains(path, part) => distinct("contains", path, &[part]),
            Cond::And(a, b) | Cond::Or(a, b) => {
                a.faults(faults);
                b.faults(faults);
            }
            Cond::Not(a) => a.faults(faults),
            Cond::Size(..) | Cond::Exists(_) | Cond::NotExists(_) | Cond::Type(..) => {}
        }
    }
}

fn ordered(op: &str, operands: [&Operand; 2], faults: &mut Vec<String>) {
    for operand in operands {
        if let Operand::Value(value) = operand
            && !value.is_scalar()
        {
            faults.push(wrong_type(op, value.tag()));
        }
    }
}

pub(super) fn wrong_type(op: &str, tag: &str) -> String {
    format!(
        "Incorrect operand type for operator or function; operator or function: {op}, operand type: {tag}"
    )
}

/// What is wrong with the literal bounds of a BETWEEN.
pub(super) fn bounds(low: &V, high: &V, faults: &mut Vec<String>) {
    let rule = if low.tag() != high.tag() {
        "same data type for lower and upper bounds"
    } else if low.order(high) == Some(Ordering::Greater) {
        "upper bound to be greater than or equal to lower bound"
    } else {
        return;
    };
    let shown = |v: &V| match v {
        V::S(s) => format!("{{S:{s}}}"),
        V::N(n) => format!("{{N:{n}}}"),
        other => format!("{{{}:*", other.tag()),
    };
    faults.push(format!(
        "The BETWEEN operator requires {rule}; lower bound operand: AttributeValue: {}, upper bound operand: \
         AttributeValue: {}",
        shown(low),
        shown(high)
    ));
}

// --- what is generated ----------------------------------------------------------------------------------

/// A path below an attribute that is no key.
pub(super) fn path() -> BoxedStrategy<Path> {
    let root = prop::sample::select(vec!["a", "b", "c", "x y"]).prop_map(str::to_owned);
    let step = prop_oneof![member().prop_map(Step::Key), (0usize..4).prop_map(Step::At)];
    let steps = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(step, 1..3)];
    (root, steps)
        .prop_map(|(root, steps)| Path { root, steps })
        .boxed()
}

/// A path in a condition: also a whole attribute that may be a key.
fn any_path() -> BoxedStrategy<Path> {
    let keys = prop::sample::select(vec!["pk", "sk", "g", "h", "l"]);
    prop_oneof![8 => path(), 1 => keys.prop_map(Path::of)].boxed()
}

fn operand() -> BoxedStrategy<Operand> {
    prop_oneof![
        1 => any_path().prop_map(Operand::Path),
        3 => value().prop_map(Operand::Value),
    ]
    .boxed()
}

fn comparator() -> BoxedStrategy<&'static str> {
    prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]).boxed()
}

pub(super) fn condition() -> BoxedStrategy<Cond> {
    let tags = vec!["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"];
    let orders = prop::sample::select(vec!["=", "<", "<=", ">", ">="]);
    let path_first = (comparator(), any_path(), operand())
        .prop_map(|(op, a, b)| Cond::Compare(op, Operand::Path(a), b));
    let value_first = (comparator(), value(), any_path())
        .prop_map(|(op, a, b)| Cond::Compare(op, Operand::Value(a), Operand::Path(b)));
    let leaf = prop_oneof![
        6 => path_first,
        1 => value_first,
        1 => (any_path(), orders, 0i64..5).prop_map(|(p, op, n)| Cond::Size(p, op, n)),
        1 => (any_path(), operand(), operand()).prop_map(|(p, a, b)| Cond::Between(p, a, b)),
        1 => (any_path(), -3i64..8, -3i64..8)
            .prop_map(|(p, a, b)| Cond::Between(p, Operand::Value(V::N(a)), Operand::Value(V::N(b)))),
        1 => (any_path(), prop::collection::vec(operand(), 1..4)).prop_map(|(p, l)| Cond::In(p, l)),
        2 => any_path().prop_map(Cond::Exists),
        2 => any_path().prop_map(Cond::NotExists),
        1 => (any_path(), prop::sample::select(tags)).prop_map(|(p, t)| Cond::Type(p, t)),
        1 => (any_path(), operand()).prop_map(|(p, o)| Cond::Begins(p, o)),
        2 => (any_path(), operand()).prop_map(|(p, o)| Cond::Contains(p, o)),
    ];
    leaf.prop_recursive(3, 6, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone()
                .prop_map(|(a, b)| Cond::And(Box::new(a), Box::new(b))),
            pair.prop_map(|(a, b)| Cond::Or(Box::new(a), Box::new(b))),
            inner.prop_map(|a| Cond::Not(Box::new(a))),
        ]
    })
    .boxed()
}
