//! Shard iterators: where a reader is, written so that no reader is tempted to look inside
//! (streams-ttl-backup.md section 1.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::replica::ApiError;

/// How long an iterator can be used, microseconds.
const LIFE_US: u64 = 15 * 60_000_000;
/// An iterator's clock may be this much ahead of ours: regions restart and clocks are set.
const AHEAD_US: u64 = 60_000_000;
const FORMAT: u8 = 1;
const LEN: usize = 1 + 8 + 8 + 8 + 4;

/// Where a reader is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShardIterator {
    pub(super) arn: String,
    /// The shard's number.
    pub(super) shard: u64,
    /// The LSN to read from; 0 = from the oldest record that is kept.
    pub(super) position: u64,
    pub(super) issued_us: u64,
}

impl ShardIterator {
    pub(super) fn encode(&self) -> String {
        let mut bytes = vec![FORMAT];
        for word in [self.shard, self.position, self.issued_us] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        let sum = checksum(&self.arn, &bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        format!("{}|1|{}", self.arn, STANDARD.encode(bytes))
    }

    /// Reads an iterator that is still alive.
    pub(super) fn decode(text: &str, now_us: u64) -> Result<Self, ApiError> {
        let iterator = parse(text).ok_or_else(|| ApiError::validation("Invalid ShardIterator"))?;
        let end_us = iterator.issued_us.saturating_add(LIFE_US);
        if now_us > end_us || iterator.issued_us > now_us.saturating_add(AHEAD_US) {
            return Err(ApiError::ExpiredIterator(
                "The shard iterator has expired and can no longer be used to retrieve stream records."
                    .into(),
            ));
        }
        Ok(iterator)
    }
}

fn parse(text: &str) -> Option<ShardIterator> {
    let (arn, rest) = text.split_once('|')?;
    let bytes = STANDARD.decode(rest.strip_prefix("1|")?).ok()?;
    if bytes.len() != LEN || bytes.first() != Some(&FORMAT) {
        return None;
    }
    let (body, sum) = bytes.split_at_checked(LEN - 4)?;
    if sum != checksum(arn, body).to_be_bytes() {
        return None;
    }
    let word = |at: usize| -> Option<u64> {
        Some(u64::from_be_bytes(body.get(at..at + 8)?.try_into().ok()?))
    };
    Some(ShardIterator {
        arn: arn.to_owned(),
        shard: word(1)?,
        position: word(9)?,
        issued_us: word(17)?,
    })
}

fn checksum(arn: &str, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(arn.as_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// The wall clock, microseconds since the epoch: only what an iterator's age is measured by.
pub(super) fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iterator() -> ShardIterator {
        ShardIterator {
            arn: "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/l".into(),
            shard: 3,
            position: 17,
            issued_us: 1_000_000_000,
        }
    }

    #[test]
    fn iterators_live_for_fifteen_minutes() {
        let text = iterator().encode();
        let end = 1_000_000_000 + LIFE_US;
        assert_eq!(ShardIterator::decode(&text, end).unwrap(), iterator());
        let late = ShardIterator::decode(&text, end + 1);
        assert!(matches!(late, Err(ApiError::ExpiredIterator(_))));
        let early = ShardIterator::decode(&text, 0);
        assert!(matches!(early, Err(ApiError::ExpiredIterator(_))));
    }

    #[test]
    fn what_is_no_iterator_is_refused() {
        let text = iterator().encode();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(other) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(
                ShardIterator::decode(&other, 1_000_000_000).is_err(),
                "{other}"
            );
            assert!(ShardIterator::decode(&text[..at], 1_000_000_000).is_err());
        }
    }
}
