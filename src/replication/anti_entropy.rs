//! Anti-entropy: the smoke detector behind delivery (replication.md section 9).
//!
//! Every so often a region sends each peer the 256 group sums of every table they share. The peer answers
//! with its sums of the buckets in groups that differ. What differs is looked at a second time a little
//! later, as hot buckets always differ for a moment; of buckets that differ twice the peer is asked for its
//! items, and the replica decides which of them were lost (`Replica::repair`). Both sides do so for
//! themselves. Suspect buckets, whose items are not what was written here, are asked for at once.
//!
//! A frame that is lost costs a round.

use std::collections::{BTreeMap, BTreeSet};

use super::replicator::{Replicator, Scene};
use super::wire::{Asked, Message};
use super::{Action, Lane};
use crate::clock::RegionId;
use crate::maybe;
use crate::replica::buckets::{self, GROUPS, Offer};
use crate::replica::catalog::TableUid;
use crate::store::{ReadTxn, StoreError};

/// Between two rounds with one peer.
pub const ANTI_ENTROPY_US: u64 = 600_000_000;
/// Between the two looks of one round.
const CONFIRM_US: u64 = 2_000_000;
/// Between two looks for suspect buckets.
const SUSPECTS_US: u64 = 1_000_000;
/// Buckets that are asked for at once.
const ASKED_MAX: usize = 64;
/// What an offer holds at most, though it always holds one row.
const OFFER_BYTES_MAX: usize = 1024 * 1024;

/// What one region knows of its differences.
#[derive(Debug, Default)]
pub(super) struct AntiEntropy {
    /// Per peer, when its last round began.
    rounds: BTreeMap<RegionId, u64>,
    /// What differed at the first look, and when that was; `None` = the second is under way.
    doubts: BTreeMap<(RegionId, TableUid), (Option<u64>, BTreeSet<u16>)>,
    suspects_us: u64,
    /// Counts asks for suspects, so that peers take turns.
    asks: usize,
}

impl Replicator {
    /// Begins what is due.
    pub(super) fn compare(&mut self, scene: &mut Scene<'_>) -> Result<(), StoreError> {
        let Some(txn) = scene.shelf.txn() else {
            return Ok(());
        };
        // What is still being rebuilt differs from everything.
        if self.rebuilding().is_some() {
            return Ok(());
        }
        let now_us = scene.now.mono_us;
        let open = self.sessions.iter().filter(|(_, session)| session.open());
        let peers: Vec<RegionId> = open.map(|(peer, _)| *peer).collect();
        for peer in &peers {
            let begun = self.differences.rounds.entry(*peer).or_insert(now_us);
            let early = maybe!("early comparison", self.config.region, *peer, scene.now);
            let every_us = self.config.anti_entropy_us / if early { 8 } else { 1 };
            if now_us.saturating_sub(*begun) < every_us {
                continue;
            }
            *begun = now_us;
            self.differences.doubts.retain(|(with, _), _| with != peer);
            for table in buckets::shared_tables(txn, self.config.region, *peer)? {
                self.send_sums(scene, txn, *peer, table)?;
            }
        }
        let mut second = Vec::new();
        for ((peer, table), (first_us, _)) in &mut self.differences.doubts {
            let due = |us: u64| now_us.saturating_sub(us) >= CONFIRM_US;
            if first_us.is_some_and(due) {
                *first_us = None;
                second.push((*peer, *table));
            }
        }
        for (peer, table) in second {
            self.send_sums(scene, txn, peer, table)?;
        }
        self.ask_for_suspects(scene, txn, &peers)
    }

    fn send_sums(
        &mut self,
        scene: &mut Scene<'_>,
        txn: &dyn ReadTxn,
        peer: RegionId,
        table: TableUid,
    ) -> Result<(), StoreError> {
        let groups = buckets::group_sums(txn, table)?;
        let message = Message::Sums { table, groups };
        self.send(scene, peer, Lane::Log, message);
        Ok(())
    }

    fn ask_for_suspects(
        &mut self,
        scene: &mut Scene<'_>,
        txn: &dyn ReadTxn,
        peers: &[RegionId],
    ) -> Result<(), StoreError> {
        let now_us = scene.now.mono_us;
        if now_us.saturating_sub(self.differences.suspects_us) < SUSPECTS_US {
            return Ok(());
        }
        self.differences.suspects_us = now_us;
        for (table, bucket) in buckets::suspects(txn, ASKED_MAX)? {
            let mut able = Vec::new();
            for peer in peers {
                let shared = buckets::shared_tables(txn, self.config.region, *peer)?;
                able.extend(shared.contains(&table).then_some(*peer));
            }
            self.differences.asks = self.differences.asks.wrapping_add(1);
            crate::mark!("suspect asked");
            let turn = self.differences.asks.checked_rem(able.len()).unwrap_or(0);
            if let Some(peer) = able.get(turn) {
                self.ask_items(scene, *peer, table, vec![(bucket, None)]);
            }
        }
        Ok(())
    }

