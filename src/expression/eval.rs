//! Paths and conditions evaluated on items (expressions.md section 5).
//!
//! Evaluation never fails: whatever an item holds, a condition is true or false. Mistakes that can be
//! seen without the item were refused by the parser.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use super::ast::{Comparator, Condition, Operand, Path, Step};
use crate::item::{Item, Number, Value};

impl Path {
    /// The path of a whole top-level attribute; dots in `name` are literal.
    pub fn attribute(name: impl Into<String>) -> Self {
        Path {
            root: name.into(),
            steps: Vec::new(),
        }
    }

    /// The value at this path. A field of anything but a map, or an element of anything but a list, is
    /// missing rather than wrong.
    pub fn get<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        let root = item.get(&self.root)?;
        self.steps
            .iter()
            .try_fold(root, |value, step| step.of(value))
    }
}

impl Step {
    /// One step into a value.
    pub(super) fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match (self, value) {
            (Step::Field(name), Value::M(map)) => map.get(name),
            (Step::Index(index), Value::L(list)) => list.get(*index),
            _ => None,
        }
    }
}

/// The notation of DynamoDB's messages: `[a, b, [0]]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.root)?;
        for step in &self.steps {
            match step {
                Step::Field(name) => write!(f, ", {name}")?,
                Step::Index(index) => write!(f, ", [{index}]")?,
            }
        }
        f.write_str("]")
    }
}

impl Operand {
    /// The operand's value on an item; `None` when a path or the subject of `size` is missing.
    fn of<'a>(&'a self, item: &'a Item) -> Option<Cow<'a, Value>> {
        match self {
            Operand::Path(path) => path.get(item).map(Cow::Borrowed),
            Operand::Value(value) => Some(Cow::Borrowed(value)),
            Operand::Size(inner) => {
                let size = size(inner.of(item)?.as_ref())?;
                let size = i64::try_from(size).unwrap_or(i64::MAX);
                Some(Cow::Owned(Value::N(Number::from(size))))
            }
        }
    }

    fn paths<'a>(&'a self, out: &mut Vec<&'a Path>) {
        match self {
            Operand::Path(path) => out.push(path),
            Operand::Value(_) => {}
            Operand::Size(inner) => inner.paths(out),
        }
    }
}

impl Condition {
    /// Whether the item satisfies the condition. A missing item is an empty one.
    ///
    /// Recurses once per level of the tree; the parser bounds the depth, and the legacy parameters
    /// build balanced trees.
    pub fn matches(&self, item: &Item) -> bool {
        match self {
            Condition::And(left, right) => left.matches(item) && right.matches(item),
            Condition::Or(left, right) => left.matches(item) || right.matches(item),
            Condition::Not(inner) => !inner.matches(item),
            Condition::Exists(path) => path.get(item).is_some(),
            Condition::NotExists(path) => path.get(item).is_none(),
            _ => self.holds(item).unwrap_or(false),
        }
    }

    /// The leaves that compare operands. `None` when an operand is missing, which is false.
    fn holds(&self, item: &Item) -> Option<bool> {
        Some(match self {
            Condition::Compare { left, op, right } => {
                let (left, right) = (left.of(item), right.of(item));
                compare(left.as_deref(), *op, right.as_deref())
            }
            Condition::Between { value, low, high } => {
                let value = value.of(item)?;
                order(&value, low.of(item)?.as_ref())?.is_ge()
                    && order(&value, high.of(item)?.as_ref())?.is_le()
            }
            Condition::In { value, list } => {
                let value = value.of(item)?;
                list.iter().any(|candidate| {
                    candidate
                        .of(item)
                        .is_some_and(|candidate| candidate == value)
                })
            }
            Condition::HasType(operand, name) => operand.of(item)?.type_name() == name,
            Condition::BeginsWith(operand, prefix) => {
                begins_with(operand.of(item)?.as_ref(), prefix.of(item)?.as_ref())
            }
            Condition::Contains(operand, part) => {
                contains(operand.of(item)?.as_ref(), part.of(item)?.as_ref())
            }
            Condition::And(..)
            | Condition::Or(..)
            | Condition::Not(_)
            | Condition::Exists(_)
            | Condition::NotExists(_) => self.matches(item),
        })
    }

