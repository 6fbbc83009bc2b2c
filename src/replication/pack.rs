//! Compressed frames: LZ4 blocks (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>).
//!
//! Not deflate, which makes batches a quarter smaller still but takes far more work: a region sends every
//! commit to every peer, from the one task that also hears them.

use super::FRAME_BYTES_MAX;

/// Shorter frames are sent as they are: there is little to gain.
const PACK_BYTES_MIN: usize = 1024;
/// A compressed frame is at most so much of what it was, or not sent.
const GAIN: (usize, usize) = (7, 8);
/// No block of LZ4 grows by more: a byte of it stands for 255 at most.
const GROWTH_MAX: usize = 255;

/// Why a compressed frame cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    #[error("{0} bytes are over the limit of {FRAME_BYTES_MAX}")]
    TooLong(usize),
    #[error("{block} compressed bytes cannot be {raw}")]
    Impossible { raw: usize, block: usize },
    #[error("{found} bytes came out, {told} were announced")]
    Length { told: usize, found: usize },
    #[error("{0}")]
    Damaged(String),
}

/// The length of `frame`, and its block; `None` where it gains too little.
pub(super) fn pack(frame: &[u8]) -> Option<(u32, Vec<u8>)> {
    if frame.len() < PACK_BYTES_MIN {
        return None;
    }
    let raw_bytes = u32::try_from(frame.len()).ok()?;
    let block = lz4_flex::block::compress(frame);
    let gains = block.len().saturating_mul(GAIN.1) <= frame.len().saturating_mul(GAIN.0);
    gains.then_some((raw_bytes, block))
}

/// The frame in a block that says to have held `raw_bytes`. Nothing is allocated for a length that cannot be.
pub(super) fn unpack(raw_bytes: u32, block: &[u8]) -> Result<Vec<u8>, PackError> {
    let told = usize::try_from(raw_bytes).unwrap_or(usize::MAX);
    if told > FRAME_BYTES_MAX {
        return Err(PackError::TooLong(told));
    }
    if told > block.len().saturating_mul(GROWTH_MAX) {
        let (raw, block) = (told, block.len());
        return Err(PackError::Impossible { raw, block });
    }
    let frame = lz4_flex::block::decompress(block, told)
        .map_err(|error| PackError::Damaged(error.to_string()))?;
    match frame.len() {
        found if found == told => Ok(frame),
        found => Err(PackError::Length { told, found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn little_and_random_bytes_stay_as_they_are() {
        assert_eq!(pack(&[7; PACK_BYTES_MIN - 1]), None);
        let mut rng = fastrand::Rng::with_seed(1);
        let random: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(10_000).collect();
        assert_eq!(pack(&random), None);
        let (raw, block) = pack(&vec![7; FRAME_BYTES_MAX]).expect("it gains");
        assert!(
            block.len() * GROWTH_MAX >= FRAME_BYTES_MAX,
            "the most there is"
        );
        assert_eq!(
            unpack(raw, &block).map(|frame| frame.len()),
            Ok(FRAME_BYTES_MAX)
        );
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20), times in 1usize..200) {
            let frame = pieces.concat().repeat(times);
            if let Some((raw, block)) = pack(&frame) {
                prop_assert_eq!(unpack(raw, &block), Ok(frame));
            }
        }

        #[test]
        fn any_bytes_unpack_or_fail(raw in 0u32..100_000, block in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(frame) = unpack(raw, &block) {
                prop_assert_eq!(frame.len(), raw as usize);
            }
        }
    }
}
