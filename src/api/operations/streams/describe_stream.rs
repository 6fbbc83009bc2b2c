//! DescribeStream (streams-ttl-backup.md section 1.4).

use serde_json::{Map, Value, json};

use super::{constrain_arn, constrain_shard_id, find, seconds, sequence_number};
use crate::api::operations::Answer;
use crate::api::operations::tables::key_schema;
use crate::api::{Backend, Constraints, Fields, RegionInfo, enums, error};
use crate::replica::ApiError;
use crate::replica::stream::{Shard, Stream};

const LIMIT_MAX: i64 = 100;

/// A request with its JSON types checked.
struct Request {
    arn: Option<String>,
    limit: Option<i64>,
    start: Option<String>,
    /// Type and shard id.
    filter: Option<(Option<String>, Option<String>)>,
}

/// Runs DescribeStream.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let request = take(&mut fields)?;
    constrain(&request)?;
    let stream = find(backend, request.arn.as_deref().unwrap_or_default())?;
    let limit = usize::try_from(request.limit.unwrap_or(LIMIT_MAX)).unwrap_or(1);
    let parent = request.filter.and_then(|(_, shard)| shard);
    let mut shards: Vec<&Shard> = stream
        .shards
        .iter()
        .filter(|s| parent.is_none() || s.parent == parent)
        .filter(|s| request.start.as_ref().is_none_or(|start| s.id > *start))
        .collect();
    let more = shards.len() > limit;
    shards.truncate(limit);
    let description = describe(backend.region(), &stream, &shards, more);
    Ok(error::object([("StreamDescription", description)]))
}

fn take(fields: &mut Fields) -> Result<Request, ApiError> {
    Ok(Request {
        arn: fields.string("StreamArn")?,
        limit: fields.integer("Limit")?,
        start: fields.string("ExclusiveStartShardId")?,
        filter: match fields.structure("ShardFilter", "ShardFilter")? {
            None => None,
            Some(mut f) => Some((f.string("Type")?, f.string("ShardId")?)),
        },
    })
}

fn constrain(request: &Request) -> Result<(), ApiError> {
    let mut c = Constraints::default();
    c.required("streamArn", request.arn.as_ref());
    constrain_arn(&mut c, "streamArn", request.arn.as_deref());
    c.range("limit", request.limit, 1, LIMIT_MAX);
    constrain_shard_id(&mut c, "exclusiveStartShardId", request.start.as_deref());
    if let Some((kind, shard)) = &request.filter {
        c.required("shardFilter.type", kind.as_ref());
        c.one_of(
            "shardFilter.type",
            kind.as_deref(),
            enums::SHARD_FILTER_TYPE,
        );
        c.required("shardFilter.shardId", shard.as_ref());
        constrain_shard_id(&mut c, "shardFilter.shardId", shard.as_deref());
    }
    c.finish()
}

fn describe(region: &RegionInfo, stream: &Stream, shards: &[&Shard], more: bool) -> Value {
    let status = match stream.disabled_us {
        None => "ENABLED",
        Some(_) => "DISABLED",
    };
    let list: Vec<Value> = shards.iter().map(|s| shard(s)).collect();
    let mut out = json!({
        "StreamArn": region.stream_arn(&stream.table, &stream.label()),
        "StreamLabel": stream.label(),
        "StreamStatus": status,
        "StreamViewType": stream.view.name(),
        "CreationRequestDateTime": seconds(stream.label_us),
        "TableName": stream.table,
        "KeySchema": key_schema(&stream.keys),
        "Shards": list,
    });
    let last = shards.last().filter(|_| more);
    if let (Some(last), Some(members)) = (last, out.as_object_mut()) {
        members.insert("LastEvaluatedShardId".into(), json!(last.id));
    }
    out
}

fn shard(shard: &Shard) -> Value {
    let mut range = Map::new();
    range.insert(
        "StartingSequenceNumber".into(),
        json!(sequence_number(shard.first)),
    );
    if let Some(end) = shard.end {
        // The last one that it may hold; its own first where it has held none.
        let last = end.saturating_sub(1).max(shard.first);
        range.insert("EndingSequenceNumber".into(), json!(sequence_number(last)));
    }
    let mut out = json!({"ShardId": shard.id, "SequenceNumberRange": range});
    if let (Some(parent), Some(members)) = (&shard.parent, out.as_object_mut()) {
        members.insert("ParentShardId".into(), json!(parent));
    }
    out
}
