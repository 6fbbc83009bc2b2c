use std::sync::Arc;

use super::super::catalog::{IndexDef, IndexKind, Projection, TimeToLive};
use super::super::manifest::{self, Manifest};
use super::super::mutation::{GroupId, LogId, RankKind, Version};
use super::super::request::{ItemWrite, TableChange, WriteAction, WriteRequest, WriteResponse};
use super::super::{ApiError, Job, JobResult, ReplicaConfig, check, conflict, log};
use super::*;
use crate::clock::RegionId;
use crate::item::{KeyAttribute, KeySchema, KeyType, Number};
use crate::store::{MemStore, Store};

const TABLE: &str = "sessions";
const START_S: u64 = 1_700_000_000;

/// One of two regions.
struct Region {
    store: MemStore,
    replica: Replica,
    now: Now,
}

fn config(id: u16) -> ReplicaConfig {
    ReplicaConfig {
        region: RegionId(id),
        region_name: format!("region-{id}"),
        manifest: Manifest::of([0; 16], GroupId::of([RegionId(0), RegionId(1)])),
        replicate_all: true,
        ttl: TtlSettings {
            interval_us: 0,
            ..TtlSettings::default()
        },
        table_delay_us: 0,
        aws_waits: false,
        conflicts: crate::replica::conflict::Retention::default(),
        retention: Default::default(),
        planted: None,
        limits: Default::default(),
    }
}

impl Region {
    fn new(id: u16) -> Region {
        Region::with(config(id))
    }

    fn with(config: ReplicaConfig) -> Region {
        let now = Now {
            wall_us: START_S * 1_000_000,
            mono_us: 1,
        };
        let store = MemStore::new();
        let replica = Replica::open(Arc::new(store.clone()), config, now, 0).unwrap();
        Region {
            store,
            replica,
            now,
        }
    }

