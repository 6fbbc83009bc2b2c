//! Copies of a group, from one sponsor and another.

use super::*;

/// All that a sponsor has of a group, as a copy for `to` that began when it had `base`.
pub(super) fn copy_for(to: RegionId, sponsor: &Node, group: GroupId, base: &Frontier) -> Job {
    let txn = sponsor.store.begin_read().unwrap();
    let regions = (sponsor.config.region, to);
    let at = snapshot::At::Base(base);
    let part = snapshot::read_part(&*txn, regions, group, at, usize::MAX);
    let part = part.unwrap().expect("the sponsor has everything");
    Job::Snapshot(Box::new(Portion {
        group,
        base: base.clone(),
        after: None,
        part,
        again: false,
    }))
}

/// The same of the table's group for region 1.
pub(super) fn copy_of(sponsor: &Node, base: &Frontier) -> Job {
    copy_for(RegionId(1), sponsor, sponsor.def().group, base)
}

/// All that a sponsor has, after a copy that did not become whole.
fn copy_again(sponsor: &Node) -> Job {
    let mut copy = copy_of(sponsor, sponsor.replica.frontier());
    if let Job::Snapshot(portion) = &mut copy {
        portion.again = true;
    }
    copy
}

/// What a newer version had replaced at the first sponsor, which lost it before a log brought it.
#[test]
fn a_copy_after_one_that_did_not_become_whole_brings_what_that_left_out() {
    let [mut first, mut joiner, mut second] = [0, 1, 2].map(|id| Node::global(id, small()));
    first.write(simple()).unwrap();
    first.put(1, "old").unwrap();
    second.pull(&first);
    let base = first.replica.frontier().clone();
    first.put(1, "lost").unwrap();
    joiner.group(vec![copy_of(&first, &base)]);
    assert_eq!(joiner.details().counts.items, 0);
    joiner.group(vec![copy_again(&second)]);
    assert_eq!(joiner.details().counts.items, 1);
}

/// The first sponsor had both versions, and they met there; the second has one of them yet.
#[test]
fn what_an_earlier_sponsor_had_is_in_no_conflict_with_what_came_of_it() {
    let [mut first, mut joiner, mut second] = [0, 1, 2].map(|id| Node::global(id, small()));
    first.write(simple()).unwrap();
    second.pull(&first);
    second.put(1, "one").unwrap();
    first.at_us = second.at_us + 1_000_000;
    first.put(1, "other").unwrap();
    first.pull(&second);
    joiner.group(vec![copy_of(&first, first.replica.frontier())]);
    joiner.group(vec![copy_again(&second)]);
    let conflicts = [first, joiner].map(|node| {
        let txn = node.store.begin_read().unwrap();
        conflict::count(&*txn).unwrap()
    });
    assert_eq!(conflicts, [1, 0]);
}

fn sync(regions: &mut Vec<Node>) {
    for _ in 0..4 {
        for at in 0..regions.len() {
            let mut region = regions.remove(at);
            regions.iter().for_each(|other| region.pull(other));
            region.settle();
            regions.insert(at, region);
        }
    }
}

/// Those may still bring a version that the deletion beats, from a region that has not heard of the new replica.
#[test]
fn deletions_stay_until_the_logs_of_the_group_that_a_table_left_are_stable_too() {
    let mut regions = vec![filled(3), Node::new(1, small()), Node::new(2, small())];
    let mut groups = Vec::new();
    for region in [1, 2] {
        let change = TableChange::AddReplica(RegionId(region));
        regions[0].write(update(change)).unwrap();
        sync(&mut regions);
        groups.push(regions[0].def().group);
    }
    let node = &mut regions[0];
    node.delete(1);
    assert_eq!(node.rows(Db::Gc), 1);
    node.at_us += 2 * node.config.retention.tombstones_us;
    let stamp = Stamp {
        physical_us: now(node.at_us).wall_us,
        ..Stamp::MIN
    };
    for (group, left) in groups.into_iter().rev().zip([1, 0]) {
        let stamps = BTreeMap::from([(group, stamp)]);
        node.group(vec![Job::Stable(stable::Stability {
            stamps,
            ..Default::default()
        })]);
        node.at_us += 1_000_000;
        node.group(Vec::new());
        node.settle();
        assert_eq!(node.rows(Db::Gc), left, "{group:?}");
    }
}
