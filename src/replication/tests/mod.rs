//! Replicators over a small world: links with delay that lose, double and reorder frames, and shelves
//! instead of stores.

mod amnesia;
mod copies;
mod delivery;
mod handshake;
mod lapse;
mod membership;
mod storm;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shelf::Shelf;
use super::*;
use crate::clock::policy::{FenceLine, MAX_OFFSET_US};
use crate::clock::{Now, Stamp};
use crate::replica::manifest::Manifest;
use crate::replica::mutation::{Dot, LogId};
use crate::replica::snapshot::{At, Part};
use crate::store::StoreError;

const DELAY_US: u64 = 20_000;
const STEP_US: u64 = 10_000;
const MEMBERS: GroupId = GroupId(0b111);

/// Sealed bytes here: the dot, then some payload. And where logs begin that do not reach back to their first commit.
#[derive(Default)]
struct MemShelf(BTreeMap<LogId, Vec<Vec<u8>>>, BTreeMap<LogId, u64>);

fn seal(dot: Dot, payload: usize) -> Vec<u8> {
    bincode::encode_to_vec((dot, vec![7u8; payload]), bincode::config::standard())
        .expect("in memory")
}

impl Shelf for MemShelf {
    fn read(
        &self,
        log: LogId,
        from: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let commits = self.0.get(&log).map(Vec::as_slice).unwrap_or_default();
        let (mut out, mut bytes) = (Vec::new(), 0);
        if from < self.start(log)? {
            return Ok(out);
        }
        for (seq, sealed) in (1u64..).zip(commits).skip_while(|(seq, _)| *seq < from) {
            if !out.is_empty() && bytes + sealed.len() > bytes_max {
                break;
            }
            bytes += sealed.len();
            out.push((seq, sealed.clone()));
        }
        Ok(out)
    }

    fn start(&self, log: LogId) -> Result<u64, StoreError> {
        Ok(self.1.get(&log).copied().unwrap_or(1))
    }

    fn part(
        &self,
        _: (RegionId, RegionId),
        _: GroupId,
        _: At<'_>,
        _: usize,
    ) -> Result<Option<Part>, StoreError> {
        let logs = self.0.iter();
        Ok(Some(Part {
            frontier: logs.map(|(log, c)| (*log, c.len() as u64)).collect(),
            ..Part::default()
        }))
    }

    fn header(&self, sealed: &[u8]) -> Option<(Dot, Stamp)> {
        let decoded =
            bincode::decode_from_slice::<(Dot, Vec<u8>), _>(sealed, bincode::config::standard());
        decoded.ok().map(|((dot, _), _)| (dot, Stamp::MIN))
    }
}

struct Node {
    replicator: Replicator,
    shelf: MemShelf,
    /// Applies that wait, where `applies` is off.
    waiting: Vec<RegionId>,
    applies: bool,
    fail_next: bool,
}

#[derive(Clone, Debug)]
struct Flight {
    due_us: u64,
    from: u16,
    to: u16,
    lane: Lane,
    bytes: Vec<u8>,
}

struct World {
    now_us: u64,
    nodes: Vec<Node>,
    flights: Vec<Flight>,
    /// One-way blackholes.
    cut: Vec<(u16, u16)>,
    cut_lane: Option<Lane>,
    doubling: bool,
    disconnects: Vec<(u16, u16, String)>,
    batches: BTreeMap<(u16, u16), (usize, usize)>,
    /// The frontiers of the heartbeats from region 0.
    beats: Vec<Frontier>,
    /// By how much the clock of region 0 is ahead, and by which lines it was told to go.
    ahead_us: u64,
    fences: Vec<FenceLine>,
    /// Which regions were sent a part of a copy.
    copies: Vec<u16>,
    /// And on what base.
    bases: Vec<Frontier>,
    delay_us: u64,
}

fn config(region: u16) -> ReplicatorConfig {
    ReplicatorConfig {
        region: RegionId(region),
        region_name: format!("region-{region}"),
        manifest: Arc::new(Manifest::of([1; 16], MEMBERS)),
        replicate_all: true,
        origin: origin(region),
        lacks: Lacks::default(),
        part_bytes_max: PART_BYTES_MAX,
        max_offset_us: MAX_OFFSET_US,
        anti_entropy_us: ANTI_ENTROPY_US,
        silences: Silences::new(),
        limits: SilenceLimits::default(),
        // What is counted in the tests is what was written.
        compression: Compression::Never,
        vote: None,
        planted: None,
    }
}

