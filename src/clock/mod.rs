//! Hybrid logical clock stamps (replication.md section 3). Time is always passed in.

pub mod calendar;
pub mod hlc;
pub mod policy;

pub use hlc::{Hlc, HlcError, PHYSICAL_US_MAX};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::whims;

/// A region's number in its topology, 0 to 63. Stable for the life of the cluster.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
pub struct RegionId(pub u16);

/// What a region believes the time is; the simulator makes it lie. Both in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, since the Unix epoch.
    pub wall_us: u64,
    /// Monotonic clock, since an arbitrary start.
    pub mono_us: u64,
}

impl whims::Id for RegionId {
    fn id(self) -> u64 {
        self.0.into()
    }
}

/// The instant that something is decided at.
impl whims::Id for Now {
    fn id(self) -> u64 {
        self.mono_us
    }
}

/// A hybrid logical clock stamp. Field order is the total order on versions.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
pub struct Stamp {
    pub physical_us: u64,
    pub logical: u32,
    pub region: RegionId,
}

impl Stamp {
    /// Below every stamp that a clock issues.
    pub const MIN: Stamp = Stamp {
        physical_us: 0,
        logical: 0,
        region: RegionId(0),
    };

    /// The stamp as 14 big-endian bytes, whose `memcmp` order is the order of stamps.
    pub fn to_bytes(self) -> [u8; 14] {
        let mut bytes = [0; 14];
        bytes[..8].copy_from_slice(&self.physical_us.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.logical.to_be_bytes());
        bytes[12..].copy_from_slice(&self.region.0.to_be_bytes());
        bytes
    }

    /// The inverse of [`Stamp::to_bytes`]; every 14 bytes are a stamp.
    pub fn from_bytes(bytes: &[u8; 14]) -> Stamp {
        let [p0, p1, p2, p3, p4, p5, p6, p7, l0, l1, l2, l3, r0, r1] = *bytes;
        Stamp {
            physical_us: u64::from_be_bytes([p0, p1, p2, p3, p4, p5, p6, p7]),
            logical: u32::from_be_bytes([l0, l1, l2, l3]),
            region: RegionId(u16::from_be_bytes([r0, r1])),
        }
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// `<microseconds>.<logical>@<region>`
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{}", self.physical_us, self.logical, self.region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp() -> impl Strategy<Value = Stamp> {
        let physical = prop_oneof![any::<u64>(), 0u64..3];
        (physical, prop_oneof![any::<u32>(), 0u32..3], any::<u16>()).prop_map(|(p, l, r)| Stamp {
            physical_us: p,
            logical: l,
            region: RegionId(r),
        })
    }

    #[test]
    fn bytes_are_big_endian_in_field_order() {
        let stamp = Stamp {
            physical_us: 0x0102_0304_0506_0708,
            logical: 0x090a_0b0c,
            region: RegionId(0x0d0e),
        };
        assert_eq!(
            stamp.to_bytes(),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
        );
        assert_eq!(stamp.to_string(), "72623859790382856.151653132@r3342");
    }

    proptest! {
        #[test]
        fn bytes_keep_value_and_order(a in stamp(), b in stamp()) {
            prop_assert_eq!(Stamp::from_bytes(&a.to_bytes()), a);
            prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
        }
    }
}
