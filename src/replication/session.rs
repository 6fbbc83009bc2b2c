//! What is known of one connected peer. Dropped when the connection is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::window::Window;
use super::wire::{Echo, Heartbeat};
use super::{BATCH_BYTES_MAX, PATIENCE_US};
use crate::clock::Now;
use crate::replica::mutation::{Frontier, LogId};

/// Doublings of the wait for an acknowledgement while none comes: up to 16 s.
const BACKOFF_MAX: u32 = 4;

/// Pushed commits that the peer has not acknowledged.
#[derive(Debug)]
struct Shipment {
    log: LogId,
    last_seq: u64,
    bytes: usize,
}

/// What the send side learnt from an acknowledgement timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    No,
    /// The peer hears us but acknowledges nothing.
    Stalled,
    /// The peer does not hear us either: sending more would be wasted.
    Unheard,
}

/// One connection to one peer.
#[derive(Debug)]
pub(super) struct Session {
    /// The peer's `Hello` was accepted.
    pub established: bool,
    /// The peer has accepted ours.
    pub confirmed: bool,
    /// The peer lacks nothing that it knows of.
    pub whole: bool,
    /// The epoch of the members that the peer goes by.
    pub epoch: u64,
    /// The peer lapsed, and has handed over all it had.
    pub is_clean: bool,
    /// Where each log begins that the peer said does not reach back far enough for us.
    pub starts: BTreeMap<LogId, u64>,
    /// When the peer was last told that a log does not reach back far enough.
    pub gone_sent_us: BTreeMap<LogId, u64>,
    pub hello_sent_us: u64,
    pub heartbeat_sent_us: Option<u64>,
    /// Sent so far.
    pub heartbeats: u64,
    /// The peer's durable frontier.
    pub frontier: Frontier,
    /// Logs of which the peer sent something that is not durable here yet.
    pub ack_due: BTreeSet<LogId>,
    pub rtt_us: Option<u64>,
    /// What waits to be sent to the peer, as last looked at.
    pub queued_bytes: usize,
    /// Next seq to push, per log; where absent, the one after the peer's frontier.
    next: BTreeMap<LogId, u64>,
    shipments: VecDeque<Shipment>,
    shipped_bytes: usize,
    window: Window,
    backoff: u32,
    /// When the peer last acknowledged something shipped, or shipping began.
    progress_us: u64,
    /// The peer's newest `sent_us`, and when it came.
    heard: Option<(u64, u64)>,
    /// Our newest `sent_us` that the peer echoed, and when the echo came.
    echoed: Option<(u64, u64)>,
    unheard: bool,
}

impl Session {
    pub fn new(now: Now) -> Self {
        Session {
            established: false,
            confirmed: false,
            whole: false,
            epoch: 0,
            is_clean: false,
            starts: BTreeMap::new(),
            gone_sent_us: BTreeMap::new(),
            hello_sent_us: now.mono_us,
            heartbeat_sent_us: None,
            heartbeats: 0,
            frontier: Frontier::new(),
            ack_due: BTreeSet::new(),
            rtt_us: None,
            queued_bytes: 0,
            next: BTreeMap::new(),
            shipments: VecDeque::new(),
            shipped_bytes: 0,
            window: Window::new(now.mono_us),
            backoff: 0,
            progress_us: now.mono_us,
            heard: None,
            echoed: None,
            unheard: false,
        }
    }

    /// Both sides have accepted each other's `Hello`.
    pub fn open(&self) -> bool {
        self.established && self.confirmed
    }

    /// How long to wait for anything from this peer before believing it lost: 2 RTT + 1 s.
    pub fn patience_us(&self) -> u64 {
        PATIENCE_US.saturating_add(self.rtt_us.unwrap_or(0).saturating_mul(2))
    }

    pub fn acked(&self, log: LogId) -> u64 {
        self.frontier.get(&log).copied().unwrap_or(0)
    }

    /// Whether the peer has commit `seq` of `log` and is not known to have dropped it.
    pub fn can_send(&self, log: LogId, seq: u64) -> bool {
        let start = self.starts.get(&log).copied().unwrap_or(0);
        self.open() && self.acked(log) >= seq && start <= seq
    }

    /// The next seq to push; never one that the peer has acknowledged.
    pub fn next(&self, log: LogId) -> u64 {
        let after_acked = self.acked(log).saturating_add(1);
        self.next
            .get(&log)
            .map_or(after_acked, |next| after_acked.max(*next))
    }

    /// How much may be read and pushed now; `None` when the window is full.
    pub fn room(&self) -> Option<usize> {
        let window = self.window.bytes();
        (self.shipped_bytes < window).then(|| BATCH_BYTES_MAX.min(window))
    }

