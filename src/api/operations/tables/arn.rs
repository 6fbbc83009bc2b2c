//! The ARNs of tagged resources and of policies (errors-and-validation.md sections 2 and 5).

use super::schema::{NAME_MAX, NAME_MIN};
use super::{ApiError, invalid, local};
use crate::api::{Backend, Constraints};
use crate::replica::catalog::{LocalSettings, TableDef};

const ARN_MAX: usize = 1283;

/// Checks `ResourceArn` alone, as far as it needs no table.
pub(crate) fn constrain(arn: Option<&String>, c: &mut Constraints) {
    c.required("resourceArn", arn);
    if let Some(arn) = arn {
        c.length("resourceArn", arn, 1, ARN_MAX);
    }
}

/// `arn:partition:service:region:account:resource`, apart.
struct Parts<'a> {
    partition: &'a str,
    service: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

fn parts(arn: &str) -> Option<Parts<'_>> {
    let mut parts = arn.splitn(6, ':').skip(1);
    Some(Parts {
        partition: parts.next()?,
        service: parts.next()?,
        region: parts.next()?,
        account: parts.next()?,
        resource: parts.next()?,
    })
}

fn refuse_bare(arn: &str) -> Result<(), ApiError> {
    if arn.starts_with("arn:") {
        return Ok(());
    }
    Err(invalid(format!("ARNs must start with 'arn:': {arn}")))
}

fn wrong_resource(arn: &str) -> ApiError {
    invalid(format!(
        "Invalid resource arn provided, only table or stream is accepted. Provided resource arn: {arn}"
    ))
}

/// The name of the table that an ARN means to the tag operations. Nothing is looked up.
pub(super) fn tagged_table(backend: &dyn Backend, arn: &str) -> Result<String, ApiError> {
    refuse_bare(arn)?;
    let malformed = || {
        ApiError::validation(format!(
            "Invalid TableArn: Invalid ResourceArn provided as input {arn}"
        ))
    };
    let parts = parts(arn).ok_or_else(malformed)?;
    if parts.service != "dynamodb" {
        return Err(malformed());
    }
    let own = backend.region();
    if parts.account != own.account {
        return Err(ApiError::AccessDenied("Access is denied".into()));
    }
    let name = parts.resource.strip_prefix("table/").unwrap_or_default();
    if name.contains("/index/") {
        return Err(wrong_resource(arn));
    }
    if parts.region != own.name || !(NAME_MIN..=NAME_MAX).contains(&name.len()) {
        return Err(malformed());
    }
    Ok(name.to_owned())
}

/// The name of the table that an ARN means to the policy operations. Nothing is looked up.
pub(crate) fn policy_table(backend: &dyn Backend, arn: &str) -> Result<String, ApiError> {
    refuse_bare(arn)?;
    let foreign = || {
        invalid(format!(
            "Provided Arn is not a DynamoDB resource arn: {arn}"
        ))
    };
    let parts = parts(arn).ok_or_else(foreign)?;
    let own = backend.region();
    if parts.service != "dynamodb" {
        return Err(foreign());
    }
    if parts.account != own.account {
        return Err(ApiError::validation(
            "This action is only supported by accounts that match the resource owner\u{2019}s account.",
        ));
    }
    if parts.partition != "aws" || parts.region != own.name {
        return Err(invalid(format!("Invalid resource Arn: {arn}")));
    }
    let mut segments = parts.resource.splitn(3, '/');
    let (Some("table"), Some(name)) = (segments.next(), segments.next()) else {
        return Err(foreign());
    };
    match segments.next() {
        None => Ok(name.to_owned()),
        Some(rest) if rest.starts_with("index/") => Err(wrong_resource(arn)),
        Some(rest) => match rest.strip_prefix("stream/") {
            // Policies of streams are not kept: no stream is found.
            Some(label) => Err(ApiError::ResourceNotFound(format!(
                "Requested resource not found: Stream: {label} not found for Table: {name}"
            ))),
            None => Err(foreign()),
        },
    }
}

/// The table that an ARN means to the tag operations.
pub(super) fn tagged(
    backend: &dyn Backend,
    arn: &str,
) -> Result<(TableDef, LocalSettings), ApiError> {
    let name = tagged_table(backend, arn)?;
    local::lookup(backend, &name)?.ok_or_else(|| {
        ApiError::ResourceNotFound(format!(
            "Requested resource not found: ResourcArn: {arn} not found"
        ))
    })
}
