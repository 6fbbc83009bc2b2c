//! The DynamoDB wire protocol: HTTP, errors, request validation, and one file per operation.
//!
//! A request is checked in DynamoDB's own order: size, method, JSON, target, caller, members. Only then
//! does an operation see it. This floor never opens a transaction: it reads through [`Backend::read`] and
//! hands writes to the region's one writer through [`Backend::write`].
//!
//! Outsiders call [`serve`] with something that implements [`Backend`].

mod auth;
mod backend;
mod body;
pub(crate) mod capacity;
mod compression;
pub(crate) mod constraints;
pub(crate) mod error;
pub(crate) mod fields;
mod http;
mod measure;
pub(crate) mod operations;
pub(crate) mod params;
pub(crate) mod projection;
mod server;
mod session;
#[cfg(test)]
mod tests;
pub(crate) mod throttle;

pub use auth::Keys;
pub use backend::{Backend, ReachFuture, RegionInfo, Regions, WriteFuture};
pub(crate) use constraints::{Constraints, enums};
pub(crate) use fields::Fields;
pub use http::{answer_to, refusal};
pub use server::{Limits, accept, serve};
pub use throttle::Throttle;
