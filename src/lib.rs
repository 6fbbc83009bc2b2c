//! Meridian: self-hosted DynamoDB Global Tables.
//!
//! Each module is a floor of the house, lowest first: a module may use only those above it in this list
//! (`tests/tidy.rs` checks). The floors that drive real regions may reach for time, tasks and sockets;
//! all others take them as arguments, so that the simulator can lie about them (`clippy.toml`).

pub mod config;
#[allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]
pub mod telemetry;

pub mod marks;
pub mod whims;

pub mod item;

pub mod clock;

pub mod expression;
pub mod partiql;

pub mod store;

pub mod replica;

pub mod replication;

#[allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]
pub mod transport;

#[allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]
pub mod api;
pub mod simulation;

#[allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]
pub mod region;

#[allow(
    clippy::disallowed_methods,
    reason = "drives real regions: has real time, tasks and sockets"
)]
pub mod cli;
