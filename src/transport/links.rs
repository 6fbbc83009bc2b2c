//! The ways to the peers, which come, go and move while the transport runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use quinn::Connection;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Peer;
use super::faults::{FaultSwitch, LinkFault};
use super::session::Outgoing;
use crate::clock::RegionId;

/// The state of the way to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    pub peer: RegionId,
    pub name: String,
    pub connected: bool,
    pub fault: LinkFault,
    pub queued_bytes: usize,
    /// Measured by QUIC, without injected delay.
    pub path_rtt: Option<Duration>,
    /// Why one side refused the other, last; forgotten once they are connected.
    pub refusal: Option<super::Refusal>,
}

/// Where a peer is called, if it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub address: String,
    pub calls: bool,
}

/// The way to one peer.
pub(super) struct Link {
    pub id: RegionId,
    pub name: String,
    /// Injected at first.
    pub delay: Duration,
    pub faults: FaultSwitch,
    pub reach: watch::Sender<Reach>,
    /// Ends with the transport, or when the peer is none any more.
    pub gone: CancellationToken,
    /// Takes the connections that the peer makes.
    pub accepted: mpsc::Sender<Connection>,
    outgoing: Mutex<Option<Arc<Outgoing>>>,
}

impl Link {
    fn new(peer: Peer, gone: CancellationToken) -> (Arc<Link>, mpsc::Receiver<Connection>) {
        let (accepted, receiver) = mpsc::channel(1);
        let link = Link {
            id: peer.id,
            name: peer.name,
            delay: peer.delay,
            faults: FaultSwitch::new(peer.delay),
            reach: watch::Sender::new(Reach {
                address: peer.address,
                calls: peer.calls,
            }),
            gone,
            accepted,
            outgoing: Mutex::new(None),
        };
        (Arc::new(link), receiver)
    }

    pub fn outgoing(&self) -> Option<Arc<Outgoing>> {
        self.outgoing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn switch(&self, outgoing: Option<Arc<Outgoing>>) {
        *self.outgoing.lock().unwrap_or_else(PoisonError::into_inner) = outgoing;
    }
}

/// A link that has just come, and the connections that its peer makes.
pub(super) type Fresh = (Arc<Link>, mpsc::Receiver<Connection>);

/// All links, by peer.
#[derive(Default)]
pub(super) struct Links(RwLock<BTreeMap<RegionId, Arc<Link>>>);

impl Links {
    pub fn get(&self, peer: RegionId) -> Option<Arc<Link>> {
        self.read().get(&peer).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Link>> {
        self.read().values().cloned().collect()
    }

    /// Has links to exactly these peers from now on. A peer of another name is another peer.
    pub fn set(&self, peers: Vec<Peer>, shutdown: &CancellationToken) -> Vec<Fresh> {
        let mut links = self.0.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|id, link| {
            let stays = peers.iter().any(|p| p.id == *id && p.name == link.name);
            if !stays {
                link.gone.cancel();
            }
            stays
        });
        let mut fresh = Vec::new();
        for peer in peers {
            if let Some(known) = links.get(&peer.id) {
                let reach = Reach {
                    address: peer.address,
                    calls: peer.calls,
                };
                known.reach.send_if_modified(|now| {
                    let changed = *now != reach;
                    *now = reach;
                    changed
                });
                continue;
            }
            let (link, receiver) = Link::new(peer, shutdown.child_token());
            links.insert(link.id, Arc::clone(&link));
            fresh.push((link, receiver));
        }
        fresh
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<RegionId, Arc<Link>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
