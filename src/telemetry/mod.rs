//! Logging: `tracing` to stderr, filtered by the environment variable `MERIDIAN_LOG`. Metrics: [`Metrics`].

mod metrics;

pub use metrics::{Counter, Family, Histogram, Labels, Metrics, Page, exact};

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged when `MERIDIAN_LOG` is not set: QUIC's own chatter only when it warns.
const DEFAULT_FILTER: &str = "info,quinn=warn,quinn_proto=warn,rustls=warn";

/// Starts logging to stderr. A second call changes nothing; a bad filter falls back to the default.
pub fn init() {
    let filter = match std::env::var("MERIDIAN_LOG") {
        Ok(text) => EnvFilter::try_new(&text).unwrap_or_else(|error| {
            eprintln!(
                "warning: MERIDIAN_LOG='{text}' is not a filter ({error}); using '{DEFAULT_FILTER}'"
            );
            EnvFilter::new(DEFAULT_FILTER)
        }),
        Err(_) => EnvFilter::new(DEFAULT_FILTER),
    };
    let already = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    if already.is_err() {
        tracing::debug!("logging was started before");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn starting_twice_is_harmless() {
        super::init();
        super::init();
    }
}
