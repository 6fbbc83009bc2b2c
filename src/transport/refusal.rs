//! Who was refused last, by whom and why: what an operator looks for when two regions do not connect.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use quinn::{ConnectionError, VarInt};
use tokio::time::Instant;

use super::certificate::printable;
use crate::clock::RegionId;

/// The QUIC application code of a close that refuses the peer; the reason says why.
pub(super) const REFUSED_CODE: u32 = 2;
/// QUIC's codes of failed TLS handshakes (RFC 9001 section 4.8).
const CRYPTO_CODES: std::ops::Range<u64> = 0x100..0x200;
/// What rustls puts before words that are not its own.
const RUSTLS_PREFIX: &str = "unexpected error: ";

/// Why a connection was refused, last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who refused whom, and why.
    pub reason: String,
    pub at: Instant,
}

/// The last refusal of every peer, and of strangers together.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<Option<RegionId>, Refusal>>);

impl Refusals {
    /// Of a peer; `None` = of a stranger.
    pub fn note(&self, of: Option<RegionId>, reason: String) {
        let at = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(of, Refusal { reason, at });
    }

    /// The peer is connected: what kept it away is over.
    pub fn forget(&self, of: RegionId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&Some(of));
    }

    pub fn last(&self, of: Option<RegionId>) -> Option<Refusal> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&of).cloned()
    }
}

/// Why a connection failed.
pub(super) enum Failure {
    /// This region refused the peer, and noted it where it found out.
    Refused(String),
    /// The peer refused this region.
    RefusedByPeer(String),
    /// Nobody meant it.
    Other(String),
}

impl Failure {
    pub fn of(error: &ConnectionError) -> Failure {
        let crypto = |code: u64| CRYPTO_CODES.contains(&code);
        match error {
            ConnectionError::TransportError(e) if crypto(u64::from(e.code)) => {
                Failure::Refused(words(e.reason.as_bytes(), error))
            }
            ConnectionError::ConnectionClosed(e) if crypto(u64::from(e.error_code)) => {
                Failure::RefusedByPeer(words(&e.reason, error))
            }
            ConnectionError::ApplicationClosed(e)
                if e.error_code == VarInt::from_u32(REFUSED_CODE) =>
            {
                Failure::RefusedByPeer(words(&e.reason, error))
            }
            other => Failure::Other(other.to_string()),
        }
    }
}

/// The reason given; the error's own words where there is none.
fn words(reason: &[u8], error: &ConnectionError) -> String {
    let text = printable(reason);
    let text = text.strip_prefix(RUSTLS_PREFIX).unwrap_or(&text).trim();
    if text.is_empty() {
        return error.to_string();
    }
    text.to_string()
}
