//! The DynamoDB data model: values, exact numbers, keys, sizes and the binary codec.
//!
//! This is the lowest floor: it knows nothing of storage, clocks or the network. Rules come from
//! `values-and-keys.md`; each file names its section.
//!
//! - [`value`]: [`Value`], [`Item`] and the paths of the model
//! - [`number`]: [`Number`], 38 exact decimal digits
//! - [`key`]: key schemas, key extraction, order-preserving key bytes
//! - [`size`]: item sizes as DynamoDB counts them
//! - [`codec`]: the compact binary form, from which JSON is written without building a tree
//! - [`json`]: the wire form of values, read and written

pub mod codec;
pub mod json;
pub mod key;
pub mod number;
pub mod size;
pub mod value;

pub use codec::CodecError;
pub use json::ValueError;
pub use key::{KeyAttribute, KeyBytes, KeyError, KeySchema, KeyType};
pub use number::{Number, NumberError};
pub use value::{Item, Value};
