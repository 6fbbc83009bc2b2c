//! The operations of DynamoDB Streams (streams-ttl-backup.md section 1.4). They share the port with the
//! others, under a target prefix of their own.

pub(crate) mod describe_stream;
pub(crate) mod get_records;
pub(crate) mod get_shard_iterator;
mod iterator;
pub(crate) mod list_streams;
#[cfg(test)]
mod tests;

use crate::api::{Backend, Constraints, RegionInfo};
use crate::replica::ApiError;
use crate::replica::stream::{self, Stream};

const ARN_MAX: usize = 1024;
const SHARD_ID_MIN: usize = 28;
const SHARD_ID_MAX: usize = 65;

/// The constraints of a stream's ARN; absent is fine. One that is too short is malformed first of all:
/// AWS calls `fake-stream` an invalid StreamArn, though the model wants 37 characters.
fn constrain_arn(c: &mut Constraints, path: &str, arn: Option<&str>) {
    if let Some(arn) = arn {
        c.length(path, arn, 0, ARN_MAX);
    }
}

/// The constraints of a shard's id; absent is fine.
fn constrain_shard_id(c: &mut Constraints, path: &str, id: Option<&str>) {
    if let Some(id) = id {
        c.length(path, id, SHARD_ID_MIN, SHARD_ID_MAX);
    }
}

/// A stream's ARN, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StreamName<'a> {
    table: &'a str,
    label: &'a str,
    /// It names this region and account.
    here: bool,
}

/// Reads `arn:aws:dynamodb:{region}:{account}:table/{table}/stream/{label}`.
fn parse_arn<'a>(region: &RegionInfo, arn: &'a str) -> Result<StreamName<'a>, ApiError> {
    let parse = || {
        let mut parts = arn.splitn(6, ':');
        let mut next = || parts.next();
        let fixed = next()? == "arn" && next()?.starts_with("aws") && next()? == "dynamodb";
        let (name, account, resource) = (next()?, next()?, next()?);
        let (table, label) = resource.strip_prefix("table/")?.split_once("/stream/")?;
        let whole = fixed && !table.is_empty() && !table.contains('/');
        (whole && !label.is_empty() && !label.contains('/')).then_some(StreamName {
            table,
            label,
            here: name == region.name && account == region.account,
        })
    };
    parse().ok_or_else(|| ApiError::validation(format!("Invalid StreamArn: {arn}")))
}

fn not_found(arn: &str) -> ApiError {
    ApiError::ResourceNotFound(format!(
        "Requested resource not found: Stream: {arn} not found"
    ))
}

/// The stream of that ARN.
fn find(backend: &dyn Backend, arn: &str) -> Result<Stream, ApiError> {
    let name = parse_arn(backend.region(), arn)?;
    let mut found = None;
    if name.here {
        backend.read(&mut |txn| {
            let streams = stream::of_table(txn, name.table)?;
            // Two regions may have made one name at one moment: the one that lost is disabled.
            found = streams
                .into_iter()
                .filter(|s| s.label() == name.label)
                .min_by_key(|s| s.disabled_us.is_some());
            Ok(())
        })?;
    }
    found.ok_or_else(|| not_found(arn))
}

/// A position in a region's records as a SequenceNumber: 21 digits, the first never zero, so that numbers
/// and texts sort alike.
fn sequence_number(lsn: u64) -> String {
    format!("1{lsn:020}")
}

/// The inverse of [`sequence_number`].
fn parse_sequence_number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('1').filter(|d| d.len() == 20)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Epoch seconds with milliseconds.
fn seconds(us: u64) -> serde_json::Value {
    // Exact: milliseconds since 1970 need 41 bits.
    serde_json::json!((us / 1000) as f64 / 1000.0)
}
