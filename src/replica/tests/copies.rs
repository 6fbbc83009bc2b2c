//! Copies of a group, from one sponsor and another.

use super::*;

/// All that a sponsor has of the table's group, as a copy that began when it had `base`.
pub(super) fn copy_of(sponsor: &Node, base: &Frontier) -> Job {
    let group = sponsor.def().group;
    let txn = sponsor.store.begin_read().unwrap();
    let region = sponsor.config.region;
    let part = snapshot::read_part(&*txn, region, group, None, usize::MAX).unwrap();
    Job::Snapshot(Box::new(Portion {
        group,
        base: base.clone(),
        after: None,
        part,
        again: false,
    }))
}

/// What a newer version had replaced at the first sponsor, which lost it before a log brought it.
#[test]
fn a_copy_after_one_that_did_not_become_whole_brings_what_that_left_out() {
    let mut regions = [0, 1, 2].map(|id| Node::new(id, small()));
    for node in &mut regions {
        node.config.replicate_all = true;
        node.reopen();
    }
    let [mut first, mut joiner, mut second] = regions;
    first.write(simple()).unwrap();
    first.put(1, "old").unwrap();
    second.pull(&first);
    let base = first.replica.frontier().clone();
    first.put(1, "lost").unwrap();
    joiner.group(vec![copy_of(&first, &base)]);
    assert_eq!(joiner.details().counts.items, 0);
    let mut again = copy_of(&second, second.replica.frontier());
    if let Job::Snapshot(portion) = &mut again {
        portion.again = true;
    }
    joiner.group(vec![again]);
    assert_eq!(joiner.details().counts.items, 1);
}
