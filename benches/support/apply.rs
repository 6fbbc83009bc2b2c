//! The code of a region alone, in one process and without a network: one region's commits into another's store, and
//! what each kind of work takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meridian::clock::{Now, RegionId};
use meridian::item::{Item, KeyAttribute, KeySchema, KeyType, Value};
use meridian::replica::catalog::{LocalSettings, TableDef, TableUid, TimeToLive};
use meridian::replica::manifest::Manifest;
use meridian::replica::mutation::GroupId;
use meridian::replica::request::{ItemWrite, WriteAction, WriteRequest};
use meridian::replica::{Job, JobResult, Replica, ReplicaConfig, log, read};
use meridian::store::{LmdbOptions, LmdbStore, Store};

const TABLE: &str = "Catch";
/// Commits that one job of the writer brings, and jobs that one group takes, as they are in a catch-up.
const GROUP_BYTES: usize = 4 << 20;

struct Node {
    store: Arc<LmdbStore>,
    replica: Replica,
    at_us: u64,
    _folder: tempfile::TempDir,
}

impl Node {
    fn open(id: u16) -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        let store =
            Arc::new(LmdbStore::open(&path, LmdbOptions { map_bytes: 4 << 30 }).expect("a store"));
        let mut config = ReplicaConfig::alone(RegionId(id), &format!("region-{id}"));
        let members = GroupId::of([RegionId(0), RegionId(1)]);
        config.manifest = Manifest::of([0; 16], members);
        config.replicate_all = true;
        let replica = Replica::open(store.clone(), config, now(0), 0).expect("a replica");
        Node {
            store,
            replica,
            at_us: 0,
            _folder: folder,
        }
    }

    /// One group of the writer: what its jobs took, and its sync.
    fn group(&mut self, jobs: Vec<Job>) -> (Duration, Duration) {
        self.at_us += 1_000;
        let started = Instant::now();
        let mut txn = self.store.begin_write().expect("a transaction");
        let results = self.replica.run_group(&mut *txn, now(self.at_us), jobs);
        for result in results.expect("a group") {
            match result {
                JobResult::Write(Ok(_)) | JobResult::Remote(Ok(())) => {}
                other => panic!("{other:?}"),
            }
        }
        let ran = Instant::now();
        txn.commit().expect("a disk");
        self.replica.committed();
        (ran - started, ran.elapsed())
    }

    /// A read as a client asks it: of the newest snapshot.
    fn read(&self, n: usize) -> Duration {
        let started = Instant::now();
        let txn = self.store.begin_read().expect("a snapshot");
        let def = read::table(&*txn, self.replica.config().region, TABLE).expect("a table");
        let key = Item::from([("pk".to_owned(), Value::S(format!("key-{n}")))]);
        let item = read::get(&*txn, &def.expect("it was created"), &key).expect("a read");
        assert!(item.is_some(), "key-{n} was written");
        started.elapsed()
    }
}

fn now(at_us: u64) -> Now {
    Now {
        wall_us: 1_700_000_000_000_000 + at_us,
        mono_us: at_us,
    }
}

fn table() -> WriteRequest {
    let key = KeyAttribute {
        name: "pk".into(),
        kind: KeyType::S,
    };
    let def = TableDef {
        name: TABLE.into(),
        uid: TableUid(0),
        group: GroupId(0),
        members: Vec::new(),
        attributes: vec![key.clone()],
        keys: KeySchema {
            partition: vec![key],
            sort: Vec::new(),
        },
        indexes: Vec::new(),
        created_us: 0,
        updated_us: 0,
        throughput: None,
        stream_view: None,
        stream_us: None,
        protected: GroupId(0),
        ttl: TimeToLive::default(),
        recorded: Vec::new(),
        next_index: 1,
        merging: Default::default(),
    };
    WriteRequest::CreateTable {
        def: Box::new(def),
        local: Box::new(LocalSettings::default()),
    }
}

fn put(n: usize, bytes: usize) -> WriteRequest {
    let item = Item::from([
        ("pk".to_owned(), Value::S(format!("key-{n}"))),
        ("payload".to_owned(), Value::S("x".repeat(bytes))),
    ]);
    WriteRequest::Item(ItemWrite {
        table: TABLE.into(),
        action: WriteAction::Put { item },
        condition: None,
        return_old_on_failure: false,
    })
}

/// Makes `count` commits of one small item each in one region and applies them in another.
pub fn run(count: usize) {
    let (mut origin, mut other) = (Node::open(0), Node::open(1));
    origin.group(vec![Job::Write(table())]);
    for from in (0..count).step_by(4_096) {
        let to = count.min(from + 4_096);
        origin.group((from..to).map(|n| Job::Write(put(n, 32))).collect());
    }
    let txn = origin.store.begin_read().expect("a snapshot");
    let logs: Vec<_> = origin.replica.frontier().keys().copied().collect();
    let (mut applied, mut groups) = (0, 0);
    let started = Instant::now();
    for id in logs {
        loop {
            let from = other.replica.frontier().get(&id).copied().unwrap_or(0) + 1;
            let commits = log::read(&*txn, id, from, GROUP_BYTES).expect("a log");
            if commits.is_empty() {
                break;
            }
            applied += commits.len();
            groups += 1;
            let sealed = commits.into_iter().map(|(_, sealed)| sealed).collect();
            other.group(vec![Job::Remote(sealed)]);
        }
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "applied {applied} commits in {groups} groups: {:.0} a second",
        applied as f64 / took
    );
}

/// How long each kind of work took, one after the other.
#[derive(Default)]
pub struct Times {
    pub reads: Vec<Duration>,
    pub writes: Vec<Duration>,
    pub applies: Vec<Duration>,
    pub syncs: Vec<Duration>,
}

/// Puts, applies and reads `count` items of `bytes` each, each in a group of its own.
pub fn service(count: usize, bytes: usize) -> Times {
    let (mut origin, mut other) = (Node::open(0), Node::open(1));
    let mut times = Times::default();
    origin.group(vec![Job::Write(table())]);
    for n in 0..count {
        let (ran, synced) = origin.group(vec![Job::Write(put(n, bytes))]);
        times.writes.push(ran);
        times.syncs.push(synced);
    }
    let txn = origin.store.begin_read().expect("a snapshot");
    for id in origin.replica.frontier().keys() {
        for (_, sealed) in log::read(&*txn, *id, 1, usize::MAX).expect("a log") {
            let (ran, synced) = other.group(vec![Job::Remote(vec![sealed])]);
            times.applies.push(ran);
            times.syncs.push(synced);
        }
    }
    times.reads = (0..count).map(|n| other.read(n)).collect();
    times
}
