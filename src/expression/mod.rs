//! Expressions: parsed and checked as DynamoDB does, evaluated on items (expressions.md).
//!
//! One hand-written parser serves condition, filter, key condition, projection and update; the legacy
//! parameters become the same trees. Nothing here knows of storage.

pub mod ast;
pub mod eval;
pub mod legacy;
pub mod project;
pub mod update;

pub use ast::*;
pub use project::{project, touched_values};

/// A mistake in an expression or in the values it names. The message is DynamoDB's own, complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub String);
