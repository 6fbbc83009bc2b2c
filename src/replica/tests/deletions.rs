//! Tables that are deleted in one region while another changes them, unseen by each other.

use super::*;

/// Two regions of a cluster where every table is global, with a table of ten items.
fn pair() -> (Node, Node) {
    let (mut a, mut b) = (Node::global(0, small()), Node::global(1, small()));
    a.write(simple()).unwrap();
    (0..10).for_each(|n| drop(a.put(n, "g").unwrap()));
    b.at_us = a.at_us;
    b.pull(&a);
    b.settle();
    (a, b)
}

fn drop_table(node: &mut Node) {
    let table = TABLE.into();
    node.write(WriteRequest::DeleteTable { table }).unwrap();
}

/// Both hear of each other, `a` first.
fn meet(a: &mut Node, b: &mut Node) {
    for _ in 0..2 {
        a.pull(b);
        b.pull(a);
    }
    a.settle();
    b.settle();
}

fn items(node: &Node) -> Option<usize> {
    let txn = node.store.begin_read().unwrap();
    let table = read::table(&*txn, node.config.region, TABLE).unwrap();
    drop(txn);
    table.map(|_| node.rows(Db::Items))
}

#[test]
fn a_deleted_table_stays_deleted_though_it_is_changed_elsewhere_later() {
    for b_first in [false, true] {
        let (mut a, mut b) = pair();
        drop_table(&mut a);
        b.at_us = a.at_us + 10_000_000;
        b.write(add_index(INDEX)).unwrap();
        b.put(50, "late").unwrap();
        match b_first {
            true => meet(&mut b, &mut a),
            false => meet(&mut a, &mut b),
        }
        assert_eq!((items(&a), items(&b)), (None, None));
        assert_eq!((a.rows(Db::Items), b.rows(Db::Items)), (0, 0));
        // Nor does a change that comes later still; and the name is free.
        a.write(simple()).unwrap();
        b.pull(&a);
        b.put(1, "new").unwrap();
        meet(&mut a, &mut b);
        assert_eq!((items(&a), items(&b)), (Some(1), Some(1)));
    }
}

#[test]
fn what_is_said_later_of_a_deleted_table_does_not_touch_the_next_of_its_name() {
    for (b_first, b_deletes) in [(false, false), (true, false), (false, true), (true, true)] {
        let (mut a, mut b) = pair();
        drop_table(&mut a);
        a.write(simple()).unwrap();
        (0..3).for_each(|n| drop(a.put(n, "new").unwrap()));
        b.at_us = a.at_us + 10_000_000;
        match b_deletes {
            true => drop_table(&mut b),
            false => drop(b.write(add_index(INDEX)).unwrap()),
        }
        match b_first {
            true => meet(&mut b, &mut a),
            false => meet(&mut a, &mut b),
        }
        assert_eq!((items(&a), items(&b)), (Some(3), Some(3)), "{b_deletes}");
        assert_eq!(a.def(), b.def());
        assert_eq!(a.def().indexes, []);
    }
}
