//! One file per operation; each is `run(backend, fields) -> JSON body`. The table below is all there is to add.

pub(crate) mod control;
pub(crate) mod items;
pub(crate) mod partiql;
pub(crate) mod streams;
pub(crate) mod tables;

use super::auth::Caller;
use super::{Backend, Fields};
use crate::replica::ApiError;

/// The answer of an operation: the JSON body, empty where DynamoDB sends none.
pub(crate) type Answer = Result<Vec<u8>, ApiError>;

/// What an operation may want to know beside its members.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// Who calls: the one place where policies learn it.
    pub(crate) caller: Caller,
    /// How the client reached us, which DescribeEndpoints repeats.
    pub(crate) host: Option<String>,
}

/// Makes of one table the operations, what `X-Amz-Target` names and what is run.
macro_rules! operations {
    (
        $backend:ident, $fields:ident, $context:ident;
        $($prefix:literal => { $($name:ident $(($with:ident))? => $run:path,)* })*
    ) => {
        /// The operations that this server offers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation {
            $($($name,)*)*
        }

        impl Operation {
            /// The operation that an `X-Amz-Target` header names.
            pub(crate) fn from_target(target: &str) -> Option<Self> {
                match target {
                    $($(concat!($prefix, stringify!($name)) => Some(Operation::$name),)*)*
                    _ => None,
                }
            }
        }

        /// Runs an operation.
        pub(crate) async fn run(
            operation: Operation,
            $backend: &dyn Backend,
            $fields: Fields,
            $context: &RequestContext,
        ) -> Answer {
            tracing::trace!(?operation, caller = $context.caller.access_key, "request");
            match operation {
                $($(Operation::$name => $run($backend, $fields $(, $with)?).await,)*)*
            }
        }
    };
}

// Streams share the port under a prefix of their own; nothing of the retired `DynamoDB_20111205` is offered.
operations! {
    backend, fields, context;
    "DynamoDB_20120810." => {
        BatchExecuteStatement => partiql::batch_execute_statement::run,
        BatchGetItem => items::batch_get_item::run,
        BatchWriteItem => items::batch_write_item::run,
        CreateGlobalTable => control::create_global_table::run,
        CreateTable => tables::create_table::run,
        DeleteItem => items::delete_item::run,
        DeleteResourcePolicy => control::delete_resource_policy::run,
        DeleteTable => tables::delete_table::run,
        DescribeContinuousBackups => tables::describe_continuous_backups::run,
        DescribeContributorInsights => control::describe_contributor_insights::run,
        DescribeEndpoints(context) => tables::describe_endpoints::run,
        DescribeGlobalTable => control::describe_global_table::run,
        DescribeGlobalTableSettings => control::describe_global_table_settings::run,
        DescribeKinesisStreamingDestination => control::describe_kinesis_streaming_destination::run,
        DescribeLimits => tables::describe_limits::run,
        DescribeTable => tables::describe_table::run,
        DescribeTableReplicaAutoScaling => control::describe_table_replica_auto_scaling::run,
        DescribeTimeToLive => tables::describe_time_to_live::run,
        DisableKinesisStreamingDestination => control::disable_kinesis_streaming_destination::run,
        EnableKinesisStreamingDestination => control::enable_kinesis_streaming_destination::run,
        ExecuteStatement => partiql::execute_statement::run,
        ExecuteTransaction => partiql::execute_transaction::run,
        GetItem => items::get_item::run,
        GetResourcePolicy => control::get_resource_policy::run,
        ListContributorInsights => control::list_contributor_insights::run,
        ListGlobalTables => control::list_global_tables::run,
        ListTables => tables::list_tables::run,
        ListTagsOfResource => tables::tags::list,
        PutItem => items::put_item::run,
        PutResourcePolicy => control::put_resource_policy::run,
        Query => items::query::run,
        RestoreTableToPointInTime => control::restore_table_to_point_in_time::run,
        Scan => items::scan::run,
        SearchVectors => control::search_vectors::run,
        TagResource => tables::tags::tag,
        TransactGetItems => items::transact_get_items::run,
        TransactWriteItems => items::transact_write_items::run,
        UntagResource => tables::tags::untag,
        UpdateContinuousBackups => control::update_continuous_backups::run,
        UpdateContributorInsights => control::update_contributor_insights::run,
        UpdateGlobalTable => control::update_global_table::run,
        UpdateGlobalTableSettings => control::update_global_table_settings::run,
        UpdateItem => items::update_item::run,
        UpdateKinesisStreamingDestination => control::update_kinesis_streaming_destination::run,
        UpdateTable => tables::update_table::run,
        UpdateTableReplicaAutoScaling => control::update_table_replica_auto_scaling::run,
        UpdateTimeToLive => tables::update_time_to_live::run,
    }
    "DynamoDBStreams_20120810." => {
        DescribeStream => streams::describe_stream::run,
        GetRecords => streams::get_records::run,
        GetShardIterator => streams::get_shard_iterator::run,
        ListStreams => streams::list_streams::run,
    }
}