fn origin(region: u16) -> Origin {
    Origin {
        region: RegionId(region),
        incarnation: 1,
    }
}

fn log_in(group: GroupId, region: u16) -> LogId {
    LogId {
        group,
        origin: origin(region),
    }
}

fn log_of(region: u16) -> LogId {
    log_in(MEMBERS, region)
}

impl World {
    fn new(count: u16) -> Self {
        let node = |region| Node {
            replicator: Replicator::new(config(region), Frontier::new()),
            shelf: MemShelf::default(),
            waiting: Vec::new(),
            applies: true,
            fail_next: false,
        };
        World {
            now_us: 1_000_000,
            nodes: (0..count).map(node).collect(),
            flights: Vec::new(),
            cut: Vec::new(),
            cut_lane: None,
            doubling: false,
            disconnects: Vec::new(),
            batches: BTreeMap::new(),
            beats: Vec::new(),
            ahead_us: 0,
            fences: Vec::new(),
            copies: Vec::new(),
            bases: Vec::new(),
            delay_us: DELAY_US,
        }
    }

    fn connected(count: u16) -> Self {
        World::new(count).connect()
    }

    fn connect(mut self) -> Self {
        let count = self.nodes.len() as u16;
        for a in 0..count {
            for b in a + 1..count {
                self.link(a, b, true);
            }
        }
        self.run_ms(300);
        self
    }

    fn link(&mut self, a: u16, b: u16, up: bool) {
        self.flights
            .retain(|f| (f.from, f.to) != (a, b) && (f.from, f.to) != (b, a));
        for (from, to) in [(a, b), (b, a)] {
            let peer = RegionId(to);
            self.step(
                from,
                if up {
                    Event::Up(peer)
                } else {
                    Event::Down(peer)
                },
            );
        }
    }

    fn step(&mut self, at: u16, event: Event) {
        let ahead_us = if at == 0 { self.ahead_us } else { 0 };
        let now = Now {
            wall_us: self.now_us + ahead_us,
            mono_us: self.now_us + u64::from(at) * 7,
        };
        let mut out = Vec::new();
        let node = &mut self.nodes[usize::from(at)];
        node.replicator
            .step_on(now, &node.shelf, event, &mut out)
            .expect("shelves do not fail");
        for action in out {
            self.act(at, action);
        }
    }

    fn act(&mut self, at: u16, action: Action) {
        match action {
            Action::Send(to, lane, bytes) => self.send(at, to.0, lane, bytes),
            Action::Apply { from, commits } => self.apply(at, from, commits),
            Action::Adopt(manifest) => self.step(at, Event::Members(manifest)),
            Action::Vote(_) => self.step(at, Event::Voted { ok: true }),
            Action::CutOff(_)
            | Action::Throttle(_)
            | Action::Silences(_)
            | Action::Stable(_)
            | Action::Whole(_)
            | Action::Repair(_) => {}
            Action::Fence(line) if at == 0 => self.fences.push(line),
            // The tests that need a new life begin with it.
            Action::Fence(_) | Action::Reborn { .. } => {}
            // Taken in by no shelf.
            Action::Snapshot(portion) => {
                self.copies.push(at);
                self.bases.push(portion.base);
            }
            Action::Rescue { .. } | Action::Wipe(_) => {
                unreachable!("no shelf lacks anything")
            }
            Action::Disconnect(peer, reason) => {
                self.disconnects.push((at, peer.0, reason));
                if usize::from(peer.0) < self.nodes.len() {
                    self.step(peer.0, Event::Down(RegionId(at)));
                }
            }
        }
    }