    fn restart(&mut self) {
        let config = self.replica.config().clone();
        self.replica = Replica::open(Arc::new(self.store.clone()), config, self.now, 0).unwrap();
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

    fn put(&mut self, name: &str, expires: Value) {
        let item = Item::from([
            ("k".to_owned(), Value::S(name.into())),
            ("expires".to_owned(), expires),
        ]);
        let write = ItemWrite {
            table: TABLE.into(),
            action: WriteAction::Put { item },
            condition: None,
            return_old_on_failure: false,
        };
        self.ask(WriteRequest::Item(write)).unwrap();
    }

    fn set_ttl(&mut self, enabled: bool, attribute: &str) -> Result<WriteResponse, ApiError> {
        let attribute = attribute.to_owned();
        self.ask(WriteRequest::UpdateTable {
            table: TABLE.into(),
            change: TableChange::TimeToLive { enabled, attribute },
        })
    }

    /// Runs empty groups until no chore has more to do.
    fn rest(&mut self) {
        self.group(Vec::new());
        while self.replica.has_chores() {
            self.group(Vec::new());
        }
    }

    fn def(&self) -> TableDef {
        let txn = self.store.begin_read().unwrap();
        let region = self.replica.config().region;
        read::table(&*txn, region, TABLE).unwrap().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let txn = self.store.begin_read().unwrap();
        let versions = read::versions(&*txn, &self.def()).unwrap();
        let images = versions.into_iter().filter_map(|(_, _, image)| image);
        let name = |image: Vec<u8>| match codec::decode(&image).unwrap().remove("k") {
            Some(Value::S(name)) => name,
            other => panic!("{other:?}"),
        };
        let mut names: Vec<String> = images.map(name).collect();
        names.sort();
        names
    }

    fn version(&self, name: &str) -> Version {
        let txn = self.store.begin_read().unwrap();
        let key = Item::from([("k".to_owned(), Value::S(name.into()))]);
        let def = self.def();
        let key: ItemKey = def.keys.bytes(&key).unwrap().into();
        let (version, _) = read::version(&*txn, &def, &key).unwrap().unwrap();
        version
    }

    fn conflicts(&self) -> u64 {
        conflict::count(&*self.store.begin_read().unwrap()).unwrap()
    }

    fn assert_sound(&self) {
        let txn = self.store.begin_read().unwrap();
        let findings = check::check(&*txn, self.replica.config().region).unwrap();
        assert_eq!(findings.problems, Vec::<String>::new());
    }

    /// What this region made and the other has not seen; the other applies it when it likes.
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

    fn absorb(&mut self, commits: Vec<Vec<u8>>) {
        match self.group(vec![Job::Remote(commits)]).pop() {
            Some(JobResult::Remote(result)) => result.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn exchange(a: &mut Region, b: &mut Region) {
    let (from_a, from_b) = (a.news_for(b), b.news_for(a));
    a.absorb(from_b);
    b.absorb(from_a);
}

fn at(second: u64) -> Value {
    Value::N(Number::from(i64::try_from(second).unwrap()))
}

fn text(number: String) -> Value {
    Value::N(Number::parse(&number).unwrap())
}

fn table(ttl: Option<&str>) -> WriteRequest {
    let attribute = |name: &str, kind| KeyAttribute {
        name: name.into(),
        kind,
    };
    let def = TableDef {
        name: TABLE.into(),
        uid: TableUid(0),
        group: GroupId(0),
        attributes: vec![attribute("k", KeyType::S), attribute("expires", KeyType::N)],
        keys: KeySchema::simple(("k", KeyType::S), None),
        indexes: Vec::new(),
        created_us: 0,
        updated_us: 0,
        throughput: None,
        stream_view: None,
        stream_us: None,
        protected: GroupId(0),
        members: Vec::new(),
        ttl: TimeToLive {
            attribute: ttl.map(str::to_owned),
            changed_us: 0,
        },
        recorded: Vec::new(),
        next_index: 0,
        merging: Default::default(),
    };
    WriteRequest::CreateTable {
        def: Box::new(def),
        local: Box::default(),
    }
}

/// Two regions that both have the table.
fn two() -> (Region, Region) {
    let (mut a, mut b) = (Region::new(0), Region::new(1));
    a.ask(table(Some("expires"))).unwrap();
    exchange(&mut a, &mut b);
    (a, b)
}

#[test]
fn numbers_of_the_last_five_years_expire_and_nothing_else() {
    let mut region = Region::new(0);
    region.ask(table(Some("expires"))).unwrap();
    region.put("past", at(START_S - 60));
    region.put("fraction", text(format!("{}.9", START_S - 1)));
    region.put("exponent", text(format!("{}e1", START_S / 10 - 6)));
    region.put("just within", at(START_S - TOO_OLD_S + 1));
    region.put("now", at(START_S));
    region.put("now, with a fraction", text(format!("{START_S}.5")));
    region.put("future", at(START_S + 10));
    region.put("too old", at(START_S - TOO_OLD_S));
    region.put("zero", at(0));
    region.put("negative", text("-5".into()));
    region.put("huge", text("1e120".into()));
    region.put("string", Value::S((START_S - 60).to_string()));
    region.put("list", Value::L(vec![at(START_S - 60)]));
    region.rest();
    let stay = [
        "future",
        "huge",
        "list",
        "negative",
        "now",
        "now, with a fraction",
        "string",
        "too old",
        "zero",
    ];
    assert_eq!(region.names(), stay);
    assert_eq!(region.version("past").rank.kind, RankKind::Expire);
    region.assert_sound();
    region.now.wall_us += 11_000_000;
    region.rest();
    assert!(!region.names().contains(&"future".to_owned()));
    assert!(!region.names().contains(&"now".to_owned()));
    region.assert_sound();
}

#[test]
fn an_expiry_removes_index_entries_too() {
    let mut region = Region::new(0);
    let WriteRequest::CreateTable { mut def, .. } = table(Some("expires")) else {
        panic!("not a table");
    };
    def.indexes.push(IndexDef {
        id: 0,
        name: "by-expiry".into(),
        kind: IndexKind::Global,
        keys: KeySchema::simple(("expires", KeyType::N), None),
        projection: Projection::All,
        throughput: None,
    });
    region
        .ask(WriteRequest::CreateTable {
            def,
            local: Box::default(),
        })
        .unwrap();
    region.put("a", at(START_S + 5));
    let entries = |region: &Region| {
        let txn = region.store.begin_read().unwrap();
        read::index_rows(&*txn, &region.def()).unwrap().len()
    };
    assert_eq!(entries(&region), 1);
    region.now.wall_us += 10_000_000;
    region.rest();
    assert_eq!(entries(&region), 0);
    region.assert_sound();
}

#[test]
fn a_refresh_wins_whatever_the_clocks_say() {
    // The clock of the region that expires is a minute ahead of that which refreshes.
    for ahead_us in [0, 60_000_000] {
        let (mut a, mut b) = two();
        a.put("s", at(START_S + 1));
        exchange(&mut a, &mut b);
        a.now.wall_us += 5_000_000 + ahead_us;
        b.put("s", at(START_S + 3_600));
        a.rest();
        assert_eq!(a.names(), Vec::<String>::new(), "it expired here");
        exchange(&mut a, &mut b);
        for region in [&a, &b] {
            assert_eq!(region.names(), ["s"]);
            assert_eq!(region.conflicts(), 0, "nobody lost what they wrote");
            region.assert_sound();
        }
        assert_eq!(a.version("s"), b.version("s"));
    }
}

#[test]
fn two_expiries_of_one_version_are_one() {
    let (mut a, mut b) = two();
    a.put("s", at(START_S + 1));
    exchange(&mut a, &mut b);
    for region in [&mut a, &mut b] {
        region.now.wall_us += (OTHERS_AFTER_S + 5) * 1_000_000;
        region.rest();
        assert_eq!(region.names(), Vec::<String>::new());
    }
    let made = [a.version("s"), b.version("s")];
    assert_ne!(made[0], made[1]);
    let last = made
        .into_iter()
        .max_by_key(|version| version.issued)
        .unwrap();
    exchange(&mut a, &mut b);
    assert_eq!([a.version("s"), b.version("s")], [last, last]);
    assert_eq!((a.conflicts(), b.conflicts()), (0, 0));
}

#[test]
fn the_region_that_wrote_goes_first() {
    let (mut a, mut b) = two();
    a.put("s", at(START_S + 1));
    exchange(&mut a, &mut b);
    b.now.wall_us += OTHERS_AFTER_S * 1_000_000;
    b.rest();
    assert_eq!(b.names(), ["s"], "ten minutes have not passed");
    b.now.wall_us += 3_000_000;
    b.rest();
    assert_eq!(b.names(), Vec::<String>::new(), "the other is late");
}

/// A write that the expired version had beaten unseen is lost to a concurrent write, whichever comes first.
#[test]
fn a_write_beaten_before_the_expiry_is_a_conflict() {
    let (mut a, mut b) = two();
    b.put("s", at(START_S + 900));
    a.now.wall_us += 10_000_000;
    a.put("s", at(START_S + 1));
    a.rest();
    assert_eq!(a.names(), Vec::<String>::new());
    exchange(&mut a, &mut b);
    assert_eq!((a.conflicts(), b.conflicts()), (1, 1));
    assert_eq!(a.version("s"), b.version("s"));
    assert_eq!(a.version("s").rank.kind, RankKind::Expire);
}

#[test]
fn the_index_is_built_and_removed_in_steps_across_restarts() {
    let mut region = Region::new(0);
    region.ask(table(None)).unwrap();
    let count = 3 * REBUILD_STEP + 7;
    for n in 0..count {
        region.put(&format!("{n:06}"), at(START_S + 100));
    }
    region.set_ttl(true, "expires").unwrap();
    let rebuilding = |region: &Region| {
        let txn = region.store.begin_read().unwrap();
        is_rebuilding(&*txn, region.def().uid).unwrap()
    };
    assert!(rebuilding(&region));
    region.put("000001", Value::S("never".into()));
    region.restart();
    region.put("000000", at(START_S + 1_000));
    region.rest();
    assert!(!rebuilding(&region));
    region.assert_sound();
    let held = |region: &Region| {
        let txn = region.store.begin_read().unwrap();
        seconds(&*txn, &region.def()).unwrap().len()
    };
    assert_eq!(held(&region), count - 1);
    region.set_ttl(false, "expires").unwrap();
    region.restart();
    region.rest();
    assert_eq!(held(&region), 0);
    region.set_ttl(true, "k").unwrap();
    region.rest();
    assert_eq!(held(&region), 0);
    region.assert_sound();
}

#[test]
fn a_small_table_is_ready_at_once_and_a_dropped_one_leaves_nothing() {
    let mut region = Region::new(0);
    region.ask(table(None)).unwrap();
    region.put("s", at(START_S + 100));
    region.set_ttl(true, "expires").unwrap();
    let def = region.def();
    let txn = region.store.begin_read().unwrap();
    assert!(!is_rebuilding(&*txn, def.uid).unwrap());
    assert_eq!(seconds(&*txn, &def).unwrap(), [START_S + 100]);
    drop(txn);
    let table = TABLE.to_owned();
    region.ask(WriteRequest::DeleteTable { table }).unwrap();
    let txn = region.store.begin_read().unwrap();
    assert_eq!(seconds(&*txn, &def).unwrap(), Vec::<u64>::new());
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let mut region = Region::new(0);
    region.replica.config.ttl.cool_down_us = 60_000_000;
    region.ask(table(None)).unwrap();
    let refusal = |result: Result<WriteResponse, ApiError>| result.unwrap_err().to_string();
    let told = refusal(region.set_ttl(false, "expires"));
    assert_eq!(told, "TimeToLive is already disabled");
    region.set_ttl(true, "expires").unwrap();
    let told = refusal(region.set_ttl(true, "expires"));
    assert_eq!(told, "TimeToLive is already enabled");
    for enabled in [true, false] {
        let told = refusal(region.set_ttl(enabled, "other"));
        let wanted =
            "TimeToLive is active on a different AttributeName: current AttributeName is expires";
        assert_eq!(told, wanted);
    }
    let told = refusal(region.set_ttl(false, "expires"));
    let wanted = "Time to live has been modified multiple times within a fixed interval";
    assert_eq!(told, wanted);
    region.now.wall_us += 60_000_000;
    region.set_ttl(false, "expires").unwrap();
}

/// What it stamps may be below what the others hold to be stable: they have not waited for it.
#[test]
fn a_region_that_joins_expires_nothing_before_it_lacks_nothing() {
    let mut a = Region::new(0);
    a.ask(table(Some("expires"))).unwrap();
    a.put("short", at(START_S + 10));
    let region = RegionId(1);
    let mut joins = config(1);
    for change in [
        manifest::Change::Lapse { region },
        manifest::Change::Return { region },
    ] {
        joins.manifest = joins.manifest.propose(&change).unwrap();
    }
    let mut b = Region::with(joins);
    b.absorb(a.news_for(&b));
    b.now.wall_us += (OTHERS_AFTER_S + 20) * 1_000_000;
    b.rest();
    assert_eq!(b.names(), ["short"]);
    b.group(vec![Job::Whole(None)]);
    b.rest();
    assert!(b.names().is_empty());
}
