//! Parsed but unchecked expressions: names and values are still placeholders, functions still names.

use crate::expression::Comparator;

/// One element of a document path as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawElement<'a> {
    /// A bare name, which must not be reserved.
    Name(&'a str),
    /// `#name`, with the `#`.
    Reference(&'a str),
    Index(usize),
}

/// A document path as written: a name or reference, then any elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPath<'a> {
    pub head: RawElement<'a>,
    pub tail: Vec<RawElement<'a>>,
}

impl<'a> RawPath<'a> {
    /// All elements, the head first.
    pub fn elements(&self) -> impl Iterator<Item = RawElement<'a>> + '_ {
        std::iter::once(self.head).chain(self.tail.iter().copied())
    }
}

/// An operand as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawOperand<'a> {
    Path(RawPath<'a>),
    /// `:value`, with the `:`.
    Value(&'a str),
    Call(RawCall<'a>),
}

/// A function call as written: any name parses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawCall<'a> {
    pub name: &'a str,
    pub args: Vec<RawOperand<'a>>,
}

/// A condition without connectives.
#[derive(Clone, Debug, PartialEq)]
pub enum RawLeaf<'a> {
    Compare(RawOperand<'a>, Comparator, RawOperand<'a>),
    Between(RawOperand<'a>, RawOperand<'a>, RawOperand<'a>),
    In(RawOperand<'a>, Vec<RawOperand<'a>>),
    Call(RawCall<'a>),
}

impl<'a> RawLeaf<'a> {
    /// The operands in the order written; those of its function for a call.
    pub fn operands(&self) -> Vec<&RawOperand<'a>> {
        match self {
            RawLeaf::Compare(left, _, right) => vec![left, right],
            RawLeaf::Between(value, low, high) => vec![value, low, high],
            RawLeaf::In(value, list) => std::iter::once(value).chain(list).collect(),
            RawLeaf::Call(call) => call.args.iter().collect(),
        }
    }
}

/// A condition in postfix order. Neither building nor walking it recurses, so nesting costs no stack.
#[derive(Clone, Debug, PartialEq)]
pub enum RawNode<'a> {
    Leaf(RawLeaf<'a>),
    Not,
    And,
    Or,
}

/// The right-hand side of a SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawSetValue<'a> {
    Operand(RawSetOperand<'a>),
    Plus(RawSetOperand<'a>, RawSetOperand<'a>),
    Minus(RawSetOperand<'a>, RawSetOperand<'a>),
}

/// An operand of a SET: only here may a sum stand in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawSetOperand<'a> {
    Operand(RawOperand<'a>),
    Group(Box<RawSetValue<'a>>),
}

/// One action of an update, in the order written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawAction<'a> {
    Set(RawPath<'a>, RawSetValue<'a>),
    Remove(RawPath<'a>),
    Add(RawPath<'a>, &'a str),
    Delete(RawPath<'a>, &'a str),
}
