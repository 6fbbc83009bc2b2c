//! PartiQL: statements parsed to the trees of [`crate::expression`] (expressions.md section 10).
//!
//! There is one engine: WHERE becomes a condition, SET and REMOVE become an update, and a WHERE that names
//! keys becomes key conditions ([`plan`]). Knows items and expressions, nothing of storage.
//!
//! A statement has at most 8192 characters; literals nest as deep as values may, connectives are parsed
//! without recursion and counted, so no statement can exhaust the stack.

mod ast;
mod keywords;
mod lexer;
mod parser;
mod plan;

pub use ast::{Column, Delete, Insert, Order, Returning, Select, Statement, UpdateStatement};
pub use parser::parse;
pub use plan::{Access, plan, split_key};

/// The longest statement, in characters.
pub const STATEMENT_MAX: usize = 8192;

/// A mistake in a statement. `Display` is DynamoDB's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartiqlError {
    /// Not a statement. The detail is empty where DynamoDB gives none.
    #[error("Statement wasn't well formed, can't be processed: {0}")]
    Malformed(String),
    /// A statement that cannot be run.
    #[error("{0}")]
    Invalid(String),
}

impl From<crate::expression::ExpressionError> for PartiqlError {
    fn from(error: crate::expression::ExpressionError) -> Self {
        PartiqlError::Invalid(error.0)
    }
}
