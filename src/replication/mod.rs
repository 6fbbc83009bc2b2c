//! Moves commits between regions (replication.md section 7). Sans-IO: events in, actions out; the
//! caller owns connections, the writer and the time.
//!
//! - A region *pushes* its own logs to every peer of their group. There is no send queue: the log is
//!   the queue, read as the peer's window allows.
//! - It *pulls* the logs of other origins from whichever peer has them, where the origin itself does
//!   not deliver (relay).
//! - Where a log no longer reaches back to what a region lacks, that region is given a copy of the placement
//!   group by a peer (`join`); what its own earlier lives made it pulls back (`life`).
//! - I3: nothing above the durable frontier is ever sent. I4: commits are handed on for apply in
//!   order and without gaps; duplicates are dropped, a gap is asked for.
//!
//! Nothing here waits for a frame: lost, late, doubled and reordered frames cost time, never commits.
//! Drive a [`Replicator`] with [`Event::Tick`] every 50 ms or so.

mod agreement;
mod anti_entropy;
mod beat;
mod clocks;
pub mod consensus;
mod hello;
mod intake;
mod join;
mod lapse;
mod life;
mod membership;
mod pack;
mod probe;
mod pull;
mod push;
mod replicator;
mod ruling;
mod session;
mod shelf;
mod silence;
mod stability;
#[cfg(test)]
mod tests;
mod traffic;
mod window;
pub mod wire;

pub use anti_entropy::ANTI_ENTROPY_US;
pub use clocks::{ClockStatus, HeldLog};
pub use replicator::Replicator;
pub use ruling::{Cause, Intent, Ruling};
pub use traffic::Traffic;
pub use wire::{FRAME_BYTES_MAX, PROTOCOL};

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::policy::FenceLine;
use crate::clock::{RegionId, Stamp};
use crate::config::Compression;
use crate::replica::buckets::Offer;
use crate::replica::manifest::Manifest;
use crate::replica::mutation::{Frontier, GroupId, Origin};
use crate::replica::rescue::{Outcome, Tail};
use crate::replica::silence::Silences;
use crate::replica::snapshot::Portion;
use crate::replica::stable::Stability;
use crate::replica::vote::MemberVote;
use crate::replica::{PlantedBug, manifest};

/// A batch is closed at this size, though it always holds one commit.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// What may be on its way to one peer unacknowledged, while nothing is known of the link; exceeded by one
/// batch at most.
pub const WINDOW_BYTES_START: usize = 1024 * 1024;
/// The same on a long and fast link: twice what it delivers in a round trip, up to this.
pub const WINDOW_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The window after losses, which doubles with every acknowledgement.
pub const WINDOW_BYTES_MIN: usize = 16 * 1024;
/// What may wait for apply, per log: the largest window, so that a sender that keeps to it is never refused.
pub const INTAKE_BYTES_MAX: usize = WINDOW_BYTES_MAX + BATCH_BYTES_MAX;
/// How many applies of one log may be under way: those of one group of the writer, and of the next, so that
/// it does not wait between them.
pub const APPLY_IN_FLIGHT_MAX: usize = 8;
/// What one `Want` asks for, and the most that one is answered with.
pub const CREDIT_BYTES_MAX: usize = 1024 * 1024;
/// Batches and copies are compressed where a round trip takes so long: beyond one site, bytes are dearer than
/// the work.
pub const PACK_RTT_US: u64 = 10_000;
/// And where so much waits to be sent to a peer, however near it is: its link is slower than what it is given.
pub const PACK_QUEUE_BYTES: usize = BATCH_BYTES_MAX;
/// Between heartbeats.
pub const HEARTBEAT_US: u64 = 200_000;
/// Between two probes of a peer's clock.
pub const PROBE_US: u64 = 1_000_000;
/// Between two looks at what is durable everywhere.
pub const STABLE_US: u64 = 1_000_000;
/// Between `Hello`s while they go unanswered.
pub const HELLO_US: u64 = 1_000_000;
/// What is waited for beyond two round trips before something is believed lost.
pub const PATIENCE_US: u64 = 1_000_000;
/// How long an origin that is not connected may be behind before a relay is asked.
pub const RELAY_US: u64 = 300_000;
/// The least time between two reports of a gap in one log.
pub const GAP_US: u64 = 100_000;
/// How long to leave a log alone after an apply failed; twice as long after each further failure.
pub const RETRY_US: u64 = 500_000;
/// The longest that a log is left alone.
pub const RETRY_MAX_US: u64 = 16_000_000;

