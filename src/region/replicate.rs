//! The task that keeps a region's replicator fed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::change::{Ask, Pursued};
use super::clock::RegionClock;
use super::clocks::alarm;
use super::gate::Gate;
use super::links::Downs;
use super::measure::seconds;
use super::membership;
use super::queue::{Order, Queue};
use super::silence::Quiet;
use super::writer::{AbortOnPanic, News, abort};
use crate::api::RegionInfo;
use crate::clock::RegionId;
use crate::clock::policy::Verdict;
use crate::config::Topology;
use crate::replica::manifest::{Manifest, State};
use crate::replication::{Action, ClockStatus, Event, Lane, PeerStatus, Replicator};
use crate::store::{ReadTxn, Store, StoreError};
use crate::telemetry::{Metrics, exact};
use crate::transport::{Events, Transport, TransportEvent};

const TICK: Duration = Duration::from_millis(50);
/// Transport events handled on one snapshot before the writer's news are looked at again.
const EVENTS_PER_TURN: usize = 64;

/// What the replicator last knew of the peers, for `status`.
pub(super) type Peers = Arc<Mutex<Vec<PeerStatus>>>;

/// Who the members are, as the store has it.
pub(super) type Members = Arc<Mutex<Arc<Manifest>>>;

/// The same of clocks; `None` until it has looked.
pub(super) type Clocks = Arc<Mutex<Option<ClockStatus>>>;

pub(super) struct Replication {
    pub replicator: Replicator,
    pub store: Arc<dyn Store>,
    pub clock: RegionClock,
    pub queue: Arc<Queue>,
    pub transport: Transport,
    pub events: Events,
    pub news: mpsc::UnboundedReceiver<News>,
    pub peers: Peers,
    pub downs: Arc<Downs>,
    pub metrics: Arc<Metrics>,
    /// When the applies under way were handed to the writer, by who sent them.
    pub applying: BTreeMap<RegionId, VecDeque<u64>>,
    pub gate: Arc<Gate>,
    /// The least stable stamp of all groups, microseconds; 0 = not known yet.
    pub stable_us: Arc<AtomicU64>,
    pub clocks: Clocks,
    pub members: Members,
    /// Changes of the members that somebody asks for.
    pub asks: mpsc::UnboundedReceiver<Ask>,
    pub pursued: Arc<Mutex<Pursued>>,
    /// What the operator was last told of this region's clock.
    pub told: Verdict,
    pub info: RegionInfo,
    pub quiet: Arc<Quiet>,
    /// Where members are that have no address of their own, and how far.
    pub topology: Topology,
}

