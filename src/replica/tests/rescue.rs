//! What a sponsor makes of what only a lapsed region has.

use super::*;
use crate::replica::rescue::{self, Outcome};

/// Further ahead than clocks may be.
const AHEAD_US: u64 = 60_000_000;

fn rescued(sponsor: &mut Node, lapsed: &Node, from: u64) -> Outcome {
    let txn = lapsed.store.begin_read().unwrap();
    let logs = lapsed.replica.frontier().keys();
    let log = logs
        .copied()
        .find(|log| log.origin == lapsed.replica.origin());
    let tail = rescue::read_tail(&*txn, log.unwrap(), from, usize::MAX);
    let (_, tail) = tail.unwrap().unwrap();
    match sponsor.group(vec![Job::Rescue(Box::new(tail))]).pop() {
        Some(JobResult::Rescue(Ok(outcome))) => outcome,
        other => panic!("{other:?}"),
    }
}

/// A stamp of a clock that was ahead would beat every write until the clocks get there.
#[test]
fn what_is_stamped_in_the_future_is_kept_aside() {
    let (mut a, mut b) = (filled(3), Node::new(1, small()));
    a.write(update(TableChange::AddReplica(RegionId(1))))
        .unwrap();
    b.pull(&a);
    b.settle();
    a.pull(&b);
    a.settle();
    b.pull(&a);
    b.settle();
    b.at_us = a.at_us + AHEAD_US;
    b.put(0, "in the future").unwrap();
    b.delete(1);
    b.put(100, "in the future").unwrap();
    let outcome = rescued(&mut a, &b, 1);
    assert_eq!((outcome.written, outcome.conflicts), (0, 3));
    // Twice is once.
    assert_eq!(rescued(&mut a, &b, 1), Outcome::default());
    assert_eq!(a.replica.take_noted().conflicts, BTreeMap::new());
    let txn = a.store.begin_read().unwrap();
    assert_eq!(conflict::count(&*txn).unwrap(), 3);
    drop(txn);
    a.put(0, "now").unwrap();
    a.put(1, "now").unwrap();
    assert_eq!(a.details().counts.items, 3);
}
