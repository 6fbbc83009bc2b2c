//! GetShardIterator (streams-ttl-backup.md section 1.4).

use serde_json::Value;

use super::iterator::{ShardIterator, now_us};
use super::{constrain_arn, constrain_shard_id, find, parse_sequence_number};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, enums, error, fields};
use crate::replica::ApiError;
use crate::replica::stream::{self, Bounds, Shard};

const SEQUENCE_MIN: usize = 21;
const SEQUENCE_MAX: usize = 40;

/// A request with its JSON types checked.
struct Request {
    arn: Option<String>,
    shard: Option<String>,
    kind: Option<String>,
    sequence: Option<String>,
    timestamp_us: Option<u64>,
}

/// Runs GetShardIterator.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let request = take(&mut fields)?;
    constrain(&request)?;
    agree(&request)?;
    let arn = request.arn.clone().unwrap_or_default();
    let stream = find(backend, &arn)?;
    let id = request.shard.as_deref().unwrap_or_default();
    let shard = stream.shard(id).ok_or_else(|| {
        ApiError::ResourceNotFound(format!(
            "Requested resource not found: Shard: {id} in Stream: {arn} not found"
        ))
    })?;
    let mut position = 0;
    backend.read(&mut |txn| {
        let bounds = stream::bounds(txn)?;
        position = match request.kind.as_deref().unwrap_or_default() {
            "LATEST" => shard.end.unwrap_or(bounds.next),
            "AT_SEQUENCE_NUMBER" => numbered(&request, shard, bounds)?,
            "AFTER_SEQUENCE_NUMBER" => numbered(&request, shard, bounds)?.saturating_add(1),
            "AT_TIMESTAMP" => stream::at_time(txn, shard, request.timestamp_us.unwrap_or(0))?,
            _ => 0,
        };
        Ok(())
    })?;
    let iterator = ShardIterator {
        arn,
        shard: shard.number,
        position,
        issued_us: now_us(),
    };
    let text = Value::from(iterator.encode());
    Ok(error::object([("ShardIterator", text)]))
}

fn take(fields: &mut Fields) -> Result<Request, ApiError> {
    Ok(Request {
        arn: fields.string("StreamArn")?,
        shard: fields.string("ShardId")?,
        kind: fields.string("ShardIteratorType")?,
        sequence: fields.string("SequenceNumber")?,
        timestamp_us: match fields.raw("Timestamp") {
            None => None,
            Some(value) => Some(microseconds(&value)?),
        },
    })
}

/// Epoch seconds with a fraction, as microseconds; before 1970 is 1970.
fn microseconds(value: &Value) -> Result<u64, ApiError> {
    let seconds = value
        .as_f64()
        .ok_or_else(|| fields::serialization("STRING_VALUE cannot be converted to Date"))?;
    // A float-to-integer `as` saturates, which is what is wanted.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let microseconds = (seconds * 1e6) as u64;
    Ok(microseconds)
}

fn constrain(request: &Request) -> Result<(), ApiError> {
    let mut c = Constraints::default();
    c.required("streamArn", request.arn.as_ref());
    constrain_arn(&mut c, "streamArn", request.arn.as_deref());
    c.required("shardId", request.shard.as_ref());
    constrain_shard_id(&mut c, "shardId", request.shard.as_deref());
    c.required("shardIteratorType", request.kind.as_ref());
    c.one_of(
        "shardIteratorType",
        request.kind.as_deref(),
        enums::SHARD_ITERATOR_TYPE,
    );
    if let Some(sequence) = &request.sequence {
        c.length("sequenceNumber", sequence, SEQUENCE_MIN, SEQUENCE_MAX);
    }
    c.finish()
}

/// A sequence number belongs to its two types, a timestamp to its one.
fn agree(request: &Request) -> Result<(), ApiError> {
    let kind = request.kind.as_deref().unwrap_or_default();
    let numbered = matches!(kind, "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER");
    let timed = kind == "AT_TIMESTAMP";
    for (name, given, wanted) in [
        ("SequenceNumber", request.sequence.is_some(), numbered),
        ("Timestamp", request.timestamp_us.is_some(), timed),
    ] {
        let verb = match (given, wanted) {
            (false, true) => "must",
            (true, false) => "must not",
            _ => continue,
        };
        return Err(ApiError::validation(format!(
            "{name} {verb} be specified when ShardIteratorType is {kind}"
        )));
    }
    Ok(())
}

/// The LSN that the request names, if it is one of the shard's that is kept.
fn numbered(request: &Request, shard: &Shard, bounds: Bounds) -> Result<u64, ApiError> {
    let text = request.sequence.as_deref().unwrap_or_default();
    let last = shard.end.unwrap_or(bounds.next).max(shard.first);
    let lsn = parse_sequence_number(text).filter(|lsn| (shard.first..=last).contains(lsn));
    let lsn = lsn.ok_or_else(|| ApiError::validation(format!("Invalid SequenceNumber: {text}")))?;
    if lsn < bounds.horizon {
        return Err(super::get_records::trimmed());
    }
    Ok(lsn)
}
