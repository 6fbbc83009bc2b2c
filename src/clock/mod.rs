//! Hybrid logical clock stamps (replication.md section 3). Time is always passed in.

pub mod hlc;

pub use hlc::{Hlc, HlcError};

use serde::{Deserialize, Serialize};

/// A region's number in its topology, 0 to 63. Stable for the life of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct RegionId(pub u16);

/// What a region believes the time is; the simulator makes it lie. Both in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, since the Unix epoch.
    pub wall_us: u64,
    /// Monotonic clock, since an arbitrary start.
    pub mono_us: u64,
}

/// A hybrid logical clock stamp. Field order is the total order on versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Stamp {
    pub physical_us: u64,
    pub logical: u32,
    pub region: RegionId,
}
