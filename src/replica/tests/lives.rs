//! Lives that begin from one backup: no two of them may number their commits alike (I1).

use super::*;

/// The incarnation in which a life that begins from `backup` at `at_us` commits.
fn incarnation(backup: &Node, at_us: u64, chance: u32) -> u32 {
    let store = Arc::new(backup.store.fork());
    let replica = Replica::open(store.clone(), backup.config.clone(), now(at_us), chance).unwrap();
    let mut life = Node {
        store,
        config: backup.config.clone(),
        replica,
        at_us,
    };
    life.put(0, "restored").unwrap();
    life.replica.origin().incarnation
}

/// The stored bound of the clock that stamps is seconds ahead of the wall: it tells no lives apart.
#[test]
fn two_lives_of_one_backup_within_a_second_have_two_incarnations() {
    let backup = filled(1);
    let first = incarnation(&backup, 2_000_000, 0);
    let second = incarnation(&backup, 2_300_000, 0);
    assert_ne!(first, second);
}

/// A board without a clock of its own begins every life at the same time.
#[test]
fn two_lives_of_one_backup_whose_clock_was_set_back_are_told_apart_by_chance() {
    let mut backup = filled(1);
    backup.at_us += 3_600_000_000;
    backup.reopen();
    backup.put(0, "late").unwrap();
    let known = backup.replica.origin().incarnation;
    let first = incarnation(&backup, 2_000_000, 17);
    let second = incarnation(&backup, 2_000_000, 18);
    assert_ne!(first, second);
    assert!(first > known && second > known, "I1");
}

#[test]
fn a_clock_that_is_decades_ahead_uses_up_no_numbers() {
    let backup = filled(1);
    let known = backup.replica.origin().incarnation;
    let far_us = 100 * 365 * 86_400_000_000;
    assert!(incarnation(&backup, far_us, u32::MAX) - known <= life::STEPS);
}

/// A store that was put back is given a copy before anyone told it that it is older than it was.
#[test]
fn what_is_made_after_a_copy_has_seen_what_the_copy_brought_back() {
    let (mut a, mut b) = (Node::global(0, small()), Node::new(1, small()));
    a.write(simple()).unwrap();
    b.pull(&a);
    let backup = Arc::new(b.store.fork());
    b.put(1, "lost").unwrap();
    a.pull(&b);
    b.store = backup;
    b.reopen();
    let group = b.def().group;
    b.group(vec![copies::copy_of(&a, a.replica.frontier())]);
    b.group(vec![Job::Whole(Some(group))]);
    b.put(1, "seen").unwrap();
    a.pull(&b);
    let txn = a.store.begin_read().unwrap();
    assert_eq!(conflict::count(&*txn).unwrap(), 0);
}
