//! What a group changes: its transaction, with notes beside. Oracles look at that alone after the group, however
//! much there is.

use crate::store::{Db, DbSize, Range, ReadTxn, StoreError, Visit, WriteTxn};

/// What was put or deleted.
#[derive(Debug, Default)]
pub struct Changed {
    /// Rows of items, some perhaps more than once.
    pub items: Vec<Vec<u8>>,
    /// Something of what is known of conflicts.
    pub conflicts: bool,
}

/// A transaction that notes what it changes.
pub(super) struct Noting<'t> {
    txn: Box<dyn WriteTxn + 't>,
    changed: Changed,
}

impl<'t> Noting<'t> {
    pub fn new(txn: Box<dyn WriteTxn + 't>) -> Self {
        let changed = Changed::default();
        Noting { txn, changed }
    }

    /// Makes the transaction durable.
    pub fn end(self) -> Result<Changed, StoreError> {
        self.txn.commit()?;
        Ok(self.changed)
    }

    fn note(&mut self, db: Db, key: &[u8]) {
        match db {
            Db::Items => self.changed.items.push(key.to_vec()),
            Db::Conflicts => self.changed.conflicts = true,
            _ => {}
        }
    }
}

impl ReadTxn for Noting<'_> {
    fn size(&self, db: Db) -> Result<DbSize, StoreError> {
        self.txn.size(db)
    }

    fn get(&self, db: Db, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        self.txn.get(db, key)
    }

    fn scan(&self, db: Db, range: Range<'_>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.txn.scan(db, range, visit)
    }
}

impl WriteTxn for Noting<'_> {
    fn put(&mut self, db: Db, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.note(db, key);
        self.txn.put(db, key, value)
    }

    fn delete(&mut self, db: Db, key: &[u8]) -> Result<bool, StoreError> {
        self.note(db, key);
        self.txn.delete(db, key)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.end().map(drop)
    }

    fn commit_visible(self: Box<Self>) -> Result<(), StoreError> {
        self.end().map(drop)
    }

    fn as_read(&self) -> &dyn ReadTxn {
        self.txn.as_read()
    }
}
