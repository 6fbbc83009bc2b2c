//! Ctrl-C: the first asks for the end, so that what is known is still reported; the second is the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::INTERRUPTED;

/// Listens as long as it lives.
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// What listens.
    _runtime: Runtime,
}

impl Interrupt {
    /// From its return on, Ctrl-C no longer ends the process at once.
    pub fn listen() -> io::Result<Interrupt> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_io()
            .build()?;
        let mut signals = {
            let _inside = runtime.enter();
            signal(SignalKind::interrupt())?
        };
        let asked = Arc::new(AtomicBool::new(false));
        let ask = Arc::clone(&asked);
        runtime.spawn(async move {
            signals.recv().await;
            ask.store(true, Ordering::Relaxed);
            signals.recv().await;
            std::process::exit(INTERRUPTED.into());
        });
        Ok(Interrupt {
            asked,
            _runtime: runtime,
        })
    }

    /// Whether someone asked for the end.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
