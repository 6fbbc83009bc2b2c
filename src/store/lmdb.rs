//! The durable store: one LMDB environment in one folder.
//!
//! The only file that may say `lmdb` or `unsafe` (docs/adr/0002), and so the only one to change when
//! another engine is chosen. What `lmdb-rkv` 0.14 gets wrong, and the rule followed here:
//!
//! - `Iter` can outlive its cursor (mozilla/lmdb-rs#79): never used; a scan owns its cursor and lends
//!   keys and values to a closure.
//! - Cursors of a write transaction hand out data that a later put overwrites: here a scan borrows the
//!   transaction, a put needs it mutably, so the compiler keeps them apart.
//! - Nested transactions ignore errors, and the map can be resized under live readers: never done.
//! - One process may open one environment twice, which breaks LMDB's locks: [`Folder`] is held once.
//! - A system `liblmdb` or a build outside this repository may cap keys at 511 bytes: refused at open.
//!
//! Every commit's pages are synced before it is visible to others (no `NOSYNC`, no `WRITEMAP`), and its meta page too, save
//! where the caller wants it visible first: then `NOMETASYNC` holds for that commit, which a crash undoes as a whole.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lmdb::{
    Cursor, Database, DatabaseFlags, Environment, EnvironmentFlags, RoCursor, RoTransaction,
    RwTransaction, Transaction, WriteFlags,
};

use super::folder::{DATA_FILE, Folder, unusable};
use super::{
    Db, DbSize, FORMAT, FORMAT_KEY, KEY_BYTES_MAX, Range, ReadTxn, Store, StoreError, Usage, Visit,
    WriteTxn, admit_key,
};

/// Address space, not disk: the file grows as it fills. Larger than any disk a region should sit on.
const MAP_BYTES_DEFAULT: usize = 1 << 40;
/// Below this a machine has too little address space to run a region at all.
const MAP_BYTES_MIN: usize = 1 << 30;
/// LMDB's own default of 126 is below the number of threads that may read at once.
const READERS_MAX: u32 = 1_024;
/// The sub-databases there are, and room for those of later formats.
const DATABASES_MAX: u32 = 32;
/// LMDB answers a short write, which is how a full disk often shows, with EIO.
const EIO: i32 = 5;
/// How to open an environment.
#[derive(Clone, Copy, Debug)]
pub struct LmdbOptions {
    /// The most that the data file may grow to. The default is taken smaller, by halves, where the
    /// machine does not grant so much address space; a value set by hand is taken as it is.
    pub map_bytes: usize,
}

impl Default for LmdbOptions {
    fn default() -> Self {
        LmdbOptions {
            map_bytes: MAP_BYTES_DEFAULT,
        }
    }
}

/// An open environment. One per folder, in this process and in all others.
#[derive(Debug)]
pub struct LmdbStore {
    // Fields are dropped in this order: the environment closes before the folder is let go.
    env: Environment,
    dbs: [Database; Db::ALL.len()],
    folder: Folder,
    /// Held by the write transaction until it is committed in the way that it asked for.
    turn: Mutex<()>,
}

impl LmdbStore {
    /// Opens the store in the folder `path`, creating both when the folder is missing or empty.
    ///
    /// Refuses a folder that holds anything else, a store of another format, and one that is open.
    pub fn open(path: &Path, options: LmdbOptions) -> Result<LmdbStore, StoreError> {
        let folder = Folder::take(path)?;
        let path = folder.path();
        let env = open_environment(path, options.map_bytes)?;
        admit_build(&env, path)?;
        drop_dead_readers(&env).map_err(|e| refusal(path, e))?;
        let dbs = match inspect(&env, path)? {
            Found::Nothing => create(&env, path)?,
            Found::Store => open_databases(&env, path)?,
        };
        Ok(LmdbStore {
            env,
            dbs,
            folder,
            turn: Mutex::new(()),
        })
    }

    fn db(&self, db: Db) -> Database {
        self.dbs[db as usize]
    }

    /// Whether commits sync their meta page, from now on.
    fn sync_meta(&self, on: bool, _turn: &MutexGuard<'_, ()>) -> Result<(), StoreError> {
        // SAFETY: the pointer is that of an open environment, which `env` keeps open. LMDB wants no two threads to change
        // its flags at once: only the one that has the turn does.
        let code = unsafe {
            let flag = lmdb_sys::MDB_NOMETASYNC;
            lmdb_sys::mdb_env_set_flags(self.env.env(), flag, c_int::from(!on))
        };
        match code {
            0 => Ok(()),
            code => Err(self.error(lmdb::Error::from_err_code(code))),
        }
    }

