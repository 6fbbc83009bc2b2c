//! The sending end: our own logs to every peer, other logs to whoever wants them.

use super::replicator::{Replicator, Scene};
use super::session::Overdue;
use super::wire::Message;
use super::{BATCH_BYTES_MAX, CREDIT_BYTES_MAX, Lane};
use crate::clock::RegionId;
use crate::maybe;
use crate::replica::mutation::LogId;
use crate::store::StoreError;

/// Consecutive commits of one log.
struct Run {
    first_seq: u64,
    last_seq: u64,
    bytes: usize,
    commits: Vec<Vec<u8>>,
}

impl Replicator {
    /// Pushes to `peer` what it lacks of our own logs, as far as its window allows.
    pub(super) fn push(&mut self, scene: &mut Scene<'_>, peer: RegionId) -> Result<(), StoreError> {
        let Some(session) = self.sessions.get(&peer) else {
            return Ok(());
        };
        let logs: Vec<LogId> = (self.durable.iter())
            .filter(|(log, seq)| self.is_own(**log) && session.next(**log) <= **seq)
            .filter(|(log, _)| log.group.contains(peer))
            .map(|(log, _)| *log)
            .collect();
        // A batch of each log in turn, so that a busy group does not starve another.
        loop {
            let mut pushed = false;
            for log in &logs {
                pushed |= self.push_batch(scene, peer, *log)?;
            }
            if !pushed {
                return Ok(());
            }
        }
    }

    fn push_batch(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        log: LogId,
    ) -> Result<bool, StoreError> {
        let Some(session) = self.sessions.get(&peer).filter(|s| s.open()) else {
            return Ok(false);
        };
        let Some(room) = session.room() else {
            return Ok(false);
        };
        if maybe!("full window", self.config.region, peer, scene.now) {
            return Ok(false);
        }
        let next = session.next(log);
        let Some(run) = self.run_of(scene, log, next, room)? else {
            self.say_if_gone(scene, peer, log, next)?;
            return Ok(false);
        };
        let (last_seq, bytes) = (run.last_seq, run.bytes);
        self.send_run(scene, peer, log, run, false);
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.shipped(scene.now, log, last_seq, bytes);
        }
        Ok(true)
    }

    /// The durable commits of `log` from seq `from` on, at least one; `None` when there is none.
    fn run_of(
        &self,
        scene: &Scene<'_>,
        log: LogId,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<Run>, StoreError> {
        let durable = self.durable_seq(log);
        if from == 0 || from > durable {
            return Ok(None);
        }
        let short = maybe!("short batch", self.config.region, log.origin.region, from);
        let bytes_max = if short { 1 } else { bytes_max };
        let mut run = Run {
            first_seq: from,
            last_seq: from - 1,
            bytes: 0,
            commits: Vec::new(),
        };
        for (seq, sealed) in scene.shelf.read(log, from, bytes_max)? {
            // The transaction may see commits whose sync has not completed (I3).
            if seq > durable || seq != run.last_seq + 1 {
                break;
            }
            run.last_seq = seq;
            run.bytes += sealed.len();
            run.commits.push(sealed);
        }
        Ok((!run.commits.is_empty()).then_some(run))
    }

    fn send_run(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        log: LogId,
        run: Run,
        done: bool,
    ) {
        let durable = self.durable_seq(log);
        assert!(
            run.last_seq <= durable,
            "I3: {log:?} is durable up to {durable}, so {} must not be sent",
            run.last_seq
        );
        let traffic = self.traffic(peer);
        traffic.batches_sent += 1;
        traffic.commits_sent += run.last_seq + 1 - run.first_seq;
        let batch = Message::Batch {
            log,
            first_seq: run.first_seq,
            commits: run.commits,
            done,
        };
        self.send(scene, peer, Lane::Log, batch);
    }

    /// A peer asks for commits: of our own log it reports a gap, of another it wants us to relay.
    pub(super) fn on_want(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        log: LogId,
        from: u64,
        credit: u64,
    ) -> Result<(), StoreError> {
        let permitted = log.group.contains(peer) && log.group.contains(self.config.region);
        if !permitted || from == 0 {
            return Ok(());
        }
        if self.is_own(log) {
            let Some(session) = self.sessions.get_mut(&peer) else {
                return Ok(());
            };
            if from < session.next(log) {
                session.rewind_log(log, from);
            }
            self.say_if_gone(scene, peer, log, from)?;
            return self.push(scene, peer);
        }
        self.relay(scene, peer, log, from, credit)
    }

    /// Answers a `Want` from our copy of the log: the same sealed bytes, nothing kept in mind.
    fn relay(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        log: LogId,
        from: u64,
        credit: u64,
    ) -> Result<(), StoreError> {
        let credit = usize::try_from(credit)
            .unwrap_or(CREDIT_BYTES_MAX)
            .min(CREDIT_BYTES_MAX);
        let small = maybe!("small credit", self.config.region, log.origin.region, from);
        let credit = if small { 1 } else { credit };
        self.say_if_gone(scene, peer, log, from)?;
        crate::mark!("relay");
        let (mut from, mut sent) = (from, 0);
        while let Some(run) = self.run_of(
            scene,
            log,
            from,
            BATCH_BYTES_MAX.min(credit.saturating_sub(sent)),
        )? {
            sent += run.bytes;
            from = run.last_seq + 1;
            let done = sent >= credit || from > self.durable_seq(log);
            self.send_run(scene, peer, log, run, done);
            if done {
                break;
            }
        }
        Ok(())
    }

    /// Pushes again what the peer should have acknowledged by now.
    pub(super) fn push_overdue(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
    ) -> Result<(), StoreError> {
        let Some(session) = self.sessions.get_mut(&peer).filter(|s| s.open()) else {
            return Ok(());
        };
        if session.unacked_bytes() > 0
            && maybe!("impatient sender", self.config.region, peer, scene.now)
        {
            session.rewind(scene.now);
        }
        match session.overdue(scene.now) {
            Overdue::Unheard => Ok(()),
            Overdue::No => self.push(scene, peer),
            Overdue::Stalled => {
                self.traffic(peer).stalls += 1;
                self.push(scene, peer)
            }
        }
    }
}
