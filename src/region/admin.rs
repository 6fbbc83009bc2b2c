//! The admin server: HTTP/1.1 and JSON, for `meridian status`, `partition`, `heal`, `slow` and `conflicts`;
//! `/metrics` and `/health` for what watches the region (`pages`).
//!
//! It has no authentication, so it belongs on a loopback or private address. Requests that a browser
//! makes for a web page (they carry `Origin`) are refused, so that no page can cut links.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::change;
use super::conflicts;
use super::pages;
use super::start::one_way;
use super::status::Status;
use crate::clock::RegionId;
use crate::replication::WishError;
use crate::store::StoreError;
use crate::transport::Cut;

const CONNECTIONS_MAX: usize = 256;
const BODY_BYTES_MAX: usize = 64 << 10;
/// For a request's head, and for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// The longest injected round trip; as in topology files.
const RTT_MS_MAX: f64 = 60_000.0;

/// POST /fault: what is left out stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultRequest {
    /// A region's name; all peers when left out.
    peer: Option<String>,
    /// `none`, `out` or `both`.
    cut: Option<String>,
    /// Round trip to inject; this side delays by half of it.
    rtt_ms: Option<f64>,
    /// First back to what the topology says.
    #[serde(default)]
    reset: bool,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error(
        "there is nothing at {0}: try GET /status, /health, /metrics, /conflicts, /members or POST /fault"
    )]
    NotFound(String),
    #[error("requests from web pages are refused")]
    Browser,
    #[error("{0}")]
    Bad(String),
    /// What the path names is not there.
    #[error("{0}")]
    Gone(String),
    #[error(
        "conflict {id} is not restored: the item is no longer the version that won; it is now {now}"
    )]
    MovedOn { id: String, now: Value },
    /// Try again.
    #[error("{0}")]
    Unavailable(String),
    #[error(transparent)]
    Wish(#[from] WishError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AdminError {
    fn body(&self) -> Value {
        match self {
            AdminError::MovedOn { now, .. } => json!({"error": self.to_string(), "now": now}),
            _ => json!({"error": self.to_string()}),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            AdminError::NotFound(_) | AdminError::Gone(_) => StatusCode::NOT_FOUND,
            AdminError::MovedOn { .. } | AdminError::Wish(_) => StatusCode::CONFLICT,
            AdminError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            AdminError::Browser => StatusCode::FORBIDDEN,
            AdminError::Bad(_) => StatusCode::BAD_REQUEST,
            AdminError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Serves until `shutdown`. Requests under way are cut off: none of them takes long.
pub(super) async fn serve(listener: TcpListener, status: Arc<Status>, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Past the limit the connection is dropped, and the caller may try again.
                if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                    let status = Arc::clone(&status);
                    connections.spawn(async move {
                        connection(stream, status).await;
                        drop(slot);
                    });
                }
            }
            Err(error) => {
                warn!(%error, "an admin connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, status: Arc<Status>) {
    let service = service_fn(move |request| {
        let status = Arc::clone(&status);
        async move { Ok::<_, Infallible>(answer(&status, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection ended");
    }
}

async fn answer(status: &Status, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if let Some(page) = pages::answer(status, &request) {
        return page;
    }
    let (code, body) = match route(status, request).await {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (error.status(), error.body()),
    };
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn route(status: &Status, request: Request<Incoming>) -> Result<Value, AdminError> {
    if request.headers().contains_key(ORIGIN) {
        return Err(AdminError::Browser);
    }
    let path = request.uri().path().to_string();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/status") => Ok(status.report()?),
        (method, path) if below_conflicts(path).is_some() => {
            let (method, rest) = (method.clone(), below_conflicts(path).unwrap_or_default());
            let query = request.uri().query().unwrap_or_default().to_string();
            let body = read_body(request).await?;
            conflicts::route(status, &method, rest, &query, body).await
        }
        (method, "/members") => {
            let method = method.clone();
            change::route(status, &method, read_body(request).await?).await
        }
        (&Method::POST, "/fault") => {
            let body = read_body(request).await?;
            let wanted = serde_json::from_slice(&body)
                .map_err(|error| AdminError::Bad(format!("the body is not a fault: {error}")))?;
            set_fault(status, &wanted)
        }
        (method, path) => Err(AdminError::NotFound(format!("{method} {path}"))),
    }
}

/// What follows `/conflicts`.
fn below_conflicts(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/conflicts")?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

async fn read_body(request: Request<Incoming>) -> Result<Bytes, AdminError> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(READ_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(AdminError::Bad(format!("the body cannot be read: {error}"))),
        Err(_elapsed) => Err(AdminError::Bad("the body took too long".to_string())),
    }
}

fn set_fault(status: &Status, wanted: &FaultRequest) -> Result<Value, AdminError> {
    let peers = chosen_peers(status, wanted.peer.as_deref())?;
    let cut = match wanted.cut.as_deref() {
        None => None,
        Some(word) => Some(Cut::parse(word).ok_or_else(|| {
            AdminError::Bad(format!("'{word}' is not a cut: use none, out or both"))
        })?),
    };
    let delay = match wanted.rtt_ms {
        None => None,
        Some(rtt_ms) if (0.0..=RTT_MS_MAX).contains(&rtt_ms) => Some(one_way(rtt_ms)),
        Some(rtt_ms) => {
            let problem = format!("rtt_ms {rtt_ms} is not within 0 to {RTT_MS_MAX}");
            return Err(AdminError::Bad(problem));
        }
    };
    for peer in peers {
        if wanted.reset {
            status.transport.reset_fault(peer);
        }
        let Some(mut fault) = status.transport.fault(peer) else {
            continue;
        };
        fault.cut = cut.unwrap_or(fault.cut);
        fault.delay = delay.unwrap_or(fault.delay);
        status.transport.set_fault(peer, fault);
        info!(
            peer = status.name(peer),
            cut = fault.cut.name(),
            delay_ms = fault.delay.as_millis(),
            "fault changed"
        );
    }
    let links = status.links(&*status.store.begin_read()?)?;
    Ok(json!({"name": status.info.name, "links": links}))
}

fn chosen_peers(status: &Status, name: Option<&str>) -> Result<Vec<RegionId>, AdminError> {
    let links = status.transport.links();
    let Some(name) = name else {
        return Ok(links.iter().map(|link| link.peer).collect());
    };
    match links.iter().find(|link| link.name == name) {
        Some(link) => Ok(vec![link.peer]),
        None => Err(AdminError::Bad(format!(
            "'{name}' is not a peer of {}",
            status.info.name
        ))),
    }
}
