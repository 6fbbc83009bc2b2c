//! The endpoint: finds peers, accepts them, and keeps one session with each.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, Incoming, TokioRuntime};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Peer;
use super::faults::{Cut, LinkFault};
use super::identity::{self, Identity};
use super::links::{Link, LinkStatus, Links};
use super::refusal::{Failure, Refusal, Refusals};
use super::session::{self, Internal, Surroundings, close, refuse};
use super::tls;
use super::verify::{Judge, NO_MEMBER};
use crate::clock::RegionId;
use crate::replication::Lane;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// A session that lasted this long was a success: the next attempt comes soon.
const SESSION_PROVEN: Duration = Duration::from_secs(1);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the region of the higher id waits for the other to dial.
const CALL_AFTER: Duration = Duration::from_secs(2);
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Handshakes in progress; more are refused, so strangers cannot pile them up.
const HANDSHAKES_MAX: usize = 128;
/// Events not yet taken. Frames are bounded in bytes besides (T4).
const EVENTS_MAX: usize = 1024;

/// Why the transport cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    #[error("the gossip socket cannot be used: {0}")]
    Socket(#[from] std::io::Error),
    #[error("region {0:?} is its own peer, or is named twice")]
    Peers(RegionId),
}

/// What [`Transport::start`] needs.
#[derive(Debug)]
pub struct TransportConfig {
    pub region: RegionId,
    pub cluster_id: [u8; 16],
    pub identity: Identity,
    /// Bound, and for this transport alone.
    pub socket: std::net::UdpSocket,
    pub peers: Vec<Peer>,
}

/// What happens on the links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportEvent {
    Up(RegionId),
    /// With the reason, for people.
    Down(RegionId, String),
    Frame(RegionId, Lane, Vec<u8>),
}

struct Shared {
    region: RegionId,
    cluster_id: [u8; 16],
    endpoint: Endpoint,
    /// What this region shows and whom it accepts, at its next attempt to connect.
    client: Mutex<quinn::ClientConfig>,
    judge: Arc<Judge>,
    refusals: Arc<Refusals>,
    links: Links,
    events: mpsc::Sender<Internal>,
    shutdown: CancellationToken,
}

impl Shared {
    /// Notes it when a connection failed because the peer refused this region; why it failed, in words. What
    /// this region refuses is noted where it finds out.
    fn failed(&self, peer: Option<RegionId>, error: &ConnectionError) -> String {
        match Failure::of(error) {
            Failure::RefusedByPeer(reason) => {
                let reason = format!("it refused this region: {reason}");
                self.refusals.note(peer, reason.clone());
                reason
            }
            Failure::Refused(reason) => format!("this region refused it: {reason}"),
            Failure::Other(reason) => reason,
        }
    }

    fn client_config(&self) -> quinn::ClientConfig {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client.clone()
    }

    /// The peer that dials from this address, as far as the topology's addresses tell.
    fn peer_at(&self, address: SocketAddr) -> Option<RegionId> {
        let at = |link: &Arc<Link>| link.reach.borrow().address.parse() == Ok(address);
        self.links.all().into_iter().find(at).map(|link| link.id)
    }
}

/// The links of one region. Clones share them.
#[derive(Clone)]
pub struct Transport(Arc<Shared>);

/// Where the transport tells what happens. Taking an event also switches what `send` does (T2).
pub struct Events {
    inbox: mpsc::Receiver<Internal>,
    shared: Arc<Shared>,
}

impl Events {
    /// The next event; `None` never comes while the transport runs. Cancel safe.
    pub async fn recv(&mut self) -> Option<TransportEvent> {
        let event = self.inbox.recv().await?;
        Some(self.take(event))
    }

    /// The next event if it is there already.
    pub fn try_recv(&mut self) -> Option<TransportEvent> {
        let event = self.inbox.try_recv().ok()?;
        Some(self.take(event))
    }

