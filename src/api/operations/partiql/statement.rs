//! A statement and its parameters, as all three operations take them.

use serde_json::Value as Json;

use crate::api::fields::name_in_arn;
use crate::api::operations::items::transact_write_items::digest;
use crate::api::{Backend, Constraints, Fields, enums, params};
use crate::item::Value;
use crate::item::json::{ValueError, check_value, value_from_json};
use crate::partiql::{self, PartiqlError, STATEMENT_MAX, Statement};
use crate::replica::ApiError;
use crate::replica::catalog::TableDef;
use crate::store::ReadTxn;

/// One statement of a request, its JSON types checked.
pub(super) struct StatementParams {
    text: Option<String>,
    parameters: Option<Vec<Json>>,
    on_failure: Option<String>,
}

impl StatementParams {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let text = fields.string("Statement")?;
        let parameters = fields.list("Parameters")?;
        for parameter in parameters.iter().flatten() {
            if let Err(ValueError::Serialization(message)) = check_value(parameter) {
                return Err(ApiError::Serialization(Some(message)));
            }
        }
        Ok(StatementParams {
            text,
            parameters,
            on_failure: fields.string("ReturnValuesOnConditionCheckFailure")?,
        })
    }

    /// `path` is where the statement stands in the request, with a dot behind it.
    pub(super) fn constrain(&self, path: &str, constraints: &mut Constraints) {
        let statement = format!("{path}statement");
        constraints.required(&statement, self.text.as_ref());
        if let Some(text) = &self.text {
            constraints.length(&statement, text, 1, STATEMENT_MAX);
        }
        if let Some(parameters) = &self.parameters {
            let path = format!("{path}parameters");
            constraints.count(&path, parameters.len(), "'[]'", 1, usize::MAX);
        }
        constraints.one_of(
            &format!("{path}returnValuesOnConditionCheckFailure"),
            self.on_failure.as_deref(),
            enums::RETURN_VALUES_ON_FAILURE,
        );
    }

    pub(super) fn return_old_on_failure(&self) -> bool {
        self.on_failure.as_deref() == Some("ALL_OLD")
    }

    /// The parameters, the first bad one reported.
    pub(super) fn values(&self) -> Result<Vec<Value>, ApiError> {
        let parameters = self.parameters.iter().flatten();
        parameters
            .map(|json| {
                value_from_json(json.clone()).map_err(|error| match error {
                    ValueError::Validation(message) => ApiError::Validation(message),
                    ValueError::Serialization(message) => ApiError::Serialization(Some(message)),
                })
            })
            .collect()
    }

    /// The statement, with `values` in their places.
    pub(super) fn parse(&self, values: &[Value]) -> Result<Statement, PartiqlError> {
        partiql::parse(self.text.as_deref().unwrap_or_default(), values)
    }

    /// What a token of the statement's pages is bound to.
    pub(super) fn digest(&self) -> u64 {
        let text = Json::from(self.text.as_deref().unwrap_or_default());
        let mut elements = vec![text];
        elements.extend(self.parameters.iter().flatten().cloned());
        digest(&elements)
    }
}

pub(super) fn error(error: PartiqlError) -> ApiError {
    ApiError::Validation(error.to_string())
}

/// The table that a statement names, by name or ARN.
pub(super) fn table(
    backend: &dyn Backend,
    txn: &dyn ReadTxn,
    statement: &Statement,
) -> Result<TableDef, ApiError> {
    let name = statement.table();
    params::table(backend, txn, name_in_arn(name).unwrap_or(name))
}