    fn send(&mut self, from: u16, to: u16, lane: Lane, bytes: Vec<u8>) {
        if lane == Lane::Log {
            let sent = self.batches.entry((from, to)).or_default();
            *sent = (sent.0 + 1, sent.1 + bytes.len());
        }
        if let (0, Ok(wire::Message::Heartbeat(beat))) = (from, wire::decode(&bytes)) {
            self.beats.push(beat.frontier);
        }
        let lost = self.cut.contains(&(from, to)) && self.cut_lane.is_none_or(|l| l == lane);
        if lost {
            return;
        }
        let flight = Flight {
            due_us: self.now_us + self.delay_us,
            from,
            to,
            lane,
            bytes,
        };
        if self.doubling {
            let mut late = flight.clone();
            late.due_us += 3 * self.delay_us + (late.bytes.len() as u64 % 7) * STEP_US;
            self.flights.push(late);
        }
        self.flights.push(flight);
    }

    fn apply(&mut self, at: u16, from: RegionId, commits: Vec<Vec<u8>>) {
        let node = &mut self.nodes[usize::from(at)];
        let mut ok = !std::mem::take(&mut node.fail_next);
        let commits = if ok { commits } else { Vec::new() };
        for sealed in commits {
            let dot = node.shelf.header(&sealed).expect("checked on arrival").0;
            let log = node.shelf.0.entry(dot.log).or_default();
            let applied = log.len() as u64;
            if dot.seq == applied + 1 {
                log.push(sealed);
            } else {
                ok &= dot.seq <= applied;
            }
        }
        node.waiting.push(from);
        if node.applies || !ok {
            self.settle(at, ok);
        }
    }

    /// The region's process begins anew with what is on its shelf; its connections are gone.
    fn restart(&mut self, at: u16) {
        let durable = self.frontier(at);
        let node = &mut self.nodes[usize::from(at)];
        node.replicator = Replicator::new(config(at), durable);
        node.waiting.clear();
        for peer in (0..self.nodes.len() as u16).filter(|peer| *peer != at) {
            self.link(at, peer, false);
        }
    }

    /// Ends the waiting applies and makes all durable.
    fn settle(&mut self, at: u16, ok: bool) {
        let waiting = std::mem::take(&mut self.nodes[usize::from(at)].waiting);
        self.durable(at);
        for from in waiting {
            self.step(at, Event::Applied { from, ok });
        }
    }

    fn durable(&mut self, at: u16) {
        let frontier = self.frontier(at);
        self.step(at, Event::Durable(frontier, Stamp::MIN));
    }

    fn frontier(&self, at: u16) -> Frontier {
        let logs = self.nodes[usize::from(at)].shelf.0.iter();
        logs.map(|(log, commits)| (*log, commits.len() as u64))
            .collect()
    }

    fn append(&mut self, at: u16, group: GroupId, payload: usize) {
        let log = log_in(group, at);
        let commits = self.nodes[usize::from(at)].shelf.0.entry(log).or_default();
        let seq = commits.len() as u64 + 1;
        commits.push(seal(Dot { log, seq }, payload));
    }

    fn write(&mut self, at: u16, count: usize, payload: usize) {
        for _ in 0..count {
            self.append(at, MEMBERS, payload);
        }
        self.durable(at);
    }

    fn run_ms(&mut self, ms: u64) {
        let end_us = self.now_us + ms * 1_000;
        while self.now_us < end_us {
            self.now_us += STEP_US;
            let (due, later): (Vec<Flight>, Vec<Flight>) = self
                .flights
                .drain(..)
                .partition(|f| f.due_us <= self.now_us);
            self.flights = later;
            for flight in due {
                let frame = Event::Frame(RegionId(flight.from), flight.lane, flight.bytes);
                self.step(flight.to, frame);
            }
            if self.now_us.is_multiple_of(50_000) {
                for at in 0..self.nodes.len() as u16 {
                    self.step(at, Event::Tick);
                }
            }
        }
    }

    fn has(&self, at: u16, log: LogId) -> usize {
        self.nodes[usize::from(at)]
            .shelf
            .0
            .get(&log)
            .map_or(0, Vec::len)
    }

    fn status(&self, at: u16, of: u16) -> PeerStatus {
        let status = self.nodes[usize::from(at)].replicator.status();
        status
            .into_iter()
            .find(|s| s.region.0 == of)
            .expect("is a member")
    }

    fn converged(&self) -> bool {
        let first = &self.nodes[0].shelf.0;
        self.nodes.iter().all(|n| n.shelf.0 == *first)
    }
}
