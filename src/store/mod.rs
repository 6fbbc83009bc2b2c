//! Ordered key-value storage with one writer and many snapshot readers.
//!
//! `store` knows nothing of items or conditions: keys and values are bytes. Two implementations are
//! held equal by a model test: [`lmdb`] (durable) and [`mem`] (the simulator, `--in-memory`).

pub mod lmdb;
pub mod mem;

use std::ops::{Bound, ControlFlow};

/// The sub-databases of one environment. The discriminant is the on-disk order; never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Db {
    Items = 0,
    Index = 1,
    Log = 2,
    Context = 3,
    Changes = 4,
    Conflicts = 5,
    Buckets = 6,
    Gc = 7,
    Ttl = 8,
    Meta = 9,
}

/// A storage failure. `Full` is retryable once space is freed, all others are fatal to the region.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("the data folder is full: free space or raise its limit; reads go on, writes are refused")]
    Full,
    #[error("the data folder '{path}' is already open by another process: {reason}")]
    Locked { path: String, reason: String },
    #[error("the data folder '{path}' cannot be used: {reason}")]
    Unusable { path: String, reason: String },
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    #[error("storage failed: {0}")]
    Io(String),
}

/// A range of keys and the direction to walk it.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    pub from: Bound<&'a [u8]>,
    pub to: Bound<&'a [u8]>,
    /// Walk from `to` down to `from`.
    pub reverse: bool,
}

/// Called with each (key, value) of a scan; `Break` ends it.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// A consistent view of the store.
pub trait ReadTxn {
    /// The value at `key`, or `None`. Borrowed from the transaction.
    fn get(&self, db: Db, key: &[u8]) -> Result<Option<&[u8]>, StoreError>;
    /// Visits the keys of `range` in order (or in reverse).
    fn scan(&self, db: Db, range: Range<'_>, visit: &mut Visit<'_>) -> Result<(), StoreError>;
}

/// The one write transaction. Dropping it without [`WriteTxn::commit`] leaves nothing behind.
pub trait WriteTxn: ReadTxn {
    fn put(&mut self, db: Db, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Removes `key`; true when it was there.
    fn delete(&mut self, db: Db, key: &[u8]) -> Result<bool, StoreError>;
    /// Makes the transaction durable, then visible to new readers.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
    /// This transaction as a reader (sees its own writes).
    fn as_read(&self) -> &dyn ReadTxn;
}

/// An environment. Readers never wait for the writer.
pub trait Store: Send + Sync {
    fn begin_read(&self) -> Result<Box<dyn ReadTxn + '_>, StoreError>;
    /// Blocks while another write transaction is open.
    fn begin_write(&self) -> Result<Box<dyn WriteTxn + '_>, StoreError>;
}
