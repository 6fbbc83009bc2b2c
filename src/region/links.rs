//! Which links are down, since when and why: said once in the log when one goes and once when it is back, and
//! meanwhile in `status`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tracing::{info, warn};

use crate::clock::{Now, RegionId};
use crate::replication::PeerStatus;
use crate::transport::date_time;

/// A link that is back sooner was never missed: connections are replaced when certificates or addresses are.
const GRACE_US: u64 = 1_000_000;

/// A link that is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Down {
    /// When it was last up, or when this region started.
    pub since: String,
    pub for_s: u64,
    /// Why the connection ended, as far as there was one.
    pub reason: Option<String>,
    #[serde(skip)]
    began: Now,
    #[serde(skip)]
    told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Downs(Mutex<BTreeMap<RegionId, Down>>);

impl Downs {
    /// A connection with the peer ended.
    pub fn ended(&self, now: Now, peer: RegionId, reason: String) {
        let mut downs = self.lock();
        let down = downs.entry(peer).or_insert_with(|| Down::began(now));
        down.reason = Some(reason);
    }

    /// Looks at all links, and says what changed.
    pub fn watch(&self, now: Now, peers: &[PeerStatus], name: impl Fn(RegionId) -> String) {
        let mut downs = self.lock();
        for peer in peers {
            let region = peer.region;
            if peer.connected {
                match downs.remove(&region) {
                    Some(down) if down.told => {
                        let down_s = down.for_us(now) / 1_000_000;
                        info!(peer = name(region), down_s, "the link is back");
                    }
                    Some(Down { reason: None, .. }) => info!(peer = name(region), "connected"),
                    Some(_) | None => {}
                }
                continue;
            }
            let down = downs.entry(region).or_insert_with(|| Down::began(now));
            if !down.told && down.for_us(now) >= GRACE_US {
                down.told = true;
                let reason = down.reason.as_deref().unwrap_or("not connected yet");
                warn!(peer = name(region), reason, "the link is down");
            }
        }
    }

    /// How long the link has been down, if that was said.
    pub fn of(&self, now: Now, peer: RegionId) -> Option<Down> {
        let down = self.lock().get(&peer).filter(|down| down.told).cloned();
        down.map(|down| Down {
            for_s: down.for_us(now) / 1_000_000,
            ..down
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RegionId, Down>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Down {
    fn began(began: Now) -> Self {
        Down {
            since: date_time(began.wall_us / 1_000_000),
            for_s: 0,
            reason: None,
            began,
            told: false,
        }
    }

    fn for_us(&self, now: Now) -> u64 {
        now.mono_us.saturating_sub(self.began.mono_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: RegionId = RegionId(1);

    fn at(s: u64) -> Now {
        Now {
            wall_us: 1_800_000_000_000_000 + s * 1_000_000,
            mono_us: s * 1_000_000,
        }
    }

    fn peer(connected: bool) -> PeerStatus {
        PeerStatus {
            region: PEER,
            connected,
            frontier: Default::default(),
            watermark: None,
            behind: 0,
            rtt_us: None,
            offset: None,
            last_heard_us: None,
            silent_us: 0,
            traffic: Default::default(),
        }
    }

    #[test]
    fn a_link_is_down_from_when_it_went_until_it_is_back() {
        let downs = Downs::default();
        let watch = |s, up| downs.watch(at(s), &[peer(up)], |_| "eu-west-1".into());
        watch(1, true);
        assert_eq!(downs.of(at(1), PEER), None);
        downs.ended(at(2), PEER, "timed out".into());
        watch(2, false);
        assert_eq!(downs.of(at(2), PEER), None, "it may be back at once");
        watch(9, false);
        downs.ended(at(10), PEER, "refused".into());
        let down = downs.of(at(62), PEER).expect("down");
        assert_eq!(down.for_s, 60);
        assert_eq!(down.since, date_time(1_800_000_002));
        assert_eq!(down.reason.as_deref(), Some("refused"), "the last one");
        watch(63, true);
        assert_eq!(downs.of(at(63), PEER), None);
    }
}