    fn ask_items(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        table: TableUid,
        buckets: Vec<Asked>,
    ) {
        let ask = Message::AskItems {
            table,
            buckets,
            asked_us: scene.now.mono_us,
        };
        self.send(scene, peer, Lane::Log, ask);
    }

    /// A peer's group sums: answers with the sums of the buckets in groups that differ.
    pub(super) fn on_sums(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        table: TableUid,
        theirs: &[u128],
    ) -> Result<(), StoreError> {
        let Some(txn) = self.shared(scene, peer, table)? else {
            return Ok(());
        };
        let ours = buckets::group_sums(txn, table)?;
        let differ = ours.iter().zip(theirs).map(|(a, b)| a != b);
        let differ: Vec<bool> = differ.collect();
        if differ.len() != GROUPS {
            return Ok(());
        }
        let message = Message::BucketSums {
            table,
            buckets: buckets::sums_in(txn, table, &differ)?,
            differ,
        };
        self.send(scene, peer, Lane::Log, message);
        Ok(())
    }

    /// A peer's sums of the buckets in groups that differ.
    pub(super) fn on_bucket_sums(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        table: TableUid,
        groups: &[bool],
        theirs: &BTreeMap<u16, u128>,
    ) -> Result<(), StoreError> {
        let Some(txn) = self.shared(scene, peer, table)? else {
            return Ok(());
        };
        let ours = buckets::sums_in(txn, table, groups)?;
        let inside = |bucket: &u16| groups.get(usize::from(bucket >> 8)) == Some(&true);
        let all: BTreeSet<u16> = ours.keys().chain(theirs.keys()).copied().collect();
        let differ: BTreeSet<u16> = (all.into_iter().filter(inside))
            .filter(|bucket| ours.get(bucket) != theirs.get(bucket))
            .collect();
        let doubts = &mut self.differences.doubts;
        match doubts.remove(&(peer, table)) {
            Some((None, before)) => {
                let both = differ.intersection(&before).take(ASKED_MAX);
                let buckets: Vec<_> = both.map(|bucket| (*bucket, None)).collect();
                if !buckets.is_empty() {
                    crate::mark!("difference confirmed");
                    self.ask_items(scene, peer, table, buckets);
                }
            }
            _ if differ.is_empty() => {}
            _ => {
                let first_us = Some(scene.now.mono_us);
                doubts.insert((peer, table), (first_us, differ));
            }
        }
        Ok(())
    }

    /// A peer asks for the items of buckets.
    pub(super) fn on_ask_items(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        (table, buckets): (TableUid, Vec<Asked>),
        asked_us: u64,
    ) -> Result<(), StoreError> {
        let Some(txn) = self.shared(scene, peer, table)? else {
            return Ok(());
        };
        let bytes_max = self.config.part_bytes_max.min(OFFER_BYTES_MAX);
        for (bucket, after) in buckets.into_iter().take(ASKED_MAX) {
            let offer = buckets::offer(txn, (table, bucket), after, asked_us, bytes_max)?;
            self.send(scene, peer, Lane::Log, Message::Items(offer));
        }
        Ok(())
    }

    /// A peer's items, asked for: where the bucket has more, they are asked for next.
    pub(super) fn on_items(&mut self, scene: &mut Scene<'_>, peer: RegionId, offer: Offer) {
        if self.rebuilding().is_some() {
            return;
        }
        if offer.next > offer.after {
            let rest = vec![(offer.bucket, offer.next.clone())];
            self.ask_items(scene, peer, offer.table, rest);
        }
        if !offer.items.is_empty() {
            scene.out.push(Action::Repair(offer));
        }
    }

    /// The store, if it is there and whole, and both have the table.
    fn shared<'s>(
        &self,
        scene: &Scene<'s>,
        peer: RegionId,
        table: TableUid,
    ) -> Result<Option<&'s dyn ReadTxn>, StoreError> {
        let Some(txn) = scene.shelf.txn().filter(|_| self.rebuilding().is_none()) else {
            return Ok(None);
        };
        let shared = buckets::shared_tables(txn, self.config.region, peer)?;
        Ok(shared.contains(&table).then_some(txn))
    }
}
