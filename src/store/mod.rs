//! Ordered key-value storage with one writer and many snapshot readers.
//!
//! `store` knows nothing of items or conditions: keys and values are bytes. Two implementations are
//! held equal by a model test: [`lmdb`] (durable) and [`mem`] (the simulator, `--in-memory`).

mod folder;
pub mod lmdb;
pub mod mem;
#[cfg(test)]
mod model;
mod tree;

pub use lmdb::{LmdbOptions, LmdbStore};
pub use mem::MemStore;

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

impl Db {
    /// Every sub-database, in on-disk order.
    pub const ALL: [Db; 10] = [
        Db::Items,
        Db::Index,
        Db::Log,
        Db::Context,
        Db::Changes,
        Db::Conflicts,
        Db::Buckets,
        Db::Gc,
        Db::Ttl,
        Db::Meta,
    ];

    /// Its name in the environment. Part of the storage format.
    pub const fn name(self) -> &'static str {
        match self {
            Db::Items => "items",
            Db::Index => "index",
            Db::Log => "log",
            Db::Context => "context",
            Db::Changes => "changes",
            Db::Conflicts => "conflicts",
            Db::Buckets => "buckets",
            Db::Gc => "gc",
            Db::Ttl => "ttl",
            Db::Meta => "meta",
        }
    }
}

/// The longest key a store takes, in bytes: what LMDB can do on 4 KiB pages when built without its
/// default limit of 511. The longest layout (an index entry with a 1,024-byte sort key) needs less.
pub const KEY_BYTES_MAX: usize = 1_982;

/// The version of the on-disk format (docs/storage-format.md), kept under [`FORMAT_KEY`] in [`Db::Meta`].
pub const FORMAT: u32 = 5;

/// Where both stores keep [`FORMAT`], as four big-endian bytes. Nobody else writes this key.
pub const FORMAT_KEY: &[u8] = b"format";

/// Refuses keys that one of the two stores could not hold, so that they refuse the same.
fn admit_key(key: &[u8]) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(StoreError::Io(format!(
            "a key of {} bytes cannot be stored (1 to {KEY_BYTES_MAX})",
            key.len()
        )));
    }
    Ok(())
}

/// A storage failure. `Full` is retryable once space is freed, all others are fatal to the region.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error(
        "the data folder is full: free space or raise its limit; reads go on, writes are refused"
    )]
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

/// A range of keys and the direction to walk it. A range whose ends cross is empty.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    pub from: Bound<&'a [u8]>,
    pub to: Bound<&'a [u8]>,
    /// Walk from `to` down to `from`.
    pub reverse: bool,
}

impl Range<'_> {
    /// Every key, upwards.
    pub const ALL: Range<'static> = Range {
        from: Bound::Unbounded,
        to: Bound::Unbounded,
        reverse: false,
    };
}

/// Called with each (key, value) of a scan; `Break` ends it.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// How much one sub-database holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbSize {
    pub entries: u64,
    /// The pages that hold them; in memory, their keys and values.
    pub bytes: u64,
}

/// How full a store on disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The most that it may grow to.
    pub map_bytes: u64,
    /// Up to the highest page ever used, free pages below it included.
    pub used_bytes: u64,
    /// Pages below it that are free again.
    pub free_bytes: u64,
    /// Slots of readers taken, in all processes.
    pub readers: u64,
    /// How many commits ago the oldest transaction began that is still read from; 0 without one. The pages
    /// that were freed since cannot be used again.
    pub oldest_reader_commits: u64,
}

/// A consistent view of the store.
pub trait ReadTxn {
    /// How much a sub-database holds, for people.
    fn size(&self, db: Db) -> Result<DbSize, StoreError>;
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
    /// Makes the transaction visible to new readers. It is durable after the next [`Store::sync`]; a crash before may
    /// undo it, whole.
    fn commit_visible(self: Box<Self>) -> Result<(), StoreError>;
    /// This transaction as a reader (sees its own writes).
    fn as_read(&self) -> &dyn ReadTxn;
}

/// An environment. Readers never wait for the writer.
pub trait Store: Send + Sync {
    fn begin_read(&self) -> Result<Box<dyn ReadTxn + '_>, StoreError>;
    /// How full it is; `None` for what is not on disk.
    fn usage(&self) -> Result<Option<Usage>, StoreError>;
    /// Blocks while another write transaction is open.
    fn begin_write(&self) -> Result<Box<dyn WriteTxn + '_>, StoreError>;
    /// Makes durable all that is committed.
    fn sync(&self) -> Result<(), StoreError>;
}
