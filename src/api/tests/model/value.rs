//! The model's values: a type of its own, sized, ordered and printed from values-and-keys.md alone.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum V {
    S(String),
    N(i64),
    B(Vec<u8>),
    Bool(bool),
    Null,
    Ss(BTreeSet<String>),
    Ns(BTreeSet<i64>),
    Bs(BTreeSet<Vec<u8>>),
    L(Vec<V>),
    M(Item),
}

pub(super) type Item = BTreeMap<String, V>;

impl V {
    pub(super) fn tag(&self) -> &'static str {
        match self {
            V::S(_) => "S",
            V::N(_) => "N",
            V::B(_) => "B",
            V::Bool(_) => "BOOL",
            V::Null => "NULL",
            V::Ss(_) => "SS",
            V::Ns(_) => "NS",
            V::Bs(_) => "BS",
            V::L(_) => "L",
            V::M(_) => "M",
        }
    }

    pub(super) fn json(&self) -> Json {
        let inner = match self {
            V::S(s) => json!(s),
            V::N(n) => json!(n.to_string()),
            V::B(b) => json!(STANDARD.encode(b)),
            V::Bool(b) => json!(b),
            V::Null => json!(true),
            V::Ss(set) => json!(set),
            V::Ns(set) => json!(set.iter().map(i64::to_string).collect::<Vec<_>>()),
            V::Bs(set) => json!(set.iter().map(|b| STANDARD.encode(b)).collect::<Vec<_>>()),
            V::L(list) => json!(list.iter().map(V::json).collect::<Vec<_>>()),
            V::M(map) => item_json(map),
        };
        json!({ self.tag(): inner })
    }

    pub(super) fn size(&self) -> usize {
        match self {
            V::S(s) => s.len(),
            V::N(n) => number_size(*n),
            V::B(b) => b.len(),
            V::Bool(_) | V::Null => 1,
            V::Ss(set) => set.iter().map(String::len).sum(),
            V::Ns(set) => set.iter().map(|n| number_size(*n)).sum(),
            V::Bs(set) => set.iter().map(Vec::len).sum(),
            V::L(list) => 3 + list.iter().map(|v| v.size() + 1).sum::<usize>(),
            V::M(map) => {
                3 + map
                    .iter()
                    .map(|(k, v)| k.len() + v.size() + 1)
                    .sum::<usize>()
            }
        }
    }

    /// The order of `<`: of strings, numbers and binaries, each among themselves.
    pub(super) fn order(&self, other: &V) -> Option<Ordering> {
        match (self, other) {
            (V::S(a), V::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (V::N(a), V::N(b)) => Some(a.cmp(b)),
            (V::B(a), V::B(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    pub(super) fn is_scalar(&self) -> bool {
        matches!(self, V::S(_) | V::N(_) | V::B(_))
    }
}

fn number_size(n: i64) -> usize {
    let digits = n.unsigned_abs().to_string();
    let digits = digits.trim_end_matches('0').len();
    1 + digits.div_ceil(2) + usize::from(n < 0)
}

pub(super) fn item_json(item: &Item) -> Json {
    let members = item.iter().map(|(name, v)| (name.clone(), v.json()));
    Json::Object(members.collect::<Map<_, _>>())
}

pub(super) fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, v)| name.len() + v.size()).sum()
}

/// An answer with the elements of its sets in one order.
pub(super) fn normal(json: &Json) -> Json {
    match json {
        Json::Array(list) => list.iter().map(normal).collect(),
        Json::Object(members) => {
            let member = |(name, value): (&String, &Json)| {
                let mut value = normal(value);
                if let ("SS" | "NS" | "BS", Json::Array(set)) = (name.as_str(), &mut value) {
                    set.sort_by_key(Json::to_string);
                }
                (name.clone(), value)
            };
            Json::Object(members.iter().map(member).collect())
        }
        other => other.clone(),
    }
}

// --- what is generated ----------------------------------------------------------------------------------

fn text() -> BoxedStrategy<String> {
    prop::sample::select(vec!["", "a", "ab", "b", "abc", "ba"])
        .prop_map(str::to_owned)
        .boxed()
}

fn bytes() -> BoxedStrategy<Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0u8, 1, 255]), 0..3).boxed()
}

fn leaf() -> BoxedStrategy<V> {
    prop_oneof![
        4 => text().prop_map(V::S),
        4 => (-3i64..13).prop_map(V::N),
        1 => Just(V::N(100)),
        2 => bytes().prop_map(V::B),
        1 => any::<bool>().prop_map(V::Bool),
        1 => Just(V::Null),
        1 => prop::collection::btree_set(text(), 1..3).prop_map(V::Ss),
        1 => prop::collection::btree_set(-1i64..4, 1..3).prop_map(V::Ns),
        1 => prop::collection::btree_set(bytes(), 1..3).prop_map(V::Bs),
        1 => prop::sample::select(vec![700usize, 1500, 5000]).prop_map(|n| V::S("x".repeat(n))),
    ]
    .boxed()
}

pub(super) fn value() -> BoxedStrategy<V> {
    let nested = prop_oneof![
        prop::collection::vec(leaf(), 0..4).prop_map(V::L),
        prop::collection::btree_map(member(), leaf(), 0..3).prop_map(V::M),
    ];
    let deep = prop_oneof![3 => leaf(), 1 => prop::collection::vec(leaf(), 0..3).prop_map(V::L)];
    prop_oneof![
        6 => leaf(),
        2 => nested,
        1 => prop::collection::btree_map(member(), deep, 0..3).prop_map(V::M),
    ]
    .boxed()
}

pub(super) fn member() -> BoxedStrategy<String> {
    prop::sample::select(vec!["k", "j"])
        .prop_map(str::to_owned)
        .boxed()
}
