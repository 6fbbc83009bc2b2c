//! Who calls, from the SigV4 parts of a request (errors-and-validation.md section 6).
//!
//! Checked in AWS's order: the parts are there, the date is ours, the scope is ours, the key is known, the
//! signature is right. That the date comes before the scope is AWS's way: a stale request with a nonsensical
//! scope is stale. With [`Keys::Any`] the last two and what only they need are left out: development.

mod date;
mod query;
mod signature;
#[cfg(test)]
mod tests;

use hyper::{HeaderMap, Method};

use super::RegionInfo;
use crate::config::Credentials;
use crate::replica::ApiError;
use signature::{Expected, Scope};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// For both services that share the port.
const SERVICE: &str = "dynamodb";
const TERMINATOR: &str = "aws4_request";
const HEADER_PARTS: [&str; 3] = ["Credential", "Signature", "SignedHeaders"];
const QUERY_PARTS: [&str; 5] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
];
const UNKNOWN_KEY: &str = "The security token included in the request is invalid.";
const WRONG_SIGNATURE: &str = "The request signature we calculated does not match the signature you provided. \
     Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

/// Whose requests are served.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Anybody's: signatures are not checked. For development.
    Any,
    /// Those that are signed with one of these keys.
    Known(Credentials),
}

/// The identity behind a request: what policies will ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) access_key: String,
}

/// The parts of a request that a signature covers, as they were sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedRequest<'a> {
    pub method: &'a Method,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// HTTP/2's name for the host.
    pub authority: Option<&'a str>,
    /// Not decompressed.
    pub body: &'a [u8],
}

/// What a request says of its signature.
#[derive(Debug)]
struct Claim {
    algorithm: String,
    credential: String,
    signed_headers: String,
    signature: String,
    date: String,
    token: Option<String>,
}

/// The elements of `keyid/date/region/service/aws4_request`.
struct Credential<'a> {
    access_key: &'a str,
    scope: Scope<'a>,
    terminator: &'a str,
}

/// Finds out who calls. `now` is in seconds since 1970.
pub(crate) fn authenticate(
    request: &SignedRequest<'_>,
    region: &RegionInfo,
    keys: &Keys,
    now: u64,
) -> Result<Caller, ApiError> {
    let claim = claim(request)?;
    if claim.algorithm != ALGORITHM {
        return Err(ApiError::IncompleteSignature(format!(
            "Unsupported AWS 'algorithm': '{}' (only {ALGORITHM} for now). ",
            claim.algorithm
        )));
    }
    let credential = credential(&claim.credential)?;
    let seconds = date::parse(&claim.date).ok_or_else(|| {
        ApiError::IncompleteSignature(format!(
            "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
            claim.date
        ))
    })?;
    let names = signed_names(&claim.signed_headers);
    if let Some(reason) = date::out_of_time(&claim.date, seconds, now) {
        return Err(ApiError::InvalidSignature(reason));
    }
    let strict = matches!(keys, Keys::Known(_));
    if strict {
        must_be_signed(request, &names)?;
    }
    scoped(&credential, &claim.date, region, strict)?;
    if let Keys::Known(credentials) = keys {
        verify(request, &claim, &credential, &names, credentials)?;
    }
    Ok(Caller {
        access_key: credential.access_key.to_owned(),
    })
}

/// Takes the claim from the `Authorization` header, or the query string of a presigned request.
fn claim(request: &SignedRequest<'_>) -> Result<Claim, ApiError> {
    let header = text(request.headers, hyper::header::AUTHORIZATION.as_str());
    let in_query = |name: &str| query::parameter(request.query.unwrap_or_default(), name);
    let presigned = in_query("X-Amz-Algorithm").is_some();
    match header {
        Some(_) if presigned => Err(ApiError::InvalidSignature(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.".into(),
        )),
        Some(header) if header.starts_with("AWS4-") => from_header(request.headers, &header),
        None if presigned => from_query(in_query),
        _ => Err(ApiError::MissingAuthenticationToken(
            "Request is missing Authentication Token".into(),
        )),
    }
}

/// The first value of a header.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
}

/// The claim of an `Authorization` header that has all its parts.
fn from_header(headers: &HeaderMap, header: &str) -> Result<Claim, ApiError> {
    let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
    let part = |name: &str| {
        let mut pairs = rest
            .split([',', ' '])
            .filter_map(|pair| pair.trim().split_once('='));
        pairs
            .find(|(key, value)| *key == name && !value.is_empty())
            .map(|(_, value)| value)
    };
    let mut lacking = String::new();
    for name in HEADER_PARTS {
        if part(name).is_none() {
            lacking += &format!("Authorization header requires '{name}' parameter. ");
        }
    }
    let date = text(headers, "x-amz-date").or_else(|| text(headers, hyper::header::DATE.as_str()));
    if date.is_none() {
        lacking +=
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
    }
    if !lacking.is_empty() {
        return Err(ApiError::IncompleteSignature(format!(
            "{lacking}Authorization={header}"
        )));
    }
    let owned = |name: &str| part(name).unwrap_or_default().to_owned();
    Ok(Claim {
        algorithm: algorithm.to_owned(),
        credential: owned("Credential"),
        signed_headers: owned("SignedHeaders"),
        signature: owned("Signature"),
        date: date.unwrap_or_default(),
        token: text(headers, "x-amz-security-token"),
    })
}

