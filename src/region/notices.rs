//! What an operator should know now, and do: one notice per trouble, in `status` and above its tables.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::certificate::days_until;
use super::membership;
use super::status::{LinkReport, Status};
use crate::replica::buckets::{self, Repairs};
use crate::replica::manifest::State;
use crate::store::{ReadTxn, StoreError};
use crate::transport::{date, now_s};

/// Certificates are warned about this many days before they expire.
const EXPIRY_WARNING_DAYS: i64 = 14;
/// For how long after a refused group the disk counts as full. Not until the next that fits: small ones do
/// long before the disk has room again, and a region that is sent nothing would stay out for ever.
pub(super) const STORE_FULL_US: u64 = 10_000_000;

/// One trouble.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Notice {
    /// `error` when the region does not do all of its work, `warning` when it soon may not.
    pub level: &'static str,
    /// For programs; never changes.
    pub code: &'static str,
    pub text: String,
    /// What to do.
    pub hint: String,
    /// The region does not serve, or not writes: `/health` says so.
    pub stops: bool,
}

impl Notice {
    pub fn error(code: &'static str, text: String, hint: &str) -> Notice {
        let (level, hint) = ("error", hint.to_string());
        Notice {
            level,
            code,
            text,
            hint,
            stops: false,
        }
    }

    pub fn stopping(code: &'static str, text: String, hint: &str) -> Notice {
        Notice {
            stops: true,
            ..Notice::error(code, text, hint)
        }
    }

    pub fn warning(code: &'static str, text: String, hint: &str) -> Notice {
        Notice {
            level: "warning",
            ..Notice::error(code, text, hint)
        }
    }
}

impl Status {
    /// Every trouble that there is. A part of the region that can be in trouble adds a line here.
    pub fn notices(
        &self,
        txn: &dyn ReadTxn,
        links: &[LinkReport],
    ) -> Result<Vec<Notice>, StoreError> {
        let mut all = Vec::new();
        all.extend(self.no_member());
        all.extend(self.rebuilding());
        all.extend(self.store_full());
        all.extend(self.cut_off());
        all.extend(self.log_full(txn)?);
        all.extend(self.clock());
        all.extend(self.silent(txn)?);
        all.extend(self.lapsed());
        all.extend(self.guesses_members());
        all.extend(repaired(buckets::repairs(txn)?));
        all.extend(self.differences().iter().map(|text| differs(text)));
        all.extend(self.certificate_expiring());
        all.extend(self.certificate_trouble());
        all.extend(links.iter().filter_map(refused));
        all.extend(links.iter().filter_map(down));
        all.extend(links.iter().filter_map(refused_commits));
        Ok(all)
    }

    fn rebuilding(&self) -> Option<Notice> {
        let text = format!("this region is being rebuilt: {}", self.gate.reason()?);
        let hint = "clients are served once it is whole; the other regions serve meanwhile";
        Some(Notice::stopping("rebuilding", text, hint))
    }

    /// The file against what the members agreed on, as it is now.
    fn differences(&self) -> Vec<String> {
        let members = self
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // What would not fit at all ended the start.
        membership::compare(&members, &self.topology).unwrap_or_default()
    }

    /// A region that leaves, or is no member any more, takes no writes.
    fn no_member(&self) -> Option<Notice> {
        let members = self.manifest();
        let (state, epoch) = (members.state(self.info.id)?, members.epoch);
        let (code, text, hint) = match state {
            State::Active | State::Joining => return None,
            State::Leaving => (
                "leaving",
                "this region is leaving its cluster: writes are refused, reads go on",
                "`meridian region list` shows what it waits for; stop it when it is removed",
            ),
            State::Lapsed => (
                "lapsed",
                "this region was silent for too long, and the others went on without it: writes are refused",
                "mend its links and leave its data folder alone: it hands over what only it has and is given \
                 everything, by itself",
            ),
            State::Removed => (
                "removed",
                "this region was removed from its cluster: writes are refused",
                "stop it; to have a region of that name again, start one with an empty data folder and another \
                 id, and add it with `meridian region add`",
            ),
        };
        let text = format!("{text} (members of epoch {epoch})");
        Some(Notice::stopping(code, text, hint))
    }

    fn store_full(&self) -> Option<Notice> {
        let at_us = self.metrics.store_full_us.load(Ordering::Relaxed);
        let now_us = self.clock.now().mono_us;
        let full = at_us > 0 && now_us.saturating_sub(at_us) < STORE_FULL_US;
        let text = "the disk is full: writes are refused, reads go on".to_string();
        let hint = "free space on the data folder's disk; no restart is needed";
        full.then(|| Notice::stopping("store_full", text, hint))
    }