    fn error(&self, error: lmdb::Error) -> StoreError {
        match error {
            lmdb::Error::Other(EIO) if self.folder.is_full() => StoreError::Full,
            other => classify(other),
        }
    }
}

impl Store for LmdbStore {
    fn usage(&self) -> Result<Option<Usage>, StoreError> {
        let info = self.env.info().map_err(|e| self.error(e))?;
        let page = self.env.stat().map_err(|e| self.error(e))?.page_size() as usize;
        let free = self.env.freelist().map_err(|e| self.error(e))?;
        let used = info.last_pgno().saturating_add(1);
        Ok(Some(Usage {
            map_bytes: info.map_size() as u64,
            used_bytes: used.saturating_mul(page) as u64,
            free_bytes: free.saturating_mul(page) as u64,
            readers: u64::from(info.num_readers()),
            oldest_reader_commits: oldest_reader(&self.env)
                .map_or(0, |first| (info.last_txnid() as u64).saturating_sub(first)),
        }))
    }

    fn begin_read(&self) -> Result<Box<dyn ReadTxn + '_>, StoreError> {
        let txn = self.env.begin_ro_txn().map_err(|e| self.error(e))?;
        Ok(Box::new(LmdbRead { store: self, txn }))
    }

    fn begin_write(&self) -> Result<Box<dyn WriteTxn + '_>, StoreError> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let txn = self.env.begin_rw_txn().map_err(|e| self.error(e))?;
        Ok(Box::new(LmdbWrite {
            store: self,
            txn,
            full: false,
            turn,
        }))
    }

    fn sync(&self) -> Result<(), StoreError> {
        // Whatever the reason: after a failed sync nobody knows what the disk holds.
        let failed = |error: lmdb::Error| StoreError::Io(format!("the disk did not sync: {error}"));
        self.env.sync(true).map_err(failed)
    }
}

struct LmdbRead<'s> {
    store: &'s LmdbStore,
    txn: RoTransaction<'s>,
}

impl ReadTxn for LmdbRead<'_> {
    fn size(&self, db: Db) -> Result<DbSize, StoreError> {
        size(&self.txn, self.store.db(db)).map_err(|e| self.store.error(e))
    }

    fn get(&self, db: Db, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        get(&self.txn, self.store.db(db), key).map_err(|e| self.store.error(e))
    }

    fn scan(&self, db: Db, range: Range<'_>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        scan(&self.txn, self.store.db(db), range, visit).map_err(|e| self.store.error(e))
    }
}

struct LmdbWrite<'s> {
    store: &'s LmdbStore,
    txn: RwTransaction<'s>,
    /// A change found no room. LMDB lets such a transaction only be dropped.
    full: bool,
    turn: MutexGuard<'s, ()>,
}

impl LmdbWrite<'_> {
    fn change(&mut self, result: Result<(), lmdb::Error>) -> Result<bool, StoreError> {
        match result {
            Ok(()) => Ok(true),
            Err(lmdb::Error::NotFound) => Ok(false),
            Err(_) if self.full => Err(StoreError::Full),
            Err(e) => {
                let error = self.store.error(e);
                self.full = matches!(error, StoreError::Full);
                Err(error)
            }
        }
    }
}

impl ReadTxn for LmdbWrite<'_> {
    fn size(&self, db: Db) -> Result<DbSize, StoreError> {
        size(&self.txn, self.store.db(db)).map_err(|e| self.store.error(e))
    }

    fn get(&self, db: Db, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        get(&self.txn, self.store.db(db), key).map_err(|e| self.store.error(e))
    }

    fn scan(&self, db: Db, range: Range<'_>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        scan(&self.txn, self.store.db(db), range, visit).map_err(|e| self.store.error(e))
    }
}