    /// Sent and not acknowledged.
    pub fn unacked_bytes(&self) -> usize {
        self.shipped_bytes
    }

    /// Notes that the commits of `log` up to `last_seq` are on their way.
    pub fn shipped(&mut self, now: Now, log: LogId, last_seq: u64, bytes: usize) {
        assert!(
            last_seq >= self.next(log),
            "a push must move the cursor of {log:?} forward"
        );
        if self.shipments.is_empty() {
            self.progress_us = now.mono_us;
            self.window.begin(now.mono_us);
        }
        self.next.insert(log, last_seq.saturating_add(1));
        self.shipments.push_back(Shipment {
            log,
            last_seq,
            bytes,
        });
        self.shipped_bytes += bytes;
    }

    /// Takes in entries of the peer's durable frontier. Entries never go down: an old one is a late frame.
    pub fn acknowledge(&mut self, now: Now, frontier: &Frontier) {
        for (log, seq) in frontier {
            let known = self.frontier.entry(*log).or_insert(0);
            *known = (*known).max(*seq);
        }
        let (before, before_bytes) = (self.shipments.len(), self.shipped_bytes);
        let acked = &self.frontier;
        self.shipments
            .retain(|s| acked.get(&s.log).is_none_or(|seq| *seq < s.last_seq));
        self.recount();
        if self.shipments.len() < before {
            self.progress_us = now.mono_us;
            self.backoff = 0;
            let bytes = before_bytes.saturating_sub(self.shipped_bytes);
            let rtt_us = self.rtt_us.unwrap_or(0);
            self.window.acknowledged(now.mono_us, bytes, rtt_us);
        }
    }

    /// The peer misses the commits of `log` from seq `from` on: push them again.
    pub fn rewind_log(&mut self, log: LogId, from: u64) {
        self.next.insert(log, from);
        self.shipments.retain(|s| s.log != log || s.last_seq < from);
        self.recount();
    }

    /// Nothing that is on its way will arrive: push again from what the peer acknowledged.
    pub fn rewind(&mut self, now: Now) {
        crate::mark!("rewind");
        self.next.clear();
        self.shipments.clear();
        self.recount();
        self.progress_us = now.mono_us;
        self.window.stalled(now.mono_us, self.backoff);
    }

    /// Whether an acknowledgement is overdue. A stalled session is rewound, with a smaller window and
    /// a longer wait each time, so that a slow link is not fed faster than it drains.
    pub fn overdue(&mut self, now: Now) -> Overdue {
        let wait_us = self.patience_us().saturating_mul(1 << self.backoff);
        if self.shipments.is_empty() || now.mono_us.saturating_sub(self.progress_us) < wait_us {
            return Overdue::No;
        }
        let echoed_us = self.echoed.map_or(0, |(_, at_us)| at_us);
        if now.mono_us.saturating_sub(echoed_us) > self.patience_us() {
            crate::mark!("unheard");
            self.unheard = true;
            return Overdue::Unheard;
        }
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
        self.rewind(now);
        Overdue::Stalled
    }

    /// The echo to put into the next heartbeat.
    pub fn echo(&self, now: Now) -> Option<Echo> {
        self.heard.map(|(sent_us, at_us)| Echo {
            sent_us,
            held_us: now.mono_us.saturating_sub(at_us),
        })
    }

    /// Learns the round trip from a heartbeat. Where the peer hears us again after a silence, whatever
    /// was sent into the silence is sent again at once.
    pub fn measure(&mut self, now: Now, beat: &Heartbeat) {
        if self.heard.is_none_or(|(sent_us, _)| beat.sent_us > sent_us) {
            self.heard = Some((beat.sent_us, now.mono_us));
        }
        let Some(echo) = beat.echo else { return };
        if echo.sent_us > now.mono_us
            || self
                .echoed
                .is_some_and(|(sent_us, _)| echo.sent_us <= sent_us)
        {
            return;
        }
        self.echoed = Some((echo.sent_us, now.mono_us));
        let sample_us = (now.mono_us - echo.sent_us).saturating_sub(echo.held_us);
        self.rtt_us = Some(match self.rtt_us {
            Some(rtt_us) => (rtt_us.saturating_mul(7).saturating_add(sample_us)) / 8,
            None => sample_us,
        });
        if self.unheard {
            crate::mark!("heard again");
            self.unheard = false;
            self.backoff = 0;
            self.rewind(now);
        }
    }

    fn recount(&mut self) {
        self.shipped_bytes = self.shipments.iter().map(|s| s.bytes).sum();
    }
}
