//! Exact decimal numbers.
/// An exact decimal of up to 38 significant digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("number")]
pub struct NumberError;
