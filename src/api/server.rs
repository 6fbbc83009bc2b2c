//! Accepting connections: HTTP/1.1 and HTTP/2 on one port.

// Sockets live in real time: these are the limits on slow clients.
#![allow(clippy::disallowed_methods)]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Backend, http};

/// Connections served at once; the next ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 8192;
/// A client must have sent its request's head by then.
const HEADER_READ_MAX: Duration = Duration::from_secs(30);
/// A connection on which nothing came for this long is closed; SDKs keep theirs for less.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// How long requests in flight may take to finish at shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long to wait after `accept` failed (no file descriptors left, usually).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Hyper's buffer for a request's head; longer ones than ours get 431 from hyper.
const HEAD_BUFFER_BYTES: u32 = 64 * 1024;
/// As long as the first bytes agree with HTTP/2's preface, the protocol is undecided.
const PREFACE_DECIDED_BYTES: usize = 3;

/// Serves the DynamoDB API on `listener` until `shutdown`, then lets requests in flight finish.
pub async fn serve(listener: TcpListener, backend: Arc<dyn Backend>, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let slot = slots.clone().acquire_owned().await.ok();
            (listener.accept().await, slot)
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (accepted, slot) = accepted => match accepted {
                Ok((stream, _)) => {
                    let (backend, shutdown) = (backend.clone(), shutdown.clone());
                    connections.spawn(async move {
                        connection(stream, backend, shutdown).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
        tracing::warn!("requests still running at shutdown were cut off");
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, backend: Arc<dyn Backend>, shutdown: CancellationToken) {
    // Answers are written whole: waiting to fill packets only costs latency.
    let _ = stream.set_nodelay(true);
    tokio::select! {
        () = shutdown.cancelled() => return,
        begun = begun(&stream) => if !begun { return },
    }
    let service = service_fn(move |request| {
        let backend = backend.clone();
        async move { Ok::<_, Infallible>(http::answer(backend.as_ref(), request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_MAX)
        .max_buf_size(HEAD_BUFFER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(IDLE_MAX)
        .max_header_list_size(HEAD_BUFFER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = %error, "connection ended");
    }
}

/// Waits until enough came to tell HTTP/1 from HTTP/2; hyper does that without a time limit.
async fn begun(stream: &TcpStream) -> bool {
    let mut head = [0; PREFACE_DECIDED_BYTES];
    let enough = async {
        loop {
            match stream.peek(&mut head).await {
                Ok(0) | Err(_) => return false,
                Ok(PREFACE_DECIDED_BYTES) => return true,
                Ok(_) => tokio::time::sleep(ACCEPT_RETRY).await,
            }
        }
    };
    tokio::time::timeout(IDLE_MAX, enough)
        .await
        .unwrap_or(false)
}
