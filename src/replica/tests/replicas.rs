//! Replicas that come, return, and are told.

use super::*;

#[test]
fn a_new_replica_gets_everything_in_steps_and_again_when_it_returns() {
    let (mut a, mut b) = (filled(20), Node::new(1, small()));
    for round in 0..3 {
        a.write(update(TableChange::AddReplica(RegionId(1))))
            .unwrap();
        a.reopen();
        a.put(0, "during").unwrap();
        a.delete(7 + round);
        b.pull(&a);
        b.settle();
        // It has heard, and says so, but has not everything: nobody may use it.
        assert!(b.joining() && matches!(b.put(0, "early"), Err(ApiError::ResourceNotFound(_))));
        assert!(b.write(simple()).is_err(), "the name is taken");
        a.pull(&b);
        let refused = a.write(update(TableChange::RemoveReplica(RegionId(1))));
        assert!(matches!(refused, Err(ApiError::ResourceInUse(_))));
        a.settle();
        b.pull(&a);
        b.reopen();
        b.settle();
        assert!(!b.joining());
        assert_eq!(b.details().counts, a.details().counts, "round {round}");
        b.put(0, "now").unwrap();
        a.pull(&b);
        assert_eq!(
            a.member_statuses(),
            [MemberStatus::Active, MemberStatus::Active]
        );
        // What was there before it came is no conflict.
        let txn = a.store.begin_read().unwrap();
        assert_eq!(conflict::count(&*txn).unwrap(), 0);
        drop(txn);
        // Rows of one stay must not meet those of the next.
        a.put(200 + round, "shared").unwrap();
        a.write(update(TableChange::RemoveReplica(RegionId(1))))
            .unwrap();
        assert_eq!(
            a.member_statuses(),
            [MemberStatus::Active, MemberStatus::Deleting]
        );
        a.put(300 + round, "alone").unwrap();
        b.pull(&a);
        b.settle();
        a.pull(&b);
        assert_eq!(a.member_statuses(), [MemberStatus::Active]);
    }
    b.settle();
    assert_eq!(b.rows(Db::Items), 0);
}

/// Writes that a member makes before it hears that another has come back reach it in its new stay.
#[test]
fn a_replica_that_returns_gets_what_was_written_unaware() {
    let (mut a, mut b, mut c) = (filled(5), Node::new(1, small()), Node::new(2, small()));
    let join = |a: &mut Node, new: &mut Node, id: u16| {
        a.write(update(TableChange::AddReplica(RegionId(id))))
            .unwrap();
        new.pull(a);
        new.settle();
        a.pull(new);
        a.settle();
        new.pull(a);
        new.settle();
        a.pull(new);
    };
    join(&mut a, &mut b, 1);
    join(&mut a, &mut c, 2);
    b.pull(&a);
    b.pull(&c);
    b.settle();
    c.pull(&b);
    // B writes for the first stay of C; C gets it only in the second.
    a.write(update(TableChange::RemoveReplica(RegionId(2))))
        .unwrap();
    c.pull(&a);
    c.settle();
    a.pull(&c);
    b.put(77, "unaware").unwrap();
    a.write(update(TableChange::AddReplica(RegionId(2))))
        .unwrap();
    b.put(78, "unaware").unwrap();
    c.pull(&b);
    c.pull(&a);
    c.settle();
    for _ in 0..3 {
        a.pull(&c);
        a.settle();
        b.pull(&a);
        b.pull(&c);
        b.settle();
        c.pull(&a);
        c.pull(&b);
        c.settle();
        a.pull(&b);
    }
    assert!(!c.joining());
    let images = |node: &Node| {
        let txn = node.store.begin_read().unwrap();
        let mut rows = read::versions(&*txn, &node.def()).unwrap();
        rows.retain(|(.., image)| image.is_some());
        rows
    };
    assert_eq!(images(&c).len(), 7);
    assert_eq!(images(&c), images(&a));
    assert_eq!(images(&c), images(&b));
}

