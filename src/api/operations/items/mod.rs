//! The ten data operations, one file each (api.md section 3).
//!
//! Each `run` takes every member first (JSON types), then checks constraints and expressions, then looks
//! the table up, then its keys: DynamoDB's own order (errors-and-validation.md section 3). Writes go to
//! the region's writer as one request; reads run on one snapshot.

pub(crate) mod batch_get_item;
pub(crate) mod batch_write_item;
pub(crate) mod delete_item;
pub(crate) mod get_item;
pub(crate) mod put_item;
pub(crate) mod query;
pub(crate) mod scan;
pub(crate) mod transact_get_items;
pub(crate) mod transact_write_items;
pub(crate) mod update_item;

pub(crate) mod body;
mod metrics;
pub(crate) mod pages;
mod start_key;
pub(crate) mod writes;

#[cfg(test)]
mod tests;
