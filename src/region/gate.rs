//! Whether clients are served. A region that is being rebuilt knows too little to answer them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::replica::ApiError;

/// Open, or closed for a reason that says how far the rebuilding is. Asked for every request, so the common
/// case is one load.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: AtomicBool,
    reason: Mutex<Option<String>>,
}

impl Gate {
    pub fn new(reason: Option<String>) -> Self {
        let gate = Gate::default();
        gate.set(reason);
        gate
    }

    pub fn set(&self, reason: Option<String>) {
        let closed = reason.is_some();
        *self.lock() = reason;
        self.closed.store(closed, Ordering::Release);
    }

    /// Why clients are not served.
    pub fn reason(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Retryable; SDKs try again, and so may a client with another region.
    pub fn admit(&self) -> Result<(), ApiError> {
        if !self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let reason = self.reason().unwrap_or_default();
        Err(ApiError::ServiceUnavailable(format!(
            "This region is being rebuilt ({reason}). Try again, or use another region meanwhile."
        )))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