impl WriteTxn for LmdbWrite<'_> {
    fn put(&mut self, db: Db, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        admit_key(key)?;
        let result = self
            .txn
            .put(self.store.db(db), &key, &value, WriteFlags::empty());
        self.change(result).map(|_| ())
    }

    fn delete(&mut self, db: Db, key: &[u8]) -> Result<bool, StoreError> {
        // LMDB refuses what cannot be a key; it is simply not there.
        if admit_key(key).is_err() {
            return Ok(false);
        }
        let result = self.txn.del(self.store.db(db), &key, None);
        self.change(result)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        if self.full {
            return Err(StoreError::Full);
        }
        let LmdbWrite { store, txn, .. } = *self;
        txn.commit().map_err(|e| store.error(e))
    }

    fn commit_visible(self: Box<Self>) -> Result<(), StoreError> {
        if self.full {
            return Err(StoreError::Full);
        }
        let LmdbWrite {
            store, txn, turn, ..
        } = *self;
        store.sync_meta(false, &turn)?;
        let committed = txn.commit().map_err(|e| store.error(e));
        store.sync_meta(true, &turn)?;
        committed
    }

    fn as_read(&self) -> &dyn ReadTxn {
        self
    }
}

fn size(txn: &impl Transaction, db: Database) -> Result<DbSize, lmdb::Error> {
    let stat = txn.stat(db)?;
    let pages = stat.branch_pages() + stat.leaf_pages() + stat.overflow_pages();
    Ok(DbSize {
        entries: stat.entries() as u64,
        bytes: pages.saturating_mul(stat.page_size() as usize) as u64,
    })
}

fn get<'t>(
    txn: &'t impl Transaction,
    db: Database,
    key: &[u8],
) -> Result<Option<&'t [u8]>, lmdb::Error> {
    if admit_key(key).is_err() {
        return Ok(None);
    }
    found(txn.get(db, &key))
}

fn found<T>(result: Result<T, lmdb::Error>) -> Result<Option<T>, lmdb::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(lmdb::Error::NotFound) => Ok(None),
        Err(e) => Err(e),
    }
}

type Pair<'t> = (&'t [u8], &'t [u8]);

fn scan(
    txn: &impl Transaction,
    db: Database,
    range: Range<'_>,
    visit: &mut Visit<'_>,
) -> Result<(), lmdb::Error> {
    let cursor = txn.open_ro_cursor(db)?;
    let (mut at, step) = if range.reverse {
        (seek_last(&cursor, range.to)?, lmdb_sys::MDB_PREV)
    } else {
        (seek_first(&cursor, range.from)?, lmdb_sys::MDB_NEXT)
    };
    while let Some((key, value)) = at {
        let inside = if range.reverse {
            above(range.from, key)
        } else {
            below(range.to, key)
        };
        if !inside || visit(key, value).is_break() {
            break;
        }
        at = go(&cursor, None, step)?;
    }
    Ok(())
}

fn above(from: Bound<&[u8]>, key: &[u8]) -> bool {
    match from {
        Bound::Unbounded => true,
        Bound::Included(k) => key >= k,
        Bound::Excluded(k) => key > k,
    }
}

fn below(to: Bound<&[u8]>, key: &[u8]) -> bool {
    match to {
        Bound::Unbounded => true,
        Bound::Included(k) => key <= k,
        Bound::Excluded(k) => key < k,
    }
}

/// The first pair at or after `from`. An empty key comes before all, and LMDB cannot seek it.
fn seek_first<'t>(
    cursor: &RoCursor<'t>,
    from: Bound<&[u8]>,
) -> Result<Option<Pair<'t>>, lmdb::Error> {
    match from {
        Bound::Unbounded | Bound::Included([]) | Bound::Excluded([]) => {
            go(cursor, None, lmdb_sys::MDB_FIRST)
        }
        Bound::Included(k) => go(cursor, Some(k), lmdb_sys::MDB_SET_RANGE),
        Bound::Excluded(k) => match go(cursor, Some(k), lmdb_sys::MDB_SET_RANGE)? {
            Some((key, _)) if key == k => go(cursor, None, lmdb_sys::MDB_NEXT),
            other => Ok(other),
        },
    }
}

/// The last pair at or before `to`.
fn seek_last<'t>(cursor: &RoCursor<'t>, to: Bound<&[u8]>) -> Result<Option<Pair<'t>>, lmdb::Error> {
    let (k, inclusive) = match to {
        Bound::Unbounded => return go(cursor, None, lmdb_sys::MDB_LAST),
        Bound::Included([]) | Bound::Excluded([]) => return Ok(None),
        Bound::Included(k) => (k, true),
        Bound::Excluded(k) => (k, false),
    };
    match go(cursor, Some(k), lmdb_sys::MDB_SET_RANGE)? {
        Some((key, value)) if inclusive && key == k => Ok(Some((key, value))),
        Some(_) => go(cursor, None, lmdb_sys::MDB_PREV),
        None => go(cursor, None, lmdb_sys::MDB_LAST),
    }
}

