//! The signature of a request: its canonical form, the string to sign and the keyed hash over it
//! (AWS Signature Version 4; errors-and-validation.md section 6).
//!
//! The hash covers the bytes of the body as they were sent, compressed or not.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use hyper::header::HOST;

use super::query;
use super::{ALGORITHM, SignedRequest, TERMINATOR};

/// The one value of `x-amz-content-sha256` that is taken at its word: the client chose not to sign the body.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The credential scope: what the signing key is derived for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub day: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// What a signature should have been, with the steps that lead to it.
#[derive(Debug)]
pub(super) struct Expected {
    pub canonical: Vec<u8>,
    pub string_to_sign: String,
    signature: String,
}

impl Expected {
    /// Signs `request` as its caller should have. `names` are the signed headers, in lower case and sorted.
    pub(super) fn new(
        request: &SignedRequest<'_>,
        names: &[String],
        date: &str,
        scope: Scope<'_>,
        secret: &str,
    ) -> Self {
        let canonical = canonical(request, names);
        let string_to_sign = format!(
            "{ALGORITHM}\n{date}\n{}/{}/{}/{TERMINATOR}\n{}",
            scope.day,
            scope.region,
            scope.service,
            sha256(&canonical)
        );
        let parts = [scope.day, scope.region, scope.service, TERMINATOR];
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in parts {
            key = keyed(&key, part.as_bytes()).as_ref().to_vec();
        }
        let signature = hex(keyed(&key, string_to_sign.as_bytes()).as_ref());
        Expected {
            canonical,
            string_to_sign,
            signature,
        }
    }

    /// Whether the signature given is the one expected; takes as long for any that is as long.
    pub(super) fn is(&self, given: &str) -> bool {
        verify_slices_are_equal(self.signature.as_bytes(), given.as_bytes()).is_ok()
    }
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(super) fn same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// The canonical request. The path is `/`: nothing else gets here.
fn canonical(request: &SignedRequest<'_>, names: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.extend_from_slice(b"\n/\n");
    out.extend_from_slice(query::canonical(request.query.unwrap_or_default()).as_bytes());
    out.push(b'\n');
    for name in names {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        push_values(request, name, &mut out);
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(names.join(";").as_bytes());
    out.push(b'\n');
    let declared = request.headers.get("x-amz-content-sha256");
    if declared.is_some_and(|value| value.as_bytes() == UNSIGNED_PAYLOAD.as_bytes()) {
        out.extend_from_slice(UNSIGNED_PAYLOAD.as_bytes());
    } else {
        out.extend_from_slice(sha256(request.body).as_bytes());
    }
    out
}

/// All values of a header, in the order sent: trimmed, runs of blanks made one, joined by commas. HTTP/2
/// has the host in its `:authority`.
fn push_values(request: &SignedRequest<'_>, name: &str, out: &mut Vec<u8>) {
    let mut values = request
        .headers
        .get_all(name)
        .iter()
        .map(|v| v.as_bytes())
        .peekable();
    if values.peek().is_none() && (name == HOST.as_str() || name == ":authority") {
        let host = request.headers.get(HOST).map(|value| value.as_bytes());
        let host = request.authority.map(str::as_bytes).or(host);
        out.extend_from_slice(host.unwrap_or_default());
    }
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let words = value
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        for (at, word) in words.enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        }
    }
}

fn keyed(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
