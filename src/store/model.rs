//! Both stores against a `BTreeMap`: whatever is done to all three, they answer the same.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<(Db, Vec<u8>), Vec<u8>>;
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Debug)]
enum Op {
    Put(Db, Vec<u8>, Vec<u8>),
    Delete(Db, Vec<u8>),
    Get(Db, Vec<u8>),
    Scan(Db, Bound<Vec<u8>>, Bound<Vec<u8>>, bool, usize),
}

#[derive(Clone, Debug)]
struct Txn {
    ops: Vec<Op>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    CommitVisible,
    Drop,
}

/// Few distinct keys, so that operations meet, with long ones that share long prefixes among them.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let tail =
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(127), Just(255)], 1..4);
    let run = prop_oneof![8 => Just(0usize), 1 => Just(511), 1 => 0..KEY_BYTES_MAX - 4, 1 => Just(KEY_BYTES_MAX)];
    (tail, run).prop_map(|(tail, run)| {
        let mut key = vec![9; run.saturating_sub(tail.len())];
        key.extend(tail);
        key
    })
}

fn db() -> impl Strategy<Value = Db> {
    prop_oneof![4 => Just(Db::Items), 1 => proptest::sample::select(Db::ALL.to_vec())]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        1 => Just(Bound::Unbounded),
        4 => key().prop_map(Bound::Included),
        4 => key().prop_map(Bound::Excluded),
        1 => Just(Bound::Included(Vec::new())),
        1 => Just(Bound::Excluded(Vec::new())),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => proptest::collection::vec(any::<u8>(), 0..20), 1 => Just(vec![5; 20_000])]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (db(), key(), value()).prop_map(|(d, k, v)| Op::Put(d, k, v)),
        2 => (db(), key()).prop_map(|(d, k)| Op::Delete(d, k)),
        2 => (db(), key()).prop_map(|(d, k)| Op::Get(d, k)),
        4 => (db(), bound(), bound(), any::<bool>(), prop_oneof![Just(usize::MAX), 1usize..5])
            .prop_map(|(d, from, to, reverse, limit)| Op::Scan(d, from, to, reverse, limit)),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    (
        proptest::collection::vec(op(), 1..40),
        prop_oneof![
            2 => Just(End::Commit),
            2 => Just(End::CommitVisible),
            1 => Just(End::Drop)
        ],
    )
        .prop_map(|(ops, end)| Txn { ops, end })
}

