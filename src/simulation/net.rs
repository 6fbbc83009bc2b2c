//! Connections between regions, and the links they run over.
//!
//! A link is one direction: a delay with its spread, and how many cuts lie on it. A connection is both
//! directions of a pair: while it stands, each lane delivers in order; when it dies, what is on its way is
//! lost. A cut that is shorter than a connection's patience loses frames without anyone being told.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::geography::Delay;
use super::plan::{Config, index};
use super::rng::{Chance, Rng};
use crate::replication::Lane;

/// One direction between two regions.
#[derive(Clone, Debug)]
struct Link {
    delay: Delay,
    /// The delay as it was drawn, while a detour is taken.
    direct: Delay,
    cuts: u32,
    /// Until when each lane is held up.
    clogged_us: BTreeMap<Lane, u64>,
    /// Frames sent so far: a frame's identity.
    sent: u64,
    /// When each lane's last frame has been put on the wire.
    busy_us: BTreeMap<Lane, u64>,
    /// When the last frame of each lane arrives.
    last_us: BTreeMap<Lane, u64>,
}

/// Both directions between two regions.
#[derive(Clone, Debug, Default)]
struct Connection {
    up: bool,
    /// Counts the connections there have been.
    epoch: u64,
    /// An attempt to connect is on its way.
    dialling: bool,
}

/// What one packet carries.
const PACKET_BYTES: usize = 1_200;
/// A packet that was lost so often is through: a connection is not modelled to die of loss.
const ROUNDS_MAX: u32 = 8;

impl Link {
    /// The link is another way from now on. Where that is wider, nothing waits for the narrow one any more.
    fn take(&mut self, now_us: u64, delay: Delay) -> Option<u64> {
        let before = std::mem::replace(&mut self.delay, delay).bytes_per_second;
        let after = delay.bytes_per_second;
        let is_wider = before > 0 && (after == 0 || after > before);
        let until_us = now_us + delay.base_us;
        if is_wider {
            self.busy_us.clear();
            for last_us in self.last_us.values_mut() {
                *last_us = until_us.min(*last_us);
            }
        }
        is_wider.then_some(until_us)
    }

    /// When a frame has left: after what its lane queued before it. Lanes share the bandwidth, and the more
    /// urgent goes first, at the cost of what the others have queued.
    fn transmit(&mut self, now_us: u64, lane: Lane, bytes: usize) -> u64 {
        let rate = self.delay.bytes_per_second;
        if rate == 0 {
            return now_us;
        }
        let takes_us = (index(bytes) * 1_000_000).div_ceil(rate);
        let busy_us = self.busy_us.entry(lane).or_default();
        *busy_us = now_us.max(*busy_us) + takes_us;
        let left_us = *busy_us;
        let less_urgent = (Bound::Excluded(lane), Bound::Unbounded);
        for (_, busy_us) in self.busy_us.range_mut(less_urgent) {
            *busy_us = now_us.max(*busy_us) + takes_us;
        }
        left_us
    }

    /// How long loss holds a frame up. As QUIC shows it: what is lost is found and sent again after about
    /// nine eighths of a round trip (RFC 9002, 6.1.2), and its lane waits, other lanes do not.
    fn stall_us(&self, bytes: usize, rng: impl FnOnce() -> Rng) -> u64 {
        if self.delay.loss_ppm == 0 {
            return 0;
        }
        let mut rng = rng();
        let mut packets = bytes.div_ceil(PACKET_BYTES).max(1);
        let mut rounds = 0;
        while packets > 0 && rounds < ROUNDS_MAX {
            let lost = (0..packets).filter(|_| rng.below(1_000_000) < self.delay.loss_ppm);
            packets = lost.count();
            rounds += u32::from(packets > 0);
        }
        u64::from(rounds) * 2 * self.delay.base_us * 9 / 8
    }
}

#[derive(Debug)]
pub struct Net {
    chance: Chance,
    links: BTreeMap<(usize, usize), Link>,
    connections: BTreeMap<(usize, usize), Connection>,
    duplicates: u64,
    spikes: u64,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Net {
    pub fn new(config: &Config, chance: Chance) -> Self {
        let mut net = Net {
            chance,
            links: BTreeMap::new(),
            connections: BTreeMap::new(),
            duplicates: config.duplicates,
            spikes: config.spikes,
        };
        for (from, delays) in config.delays.iter().enumerate() {
            for (to, delay) in delays.iter().enumerate().filter(|(to, _)| *to != from) {
                let link = Link {
                    delay: *delay,
                    direct: *delay,
                    cuts: 0,
                    clogged_us: BTreeMap::new(),
                    sent: 0,
                    busy_us: BTreeMap::new(),
                    last_us: BTreeMap::new(),
                };
                net.links.insert((from, to), link);
                net.connections
                    .insert(pair(from, to), Connection::default());
            }
        }
        net
    }

    /// Every pair of regions.
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        self.connections.keys().copied().collect()
    }

