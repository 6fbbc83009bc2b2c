//! Measures a run for its figures. Looks only: nothing that happens depends on it.

use std::collections::{BTreeMap, BTreeSet};

use super::cost;
use super::figures::{ConflictCount, ConflictSample, Side};
use super::load::Way;
use super::plan::{Operation, OperationKind};
use super::watch::Watched;
use super::workload;
use crate::clock::RegionId;
use crate::item::codec;
use crate::replica::conflict::Conflict;
use crate::replica::mutation::{Dot, ItemKey, RankKind};
use crate::replication::Lane;
use crate::replication::wire::{self, Message};

/// Conflicts that are shown with both versions.
const SAMPLES_MAX: usize = 12;

/// A commit on its way to everyone.
#[derive(Debug)]
pub struct Trip {
    pub origin: usize,
    pub made_us: u64,
    /// Regions that do not have it yet.
    left: usize,
    pub done_us: Option<u64>,
}

/// One commit became visible in one region.
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    pub from: usize,
    pub to: usize,
    pub at_us: u64,
    pub lag_us: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    pub frames: u64,
    pub bytes: u64,
    pub dropped: u64,
    pub commits: u64,
    /// Of those, commits of another region than the one that sends them.
    pub relayed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub latencies_us: Vec<u64>,
    pub refused: u64,
}

/// What was measured. Empty unless it is `on`.
#[derive(Debug, Default)]
pub struct Meter {
    pub on: bool,
    pub names: Vec<String>,
    pub trips: BTreeMap<Dot, Trip>,
    pub lags: Vec<Lag>,
    /// At these instants, so many commits were missing somewhere.
    pub backlog: Vec<(u64, u64)>,
    missing: u64,
    pub carried: BTreeMap<(usize, usize, Lane), Carried>,
    /// By region and class of operation.
    pub asked: BTreeMap<(usize, &'static str), Asked>,
    pub asked_us: Vec<u64>,
    /// The same, by the region whose client asked.
    pub asked_in: BTreeMap<usize, Vec<u64>>,
    pub refused_us: Vec<u64>,
    pending: BTreeMap<u64, u64>,
    pub conflicts_us: Vec<u64>,
    pub conflicts: BTreeMap<(String, String, &'static str), ConflictCount>,
    pairs: BTreeSet<(ItemKey, Dot, Dot)>,
    pub samples: Vec<ConflictSample>,
    pub offsets: BTreeMap<usize, Vec<(u64, i64)>>,
    /// Items of a transaction, for what DynamoDB would count.
    pub cohort_keys: u32,
    pub write_units: BTreeMap<usize, u64>,
    pub watched: Watched,
}

fn at(region: RegionId) -> usize {
    usize::from(region.0)
}

/// What kind of operation it is, as clients see it.
fn class(kind: &OperationKind) -> &'static str {
    match kind {
        OperationKind::Read { .. } => "read",
        OperationKind::ReadCohort { .. } => "read_cohort",
        OperationKind::Transaction { .. } => "transaction",
        OperationKind::CreateIndex | OperationKind::DeleteIndex => "index",
        _ => "write",
    }
}

impl Meter {
    pub fn new(names: Vec<String>) -> Self {
        Meter {
            names,
            ..Meter::default()
        }
    }

    pub fn made(&mut self, now_us: u64, dot: Dot) {
        if !self.on {
            return;
        }
        let left = self.names.len().saturating_sub(1);
        let trip = Trip {
            origin: at(dot.log.origin.region),
            made_us: now_us,
            left,
            done_us: None,
        };
        self.trips.insert(dot, trip);
        self.missing += u64::try_from(left).unwrap_or(0);
        self.backlog.push((now_us, self.missing));
    }

    pub fn applied(&mut self, now_us: u64, region: RegionId, dot: Dot) {
        if !self.on {
            return;
        }
        let Some(trip) = self.trips.get_mut(&dot) else {
            return;
        };
        trip.left = trip.left.saturating_sub(1);
        trip.done_us = (trip.left == 0).then_some(now_us);
        self.missing = self.missing.saturating_sub(1);
        self.backlog.push((now_us, self.missing));
        self.lags.push(Lag {
            from: trip.origin,
            to: at(region),
            at_us: now_us,
            lag_us: now_us.saturating_sub(trip.made_us),
        });
    }

