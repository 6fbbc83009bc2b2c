//! Coverage marks: rare branches say that they were taken, and tests fail when one never is.
//!
//! `mark!("name")` counts where someone has begun to count: in simulated worlds, in every build, so that a seed
//! reports the same in all of them. Elsewhere it is one look at a thread's flag. The counts are of the thread: a
//! simulated world runs on one, and reports its own. They are looked at and never decided by.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Every mark there is, and what it means that it was hit.
pub const MARKS: &[(&str, &str)] = &[
    ("relay", "a region passed on commits of another's log"),
    (
        "gap",
        "a commit arrived before an earlier one, which was asked for",
    ),
    ("rewind", "what was sent on a session was sent again"),
    (
        "context carried",
        "a commit said what its writer had seen of other logs",
    ),
    (
        "context consulted",
        "two versions were told apart by what their writers had seen",
    ),
    ("tie", "two stamps were told apart by their regions alone"),
    (
        "expired twice",
        "two regions expired one version of an item",
    ),
    (
        "tombstone collected",
        "a deletion that everyone has was forgotten",
    ),
    ("log truncated", "commits that everyone has left the log"),
    (
        "index backfilled",
        "an index took in an item that was there before it",
    ),
    ("item expired", "Time To Live removed an item"),
    ("fence", "a region whose clock is ahead refused a write"),
    (
        "self fence",
        "a region that reaches no majority refused a write",
    ),
    (
        "lapse decided",
        "a majority went on without a member that was silent for too long",
    ),
    (
        "rescued by a write",
        "what only a lapsed region had was written again by its sponsor",
    ),
    (
        "rescued to the conflict log",
        "what only a lapsed region had was kept as a conflict",
    ),
    (
        "future forgotten",
        "a region that came back took up the time that it is",
    ),
    (
        "members agreed on",
        "who the members are was agreed on anew",
    ),
    (
        "write refused to a member",
        "a region that joins, leaves or is gone refused a write",
    ),
    (
        "replica for a joiner",
        "a region that joins was given a table",
    ),
    (
        "replica of a leaver taken out",
        "a region that leaves lost a table",
    ),
    (
        "replica gone",
        "a region said that its replica of a table is gone",
    ),
    ("replica whole", "a new replica had everything, and said so"),
    (
        "replica back too soon",
        "a replica came back before the rows that it had were removed",
    ),
    (
        "stray forwarded",
        "a version went on to replicas that the log it came in does not reach",
    ),
    (
        "definitions joined",
        "two definitions of a table knew different replicas, and both counted",
    ),
    (
        "memory lost",
        "a store that lost what its region knew asked who the members are",
    ),
    (
        "sent again too early",
        "what a new replica is sent came to another region before its own commit did",
    ),
    ("hold", "commits stamped ahead of the time waited"),
    (
        "item repaired",
        "what a disk had changed or lost was put right by a peer",
    ),
    (
        "conflict dropped",
        "a kept conflict went by age or for room",
    ),
    (
        "versions merged",
        "of a table that merges, an item became what two versions know together",
    ),
    (
        "sent again",
        "commits came that were durable here: their acknowledgement was lost",
    ),
    (
        "relay silent",
        "a relay did not serve, and another was asked if there was one",
    ),
    (
        "unheard",
        "nothing was sent to a peer that does not hear: its echoes stay away",
    ),
    (
        "heard again",
        "what had been sent into a silence was sent again",
    ),
    (
        "apply failed",
        "a peer's commits could not be applied, and were fetched again",
    ),
    (
        "log gone",
        "a log no longer reached back to what a peer lacked",
    ),
    ("copied", "a region was given a copy of everything"),
    (
        "copy begun anew",
        "a copy began anew, its sponsor being gone or silent",
    ),
    (
        "vanished",
        "a copy took away what all but this region had forgotten",
    ),
    (
        "reborn",
        "a store learnt from its peers that it had forgotten its own commits",
    ),
    (
        "grown up",
        "a store that began empty has what its peers had",
    ),
    (
        "difference confirmed",
        "two regions found a table to differ at both looks",
    ),
    (
        "suspect asked",
        "a region asked for what its disk no longer holds as written",
    ),
    (
        "expiry beaten",
        "an expiry met a version that it does not beat, or came too late",
    ),
    (
        "both deleted",
        "two deletions met that had not seen each other, and nothing was lost",
    ),
    (
        "context forgotten",
        "what only stable commits could ask for was forgotten",
    ),
    (
        "rows purged",
        "the rows of a deleted index were removed, a step at a time",
    ),
    (
        "clock behind",
        "a store was opened with a clock behind what it had stamped",
    ),
    (
        "group undone",
        "a full disk refused a group, and it was as if it had not been",
    ),
];

thread_local! {
    /// What was hit since counting began; `None` where nobody counts.
    static HITS: RefCell<Option<BTreeMap<&'static str, u64>>> = const { RefCell::new(None) };
}

/// Counts a hit. Use [`mark!`](crate::mark).
pub fn hit(name: &'static str) {
    debug_assert!(
        MARKS.iter().any(|(known, _)| *known == name),
        "the mark '{name}' is not in the list"
    );
    HITS.with_borrow_mut(|hits| {
        if let Some(hits) = hits {
            *hits.entry(name).or_default() += 1;
        }
    });
}

/// Begins to count on this thread.
pub fn begin() {
    HITS.set(Some(BTreeMap::new()));
}

/// The hits on this thread since counting began, which ends.
pub fn take() -> BTreeMap<&'static str, u64> {
    HITS.take().unwrap_or_default()
}

/// Says that a rare branch was taken.
#[macro_export]
macro_rules! mark {
    ($name:literal) => {
        $crate::marks::hit($name);
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn hits_are_counted_while_someone_counts() {
        super::hit("relay");
        assert!(super::take().is_empty());
        super::begin();
        super::hit("relay");
        super::hit("relay");
        assert_eq!(super::take().get("relay"), Some(&2));
        super::hit("relay");
        assert!(super::take().is_empty());
    }
}
