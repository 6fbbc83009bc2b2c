//! PEM files: read whole, written whole, private to their owner.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::identity::IdentityError;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|source| io(path, source))
}

/// The certificates of a file, in order; at least one.
pub(super) fn read_certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| bad_pem(path, &error))?;
    if found.is_empty() {
        return Err(bad_pem(path, &"it has no certificate"));
    }
    Ok(found)
}

pub(super) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&read(path)?).map_err(|error| bad_pem(path, &error))
}

pub(super) fn io(path: &Path, source: std::io::Error) -> IdentityError {
    IdentityError::Io {
        path: path.display().to_string(),
        source,
    }
}

pub(super) fn bad_pem(path: &Path, reason: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::Pem {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

/// Creates `path`, for its owner's eyes only; an error if it is there.
pub(super) fn create_private(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    write_new(path, bytes).map_err(|source| io(path, source))
}

/// Writes under another name first, so that `path` is whole whenever it is there.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let unique = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}-{unique}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    // Left over from a crash of a process of the same id.
    let _ = fs::remove_file(&temporary);
    create_private(&temporary, bytes)?;
    fs::rename(&temporary, path).map_err(|source| io(path, source))
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
