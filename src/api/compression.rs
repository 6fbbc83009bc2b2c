//! Content codings of requests and answers (errors-and-validation.md section 1).
//!
//! `gzip` and `deflate` (the zlib format, as HTTP means it). How `Accept-Encoding` is read follows what was
//! measured on DynamoDB, which is laxer than the RFC.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap};

use super::body::BODY_BYTES_MAX;

/// Answers up to this size are sent as they are.
pub(crate) const ANSWER_BYTES_MIN: usize = 4096;

/// A coding we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// In the order of preference where the client has none.
    const ALL: [Coding; 2] = [Coding::Gzip, Coding::Deflate];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Coding::ALL
            .into_iter()
            .find(|coding| name.eq_ignore_ascii_case(coding.name()))
    }
}

/// Why a body could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// An unknown coding, or a stream that is none of that coding.
    Unreadable,
    /// More than [`BODY_BYTES_MAX`] came out.
    TooLong,
}

/// The body as it was before it was encoded.
pub(crate) fn decode(headers: &HeaderMap, body: Bytes) -> Result<Bytes, DecodeError> {
    let Some(name) = headers.get(CONTENT_ENCODING) else {
        return Ok(body);
    };
    let name = name.to_str().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("identity") {
        return Ok(body);
    }
    let plain = match Coding::named(name).ok_or(DecodeError::Unreadable)? {
        Coding::Gzip => read(MultiGzDecoder::new(body.as_ref())),
        Coding::Deflate => read(ZlibDecoder::new(body.as_ref())),
    };
    plain.map(Bytes::from)
}

/// Reads to the end, but never more than a body may be: a few bytes can stand for gigabytes.
fn read(decoder: impl Read) -> Result<Vec<u8>, DecodeError> {
    let limit = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
    let mut plain = Vec::new();
    let read = decoder
        .take(limit.saturating_add(1))
        .read_to_end(&mut plain)
        .map_err(|_| DecodeError::Unreadable)?;
    if read > BODY_BYTES_MAX {
        return Err(DecodeError::TooLong);
    }
    Ok(plain)
}

/// The encoded body; `None` should the encoder fail, which it never does in memory.
pub(crate) fn encode(coding: Coding, plain: &[u8]) -> Option<Vec<u8>> {
    let out = Vec::with_capacity(plain.len() / 4);
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::default());
            encoder.write_all(plain).and_then(|()| encoder.finish())
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(out, Compression::default());
            encoder.write_all(plain).and_then(|()| encoder.finish())
        }
    }
    .ok()
}

/// The coding the client likes best. Only the first `Accept-Encoding` header counts.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let listed = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
    let mut named: Vec<(Coding, f32)> = Vec::new();
    let mut others: Option<f32> = None;
    for entry in listed.split(',') {
        let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let (name, quality) = (name.trim(), quality(parameters));
        if name == "*" {
            others = Some(quality);
        } else if let Some(coding) = Coding::named(name) {
            match named.iter_mut().find(|(known, _)| *known == coding) {
                Some((_, known)) => *known = known.max(quality),
                None => named.push((coding, quality)),
            }
        }
    }
    if let Some(quality) = others {
        for coding in Coding::ALL {
            if !named.iter().any(|(known, _)| *known == coding) {
                named.push((coding, quality));
            }
        }
    }
    let mut best: Option<(Coding, f32)> = None;
    for (coding, quality) in named.into_iter().filter(|(_, quality)| *quality > 0.0) {
        if best.is_none_or(|(_, known)| quality > known) {
            best = Some((coding, quality));
        }
    }
    best.map(|(coding, _)| coding)
}

/// The first `q=` wherever it stands; 1 when there is none or it is no number.
fn quality(parameters: &str) -> f32 {
    let value = parameters.split_once("q=").map(|(_, rest)| rest);
    let value = value.and_then(|rest| rest.split(';').next());
    let parsed = value.and_then(|text| text.trim().parse::<f32>().ok());
    parsed
        .filter(|q| q.is_finite())
        .map_or(1.0, |q| q.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header value"));
        headers
    }

    fn decoded(coding: &str, body: Vec<u8>) -> Result<Bytes, DecodeError> {
        decode(&headers(CONTENT_ENCODING, coding), Bytes::from(body))
    }

    #[test]
    fn several_gzip_members_are_one_body() {
        let mut body = encode(Coding::Gzip, b"{\"a\"").expect("encoded");
        body.extend(encode(Coding::Gzip, b":1}").expect("encoded"));
        assert_eq!(decoded("GZIP", body).expect("decoded"), "{\"a\":1}");
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        let mut cut = encode(Coding::Gzip, b"{}").expect("encoded");
        cut.pop();
        for (coding, body) in [
            ("gzip", cut),
            ("gzip", b"{}".to_vec()),
            ("gzip", Vec::new()),
            ("deflate", Vec::new()),
            ("deflate", b"{}".to_vec()),
            ("garbage", b"{}".to_vec()),
        ] {
            assert_eq!(
                decoded(coding, body),
                Err(DecodeError::Unreadable),
                "{coding}"
            );
        }
        let bomb = encode(Coding::Gzip, &vec![b' '; BODY_BYTES_MAX + 1]).expect("encoded");
        assert_eq!(decoded("gzip", bomb), Err(DecodeError::TooLong));
    }

    #[test]
    fn accept_encoding_is_read_as_dynamodb_does() {
        let choice = |value| accepted(&headers(ACCEPT_ENCODING, value)).map(Coding::name);
        for (value, coding) in [
            ("identity", None),
            ("", None),
            ("x-gzip", None),
            ("gzip, deflate", Some("gzip")),
            ("br, deflate, gzip", Some("deflate")),
            ("dog, GZIP ,, cat", Some("gzip")),
            ("gzip;q=0, deflate; q = 0.5", Some("deflate")),
            ("*", Some("gzip")),
            ("*, deflate", Some("deflate")),
            ("*, gzip;q=0.5", Some("deflate")),
            ("*;q=0", None),
            ("gzip br", None),
            ("deflate;q=0.5, gzip;q=31", Some("gzip")),
            ("deflate;q=0.5, gzip;q=1;q=0.2", Some("gzip")),
            ("deflate;q=0.5,gzip;q=0.", Some("deflate")),
            ("deflate;q=0.5,gzip;q=0.x", Some("gzip")),
            ("gzip;nq=0;q=1", None),
            ("gzip;q =0;q=1", Some("gzip")),
            ("gzip;q=0, gzip;q=1, gzip;q=0", Some("gzip")),
        ] {
            assert_eq!(choice(value), coding, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive_a_round_trip(body: Vec<u8>) {
            for coding in Coding::ALL {
                let encoded = encode(coding, &body).expect("encoded");
                prop_assert_eq!(&decoded(coding.name(), encoded).expect("decoded"), &body);
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(body: Vec<u8>) {
            for coding in Coding::ALL {
                let _ = decoded(coding.name(), body.clone());
            }
        }
    }
}