/// What a part of a copy holds at most, though it always holds one row.
pub const PART_BYTES_MAX: usize = 1024 * 1024;
/// How long a part of a copy may take beyond two round trips before it is asked for again.
pub const PART_US: u64 = 4_000_000;
/// How long a store that began empty, and has heard a majority of its cluster, waits for a region that lacks nothing,
/// before it believes to be among the first.
pub const NEWBORN_US: u64 = 5_000_000;
/// How long a store that lost what its region knew waits for enough voters to say who the members are, before it goes
/// on with those that are there.
pub const MEMORY_US: u64 = 60_000_000;
/// Between two words of one region that a log does not reach back far enough.
pub const GONE_US: u64 = 1_000_000;

/// The independent streams of a connection; order holds within a lane at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Small and urgent: hello, heartbeat, acknowledgement, want.
    Control,
    /// Batches of commits.
    Log,
    /// Copies of placement groups; everything else goes first.
    Bulk,
    /// Clock probes: datagrams, which wait for nothing and may be lost.
    Probe,
}

/// Who this region is.
#[derive(Clone, Debug)]
pub struct ReplicatorConfig {
    pub region: RegionId,
    pub region_name: String,
    /// Who the members are, as the store has it.
    pub manifest: Arc<Manifest>,
    /// Every new table is global at once: a region that joins is given those that all have.
    pub replicate_all: bool,
    /// The origin of the commits made here.
    pub origin: Origin,
    /// How far clocks may be apart, the same in the whole cluster.
    pub max_offset_us: u64,
    /// Between two comparisons of everything with one peer.
    pub anti_entropy_us: u64,
    /// What the store lacks, as it says itself.
    pub lacks: Lacks,
    /// A part of a copy is closed at this size, though it always holds one row.
    pub part_bytes_max: usize,
    /// For how long the others had been silent when this region last ran.
    pub silences: Silences,
    pub limits: SilenceLimits,
    /// Which batches and copies are sent compressed.
    pub compression: Compression,
    /// What this region has bound itself to about the next record of the members.
    pub vote: Option<MemberVote>,
    pub planted: Option<PlantedBug>,
}

/// When silence has consequences, the same in the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilenceLimits {
    /// A member that a majority has not heard for so long is as good as dead.
    pub dead_after_us: u64,
    /// A region that reaches no majority for half of that takes no writes.
    pub self_fence: bool,
    /// The most that the log may take for members that do not have it; `None` = whatever there is.
    pub log_bytes_max: Option<u64>,
    /// What is done when it would take more.
    pub on_log_full: OnLogFull,
}

/// What is done when silent members hold back more of the log than there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLogFull {
    /// Local writes are refused as throttled until it is less.
    #[default]
    Throttle,
    /// The silent members lapse, if a majority does not hear them either.
    Lapse,
}

/// Why a change of the members that a person asks for is not pursued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WishError {
    #[error("this region is {0}: ask an active one")]
    NotActive(&'static str),
    #[error("a region does not declare itself lapsed: ask another one")]
    Itself,
    #[error(
        "the region to give up is heard: stop it first, or cut it off; then try again in a few seconds"
    )]
    Heard,
    #[error("another change is being agreed on here: try again")]
    Busy,
    #[error(transparent)]
    Change(#[from] manifest::ChangeError),
}

impl Default for SilenceLimits {
    fn default() -> Self {
        SilenceLimits {
            dead_after_us: 7 * 86_400_000_000,
            self_fence: true,
            log_bytes_max: None,
            on_log_full: OnLogFull::default(),
        }
    }
}

