//! What a replica is told when it is opened.

use super::manifest::Manifest;
use super::mutation::GroupId;
use super::stable::Retention;
use super::{PlantedBug, buckets, collection, conflict, ttl};
use crate::clock::RegionId;

/// Bounds that tests and the simulator make small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows that one step of heavy work takes: building an index, removing rows, logging versions again.
    pub chore_rows: usize,
    /// How large an item collection may grow, bytes.
    pub collection_bytes: u64,
    /// Between the beginnings of two countings of all items, microseconds.
    pub scrub_us: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            chore_rows: 512,
            collection_bytes: collection::COLLECTION_BYTES_MAX,
            scrub_us: buckets::SCRUB_US,
        }
    }
}

/// Who a replica is.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    pub region: RegionId,
    pub region_name: String,
    /// The members of the cluster as its topology has them; a store that has a record goes by that.
    pub manifest: Manifest,
    /// Every new table is global at once (`replicate = "all"` in the topology).
    pub replicate_all: bool,
    pub retention: Retention,
    pub ttl: ttl::TtlSettings,
    /// How long a table that is deleted shows DELETING, microseconds; 0 = it is gone at once.
    pub table_delay_us: u64,
    /// DynamoDB's waiting rules that only protect AWS's own operations hold here too.
    pub aws_waits: bool,
    /// For how long conflicts are kept.
    pub conflicts: conflict::Retention,
    pub planted: Option<PlantedBug>,
    pub limits: Limits,
}

impl ReplicaConfig {
    /// A region that is a cluster by itself, all else as it is when nothing is said; for tools.
    pub fn alone(region: RegionId, region_name: &str) -> Self {
        ReplicaConfig {
            region,
            region_name: region_name.to_owned(),
            manifest: Manifest::of([0; 16], GroupId::of([region])),
            replicate_all: false,
            retention: Retention::default(),
            ttl: ttl::TtlSettings::default(),
            table_delay_us: 0,
            aws_waits: false,
            conflicts: conflict::Retention::default(),
            planted: None,
            limits: Limits::default(),
        }
    }
}
