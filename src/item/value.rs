//! Attribute values and items (values-and-keys.md section 1).

use std::collections::{BTreeMap, BTreeSet};

use super::Number;

/// An item: attribute names to values, ordered by name so that every walk is deterministic.
pub type Item = BTreeMap<String, Value>;

/// Levels of lists and maps an attribute may have below the item itself.
pub const NESTING_MAX: usize = 32;

/// One attribute value. Sets are ordered sets, so equality is order-free as DynamoDB's is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    S(String),
    N(Number),
    B(Vec<u8>),
    Bool(bool),
    Null,
    Ss(BTreeSet<String>),
    Ns(BTreeSet<Number>),
    Bs(BTreeSet<Vec<u8>>),
    L(Vec<Value>),
    M(BTreeMap<String, Value>),
}

impl Value {
    /// The wire tag of this value's type: `S`, `N`, `B`, `BOOL`, `NULL`, `SS`, `NS`, `BS`, `L` or `M`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::S(_) => "S",
            Value::N(_) => "N",
            Value::B(_) => "B",
            Value::Bool(_) => "BOOL",
            Value::Null => "NULL",
            Value::Ss(_) => "SS",
            Value::Ns(_) => "NS",
            Value::Bs(_) => "BS",
            Value::L(_) => "L",
            Value::M(_) => "M",
        }
    }

    /// Whether lists and maps are nested more than `levels` deep. Never looks further down than that, so
    /// its own depth is bounded. An update that builds a value must ask this with [`NESTING_MAX`].
    pub fn nested_beyond(&self, levels: usize) -> bool {
        let within = levels.checked_sub(1);
        match (self, within) {
            (Value::L(_) | Value::M(_), None) => true,
            (Value::L(list), Some(within)) => list.iter().any(|v| v.nested_beyond(within)),
            (Value::M(map), Some(within)) => map.values().any(|v| v.nested_beyond(within)),
            _ => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::item::number::tests::any_number;

    /// Any value, up to a few levels deep.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            ".{0,12}".prop_map(Value::S),
            any_number().prop_map(Value::N),
            vec(any::<u8>(), 0..12).prop_map(Value::B),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Null),
            btree_set(".{0,6}", 1..5).prop_map(Value::Ss),
            btree_set(any_number(), 1..5).prop_map(Value::Ns),
            btree_set(vec(any::<u8>(), 0..6), 1..5).prop_map(Value::Bs),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(Value::L),
                btree_map(".{1,6}", inner, 0..5).prop_map(Value::M),
            ]
        })
    }

    pub(crate) fn any_item() -> impl Strategy<Value = Item> {
        btree_map(".{1,8}", any_value(), 0..6)
    }

    /// `levels` lists, one inside the other.
    pub(crate) fn nested_lists(levels: usize) -> Value {
        (1..levels).fold(Value::L(vec![]), |inner, _| Value::L(vec![inner]))
    }

    #[test]
    fn nesting_is_counted_in_containers() {
        assert!(!Value::Null.nested_beyond(0));
        assert!(Value::L(vec![]).nested_beyond(0));
        assert!(!nested_lists(32).nested_beyond(NESTING_MAX));
        assert!(nested_lists(33).nested_beyond(NESTING_MAX));
    }
}
