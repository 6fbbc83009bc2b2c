//! Regions that are silent: what they hold back here, and what an operator can do about it
//! (replication.md section 10).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tracing::{info, warn};

use super::clock::micros;
use super::notices::Notice;
use super::start::Tuning;
use super::status::Status;
use crate::clock::RegionId;
use crate::replica::manifest::{Member, State};
use crate::replica::rescue::{self, Outcome};
use crate::replica::{stable, wipe};
use crate::replication::PeerStatus;
use crate::store::{Db, ReadTxn, StoreError};
use crate::telemetry::Page;

/// How long a region may be silent before it is a warning: longer than a restart or an upgrade takes.
pub const ALARM_AFTER: Duration = Duration::from_secs(600);

const GUESSES: &str = "this region lost what it knew of the members, and too few others were there to say who they are: it goes on \
                       with what it was told";

/// What is watched, and what was said of it.
#[derive(Debug)]
pub(super) struct Quiet {
    alarm_after_us: u64,
    dead_after_us: u64,
    self_fence: bool,
    /// For how long no majority has been reached.
    cut_off_us: AtomicU64,
    /// Whether local writes are throttled because of what silent regions hold back.
    throttled: AtomicBool,
    /// Who was silent when it was last looked.
    told: Mutex<BTreeSet<RegionId>>,
    told_cut_off: Mutex<bool>,
    /// Why the last change of the members that this region proposed came to nothing.
    trouble: Mutex<Option<String>>,
    /// Whether this region lost what it knew of the members, and too few others were there to tell.
    guesses: AtomicBool,
}

impl Quiet {
    pub fn new(tuning: Tuning) -> Self {
        Quiet {
            alarm_after_us: micros(tuning.alarm_after),
            dead_after_us: micros(tuning.dead_after),
            self_fence: tuning.self_fence,
            cut_off_us: AtomicU64::new(0),
            throttled: AtomicBool::new(false),
            told: Mutex::default(),
            told_cut_off: Mutex::default(),
            trouble: Mutex::default(),
            guesses: AtomicBool::new(false),
        }
    }

    /// Looks at what replication knows, and logs what has changed: one line when a silence becomes a warning
    /// and one when it ends.
    pub fn look(&self, peers: &[PeerStatus], cut_off_us: u64, name: impl Fn(RegionId) -> String) {
        self.cut_off_us.store(cut_off_us, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for peer in peers {
            let silent = peer.silent_us >= self.alarm_after_us;
            if silent && told.insert(peer.region) {
                warn!(
                    region = name(peer.region),
                    silent_s = peer.silent_us / 1_000_000,
                    "a region is silent; nothing that it may lack is forgotten meanwhile"
                );
            } else if !silent && told.remove(&peer.region) {
                info!(region = name(peer.region), "a silent region is heard again");
            }
        }
        let fenced = self.is_fenced();
        let mut told = self
            .told_cut_off
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if fenced && !*told {
            warn!("no majority of the regions has been reached for long; local writes are refused");
        } else if !fenced && *told {
            info!("a majority of the regions is reached; local writes are taken again");
        }
        *told = fenced;
    }

    /// Whether local writes are throttled because of what silent regions hold back; logs when that changes.
    pub fn note_throttled(&self, throttled: bool) {
        match (self.throttled.swap(throttled, Ordering::Relaxed), throttled) {
            (false, true) => {
                warn!(
                    "the log holds more for silent regions than it may; local writes are throttled"
                );
            }
            (true, false) => info!("local writes are not throttled any more"),
            _ => {}
        }
    }

    /// Whether this region lost what it knew of the members, and too few others were there to tell; logged once.
    pub fn note_guess(&self, guesses: bool) {
        if guesses && !self.guesses.swap(true, Ordering::Relaxed) {
            warn!("{GUESSES}");
        }
    }

    pub fn note_trouble(&self, trouble: Option<&str>) {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != trouble {
            *known = trouble.map(str::to_owned);
        }
    }

    /// Why the last change of the members that this region proposed came to nothing.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }

    fn is_silent(&self, peer: &PeerStatus) -> bool {
        peer.silent_us >= self.alarm_after_us
    }

    fn is_fenced(&self) -> bool {
        let limit_us = self.dead_after_us / 2;
        self.self_fence && self.cut_off_us.load(Ordering::Relaxed) >= limit_us
    }
}

impl Status {
    fn silent_peers(&self) -> Vec<PeerStatus> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = peers.iter().filter(|peer| self.quiet.is_silent(peer));
        silent.cloned().collect()
    }

    /// The `silent` of the report.
    pub(super) fn silent_report(&self) -> Vec<Value> {
        let report = |peer: &PeerStatus| {
            json!({
                "region": self.name(peer.region),
                "silent_s": peer.silent_us / 1_000_000,
            })
        };
        self.silent_peers().iter().map(report).collect()
    }

    /// The `self_fence` of the report.
    pub(super) fn self_fence_report(&self) -> Value {
        json!({
            "on": self.quiet.self_fence,
            "fenced": self.quiet.is_fenced(),
            "unreached_ms": self.quiet.cut_off_us.load(Ordering::Relaxed) / 1_000,
            "limit_ms": self.quiet.dead_after_us / 2_000,
        })
    }

