//! The store without a disk: for the simulator and `--in-memory`.
//!
//! State is a set of persistent trees. A reader keeps the roots it began with. A write transaction is what it
//! changes, seen over the trees as they were; commit puts it into them, so rollback is forgetting it. Where no
//! reader is left, that changes nodes in place and copies none. Readers and the writer meet only while a root is
//! taken, or changes are put in.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::tree::{Bytes, Key, Tree};
use super::{
    Db, DbSize, FORMAT, FORMAT_KEY, Range, ReadTxn, Store, StoreError, Usage, Visit, WriteTxn,
    admit_key,
};

#[derive(Clone)]
struct Trees([Tree; Db::ALL.len()]);

impl Trees {
    fn of(&self, db: Db) -> &Tree {
        &self.0[db as usize]
    }

    fn of_mut(&mut self, db: Db) -> &mut Tree {
        &mut self.0[db as usize]
    }
}

struct Shared {
    committed: Mutex<Arc<Trees>>,
    writer: Mutex<()>,
}

/// An environment in memory. Clones share it; [`MemStore::fork`] copies it.
#[derive(Clone)]
pub struct MemStore {
    shared: Arc<Shared>,
}

impl MemStore {
    pub fn new() -> Self {
        let mut trees = Trees(std::array::from_fn(|_| Tree::new()));
        let format = FORMAT.to_be_bytes();
        (trees.of_mut(Db::Meta)).put(FORMAT_KEY.into(), format.as_slice().into());
        Self::with(Arc::new(trees))
    }

    /// A store of its own that begins with what is committed here: the disk as a crash would leave it.
    /// Costs nothing until one of the two is changed, and then only what is changed.
    pub fn fork(&self) -> MemStore {
        Self::with(self.committed())
    }

    fn with(trees: Arc<Trees>) -> Self {
        MemStore {
            shared: Arc::new(Shared {
                committed: Mutex::new(trees),
                writer: Mutex::new(()),
            }),
        }
    }

    fn committed(&self) -> Arc<Trees> {
        Arc::clone(&lock(&self.shared.committed))
    }
}

impl Default for MemStore {
    fn default() -> Self {
        Self::new()
    }
}

/// A writer that panicked published nothing, so what the lock guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemStore {
    fn usage(&self) -> Result<Option<Usage>, StoreError> {
        Ok(None)
    }

    fn begin_read(&self) -> Result<Box<dyn ReadTxn + '_>, StoreError> {
        Ok(Box::new(MemRead {
            trees: self.committed(),
        }))
    }

    fn begin_write(&self) -> Result<Box<dyn WriteTxn + '_>, StoreError> {
        let turn = lock(&self.shared.writer);
        Ok(Box::new(MemWrite {
            trees: self.committed(),
            changes: std::array::from_fn(|_| Changes::new()),
            shared: &self.shared,
            _turn: turn,
        }))
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Looks at every entry: stores in memory are small.
fn size(txn: &dyn ReadTxn, db: Db) -> Result<DbSize, StoreError> {
    let mut size = DbSize::default();
    txn.scan(db, Range::ALL, &mut |key, value| {
        size.entries += 1;
        size.bytes += (key.len() + value.len()) as u64;
        ControlFlow::Continue(())
    })?;
    Ok(size)
}

struct MemRead {
    trees: Arc<Trees>,
}

impl ReadTxn for MemRead {
    fn size(&self, db: Db) -> Result<DbSize, StoreError> {
        size(self, db)
    }

    fn get(&self, db: Db, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.trees.of(db).get(key))
    }

    fn scan(&self, db: Db, range: Range<'_>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let _ended = self.trees.of(db).scan(range, visit);
        Ok(())
    }
}

/// What a transaction puts into one tree; `None` = it deletes the key.
type Changes = BTreeMap<Key, Option<Bytes>>;

struct MemWrite<'s> {
    /// As they were when it began.
    trees: Arc<Trees>,
    changes: [Changes; Db::ALL.len()],
    shared: &'s Shared,
    _turn: MutexGuard<'s, ()>,
}

/// Whether nothing can be in it: no map is asked for such a range.
fn is_empty(range: &Range<'_>) -> bool {
    match (range.from, range.to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
    }
}

