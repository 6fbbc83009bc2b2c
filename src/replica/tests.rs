//! Heavy work in steps, on replicas in memory. After every group the store must pass `check`.

use std::sync::Arc;

use super::catalog::{IndexDef, IndexKind, Projection, TableDef};
use super::manifest::Manifest;
use super::members::MemberStatus;
use super::mutation::{GroupId, LogId};
use super::request::{
    ItemWrite, PageRequest, TableChange, WriteAction, WriteRequest, WriteResponse,
};
use super::*;
use crate::item::{Item, KeyAttribute, KeySchema, KeyType, Number, Value};
use crate::store::MemStore;

mod copies;
mod deletions;
mod lives;
mod repeatable;
mod replicas;
mod rescue;

const TABLE: &str = "items";
const INDEX: &str = "by-g";
/// Rows of one step: so that twenty items take several.
const STEP: usize = 3;

pub(super) struct Node {
    pub store: Arc<MemStore>,
    pub config: ReplicaConfig,
    pub replica: Replica,
    pub at_us: u64,
}

impl Node {
    pub fn new(id: u16, limits: Limits) -> Node {
        let store = Arc::new(MemStore::new());
        let config = ReplicaConfig {
            region: RegionId(id),
            region_name: format!("region-{id}"),
            manifest: Manifest::of(
                [0; 16],
                GroupId::of([RegionId(0), RegionId(1), RegionId(2)]),
            ),
            replicate_all: false,
            retention: Default::default(),
            ttl: Default::default(),
            table_delay_us: 0,
            aws_waits: false,
            conflicts: Default::default(),
            planted: None,
            limits,
        };
        let at_us = 1_000_000;
        let replica = Replica::open(store.clone(), config.clone(), now(at_us), 0).unwrap();
        let mut node = Node {
            store,
            config,
            replica,
            at_us,
        };
        // It begins with nothing, and nobody has more.
        node.unchecked(vec![Job::Whole(None)]);
        node
    }

    /// A region of a cluster where every table is global.
    pub fn global(id: u16, limits: Limits) -> Node {
        let mut node = Node::new(id, limits);
        node.config.replicate_all = true;
        node.reopen();
        node
    }

    /// The process dies and another begins on the same store.
    pub fn reopen(&mut self) {
        self.at_us += 1_000;
        let store = self.store.clone();
        self.replica = Replica::open(store, self.config.clone(), now(self.at_us), 0).unwrap();
    }

    pub fn group(&mut self, jobs: Vec<Job>) -> Vec<JobResult> {
        let results = self.unchecked(jobs);
        let txn = self.store.begin_read().unwrap();
        let findings = check::check(&*txn, self.config.region).unwrap();
        assert_eq!(findings.problems, Vec::<String>::new());
        results
    }

    /// A group on a store that need not pass `check`.
    pub fn unchecked(&mut self, jobs: Vec<Job>) -> Vec<JobResult> {
        self.at_us += 1_000;
        let mut txn = self.store.begin_write().unwrap();
        let results = self.replica.run_group(&mut *txn, now(self.at_us), jobs);
        txn.commit().unwrap();
        self.replica.committed();
        results.unwrap()
    }

