//! The DynamoDB wire protocol: HTTP, errors, request validation and one file per operation.

mod backend;
pub(crate) mod capacity;
pub(crate) mod constraints;
pub(crate) mod fields;
pub(crate) mod operations;
pub(crate) mod params;
pub(crate) mod projection;

pub use backend::{Backend, RegionInfo, WriteFuture};
pub(crate) use constraints::{Constraints, enums};
pub(crate) use fields::Fields;
