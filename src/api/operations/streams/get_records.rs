//! GetRecords (streams-ttl-backup.md sections 1.3 and 1.4).

use std::hash::Hasher;

use serde_json::{Map, Value, json};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::iterator::{ShardIterator, now_us};
use super::{find, sequence_number};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, RegionInfo};
use crate::item::{Item, codec, json, size};
use crate::replica::ApiError;
use crate::replica::stream::{self, RecordPage, Stream, StreamRecord};

const LIMIT_MAX: i64 = 1000;
/// The most that one answer holds, as the records are stored.
const BYTES_MAX: usize = 1024 * 1024;
const ITERATOR_MAX: usize = 2048;

/// The answer to a position whose records are gone.
pub(super) fn trimmed() -> ApiError {
    ApiError::TrimmedDataAccess(
        "The operation attempted to read past the oldest stream record in a shard.".into(),
    )
}

/// Runs GetRecords.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let text = fields.string("ShardIterator")?;
    let limit = fields.integer("Limit")?;
    let mut c = Constraints::default();
    c.required("shardIterator", text.as_ref());
    if let Some(text) = &text {
        c.length("shardIterator", text, 1, ITERATOR_MAX);
    }
    c.range("limit", limit, 1, LIMIT_MAX);
    c.finish()?;
    let now_us = now_us();
    let iterator = ShardIterator::decode(text.as_deref().unwrap_or_default(), now_us)?;
    let limit = usize::try_from(limit.unwrap_or(LIMIT_MAX)).unwrap_or(1);
    let stream = find(backend, &iterator.arn)?;
    let page = read(backend, &stream, &iterator, limit)?;
    let next = page.next.map(|position| ShardIterator {
        position,
        issued_us: now_us,
        ..iterator
    });
    render(backend.region(), &stream, &page, next.as_ref())
}

fn read(
    backend: &dyn Backend,
    stream: &Stream,
    iterator: &ShardIterator,
    limit: usize,
) -> Result<RecordPage, ApiError> {
    let shard = stream.shards.iter().find(|s| s.number == iterator.shard);
    let shard = shard.ok_or_else(trimmed)?;
    let mut page = RecordPage::default();
    backend.read(&mut |txn| {
        let horizon = stream::bounds(txn)?.horizon;
        if iterator.position != 0 && iterator.position < horizon.max(shard.first) {
            return Err(trimmed());
        }
        page = stream::page(txn, shard, iterator.position, limit, BYTES_MAX)?;
        Ok(())
    })?;
    Ok(page)
}

fn render(
    region: &RegionInfo,
    stream: &Stream,
    page: &RecordPage,
    next: Option<&ShardIterator>,
) -> Answer {
    let mut out = b"{\"Records\":[".to_vec();
    for (at, (lsn, record)) in page.records.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_record(region, stream, *lsn, record, &mut out)?;
    }
    out.push(b']');
    if let Some(next) = next {
        out.extend_from_slice(b",\"NextShardIterator\":");
        out.extend_from_slice(Value::from(next.encode()).to_string().as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

fn push_record(
    region: &RegionInfo,
    stream: &Stream,
    lsn: u64,
    record: &StreamRecord,
    out: &mut Vec<u8>,
) -> Result<(), ApiError> {
    let damaged = |what: &str| ApiError::InternalServer(format!("a change's {what} is damaged"));
    let keys = stream
        .keys
        .key_item(&record.key.partition, &record.key.sort)
        .ok_or_else(|| damaged("key"))?;
    let image = |image: &Option<Vec<u8>>| -> Result<Option<Item>, ApiError> {
        let decoded = image.as_deref().map(codec::decode).transpose();
        decoded.map_err(|_| damaged("image"))
    };
    let (old, new) = (image(&record.old)?, image(&record.new)?);
    let images = [Some(&keys), old.as_ref(), new.as_ref()];
    let bytes: usize = images.iter().flatten().map(|i| size::item_size(i)).sum();
    let mut outer = Map::new();
    outer.insert("eventID".into(), json!(event_id(region, stream, lsn)));
    outer.insert("eventName".into(), json!(record.event.name()));
    outer.insert("eventVersion".into(), json!("1.1"));
    outer.insert("eventSource".into(), json!("aws:dynamodb"));
    outer.insert("awsRegion".into(), json!(region.name));
    if record.expired {
        let service = json!({"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"});
        outer.insert("userIdentity".into(), service);
    }
    let inner = json!({
        "ApproximateCreationDateTime": record.created_us / 1_000_000,
        "SequenceNumber": sequence_number(lsn),
        "SizeBytes": bytes,
        "StreamViewType": stream.view.name(),
    });
    push_open(&Value::Object(outer), out);
    out.extend_from_slice(b",\"dynamodb\":");
    push_open(&inner, out);
    for (name, item) in [
        ("Keys", Some(&keys)),
        ("NewImage", new.as_ref()),
        ("OldImage", old.as_ref()),
    ] {
        let Some(item) = item else { continue };
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        json::write_item(item, out);
    }
    out.extend_from_slice(b"}}");
    Ok(())
}

/// Writes an object but for its last brace.
fn push_open(object: &Value, out: &mut Vec<u8>) {
    let text = object.to_string();
    out.extend_from_slice(text.strip_suffix('}').unwrap_or(&text).as_bytes());
}

/// Unique among all records of the cluster, and the same whenever the record is read.
fn event_id(region: &RegionInfo, stream: &Stream, lsn: u64) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(stream.uid.0);
    hasher.write_u16(region.id.0);
    hasher.write_u64(lsn);
    format!("{:032x}", hasher.finish128().as_u128())
}
