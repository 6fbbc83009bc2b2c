//! Accepting connections: HTTP/1.1 and HTTP/2 on one port, with limits on slow clients.

// Sockets live in real time: these are the limits on slow clients.
#![allow(clippy::disallowed_methods)]

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Backend, http};

/// How long to wait after `accept` failed (no file descriptors left, usually).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Hyper's buffer for a request's head; longer ones than ours get 431 from hyper.
const HEAD_BUFFER_BYTES: u32 = 64 * 1024;
/// As long as the first bytes agree with HTTP/2's preface, the protocol is undecided.
const PREFACE_DECIDED_BYTES: usize = 3;

/// What clients may take of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once; the next ones wait in the listener's backlog.
    pub connections: usize,
    /// From the connection, or the answer before, to the end of a request's head. So it is also how long a
    /// connection may be kept without a request; SDKs keep theirs for a minute at most.
    pub head_read: Duration,
    /// From a request's head to the end of its body.
    pub body_read: Duration,
    /// Between two signs of life that HTTP/2 asks of the other side.
    pub ping: Duration,
    /// How long requests in flight may take to finish at shutdown.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 8192,
            head_read: Duration::from_secs(75),
            body_read: Duration::from_secs(60),
            ping: Duration::from_secs(75),
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves the DynamoDB API on `listener` until `shutdown`, then lets requests in flight finish.
pub async fn serve(
    listener: TcpListener,
    backend: Arc<dyn Backend>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let handler = move |request| {
        let backend = backend.clone();
        async move { http::answer(backend.as_ref(), request, limits.body_read).await }
    };
    accept(listener, handler, limits, shutdown).await;
}

/// Serves whatever `handler` answers, under the same limits.
pub async fn accept<H, F, B>(
    listener: TcpListener,
    handler: H,
    limits: Limits,
    shutdown: CancellationToken,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
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
                    let (handler, shutdown) = (handler.clone(), shutdown.clone());
                    connections.spawn(async move {
                        connection(stream, handler, limits, shutdown).await;
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
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        tracing::warn!("requests still running at shutdown were cut off");
    }
}

/// Serves one connection to its end.
async fn connection<H, F, B>(
    stream: TcpStream,
    handler: H,
    limits: Limits,
    shutdown: CancellationToken,
) where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Answers are written whole: waiting to fill packets only costs latency.
    let _ = stream.set_nodelay(true);
    tokio::select! {
        () = shutdown.cancelled() => return,
        begun = begun(&stream, limits.head_read) => if !begun { return },
    }
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_read)
        .max_buf_size(HEAD_BUFFER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.ping)
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
async fn begun(stream: &TcpStream, head_read: Duration) -> bool {
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
    tokio::time::timeout(head_read, enough)
        .await
        .unwrap_or(false)
}