/// What a store knows that it may lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// It began empty, and has not been found to lack nothing since.
    pub newborn: bool,
    /// Copies of these groups were begun.
    pub joining: BTreeSet<GroupId>,
    /// This region lapsed and forgets what it had.
    pub wiping: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A connection to the region stands. Replaces an earlier one.
    Up(RegionId),
    /// The connection to the region is gone.
    Down(RegionId),
    Frame(RegionId, Lane, Vec<u8>),
    /// So many bytes wait to be sent to the region.
    Queued(RegionId, usize),
    /// The whole durable frontier, and a stamp at or below which every commit made here is in it.
    Durable(Frontier, Stamp),
    /// Commits made here from now on are of this origin.
    Born(Origin),
    /// The store holds this record of the members now.
    Members(Arc<Manifest>),
    /// An [`Action::Snapshot`] of that group ended.
    Copied {
        group: GroupId,
        ok: bool,
    },
    /// An [`Action::Apply`] ended; per region in the order they were asked for.
    Applied {
        from: RegionId,
        ok: bool,
    },
    /// An [`Action::Vote`] is durable, or could not be made so; in the order they were asked for.
    Voted {
        ok: bool,
    },
    /// An [`Action::Rescue`] ended.
    Rescued {
        from: RegionId,
        outcome: Option<Outcome>,
    },
    /// What an [`Action::Wipe`] began has ended: this is what the store has now.
    Wiped(Origin, Frontier),
    Tick,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Send(RegionId, Lane, Vec<u8>),
    /// Apply these sealed commits of one log, in this order, then report [`Event::Applied`].
    Apply {
        from: RegionId,
        commits: Vec<Vec<u8>>,
    },
    /// What is durable everywhere, as far as is known, for the replica's chores.
    Stable(Stability),
    /// Take in a part of a copy, after every apply asked for before it; then report [`Event::Copied`].
    Snapshot(Box<Portion>),
    /// Begin an incarnation above this one, which peers know; then report [`Event::Born`].
    Reborn {
        above: u32,
    },
    /// The store lacks nothing any more: of a group that was copied, or, with `None`, of all there was when
    /// it began empty.
    Whole(Option<GroupId>),
    /// A peer has a newer record of the members: keep it, then report [`Event::Members`].
    Adopt(Arc<Manifest>),
    /// Where the replica is to fence local writes.
    Fence(FenceLine),
    /// Whether this region has not reached a majority for so long that it is to take no writes.
    CutOff(bool),
    /// For how long the others have been silent, for the store to keep.
    Silences(Silences),
    /// Whether silent members hold back so much of the log that local writes are to be throttled.
    Throttle(bool),
    /// Keep this, then report [`Event::Voted`].
    Vote(Box<MemberVote>),
    /// Decide about commits that only a lapsed member has, then report [`Event::Rescued`].
    Rescue {
        from: RegionId,
        tail: Box<Tail>,
    },
    /// Forget what is shared with others, some of which was rescued so; report [`Event::Wiped`] in the end.
    Wipe(Outcome),
    /// What a peer has where the two differ, for the replica to judge.
    Repair(Offer),
    /// End the connection, for the reason given. An [`Event::Down`] may follow but need not.
    Disconnect(RegionId, String),
}

/// The most bytes that replication holds of any one log or peer (O13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burden {
    /// Waiting for apply, of one log.
    pub intake_bytes: usize,
    /// Sent to one peer and not acknowledged.
    pub unacked_bytes: usize,
    /// Applies under way, of one log.
    pub applies: usize,
}

/// What is known of a peer, for `status` and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub region: RegionId,
    /// Connected, and both sides have accepted each other.
    pub connected: bool,
    /// Its durable frontier, as last heard.
    pub frontier: Frontier,
    /// Every commit of the peer stamped at or below this is in its `frontier`; as last heard.
    pub watermark: Option<Stamp>,
    /// Commits of ours that it lacks.
    pub behind: u64,
    pub rtt_us: Option<u64>,
    pub offset: Option<PeerOffset>,
    /// On our monotonic clock.
    pub last_heard_us: Option<u64>,
    /// For how long nothing has been heard of it, while this region ran.
    pub silent_us: u64,
    pub traffic: Traffic,
}

/// A peer's wall clock, against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerOffset {
    /// How far it is ahead of ours.
    pub offset_us: i64,
    /// The truth is within this of it.
    pub error_us: u64,
}
