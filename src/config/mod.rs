//! Topology files: the regions of one cluster and the links between them.
//!
//! A topology is data that every region of a cluster shares: who the regions are (names and stable
//! ids), where they listen, and, for rehearsals on one machine, how far apart they should seem.
//!
//! - [`Topology::load`] and [`Topology::parse`] read a file and refuse what cannot work, naming the
//!   file, the key and what to do about it
//! - [`Topology::builtin_local`] is `regions/local.toml`
//! - [`Topology::to_toml`] writes one back, with the addresses `meridian up` filled in
//! - [`Credentials::load`] reads who may call

mod check;
mod compression;
mod credentials;
mod error;
mod file;
mod topology;

pub use compression::Compression;
pub use credentials::{Credentials, Secret};
pub use error::ConfigError;
pub use topology::{Link, REGIONS_MAX, RegionSpec, Topology};
