//! QUIC between regions: identities, connections, framing, and faults on demand.
//!
//! What the floor below may rely on:
//!
//! - T1 Between `Up(p)` and `Down(p)`, the frames of one lane arrive whole, in order and without
//!   gaps; across lanes there is no order.
//! - T2 A frame sent after `Up(p)` was *received* belongs to that session, never to one before or
//!   after: outgoing sides are switched as the events are taken, not as they happen.
//! - T3 `Up(p)` is only said of a peer whose certificate, signed by the cluster's own CA, names `p`,
//!   this cluster and the role of a member. Who is refused is told why, and so is this side's operator.
//! - T4 Memory is bounded per peer in both directions: [`QUEUE_BYTES_MAX`] outgoing (overflow ends the
//!   session; the log is the real queue), [`INBOX_BYTES_MAX`] incoming (then QUIC pushes back).
//! - T5 Nothing is sent in 0-RTT data, and sessions are not resumed.
//!
//! One connection joins a pair of regions; the lower `RegionId` dials, the other when it has waited in vain. Each [`Lane`](crate::replication::Lane) is one
//! unidirectional stream per direction: a byte that names the lane, then frames of a big-endian
//! `u32` length and that many bytes.
//!
//! Sizing: the longest path between AWS regions takes about 350 ms; [`STREAM_WINDOW_BYTES`] lets one lane
//! carry 45 MB/s over it, four times what five regions of 2,000 writes/s of 1 KiB need.
//!
//! Start with [`Transport::start`]; drive [`Events::recv`] and call [`Transport::send`] from one task.

mod authority;
mod certificate;
mod dial;
mod faults;
mod files;
mod frame;
pub mod identity;
mod links;
mod refusal;
mod session;
mod tls;
mod verify;

pub use crate::replication::Lane;
pub use authority::{DevCa, Terms, now_s};
pub use certificate::{Facts, Role, date, date_time};
pub use dial::{Events, Transport, TransportConfig, TransportError, TransportEvent};
pub use faults::{Cut, LinkFault};
pub use frame::FRAME_BYTES_MAX;
pub use identity::{Identity, IdentityError};
pub use links::LinkStatus;
pub use refusal::Refusal;

use std::time::Duration;

use crate::clock::RegionId;

/// What may wait to be sent to one peer, injected delay included.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
/// What may have been received from one peer and not yet taken by [`Events::recv`].
pub const INBOX_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Flow control of one lane.
pub const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// Flow control of a connection: both lanes at their limit.
pub const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// Another region, and where it listens.
#[derive(Clone, Debug)]
pub struct Peer {
    pub id: RegionId,
    pub name: String,
    /// `host:port`, resolved at every attempt to connect.
    pub address: String,
    /// One-way delay to inject at first.
    pub delay: Duration,
    /// Whether this region connects to it. One that is no member any more is only answered.
    pub calls: bool,
}

#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod tests;
