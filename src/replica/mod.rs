//! The heart: `execute` evaluates and stamps, `apply` is the one door for every change.
pub mod catalog;
pub mod error;
pub mod mutation;
pub mod request;

pub use error::{ApiError, CancellationReason};
