//! Who calls, from the SigV4 parts of a request (errors-and-validation.md section 6).
//!
//! The signature itself is not verified yet: any access key may call. The region of the credential scope
//! must be this region's, which catches clients that talk to the wrong endpoint.

use hyper::HeaderMap;

use crate::replica::ApiError;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "dynamodb";
const HEADER_PARTS: [&str; 3] = ["Credential", "Signature", "SignedHeaders"];
const QUERY_PARTS: [&str; 5] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
];

/// The identity behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) access_key: String,
}

/// Takes the caller from the `Authorization` header or the query string of a presigned request.
pub(crate) fn authenticate(
    headers: &HeaderMap,
    query: Option<&str>,
    region: &str,
) -> Result<Caller, ApiError> {
    let header = headers
        .get(hyper::header::AUTHORIZATION)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    let in_query = |name: &str| query_parameter(query.unwrap_or_default(), name);
    let presigned = in_query("X-Amz-Algorithm").is_some();
    let (algorithm, credential) = match header {
        Some(_) if presigned => {
            return Err(ApiError::InvalidSignature(
                "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.".into(),
            ));
        }
        Some(header) if header.starts_with("AWS4-") => from_header(headers, &header)?,
        None if presigned => from_query(in_query)?,
        _ => {
            return Err(ApiError::MissingAuthenticationToken(
                "Request is missing Authentication Token".into(),
            ));
        }
    };
    if algorithm != ALGORITHM {
        return Err(ApiError::IncompleteSignature(format!(
            "Unsupported AWS 'algorithm': '{algorithm}' (only {ALGORITHM} for now). "
        )));
    }
    scoped(&credential, region)
}

/// (algorithm, credential) of an `Authorization` header that has all its parts.
fn from_header(headers: &HeaderMap, header: &str) -> Result<(String, String), ApiError> {
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
    if !headers.contains_key("x-amz-date") && !headers.contains_key(hyper::header::DATE) {
        lacking +=
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
    }
    if !lacking.is_empty() {
        return Err(ApiError::IncompleteSignature(format!(
            "{lacking}Authorization={header}"
        )));
    }
    Ok((
        algorithm.to_owned(),
        part("Credential").unwrap_or_default().to_owned(),
    ))
}

/// (algorithm, credential) of a presigned request that has all its parts.
fn from_query(parameter: impl Fn(&str) -> Option<String>) -> Result<(String, String), ApiError> {
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
    Ok((
        parameter("X-Amz-Algorithm").unwrap_or_default(),
        parameter("X-Amz-Credential").unwrap_or_default(),
    ))
}

/// Checks the scope of `keyid/date/region/service/aws4_request`.
fn scoped(credential: &str, region: &str) -> Result<Caller, ApiError> {
    let parts: Vec<&str> = credential.split('/').collect();
    let [access_key, _date, scope_region, service, _terminator] = parts.as_slice() else {
        return Err(ApiError::IncompleteSignature(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
        )));
    };
    let mut wrong = String::new();
    if *scope_region != region {
        wrong += &format!("Credential should be scoped to a valid region, not '{scope_region}'. ");
    }
    if *service != SERVICE {
        wrong += &format!("Credential should be scoped to correct service: '{SERVICE}'. ");
    }
    if !wrong.is_empty() {
        return Err(ApiError::InvalidSignature(wrong));
    }
    Ok(Caller {
        access_key: (*access_key).to_owned(),
    })
}

/// A parameter of a query string, percent-decoded.
fn query_parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .find(|(key, _)| percent_decoded(key) == name)
        .map(|(_, value)| percent_decoded(value))
}

fn percent_decoded(text: &str) -> String {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                hex(*high).zip(hex(*low)).map(|(h, l)| (h * 16 + l, after))
            }
            _ => None,
        };
        let (decoded, after) = escaped.unwrap_or((byte, tail));
        out.push(decoded);
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(header: &str) -> Result<Caller, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", header.parse().unwrap());
        headers.insert("x-amz-date", "20261123T000000Z".parse().unwrap());
        authenticate(&headers, None, "us-east-1")
    }

    #[test]
    fn region_and_key_come_from_the_header() {
        let ok = "AWS4-HMAC-SHA256 Credential=me/20261123/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=aa";
        assert_eq!(
            auth(ok).unwrap(),
            Caller {
                access_key: "me".into()
            }
        );
        let other = ok.replace("us-east-1", "eu-west-1");
        assert!(
            matches!(auth(&other), Err(ApiError::InvalidSignature(t)) if t == "Credential should be scoped to a valid region, not 'eu-west-1'. ")
        );
        assert!(matches!(
            auth(&ok.replace("AWS4-HMAC-SHA256", "AWS4-X")),
            Err(ApiError::IncompleteSignature(_))
        ));
        assert!(matches!(
            auth(&ok.replace("/aws4_request", "")),
            Err(ApiError::IncompleteSignature(_))
        ));
    }

    #[test]
    fn what_is_missing_is_said() {
        let nothing = authenticate(&HeaderMap::new(), None, "us-east-1");
        assert!(matches!(
            nothing,
            Err(ApiError::MissingAuthenticationToken(_))
        ));
        assert!(matches!(
            auth("Bearer x"),
            Err(ApiError::MissingAuthenticationToken(_))
        ));
        let Err(ApiError::IncompleteSignature(text)) = auth("AWS4-HMAC-SHA256 Signature=b") else {
            panic!()
        };
        assert_eq!(
            text,
            "Authorization header requires 'Credential' parameter. Authorization header requires 'SignedHeaders' parameter. \
             Authorization=AWS4-HMAC-SHA256 Signature=b"
        );
    }

    #[test]
    fn presigned_requests_are_understood() {
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2F20261123%2Fus-east-1%2Fdynamodb%2Faws4_request\
                     &X-Amz-Signature=a&X-Amz-SignedHeaders=host&X-Amz-Date=x";
        assert_eq!(
            authenticate(&HeaderMap::new(), Some(query), "us-east-1")
                .unwrap()
                .access_key,
            "k"
        );
        assert_eq!(percent_decoded("%4"), "%4");
    }
}
