//! The folder of a durable store: what may be in it, and that one process has it, once.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::StoreError;

/// Held exclusively for as long as a process has the folder open; holds its process id.
pub(super) const LOCK_FILE: &str = "meridian.lock";
pub(super) const DATA_FILE: &str = "data.mdb";
/// What may lie in a folder that counts as empty: the remains of an interrupted creation.
const IGNORED: [&str; 3] = [LOCK_FILE, "lock.mdb", "lost+found"];
/// Written and removed to tell a full disk from a broken one.
pub(super) const PROBE_FILE: &str = "meridian.probe";
const PROBE_BYTES: usize = 64 * 1_024;

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
    _registration: Registration,
}

impl Folder {
    /// Makes the folder when it is missing, and takes it when it is empty or holds a store.
    pub(super) fn take(path: &Path) -> Result<Folder, StoreError> {
        fs::create_dir_all(path).map_err(|e| unusable(path, e))?;
        let path = path.canonicalize().map_err(|e| unusable(path, e))?;
        admit_folder(&path)?;
        let registration = Registration::take(&path)?;
        let lock = lock_folder(&path)?;
        Ok(Folder {
            path,
            _lock: lock,
            _registration: registration,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// True when a small file finds no room either.
    pub(super) fn is_full(&self) -> bool {
        let name = self.path.join(PROBE_FILE);
        let written = fs::write(&name, vec![1; PROBE_BYTES]);
        // What remains of the probe is worth nothing; the next one overwrites it.
        let _gone = fs::remove_file(&name);
        written.is_err_and(|e| {
            matches!(
                e.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        })
    }
}

/// The folders this process has open. LMDB's file locks belong to the process, so a second opening of
/// the same folder would pass them, and closing it would drop the first one's.
static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

#[derive(Debug)]
struct Registration(PathBuf);

impl Registration {
    fn take(path: &Path) -> Result<Self, StoreError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.insert(path.to_owned()) {
            return Err(locked(
                path,
                "this process itself has opened it before".to_owned(),
            ));
        }
        Ok(Registration(path.to_owned()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        OPEN.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.0);
    }
}

/// Refuses a folder in which somebody keeps something else, before anything is written to it.
fn admit_folder(path: &Path) -> Result<(), StoreError> {
    if path.join(DATA_FILE).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|e| unusable(path, e))? {
        let name = entry.map_err(|e| unusable(path, e))?.file_name();
        if !IGNORED.iter().any(|ignored| name == *ignored) {
            let name = name.to_string_lossy();
            let reason =
                format!("it holds '{name}' but no Meridian store; choose an empty or a new folder");
            return Err(unusable(path, reason));
        }
    }
    Ok(())
}

/// Takes the folder for this process. The lock goes when the file closes, also when the process dies.
// `File::try_lock` is newer than the rest of what is used here: it sets the minimum Rust version, 1.89.
fn lock_folder(path: &Path) -> Result<File, StoreError> {
    let name = path.join(LOCK_FILE);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(name);
    let mut file = opened.map_err(|e| unusable(path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let known = Read::by_ref(&mut file)
                .take(20)
                .read_to_string(&mut holder)
                .is_ok()
                && !holder.trim().is_empty();
            let holder = if known {
                format!("process {}", holder.trim())
            } else {
                "another process".to_owned()
            };
            return Err(locked(
                path,
                format!("{holder} holds {LOCK_FILE}; stop it, or choose another folder"),
            ));
        }
        Err(TryLockError::Error(e)) => {
            return Err(unusable(
                path,
                format!("{LOCK_FILE} cannot be locked ({e}); use a local disk"),
            ));
        }
    }
    // Only a hint for whoever finds the folder locked: a full disk must not keep reads away.
    let _hint = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

pub(super) fn unusable(path: &Path, reason: impl ToString) -> StoreError {
    StoreError::Unusable {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

fn locked(path: &Path, reason: String) -> StoreError {
    StoreError::Locked {
        path: path.display().to_string(),
        reason,
    }
}