/// A new store of `lost`, which is given copies of these groups by `sponsor`, one after the other.
fn copied(lost: &Node, sponsor: &Node, groups: &[GroupId]) -> Node {
    let mut new = Node::new(lost.config.region.0, small());
    new.at_us = lost.at_us + 1_000_000;
    new.reopen();
    let base = sponsor.replica.frontier();
    for group in groups {
        new.group(vec![copies::copy_for(
            lost.config.region,
            sponsor,
            *group,
            base,
        )]);
        new.group(vec![Job::Whole(Some(*group))]);
    }
    new.group(vec![Job::Whole(None)]);
    new
}

/// What was written before a replica went is of another group than the table is now.
#[test]
fn a_lost_disk_gets_back_what_was_written_in_an_earlier_group() {
    let (mut a, mut b, mut c) = trio();
    a.put(11, "of three").unwrap();
    b.put(12, "of three").unwrap();
    exchange(&mut [&mut a, &mut b, &mut c]);
    a.write(update(TableChange::RemoveReplica(RegionId(2))))
        .unwrap();
    exchange(&mut [&mut a, &mut b, &mut c]);
    let of = |n: u16| GroupId::of((0..n).map(RegionId));
    for groups in [[of(3), of(2)], [of(2), of(3)]] {
        let new = copied(&b, &a, &groups);
        assert_eq!(new.details().counts, a.details().counts);
        assert_eq!(new.member_statuses(), a.member_statuses());
    }
}

/// That a replica has come to be is known by what its region reported, which a copy has too. One that had not yet
/// has by the copy.
#[test]
fn a_new_replica_whose_disk_is_lost_is_still_there() {
    let (a, b, c) = trio();
    let group = a.def().group;
    let new = copied(&c, &a, &[group]);
    assert_eq!(new.member_statuses(), vec![MemberStatus::Active; 3]);
    assert_eq!(new.details().counts.items, 5);
    let new = copied(&b, &a, &[group]);
    assert_eq!(new.member_statuses(), vec![MemberStatus::Active; 3]);

    let (mut a, mut b) = (filled(5), Node::new(1, small()));
    a.write(update(TableChange::AddReplica(RegionId(1))))
        .unwrap();
    b.pull(&a);
    b.settle();
    a.pull(&b);
    let group = a.def().group;
    let mut new = copied(&b, &a, &[group]);
    new.settle();
    assert!(!new.joining());
    assert_eq!(new.details().counts.items, 5);
    a.pull(&new);
    assert_eq!(a.member_statuses(), vec![MemberStatus::Active; 2]);
}

/// A region that is being given a table gives nobody a copy of it, while another has it.
#[test]
fn nobody_copies_from_a_replica_that_is_not_whole() {
    let ((mut a, b), mut c) = (pair(5), Node::new(2, small()));
    a.write(update(TableChange::AddReplica(RegionId(2))))
        .unwrap();
    c.pull(&a);
    assert!(c.joining());
    let part = |to: &Node| {
        let txn = c.store.begin_read().unwrap();
        let regions = (RegionId(2), to.config.region);
        let at = snapshot::At::Base(c.replica.frontier());
        snapshot::read_part(&*txn, regions, c.def().group, at, usize::MAX).unwrap()
    };
    assert_eq!((part(&a), part(&b)), (None, None));
}

/// Nor does one that has given its replica up: amid a copy it would seem to be the end of it.
#[test]
fn nobody_copies_from_a_replica_that_went() {
    let (mut a, mut b, mut c) = trio();
    let group = a.def().group;
    let part = |to: &Node, after: Option<&snapshot::Place>, c: &Node| {
        let txn = c.store.begin_read().unwrap();
        let regions = (RegionId(2), to.config.region);
        let base = snapshot::At::Base(c.replica.frontier());
        let at = after.map_or(base, snapshot::At::After);
        snapshot::read_part(&*txn, regions, group, at, 1).unwrap()
    };
    let first = part(&a, None, &c).expect("it has the table");
    a.write(update(TableChange::RemoveReplica(RegionId(2))))
        .unwrap();
    exchange(&mut [&mut a, &mut b, &mut c]);
    let rest = part(&a, first.next.as_ref(), &c);
    assert_eq!((rest, part(&b, None, &c)), (None, None));
}

