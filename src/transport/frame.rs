//! Frames on a lane: a big-endian `u32` length, then the bytes.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::replication::Lane;

/// The longest frame. Checked by the sender too, and by the receiver before it allocates.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

// What replication may make must fit, or a link would fail on the same frame for ever.
const _: () = assert!(FRAME_BYTES_MAX >= crate::replication::FRAME_BYTES_MAX);

/// The lanes that are streams, in the order of their numbers on the wire.
pub(super) const LANES: [Lane; 2] = [Lane::Control, Lane::Log];

/// Why a lane cannot go on: ends the session, never the process.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLong(usize),
    #[error("the peer opened a lane of unknown number {0}")]
    UnknownLane(u8),
    #[error("the peer closed a lane")]
    Closed,
    #[error("{0}")]
    Lost(String),
}

pub(super) fn lane_number(lane: Lane) -> u8 {
    match lane {
        Lane::Control => 0,
        Lane::Log => 1,
        // No stream: datagrams carry no number.
        Lane::Probe => u8::MAX,
    }
}

fn lane_of(number: u8) -> Result<Lane, FrameError> {
    LANES
        .into_iter()
        .find(|lane| lane_number(*lane) == number)
        .ok_or(FrameError::UnknownLane(number))
}

/// Names the lane that a new stream carries.
pub(super) async fn write_lane(stream: &mut SendStream, lane: Lane) -> Result<(), FrameError> {
    stream
        .write_all(&[lane_number(lane)])
        .await
        .map_err(|error| FrameError::Lost(error.to_string()))
}

pub(super) async fn read_lane(stream: &mut RecvStream) -> Result<Lane, FrameError> {
    let mut number = [0];
    read(stream, &mut number).await?;
    lane_of(number[0])
}

/// Writes one frame. The caller has checked its length.
pub(super) async fn write_frame(stream: &mut SendStream, frame: Vec<u8>) -> Result<(), FrameError> {
    let length =
        u32::try_from(frame.len()).map_err(|_overflow| FrameError::TooLong(frame.len()))?;
    let mut chunks = [
        Bytes::copy_from_slice(&length.to_be_bytes()),
        Bytes::from(frame),
    ];
    stream
        .write_all_chunks(&mut chunks)
        .await
        .map_err(|error| FrameError::Lost(error.to_string()))
}

/// Reads one frame, once `budget` has room for it. The permit frees that room when dropped.
pub(super) async fn read_frame(
    stream: &mut RecvStream,
    budget: &Arc<Semaphore>,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), FrameError> {
    let mut length = [0; 4];
    read(stream, &mut length).await?;
    let length_wire = u32::from_be_bytes(length);
    let length = usize::try_from(length_wire).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let permit = Arc::clone(budget)
        .acquire_many_owned(length_wire)
        .await
        .map_err(|closed| FrameError::Lost(closed.to_string()))?;
    let mut frame = vec![0; length];
    read(stream, &mut frame).await?;
    Ok((frame, permit))
}

async fn read(stream: &mut RecvStream, into: &mut [u8]) -> Result<(), FrameError> {
    use quinn::ReadExactError;
    stream.read_exact(into).await.map_err(|error| match error {
        ReadExactError::FinishedEarly(_) => FrameError::Closed,
        ReadExactError::ReadError(error) => FrameError::Lost(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lane_numbers_are_wire_format() {
        assert_eq!(lane_number(Lane::Control), 0);
        assert_eq!(lane_number(Lane::Log), 1);
        for lane in LANES {
            assert_eq!(lane_of(lane_number(lane)).ok(), Some(lane));
        }
        assert!(lane_of(2).is_err());
    }
}
