//! What only the durable store can do: refuse folders, fill up, and be opened again.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::ControlFlow;

use super::super::folder::{LOCK_FILE, PROBE_FILE};
use super::*;

const SMALL: LmdbOptions = LmdbOptions { map_bytes: 1 << 20 };

fn reason(result: Result<LmdbStore, StoreError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("made/on/the/way");
    let store = LmdbStore::open(&folder, LmdbOptions::default()).unwrap();
    let mut txn = store.begin_write().unwrap();
    txn.put(Db::Log, &[7; KEY_BYTES_MAX], b"kept").unwrap();
    txn.commit().unwrap();
    let mut txn = store.begin_write().unwrap();
    txn.put(Db::Log, b"dropped", b"").unwrap();
    drop(txn);
    drop(store);

    let store = LmdbStore::open(&folder, LmdbOptions::default()).unwrap();
    let txn = store.begin_read().unwrap();
    assert_eq!(
        txn.get(Db::Log, &[7; KEY_BYTES_MAX]).unwrap(),
        Some(b"kept".as_slice())
    );
    assert_eq!(txn.get(Db::Log, b"dropped").unwrap(), None);
    assert_eq!(
        txn.get(Db::Meta, FORMAT_KEY).unwrap(),
        Some(FORMAT.to_be_bytes().as_slice())
    );
}

#[test]
fn a_full_map_refuses_writes_and_keeps_reading() {
    let dir = tempfile::tempdir().unwrap();
    let store = LmdbStore::open(dir.path(), SMALL).unwrap();
    let mut committed = 0u32;
    let error = loop {
        let mut txn = store.begin_write().unwrap();
        let put = txn.put(Db::Items, &committed.to_be_bytes(), &[1; 50_000]);
        if put.is_err() {
            assert!(matches!(
                txn.put(Db::Items, b"more", b""),
                Err(StoreError::Full)
            ));
            assert!(
                matches!(txn.commit(), Err(StoreError::Full)),
                "a full transaction never commits"
            );
            break put;
        }
        match txn.commit() {
            Ok(()) => committed += 1,
            failed => break failed,
        }
    };
    assert!(matches!(error, Err(StoreError::Full)), "{error:?}");
    assert!(committed > 5);
    let count = || {
        let mut seen = 0;
        let txn = store.begin_read().unwrap();
        txn.scan(Db::Items, Range::ALL, &mut |_, _| {
            seen += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        seen
    };
    assert_eq!(count(), committed);
    let mut txn = store.begin_write().unwrap();
    assert!(txn.delete(Db::Items, &0u32.to_be_bytes()).unwrap());
    txn.commit().unwrap();
    assert_eq!(count(), committed - 1);
    let usage = store.usage().unwrap().unwrap();
    assert_eq!(usage.map_bytes, SMALL.map_bytes as u64);
    assert!(usage.used_bytes > usage.map_bytes / 2);
}

#[test]
fn one_folder_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = LmdbStore::open(dir.path(), SMALL).unwrap();
    let error = reason(LmdbStore::open(&dir.path().join("."), SMALL));
    assert!(
        error.contains("this process itself has opened it before"),
        "{error}"
    );
    drop(first);
    LmdbStore::open(dir.path(), SMALL).unwrap();
}

#[test]
// The same `File::lock` as in `lock_folder`.
fn a_folder_held_by_another_process_is_refused_by_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = File::create(dir.path().join(LOCK_FILE)).unwrap();
    held.lock().unwrap();
    writeln!(held, "4711").unwrap();
    let error = reason(LmdbStore::open(dir.path(), SMALL));
    assert!(
        error.contains("process 4711 holds meridian.lock"),
        "{error}"
    );
    assert!(!dir.path().join(DATA_FILE).exists());
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let error = reason(LmdbStore::open(dir.path(), SMALL));
    assert!(
        error.contains("holds 'thesis.tex' but no Meridian store"),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_not_lmdb_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(DATA_FILE), vec![b'x'; 8_192]).unwrap();
    let error = reason(LmdbStore::open(dir.path(), SMALL));
    assert!(error.contains("data.mdb is not an LMDB file"), "{error}");
}

#[test]
fn another_lmdb_environment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let env = Environment::new().set_max_dbs(2).open(dir.path()).unwrap();
    env.create_db(Some("theirs"), DatabaseFlags::empty())
        .unwrap();
    drop(env);
    let error = reason(LmdbStore::open(dir.path(), SMALL));
    assert!(error.contains("was not made by Meridian"), "{error}");
}

#[test]
fn an_unknown_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = LmdbStore::open(dir.path(), SMALL).unwrap();
    let mut txn = store.begin_write().unwrap();
    txn.put(Db::Meta, FORMAT_KEY, &(FORMAT + 1).to_be_bytes())
        .unwrap();
    txn.commit().unwrap();
    drop(store);
    let error = reason(LmdbStore::open(dir.path(), SMALL));
    let wanted = format!(
        "its storage format is {} and this program knows {FORMAT}",
        FORMAT + 1
    );
    assert!(error.contains(&wanted), "{error}");
}

#[test]
fn an_interrupted_creation_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(Environment::new().open(dir.path()).unwrap());
    fs::write(dir.path().join(LOCK_FILE), "").unwrap();
    LmdbStore::open(dir.path(), SMALL).unwrap();
}

#[test]
fn a_short_write_is_only_full_when_the_disk_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = LmdbStore::open(dir.path(), SMALL).unwrap();
    assert!(matches!(
        store.error(lmdb::Error::Other(EIO)),
        StoreError::Io(_)
    ));
    assert!(matches!(
        store.error(lmdb::Error::Other(28)),
        StoreError::Full
    ));
    assert!(!dir.path().join(PROBE_FILE).exists());
}

#[test]
fn the_oldest_reader_is_as_old_as_what_it_sees() {
    let dir = tempfile::tempdir().unwrap();
    let store = LmdbStore::open(dir.path(), SMALL).unwrap();
    let age = || store.usage().unwrap().unwrap().oldest_reader_commits;
    let commit = |n: u8| {
        let mut txn = store.begin_write().unwrap();
        txn.put(Db::Meta, &[n], &[n]).unwrap();
        txn.commit().unwrap();
    };
    commit(1);
    assert_eq!(age(), 0, "nobody reads");
    let old = store.begin_read().unwrap();
    let new = {
        commit(2);
        commit(3);
        store.begin_read().unwrap()
    };
    commit(4);
    assert_eq!(age(), 3);
    drop(old);
    assert_eq!(age(), 1);
    drop(new);
    assert_eq!(age(), 0);
}
