//! What anti-entropy repairs, and what it leaves: on replicas in memory.

use std::collections::BTreeMap;

use super::buckets::{self, Offer};
use super::stable::Stability;
use super::tests::{Node, collections, simple};
use super::*;
use crate::clock::policy::MAX_OFFSET_US;

/// Items are counted over and over.
fn counting() -> Limits {
    Limits {
        scrub_us: 0,
        ..Limits::default()
    }
}

/// Everything of a node's table, bucket by bucket, asked for before anything was missed.
fn offers(node: &Node) -> Vec<Offer> {
    offers_asked(node, 0)
}

fn offers_asked(node: &Node, asked_us: u64) -> Vec<Offer> {
    pieces(node, asked_us, usize::MAX)
}

/// The same in offers of about `bytes_max`.
fn pieces(node: &Node, asked_us: u64, bytes_max: usize) -> Vec<Offer> {
    let txn = node.store.begin_read().unwrap();
    let uid = node.def().uid;
    let mut offers = Vec::new();
    for bucket in buckets::sums(&*txn, uid).unwrap().into_keys() {
        let mut after = None;
        loop {
            let named = (uid, bucket);
            let offer = buckets::offer(&*txn, named, after, asked_us, bytes_max).unwrap();
            after = offer.next.clone();
            offers.push(offer);
            if after.is_none() {
                break;
            }
        }
    }
    offers
}

fn repairs(node: &Node) -> (u64, u64, usize) {
    let found = buckets::repairs(&*node.store.begin_read().unwrap()).unwrap();
    (found.repaired, found.reported, found.suspects)
}

/// Two regions with a global table of three items; the first version of the third never reached the second,
/// and the second version of the second neither, though their commits count as applied.
fn diverged() -> (Node, Node) {
    let mut a = Node::global(0, counting());
    let mut b = Node::new(1, counting());
    a.write(simple()).unwrap();
    for n in [1, 2] {
        a.put(n, "first").unwrap();
    }
    b.pull(&a);
    b.config.planted = Some(PlantedBug::HeldDropped);
    b.reopen();
    a.at_us += 2 * MAX_OFFSET_US;
    for n in [2, 3] {
        a.put(n, "second").unwrap();
    }
    b.pull(&a);
    b.config.planted = None;
    b.reopen();
    (a, b)
}

fn settle(node: &mut Node, seconds: u64) {
    let group = node.def().group;
    let stamp = Stamp {
        physical_us: now(node.at_us).wall_us + seconds * 1_000_000,
        ..Stamp::MIN
    };
    let found = Stability {
        stamps: BTreeMap::from([(group, stamp)]),
        ..Stability::default()
    };
    node.group(vec![Job::Stable(found)]);
}

fn now(at_us: u64) -> Now {
    super::tests::now(at_us)
}

#[test]
fn what_was_lost_is_merged_by_rank_and_counted() {
    let (a, mut b) = diverged();
    let sums = |node: &Node| {
        let txn = node.store.begin_read().unwrap();
        buckets::sums(&*txn, node.def().uid).unwrap()
    };
    assert_ne!(sums(&a), sums(&b));
    // Before the table has settled nothing is believed lost.
    b.group(offers(&a).into_iter().map(Job::Repair).collect());
    assert_eq!(repairs(&b), (0, 0, 0));
    settle(&mut b, 100);
    b.group(offers(&a).into_iter().map(Job::Repair).collect());
    assert_eq!(repairs(&b), (2, 0, 0));
    assert_eq!(sums(&a), sums(&b));
    b.group(offers(&a).into_iter().map(Job::Repair).collect());
    assert_eq!(repairs(&b), (2, 0, 0), "once is enough");
}

#[test]
fn what_may_have_been_deleted_is_reported_and_not_resurrected() {
    let (a, mut b) = diverged();
    settle(&mut b, 10_000);
    // Longer than tombstones are kept: item 3 may have been deleted here, and its deletion forgotten.
    b.at_us += 2 * 3_600_000_000;
    b.group(offers(&a).into_iter().map(Job::Repair).collect());
    assert_eq!(
        repairs(&b),
        (1, 0, 0),
        "it may have been deleted on the way"
    );
    b.group(offers(&a).into_iter().map(Job::Repair).collect());
    assert_eq!(repairs(&b), (1, 0, 0), "asked for before it was missed");
    let asked_us = now(b.at_us).mono_us + 1;
    let later = offers_asked(&a, asked_us);
    b.group(later.into_iter().map(Job::Repair).collect());
    assert_eq!(repairs(&b), (1, 1, 0));
    assert_eq!(b.details().counts.items, 2);
}

/// An offer may be longer on its way than it takes until its item is deleted everywhere and forgotten.
#[test]
fn what_is_deleted_while_it_is_offered_is_not_reported() {
    let (mut a, mut b) = diverged();
    settle(&mut b, 100);
    b.group(offers(&a).into_iter().map(Job::Repair).collect());
    let before = repairs(&b);
    let late = offers(&a);
    a.delete(1);
    b.pull(&a);
    b.at_us += 3 * 3_600_000_000;
    settle(&mut b, 10_000);
    b.group(late.into_iter().map(Job::Repair).collect());
    assert_eq!(repairs(&b), before);
}

