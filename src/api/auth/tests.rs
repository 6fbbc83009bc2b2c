//! AWS's own signer is the oracle of what must be accepted; what must be refused is any change to it.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials as SigningCredentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use hyper::Request;
use proptest::prelude::*;

use super::*;
use crate::api::Regions;
use crate::clock::RegionId;

/// 2026-11-23T00:00:00Z.
const NOW: u64 = 1_795_392_000;
const KEYS: &str = "[a]\naws_access_key_id = AKID\naws_secret_access_key = se/c+ret=\n\
                    [b]\naws_access_key_id = ASIA\naws_secret_access_key = other\naws_session_token = tok+en==\n";

fn region() -> RegionInfo {
    RegionInfo {
        name: "us-east-1".into(),
        id: RegionId(0),
        account: "000000000000".into(),
        topology: Regions::new(vec![
            (RegionId(0), "us-east-1".into()),
            (RegionId(1), "eu-west-1".into()),
        ]),
    }
}

fn known() -> Keys {
    Keys::Known(Credentials::parse(KEYS, "keys").unwrap())
}

/// A request to be signed.
#[derive(Clone)]
struct Plan {
    id: &'static str,
    secret: &'static str,
    token: Option<&'static str>,
    region: &'static str,
    at: u64,
    query: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    unsigned_body: bool,
    presigned: bool,
}

impl Default for Plan {
    fn default() -> Self {
        let headers = [
            ("host", "localhost:8000"),
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", "DynamoDB_20120810.ListTables"),
        ];
        Plan {
            id: "AKID",
            secret: "se/c+ret=",
            token: None,
            region: "us-east-1",
            at: NOW,
            query: "",
            headers: headers.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
            body: b"{}".to_vec(),
            unsigned_body: false,
            presigned: false,
        }
    }
}