    /// When a frame sent now arrives: never, once or twice; and in which epoch of the connection.
    pub fn send(
        &mut self,
        now_us: u64,
        from: usize,
        to: usize,
        lane: Lane,
        bytes: usize,
    ) -> (u64, Vec<u64>) {
        let Some(connection) = self.connections.get(&pair(from, to)) else {
            return (0, Vec::new());
        };
        let (up, epoch) = (connection.up, connection.epoch);
        let (duplicates, spikes) = (self.duplicates, self.spikes);
        let Some(link) = self.links.get_mut(&(from, to)) else {
            return (0, Vec::new());
        };
        link.sent += 1;
        if !up || link.cuts > 0 {
            return (epoch, Vec::new());
        }
        let sent_us = link.transmit(now_us, lane, bytes);
        let stall_us = link.stall_us(bytes, || {
            let ids = [index(from), index(to), link.sent];
            self.chance.of("loss", &ids)
        });
        let mut rng = self
            .chance
            .of("jitter", &[index(from), index(to), link.sent]);
        let copies = if rng.per_mille(duplicates) { 2 } else { 1 };
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            // The square of an even draw: most are near the median, few are late.
            let draw = rng.below(1_000);
            let jitter_us = 2 * link.delay.spread_us * draw * draw / 1_000_000;
            let spike_us = if rng.per_mille(spikes) {
                rng.below(2_000_000)
            } else {
                0
            };
            let clogged_us = link.clogged_us.get(&lane).copied().unwrap_or(0);
            let last_us = link.last_us.entry(lane).or_default();
            *last_us = (sent_us + link.delay.base_us + stall_us + jitter_us + spike_us)
                .max(clogged_us)
                .max(*last_us);
            arrivals.push(*last_us);
        }
        (epoch, arrivals)
    }

    /// Whether a frame of that epoch may still arrive.
    pub fn delivers(&self, from: usize, to: usize, epoch: u64) -> bool {
        let stands = self
            .connections
            .get(&pair(from, to))
            .is_some_and(|c| c.up && c.epoch == epoch);
        stands && self.links.get(&(from, to)).is_some_and(|l| l.cuts == 0)
    }

    pub fn is_up(&self, a: usize, b: usize) -> bool {
        self.connections.get(&pair(a, b)).is_some_and(|c| c.up)
    }

    pub fn epoch(&self, a: usize, b: usize) -> u64 {
        self.connections.get(&pair(a, b)).map_or(0, |c| c.epoch)
    }

    pub fn is_cut(&self, a: usize, b: usize) -> bool {
        let cut = |way| self.links.get(&way).is_some_and(|l| l.cuts > 0);
        cut((a, b)) || cut((b, a))
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.cuts += 1;
        }
    }

    pub fn heal(&mut self, from: usize, to: usize) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.cuts = link.cuts.saturating_sub(1);
        }
    }

    /// A link, or every link, is as it was drawn.
    pub fn mend(&mut self, pair: Option<(usize, usize)>) {
        for ((from, to), link) in &mut self.links {
            let meant = |(a, b)| (*from, *to) == (a, b) || (*from, *to) == (b, a);
            if pair.is_none_or(meant) {
                link.cuts = 0;
                link.delay = link.direct;
            }
        }
    }

    /// Both directions together take this long.
    pub fn set_round_trip(&mut self, a: usize, b: usize, rtt_us: u64) {
        for way in [(a, b), (b, a)] {
            if let Some(link) = self.links.get_mut(&way) {
                link.delay.base_us = rtt_us / 2;
            }
        }
    }

    /// What is sent from now on in these lanes arrives after `until_us`.
    pub fn clog(&mut self, way: (usize, usize), lanes: &[Lane], until_us: u64) {
        if let Some(link) = self.links.get_mut(&way) {
            for lane in lanes {
                let clogged_us = link.clogged_us.entry(*lane).or_default();
                *clogged_us = until_us.max(*clogged_us);
            }
        }
    }

    /// The way is so much longer than it was drawn, and this narrow, or as wide as it was. Where it got
    /// wider: when what waited for it has arrived at the latest.
    pub fn reroute(
        &mut self,
        now_us: u64,
        way: (usize, usize),
        longer_us: u64,
        bytes_per_second: u64,
    ) -> Option<u64> {
        let link = self.links.get_mut(&way)?;
        let mut delay = link.direct;
        delay.base_us += longer_us;
        if bytes_per_second > 0 {
            delay.bytes_per_second = bytes_per_second;
        }
        link.take(now_us, delay)
    }

    /// Every link is whole, and no frame is doubled or late any more. The ways that got wider, and when what
    /// waited for them has arrived at the latest.
    pub fn calm(&mut self, now_us: u64) -> Vec<((usize, usize), u64)> {
        (self.duplicates, self.spikes) = (0, 0);
        let mut wider = Vec::new();
        for (way, link) in &mut self.links {
            link.cuts = 0;
            link.clogged_us.clear();
            let until_us = link.take(now_us, link.direct);
            wider.extend(until_us.map(|until_us| (*way, until_us)));
        }
        wider
    }

    /// The connection dies. True if it stood.
    pub fn down(&mut self, a: usize, b: usize) -> bool {
        let connection = self.connections.get_mut(&pair(a, b));
        connection.is_some_and(|c| std::mem::replace(&mut c.up, false))
    }

    /// Whether someone should dial: nobody does yet, and no connection stands.
    pub fn begin_dial(&mut self, a: usize, b: usize) -> bool {
        let connection = self.connections.get_mut(&pair(a, b));
        connection.is_some_and(|c| !c.up && !std::mem::replace(&mut c.dialling, true))
    }

    /// The attempt ended.
    pub fn end_dial(&mut self, a: usize, b: usize, connected: bool) {
        if let Some(connection) = self.connections.get_mut(&pair(a, b)) {
            connection.dialling = false;
            connection.up = connected;
            connection.epoch += u64::from(connected);
        }
        if connected {
            for way in [(a, b), (b, a)] {
                if let Some(link) = self.links.get_mut(&way) {
                    link.last_us.clear();
                    link.busy_us.clear();
                }
            }
        }
    }
}
