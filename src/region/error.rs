//! Why a region cannot start.

use crate::replica::OpenError;
use crate::store::StoreError;
use crate::transport::{IdentityError, TransportError};

/// Why a region cannot start. `Display` says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    #[error(
        "there is no region '{region}' in cluster '{cluster}'\n  hint: its regions are {known}"
    )]
    UnknownRegion {
        region: String,
        cluster: String,
        known: String,
    },
    #[error(
        "region '{region}' has no gossip address in the topology\n  hint: give every [[region]] gossip = \"host:port\""
    )]
    NoGossipAddress { region: String },
    #[error(
        "a region in memory has no folder for its certificate\n  hint: name a folder of certificates"
    )]
    NoIdentity,
    #[error(
        "the data folder belongs to cluster {found}, not {expected}\n  hint: choose another folder; or, if regions were added to the topology, keep the cluster's identity with [cluster] id = \"{found}\""
    )]
    OtherCluster { found: String, expected: String },
    #[error(
        "the data folder belongs to region {found}, not {expected}\n  hint: choose another folder; a region keeps its name and id for life"
    )]
    OtherRegion { found: String, expected: String },
    #[error(
        "region '{region}' has id {file} in the topology and id {known} among the members\n  hint: a region keeps its id for life; put the file right"
    )]
    OtherId {
        region: String,
        file: u16,
        known: u16,
    },
    #[error(
        "there is no store in '{path}'\n  hint: name the data folder of one region, such as data/local/us-east-1"
    )]
    NoStore { path: String },
    #[error("the data folder's record of its owner is damaged: {0}")]
    Guard(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("a listener or thread cannot be set up: {0}")]
    Io(#[from] std::io::Error),
}
