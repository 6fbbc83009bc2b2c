//! The grammar of updates.

use super::raw::{RawAction, RawSetOperand, RawSetValue};
use super::{DEPTH_MAX, OPERATORS_MAX, Parser};
use crate::expression::lexer::TokenKind;
use crate::expression::{ExpressionError, ExpressionKind};

/// The four sections of an update, each of which may come once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Set,
    Remove,
    Add,
    Delete,
}

impl Section {
    /// The keyword, in capitals.
    pub fn name(self) -> &'static str {
        match self {
            Section::Set => "SET",
            Section::Remove => "REMOVE",
            Section::Add => "ADD",
            Section::Delete => "DELETE",
        }
    }
}

/// Parses an update into its sections and their actions, both in the order written.
pub fn update(source: &str) -> Result<(Vec<Section>, Vec<RawAction<'_>>), ExpressionError> {
    let mut parser = Parser::new(ExpressionKind::Update, source)?;
    let mut sections = Vec::new();
    let mut actions = Vec::new();
    while !parser.at_end() {
        let section = match parser.keyword(parser.peek(0)) {
            Some("SET") => Section::Set,
            Some("REMOVE") => Section::Remove,
            Some("ADD") => Section::Add,
            Some("DELETE") => Section::Delete,
            _ => return Err(parser.unexpected()),
        };
        parser.advance();
        sections.push(section);
        actions.push(parser.action(section)?);
        while parser.eat(",") {
            actions.push(parser.action(section)?);
        }
    }
    parser.finish()?;
    Ok((sections, actions))
}

impl<'a> Parser<'a> {
    fn action(&mut self, section: Section) -> Result<RawAction<'a>, ExpressionError> {
        let path = self.path()?;
        Ok(match section {
            Section::Set => {
                self.expect("=")?;
                RawAction::Set(path, self.set_value(0)?)
            }
            Section::Remove => RawAction::Remove(path),
            Section::Add => RawAction::Add(path, self.value()?),
            Section::Delete => RawAction::Delete(path, self.value()?),
        })
    }

    fn value(&mut self) -> Result<&'a str, ExpressionError> {
        let token = self.peek(0);
        if token.kind != TokenKind::ValueRef {
            return Err(self.unexpected());
        }
        self.advance();
        Ok(token.text)
    }

    /// An operand or one sum or difference of two.
    fn set_value(&mut self, depth: usize) -> Result<RawSetValue<'a>, ExpressionError> {
        if depth > DEPTH_MAX {
            return Err(self.too_deep());
        }
        let left = self.set_operand(depth)?;
        let plus = self.peek(0).is("+");
        if !plus && !self.peek(0).is("-") {
            return Ok(RawSetValue::Operand(left));
        }
        self.advance();
        self.operators += 1;
        let right = self.set_operand(depth)?;
        Ok(if plus {
            RawSetValue::Plus(left, right)
        } else {
            RawSetValue::Minus(left, right)
        })
    }

    fn set_operand(&mut self, depth: usize) -> Result<RawSetOperand<'a>, ExpressionError> {
        if !self.eat("(") {
            return self.bare_operand().map(RawSetOperand::Operand);
        }
        let inner = self.set_value(depth + 1)?;
        self.expect(")")?;
        Ok(match inner {
            RawSetValue::Operand(operand) => operand,
            sum => RawSetOperand::Group(Box::new(sum)),
        })
    }

    /// What is wrong with parentheses nested beyond [`DEPTH_MAX`]. They are not balanced, or redundant,
    /// or each holds a sum and the operators are too many.
    fn too_deep(&mut self) -> ExpressionError {
        let balanced = self
            .partners
            .get(self.position.saturating_sub(1))
            .copied()
            .flatten()
            .is_some();
        let operators = self
            .tokens
            .iter()
            .filter(|token| token.is("+") || token.is("-"))
            .count();
        if balanced && self.has_redundant_parentheses() {
            self.redundant()
        } else if balanced && operators > OPERATORS_MAX {
            self.too_many_operators()
        } else {
            self.position = self.tokens.len().saturating_sub(1);
            self.unexpected()
        }
    }
}
