use std::sync::Arc;

use super::*;
use crate::clock::{Now, RegionId};
use crate::item::{Item, KeyAttribute, KeySchema, KeyType, Value, codec};
use crate::replica::catalog::{TableDef, TimeToLive};
use crate::replica::manifest::Manifest;
use crate::replica::mutation::{GroupId, LogId};
use crate::replica::request::{ItemWrite, WriteAction, WriteRequest, WriteResponse};
use crate::replica::ttl::TtlSettings;
use crate::replica::{ApiError, Job, JobResult, Replica, ReplicaConfig, check, log, read, rescue};
use crate::store::{Db, MemStore, Store};

const TABLE: &str = "carts";

/// One of two regions.
struct Region {
    store: MemStore,
    replica: Replica,
    now: Now,
}

impl Region {
    fn new(id: u16, conflicts: Retention) -> Region {
        let now = Now {
            wall_us: 1_700_000_000_000_000,
            mono_us: 1,
        };
        let config = ReplicaConfig {
            region: RegionId(id),
            region_name: format!("region-{id}"),
            manifest: Manifest::of([0; 16], GroupId::of([RegionId(0), RegionId(1)])),
            replicate_all: true,
            ttl: TtlSettings::default(),
            table_delay_us: 0,
            aws_waits: false,
            conflicts,
            retention: Default::default(),
            planted: None,
            limits: Default::default(),
        };
        let store = MemStore::new();
        let replica = Replica::open(Arc::new(store.clone()), config, now, 0).unwrap();
        Region {
            store,
            replica,
            now,
        }
    }

    fn group(&mut self, jobs: Vec<Job>) -> Vec<JobResult> {
        self.now.wall_us += 1_000;
        self.now.mono_us += 200_000;
        let mut txn = self.store.begin_write().unwrap();
        let results = self.replica.run_group(&mut *txn, self.now, jobs).unwrap();
        txn.commit().unwrap();
        self.replica.committed();
        results
    }