#[test]
fn what_is_on_its_way_is_not_lost() {
    let (mut a, mut b) = diverged();
    settle(&mut b, 100);
    b.group(offers(&a).into_iter().map(Job::Repair).collect());
    a.put(1, "third").unwrap();
    a.put(4, "first").unwrap();
    b.group(offers(&a).into_iter().map(Job::Repair).collect());
    assert_eq!(repairs(&b), (2, 0, 0));
    b.pull(&a);
    assert_eq!(repairs(&b), (2, 0, 0));
}

/// Whether the chore has found it by then, or not.
#[test]
fn a_damaged_item_is_found_and_put_back() {
    for (flip, is_found) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut a = Node::global(0, counting());
        let mut b = Node::new(1, counting());
        a.write(simple()).unwrap();
        for n in 0..20 {
            a.put(n, "g").unwrap();
        }
        b.pull(&a);
        settle(&mut b, 100);
        let mut txn = b.store.begin_write().unwrap();
        assert!(buckets::damage(&mut *txn, b.def().uid, 7, flip).unwrap());
        txn.commit().unwrap();
        let problems = {
            let txn = b.store.begin_read().unwrap();
            check::check(&*txn, b.config.region).unwrap().problems
        };
        assert!(
            problems.iter().any(|p| p.contains("fingerprints")),
            "{problems:?}"
        );
        if is_found {
            for _ in 0..4 {
                b.at_us += 1_000_000;
                b.unchecked(Vec::new());
            }
        }
        assert_eq!(repairs(&b), (0, 0, usize::from(is_found)));
        b.unchecked(offers(&a).into_iter().map(Job::Repair).collect());
        assert_eq!(repairs(&b), (1, 0, 0));
        // And `check` finds nothing.
        b.group(Vec::new());
    }
}

/// Two regions with one partition of so many items: all in one bucket, counted in many steps.
fn large(items: usize) -> (Node, Node) {
    let mut a = Node::global(0, counting());
    let mut b = Node::new(1, counting());
    a.write(collections()).unwrap();
    for n in 0..items {
        a.put_in("p", n, "g").unwrap();
    }
    b.pull(&a);
    settle(&mut b, 100);
    (a, b)
}

fn damage(node: &mut Node, nth: usize, flip: bool) {
    let uid = node.def().uid;
    let mut txn = node.store.begin_write().unwrap();
    assert!(buckets::damage(&mut *txn, uid, nth, flip).unwrap());
    txn.commit().unwrap();
}

#[test]
fn a_large_bucket_is_counted_in_steps_while_it_changes() {
    let (mut a, mut b) = large(400);
    for n in 0..60 {
        // Before, behind and at the place that was reached.
        a.put_in("p", (n * 37) % 500, "changed").unwrap();
        b.at_us += 1_000_000;
        b.pull(&a);
        assert_eq!(repairs(&b), (0, 0, 0), "nobody is accused");
    }
    damage(&mut b, 7, true);
    for n in 0..60 {
        b.at_us += 1_000_000;
        a.put_in("p", 300 + n, "again").unwrap();
        for commits in b.due(&a) {
            b.unchecked(vec![Job::Remote(commits)]);
        }
    }
    assert_eq!(repairs(&b), (0, 0, 1));
    // In pieces, one of which has what the disk lost.
    let offers = pieces(&a, 0, 1_000);
    assert!(offers.len() > 10);
    b.unchecked(offers.into_iter().map(Job::Repair).collect());
    assert_eq!(repairs(&b), (1, 0, 0));
    // And `check` finds nothing.
    b.group(Vec::new());
}

#[test]
fn what_a_large_bucket_lost_is_judged_after_it_is_counted() {
    let offer = |a: &Node, b: &mut Node| {
        let offers = pieces(a, 0, 10_000).into_iter().map(Job::Repair);
        b.unchecked(offers.collect());
        for _ in 0..10 {
            b.at_us += 1_000_000;
            b.unchecked(Vec::new());
        }
    };
    // By the disk, though no chore has found it.
    let (a, mut b) = large(400);
    damage(&mut b, 7, false);
    offer(&a, &mut b);
    assert_eq!(repairs(&b), (0, 0, 1), "the chore counted it at once");
    offer(&a, &mut b);
    assert_eq!(repairs(&b), (1, 0, 0));
    b.group(Vec::new());
    // On the way.
    let (mut a, mut b) = large(400);
    b.config.planted = Some(PlantedBug::HeldDropped);
    b.reopen();
    a.at_us += 2 * MAX_OFFSET_US;
    a.put_in("p", 1, "second").unwrap();
    b.pull(&a);
    b.config.planted = None;
    b.reopen();
    settle(&mut b, 100);
    offer(&a, &mut b);
    assert_eq!(repairs(&b), (0, 0, 0), "the chore counted it at once");
    offer(&a, &mut b);
    assert_eq!(repairs(&b), (1, 0, 0));
    b.group(Vec::new());
}
