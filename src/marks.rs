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
