//! One file per operation; each is `run(backend, fields) -> JSON body`.

pub(crate) mod items;
pub(crate) mod partiql;
pub(crate) mod tables;

use super::{Backend, Fields};
use crate::replica::ApiError;

/// The answer of an operation: the JSON body, empty where DynamoDB sends none.
pub(crate) type Answer = Result<Vec<u8>, ApiError>;

/// The API version that `X-Amz-Target` must name. Streams operations share the port under their own
/// prefix; none is offered yet, nor any of the retired `DynamoDB_20111205`.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// The operations that this server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    BatchExecuteStatement,
    BatchGetItem,
    BatchWriteItem,
    CreateTable,
    DeleteItem,
    DeleteTable,
    DescribeContinuousBackups,
    DescribeEndpoints,
    DescribeLimits,
    DescribeTable,
    DescribeTimeToLive,
    ExecuteStatement,
    ExecuteTransaction,
    GetItem,
    ListTables,
    ListTagsOfResource,
    PutItem,
    Query,
    Scan,
    TagResource,
    TransactGetItems,
    TransactWriteItems,
    UntagResource,
    UpdateItem,
    UpdateTable,
    UpdateTimeToLive,
}

impl Operation {
    /// The operation that an `X-Amz-Target` header names.
    pub(crate) fn from_target(target: &str) -> Option<Self> {
        Some(match target.strip_prefix(TARGET_PREFIX)? {
            "BatchExecuteStatement" => Operation::BatchExecuteStatement,
            "BatchGetItem" => Operation::BatchGetItem,
            "BatchWriteItem" => Operation::BatchWriteItem,
            "CreateTable" => Operation::CreateTable,
            "DeleteItem" => Operation::DeleteItem,
            "DeleteTable" => Operation::DeleteTable,
            "DescribeContinuousBackups" => Operation::DescribeContinuousBackups,
            "DescribeEndpoints" => Operation::DescribeEndpoints,
            "DescribeLimits" => Operation::DescribeLimits,
            "DescribeTable" => Operation::DescribeTable,
            "DescribeTimeToLive" => Operation::DescribeTimeToLive,
            "ExecuteStatement" => Operation::ExecuteStatement,
            "ExecuteTransaction" => Operation::ExecuteTransaction,
            "GetItem" => Operation::GetItem,
            "ListTables" => Operation::ListTables,
            "ListTagsOfResource" => Operation::ListTagsOfResource,
            "PutItem" => Operation::PutItem,
            "Query" => Operation::Query,
            "Scan" => Operation::Scan,
            "TagResource" => Operation::TagResource,
            "TransactGetItems" => Operation::TransactGetItems,
            "TransactWriteItems" => Operation::TransactWriteItems,
            "UntagResource" => Operation::UntagResource,
            "UpdateItem" => Operation::UpdateItem,
            "UpdateTable" => Operation::UpdateTable,
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
        Operation::CreateTable => tables::create_table::run(backend, fields).await,
        Operation::DeleteItem => items::delete_item::run(backend, fields).await,
        Operation::DeleteTable => tables::delete_table::run(backend, fields).await,
        Operation::DescribeContinuousBackups => {
            tables::describe_continuous_backups::run(backend, fields).await
        }
        Operation::DescribeEndpoints => tables::describe_endpoints::run(backend, host).await,
        Operation::DescribeLimits => tables::describe_limits::run(backend, fields).await,
        Operation::DescribeTable => tables::describe_table::run(backend, fields).await,
        Operation::DescribeTimeToLive => tables::describe_time_to_live::run(backend, fields).await,
        Operation::ExecuteStatement => partiql::execute_statement::run(backend, fields).await,
        Operation::ExecuteTransaction => partiql::execute_transaction::run(backend, fields).await,
        Operation::GetItem => items::get_item::run(backend, fields).await,
        Operation::ListTables => tables::list_tables::run(backend, fields).await,
        Operation::ListTagsOfResource => tables::tags::list(backend, fields).await,
        Operation::PutItem => items::put_item::run(backend, fields).await,
        Operation::Query => items::query::run(backend, fields).await,
        Operation::Scan => items::scan::run(backend, fields).await,
        Operation::TagResource => tables::tags::tag(backend, fields).await,
        Operation::TransactGetItems => items::transact_get_items::run(backend, fields).await,
        Operation::TransactWriteItems => items::transact_write_items::run(backend, fields).await,
        Operation::UntagResource => tables::tags::untag(backend, fields).await,
        Operation::UpdateItem => items::update_item::run(backend, fields).await,
        Operation::UpdateTable => tables::update_table::run(backend, fields).await,
        Operation::UpdateTimeToLive => tables::update_time_to_live::run(backend, fields).await,
    }
}