/// The claim of a presigned request that has all its parts.
fn from_query(parameter: impl Fn(&str) -> Option<String>) -> Result<Claim, ApiError> {
    let mut lacking = String::new();
    for name in QUERY_PARTS {
        if parameter(name).is_none_or(|value| value.is_empty()) {
            lacking += &format!("AWS query-string parameters must include '{name}'. ");
        }
    }
    if !lacking.is_empty() {
        return Err(ApiError::IncompleteSignature(format!(
            "{lacking}Re-examine the query-string parameters."
        )));
    }
    let owned = |name: &str| parameter(name).unwrap_or_default();
    Ok(Claim {
        algorithm: owned("X-Amz-Algorithm"),
        credential: owned("X-Amz-Credential"),
        signed_headers: owned("X-Amz-SignedHeaders"),
        signature: owned("X-Amz-Signature"),
        date: owned("X-Amz-Date"),
        token: parameter("X-Amz-Security-Token"),
    })
}

fn credential(text: &str) -> Result<Credential<'_>, ApiError> {
    let parts: Vec<&str> = text.split('/').collect();
    let [access_key, day, region, service, terminator] = parts.as_slice() else {
        return Err(ApiError::IncompleteSignature(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{text}'"
        )));
    };
    Ok(Credential {
        access_key,
        scope: Scope {
            day,
            region,
            service,
        },
        terminator,
    })
}

/// The names of a `SignedHeaders` list, in lower case and sorted.
fn signed_names(list: &str) -> Vec<String> {
    let mut names: Vec<String> = list
        .split(';')
        .filter(|name| !name.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The headers that decide what a request does must be covered, or whoever overhears one could send another
/// under its signature.
fn must_be_signed(request: &SignedRequest<'_>, names: &[String]) -> Result<(), ApiError> {
    let signed = |name: &str| names.iter().any(|signed| signed == name);
    let lacking = if !signed("host") && !signed(":authority") {
        "'Host' or ':authority'"
    } else if request.headers.contains_key("x-amz-target") && !signed("x-amz-target") {
        "'X-Amz-Target'"
    } else {
        return Ok(());
    };
    Err(ApiError::InvalidSignature(format!(
        "{lacking} must be a 'SignedHeader' in the AWS Authorization."
    )))
}

/// Checks the scope; its date and terminator only where the signature depends on them.
fn scoped(
    credential: &Credential<'_>,
    date: &str,
    region: &RegionInfo,
    strict: bool,
) -> Result<(), ApiError> {
    let Scope {
        day,
        region: named,
        service,
    } = credential.scope;
    let mut wrong = String::new();
    if named != region.name {
        wrong += &format!("Credential should be scoped to a valid region, not '{named}'. ");
        // AWS has all regions there are; here it helps to know which.
        if region.id_of(named).is_none() {
            let known: Vec<String> = region.topology.list().into_iter().map(|(_, n)| n).collect();
            wrong += &format!("This cluster has: {}. ", known.join(", "));
        }
    }
    if service != SERVICE {
        wrong += &format!("Credential should be scoped to correct service: '{SERVICE}'. ");
    }
    if strict && credential.terminator != TERMINATOR {
        wrong += &format!(
            "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'. ",
            credential.terminator
        );
    }
    let from_date = date.get(..8).unwrap_or(date);
    if strict && day != from_date {
        wrong += &format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
             '{day}' != '{from_date}', from '{date}'. "
        );
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(ApiError::InvalidSignature(wrong))
    }
}

/// The key is known, comes with its token if it has one, and has signed the request.
fn verify(
    request: &SignedRequest<'_>,
    claim: &Claim,
    credential: &Credential<'_>,
    names: &[String],
    credentials: &Credentials,
) -> Result<(), ApiError> {
    let unknown = || ApiError::UnrecognizedClient(UNKNOWN_KEY.into());
    let secret = credentials
        .secret(credential.access_key)
        .ok_or_else(unknown)?;
    let token_fits = match (&secret.token, &claim.token) {
        (None, None) => true,
        (Some(expected), Some(given)) => signature::same(expected, given),
        _ => false,
    };
    if !token_fits {
        return Err(unknown());
    }
    let expected = Expected::new(request, names, &claim.date, credential.scope, &secret.key);
    if expected.is(&claim.signature) {
        return Ok(());
    }
    Err(ApiError::InvalidSignature(format!(
        "{WRONG_SIGNATURE}\n\nThe Canonical String for this request should have been\n'{}'\n\n\
         The String-to-Sign should have been\n'{}'\n",
        String::from_utf8_lossy(&expected.canonical),
        expected.string_to_sign
    )))
}

/// Now, as a request's date.
#[cfg(test)]
pub(crate) fn date_of(now: u64) -> String {
    date::format(now)
}