/// Its disk was put back as it was before its replica went. Meanwhile the table changed in the group of the others.
#[test]
fn a_region_hears_by_a_copy_that_its_replica_went() {
    let (mut a, mut b, mut c) = trio();
    let group = a.def().group;
    a.write(update(TableChange::RemoveReplica(RegionId(2))))
        .unwrap();
    exchange(&mut [&mut a, &mut b]);
    // Nobody waits longer for its word that it has gone.
    a.at_us += 120_000_000;
    a.write(add_index(INDEX)).unwrap();
    exchange(&mut [&mut a, &mut b]);
    let base = a.replica.frontier();
    c.group(vec![copies::copy_for(RegionId(2), &a, group, base)]);
    let txn = c.store.begin_read().unwrap();
    assert_eq!(read::table(&*txn, RegionId(2), TABLE).unwrap(), None);
}

/// Three regions that have the table, two of which were given it one after the other.
fn trio() -> (Node, Node, Node) {
    let ((mut a, mut b), mut c) = (pair(5), Node::new(2, small()));
    a.write(update(TableChange::AddReplica(RegionId(2))))
        .unwrap();
    exchange(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(c.member_statuses(), vec![MemberStatus::Active; 3]);
    (a, b, c)
}

/// Two regions that have the table, in which both are active.
fn pair(items: usize) -> (Node, Node) {
    let (mut a, mut b) = (filled(items), Node::new(1, small()));
    a.write(update(TableChange::AddReplica(RegionId(1))))
        .unwrap();
    exchange(&mut [&mut a, &mut b]);
    assert!(!b.joining());
    (a, b)
}

/// Until all have heard everything.
fn exchange(nodes: &mut [&mut Node]) {
    for _ in 0..4 {
        for to in 0..nodes.len() {
            for from in (0..nodes.len()).filter(|from| *from != to) {
                let due = nodes[to].due(nodes[from]);
                for commits in due {
                    nodes[to].group(vec![Job::Remote(commits)]);
                }
            }
            // Chores look for what has come now and then.
            nodes[to].at_us += 100_000;
            nodes[to].group(Vec::new());
            nodes[to].settle();
        }
    }
}

/// An index is added where nobody has heard yet that a replica was, and later: both are there in the end.
#[test]
fn a_replica_stays_though_a_later_change_did_not_know_of_it() {
    for order in 0..2 {
        let ((mut a, mut b), mut c) = (pair(5), Node::new(2, small()));
        a.write(update(TableChange::AddReplica(RegionId(2))))
            .unwrap();
        b.at_us = a.at_us + 10_000;
        b.write(add_index(INDEX)).unwrap();
        if order == 0 {
            c.pull(&a);
            c.settle();
        } else {
            b.pull(&a);
            c.pull(&b);
        }
        exchange(&mut [&mut c, &mut b, &mut a]);
        assert_eq!(a.member_statuses(), vec![MemberStatus::Active; 3]);
        for node in [&a, &b, &c] {
            assert_eq!(node.def(), a.def());
            assert_eq!(node.details().counts.items, 5);
            assert_eq!(node.scan().unwrap(), 5);
        }
    }
}

/// A region writes while it does not know that another came; when it hears, the other is active already.
#[test]
fn a_region_that_hears_late_of_a_new_replica_sends_what_it_wrote_meanwhile() {
    let ((mut a, mut b), mut c) = (pair(5), Node::new(2, small()));
    a.write(update(TableChange::AddReplica(RegionId(2))))
        .unwrap();
    exchange(&mut [&mut a, &mut c]);
    // Another change writes it down: it is active, whoever hears.
    a.write(add_index(INDEX)).unwrap();
    b.put(7, "late").unwrap();
    exchange(&mut [&mut b, &mut a, &mut c]);
    assert_eq!(a.member_statuses(), vec![MemberStatus::Active; 3]);
    for node in [&a, &b, &c] {
        assert_eq!(node.details().counts.items, 6);
    }
}

/// The new replica has forgotten a deletion that its region's groups made stable; then an earlier group's log, which does
/// not come there, brings the region that sends everything what the deletion beat.
#[test]
fn what_a_forgotten_deletion_beat_does_not_come_back_with_the_log_of_an_earlier_group() {
    let ((mut a, mut b), mut c) = (pair(5), Node::new(2, small()));
    b.put(1, "late").unwrap();
    let late = a.due(&b);
    a.write(update(TableChange::AddReplica(RegionId(2))))
        .unwrap();
    exchange(&mut [&mut a, &mut c]);
    assert!(!c.joining());
    b.pull(&a);
    b.pull(&c);
    b.settle();
    b.delete(1);
    let group = a.def().group;
    for node in [&mut a, &mut c] {
        let of_group = |commits: &Vec<Vec<u8>>| {
            let first = commits.first().map(|sealed| log::header(sealed).unwrap());
            first.is_some_and(|(dot, _)| dot.log.group == group)
        };
        for commits in node.due(&b).into_iter().filter(of_group) {
            node.group(vec![Job::Remote(commits)]);
        }
        node.settle();
        assert_eq!(node.details().counts.items, 4);
    }
    c.at_us += 2 * c.config.retention.tombstones_us;
    let stamp = Stamp {
        physical_us: now(c.at_us).wall_us,
        ..Stamp::MIN
    };
    let stamps = BTreeMap::from([(group, stamp)]);
    c.group(vec![Job::Stable(stable::Stability {
        stamps,
        ..Default::default()
    })]);
    c.at_us += 1_000_000;
    c.group(Vec::new());
    c.settle();
    assert_eq!((a.rows(Db::Gc), c.rows(Db::Gc)), (1, 0));
    for commits in late {
        a.group(vec![Job::Remote(commits)]);
    }
    c.pull(&a);
    assert_eq!(c.details().counts.items, 4);
}

/// What a new replica is sent goes to the others too, who may lack the commit that it was made in. They wait for it.
#[test]
fn what_is_sent_again_does_not_tear_transactions() {
    let ((mut a, mut b), mut c) = (pair(5), Node::new(2, small()));
    let put = |n: usize| {
        let key = Value::S(format!("key-{n}"));
        let item = Item::from([
            ("k".to_owned(), key),
            ("g".to_owned(), Value::S("new".into())),
        ]);
        item_write(WriteAction::Put { item })
    };
    let transaction = WriteRequest::Transaction {
        writes: vec![put(0), put(4)],
        token: None,
    };
    b.write(transaction).unwrap();
    a.write(update(TableChange::AddReplica(RegionId(2))))
        .unwrap();
    c.pull(&a);
    c.settle();
    let late = a.due(&b);
    assert!(!late.is_empty());
    b.pull(&a);
    b.pull(&c);
    b.settle();
    let seen = |node: &Node| {
        let txn = node.store.begin_read().unwrap();
        let rows = read::versions(&*txn, &node.def()).unwrap().into_iter();
        let of_b =
            |(_, version, _): &(_, mutation::Version, _)| version.rank.stamp.region == RegionId(1);
        rows.filter(of_b).count()
    };
    for commits in a.due(&b).into_iter().rev() {
        a.group(vec![Job::Remote(commits)]);
        assert_ne!(seen(&a), 1, "half of a transaction");
    }
    assert_eq!(seen(&a), 2);
}

/// The region that was to send everything is taken out elsewhere at the same time: another sends it.
#[test]
fn a_new_replica_gets_everything_though_its_source_goes() {
    for goes_later in [true, false] {
        let ((mut a, mut b), mut c) = (pair(5), Node::new(2, small()));
        a.at_us += 20_000;
        b.at_us = match goes_later {
            true => a.at_us + 10_000,
            false => a.at_us - 10_000,
        };
        a.write(update(TableChange::AddReplica(RegionId(2))))
            .unwrap();
        c.pull(&a);
        c.settle();
        b.write(update(TableChange::RemoveReplica(RegionId(0))))
            .unwrap();
        exchange(&mut [&mut a, &mut b, &mut c]);
        let txn = a.store.begin_read().unwrap();
        assert_eq!(read::table(&*txn, RegionId(0), TABLE).unwrap(), None);
        assert_eq!(b.member_statuses(), vec![MemberStatus::Active; 2]);
        for node in [&b, &c] {
            assert_eq!(node.def(), b.def());
            assert_eq!(node.details().counts.items, 5);
        }
    }
}

/// What a region that is no member any more made still goes to all who lack it.
#[test]
fn what_a_removed_region_made_is_taken_from_others() {
    let (mut a, mut b) = pair(5);
    a.put(7, "last").unwrap();
    let due = b.due(&a);
    let region = RegionId(0);
    let removed = b
        .config
        .manifest
        .propose(&manifest::Change::Remove { region });
    b.group(vec![Job::Adopt(Arc::new(removed.unwrap()))]);
    for commits in due {
        let result = b.group(vec![Job::Remote(commits)]).pop();
        assert!(
            matches!(result, Some(JobResult::Remote(Ok(())))),
            "{result:?}"
        );
    }
    assert_eq!(b.details().counts.items, 6);
}

/// A name that was used here before, by a clock that is ahead, is free once its table is gone.
#[test]
fn a_deleted_table_of_the_same_name_does_not_keep_a_replica_out() {
    let (mut a, mut b) = (filled(3), Node::new(1, small()));
    b.at_us = a.at_us + 60_000_000;
    b.write(simple()).unwrap();
    b.write(WriteRequest::DeleteTable {
        table: TABLE.into(),
    })
    .unwrap();
    a.write(update(TableChange::AddReplica(RegionId(1))))
        .unwrap();
    for _ in 0..2 {
        b.pull(&a);
        b.settle();
        a.pull(&b);
        a.settle();
    }
    assert_eq!(
        a.member_statuses(),
        [MemberStatus::Active, MemberStatus::Active]
    );
    assert_eq!(b.details().counts, a.details().counts);
}

/// What is derived of its items goes with them to the table that it becomes: after every group the store must
/// pass `check`.
#[test]
fn a_replica_that_becomes_a_table_of_its_own_keeps_what_is_derived_of_its_items() {
    let (mut a, mut b) = (filled(5), Node::new(1, small()));
    a.write(update(TableChange::TimeToLive {
        enabled: true,
        attribute: "n".into(),
    }))
    .unwrap();
    a.write(update(TableChange::AddReplica(RegionId(1))))
        .unwrap();
    for _ in 0..2 {
        b.pull(&a);
        b.settle();
        a.pull(&b);
        a.settle();
    }
    assert!(!b.joining());
    let shared = b.def().uid;
    b.write(update(TableChange::Disassociate)).unwrap();
    let stamp = Stamp {
        physical_us: now(b.at_us).wall_us + 1_000_000,
        ..Stamp::MIN
    };
    let found = stable::Stability {
        stamps: BTreeMap::from([(b.def().group, stamp)]),
        ..Default::default()
    };
    b.at_us += 1_000_000;
    b.group(vec![Job::Stable(found)]);
    b.settle();
    assert_ne!(b.def().uid, shared);
    assert_eq!(b.details().counts.items, 5);
    b.put(1, "own").unwrap();
}
