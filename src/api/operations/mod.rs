//! One file per operation; each is `run(backend, fields) -> JSON body`.

pub(crate) mod items;

use super::{Backend, Fields};
use crate::replica::ApiError;

/// The answer of an operation: the JSON body.
pub(crate) type Answer = Result<Vec<u8>, ApiError>;