    pub fn sent(&mut self, from: usize, to: usize, lane: Lane, frame: &[u8], arrives: bool) {
        if !self.on {
            return;
        }
        let carried = self.carried.entry((from, to, lane)).or_default();
        carried.frames += 1;
        carried.bytes += u64::try_from(frame.len()).unwrap_or(0);
        carried.dropped += u64::from(!arrives);
        if let (Lane::Log, Ok(Message::Batch { log, commits, .. })) = (lane, wire::decode(frame)) {
            let count = u64::try_from(commits.len()).unwrap_or(0);
            carried.commits += count;
            carried.relayed += count * u64::from(at(log.origin.region) != from);
        }
    }

    pub fn ask(&mut self, now_us: u64, operation: &Operation) {
        if self.on {
            self.pending.insert(operation.id, now_us);
            self.asked_us.push(now_us);
            let home = operation.way.map_or(operation.region, |way| way.from);
            self.asked_in.entry(home).or_default().push(now_us);
        }
    }

    /// It was answered, or refused. What is still pending at the end died with its region.
    pub fn answer(&mut self, now_us: u64, operation: &Operation, ok: bool) {
        let Some(asked_us) = self.pending.remove(&operation.id) else {
            return;
        };
        let way = operation.way.unwrap_or(Way {
            from: operation.region,
            rtt_us: 0,
        });
        let key = (way.from, class(&operation.kind));
        let asked = self.asked.entry(key).or_default();
        if ok {
            let (here, elsewhere) = cost::write_units(operation, self.cohort_keys);
            for region in 0..self.names.len() {
                let own = region == operation.region;
                *self.write_units.entry(region).or_default() += if own { here } else { elsewhere };
            }
            let took_us = now_us.saturating_sub(asked_us);
            asked.latencies_us.push(took_us + way.rtt_us);
        } else {
            asked.refused += 1;
            self.refused_us.push(now_us);
        }
    }

    pub fn conflict(&mut self, now_us: u64, region: RegionId, conflict: &Conflict) {
        if !self.on {
            return;
        }
        let name = |dot: Dot| {
            self.names
                .get(at(dot.log.origin.region))
                .cloned()
                .unwrap_or_default()
        };
        let (winner, loser) = (name(conflict.winner.dot), name(conflict.loser.dot));
        let cause = cause(conflict);
        let pair = (
            conflict.key.clone(),
            conflict.winner.dot,
            conflict.loser.dot,
        );
        let first = self.pairs.insert(pair);
        if first {
            self.conflicts_us.push(now_us);
        }
        let key = (winner.clone(), loser.clone(), cause);
        let count = self.conflicts.entry(key).or_insert_with(|| ConflictCount {
            winner: winner.clone(),
            loser: loser.clone(),
            cause: cause.to_owned(),
            ..ConflictCount::default()
        });
        count.records += 1;
        count.pairs += u64::from(first);
        if first && self.samples.len() < SAMPLES_MAX {
            let here = self.names.get(at(region)).cloned().unwrap_or_default();
            self.samples.push(ConflictSample {
                at_us: now_us,
                region: here,
                table: conflict.table.clone(),
                key: workload::name_of(&conflict.key),
                winner: Side {
                    region: winner,
                    stamp: conflict.winner.rank.stamp.to_string(),
                    item: show(conflict.winner_image.as_deref()),
                },
                loser: Side {
                    region: loser,
                    stamp: conflict.loser.rank.stamp.to_string(),
                    item: show(conflict.loser_image.as_deref()),
                },
            });
        }
    }

    pub fn clock(&mut self, now_us: u64, region: usize, offset_us: i64) {
        if self.on {
            self.offsets
                .entry(region)
                .or_default()
                .push((now_us, offset_us));
        }
    }
}

fn cause(conflict: &Conflict) -> &'static str {
    let expiry = conflict.winner.rank.kind == RankKind::Expire;
    match (&conflict.winner_image, &conflict.loser_image) {
        _ if expiry => "expiry beat write",
        (Some(_), Some(_)) => "write beat write",
        (Some(_), None) => "write beat delete",
        (None, _) => "delete beat write",
    }
}

/// An item in one line.
fn show(image: Option<&[u8]>) -> Option<String> {
    let item = codec::decode(image?).ok()?;
    let shown: Vec<String> = item
        .iter()
        .map(|(name, value)| format!("{name}: {}", brief(value)))
        .collect();
    Some(shown.join(", "))
}

fn brief(value: &crate::item::Value) -> String {
    match value {
        crate::item::Value::S(text) => format!("\"{text}\""),
        crate::item::Value::B(bytes) => format!("{} bytes", bytes.len()),
        crate::item::Value::N(number) => number.to_string(),
        _ => "...".into(),
    }
}