    fn ask(&mut self, request: WriteRequest) -> Result<WriteResponse, ApiError> {
        match self.group(vec![Job::Write(request)]).pop() {
            Some(JobResult::Write(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, action: WriteAction) {
        let write = ItemWrite {
            table: TABLE.into(),
            action,
            condition: None,
            return_old_on_failure: false,
        };
        self.ask(WriteRequest::Item(write)).unwrap();
    }

    fn put(&mut self, name: &str, v: &str) {
        let item = item(name, v);
        self.write(WriteAction::Put { item });
    }

    fn delete(&mut self, name: &str) {
        let key = Item::from([("k".to_owned(), Value::S(name.into()))]);
        self.write(WriteAction::Delete { key });
    }

    fn restore(&mut self, id: ConflictId, force: bool) -> Result<WriteResponse, ApiError> {
        self.ask(WriteRequest::RestoreConflict { id, force })
    }

    fn get(&self, name: &str) -> Option<Item> {
        let txn = self.store.begin_read().unwrap();
        let region = self.replica.config().region;
        let def = read::table(&*txn, region, TABLE).unwrap().unwrap();
        let key = Item::from([("k".to_owned(), Value::S(name.into()))]);
        read::get(&*txn, &def, &key).unwrap()
    }

    fn kept(&self) -> Vec<Kept> {
        let txn = self.store.begin_read().unwrap();
        let region = self.replica.config().region;
        let findings = check::check(&*txn, region).unwrap();
        assert_eq!(findings.problems, Vec::<String>::new());
        list(&*txn, Some(TABLE), usize::MAX).unwrap()
    }

    fn tallies(&self) -> Tallies {
        tallies(&*self.store.begin_read().unwrap()).unwrap()
    }

    fn rest(&mut self) {
        self.group(Vec::new());
        while self.replica.has_chores() {
            self.group(Vec::new());
        }
    }

    fn news_for(&self, other: &Region) -> Vec<Vec<u8>> {
        let txn = self.store.begin_read().unwrap();
        let log = LogId {
            group: self.replica.manifest().counted(),
            origin: self.replica.origin(),
        };
        let seen = other.replica.frontier().get(&log).copied().unwrap_or(0);
        let commits = log::read(&*txn, log, seen + 1, usize::MAX).unwrap();
        commits.into_iter().map(|(_, sealed)| sealed).collect()
    }

    /// Decides about what only the other has, as a sponsor does when one comes back that had lapsed.
    fn rescue(&mut self, other: &Region) {
        let txn = other.store.begin_read().unwrap();
        let log = LogId {
            group: other.replica.manifest().counted(),
            origin: other.replica.origin(),
        };
        let seen = self.replica.frontier().get(&log).copied().unwrap_or(0);
        let tail = rescue::read_tail(&*txn, log, seen + 1, usize::MAX).unwrap();
        let (_, tail) = tail.expect("it has more");
        match self.group(vec![Job::Rescue(Box::new(tail))]).pop() {
            Some(JobResult::Rescue(result)) => result.unwrap(),
            result => panic!("{result:?}"),
        };
    }

    fn absorb(&mut self, commits: Vec<Vec<u8>>) {
        match self.group(vec![Job::Remote(commits)]).pop() {
            Some(JobResult::Remote(result)) => result.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn item(name: &str, v: &str) -> Item {
    let attribute = |name: &str, v: &str| (name.to_owned(), Value::S(v.into()));
    Item::from([attribute("k", name), attribute("v", v)])
}

fn exchange(a: &mut Region, b: &mut Region) {
    let (from_a, from_b) = (a.news_for(b), b.news_for(a));
    a.absorb(from_b);
    b.absorb(from_a);
}

/// Two regions with the table.
fn two(conflicts: Retention) -> (Region, Region) {
    let (mut a, mut b) = (Region::new(0, conflicts), Region::new(1, conflicts));
    let def = TableDef {
        name: TABLE.into(),
        uid: TableUid(0),
        group: GroupId(0),
        attributes: vec![KeyAttribute {
            name: "k".into(),
            kind: KeyType::S,
        }],
        keys: KeySchema::simple(("k", KeyType::S), None),
        indexes: Vec::new(),
        created_us: 0,
        updated_us: 0,
        throughput: None,
        stream_view: None,
        stream_us: None,
        protected: GroupId(0),
        members: Vec::new(),
        ttl: TimeToLive::default(),
        recorded: Vec::new(),
        next_index: 0,
        merging: Default::default(),
    };
    let create = WriteRequest::CreateTable {
        def: Box::new(def),
        local: Box::default(),
    };
    a.ask(create).unwrap();
    exchange(&mut a, &mut b);
    (a, b)
}

/// Both write `name` unseen by each other; `b` wins.
fn race(a: &mut Region, b: &mut Region, name: &str) {
    a.put(name, "a");
    b.now.wall_us = a.now.wall_us + 10_000;
    b.put(name, "b");
    a.now.wall_us = b.now.wall_us;
    exchange(a, b);
}

#[test]
fn a_conflict_has_one_id_and_is_restored_once() {
    let (mut a, mut b) = two(Retention::default());
    race(&mut a, &mut b, "x");
    let (seen_a, seen_b) = (a.kept(), b.kept());
    let id = seen_a[0].id;
    assert_eq!((seen_a.len(), seen_b.len()), (1, 1));
    assert_eq!(seen_b[0].id, id);
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(b.get("x"), Some(item("x", "b")));
    b.restore(id, false).unwrap();
    assert_eq!(b.get("x"), Some(item("x", "a")));
    let by = b.kept()[0].restored.unwrap();
    assert_eq!(by.dot.log.origin, b.replica.origin());
    exchange(&mut a, &mut b);
    assert_eq!(a.get("x"), Some(item("x", "a")));
    assert_eq!(a.kept()[0].restored, Some(by), "told everywhere");
    assert_eq!(
        (a.kept().len(), b.kept().len()),
        (1, 1),
        "and no new conflict"
    );
    match a.restore(id, false) {
        Err(ApiError::ConditionalCheckFailed { item: now }) => {
            assert_eq!(now, Some(item("x", "a")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(a.tallies().restored(), 1);
}

#[test]
fn a_restore_is_refused_when_the_item_moved_on_unless_forced() {
    let (mut a, mut b) = two(Retention::default());
    race(&mut a, &mut b, "x");
    let id = a.kept()[0].id;
    a.put("x", "later");
    let refused = a.restore(id, false);
    assert!(
        matches!(refused, Err(ApiError::ConditionalCheckFailed { .. })),
        "{refused:?}"
    );
    assert_eq!(a.get("x"), Some(item("x", "later")));
    assert_eq!(a.kept()[0].restored, None);
    a.restore(id, true).unwrap();
    assert_eq!(a.get("x"), Some(item("x", "a")));
    let unknown = a.restore(ConflictId(7), true);
    assert!(
        matches!(unknown, Err(ApiError::ResourceNotFound(_))),
        "{unknown:?}"
    );
}

#[test]
fn a_delete_that_lost_deletes() {
    let (mut a, mut b) = two(Retention::default());
    a.put("x", "old");
    exchange(&mut a, &mut b);
    a.delete("x");
    b.now.wall_us = a.now.wall_us + 10_000;
    b.put("x", "b");
    a.now.wall_us = b.now.wall_us;
    exchange(&mut a, &mut b);
    let id = b.kept()[0].id;
    b.restore(id, false).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!((a.get("x"), b.get("x")), (None, None));
    // Nothing is left to delete: it counts as restored all the same.
    a.restore(id, true).unwrap();
    assert_eq!(a.tallies().restored(), 1);
}

#[test]
fn the_old_go_and_are_counted() {
    let keep = Retention {
        keep_us: 60_000_000,
        ..Retention::default()
    };
    let (mut a, mut b) = two(keep);
    for name in ["one", "two"] {
        race(&mut a, &mut b, name);
    }
    a.now.wall_us += 50_000_000;
    b.now.wall_us = a.now.wall_us;
    race(&mut a, &mut b, "three");
    a.now.wall_us += 20_000_000;
    a.rest();
    let left: Vec<u64> = a.kept().iter().map(|kept| kept.number).collect();
    assert_eq!(left, [3]);
    let tallies = a.tallies();
    assert_eq!(
        (tallies.recorded(), tallies.kept(), tallies.dropped()),
        (3, 1, 2)
    );
    assert_eq!(tallies.links.len(), 1);
    let link = tallies.links[0];
    assert_eq!(
        (link.winner, link.loser, link.recorded),
        (RegionId(1), RegionId(0), 3)
    );
    assert_eq!(b.kept().len(), 3, "by the clock of each region");
    let txn = a.store.begin_read().unwrap();
    assert_eq!(count(&*txn).unwrap(), 3);
}

#[test]
fn a_table_keeps_what_fits_its_budget() {
    let (mut a, mut b) = two(Retention {
        table_bytes: 1_000,
        ..Retention::default()
    });
    for round in 0..100 {
        race(&mut a, &mut b, &format!("item {round}"));
    }
    a.rest();
    let kept = a.kept();
    let tally = a.tallies().tables[0].1.clone();
    assert!(tally.bytes <= 1_000 && tally.bytes > 500, "{tally:?}");
    assert_eq!(kept[0].number, 100, "the newest stay");
    assert_eq!(tally.kept + tally.dropped, 100);
    assert_eq!(kept.len() as u64, tally.kept);
}

#[test]
fn what_only_a_lapsed_region_had_does_not_go_for_want_of_room() {
    let (mut a, mut b) = two(Retention {
        table_bytes: 1_000,
        keep_us: 3_600_000_000,
    });
    for round in 0..40 {
        race(&mut a, &mut b, &format!("item {round}"));
    }
    for n in 0..40 {
        b.put(&format!("new {n}"), "b");
    }
    a.rescue(&b);
    a.rest();
    let kept = a.kept();
    let (last_copies, others): (Vec<_>, Vec<_>) =
        (kept.iter()).partition(|kept| kept.conflict.is_last_copy());
    assert_eq!(last_copies.len(), 40);
    let tally = a.tallies().tables[0].1.clone();
    assert!(tally.bytes <= 1_000 && !others.is_empty(), "{tally:?}");
    assert_eq!(tally.kept + tally.dropped, 80);
    a.restore(last_copies[0].id, false).unwrap();
    a.now.wall_us += 3_700_000_000;
    a.rest();
    assert_eq!(a.kept(), [], "by age");
}

#[test]
fn conflicts_are_found_by_digits_and_by_number() {
    let (mut a, mut b) = two(Retention::default());
    for round in 0..20 {
        race(&mut a, &mut b, &format!("item {round}"));
    }
    let txn = a.store.begin_read().unwrap();
    let first = after(&*txn, Some(TABLE), 0, 8).unwrap();
    assert_eq!((first.conflicts.len(), first.next), (8, 8));
    let rest = after(&*txn, Some(TABLE), first.next, 100).unwrap();
    assert_eq!((rest.conflicts.len(), rest.next), (12, 20));
    let none = after(&*txn, Some("other"), 0, 100).unwrap();
    assert_eq!((none.conflicts.len(), none.next), (0, 20));
    for kept in list(&*txn, None, 100).unwrap() {
        let id = kept.id.to_string();
        assert_eq!(find(&*txn, &id[..16]).unwrap(), [kept.id]);
        assert_eq!(get(&*txn, kept.id).unwrap().as_ref(), Some(&kept));
        let loser = kept.conflict.loser_image.as_deref().map(codec::decode);
        assert_eq!(
            loser.unwrap().unwrap().get("v"),
            Some(&Value::S("a".into()))
        );
    }
    assert_eq!(
        find(&*txn, "").unwrap().len(),
        2,
        "as many as tell that it is not one"
    );
}

#[test]
fn a_delete_that_won_counts_as_there_once_its_tombstone_is_collected() {
    let (mut a, mut b) = two(Retention::default());
    b.put("x", "old");
    exchange(&mut a, &mut b);
    a.put("x", "a");
    b.now.wall_us = a.now.wall_us + 10_000;
    b.delete("x");
    a.now.wall_us = b.now.wall_us;
    exchange(&mut a, &mut b);
    let kept = a.kept().remove(0);
    let row = keys::item_row(kept.conflict.uid, &kept.conflict.key);
    let mut txn = a.store.begin_write().unwrap();
    assert!(txn.delete(Db::Items, &row).unwrap(), "a tombstone");
    txn.commit().unwrap();
    a.restore(kept.id, false).unwrap();
    assert_eq!(a.get("x"), Some(item("x", "a")));
}
