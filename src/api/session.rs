//! Session tokens (replication.md section 13): what a client has seen, so that it reads its own writes in
//! whichever region it turns to. Only for requests that ask with a header; all others are as ever.
//!
//! A token is a frontier. A request that carries one waits until this region has applied as much, or fails;
//! its answer carries what there was and what this region had when the request was done.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

use super::Backend;
use crate::replica::ApiError;
use crate::replica::mutation::{Frontier, join};

/// Carries a token, in both directions. Empty or `begin` asks for the first.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("x-meridian-session");
/// How long a request may wait for what its token says: `500ms`, `2s`.
const SESSION_WAIT: HeaderName = HeaderName::from_static("x-meridian-session-wait");
const BEGIN: &str = "begin";
const WAIT_DEFAULT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(20);
/// The first byte of a token.
const VERSION: u8 = 1;
const CHECKSUM: usize = 4;
/// Of a token in base64. A frontier has some ten bytes for each log.
const TOKEN_CHARS_MAX: usize = 8 * 1024;

/// What a request asks of its session.
#[derive(Debug)]
pub(crate) struct Session {
    seen: Frontier,
    wait: Duration,
}

impl Session {
    /// The session that the headers ask for, if any.
    pub fn of(headers: &HeaderMap) -> Result<Option<Session>, ApiError> {
        let Some(value) = headers.get(SESSION) else {
            return Ok(None);
        };
        let text = value.to_str().map_err(|_| not_a_token())?.trim();
        let seen = match text {
            "" | BEGIN => Frontier::new(),
            token => decode(token).ok_or_else(not_a_token)?,
        };
        let wait = match headers.get(SESSION_WAIT) {
            None => WAIT_DEFAULT,
            Some(value) => value.to_str().ok().and_then(duration).ok_or_else(|| {
                let text = "x-meridian-session-wait is not a time up to 20s, such as 500ms or 2s";
                ApiError::validation(text)
            })?,
        };
        Ok(Some(Session { seen, wait }))
    }

    /// Waits until the region has applied what the session has seen.
    pub async fn reach(&self, backend: &dyn Backend) -> Result<(), ApiError> {
        if self.seen.is_empty() {
            return Ok(());
        }
        let lacking = backend.reach(&self.seen, self.wait).await?;
        if lacking.is_empty() {
            return Ok(());
        }
        let region = backend.region();
        let name = |id| {
            region
                .name_of(id)
                .unwrap_or_else(|| "a region that is gone".into())
        };
        let lacking: Vec<String> = lacking
            .iter()
            .map(|(log, seq)| format!("{} up to commit {seq}", name(log.origin.region)))
            .collect();
        Err(ApiError::ServiceUnavailable(format!(
            "{} has not caught up with this session within {} ms: it lacks {}. Try again, or in another region",
            region.name,
            self.wait.as_millis(),
            lacking.join(", "),
        )))
    }

    /// The token for the answer.
    pub fn token(mut self, backend: &dyn Backend) -> Result<HeaderValue, ApiError> {
        let mut here = backend.frontier()?;
        // Of no use elsewhere, and covered here.
        here.retain(|log, _| log.group.regions().nth(1).is_some());
        join(&mut self.seen, &here);
        HeaderValue::from_str(&encode(&self.seen)?).map_err(damaged)
    }
}

fn damaged(error: impl std::fmt::Display) -> ApiError {
    ApiError::InternalServer(format!("a session token cannot be made: {error}"))
}

fn not_a_token() -> ApiError {
    ApiError::validation("x-meridian-session is not a session token of this version")
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = SipHasher13::new_with_keys(0x6d65_7269_6469_616e, 0x7365_7373_696f_6e73);
    hasher.write(body);
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    [a, b, c, d]
}

fn encode(seen: &Frontier) -> Result<String, ApiError> {
    let mut bytes = vec![VERSION];
    bytes.extend(bincode::encode_to_vec(seen, bincode::config::standard()).map_err(damaged)?);
    bytes.extend(checksum(&bytes));
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn decode(token: &str) -> Option<Frontier> {
    if token.len() > TOKEN_CHARS_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (body, check) = bytes.split_last_chunk::<CHECKSUM>()?;
    let (version, frontier) = body.split_first()?;
    if *version != VERSION || *check != checksum(body) {
        return None;
    }
    let config = bincode::config::standard().with_limit::<TOKEN_CHARS_MAX>();
    let (seen, read) = bincode::decode_from_slice(frontier, config).ok()?;
    (read == frontier.len()).then_some(seen)
}

/// Reads `500ms` or `2s`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().ok()?),
        None => Duration::from_secs(text.strip_suffix('s')?.parse().ok()?),
    };
    (wait <= WAIT_MAX).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RegionId;
    use crate::replica::mutation::{GroupId, LogId, Origin, lacks};

    fn frontier(seqs: &[(u16, u64)]) -> Frontier {
        let log = |region| LogId {
            group: GroupId(0b111),
            origin: Origin {
                region: RegionId(region),
                incarnation: 1,
            },
        };
        seqs.iter().map(|(r, seq)| (log(*r), *seq)).collect()
    }

    #[test]
    fn tokens_read_back_and_garbage_does_not() {
        for seen in [
            frontier(&[]),
            frontier(&[(0, 1), (1, u64::MAX), (2, 70_000)]),
        ] {
            let token = encode(&seen).unwrap();
            assert_eq!(decode(&token), Some(seen));
            for cut in 0..token.len() {
                assert_eq!(decode(&token[..cut]), None, "{token} cut at {cut}");
            }
            let mut other = token.clone().into_bytes();
            other[0] = if other[0] == b'A' { b'B' } else { b'A' };
            assert_eq!(decode(std::str::from_utf8(&other).unwrap()), None);
        }
        assert_eq!(decode("!"), None);
        assert_eq!(decode(&"A".repeat(TOKEN_CHARS_MAX + 1)), None);
    }

    #[test]
    fn what_a_region_lacks_is_what_it_could_have() {
        let wanted = frontier(&[(0, 3), (1, 2)]);
        let here = frontier(&[(0, 3), (1, 1)]);
        assert_eq!(lacks(&here, &wanted, RegionId(2)), frontier(&[(1, 2)]));
        assert!(
            lacks(&here, &wanted, RegionId(9)).is_empty(),
            "not of its groups"
        );
        let mut joined = here;
        join(&mut joined, &wanted);
        assert_eq!(joined, wanted);
    }

    #[test]
    fn waits_are_bounded() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
        for bad in ["", "2", "-1s", "21s", "1e3s", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
