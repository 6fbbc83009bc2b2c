//! The region's certificate while it runs: changed files are loaded without a restart, and `status` says
//! when it expires.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::status::Status;
use crate::transport::{Facts, Identity, date};

/// Between two looks at the files.
const POLL: Duration = Duration::from_secs(1);
const DAY_S: u64 = 86_400;

/// What is shown to peers now.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Where it is read from; `None` for one that was handed over in memory.
    folder: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    facts: Option<Facts>,
    roots_expire_s: Option<u64>,
    /// How often changed files were loaded.
    reloads: u64,
    /// Why the files as they are now are not used.
    trouble: Option<String>,
}

impl State {
    fn of(identity: &Identity) -> Self {
        State {
            facts: identity.facts(),
            roots_expire_s: identity.roots_expire_s(),
            reloads: 0,
            trouble: None,
        }
    }
}

impl Certificate {
    pub fn new(identity: &Identity, folder: Option<PathBuf>) -> Self {
        let state = Mutex::new(State::of(identity));
        Certificate { folder, state }
    }

    /// When the first of the certificate and its roots expires, in seconds since 1970.
    pub fn expires_s(&self) -> Option<u64> {
        let state = self.lock();
        let own = state.facts.as_ref().map(|facts| facts.not_after_s);
        own.into_iter().chain(state.roots_expire_s).min()
    }

    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// What `status` says of it.
    pub fn report(&self, now_s: u64) -> Value {
        let state = self.lock();
        let Some(facts) = &state.facts else {
            return Value::Null;
        };
        json!({
            "role": facts.role.map(|role| role.name()),
            "fingerprint": facts.fingerprint,
            "expires": date(facts.not_after_s),
            "expires_s": facts.not_after_s,
            "days_left": facts.days_left(now_s),
            "authority_expires": state.roots_expire_s.map(date),
            "authority_expires_s": state.roots_expire_s,
            "reloads": state.reloads,
            "trouble": state.trouble,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many days `until_s` is away; negative once it is past.
pub(super) fn days_until(until_s: u64, now_s: u64) -> i64 {
    let days = |s: u64| i64::try_from(s / DAY_S).unwrap_or(i64::MAX);
    match until_s.checked_sub(now_s) {
        Some(left) => days(left),
        None => -1 - days(now_s.saturating_sub(until_s)),
    }
}

/// Loads the files again whenever they change, until `shutdown`. What cannot be used is said and not used.
pub(super) async fn watch(status: Arc<Status>, shutdown: CancellationToken) {
    let certificate = &status.certificate;
    let Some(folder) = &certificate.folder else {
        return;
    };
    let mut seen = Vec::new();
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let found = marks(folder, &status.info.name);
        if found == seen {
            continue;
        }
        seen = found;
        let loaded = Identity::load(folder, &status.cluster_id, &status.info.name);
        match loaded {
            Ok(identity) => take(&status, &identity),
            Err(error) => {
                let reason = error.to_string();
                warn!(reason, "the certificate's files changed and cannot be used");
                certificate.lock().trouble = Some(reason);
            }
        }
    }
}

fn take(status: &Status, identity: &Identity) {
    let mut state = status.certificate.lock();
    state.trouble = None;
    let fresh = State::of(identity);
    if fresh.facts == state.facts && fresh.roots_expire_s == state.roots_expire_s {
        return;
    }
    if let Err(error) = status.transport.set_identity(identity) {
        warn!(%error, "the new certificate cannot be used");
        state.trouble = Some(error.to_string());
        return;
    }
    let reloads = state.reloads + 1;
    *state = State { reloads, ..fresh };
    let until = state.facts.as_ref().map(|facts| date(facts.not_after_s));
    info!(until, "a new certificate is shown to peers from now on");
}

/// When each file was last written, and how long it is.
fn marks(folder: &Path, region: &str) -> Vec<Option<(SystemTime, u64)>> {
    let names = [
        "ca.pem".to_string(),
        format!("{region}.pem"),
        format!("{region}.key"),
    ];
    let mark = |name: &String| {
        let data = std::fs::metadata(folder.join(name)).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    names.iter().map(mark).collect()
}