    /// This region takes no writes, because it reaches too few others.
    pub(super) fn cut_off(&self) -> Option<Notice> {
        let us = self.quiet.cut_off_us.load(Ordering::Relaxed);
        let text = format!(
            "no majority of the regions has been reached for {}, so local writes are refused: the others may go on \
             without this region",
            span(us)
        );
        let hint = "mend its links; writes go on by themselves then (--no-self-fence takes them all the same)";
        let fenced = self.quiet.is_fenced();
        fenced.then(|| Notice::stopping("self_fenced", text, hint))
    }

    /// This region takes no writes, because silent regions hold back too much of the log.
    pub(super) fn log_full(&self, txn: &dyn ReadTxn) -> Result<Option<Notice>, StoreError> {
        if !self.quiet.throttled.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let text = format!(
            "silent regions hold back more than --log-max-bytes, so local writes are throttled: {}",
            self.held_back(txn)?
        );
        let hint = "start them again or mend the links, or give them up with `meridian region lapse`; writes go on by \
                    themselves then";
        Ok(Some(Notice::stopping("log_full", text, hint)))
    }

    /// One warning for each region that is silent.
    pub(super) fn silent(&self, txn: &dyn ReadTxn) -> Result<Vec<Notice>, StoreError> {
        let silent = self.silent_peers();
        if silent.is_empty() {
            return Ok(Vec::new());
        }
        let held = self.held_back(txn)?;
        let notice = |peer: &PeerStatus| {
            let (name, for_how_long) = (self.name(peer.region), span(peer.silent_us));
            let text = format!("{name} has been silent for {for_how_long}; {held}");
            let hint = format!(
                "start it again or mend its links; if it is not to come back, `meridian region lapse {name}`"
            );
            Notice::warning("silent", text, &hint)
        };
        Ok(silent.iter().map(notice).collect())
    }

    /// This region may not know who the members are.
    pub(super) fn guesses_members(&self) -> Option<Notice> {
        let hint = "let it reach the others, and compare `meridian region list` of all: if one of them has lapsed, what \
                    it made since may have come back here";
        let guesses = self.quiet.guesses.load(Ordering::Relaxed);
        guesses.then(|| Notice::warning("members_guessed", GUESSES.to_owned(), hint))
    }

    /// One notice for each region that has lapsed.
    pub(super) fn lapsed(&self) -> Vec<Notice> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let lapsed = members.members.iter().filter(|m| m.state == State::Lapsed);
        let notice = |member: &Member| {
            let text = format!(
                "{} has lapsed: it was silent for too long, and the others go on without it",
                member.name
            );
            let hint =
                "start it again: it hands over what only it has and is given everything, by itself";
            Notice::warning("lapsed", text, hint)
        };
        lapsed.map(notice).collect()
    }

    /// The `rescued` of the report: what became of what lapsed regions brought back, and of what this region
    /// brought back itself.
    pub(super) fn rescued_report(&self, txn: &dyn ReadTxn) -> Result<Value, StoreError> {
        let report = |outcome: Outcome| {
            json!({
                "written": outcome.written,
                "conflicts": outcome.conflicts,
                "tables": outcome.tables,
            })
        };
        let own = wipe::wiping(txn)?.or(wipe::returned(txn)?);
        Ok(json!({
            "for_others": report(rescue::totals(txn)?),
            "of_this_region": own.map(report),
        }))
    }

    /// What is kept here that everyone else may have.
    fn held_back(&self, txn: &dyn ReadTxn) -> Result<String, StoreError> {
        let log = txn.size(Db::Log)?;
        let tombstones = stable::waiting(txn)?;
        let since = match self.stable_lag() {
            Some(lag) => format!("what is newer than {} is kept", span(micros(lag))),
            None => "everything is kept".to_owned(),
        };
        Ok(format!(
            "{since}: {} commits of {} kB in the log, {tombstones} deletions",
            log.entries,
            log.bytes / 1_000
        ))
    }

    pub(super) fn silence_metrics(&self, page: &mut Page) {
        let flag = |on: bool| if on { 1.0 } else { 0.0 };
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "meridian_member_silent_seconds";
        let help = "Since anything was heard of the region, while this one ran.";
        page.begin(name, "gauge", help);
        for peer in peers.iter() {
            let silent = Duration::from_micros(peer.silent_us).as_secs_f64();
            page.sample(name, &[("member", &self.name(peer.region))], silent);
        }
        let name = "meridian_member_silent";
        let help =
            "1 when that is longer than --alarm-after: the region holds back what is forgotten.";
        page.begin(name, "gauge", help);
        for peer in peers.iter() {
            let silent = flag(self.quiet.is_silent(peer));
            page.sample(name, &[("member", &self.name(peer.region))], silent);
        }
        page.gauge(
            "meridian_log_full",
            "1 while local writes are throttled because silent regions hold back more than --log-max-bytes.",
            flag(self.quiet.throttled.load(Ordering::Relaxed)),
        );
        page.gauge(
            "meridian_self_fenced",
            "1 while local writes are refused because no majority of the regions is reached.",
            flag(self.quiet.is_fenced()),
        );
    }
}

/// How long, as a person says it.
fn span(us: u64) -> String {
    let seconds = us / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_the_largest_unit_that_fits() {
        let said = [59, 180, 7_200, 200_000].map(|s| span(s * 1_000_000));
        assert_eq!(said, ["59 s", "3 min", "2 h", "2 days"]);
    }
}
