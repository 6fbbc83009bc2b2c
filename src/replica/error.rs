//! The errors a request can end in: one variant per DynamoDB exception, carrying what the wire needs
//! (errors-and-validation.md section 2).

use crate::expression::ExpressionError;
use crate::item::{Item, KeyError};
use crate::store::StoreError;

/// Why one action of a transaction failed.
#[derive(Clone, Debug, PartialEq)]
pub struct CancellationReason {
    /// `None`, `ConditionalCheckFailed`, `ValidationError`, `TransactionConflict` ...
    pub code: &'static str,
    pub message: Option<String>,
    /// The item as it was, when asked for with ReturnValuesOnConditionCheckFailure.
    pub item: Option<Item>,
}

/// Which limit refused a request, and of what (its ARN): `TableReadProvisionedThroughputExceeded` ...
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThrottlingReason {
    pub reason: String,
    pub resource: String,
}

impl Default for CancellationReason {
    /// The reason of an action that did not fail.
    fn default() -> Self {
        CancellationReason {
            code: "None",
            message: None,
            item: None,
        }
    }
}

/// A DynamoDB exception. `Display` is the message of the wire.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    #[error("{0}")]
    Validation(String),
    /// JSON of the wrong shape. `None` where DynamoDB sends no message.
    #[error("{}", .0.as_deref().unwrap_or(""))]
    Serialization(Option<String>),
    #[error("")]
    UnknownOperation,
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    ResourceInUse(String),
    #[error("{0}")]
    LimitExceeded(String),
    /// A write would make an item collection larger than it may be.
    #[error("Collection size exceeded.")]
    ItemCollectionSizeLimitExceeded,
    #[error("The conditional request failed")]
    ConditionalCheckFailed { item: Option<Item> },
    /// A PartiQL INSERT of an item that is there.
    #[error("Duplicate primary key exists in table")]
    DuplicateItem,
    #[error("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        .reasons.iter().map(|r| r.code).collect::<Vec<_>>().join(", "))]
    TransactionCanceled { reasons: Vec<CancellationReason> },
    #[error("{0}")]
    IdempotentParameterMismatch(String),
    #[error("{0}")]
    TransactionInProgress(String),
    #[error("{0}")]
    GlobalTableNotFound(String),
    #[error("{0}")]
    TableNotFound(String),
    /// A shard iterator older than 15 minutes.
    #[error("{0}")]
    ExpiredIterator(String),
    /// Stream records that are gone.
    #[error("{0}")]
    TrimmedDataAccess(String),
    #[error("{0}")]
    PolicyNotFound(String),
    #[error("{0}")]
    PointInTimeRecoveryUnavailable(String),
    /// A provisioned table or index is out of capacity. Retryable.
    #[error("{message}")]
    ProvisionedThroughputExceeded {
        message: &'static str,
        reasons: Vec<ThrottlingReason>,
    },
    /// An on-demand table or index is at its configured maximum. Retryable.
    #[error("{message}")]
    MaxOnDemandThroughputExceeded {
        message: &'static str,
        reasons: Vec<ThrottlingReason>,
    },
    /// A resource of another account.
    #[error("{0}")]
    AccessDenied(String),
    #[error("{0}")]
    MissingAuthenticationToken(String),
    #[error("{0}")]
    IncompleteSignature(String),
    #[error("{0}")]
    InvalidSignature(String),
    #[error("{0}")]
    UnrecognizedClient(String),
    /// Retryable: the writer's queue is full, the disk is full, or the region is fenced. HTTP 400.
    #[error("{0}")]
    Throttling(String),
    /// Retryable: HTTP 500. The write may have happened.
    #[error("{0}")]
    InternalServer(String),
    /// Retryable: HTTP 503.
    #[error("{0}")]
    ServiceUnavailable(String),
}

impl ApiError {
    pub fn validation(message: impl Into<String>) -> Self {
        ApiError::Validation(message.into())
    }

    /// The data plane's answer to a table that does not exist.
    pub fn resource_not_found() -> Self {
        ApiError::ResourceNotFound("Requested resource not found".into())
    }

    /// The control plane's answer to a table that does not exist.
    pub fn table_not_found(table: &str) -> Self {
        ApiError::ResourceNotFound(format!(
            "Requested resource not found: Table: {table} not found"
        ))
    }

    /// The control plane's answer while indexes of the table are built or removed.
    pub fn table_in_use(table: &str) -> Self {
        ApiError::ResourceInUse(format!(
            "Attempt to change a resource which is still in use: Table is being updated: {table}"
        ))
    }
}

impl From<ExpressionError> for ApiError {
    fn from(error: ExpressionError) -> Self {
        ApiError::Validation(error.0)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => ApiError::ServiceUnavailable(error.to_string()),
            other => ApiError::InternalServer(other.to_string()),
        }
    }
}

/// How a request may fail inside the replica: in itself, or because the store did.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExecuteError {
    #[error(transparent)]
    Api(ApiError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ApiError> for ExecuteError {
    fn from(error: ApiError) -> Self {
        ExecuteError::Api(error)
    }
}

impl From<ExpressionError> for ExecuteError {
    fn from(error: ExpressionError) -> Self {
        ExecuteError::Api(error.into())
    }
}

impl From<KeyError> for ExecuteError {
    fn from(error: KeyError) -> Self {
        ExecuteError::Api(ApiError::validation(error.to_string()))
    }
}