impl Plan {
    fn sign(&self) -> Request<Vec<u8>> {
        let token = self.token.map(str::to_owned);
        let identity = SigningCredentials::new(self.id, self.secret, token, None, "tests").into();
        let mut settings = SigningSettings::default();
        if self.presigned {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(900));
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(SERVICE)
            .time(UNIX_EPOCH + Duration::from_secs(self.at))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let uri = format!("http://localhost:8000/{}", self.query);
        let headers = self.headers.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let body = if self.unsigned_body {
            SignableBody::UnsignedPayload
        } else {
            SignableBody::Bytes(&self.body)
        };
        let signable = SignableRequest::new("POST", &uri, headers, body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut request = Request::post(&uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if self.unsigned_body {
            request = request.header("x-amz-content-sha256", UNSIGNED);
        }
        let mut request = request.body(self.body.clone()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        request
    }
}

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

fn check(request: &Request<Vec<u8>>, keys: &Keys) -> Result<String, ApiError> {
    let signed = SignedRequest {
        method: request.method(),
        query: request.uri().query(),
        headers: request.headers(),
        authority: None,
        body: request.body(),
    };
    authenticate(&signed, &region(), keys, NOW).map(|caller| caller.access_key)
}

#[track_caller]
fn refused(result: Result<String, ApiError>) -> String {
    match result {
        Err(ApiError::InvalidSignature(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_aws_signs_is_accepted() {
    let plans = [
        Plan::default(),
        Plan {
            presigned: true,
            ..Plan::default()
        },
        Plan {
            unsigned_body: true,
            ..Plan::default()
        },
        Plan {
            at: NOW - 900,
            ..Plan::default()
        },
        Plan {
            query: "?b=%20x&a=%2F&a=%41",
            ..Plan::default()
        },
    ];
    for plan in plans {
        assert_eq!(check(&plan.sign(), &known()).unwrap(), "AKID");
    }
    for presigned in [false, true] {
        let session = Plan {
            id: "ASIA",
            secret: "other",
            token: Some("tok+en=="),
            presigned,
            ..Plan::default()
        };
        assert_eq!(check(&session.sign(), &known()).unwrap(), "ASIA");
    }
}

#[test]
fn what_changed_on_the_way_is_refused() {
    type Change = fn(&mut Request<Vec<u8>>);
    let changes: [(&str, Change); 5] = [
        ("body", |r| r.body_mut().push(b' ')),
        ("target", |r| {
            let other = "DynamoDB_20120810.DeleteTable".parse().unwrap();
            r.headers_mut().insert("x-amz-target", other);
        }),
        ("another value", |r| {
            let other = "DynamoDB_20120810.DeleteTable".parse().unwrap();
            r.headers_mut().append("x-amz-target", other);
        }),
        ("date", |r| {
            let later = date_of(NOW + 1).parse().unwrap();
            r.headers_mut().insert("x-amz-date", later);
        }),
        ("query", |r| *r.uri_mut() = "/?x=1".parse().unwrap()),
    ];
    for (what, change) in changes {
        let mut request = Plan::default().sign();
        change(&mut request);
        let text = refused(check(&request, &known()));
        assert!(text.starts_with(WRONG_SIGNATURE), "{what}: {text}");
        assert!(
            text.contains("The Canonical String for this request should have been\n'POST\n/\n"),
            "{text}"
        );
        // In development nobody minds.
        assert_eq!(check(&request, &Keys::Any).unwrap(), "AKID", "{what}");
    }
}

#[test]
fn innocent_changes_are_accepted() {
    let mut plan = Plan::default();
    plan.headers.push(("meerkat".into(), "Hello world".into()));
    let mut request = plan.sign();
    let spaced = "  Hello \t  world  ".parse().unwrap();
    request.headers_mut().insert("meerkat", spaced);
    assert_eq!(check(&request, &known()).unwrap(), "AKID");
    let header = request.headers()["authorization"]
        .to_str()
        .unwrap()
        .replace(", ", ",");
    request
        .headers_mut()
        .insert("authorization", header.parse().unwrap());
    assert_eq!(check(&request, &known()).unwrap(), "AKID");
    // HTTP/2 has no Host header.
    let host = request.headers_mut().remove("host").unwrap();
    let signed = SignedRequest {
        method: request.method(),
        query: None,
        headers: request.headers(),
        authority: host.to_str().ok(),
        body: request.body(),
    };
    assert!(authenticate(&signed, &region(), &known(), NOW).is_ok());
}

#[test]
fn keys_and_tokens_must_be_known() {
    let cases = [
        ("NOBODY", "se/c+ret=", None),
        ("ASIA", "other", None),
        ("ASIA", "other", Some("wrong")),
        ("AKID", "se/c+ret=", Some("tok+en==")),
    ];
    for (id, secret, token) in cases {
        let plan = Plan {
            id,
            secret,
            token,
            ..Plan::default()
        };
        let result = check(&plan.sign(), &known());
        assert!(
            matches!(&result, Err(ApiError::UnrecognizedClient(t)) if t == UNKNOWN_KEY),
            "{id}: {result:?}"
        );
        assert_eq!(check(&plan.sign(), &Keys::Any).unwrap(), id);
    }
    let wrong = Plan {
        secret: "guess",
        ..Plan::default()
    };
    assert!(refused(check(&wrong.sign(), &known())).starts_with(WRONG_SIGNATURE));
}

/// A request with nothing but an `Authorization` header and a date.
fn bare(authorization: &str, date: &str) -> Request<Vec<u8>> {
    Request::post("/")
        .header("authorization", authorization)
        .header("x-amz-date", date)
        .body(Vec::new())
        .unwrap()
}

const GOOD: &str = "AWS4-HMAC-SHA256 Credential=me/20261123/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=aa";
const DATE: &str = "20261123T000000Z";

#[test]
fn checks_come_in_awss_order() {
    // A stale date beside a nonsensical scope: the date is what is said.
    for keys in [Keys::Any, known()] {
        let nonsense = "AWS4-HMAC-SHA256 Credential=me/2/3/4/aws4_request SignedHeaders=x-amz-date;host Signature=1";
        assert_eq!(
            refused(check(&bare(nonsense, "20170101T010101Z"), &keys)),
            "Signature expired: 20170101T010101Z is now earlier than 20261122T234500Z (20261123T000000Z - 15 min.)"
        );
        assert_eq!(
            refused(check(&bare(nonsense, "30200101T010101Z"), &keys)),
            "Signature not yet current: 30200101T010101Z is still later than 20261123T001500Z (20261123T000000Z + 15 min.)"
        );
        assert!(matches!(
            check(&bare(nonsense, "yesterday"), &keys),
            Err(ApiError::IncompleteSignature(t)) if t == "Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601"
        ));
        let other = GOOD.replace("us-east-1", "eu-west-1");
        assert_eq!(
            refused(check(&bare(&other, DATE), &keys)),
            "Credential should be scoped to a valid region, not 'eu-west-1'. "
        );
        let mars = GOOD
            .replace("us-east-1", "mars")
            .replace("/dynamodb/", "/s3/");
        assert_eq!(
            refused(check(&bare(&mars, DATE), &keys)),
            "Credential should be scoped to a valid region, not 'mars'. This cluster has: us-east-1, eu-west-1. \
             Credential should be scoped to correct service: 'dynamodb'. "
        );
    }
    let day = GOOD.replace("20261123", "20261122");
    assert_eq!(
        refused(check(&bare(&day, DATE), &known())),
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '20261122' != '20261123', from '20261123T000000Z'. "
    );
    let unsigned = GOOD.replace("SignedHeaders=host", "SignedHeaders=x-amz-date");
    assert_eq!(
        refused(check(&bare(&unsigned, DATE), &known())),
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
    );
    let mut targeted = bare(GOOD, DATE);
    let target = "DynamoDB_20120810.ListTables".parse().unwrap();
    targeted.headers_mut().insert("x-amz-target", target);
    assert_eq!(
        refused(check(&targeted, &known())),
        "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."
    );
    assert_eq!(check(&bare(GOOD, DATE), &Keys::Any).unwrap(), "me");
}

#[test]
fn what_is_missing_is_said() {
    let incomplete =
        |authorization: &str, date: &str| match check(&bare(authorization, date), &Keys::Any) {
            Err(ApiError::IncompleteSignature(text)) => text,
            other => panic!("{authorization}: {other:?}"),
        };
    assert_eq!(
        incomplete("AWS4-HMAC-SHA256 Signature=b", DATE),
        "Authorization header requires 'Credential' parameter. Authorization header requires 'SignedHeaders' parameter. \
         Authorization=AWS4-HMAC-SHA256 Signature=b"
    );
    assert_eq!(
        incomplete(&GOOD.replace("AWS4-HMAC-SHA256", "AWS4-X"), DATE),
        "Unsupported AWS 'algorithm': 'AWS4-X' (only AWS4-HMAC-SHA256 for now). "
    );
    assert_eq!(
        incomplete(&GOOD.replace("/aws4_request", ""), DATE),
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, \
         got 'me/20261123/us-east-1/dynamodb'"
    );
    let mut undated = bare("AWS4-", DATE);
    undated.headers_mut().remove("x-amz-date");
    let result = check(&undated, &Keys::Any);
    assert!(
        matches!(&result, Err(ApiError::IncompleteSignature(t)) if t.contains("either a 'X-Amz-Date' or a 'Date' header. ")),
        "{result:?}"
    );
    for request in [
        bare("Bearer x", DATE),
        Request::post("/").body(Vec::new()).unwrap(),
    ] {
        let result = check(&request, &Keys::Any);
        assert!(
            matches!(result, Err(ApiError::MissingAuthenticationToken(_))),
            "{result:?}"
        );
    }
    let mut both = bare(GOOD, DATE);
    *both.uri_mut() = "/?X-Amz-Algorithm".parse().unwrap();
    assert!(refused(check(&both, &Keys::Any)).starts_with("Found both 'X-Amz-Algorithm'"));
    let some =
        Request::post("/?X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Signature=c&X-Amz-Date=d");
    let result = check(&some.body(Vec::new()).unwrap(), &Keys::Any);
    assert!(
        matches!(&result, Err(ApiError::IncompleteSignature(t)) if t ==
            "AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine the query-string parameters."),
        "{result:?}"
    );
}

proptest! {
    /// Any headers, body and time of day that AWS's signer takes.
    #[test]
    fn the_oracle_agrees(
        values in proptest::collection::vec("[ -~]{0,20}", 0..4),
        body: Vec<u8>,
        presigned: bool,
    ) {
        let mut plan = Plan { body, presigned, ..Plan::default() };
        for (at, value) in values.into_iter().enumerate() {
            // Two names, so that some come with several values.
            plan.headers.push((format!("x-amz-meta-{}", at % 2), value));
        }
        let request = plan.sign();
        prop_assert_eq!(check(&request, &known()).unwrap(), "AKID");
    }

    #[test]
    fn any_header_is_answered(authorization in "(AWS4-HMAC-SHA256 )?[ -~]{0,80}", date in "[ -~]{0,18}", query in "[!-~]{0,40}") {
        let mut request = bare(&authorization, &date);
        if let Ok(uri) = format!("/?{query}").parse() {
            *request.uri_mut() = uri;
        }
        for keys in [Keys::Any, known()] {
            prop_assert!(check(&request, &keys).is_err());
        }
    }
}
