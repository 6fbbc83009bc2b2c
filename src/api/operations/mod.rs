//! One file per operation; each is `run(backend, fields) -> JSON body`.

pub(crate) mod control;
pub(crate) mod items;
pub(crate) mod partiql;
pub(crate) mod streams;
pub(crate) mod tables;

use super::{Backend, Fields};
use crate::replica::ApiError;

/// The answer of an operation: the JSON body, empty where DynamoDB sends none.
pub(crate) type Answer = Result<Vec<u8>, ApiError>;

/// The API version that `X-Amz-Target` must name; nothing of the retired `DynamoDB_20111205` is offered.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";
/// That of the Streams operations, which share the port.
const STREAMS_PREFIX: &str = "DynamoDBStreams_20120810.";

/// The operations that this server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    BatchExecuteStatement,
    BatchGetItem,
    BatchWriteItem,
    CreateGlobalTable,
    CreateTable,
    DeleteItem,
    DeleteResourcePolicy,
    DeleteTable,
    DescribeContinuousBackups,
    DescribeContributorInsights,
    DescribeEndpoints,
    DescribeGlobalTable,
    DescribeGlobalTableSettings,
    DescribeKinesisStreamingDestination,
    DescribeLimits,
    DescribeStream,
    DescribeTable,
    DescribeTableReplicaAutoScaling,
    DescribeTimeToLive,
    ExecuteStatement,
    ExecuteTransaction,
    DisableKinesisStreamingDestination,
    EnableKinesisStreamingDestination,
    GetItem,
    GetRecords,
    GetShardIterator,
    ListStreams,
    GetResourcePolicy,
    ListContributorInsights,
    ListGlobalTables,
    ListTables,
    ListTagsOfResource,
    PutItem,
    PutResourcePolicy,
    Query,
    RestoreTableToPointInTime,
    Scan,
    SearchVectors,
    TagResource,
    TransactGetItems,
    TransactWriteItems,
    UntagResource,
    UpdateContinuousBackups,
    UpdateContributorInsights,
    UpdateGlobalTable,
    UpdateGlobalTableSettings,
    UpdateItem,
    UpdateKinesisStreamingDestination,
    UpdateTable,
    UpdateTableReplicaAutoScaling,
    UpdateTimeToLive,
}

impl Operation {
    /// The operation that an `X-Amz-Target` header names.
    pub(crate) fn from_target(target: &str) -> Option<Self> {
        if let Some(name) = target.strip_prefix(STREAMS_PREFIX) {
            return Some(match name {
                "DescribeStream" => Operation::DescribeStream,
                "GetRecords" => Operation::GetRecords,
                "GetShardIterator" => Operation::GetShardIterator,
                "ListStreams" => Operation::ListStreams,
                _ => return None,
            });
        }
        Some(match target.strip_prefix(TARGET_PREFIX)? {
            "BatchExecuteStatement" => Operation::BatchExecuteStatement,
            "BatchGetItem" => Operation::BatchGetItem,
            "BatchWriteItem" => Operation::BatchWriteItem,
            "CreateGlobalTable" => Operation::CreateGlobalTable,
            "CreateTable" => Operation::CreateTable,
            "DeleteItem" => Operation::DeleteItem,
            "DeleteResourcePolicy" => Operation::DeleteResourcePolicy,
            "DeleteTable" => Operation::DeleteTable,
            "DescribeContinuousBackups" => Operation::DescribeContinuousBackups,
            "DescribeContributorInsights" => Operation::DescribeContributorInsights,
            "DescribeEndpoints" => Operation::DescribeEndpoints,
            "DescribeGlobalTable" => Operation::DescribeGlobalTable,
            "DescribeGlobalTableSettings" => Operation::DescribeGlobalTableSettings,
            "DescribeKinesisStreamingDestination" => Operation::DescribeKinesisStreamingDestination,
            "DescribeLimits" => Operation::DescribeLimits,
            "DescribeTable" => Operation::DescribeTable,
            "DescribeTableReplicaAutoScaling" => Operation::DescribeTableReplicaAutoScaling,
            "DescribeTimeToLive" => Operation::DescribeTimeToLive,
            "ExecuteStatement" => Operation::ExecuteStatement,
            "ExecuteTransaction" => Operation::ExecuteTransaction,
            "DisableKinesisStreamingDestination" => Operation::DisableKinesisStreamingDestination,
            "EnableKinesisStreamingDestination" => Operation::EnableKinesisStreamingDestination,
            "GetItem" => Operation::GetItem,
            "GetResourcePolicy" => Operation::GetResourcePolicy,
            "ListContributorInsights" => Operation::ListContributorInsights,
            "ListGlobalTables" => Operation::ListGlobalTables,
            "ListTables" => Operation::ListTables,
            "ListTagsOfResource" => Operation::ListTagsOfResource,
            "PutItem" => Operation::PutItem,
            "PutResourcePolicy" => Operation::PutResourcePolicy,
            "Query" => Operation::Query,
            "RestoreTableToPointInTime" => Operation::RestoreTableToPointInTime,
            "Scan" => Operation::Scan,
            "SearchVectors" => Operation::SearchVectors,
            "TagResource" => Operation::TagResource,
            "TransactGetItems" => Operation::TransactGetItems,
            "TransactWriteItems" => Operation::TransactWriteItems,
            "UntagResource" => Operation::UntagResource,
            "UpdateContinuousBackups" => Operation::UpdateContinuousBackups,
            "UpdateContributorInsights" => Operation::UpdateContributorInsights,
            "UpdateGlobalTable" => Operation::UpdateGlobalTable,
            "UpdateGlobalTableSettings" => Operation::UpdateGlobalTableSettings,
            "UpdateItem" => Operation::UpdateItem,
            "UpdateKinesisStreamingDestination" => Operation::UpdateKinesisStreamingDestination,
            "UpdateTable" => Operation::UpdateTable,
            "UpdateTableReplicaAutoScaling" => Operation::UpdateTableReplicaAutoScaling,
            "UpdateTimeToLive" => Operation::UpdateTimeToLive,
            _ => return None,
        })
    }
}

