//! Expressions: parsed and checked as DynamoDB does, evaluated on items (expressions.md).
//!
//! One hand-written parser serves condition, filter, key condition, projection and update; the legacy
//! parameters become the same trees. Nothing here knows of storage.
//!
//! The way of an expression: [`lexer`] makes tokens, [`parser`] a raw form with the placeholders still
//! in it, [`check`] and its neighbours hold that against the static rules in DynamoDB's order and
//! produce the trees of [`ast`]. Everything an attacker can nest is walked without recursion or under
//! an explicit bound, so no expression can exhaust the stack.

pub mod ast;
pub mod eval;
pub mod legacy;
pub mod project;
pub mod update;

pub mod check;
pub mod condition;
pub mod key_condition;
pub mod lexer;
pub mod parser;
pub mod placeholders;
pub mod projection;
pub mod reserved;
pub mod update_parse;
mod weight;

pub use ast::*;
pub use condition::parse_condition;
pub use key_condition::{bind_key_condition, key_clauses, parse_key_condition};
pub use placeholders::Placeholders;
pub use project::{project, touched_values};
pub use projection::parse_projection;
pub use update_parse::parse_update;

/// A mistake in an expression or in the values it names. The message is DynamoDB's own, complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub String);

/// The five kinds of expression: they share a parser and differ in what it lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressionKind {
    Condition,
    Filter,
    KeyCondition,
    Projection,
    Update,
}

impl ExpressionKind {
    /// The request parameter, as messages name it.
    pub fn name(self) -> &'static str {
        match self {
            ExpressionKind::Condition => "ConditionExpression",
            ExpressionKind::Filter => "FilterExpression",
            ExpressionKind::KeyCondition => "KeyConditionExpression",
            ExpressionKind::Projection => "ProjectionExpression",
            ExpressionKind::Update => "UpdateExpression",
        }
    }

    /// The error every parser and checker gives: `Invalid {Kind}: {detail}`.
    pub(crate) fn invalid(self, detail: impl std::fmt::Display) -> ExpressionError {
        ExpressionError(format!("Invalid {}: {detail}", self.name()))
    }
}