    /// Every path of the condition, in no particular order and with repeats.
    pub fn paths(&self) -> Vec<&Path> {
        let mut out = Vec::new();
        self.collect_paths(&mut out);
        out
    }

    /// The top-level attributes the condition names: what key checks and policies look at.
    pub fn attributes(&self) -> BTreeSet<&str> {
        self.paths()
            .into_iter()
            .map(|path| path.root.as_str())
            .collect()
    }

    fn collect_paths<'a>(&'a self, out: &mut Vec<&'a Path>) {
        match self {
            Condition::Compare { left, right, .. } => {
                left.paths(out);
                right.paths(out);
            }
            Condition::Between { value, low, high } => {
                value.paths(out);
                low.paths(out);
                high.paths(out);
            }
            Condition::In { value, list } => {
                value.paths(out);
                for operand in list {
                    operand.paths(out);
                }
            }
            Condition::Exists(path) | Condition::NotExists(path) => out.push(path),
            Condition::HasType(operand, _) => operand.paths(out),
            Condition::BeginsWith(left, right) | Condition::Contains(left, right) => {
                left.paths(out);
                right.paths(out);
            }
            Condition::And(left, right) | Condition::Or(left, right) => {
                left.collect_paths(out);
                right.collect_paths(out);
            }
            Condition::Not(inner) => inner.collect_paths(out),
        }
    }
}

/// The order of two values, for the types that have one: S, N and B, each among itself.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::S(left), Value::S(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Value::N(left), Value::N(right)) => Some(left.cmp(right)),
        (Value::B(left), Value::B(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// `<>` is true, and every other comparison false, as soon as a side is missing.
fn compare(left: Option<&Value>, op: Comparator, right: Option<&Value>) -> bool {
    let (Some(left), Some(right)) = (left, right) else {
        return op == Comparator::Ne;
    };
    let ordered = |test: fn(Ordering) -> bool| order(left, right).is_some_and(test);
    match op {
        Comparator::Eq => left == right,
        Comparator::Ne => left != right,
        Comparator::Lt => ordered(Ordering::is_lt),
        Comparator::Le => ordered(Ordering::is_le),
        Comparator::Gt => ordered(Ordering::is_gt),
        Comparator::Ge => ordered(Ordering::is_ge),
    }
}

/// `size`: code points of a string, bytes of a binary, entries of a container.
fn size(value: &Value) -> Option<usize> {
    match value {
        Value::S(text) => Some(text.chars().count()),
        Value::B(bytes) => Some(bytes.len()),
        Value::Ss(set) => Some(set.len()),
        Value::Ns(set) => Some(set.len()),
        Value::Bs(set) => Some(set.len()),
        Value::L(list) => Some(list.len()),
        Value::M(map) => Some(map.len()),
        Value::N(_) | Value::Bool(_) | Value::Null => None,
    }
}

fn begins_with(value: &Value, prefix: &Value) -> bool {
    match (value, prefix) {
        (Value::S(value), Value::S(prefix)) => value.starts_with(prefix.as_str()),
        (Value::B(value), Value::B(prefix)) => value.starts_with(prefix),
        _ => false,
    }
}

/// Substring, sub-bytes or membership, by the type of `value`.
fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::S(value), Value::S(part)) => value.contains(part.as_str()),
        (Value::B(value), Value::B(part)) => contains_bytes(value, part),
        (Value::Ss(set), Value::S(part)) => set.contains(part),
        (Value::Ns(set), Value::N(part)) => set.contains(part),
        (Value::Bs(set), Value::B(part)) => set.contains(part),
        (Value::L(list), part) => list.contains(part),
        _ => false,
    }
}

