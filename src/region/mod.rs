//! One running region: store, replica, writer, links, API and admin server, put together.
//!
//! - One thread, the *writer*, owns the [`Replica`](crate::replica::Replica) and every write transaction.
//!   Client writes and peers' commits wait for it in bounded queues; it takes them in groups, makes each
//!   group durable with one commit, and only then answers (I3).
//! - One task drives the [`Replicator`](crate::replication::Replicator): transport events, the writer's
//!   news and a tick every 50 ms go in; frames and commits to apply come out.
//! - Reads run on their callers' threads, on snapshots, and wait for nobody.
//! - A panic in the writer or in replication, or a store that fails, aborts the process: restart is
//!   cheaper than doubt. A full disk is no failure: writes are refused, reads go on.
//! - A store remembers its cluster and region, and is refused to any other (`guard`).
//!
//! Outsiders call [`Region::start`] and [`Region::stop`].

mod admin;
mod backend;
mod certificate;
mod change;
mod clock;
mod clocks;
mod conflicts;
mod error;
mod full_disk;
mod gate;
mod guard;
mod lag;
mod links;
mod measure;
mod membership;
mod notices;
mod pages;
mod queue;
mod replicate;
mod silence;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod writer;

pub use error::RegionError;
pub use start::{IdentitySource, Region, RegionConfig, Tuning, open_stopped};
