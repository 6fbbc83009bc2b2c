//! Whole clusters in simulated worlds, many seeds of them: `cargo test --test simulator planted::` runs the tests of
//! one file.

mod coverage;
mod geography;
mod plans;
mod planted;
mod runs;
mod seeds;