    fn take(&self, event: Internal) -> TransportEvent {
        let switch = |peer: RegionId, outgoing| {
            if let Some(link) = self.shared.links.get(peer) {
                link.switch(outgoing);
            }
        };
        match event {
            Internal::Up(peer, outgoing) => {
                switch(peer, Some(outgoing));
                self.shared.refusals.forget(peer);
                TransportEvent::Up(peer)
            }
            Internal::Down(peer, reason) => {
                switch(peer, None);
                TransportEvent::Down(peer, reason)
            }
            Internal::Frame(peer, lane, frame, _share) => TransportEvent::Frame(peer, lane, frame),
        }
    }
}

impl Transport {
    /// Starts to connect and to accept. Must be called within a tokio runtime.
    pub fn start(config: TransportConfig) -> Result<(Transport, Events), TransportError> {
        let refusals = Arc::new(Refusals::default());
        let mut ids = BTreeSet::from([config.region]);
        if let Some(peer) = config.peers.iter().find(|peer| !ids.insert(peer.id)) {
            return Err(TransportError::Peers(peer.id));
        }
        let judge = Arc::new(Judge {
            cluster: config.cluster_id,
            peers: Default::default(),
            refusals: Arc::clone(&refusals),
        });
        let endpoint = Endpoint::new(
            tls::endpoint(&config.identity)?,
            Some(tls::server(&config.identity, Arc::clone(&judge))?),
            config.socket,
            Arc::new(TokioRuntime),
        )?;
        let client = tls::client(&config.identity, Arc::clone(&judge))?;
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared {
            region: config.region,
            cluster_id: config.cluster_id,
            endpoint,
            client: Mutex::new(client),
            judge,
            refusals,
            links: Links::default(),
            events,
            shutdown: CancellationToken::new(),
        });
        let transport = Transport(shared);
        transport.set_peers(config.peers);
        tokio::spawn(accept(Arc::clone(&transport.0)));
        let events = Events {
            inbox,
            shared: Arc::clone(&transport.0),
        };
        Ok((transport, events))
    }

    /// Connects to these peers, and to no others, from now on. A session with a peer that stays goes on, also
    /// where the peer is called elsewhere next time.
    pub fn set_peers(&self, peers: Vec<Peer>) {
        let names = peers.iter().map(|peer| (peer.name.clone(), peer.id));
        self.0.judge.set_peers(names.collect());
        for (link, accepted) in self.0.links.set(peers, &self.0.shutdown) {
            tokio::spawn(keep(Arc::clone(&self.0), link, accepted));
        }
    }

    /// Queues a frame for `peer`; never waits. Without a session the frame is dropped: `Down` was or
    /// will be told.
    pub fn send(&self, peer: RegionId, lane: Lane, frame: Vec<u8>) {
        let Some(link) = self.0.links.get(peer) else {
            return;
        };
        let Some(outgoing) = link.outgoing() else {
            return;
        };
        match link.faults.get().cut {
            Cut::None => outgoing.send(lane, frame),
            Cut::Out | Cut::Both => outgoing.lose(),
        }
    }

    /// Ends the session with `peer`, which is told why; a new one will be tried.
    pub fn disconnect(&self, peer: RegionId, reason: String) {
        if let Some(outgoing) = self.0.links.get(peer).and_then(|link| link.outgoing()) {
            let noted = format!("this region refused it: {reason}");
            self.0.refusals.note(Some(peer), noted);
            outgoing.refuse(reason);
        }
    }

    /// What this region shows from now on, and whom it accepts. Sessions that stand go on.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), TransportError> {
        let server = tls::server(identity, Arc::clone(&self.0.judge))?;
        let client = tls::client(identity, Arc::clone(&self.0.judge))?;
        self.0.endpoint.set_server_config(Some(server));
        *self.0.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }

    /// The last refusal that had to do with no peer.
    pub fn stranger(&self) -> Option<Refusal> {
        self.0.refusals.last(None)
    }

    /// Whether a peer turns this region away at present because it is no member.
    pub fn is_unknown(&self) -> bool {
        let refused = |link: &LinkStatus| {
            let refusal = link.refusal.as_ref().filter(|_| !link.connected);
            refusal.is_some_and(|r| r.reason.contains(NO_MEMBER))
        };
        self.links().iter().any(refused)
    }

    /// The fault on the way to `peer`; `None` for a stranger.
    pub fn fault(&self, peer: RegionId) -> Option<LinkFault> {
        self.0.links.get(peer).map(|link| link.faults.get())
    }

    /// Changes the fault on the way to `peer`, at once; false for a stranger.
    pub fn set_fault(&self, peer: RegionId, fault: LinkFault) -> bool {
        let Some(link) = self.0.links.get(peer) else {
            return false;
        };
        link.faults.set(fault);
        true
    }

    /// Back to the fault that the link began with: no cut, the topology's delay. False for a stranger.
    pub fn reset_fault(&self, peer: RegionId) -> bool {
        let Some(link) = self.0.links.get(peer) else {
            return false;
        };
        link.faults.set(LinkFault {
            cut: Cut::None,
            delay: link.delay,
        });
        true
    }

    /// All links to peers that are called, in the order of the peers' ids.
    pub fn links(&self) -> Vec<LinkStatus> {
        let status = |link: &Arc<Link>| {
            let outgoing = link.outgoing();
            LinkStatus {
                peer: link.id,
                name: link.name.clone(),
                connected: outgoing.is_some(),
                fault: link.faults.get(),
                queued_bytes: outgoing.as_ref().map_or(0, |o| o.queued_bytes()),
                path_rtt: outgoing.as_ref().map(|o| o.path_rtt()),
                refusal: self.0.refusals.last(Some(link.id)),
            }
        };
        let links = self.0.links.all();
        let called = links.iter().filter(|link| link.reach.borrow().calls);
        called.map(status).collect()
    }

    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.endpoint.local_addr()
    }

    /// Ends every session and closes the socket.
    pub async fn close(&self) {
        self.0.shutdown.cancel();
        self.0
            .endpoint
            .close(quinn::VarInt::from_u32(0), b"shutting down");
        if timeout(CLOSE_TIMEOUT, self.0.endpoint.wait_idle())
            .await
            .is_err()
        {
            debug!("some peers did not acknowledge the end of their session");
        }
    }
}