fn go<'t>(
    cursor: &RoCursor<'t>,
    key: Option<&[u8]>,
    op: u32,
) -> Result<Option<Pair<'t>>, lmdb::Error> {
    let Some((key, value)) = found(cursor.get(key, None, op))? else {
        return Ok(None);
    };
    // All five operations used here hand out the key; without one the page is not what it should be.
    Ok(Some((key.ok_or(lmdb::Error::Corrupted)?, value)))
}

fn open_environment(path: &Path, map_bytes: usize) -> Result<Environment, StoreError> {
    let mut size = map_bytes;
    loop {
        let opened = Environment::new()
            .set_flags(EnvironmentFlags::NO_TLS)
            .set_max_readers(READERS_MAX)
            .set_max_dbs(DATABASES_MAX)
            .set_map_size(size)
            .open(path);
        match opened {
            Ok(env) => return Ok(env),
            Err(lmdb::Error::Other(code))
                if map_bytes == MAP_BYTES_DEFAULT
                    && size > MAP_BYTES_MIN
                    && is_kind(code, io::ErrorKind::OutOfMemory) =>
            {
                size /= 2;
            }
            Err(e) => return Err(refusal(path, e)),
        }
    }
}

/// Refuses to run on an LMDB that cannot hold the longest key (docs/adr/0004).
fn admit_build(env: &Environment, path: &Path) -> Result<(), StoreError> {
    // SAFETY: the pointer is that of an open environment, which `env` keeps open; the call only reads it.
    let key_bytes = unsafe { lmdb_sys::mdb_env_get_maxkeysize(env.env()) };
    if usize::try_from(key_bytes).is_ok_and(|n| n >= KEY_BYTES_MAX) {
        return Ok(());
    }
    let reason = format!(
        "this program's LMDB takes keys of {key_bytes} bytes, {KEY_BYTES_MAX} are needed; \
         build with CFLAGS=-DMDB_MAXKEYSIZE=0 and LIBLMDB_NO_PKG_CONFIG=1, as .cargo/config.toml does"
    );
    Err(unusable(path, reason))
}

/// Frees the reader slots of processes that died, which would pin old pages for ever.
fn drop_dead_readers(env: &Environment) -> Result<(), lmdb::Error> {
    let mut dead = 0;
    // SAFETY: the pointer is that of an open environment, which `env` keeps open, and `dead` is a local
    // that outlives the call.
    let code = unsafe { lmdb_sys::mdb_reader_check(env.env(), &raw mut dead) };
    if code == 0 {
        Ok(())
    } else {
        Err(lmdb::Error::from_err_code(code))
    }
}

/// The transaction that the oldest open reader sees, if there is one. LMDB only tells it as a table for people:
/// a line for each reader, whose last word is a number, or a dash for a slot that waits to be used.
fn oldest_reader(env: &Environment) -> Option<u64> {
    // SAFETY: only LMDB calls it, with a line of its own and the pointer given below.
    unsafe extern "C" fn note(line: *const c_char, oldest: *mut c_void) -> c_int {
        // SAFETY: `line` is a C string of LMDB's own for the length of the call, `oldest` the local below.
        let (line, oldest) = unsafe { (CStr::from_ptr(line), &mut *oldest.cast::<Option<u64>>()) };
        let word = line.to_str().ok().and_then(|l| l.split_whitespace().last());
        let seen = word.and_then(|word| word.parse().ok());
        *oldest = oldest.iter().copied().chain(seen).min();
        0
    }
    let mut oldest: Option<u64> = None;
    // SAFETY: the pointer is that of an open environment, which `env` keeps open; `oldest` outlives the call,
    // and nothing else touches it meanwhile.
    unsafe { lmdb_sys::mdb_reader_list(env.env(), Some(note), (&raw mut oldest).cast()) };
    oldest
}

enum Found {
    Nothing,
    Store,
}