    pub fn write(&mut self, request: WriteRequest) -> Result<WriteResponse, ApiError> {
        match self.group(vec![Job::Write(request)]).pop() {
            Some(JobResult::Write(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Runs groups without jobs until no chore is left; says how many it took.
    fn settle(&mut self) -> usize {
        (0..)
            .take_while(|_| {
                let busy = self.replica.has_chores();
                if busy {
                    self.group(Vec::new());
                }
                busy
            })
            .count()
    }

    pub fn put(&mut self, n: usize, g: &str) -> Result<WriteResponse, ApiError> {
        self.put_in(&format!("key-{n}"), n, g)
    }

    /// The same in a partition of that key.
    pub fn put_in(&mut self, k: &str, n: usize, g: &str) -> Result<WriteResponse, ApiError> {
        let item = Item::from([
            ("k".to_owned(), Value::S(k.to_owned())),
            ("n".to_owned(), Value::N(Number::from(n as i64))),
            ("g".to_owned(), Value::S(g.to_owned())),
        ]);
        self.write(WriteRequest::Item(item_write(WriteAction::Put { item })))
    }

    pub fn delete(&mut self, n: usize) {
        let mut key = Item::from([("k".to_owned(), Value::S(format!("key-{n}")))]);
        if self.def().keys.contains("n") {
            key.insert("n".to_owned(), Value::N(Number::from(n as i64)));
        }
        self.write(WriteRequest::Item(item_write(WriteAction::Delete { key })))
            .unwrap();
    }

    pub fn def(&self) -> TableDef {
        let txn = self.store.begin_read().unwrap();
        read::table(&*txn, self.config.region, TABLE)
            .unwrap()
            .unwrap()
    }

    fn joining(&self) -> bool {
        let txn = self.store.begin_read().unwrap();
        members::is_joining(&*txn, &self.def(), self.config.region).unwrap()
    }

    fn member_statuses(&self) -> Vec<MemberStatus> {
        let txn = self.store.begin_read().unwrap();
        let all = members::statuses(&*txn, &self.def()).unwrap();
        all.into_iter().map(|(_, status)| status).collect()
    }

    pub fn details(&self) -> read::TableDetails {
        let txn = self.store.begin_read().unwrap();
        read::details(&*txn, &self.def()).unwrap()
    }

    /// What a Scan of the index gives.
    fn scan(&self) -> Result<usize, ApiError> {
        let request = PageRequest {
            table: TABLE.into(),
            index: Some(INDEX.into()),
            condition: None,
            filter: None,
            forward: true,
            limit: None,
            start: None,
            segment: None,
        };
        let txn = self.store.begin_read().unwrap();
        Ok(read::page(&*txn, &self.def(), &request)?.items.len())
    }

    fn rows(&self, db: Db) -> usize {
        let txn = self.store.begin_read().unwrap();
        read::rows(&*txn, db, &[], usize::MAX).unwrap().len()
    }

    /// Everything of the other's own logs that this one lacks.
    pub fn pull(&mut self, other: &Node) {
        for commits in self.due(other) {
            match self.group(vec![Job::Remote(commits)]).pop() {
                Some(JobResult::Remote(Ok(()))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// What is to be pulled, by log.
    pub fn due(&self, other: &Node) -> Vec<Vec<Vec<u8>>> {
        let txn = other.store.begin_read().unwrap();
        let logs: Vec<LogId> = other.replica.frontier().keys().copied().collect();
        let here = self.config.region;
        let origin = other.config.region;
        let mine = |l: &&LogId| l.origin.region == origin && l.group.contains(here);
        let commits = |log: &LogId| {
            let from = self.replica.frontier().get(log).copied().unwrap_or(0) + 1;
            let commits = log::read(&*txn, *log, from, usize::MAX).unwrap();
            commits.into_iter().map(|(_, sealed)| sealed).collect()
        };
        logs.iter().filter(mine).map(commits).collect()
    }
}

pub(super) fn now(at_us: u64) -> Now {
    Now {
        wall_us: 1_700_000_000_000_000 + at_us,
        mono_us: at_us,
    }
}

fn small() -> Limits {
    Limits {
        chore_rows: STEP,
        ..Limits::default()
    }
}

fn item_write(action: WriteAction) -> ItemWrite {
    ItemWrite {
        table: TABLE.into(),
        action,
        condition: None,
        return_old_on_failure: false,
    }
}

fn index(name: &str, kind: IndexKind, keys: KeySchema) -> IndexDef {
    IndexDef {
        id: 0,
        name: name.into(),
        kind,
        keys,
        projection: Projection::KeysOnly,
        throughput: None,
    }
}

fn create(keys: KeySchema, indexes: Vec<IndexDef>) -> WriteRequest {
    let def = TableDef {
        name: TABLE.into(),
        uid: TableUid(0),
        group: GroupId(0),
        attributes: keys.attributes().cloned().collect(),
        keys,
        indexes,
        created_us: 0,
        updated_us: 0,
        throughput: None,
        stream_view: None,
        stream_us: None,
        protected: GroupId(0),
        members: Vec::new(),
        ttl: Default::default(),
        recorded: Vec::new(),
        next_index: 0,
        merging: Default::default(),
    };
    WriteRequest::CreateTable {
        def: Box::new(def),
        local: Default::default(),
    }
}

pub(super) fn simple() -> WriteRequest {
    create(KeySchema::simple(("k", KeyType::S), None), Vec::new())
}

/// Partition k, sort n, and a local index sorted by g.
pub(super) fn collections() -> WriteRequest {
    let local = KeySchema::simple(("k", KeyType::S), Some(("g", KeyType::S)));
    let keys = KeySchema::simple(("k", KeyType::S), Some(("n", KeyType::N)));
    create(keys, vec![index("local", IndexKind::Local, local)])
}

fn update(change: TableChange) -> WriteRequest {
    WriteRequest::UpdateTable {
        table: TABLE.into(),
        change,
    }
}

fn add_index(name: &str) -> WriteRequest {
    let attributes = vec![KeyAttribute {
        name: "g".into(),
        kind: KeyType::S,
    }];
    let keys = KeySchema::simple(("g", KeyType::S), None);
    update(TableChange::CreateIndex {
        index: index(name, IndexKind::Global, keys),
        attributes,
    })
}

fn filled(items: usize) -> Node {
    let mut node = Node::new(0, small());
    node.write(simple()).unwrap();
    for n in 0..items {
        node.put(n, "g").unwrap();
    }
    node
}

#[test]
fn an_index_is_built_in_steps_under_writes_and_across_restarts() {
    let mut node = filled(60);
    node.write(add_index(INDEX)).unwrap();
    let building = node.details();
    assert_eq!(building.building.len(), 1);
    assert!(building.is_busy());
    let refused = node.scan().unwrap_err().to_string();
    assert_eq!(
        refused,
        format!("Cannot read from backfilling global secondary index: {INDEX}")
    );
    for n in 0..5 {
        node.reopen();
        assert!(
            node.details().is_busy(),
            "the build goes on after a restart"
        );
        node.put(n, "moved").unwrap();
        node.put(100 + n, "new").unwrap();
        node.delete(10 + n);
    }
    assert!(node.settle() > 1);
    assert_eq!(node.scan().unwrap(), 60);
    let details = node.details();
    assert!(!details.is_busy());
    let counts: Vec<u64> = details.indexes.values().map(|c| c.items).collect();
    assert_eq!(counts, [60]);
}

#[test]
fn small_tables_have_their_index_at_once() {
    let mut node = Node::new(0, Limits::default());
    node.write(simple()).unwrap();
    for n in 0..20 {
        node.put(n, "g").unwrap();
    }
    node.write(add_index(INDEX)).unwrap();
    assert_eq!(node.scan().unwrap(), 20);
    node.write(update(TableChange::DeleteIndex(INDEX.into())))
        .unwrap();
    assert!(!node.details().is_busy());
    assert_eq!(node.rows(Db::Index), 0);
}

#[test]
fn one_index_at_a_time_and_deleting_cancels() {
    let mut node = filled(40);
    node.write(add_index(INDEX)).unwrap();
    let busy = node.write(add_index("second")).unwrap_err();
    assert!(matches!(busy, ApiError::LimitExceeded(_)), "{busy:?}");
    let delete = WriteRequest::DeleteTable {
        table: TABLE.into(),
    };
    let busy = node.write(delete).unwrap_err();
    assert!(matches!(busy, ApiError::ResourceInUse(_)), "{busy:?}");
    node.write(update(TableChange::DeleteIndex(INDEX.into())))
        .unwrap();
    let details = node.details();
    assert_eq!((details.building.len(), details.deleting.len()), (0, 1));
    assert!(node.scan().is_err());
    node.reopen();
    node.settle();
    assert_eq!(node.rows(Db::Index), 0);
    node.write(add_index(INDEX)).unwrap();
    node.settle();
    assert_eq!(node.scan().unwrap(), 40);
}

#[test]
fn a_dropped_table_is_gone_at_once_and_its_rows_in_steps() {
    let mut node = Node::new(0, small());
    node.write(collections()).unwrap();
    for n in 0..20 {
        node.put(n, "g").unwrap();
    }
    node.write(WriteRequest::DeleteTable {
        table: TABLE.into(),
    })
    .unwrap();
    assert!(node.rows(Db::Items) > 0, "removed in steps");
    // Another of the same name has nothing of it.
    node.write(collections()).unwrap();
    node.put(1, "g").unwrap();
    assert_eq!(node.details().counts.items, 1);
    node.reopen();
    node.settle();
    assert_eq!((node.rows(Db::Items), node.rows(Db::Index)), (1, 1));
}

#[test]
fn a_table_that_lost_its_name_is_kept_as_conflicts() {
    let (mut a, mut b) = (filled(20), Node::new(1, small()));
    a.config.replicate_all = true;
    b.config.replicate_all = true;
    a.write(WriteRequest::DeleteTable {
        table: TABLE.into(),
    })
    .unwrap();
    a.reopen();
    b.reopen();
    a.write(simple()).unwrap();
    for n in 0..10 {
        a.put(n, "lost").unwrap();
    }
    b.at_us = a.at_us + 1_000;
    b.write(simple()).unwrap();
    a.pull(&b);
    a.reopen();
    a.settle();
    let txn = a.store.begin_read().unwrap();
    assert_eq!(conflict::count(&*txn).unwrap(), 10);
    drop(txn);
    assert_eq!(a.rows(Db::Items), 0);
}

#[test]
fn item_collections_have_a_size_and_a_limit() {
    let limits = Limits {
        collection_bytes: 1_000,
        ..small()
    };
    let mut node = Node::new(0, limits);
    node.write(collections()).unwrap();
    let put = |sort: i64| {
        let item = Item::from([
            ("k".to_owned(), Value::S("one".into())),
            ("n".to_owned(), Value::N(Number::from(sort))),
            ("g".to_owned(), Value::S("g".into())),
        ]);
        WriteRequest::Item(item_write(WriteAction::Put { item }))
    };
    let mut sizes = Vec::new();
    let refused = loop {
        match node.write(put(sizes.len() as i64 + 10)) {
            Ok(WriteResponse::Item(outcome)) => sizes.push(outcome.collection_bytes),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    // k "one", n two digits, g "g": 4 + 3 + 2 = 9 bytes, in the table and in the index, 100 more each.
    assert_eq!(sizes, [218, 436, 654, 872]);
    assert_eq!(refused.to_string(), "Collection size exceeded.");
    // What does not grow it passes.
    node.write(put(10)).unwrap();
    let transaction = WriteRequest::Transaction {
        writes: match put(99) {
            WriteRequest::Item(write) => vec![write],
            other => panic!("{other:?}"),
        },
        token: None,
    };
    match node.write(transaction) {
        Err(ApiError::TransactionCanceled { reasons }) => {
            assert_eq!(reasons[0].code, "ItemCollectionSizeLimitExceeded");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn items_that_came_before_their_table_are_indexed_in_steps() {
    let (mut a, mut b) = (Node::global(0, small()), Node::new(1, small()));
    a.write(collections()).unwrap();
    for n in 0..20 {
        a.put(n, "g").unwrap();
    }
    // The definition comes last: as if the items had come from a third region.
    let txn = a.store.begin_read().unwrap();
    let log = *a.replica.frontier().keys().next().unwrap();
    let commits = log::read(&*txn, log, 1, usize::MAX).unwrap();
    let opened: Vec<_> = commits
        .iter()
        .map(|(_, sealed)| log::open(sealed).unwrap())
        .collect();
    let (table, items) = opened.split_first().unwrap();
    let origin = Origin {
        region: RegionId(0),
        incarnation: 7,
    };
    let other = LogId { origin, ..log };
    let items = items.iter().enumerate().map(|(at, commit)| {
        let mut commit = commit.clone();
        commit.dot = Dot {
            log: other,
            seq: at as u64 + 1,
        };
        log::seal(&commit)
    });
    b.group(vec![Job::Remote(items.collect())]);
    b.group(vec![Job::Remote(vec![log::seal(table)])]);
    assert_eq!(
        b.details().building.len(),
        2,
        "the index and the sizes of collections"
    );
    b.put(3, "changed").unwrap();
    b.settle();
    assert_eq!(b.rows(Db::Index), 20);
}
