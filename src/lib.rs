//! Meridian: self-hosted DynamoDB Global Tables.
//!
//! Floors, lowest first; a module may use only modules above it in this list:
pub mod config;
pub mod telemetry;
pub mod item;
pub mod clock;
pub mod expression;
pub mod store;
pub mod replica;
pub mod replication;
pub mod transport;
pub mod api;
pub mod simulation;
pub mod region;
pub mod cli;