fn contains_bytes(value: &[u8], part: &[u8]) -> bool {
    part.is_empty() || value.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn n(number: i64) -> Value {
        Value::N(Number::from(number))
    }

    fn s(text: &str) -> Value {
        Value::S(text.into())
    }

    fn at(root: &str, steps: &[Step]) -> Path {
        Path {
            root: root.into(),
            steps: steps.to_vec(),
        }
    }

    fn name(root: &str) -> Operand {
        Operand::Path(Path::attribute(root))
    }

    fn item() -> Item {
        let map = Value::M(
            [
                ("x".to_string(), n(5)),
                ("l".to_string(), Value::L(vec![n(1), s("two")])),
            ]
            .into(),
        );
        Item::from([
            ("n".into(), n(2)),
            ("s".into(), s("hello")),
            ("b".into(), Value::B(vec![127, 128])),
            (
                "ss".into(),
                Value::Ss(["dog".to_string(), "cat".to_string()].into()),
            ),
            (
                "ns".into(),
                Value::Ns([Number::from(1), Number::from(4)].into()),
            ),
            ("bs".into(), Value::Bs([vec![1u8, 2]].into())),
            (
                "l".into(),
                Value::L(vec![n(1), s("two"), Value::L(vec![n(3)])]),
            ),
            ("m".into(), map),
            ("null".into(), Value::Null),
            ("bool".into(), Value::Bool(true)),
        ])
    }

    fn cmp(left: Operand, op: Comparator, right: Operand) -> bool {
        Condition::Compare { left, op, right }.matches(&item())
    }

    #[test]
    fn paths_step_into_maps_and_lists_only() {
        let item = item();
        let deep = at("m", &[Step::Field("l".into()), Step::Index(1)]);
        assert_eq!(deep.get(&item), Some(&s("two")));
        assert_eq!(deep.to_string(), "[m, l, [1]]");
        assert_eq!(Path::attribute("a.b").to_string(), "[a.b]");
        assert_eq!(at("l", &[Step::Index(3)]).get(&item), None);
        assert_eq!(at("l", &[Step::Field("0".into())]).get(&item), None);
        assert_eq!(at("m", &[Step::Index(0)]).get(&item), None);
        assert_eq!(at("s", &[Step::Index(0)]).get(&item), None);
        assert_eq!(at("q", &[]).get(&item), None);
    }

    #[test]
    fn comparisons_need_both_sides_and_one_type() {
        use Comparator::*;
        assert!(cmp(name("n"), Eq, Operand::Value(n(2))));
        assert!(!cmp(name("n"), Eq, Operand::Value(s("2"))));
        assert!(!cmp(name("q"), Eq, name("r")));
        assert!(cmp(name("q"), Ne, name("r")));
        assert!(cmp(name("q"), Ne, Operand::Value(n(1))));
        assert!(cmp(name("n"), Ne, Operand::Value(s("2"))));
        for op in [Lt, Le, Gt, Ge] {
            assert!(!cmp(name("q"), op, Operand::Value(n(1))));
            assert!(!cmp(name("n"), op, Operand::Value(s("1"))));
            assert!(!cmp(name("l"), op, name("l")));
            assert!(!cmp(name("null"), op, name("null")));
        }
        assert!(cmp(name("b"), Lt, Operand::Value(Value::B(vec![128]))));
        assert!(cmp(name("n"), Ge, Operand::Value(n(2))));
        let set = Value::Ns([Number::from(4), Number::from(1)].into());
        assert!(cmp(name("ns"), Eq, Operand::Value(set)));
    }

    #[test]
    fn not_of_a_comparison_with_a_missing_side_is_true() {
        let missing = Condition::Compare {
            left: name("q"),
            op: Comparator::Eq,
            right: Operand::Value(n(1)),
        };
        assert!(!missing.matches(&item()));
        assert!(Condition::Not(Box::new(missing)).matches(&item()));
    }

    #[test]
    fn between_and_in() {
        let between = |low, high| Condition::Between {
            value: name("n"),
            low: Operand::Value(low),
            high: Operand::Value(high),
        };
        assert!(between(n(1), n(2)).matches(&item()));
        assert!(between(n(2), n(3)).matches(&item()));
        assert!(!between(n(3), n(4)).matches(&item()));
        assert!(!between(s("1"), n(4)).matches(&item()));
        let within = |value, list: Vec<Value>| Condition::In {
            value,
            list: list.into_iter().map(Operand::Value).collect(),
        };
        assert!(within(name("n"), vec![s("2"), n(2)]).matches(&item()));
        assert!(!within(name("n"), vec![s("2")]).matches(&item()));
        assert!(!within(name("q"), vec![n(2)]).matches(&item()));
        assert!(!within(name("ns"), vec![n(1)]).matches(&item()));
    }

    #[test]
    fn existence_and_type() {
        assert!(Condition::Exists(Path::attribute("null")).matches(&item()));
        assert!(!Condition::Exists(at("l", &[Step::Index(7)])).matches(&item()));
        assert!(Condition::NotExists(Path::attribute("q")).matches(&Item::new()));
        assert!(Condition::HasType(name("null"), "NULL".into()).matches(&item()));
        assert!(Condition::HasType(Operand::Value(n(1)), "N".into()).matches(&item()));
        assert!(!Condition::HasType(name("q"), "N".into()).matches(&item()));
    }

    #[test]
    fn contains_finds_parts_and_members() {
        let contains = |root: &str, part| {
            Condition::Contains(name(root), Operand::Value(part)).matches(&item())
        };
        assert!(contains("s", s("ell")));
        assert!(!contains("s", n(1)));
        assert!(contains("b", Value::B(vec![128])));
        assert!(!contains("b", Value::B(vec![1, 2, 3])));
        assert!(contains("b", Value::B(Vec::new())));
        assert!(contains("ss", s("dog")));
        assert!(!contains("ss", s("do")));
        assert!(contains("ns", n(4)));
        assert!(contains("bs", Value::B(vec![1, 2])));
        assert!(contains("l", Value::L(vec![n(3)])));
        assert!(contains("l", s("two")));
        assert!(!contains("l", s("tw")));
        assert!(!contains("m", s("x")));
        assert!(!contains("q", s("x")));
        let prefix = |root: &str, part| {
            Condition::BeginsWith(name(root), Operand::Value(part)).matches(&item())
        };
        assert!(prefix("s", s("he")));
        assert!(prefix("b", Value::B(vec![127])));
        assert!(!prefix("n", s("2")));
    }

    #[test]
    fn size_counts_what_has_a_size() {
        let size = |root: &str, count| {
            cmp(
                Operand::Size(Box::new(name(root))),
                Comparator::Eq,
                Operand::Value(n(count)),
            )
        };
        assert!(size("s", 5) && size("b", 2) && size("ss", 2) && size("l", 3) && size("m", 2));
        assert!(!cmp(
            Operand::Size(Box::new(name("n"))),
            Comparator::Ge,
            Operand::Value(n(0))
        ));
        assert!(!cmp(
            Operand::Size(Box::new(name("q"))),
            Comparator::Ge,
            Operand::Value(n(0))
        ));
    }

    #[test]
    fn attributes_are_the_roots() {
        let condition = Condition::And(
            Box::new(Condition::Exists(at("m", &[Step::Field("x".into())]))),
            Box::new(Condition::Contains(
                name("l"),
                Operand::Size(Box::new(name("s"))),
            )),
        );
        assert_eq!(condition.attributes(), BTreeSet::from(["l", "m", "s"]));
        assert_eq!(condition.paths().len(), 3);
    }

    #[test]
    fn some_hundred_levels_do_not_overflow() {
        let mut condition = Condition::Exists(Path::attribute("n"));
        for _ in 0..600 {
            condition = Condition::Not(Box::new(condition));
        }
        assert!(condition.matches(&item()));
    }

    proptest! {
        #[test]
        fn exactly_one_of_less_equal_greater(left: i64, right: i64) {
            let item = Item::from([("a".to_string(), n(left))]);
            let count = [Comparator::Lt, Comparator::Eq, Comparator::Gt].into_iter().filter(|op| {
                let op = *op;
                Condition::Compare { left: name("a"), op, right: Operand::Value(n(right)) }.matches(&item)
            }).count();
            prop_assert_eq!(count, 1);
        }
    }
}
