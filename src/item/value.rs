//! Attribute values and items (values-and-keys.md section 1).

use std::collections::{BTreeMap, BTreeSet};

use super::Number;

/// An item: attribute names to values, ordered by name so that every walk is deterministic.
pub type Item = BTreeMap<String, Value>;

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
}
