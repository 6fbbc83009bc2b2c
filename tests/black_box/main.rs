//! The real binary, from outside: processes, sockets, signals, files, and the AWS SDK as its client.
//!
//! One program, as each of these files alone would link the SDK again: `cargo test --test black_box ttl::` runs
//! the tests of one of them.

#![allow(
    clippy::disallowed_methods,
    reason = "drives real processes: has real time, tasks, files and sockets"
)]

mod common;
mod fleet;

mod anomalies;
mod anti_entropy;
mod api;
mod bad_input;
mod bootstrap;
mod certs;
mod cli;
mod clocks;
mod conflicts;
mod control;
mod crash;
mod global_settings;
mod global_tables;
mod http;
mod indexes;
mod lapse;
mod links;
mod malformed;
mod membership;
mod merging;
mod metrics;
mod movers;
mod partiql;
mod replication;
mod scenarios;
mod session;
mod signatures;
mod sim_run;
mod storm;
mod streams;
mod transactions;
mod ttl;
