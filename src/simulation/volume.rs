//! The disks of simulated regions: in memory, or real LMDB files on which the same plan must give the same run
//! (simulator.md section 10, T2).
//!
//! A crash closes the files and opens them again, so what a region starts on is what LMDB itself kept.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::store::{
    Db, FORMAT_KEY, LmdbOptions, LmdbStore, MemStore, Range, ReadTxn, Store, StoreError, WriteTxn,
};

/// Address space for the files of one region; a simulated one holds a few megabytes.
const MAP_BYTES: usize = 4 << 30;

/// Makes the disks of one region.
#[derive(Debug)]
pub struct Volumes {
    /// Where its files go, each disk in a folder of its own; in memory without it.
    folder: Option<PathBuf>,
    made: u32,
}

impl Volumes {
    pub fn in_memory() -> Self {
        Volumes {
            folder: None,
            made: 0,
        }
    }

    pub fn below(folder: PathBuf) -> Self {
        Volumes {
            folder: Some(folder),
            made: 0,
        }
    }

    /// An empty disk.
    pub fn create(&mut self) -> Result<Volume, StoreError> {
        let Some(folder) = &self.folder else {
            return Ok(Volume::Memory(MemStore::new()));
        };
        self.made += 1;
        Volume::open(folder.join(format!("disk-{}", self.made)))
    }

    /// A disk of its own that holds what is committed on `volume`.
    pub fn fork(&mut self, volume: &Volume) -> Result<Volume, StoreError> {
        if let Volume::Memory(store) = volume {
            return Ok(Volume::Memory(store.fork()));
        }
        let copy = self.create()?;
        let from = volume.begin_read()?;
        let mut to = copy.begin_write()?;
        for db in Db::ALL {
            copy_all(&*from, &mut *to, db)?;
        }
        to.commit()?;
        Ok(copy)
    }
}

fn copy_all(from: &dyn ReadTxn, to: &mut dyn WriteTxn, db: Db) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    from.scan(db, Range::ALL, &mut |key, value| {
        // The copy has its own, written when it was made.
        if db == Db::Meta && key == FORMAT_KEY {
            return ControlFlow::Continue(());
        }
        outcome = to.put(db, key, value);
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    outcome
}

/// One disk.
pub enum Volume {
    Memory(MemStore),
    Files {
        folder: PathBuf,
        store: Arc<LmdbStore>,
    },
}

impl Volume {
    fn open(folder: PathBuf) -> Result<Self, StoreError> {
        let options = LmdbOptions {
            map_bytes: MAP_BYTES,
        };
        let store = Arc::new(LmdbStore::open(&folder, options)?);
        Ok(Volume::Files { folder, store })
    }

    fn store(&self) -> &dyn Store {
        match self {
            Volume::Memory(store) => store,
            Volume::Files { store, .. } => &**store,
        }
    }

    /// The same disk, for a replica.
    pub fn share(&self) -> Arc<dyn Store> {
        match self {
            Volume::Memory(store) => Arc::new(store.clone()),
            Volume::Files { store, .. } => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    pub fn begin_read(&self) -> Result<Box<dyn ReadTxn + '_>, StoreError> {
        self.store().begin_read()
    }

    pub fn begin_write(&self) -> Result<Box<dyn WriteTxn + '_>, StoreError> {
        self.store().begin_write()
    }

    /// The disk as the next process finds it. Nobody may have it open: files are open once in a process.
    pub fn reopened(self) -> Result<Self, StoreError> {
        match self {
            Volume::Memory(_) => Ok(self),
            Volume::Files { folder, store } => {
                drop(store);
                Volume::open(folder)
            }
        }
    }
}