/// Keeps one session with a peer: the newest connection of those that it makes and those that are made to it.
/// Between two regions the one of the lower id dials. The other does only while nothing stands, and after a
/// while: so it is heard where the peer does not know (yet) where it is.
async fn keep(shared: Arc<Shared>, link: Arc<Link>, mut accepted: mpsc::Receiver<Connection>) {
    let polite = link.id < shared.region;
    let (mut wait, mut backoff) = (Duration::ZERO, BACKOFF_MIN);
    let mut last_failure = String::new();
    let mut next = None;
    loop {
        let connected = match next.take() {
            Some(connection) => Ok(connection),
            None => tokio::select! {
                () = link.gone.cancelled() => return,
                connection = accepted.recv() => match connection {
                    Some(connection) => Ok(connection),
                    None => return,
                },
                dialled = call(&shared, &link, wait, polite) => dialled,
            },
        };
        // What `Down` tells of is not worth a line of its own.
        let (failure, is_news) = match connected {
            Ok(connection) => {
                let started = Instant::now();
                let (reason, superseding) =
                    run_session(&shared, &link, connection, &mut accepted).await;
                if started.elapsed() >= SESSION_PROVEN {
                    backoff = BACKOFF_MIN;
                }
                next = superseding;
                (reason, false)
            }
            Err(reason) => (reason, true),
        };
        if is_news && failure != last_failure {
            info!(
                peer = link.name,
                reason = failure,
                "not connected; trying again"
            );
            last_failure = failure;
        }
        wait = backoff;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Dials the peer, after a while and as soon as it may be called; where the other is to dial, only when it has
/// not. Begins again when the peer is called elsewhere.
async fn call(
    shared: &Shared,
    link: &Link,
    after: Duration,
    polite: bool,
) -> Result<Connection, String> {
    let stopping = || "shutting down".to_string();
    tokio::time::sleep(after).await;
    let mut faults = link.faults.subscribe();
    let mut reach = link.reach.subscribe();
    loop {
        let open = faults.wait_for(|fault| fault.cut != Cut::Both).await;
        open.map_err(|_| stopping())?;
        if polite {
            tokio::time::sleep(CALL_AFTER).await;
            if link.faults.get().cut == Cut::Both {
                continue;
            }
        }
        let called = reach.wait_for(|reach| reach.calls).await;
        let address = called.map_err(|_| stopping())?.address.clone();
        tokio::select! {
            dialled = timeout(HANDSHAKE_TIMEOUT, dial(shared, link, &address)) => {
                return dialled.unwrap_or_else(|_elapsed| Err("no answer".to_string()));
            }
            changed = reach.changed() => changed.map_err(|_| stopping())?,
        }
    }
}

async fn dial(shared: &Shared, link: &Link, address: &str) -> Result<Connection, String> {
    let address = tokio::net::lookup_host(address)
        .await
        .map_err(|error| format!("'{address}' cannot be resolved: {error}"))?
        .next()
        .ok_or_else(|| format!("'{address}' has no address"))?;
    let name = identity::dns_name(&shared.cluster_id, &link.name);
    let config = shared.client_config();
    let connecting = shared.endpoint.connect_with(config, address, &name);
    let connecting = connecting.map_err(|error| error.to_string())?;
    let failed = |error| shared.failed(Some(link.id), &error);
    connecting.await.map_err(failed)
}

async fn run_session(
    shared: &Shared,
    link: &Link,
    connection: Connection,
    superseded: &mut mpsc::Receiver<Connection>,
) -> (String, Option<Connection>) {
    let faults = link.faults.subscribe();
    if faults.borrow().cut == Cut::Both {
        return (close(&connection, "cut by command"), None);
    }
    let around = Surroundings {
        peer: link.id,
        faults,
        events: &shared.events,
        shutdown: &link.gone,
    };
    let (reason, next) = session::run(connection.clone(), around, superseded).await;
    // A dialler is refused after it believes to be connected (TLS 1.3 checks its certificate last).
    if let Some(error) = connection.close_reason() {
        shared.failed(Some(link.id), &error);
    }
    debug!(peer = link.name, reason, "session ended");
    (reason, next)
}

/// Takes connections, each in its own task until it is known whose it is.
async fn accept(shared: Arc<Shared>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let last_refusal = Arc::new(Mutex::new(String::new()));
    loop {
        let incoming = tokio::select! {
            () = shared.shutdown.cancelled() => return,
            incoming = shared.endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else {
            return;
        };
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let shared = Arc::clone(&shared);
        let last_refusal = Arc::clone(&last_refusal);
        tokio::spawn(async move {
            let from = incoming.remote_address();
            if let Err(reason) = admit(&shared, incoming).await {
                // Dialling peers insist: say each trouble once, not every second.
                let mut last = last_refusal.lock().unwrap_or_else(PoisonError::into_inner);
                if *last != reason {
                    warn!(%from, reason, "connection refused");
                    *last = reason;
                }
            }
            drop(permit);
        });
    }
}

async fn admit(shared: &Shared, incoming: Incoming) -> Result<(), String> {
    let from = shared.peer_at(incoming.remote_address());
    let connection = match timeout(HANDSHAKE_TIMEOUT, incoming).await {
        Ok(connection) => connection.map_err(|error| shared.failed(from, &error))?,
        Err(_elapsed) => return Err("the handshake took too long".to_string()),
    };
    let Some(link) = identify(shared, &connection) else {
        let reason = "the certificate names no region of this cluster";
        let noted = format!("this region refused it: {reason}");
        shared.refusals.note(None, noted);
        return Err(refuse(&connection, reason));
    };
    if link.id > shared.region && link.outgoing().is_some() {
        close(&connection, "there is a session already");
        return Ok(());
    }
    if link.faults.get().cut == Cut::Both {
        close(&connection, "cut by command");
        return Ok(());
    }
    link.accepted
        .send(connection)
        .await
        .map_err(|_closed| "shutting down".to_string())
}

/// Whose certificate the other side showed. TLS has checked its signature, not its name.
fn identify(shared: &Shared, connection: &Connection) -> Option<Arc<Link>> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let certificate = chain.first()?;
    let of = |link: &Arc<Link>| identity::names(certificate, &shared.cluster_id, &link.name);
    shared.links.all().into_iter().find(of)
}
