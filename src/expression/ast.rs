//! The trees that all five kinds of expression and the legacy parameters become. Names and values are
//! already substituted for their placeholders.

use crate::item::Value;

/// A document path: a top-level attribute and steps into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    pub root: String,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Field(String),
    Index(usize),
}

/// An operand of a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Path(Path),
    Value(Value),
    Size(Box<Operand>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// A condition or filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Compare {
        left: Operand,
        op: Comparator,
        right: Operand,
    },
    Between {
        value: Operand,
        low: Operand,
        high: Operand,
    },
    In {
        value: Operand,
        list: Vec<Operand>,
    },
    Exists(Path),
    NotExists(Path),
    /// `attribute_type`: operand and one of the ten type names.
    HasType(Operand, String),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

/// A parsed update: every right-hand side reads the item as it was before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    pub set: Vec<(Path, SetValue)>,
    pub remove: Vec<Path>,
    pub add: Vec<(Path, Value)>,
    pub delete: Vec<(Path, Value)>,
    /// Made of `AttributeUpdates`: ADD also appends to lists, and type errors are worded otherwise.
    pub legacy: bool,
    /// Sent by UpdateItem, which holds its result to a stricter size than transactions and PartiQL do.
    pub surcharged: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SetValue {
    Operand(SetOperand),
    Plus(SetOperand, SetOperand),
    Minus(SetOperand, SetOperand),
}

#[derive(Clone, Debug, PartialEq)]
pub enum SetOperand {
    Path(Path),
    Value(Value),
    IfNotExists(Path, Box<SetOperand>),
    ListAppend(Box<SetOperand>, Box<SetOperand>),
    /// A parenthesised sum.
    Group(Box<SetValue>),
}

/// What a Query asks of one key attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyPredicate {
    Eq(Value),
    Lt(Value),
    Le(Value),
    Gt(Value),
    Ge(Value),
    Between(Value, Value),
    BeginsWith(Value),
}

impl KeyPredicate {
    /// The value it compares with, the lower of two.
    pub fn low(&self) -> &Value {
        match self {
            KeyPredicate::Between(value, _)
            | KeyPredicate::Eq(value)
            | KeyPredicate::Lt(value)
            | KeyPredicate::Le(value)
            | KeyPredicate::Gt(value)
            | KeyPredicate::Ge(value)
            | KeyPredicate::BeginsWith(value) => value,
        }
    }

    /// The value it compares with, the upper of two.
    pub fn high(&self) -> &Value {
        match self {
            KeyPredicate::Between(_, value) => value,
            other => other.low(),
        }
    }
}

/// One clause of a KeyConditionExpression or KeyConditions, not yet held against a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyClause {
    pub attribute: String,
    /// `None` for an operator of KeyConditions that no key can answer: refused only once the key
    /// attributes are known.
    pub predicate: Option<KeyPredicate>,
}

/// A key condition bound to the schema of a table or index.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyCondition {
    /// One value per partition attribute, in schema order.
    pub partition: Vec<Value>,
    /// Predicates on the leading sort attributes, in schema order; only the last may be other than `Eq`.
    pub sort: Vec<KeyPredicate>,
}