impl Replication {
    /// Runs until `shutdown`. A store that cannot be read ends the process, as it does in the writer.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let _guard = AbortOnPanic("replication");
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => self.on_tick(),
                news = self.news.recv() => match news {
                    Some(news) => self.on_news(news),
                    None => return,
                },
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.on_ask(ask),
                    None => return,
                },
                event = self.events.recv() => match event {
                    Some(event) => self.on_events(event),
                    None => return,
                },
            };
            match turn {
                Ok(()) => {}
                // Nothing is written here, so nothing can be full: the next tick tries again.
                Err(full @ StoreError::Full) => warn!(reason = %full, "replication waits"),
                Err(fatal) => abort(&fatal),
            }
        }
    }

    fn on_tick(&mut self) -> Result<(), StoreError> {
        let store = Arc::clone(&self.store);
        let txn = store.begin_read()?;
        for link in self.transport.links() {
            self.step(&*txn, Event::Queued(link.peer, link.queued_bytes))?;
        }
        self.step(&*txn, Event::Tick)?;
        let peers = self.replicator.status();
        self.quiet
            .look(&peers, self.replicator.cut_off_us(), |r| self.name(r));
        self.downs
            .watch(self.clock.now(), &peers, |peer| self.name(peer));
        self.quiet.note_throttled(self.replicator.is_throttled());
        self.quiet.note_guess(self.replicator.guesses_members());
        self.quiet.note_trouble(self.replicator.ruling_trouble());
        *self.peers.lock().unwrap_or_else(PoisonError::into_inner) = peers;
        self.replicator.set_unwelcome(self.transport.is_unknown());
        self.note_pursued();
        self.gate.set(self.replicator.closed());
        let stamps = self.replicator.stability().stamps.values();
        if let Some(least) = stamps.map(|stamp| stamp.physical_us).min() {
            self.stable_us.store(least, Ordering::Relaxed);
        }
        let clocks = self.replicator.clocks();
        self.tell(clocks.judgement.verdict);
        *self.clocks.lock().unwrap_or_else(PoisonError::into_inner) = Some(clocks);
        Ok(())
    }

    /// Somebody asks for a change of the members.
    fn on_ask(&mut self, ask: Ask) -> Result<(), StoreError> {
        let now_us = self.clock.now().mono_us;
        let answer = self.replicator.wish(now_us, ask.change);
        info!(?answer, "asked for a change of the members");
        self.note_pursued();
        // Who asked may have gone: it is pursued for a while all the same.
        let _ = ask.answer.send(answer);
        Ok(())
    }

    fn note_pursued(&self) {
        let waits = self.replicator.waits().iter();
        let pursued = Pursued {
            waits: waits.map(|(r, words)| (*r, words.clone())).collect(),
            asked: self.replicator.asked(),
        };
        *self.pursued.lock().unwrap_or_else(PoisonError::into_inner) = pursued;
    }

    /// Says once what changed about the clock.
    fn tell(&mut self, verdict: Verdict) {
        let kind = std::mem::discriminant::<Verdict>;
        if kind(&self.told) == kind(&verdict) {
            return;
        }
        match verdict {
            Verdict::Good if self.told == Verdict::Unknown => {}
            Verdict::Unknown | Verdict::Good => info!("this region's clock agrees with the others"),
            Verdict::Behind { .. } | Verdict::Ahead { .. } | Verdict::Apart { .. } => {
                let alarm = alarm(verdict).unwrap_or_default();
                warn!(alarm, "this region's clock");
            }
        }
        self.told = verdict;
    }

    /// Takes all news there are, the newest frontier first: a batch is only reported applied once its
    /// commits count as durable.
    fn on_news(&mut self, first: News) -> Result<(), StoreError> {
        let mut durable = first.durable;
        let (mut applied, mut copied) = (first.applied, first.copied);
        let (mut votes, mut rescued) = (first.votes, first.rescued);
        let mut wiped = first.wiped;
        let (mut origin, mut members) = (first.origin, first.members);
        while let Ok(news) = self.news.try_recv() {
            durable = news.durable.or(durable);
            applied.extend(news.applied);
            copied.extend(news.copied);
            votes.extend(news.votes);
            rescued.extend(news.rescued);
            wiped |= news.wiped;
            origin = news.origin;
            members = news.members;
        }
        let store = Arc::clone(&self.store);
        let txn = store.begin_read()?;
        self.step(&*txn, Event::Born(origin))?;
        self.follow_members(&*txn, members)?;
        if let (true, Some((frontier, _))) = (wiped, &durable) {
            info!("this region has forgotten what it shared with others, and is given everything");
            self.step(&*txn, Event::Wiped(origin, frontier.clone()))?;
        }
        if let Some((frontier, watermark)) = durable {
            self.step(&*txn, Event::Durable(frontier, watermark))?;
        }
        for (from, ok) in applied {
            self.count_applied(from);
            self.step(&*txn, Event::Applied { from, ok })?;
        }
        for (group, ok) in copied {
            self.step(&*txn, Event::Copied { group, ok })?;
        }
        for ok in votes {
            self.step(&*txn, Event::Voted { ok })?;
        }
        for (from, outcome) in rescued {
            self.step(&*txn, Event::Rescued { from, outcome })?;
        }
        self.gate.set(self.replicator.closed());
        Ok(())
    }

    /// The store holds a newer record of the members.
    fn follow_members(
        &mut self,
        txn: &dyn ReadTxn,
        members: Arc<Manifest>,
    ) -> Result<(), StoreError> {
        if members.epoch <= self.replicator.epoch() {
            return Ok(());
        }
        let mut known = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let lapsed = |m: &Manifest| m.in_state(|state| state == State::Lapsed);
        let (before, after) = (lapsed(&known), lapsed(&members));
        for region in after.regions().filter(|r| !before.contains(*r)) {
            warn!(
                region = self.name(region),
                "a region has lapsed: the others go on without it"
            );
        }
        for region in before.regions().filter(|r| !after.contains(*r)) {
            info!(
                region = self.name(region),
                "a region that had lapsed is a member again"
            );
        }
        *known = Arc::clone(&members);
        drop(known);
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&members);
        self.info.topology.set(membership::names(&members));
        let peers = membership::peers(&members, &self.topology, self.info.id);
        self.transport.set_peers(peers);
        self.step(txn, Event::Members(members))
    }

    /// Each event's actions are done before the next event is taken: taking `Up` switches what
    /// `send` does (T2).
    fn on_events(&mut self, first: TransportEvent) -> Result<(), StoreError> {
        let store = Arc::clone(&self.store);
        let txn = store.begin_read()?;
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(event) = next.take() {
            let event = self.observe(event);
            self.step(&*txn, event)?;
            taken += 1;
            if taken < EVENTS_PER_TURN {
                next = self.events.try_recv();
            }
        }
        Ok(())
    }

    fn observe(&self, event: TransportEvent) -> Event {
        match event {
            TransportEvent::Up(peer) => {
                debug!(peer = self.name(peer), "connected");
                Event::Up(peer)
            }
            TransportEvent::Down(peer, reason) => {
                debug!(peer = self.name(peer), reason, "disconnected");
                self.downs.ended(self.clock.now(), peer, reason);
                Event::Down(peer)
            }
            TransportEvent::Frame(peer, lane, frame) => Event::Frame(peer, lane, frame),
        }
    }

    fn step(&mut self, txn: &dyn ReadTxn, event: Event) -> Result<(), StoreError> {
        let mut actions = Vec::new();
        let stepped = self
            .replicator
            .step(self.clock.now(), txn, event, &mut actions);
        for action in actions {
            match action {
                Action::Send(peer, lane, frame) => {
                    if lane == Lane::Log {
                        self.count_batch(peer, frame.len());
                    }
                    self.transport.send(peer, lane, frame);
                }
                Action::Apply { from, commits } => {
                    let handed_us = self.clock.now().mono_us;
                    self.applying.entry(from).or_default().push_back(handed_us);
                    self.queue.push_remote(Order::Remote { from, commits });
                }
                Action::Snapshot(portion) => self.queue.push_remote(Order::Snapshot(portion)),
                Action::Reborn { above } => self.queue.push_remote(Order::Reborn { above }),
                Action::Whole(group) => self.queue.push_remote(Order::Whole(group)),
                Action::Stable(found) => self.queue.set_stable(found),
                Action::Fence(line) => self.queue.set_fence(line),
                Action::CutOff(cut_off) => self.queue.set_cut_off(cut_off),
                Action::Throttle(throttled) => self.queue.set_throttled(throttled),
                Action::Rescue { from, tail } => {
                    self.queue.push_remote(Order::Rescue { from, tail });
                }
                Action::Wipe(rescued) => self.queue.push_remote(Order::Wipe(rescued)),
                Action::Silences(silences) => self.queue.set_silences(silences),
                Action::Vote(vote) => self.queue.push_remote(Order::Vote(vote)),
                Action::Adopt(manifest) => self.queue.push_remote(Order::Adopt(manifest)),
                Action::Repair(offer) => self.queue.push_repair(offer),
                Action::Disconnect(peer, reason) => {
                    debug!(peer = self.name(peer), reason, "ending the session");
                    self.transport.disconnect(peer, reason);
                }
            }
        }
        stepped
    }

    fn count_batch(&self, peer: RegionId, bytes: usize) {
        let sizes = self.metrics.batch_bytes.with(&[&self.name(peer)]);
        sizes.observe(exact(bytes as u64));
    }

    /// Applies end in the order in which they were handed over.
    fn count_applied(&mut self, from: RegionId) {
        if let Some(handed_us) = self.applying.get_mut(&from).and_then(VecDeque::pop_front) {
            let took = seconds(handed_us, self.clock.now().mono_us);
            self.metrics.apply_seconds.observe(took);
        }
    }

    fn name(&self, region: RegionId) -> String {
        self.info
            .name_of(region)
            .unwrap_or_else(|| region.to_string())
    }
}
