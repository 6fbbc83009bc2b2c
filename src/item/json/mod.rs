//! The wire form of values (values-and-keys.md section 1).
//!
//! - [`mod@read`]: values from JSON, with DynamoDB's order of checks and messages
//! - [`mod@write`]: values to JSON

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{ValueError, check_item, check_value, item_from_json, value_from_json};
pub(crate) use write::{write_binary, write_number, write_string};
pub use write::{write_item, write_value};
