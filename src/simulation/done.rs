//! What came of the jobs of a group, for those who wait.

use super::host::{Done, Work};
use crate::replica::{ApiError, JobResult};
use crate::store::StoreError;

/// What came of a job; nobody waits for some.
pub fn finish(work: Work, result: JobResult) -> Option<Done> {
    match (work, result) {
        (Work::Write { asker, .. }, JobResult::Write(answer)) => {
            Some(Done::Write { asker, answer })
        }
        (Work::Remote { from, commits }, JobResult::Remote(result)) => {
            let ok = result.is_ok();
            Some(Done::Remote { from, commits, ok })
        }
        (Work::Snapshot(portion), JobResult::Snapshot) => {
            Some(Done::Snapshot { portion, ok: true })
        }
        (Work::Vote(_), JobResult::Noted) => Some(Done::Vote { ok: true }),
        (Work::Rescue { from, tail }, JobResult::Rescue(result)) => {
            let outcome = result.ok();
            Some(Done::Rescue {
                from,
                tail,
                outcome,
            })
        }
        _ => None,
    }
}

/// The same where the disk was full: nobody gets what they asked for.
pub fn refuse(work: Work) -> Option<Done> {
    match work {
        Work::Write { asker, .. } => Some(Done::Write {
            asker,
            answer: Err(ApiError::ServiceUnavailable(StoreError::Full.to_string())),
        }),
        Work::Remote { from, commits } => Some(Done::Remote {
            from,
            commits,
            ok: false,
        }),
        Work::Snapshot(portion) => Some(Done::Snapshot { portion, ok: false }),
        Work::Vote(_) => Some(Done::Vote { ok: false }),
        Work::Stable(_)
        | Work::Reborn { .. }
        | Work::Whole(_)
        | Work::Repair(_)
        | Work::Silences(_)
        | Work::Adopt(_)
        | Work::Wipe(_) => None,
        Work::Rescue { from, tail } => Some(Done::Rescue {
            from,
            tail,
            outcome: None,
        }),
    }
}
