//! What a region says of clocks: its own, and the commits that are ahead of it.

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::status::Status;
use crate::clock::policy::Verdict;
use crate::replication::HeldLog;

/// What is wrong with this region's clock and what to do, in one sentence; `None` = nothing.
pub(super) fn alarm(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Unknown | Verdict::Good => None,
        Verdict::Behind { by_us } => Some(format!(
            "the clock is {} ms behind the other regions; harmless, but set it right (look at NTP)",
            by_us / 1_000
        )),
        Verdict::Ahead { by_us } => Some(format!(
            "the clock is {} ms ahead of the other regions, so local writes are refused; set it right (look at \
             NTP), and they go on by themselves",
            by_us / 1_000
        )),
        Verdict::Apart { by_us } => Some(format!(
            "the only other region measured has a clock {} ms {} of this one, and nobody can say which is \
             wrong; commits of the one ahead arrive late: look at NTP in both",
            by_us.unsigned_abs() / 1_000,
            if by_us < 0 { "behind" } else { "ahead" }
        )),
    }
}

impl Status {
    /// The `clock` of the report.
    pub(super) fn clock_report(&self) -> Value {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = clocks
            .as_ref()
            .map_or(Verdict::Unknown, |c| c.judgement.verdict);
        let held: Vec<HeldLog> = clocks.iter().flat_map(|c| c.held.clone()).collect();
        let (state, ahead_ms) = match verdict {
            Verdict::Unknown => ("unknown", 0),
            Verdict::Good => ("good", 0),
            Verdict::Behind { by_us } => ("behind", -milliseconds(by_us)),
            Verdict::Ahead { by_us } => ("ahead", milliseconds(by_us)),
            Verdict::Apart { by_us } => ("apart", -(by_us / 1_000)),
        };
        let help = held.iter().filter(|h| h.needs_help()).map(|h| self.cry(h));
        let alarms: Vec<String> = alarm(verdict).into_iter().chain(help).collect();
        let held: Vec<Value> = held.iter().map(|h| self.held_report(h)).collect();
        json!({
            "state": state,
            "ahead_ms": ahead_ms,
            "fenced": matches!(verdict, Verdict::Ahead { .. }),
            "max_offset_ms": self.max_offset_ms,
            "held": held,
            "alarms": alarms,
        })
    }

    fn held_report(&self, held: &HeldLog) -> Value {
        json!({
            "origin": self.name(held.log.origin.region),
            "commits": held.commits,
            "lead_ms": held.lead_us / 1_000,
        })
    }

    /// What to do about commits that are too far ahead to be waited out.
    fn cry(&self, held: &HeldLog) -> String {
        let origin = self.name(held.log.origin.region);
        format!(
            "commits of {origin} are stamped {} s in the future and wait until then: its clock was far ahead when \
             it took them. Nothing is lost. Set the clock of {origin} right; what must not wait, write again in \
             another region",
            held.lead_us / 1_000_000
        )
    }
}

fn milliseconds(us: u64) -> i64 {
    i64::try_from(us / 1_000).unwrap_or(i64::MAX)
}