/// Looks whether the environment is new, ours, or neither. Writes nothing.
fn inspect(env: &Environment, path: &Path) -> Result<Found, StoreError> {
    let refused = |e| refusal(path, e);
    let foreign = || {
        unusable(
            path,
            "its LMDB environment was not made by Meridian; choose another folder",
        )
    };
    if env.stat().map_err(refused)?.entries() == 0 {
        return Ok(Found::Nothing);
    }
    let meta = match env.open_db(Some(Db::Meta.name())) {
        Ok(meta) => meta,
        Err(lmdb::Error::NotFound | lmdb::Error::Incompatible) => return Err(foreign()),
        Err(e) => return Err(refused(e)),
    };
    let txn = env.begin_ro_txn().map_err(refused)?;
    let Some(format) = get(&txn, meta, FORMAT_KEY).map_err(refused)? else {
        return Err(foreign());
    };
    let Ok(format) = <[u8; 4]>::try_from(format) else {
        return Err(foreign());
    };
    match u32::from_be_bytes(format) {
        FORMAT => Ok(Found::Store),
        other => {
            let reason = format!(
                "its storage format is {other} and this program knows {FORMAT}; run the version that wrote it"
            );
            Err(unusable(path, reason))
        }
    }
}

/// Makes the sub-databases and the format marker in one transaction: a store is whole or not there.
fn create(env: &Environment, path: &Path) -> Result<[Database; Db::ALL.len()], StoreError> {
    let refused = |e| refusal(path, e);
    let mut txn = env.begin_rw_txn().map_err(refused)?;
    let mut dbs = Vec::with_capacity(Db::ALL.len());
    for db in Db::ALL {
        // SAFETY: LMDB wants no other transaction to open databases meanwhile. This is the only write
        // transaction, and the environment is not shared with other threads before `open` returns.
        let made = unsafe { txn.create_db(Some(db.name()), DatabaseFlags::empty()) };
        dbs.push(made.map_err(refused)?);
    }
    let dbs = by_number(dbs);
    let meta = dbs[Db::Meta as usize];
    txn.put(
        meta,
        &FORMAT_KEY,
        &FORMAT.to_be_bytes(),
        WriteFlags::empty(),
    )
    .map_err(refused)?;
    txn.commit().map_err(refused)?;
    Ok(dbs)
}

fn open_databases(env: &Environment, path: &Path) -> Result<[Database; Db::ALL.len()], StoreError> {
    let open = |db: Db| env.open_db(Some(db.name())).map_err(|e| refusal(path, e));
    Ok(by_number(
        Db::ALL
            .into_iter()
            .map(open)
            .collect::<Result<Vec<_>, _>>()?,
    ))
}

fn by_number(dbs: Vec<Database>) -> [Database; Db::ALL.len()] {
    <[Database; Db::ALL.len()]>::try_from(dbs).expect("one was made for each of Db::ALL")
}

fn is_kind(code: i32, kind: io::ErrorKind) -> bool {
    io::Error::from_raw_os_error(code).kind() == kind
}

fn classify(error: lmdb::Error) -> StoreError {
    match error {
        lmdb::Error::MapFull => StoreError::Full,
        lmdb::Error::Other(code)
            if [
                io::ErrorKind::StorageFull,
                io::ErrorKind::QuotaExceeded,
                io::ErrorKind::FileTooLarge,
            ]
            .into_iter()
            .any(|kind| is_kind(code, kind)) =>
        {
            StoreError::Full
        }
        lmdb::Error::PageNotFound | lmdb::Error::Corrupted => {
            StoreError::Damaged(error.to_string())
        }
        lmdb::Error::Panic => StoreError::Io(
            "an earlier failure to write left the store unusable; restart".to_owned(),
        ),
        lmdb::Error::ReadersFull => StoreError::Io(format!("all {READERS_MAX} readers are in use")),
        other => StoreError::Io(other.to_string()),
    }
}

fn refusal(path: &Path, error: lmdb::Error) -> StoreError {
    match error {
        lmdb::Error::Invalid => unusable(path, format!("{DATA_FILE} is not an LMDB file")),
        lmdb::Error::VersionMismatch => {
            unusable(path, format!("{DATA_FILE} is of another LMDB version"))
        }
        lmdb::Error::Other(_) => unusable(path, error),
        other => classify(other),
    }
}

#[cfg(test)]
#[path = "lmdb_tests.rs"]
mod tests;
