//! What the black-box tests share: the real binary, real sockets, the AWS SDK.
//!
//! - Nothing sleeps to be in time: tests poll what they wait for ([`eventually`], [`wait_for`]).
//! - A [`Cluster`] lives in a temporary folder and is stopped as an operator would, with SIGTERM, when it
//!   goes out of scope. A test fails if any of its processes ever panicked.
//! - SDK clients do not retry: what a region answers is what a test sees.

mod cluster;
pub mod global;
mod http;
mod items;
mod process;

pub use cluster::{AP, Cluster, EU, REGIONS, US, client_of};
pub use http::{Answer, Wire, admin, amz_date, post, post_signed_for, post_with, raw, unsigned};
pub use items::{
    Item, code, create, get, item, message, n, number, put, query_all, s, scan_all, text,
};
pub use process::{Finished, Process, free_ports, meridian, signal};

use std::time::{Duration, Instant};

/// Long enough for a debug build on a busy machine with two cores; a healthy run needs a fraction.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Between two looks at what is waited for.
const POLL: Duration = Duration::from_millis(20);

/// Polls until `check` gives a value; fails with its last reason when patience ends.
pub async fn wait_for<T>(what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check().await {
            Ok(value) => return value,
            Err(reason) if Instant::now() > deadline => {
                panic!("{what}: not within {} s: {reason}", PATIENCE.as_secs())
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Polls until `check` is true.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let check = async || {
        if check().await {
            Ok(())
        } else {
            Err("it is not so".to_owned())
        }
    };
    wait_for(what, check).await;
}