    /// What the clock's own report says is wrong; a fenced region takes no writes.
    fn clock(&self) -> Vec<Notice> {
        let report = self.clock_report();
        let fenced = report["fenced"] == true;
        let hint = "`chronyc tracking` or `timedatectl` on that machine shows its clock";
        let alarms = report["alarms"].as_array().into_iter().flatten();
        let alarms = alarms.filter_map(serde_json::Value::as_str);
        let mut all: Vec<Notice> = alarms
            .map(|alarm| Notice::error("clock", alarm.to_string(), hint))
            .collect();
        if let Some(first) = all.first_mut().filter(|_| fenced) {
            first.code = "fenced";
            first.stops = true;
        }
        for held in report["held"].as_array().into_iter().flatten() {
            let (commits, lead) = (&held["commits"], &held["lead_ms"]);
            let origin = held["origin"].as_str().unwrap_or("-");
            let text =
                format!("{commits} commits of {origin} wait: they are {lead} ms in the future");
            let hint = "they are applied in time; set that region's clock right";
            all.push(Notice::warning("held", text, hint));
        }
        all
    }

    fn certificate_expiring(&self) -> Option<Notice> {
        expiring(self.certificate.expires_s()?, now_s())
    }

    fn certificate_trouble(&self) -> Option<Notice> {
        let trouble = self.certificate.trouble()?;
        let text = format!("the certificate's files changed and cannot be used: {trouble}");
        let hint = "the certificate loaded before stays in use; put the files right";
        Some(Notice::error("certificate_unusable", text, hint))
    }
}

/// The topology file says something else than the cluster has agreed on.
fn differs(difference: &str) -> Notice {
    let hint = "the members that the regions agreed on count; make the file say the same";
    Notice::warning("topology_differs", difference.to_owned(), hint)
}

/// Every repair is a bug or a bad disk.
fn repaired(found: Repairs) -> Option<Notice> {
    if (found.repaired, found.reported, found.suspects) == (0, 0, 0) {
        return None;
    }
    let text = format!(
        "{} items were lost here and put right, {} reported and left, {} ranges damaged on disk",
        found.repaired, found.reported, found.suspects
    );
    let hint = "check the disk, then run `meridian check`";
    Some(Notice::error("repairs", text, hint))
}

/// They are asked for again, ever more rarely.
fn refused_commits(link: &LinkReport) -> Option<Notice> {
    let reason = link.refused_commits.as_ref()?;
    let text = format!("commits that {} sent are not taken: {reason}", link.peer);
    let hint =
        "run the same version everywhere; if they are damaged, `meridian check` on their origin";
    Some(Notice::error("commits_refused", text, hint))
}

fn expiring(expires_s: u64, now_s: u64) -> Option<Notice> {
    let (days, when) = (days_until(expires_s, now_s), date(expires_s));
    let hint = "renew it with `meridian cert renew` (or the authority with `cert init`); no restart is needed";
    if days < 0 {
        let text = format!("the certificate or its authority expired on {when}: peers refuse it");
        return Some(Notice::error("certificate_expired", text, hint));
    }
    let text = format!("the certificate or its authority expires on {when}, in {days} days");
    (days < EXPIRY_WARNING_DAYS).then(|| Notice::warning("certificate_expiring", text, hint))
}

/// Where one side refuses the other, that is all there is to say.
fn down(link: &LinkReport) -> Option<Notice> {
    let down = link.down.as_ref().filter(|_| link.refusal.is_none())?;
    let reason = down.reason.as_deref().unwrap_or("it was never reached");
    let text = format!(
        "the link to {} is down since {} ({} s): {reason}",
        link.peer, down.since, down.for_s
    );
    let hint = "nothing is lost: what each lacks comes once they reach each other, directly or through others";
    Some(Notice::warning("link_down", text, hint))
}

fn refused(link: &LinkReport) -> Option<Notice> {
    let refusal = link.refusal.as_ref().filter(|_| !link.connected)?;
    let text = format!("not connected to {}: {}", link.peer, refusal.reason);
    let hint = "compare both sides' topologies and certificates (`meridian cert show FILE`)";
    Some(Notice::error("link_refused", text, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_warned_of_in_time() {
        const DAY_S: u64 = 86_400;
        let now = 20_000 * DAY_S;
        assert_eq!(expiring(now + 14 * DAY_S, now), None);
        let soon = expiring(now + 13 * DAY_S, now).expect("a warning");
        assert_eq!((soon.level, soon.code), ("warning", "certificate_expiring"));
        assert!(soon.text.contains("in 13 days"), "{}", soon.text);
        let late = expiring(now - 1, now).expect("an error");
        assert_eq!((late.level, late.code), ("error", "certificate_expired"));
    }
}