fn scan(
    txn: &dyn ReadTxn,
    db: Db,
    from: &Bound<Vec<u8>>,
    to: &Bound<Vec<u8>>,
    reverse: bool,
    limit: usize,
) -> Pairs {
    let mut out = Pairs::new();
    let range = Range {
        from: from.as_ref().map(Vec::as_slice),
        to: to.as_ref().map(Vec::as_slice),
        reverse,
    };
    txn.scan(db, range, &mut |k, v| {
        out.push((k.to_vec(), v.to_vec()));
        if out.len() >= limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    out
}

fn model_scan(
    model: &Model,
    db: Db,
    from: &Bound<Vec<u8>>,
    to: &Bound<Vec<u8>>,
    reverse: bool,
    limit: usize,
) -> Pairs {
    let inside = |k: &Vec<u8>| {
        (match from {
            Bound::Unbounded => true,
            Bound::Included(f) => k >= f,
            Bound::Excluded(f) => k > f,
        }) && (match to {
            Bound::Unbounded => true,
            Bound::Included(t) => k <= t,
            Bound::Excluded(t) => k < t,
        })
    };
    let mut pairs: Pairs = model
        .iter()
        .filter(|((d, k), _)| *d == db && inside(k))
        .map(|((_, k), v)| (k.clone(), v.clone()))
        .collect();
    if reverse {
        pairs.reverse();
    }
    pairs.truncate(limit);
    pairs
}

fn step(model: &mut Model, txns: &mut [Box<dyn WriteTxn + '_>], op: &Op) {
    match op {
        Op::Put(db, key, value) => {
            model.insert((*db, key.clone()), value.clone());
            for txn in txns {
                txn.put(*db, key, value).unwrap();
            }
        }
        Op::Delete(db, key) => {
            let was = model.remove(&(*db, key.clone())).is_some();
            for txn in txns {
                assert_eq!(txn.delete(*db, key).unwrap(), was);
            }
        }
        Op::Get(db, key) => {
            let is = model.get(&(*db, key.clone())).map(Vec::as_slice);
            for txn in txns {
                assert_eq!(txn.as_read().get(*db, key).unwrap(), is);
            }
        }
        Op::Scan(db, from, to, reverse, limit) => {
            let is = model_scan(model, *db, from, to, *reverse, *limit);
            for txn in txns {
                assert_eq!(scan(txn.as_read(), *db, from, to, *reverse, *limit), is);
            }
        }
    }
}

/// Everything a reader sees, both ways.
fn contents(txn: &dyn ReadTxn) -> Model {
    let mut all = Model::new();
    for db in Db::ALL {
        let forward = scan(
            txn,
            db,
            &Bound::Unbounded,
            &Bound::Unbounded,
            false,
            usize::MAX,
        );
        let mut back = scan(
            txn,
            db,
            &Bound::Unbounded,
            &Bound::Unbounded,
            true,
            usize::MAX,
        );
        back.reverse();
        assert_eq!(forward, back);
        all.extend(forward.into_iter().map(|(k, v)| ((db, k), v)));
    }
    all
}

fn run(stores: &[&dyn Store], txns: &[Txn]) {
    let mut model = Model::new();
    model.insert(
        (Db::Meta, FORMAT_KEY.to_vec()),
        FORMAT.to_be_bytes().to_vec(),
    );
    for txn in txns {
        let before = model.clone();
        let readers: Vec<_> = stores.iter().map(|s| s.begin_read().unwrap()).collect();
        let mut writers: Vec<_> = stores.iter().map(|s| s.begin_write().unwrap()).collect();
        for op in &txn.ops {
            step(&mut model, &mut writers, op);
        }
        for writer in writers {
            match txn.end {
                End::Commit => writer.commit().unwrap(),
                End::CommitVisible => writer.commit_visible().unwrap(),
                End::Drop => drop(writer),
            }
        }
        for reader in &readers {
            assert_eq!(
                contents(reader.as_ref()),
                before,
                "a reader's snapshot moved"
            );
        }
        if txn.end == End::Drop {
            model = before;
        }
    }
    for store in stores {
        store.sync().unwrap();
        assert_eq!(contents(store.begin_read().unwrap().as_ref()), model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_equal_a_map(txns in proptest::collection::vec(txn(), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let lmdb = LmdbStore::open(dir.path(), LmdbOptions { map_bytes: 64 << 20 }).unwrap();
        let mem = MemStore::new();
        run(&[&lmdb, &mem], &txns);
        drop(lmdb);
        let again = LmdbStore::open(dir.path(), LmdbOptions { map_bytes: 64 << 20 }).unwrap();
        let reader = again.begin_read().unwrap();
        prop_assert_eq!(contents(reader.as_ref()), contents(mem.begin_read().unwrap().as_ref()));
    }
}

#[test]
fn both_stores_refuse_the_same_keys() {
    let dir = tempfile::tempdir().unwrap();
    let lmdb = LmdbStore::open(dir.path(), LmdbOptions { map_bytes: 1 << 20 }).unwrap();
    let mem = MemStore::new();
    let stores: [&dyn Store; 2] = [&lmdb, &mem];
    for store in stores {
        for key in [Vec::new(), vec![1; KEY_BYTES_MAX + 1]] {
            let mut txn = store.begin_write().unwrap();
            assert!(matches!(
                txn.put(Db::Items, &key, b"v"),
                Err(StoreError::Io(_))
            ));
            assert_eq!(txn.as_read().get(Db::Items, &key).unwrap(), None);
            assert!(!txn.delete(Db::Items, &key).unwrap());
        }
    }
}
