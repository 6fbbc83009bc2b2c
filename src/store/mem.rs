//! The store without a disk: for the simulator and `--in-memory`.
//!
//! State is a set of persistent trees. A reader keeps the roots it began with; the writer changes its
//! own roots and commit publishes them, so rollback is forgetting them. Readers and the writer meet
//! only for the moment in which a root is taken or replaced.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::tree::Tree;
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
        trees
            .of_mut(Db::Meta)
            .put(FORMAT_KEY, &FORMAT.to_be_bytes());
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
        let trees = Trees::clone(&self.committed());
        Ok(Box::new(MemWrite {
            trees,
            shared: &self.shared,
            _turn: turn,
        }))
    }
}

/// Looks at every entry: stores in memory are small.
fn size(tree: &Tree) -> DbSize {
    let mut size = DbSize::default();
    tree.scan(Range::ALL, &mut |key, value| {
        size.entries += 1;
        size.bytes += (key.len() + value.len()) as u64;
        ControlFlow::Continue(())
    });
    size
}

struct MemRead {
    trees: Arc<Trees>,
}

impl ReadTxn for MemRead {
    fn size(&self, db: Db) -> Result<DbSize, StoreError> {
        Ok(size(self.trees.of(db)))
    }

    fn get(&self, db: Db, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.trees.of(db).get(key))
    }

    fn scan(&self, db: Db, range: Range<'_>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.trees.of(db).scan(range, visit);
        Ok(())
    }
}

struct MemWrite<'s> {
    trees: Trees,
    shared: &'s Shared,
    _turn: MutexGuard<'s, ()>,
}

impl ReadTxn for MemWrite<'_> {
    fn size(&self, db: Db) -> Result<DbSize, StoreError> {
        Ok(size(self.trees.of(db)))
    }

    fn get(&self, db: Db, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.trees.of(db).get(key))
    }

    fn scan(&self, db: Db, range: Range<'_>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.trees.of(db).scan(range, visit);
        Ok(())
    }
}

impl WriteTxn for MemWrite<'_> {
    fn put(&mut self, db: Db, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        admit_key(key)?;
        self.trees.of_mut(db).put(key, value);
        Ok(())
    }

    fn delete(&mut self, db: Db, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.trees.of_mut(db).delete(key))
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let MemWrite {
            trees,
            shared,
            _turn,
        } = *self;
        // The old roots may be the last of a large version: free them after the lock.
        let old = std::mem::replace(&mut *lock(&shared.committed), Arc::new(trees));
        drop(old);
        Ok(())
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
