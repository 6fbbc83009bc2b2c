//! The grammar of conditions, filters and key conditions: connectives with an explicit stack.

use super::raw::{RawLeaf, RawNode, RawOperand};
use super::{OPERATORS_MAX, Parser};
use crate::expression::{Comparator, ExpressionError, ExpressionKind};

/// Connectives waiting for their right operand, innermost last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Group,
    Not,
    And,
    Or,
}

/// Parses a condition into postfix order.
pub fn condition(kind: ExpressionKind, source: &str) -> Result<Vec<RawNode<'_>>, ExpressionError> {
    let mut parser = Parser::new(kind, source)?;
    let nodes = parser.connectives()?;
    parser.finish()?;
    debug_assert!(parser.operators <= OPERATORS_MAX, "finish refuses more");
    Ok(nodes)
}

impl<'a> Parser<'a> {
    /// Shunting-yard over AND, OR, NOT and groups; leaves are parsed by [`Parser::leaf`].
    fn connectives(&mut self) -> Result<Vec<RawNode<'a>>, ExpressionError> {
        let mut nodes = Vec::new();
        let mut pending = Vec::new();
        loop {
            self.openings(&mut pending);
            nodes.push(RawNode::Leaf(self.leaf()?));
            while self.closes_group(&pending) {
                unwind(&mut pending, &mut nodes, Pending::Or);
                pending.pop();
                self.advance();
            }
            let next = if self.at_keyword("AND") {
                Pending::And
            } else if self.at_keyword("OR") {
                Pending::Or
            } else {
                break;
            };
            self.advance();
            self.operators += 1;
            unwind(&mut pending, &mut nodes, next);
            pending.push(next);
        }
        unwind(&mut pending, &mut nodes, Pending::Or);
        if pending.is_empty() {
            Ok(nodes)
        } else {
            Err(self.unexpected())
        }
    }

    /// NOTs and the parentheses of groups before a leaf.
    fn openings(&mut self, pending: &mut Vec<Pending>) {
        loop {
            if self.at_keyword("NOT") {
                self.operators += 1;
                pending.push(Pending::Not);
            } else if self.at_group() {
                pending.push(Pending::Group);
            } else {
                break;
            }
            self.advance();
        }
    }

    /// Whether a parenthesis that groups a condition is next, rather than one around an operand, which
    /// an operator or the rest of a path follows.
    fn at_group(&self) -> bool {
        if !self.peek(0).is("(") {
            return false;
        }
        let Some(close) = self.partners.get(self.position).copied().flatten() else {
            return true;
        };
        let after = self.tokens.get(close + 1).copied();
        !after.is_some_and(|token| {
            comparator(token.text).is_some()
                || token.is(".")
                || token.is("[")
                || matches!(self.keyword(token), Some("BETWEEN" | "IN"))
        })
    }

    fn closes_group(&self, pending: &[Pending]) -> bool {
        self.peek(0).is(")") && pending.contains(&Pending::Group)
    }

    /// A comparison or a call on its own.
    fn leaf(&mut self) -> Result<RawLeaf<'a>, ExpressionError> {
        let left = self.operand()?;
        let token = self.peek(0);
        if let Some(op) = comparator(token.text) {
            self.advance();
            self.operators += 1;
            return Ok(RawLeaf::Compare(left, op, self.operand()?));
        }
        if self.at_keyword("BETWEEN") {
            self.advance();
            self.operators += 1;
            let low = self.operand()?;
            if !self.at_keyword("AND") {
                return Err(self.unexpected());
            }
            self.advance();
            return Ok(RawLeaf::Between(left, low, self.operand()?));
        }
        if self.at_keyword("IN") {
            self.advance();
            self.operators += 1;
            self.expect("(")?;
            let list = self.operands()?;
            self.expect(")")?;
            return Ok(RawLeaf::In(left, list));
        }
        match left {
            RawOperand::Call(call) => Ok(RawLeaf::Call(call)),
            _ => Err(self.unexpected()),
        }
    }
}

/// Moves what binds at least as tightly as `next` from `pending` to `nodes`, up to the open group.
fn unwind(pending: &mut Vec<Pending>, nodes: &mut Vec<RawNode<'_>>, next: Pending) {
    while let Some(top) = pending.last() {
        let node = match (top, next) {
            (Pending::Not, _) => RawNode::Not,
            (Pending::And, _) => RawNode::And,
            (Pending::Or, Pending::Or) => RawNode::Or,
            _ => break,
        };
        pending.pop();
        nodes.push(node);
    }
}

fn comparator(text: &str) -> Option<Comparator> {
    match text {
        "=" => Some(Comparator::Eq),
        "<>" => Some(Comparator::Ne),
        "<" => Some(Comparator::Lt),
        "<=" => Some(Comparator::Le),
        ">" => Some(Comparator::Gt),
        ">=" => Some(Comparator::Ge),
        _ => None,
    }
}