impl ReadTxn for MemWrite<'_> {
    fn size(&self, db: Db) -> Result<DbSize, StoreError> {
        size(self, db)
    }

    fn get(&self, db: Db, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        match self.changes[db as usize].get(key) {
            Some(value) => Ok(value.as_deref()),
            None => Ok(self.trees.of(db).get(key)),
        }
    }

    /// The tree and the changes are both in order: of two that come next, the one that is before the other.
    fn scan(&self, db: Db, range: Range<'_>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if is_empty(&range) {
            return Ok(());
        }
        let mut inside = self.changes[db as usize].range::<[u8], _>((range.from, range.to));
        let mut step = || match range.reverse {
            false => inside.next(),
            true => inside.next_back(),
        };
        let mut changed = step();
        let ended = self.trees.of(db).scan(range, &mut |key, value| {
            while let Some((next, put)) = changed {
                if **next == *key {
                    changed = step();
                    return put
                        .as_ref()
                        .map_or(ControlFlow::Continue(()), |put| visit(key, put));
                }
                if (**next < *key) == range.reverse {
                    break;
                }
                changed = step();
                if let Some(put) = put {
                    visit(next, put)?;
                }
            }
            visit(key, value)
        });
        if ended.is_continue() {
            while let Some((next, put)) = changed {
                if put.as_ref().is_some_and(|put| visit(next, put).is_break()) {
                    break;
                }
                changed = step();
            }
        }
        Ok(())
    }
}

impl WriteTxn for MemWrite<'_> {
    fn put(&mut self, db: Db, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        admit_key(key)?;
        self.changes[db as usize].insert(key.into(), Some(value.into()));
        Ok(())
    }

    fn delete(&mut self, db: Db, key: &[u8]) -> Result<bool, StoreError> {
        let is_there = self.get(db, key)?.is_some();
        if is_there {
            self.changes[db as usize].insert(key.into(), None);
        }
        Ok(is_there)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let MemWrite {
            trees,
            changes,
            shared,
            _turn,
        } = *self;
        // Nodes that nobody else has are changed in place.
        drop(trees);
        let mut committed = lock(&shared.committed);
        let trees = Arc::make_mut(&mut committed);
        for (db, changes) in Db::ALL.into_iter().zip(changes) {
            let tree = trees.of_mut(db);
            for (key, value) in changes {
                match value {
                    Some(value) => tree.put(key, value),
                    None => tree.delete(&key),
                }
            }
        }
        Ok(())
    }

    fn commit_visible(self: Box<Self>) -> Result<(), StoreError> {
        self.commit()
    }

    fn as_read(&self) -> &dyn ReadTxn {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &MemStore, key: &[u8], value: &[u8]) {
        let mut txn = store.begin_write().unwrap();
        txn.put(Db::Items, key, value).unwrap();
        txn.commit().unwrap();
    }

    fn get(store: &MemStore, key: &[u8]) -> Option<Vec<u8>> {
        let txn = store.begin_read().unwrap();
        txn.get(Db::Items, key).unwrap().map(<[u8]>::to_vec)
    }

    #[test]
    fn a_fork_and_its_origin_go_separate_ways() {
        let disk = MemStore::new();
        put(&disk, b"k", b"1");
        let mut open = disk.begin_write().unwrap();
        open.put(Db::Items, b"k", b"uncommitted").unwrap();
        let image = disk.fork();
        open.commit().unwrap();
        put(&image, b"only", b"here");
        assert_eq!(get(&image, b"k").as_deref(), Some(b"1".as_slice()));
        assert_eq!(get(&disk, b"k").as_deref(), Some(b"uncommitted".as_slice()));
        assert_eq!(get(&disk, b"only"), None);
    }

    #[test]
    fn an_open_reader_delays_nobody_and_sees_no_change() {
        let store = MemStore::new();
        put(&store, b"k", b"1");
        let reader = store.begin_read().unwrap();
        put(&store, b"k", b"2");
        assert_eq!(reader.get(Db::Items, b"k").unwrap(), Some(b"1".as_slice()));
        assert_eq!(get(&store, b"k").as_deref(), Some(b"2".as_slice()));
    }
}