/// Runs an operation. `host` is how the client reached us, which DescribeEndpoints repeats.
pub(crate) async fn run(
    operation: Operation,
    backend: &dyn Backend,
    fields: Fields,
    host: Option<&str>,
) -> Answer {
    match operation {
        Operation::BatchExecuteStatement => {
            partiql::batch_execute_statement::run(backend, fields).await
        }
        Operation::BatchGetItem => items::batch_get_item::run(backend, fields).await,
        Operation::BatchWriteItem => items::batch_write_item::run(backend, fields).await,
        Operation::CreateGlobalTable => control::create_global_table::run(backend, fields).await,
        Operation::CreateTable => tables::create_table::run(backend, fields).await,
        Operation::DeleteItem => items::delete_item::run(backend, fields).await,
        Operation::DeleteResourcePolicy => {
            control::delete_resource_policy::run(backend, fields).await
        }
        Operation::DeleteTable => tables::delete_table::run(backend, fields).await,
        Operation::DescribeContinuousBackups => {
            tables::describe_continuous_backups::run(backend, fields).await
        }
        Operation::DescribeContributorInsights => {
            control::describe_contributor_insights::run(backend, fields).await
        }
        Operation::DescribeEndpoints => tables::describe_endpoints::run(backend, host).await,
        Operation::DescribeGlobalTable => {
            control::describe_global_table::run(backend, fields).await
        }
        Operation::DescribeGlobalTableSettings => {
            control::describe_global_table_settings::run(backend, fields).await
        }
        Operation::DescribeKinesisStreamingDestination => {
            control::describe_kinesis_streaming_destination::run(backend, fields).await
        }
        Operation::DescribeLimits => tables::describe_limits::run(backend, fields).await,
        Operation::DescribeStream => streams::describe_stream::run(backend, fields).await,
        Operation::DescribeTable => tables::describe_table::run(backend, fields).await,
        Operation::DescribeTableReplicaAutoScaling => {
            control::describe_table_replica_auto_scaling::run(backend, fields).await
        }
        Operation::DescribeTimeToLive => tables::describe_time_to_live::run(backend, fields).await,
        Operation::ExecuteStatement => partiql::execute_statement::run(backend, fields).await,
        Operation::ExecuteTransaction => partiql::execute_transaction::run(backend, fields).await,
        Operation::DisableKinesisStreamingDestination => {
            control::disable_kinesis_streaming_destination::run(backend, fields).await
        }
        Operation::EnableKinesisStreamingDestination => {
            control::enable_kinesis_streaming_destination::run(backend, fields).await
        }
        Operation::GetItem => items::get_item::run(backend, fields).await,
        Operation::GetRecords => streams::get_records::run(backend, fields).await,
        Operation::GetShardIterator => streams::get_shard_iterator::run(backend, fields).await,
        Operation::ListStreams => streams::list_streams::run(backend, fields).await,
        Operation::GetResourcePolicy => control::get_resource_policy::run(backend, fields).await,
        Operation::ListContributorInsights => {
            control::list_contributor_insights::run(backend, fields).await
        }
        Operation::ListGlobalTables => control::list_global_tables::run(backend, fields).await,
        Operation::ListTables => tables::list_tables::run(backend, fields).await,
        Operation::ListTagsOfResource => tables::tags::list(backend, fields).await,
        Operation::PutItem => items::put_item::run(backend, fields).await,
        Operation::PutResourcePolicy => control::put_resource_policy::run(backend, fields).await,
        Operation::Query => items::query::run(backend, fields).await,
        Operation::RestoreTableToPointInTime => {
            control::restore_table_to_point_in_time::run(backend, fields).await
        }
        Operation::Scan => items::scan::run(backend, fields).await,
        Operation::SearchVectors => control::search_vectors::run(backend, fields).await,
        Operation::TagResource => tables::tags::tag(backend, fields).await,
        Operation::TransactGetItems => items::transact_get_items::run(backend, fields).await,
        Operation::TransactWriteItems => items::transact_write_items::run(backend, fields).await,
        Operation::UntagResource => tables::tags::untag(backend, fields).await,
        Operation::UpdateContinuousBackups => {
            control::update_continuous_backups::run(backend, fields).await
        }
        Operation::UpdateContributorInsights => {
            control::update_contributor_insights::run(backend, fields).await
        }
        Operation::UpdateGlobalTable => control::update_global_table::run(backend, fields).await,
        Operation::UpdateGlobalTableSettings => {
            control::update_global_table_settings::run(backend, fields).await
        }
        Operation::UpdateItem => items::update_item::run(backend, fields).await,
        Operation::UpdateKinesisStreamingDestination => {
            control::update_kinesis_streaming_destination::run(backend, fields).await
        }
        Operation::UpdateTable => tables::update_table::run(backend, fields).await,
        Operation::UpdateTableReplicaAutoScaling => {
            control::update_table_replica_auto_scaling::run(backend, fields).await
        }
        Operation::UpdateTimeToLive => tables::update_time_to_live::run(backend, fields).await,
    }
}
