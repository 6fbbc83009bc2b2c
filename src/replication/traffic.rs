//! What passes over each link, counted since this region started; and what of it is compressed.

use serde::Serialize;

use super::replicator::Replicator;
use super::wire::{self, Message};
use super::{Lane, PACK_QUEUE_BYTES, PACK_RTT_US};
use crate::clock::RegionId;
use crate::config::Compression;

/// What was exchanged with one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Batches sent, and the commits in them; what was sent again counts again.
    pub batches_sent: u64,
    pub commits_sent: u64,
    /// Bytes of batches and parts of copies before they were compressed, and as they were sent.
    pub raw_bytes: u64,
    pub sent_bytes: u64,
    /// Commits taken in from the peer that it made itself, and that it relayed.
    pub commits_own: u64,
    pub commits_relayed: u64,
    /// How often acknowledgements stayed away and all was sent again.
    pub stalls: u64,
}

impl Replicator {
    /// The frame of `message`, compressed where that is worth it; `None` when it is too long to be sent.
    pub(super) fn frame_for(
        &mut self,
        peer: RegionId,
        lane: Lane,
        message: Message,
    ) -> Option<Vec<u8>> {
        let raw = wire::encode(message)?;
        if !matches!(lane, Lane::Log | Lane::Bulk) {
            return Some(raw);
        }
        let raw_bytes = raw.len();
        let frame = if self.is_packing(peer) {
            wire::pack(raw)
        } else {
            raw
        };
        let traffic = self.traffic(peer);
        traffic.raw_bytes += bytes(raw_bytes);
        traffic.sent_bytes += bytes(frame.len());
        Some(frame)
    }

    fn is_packing(&self, peer: RegionId) -> bool {
        match self.config.compression {
            Compression::Always => true,
            Compression::Never => false,
            Compression::Auto => self.sessions.get(&peer).is_some_and(|session| {
                let far = session.rtt_us.is_some_and(|rtt_us| rtt_us >= PACK_RTT_US);
                far || session.queued_bytes >= PACK_QUEUE_BYTES
            }),
        }
    }

    pub(super) fn traffic(&mut self, peer: RegionId) -> &mut Traffic {
        &mut self.known.entry(peer).or_default().traffic
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
