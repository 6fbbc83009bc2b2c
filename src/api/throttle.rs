//! Throttling: whether a request may have the capacity it needs (api.md sections 2 to 4). Off unless the
//! region was started with it.
//!
//! Each table and global index has a bucket of units for reads and one for writes, filled at the provisioned
//! rate (or an on-demand table's maximum) and holding what 300 unused seconds leave. A request is admitted
//! when its bucket holds what the request is sure to need; the rest is charged when it is known, from the
//! figures that ReturnConsumedCapacity reports, and may leave a debt that only time repays. What replication
//! and expiry write costs nothing here: only clients' requests pass this way.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::capacity::{Consumed, Direction, write_units};
use super::operations::tables::{maxima_key, own_reads};
use super::{Backend, RegionInfo};
use crate::item::size::item_size;
use crate::replica::catalog::{IndexDef, IndexKind, TableDef, TableUid};
use crate::replica::request::WriteAction;
use crate::replica::{ApiError, CancellationReason, ThrottlingReason};

/// How many seconds of unused provisioned capacity a bucket holds.
const BURST_SECONDS: f64 = 300.0;
/// An on-demand maximum is per second.
const MAXIMUM_SECONDS: f64 = 1.0;
/// Buckets are looked through for idle ones when there are this many.
const BUCKETS_MAX: usize = 4096;

const TABLE_EXCEEDED: &str = "The level of configured provisioned throughput for the table was exceeded. \
    Consider increasing your provisioning level with the UpdateTable API.";
const INDEX_EXCEEDED: &str = "The level of configured provisioned throughput for one or more global secondary \
    indexes of the table was exceeded. Consider increasing your provisioning level for the under-provisioned \
    global secondary indexes with the UpdateTable API";
const MAXIMUM_EXCEEDED: &str =
    "Throughput exceeds the maximum OnDemandThroughput configured on table or index";

/// One bucket's owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Meter {
    table: TableUid,
    index: Option<String>,
    write: bool,
}

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limit {
    rate: f64,
    holds: f64,
    provisioned: bool,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    units: f64,
    at: Duration,
}

impl Bucket {
    fn refill(&mut self, limit: Limit, now: Duration) {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        self.units = (self.units + elapsed * limit.rate).min(limit.holds);
        self.at = now;
    }
}

/// What an admitted request was charged so far. Dropped when the request fails: it has cost that much.
#[derive(Debug, Default)]
pub(crate) struct Held(BTreeMap<Meter, f64>);

impl Held {
    pub(crate) fn add(&mut self, other: Held) {
        for (meter, units) in other.0 {
            *self.0.entry(meter).or_default() += units;
        }
    }
}

/// The buckets of a region.
#[derive(Debug)]
pub struct Throttle {
    began: Instant,
    buckets: Mutex<BTreeMap<Meter, Bucket>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle {
            began: Instant::now(),
            buckets: Mutex::default(),
        }
    }
}

impl Throttle {
    /// Takes the units that a request is sure to need, of all its meters or of none.
    fn take(
        &self,
        now: Duration,
        region: &RegionInfo,
        def: &TableDef,
        wanted: Vec<(Meter, f64)>,
    ) -> Result<Held, ApiError> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            let idle = Duration::from_secs_f64(BURST_SECONDS);
            buckets.retain(|_, bucket| now.saturating_sub(bucket.at) < idle);
        }
        let mut limited = Vec::new();
        for (meter, units) in wanted {
            let Some(limit) = limit(region, def, &meter) else {
                continue;
            };
            let bucket = refilled(&mut buckets, &meter, limit, now);
            if bucket.units < units.min(limit.holds) {
                return Err(exceeded(region, def, &meter, limit));
            }
            limited.push((meter, units));
        }
        for (meter, units) in &limited {
            if let Some(bucket) = buckets.get_mut(meter) {
                bucket.units -= units;
            }
        }
        Ok(Held(limited.into_iter().collect()))
    }

    /// Charges what was consumed beyond what was taken already.
    fn settle(
        &self,
        now: Duration,
        region: &RegionInfo,
        def: &TableDef,
        held: &Held,
        consumed: &[(Meter, f64)],
    ) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        for (meter, units) in consumed {
            let Some(limit) = limit(region, def, meter) else {
                continue;
            };
            let bucket = refilled(&mut buckets, meter, limit, now);
            bucket.units -= units - held.0.get(meter).copied().unwrap_or(0.0);
        }
    }
}

/// The bucket of a meter as it is by now; a new one is full.
fn refilled<'b>(
    buckets: &'b mut BTreeMap<Meter, Bucket>,
    meter: &Meter,
    limit: Limit,
    now: Duration,
) -> &'b mut Bucket {
    let full = Bucket {
        units: limit.holds,
        at: now,
    };
    let bucket = buckets.entry(meter.clone()).or_insert(full);
    bucket.refill(limit, now);
    bucket
}

/// The limit of a bucket; `None` = there is none.
fn limit(region: &RegionInfo, def: &TableDef, meter: &Meter) -> Option<Limit> {
    let index = meter.index.as_deref();
    let (own_units, own_maximum) = own_reads(def, &region.name, index);
    let units = match index {
        None => def.throughput,
        Some(name) => def.throughput.and(def.index(name)?.throughput),
    };
    if let Some((read, write)) = units {
        let rate = if meter.write {
            write
        } else {
            own_units.unwrap_or(read)
        };
        return Some(bounded(rate, BURST_SECONDS, true));
    }
    let kept = def.recorded(&maxima_key(index))?;
    let kept: Value = serde_json::from_str(kept).ok()?;
    let maximum = |name: &str| kept.get(name).and_then(Value::as_u64);
    let rate = if meter.write {
        maximum("MaxWriteRequestUnits")
    } else {
        own_maximum.or_else(|| maximum("MaxReadRequestUnits"))
    };
    rate.map(|rate| bounded(rate, MAXIMUM_SECONDS, false))
}

fn bounded(rate: u64, seconds: f64, provisioned: bool) -> Limit {
    // Rates are below 2^53: units are at most a million million.
    let rate = rate as f64;
    Limit {
        rate,
        holds: rate * seconds,
        provisioned,
    }
}

fn exceeded(region: &RegionInfo, def: &TableDef, meter: &Meter, limit: Limit) -> ApiError {
    let table = region.table_arn(&def.name);
    let (kind, resource) = match &meter.index {
        None => ("Table", table),
        Some(index) => ("Index", format!("{table}/index/{index}")),
    };
    let direction = if meter.write { "Write" } else { "Read" };
    let cause = if limit.provisioned {
        "ProvisionedThroughputExceeded"
    } else {
        "MaxOnDemandThroughputExceeded"
    };
    let reasons = vec![ThrottlingReason {
        reason: format!("{kind}{direction}{cause}"),
        resource,
    }];
    match (limit.provisioned, &meter.index) {
        (true, None) => ApiError::ProvisionedThroughputExceeded {
            message: TABLE_EXCEEDED,
            reasons,
        },
        (true, Some(_)) => ApiError::ProvisionedThroughputExceeded {
            message: INDEX_EXCEEDED,
            reasons,
        },
        (false, _) => ApiError::MaxOnDemandThroughputExceeded {
            message: MAXIMUM_EXCEEDED,
            reasons,
        },
    }
}

fn meter(def: &TableDef, index: Option<&IndexDef>, write: bool) -> Meter {
    // Local indexes live on the table's capacity.
    let global = index.filter(|i| i.kind == IndexKind::Global);
    Meter {
        table: def.uid,
        index: global.map(|i| i.name.clone()),
        write,
    }
}

/// Admits a read of the table or of an index that needs at least `units`.
pub(crate) fn admit_read(
    backend: &dyn Backend,
    def: &TableDef,
    index: Option<&IndexDef>,
    units: f64,
) -> Result<Held, ApiError> {
    let Some(throttle) = backend.throttle() else {
        return Ok(Held::default());
    };
    let wanted = vec![(meter(def, index, false), units)];
    throttle.take(throttle.began.elapsed(), backend.region(), def, wanted)
}

/// Admits a write; `factor` is a transaction's. Of updates and deletes it is not known yet which index
/// entries they change, so every global index must have room for one.
pub(crate) fn admit_write(
    backend: &dyn Backend,
    def: &TableDef,
    action: &WriteAction,
    factor: f64,
) -> Result<Held, ApiError> {
    let Some(throttle) = backend.throttle() else {
        return Ok(Held::default());
    };
    let wanted = wanted(def, action, factor);
    throttle.take(throttle.began.elapsed(), backend.region(), def, wanted)
}

/// What a write is sure to need.
fn wanted(def: &TableDef, action: &WriteAction, factor: f64) -> Vec<(Meter, f64)> {
    let sure = match action {
        WriteAction::Put { item } => write_units(item_size(item)),
        _ => 1.0,
    };
    let mut wanted = vec![(meter(def, None, true), sure * factor)];
    for index in def.indexes.iter().filter(|i| i.kind == IndexKind::Global) {
        let touched = match action {
            WriteAction::Put { item } => index.keys.names().all(|name| item.contains_key(name)),
            WriteAction::Update { .. } | WriteAction::Delete { .. } => true,
            WriteAction::Check { .. } => false,
        };
        if touched {
            wanted.push((meter(def, Some(index), true), 1.0));
        }
    }
    wanted
}

/// Charges what a request consumed of a table beyond what was held for it.
pub(crate) fn settle(
    backend: &dyn Backend,
    def: &TableDef,
    held: &Held,
    consumed: &Consumed,
    direction: Direction,
) {
    let Some(throttle) = backend.throttle() else {
        return;
    };
    let write = direction == Direction::Write;
    let mut charges: BTreeMap<Meter, f64> = BTreeMap::new();
    *charges.entry(meter(def, None, write)).or_default() += consumed.of_table();
    for (name, units) in consumed.of_indexes() {
        *charges
            .entry(meter(def, def.index(name), write))
            .or_default() += units;
    }
    // What was held and not needed is given back.
    for held in held.0.keys().filter(|held| held.table == def.uid) {
        charges.entry(held.clone()).or_default();
    }
    let charges: Vec<(Meter, f64)> = charges.into_iter().collect();
    let now = throttle.began.elapsed();
    throttle.settle(now, backend.region(), def, held, &charges);
}

/// What a transaction holds for its actions, in their order; cancelled when any of them was refused.
pub(crate) fn hold_all(
    actions: impl IntoIterator<Item = Result<Held, ApiError>>,
) -> Result<Held, ApiError> {
    let mut held = Held::default();
    let mut reasons = Vec::new();
    let mut refused = false;
    for action in actions {
        reasons.push(match action {
            Ok(more) => {
                held.add(more);
                CancellationReason::default()
            }
            Err(error) => {
                refused = true;
                cancellation(&error)
            }
        });
    }
    if refused {
        return Err(ApiError::TransactionCanceled { reasons });
    }
    Ok(held)
}

/// How a transaction tells that one of its actions was refused.
fn cancellation(error: &ApiError) -> CancellationReason {
    let code = match error {
        ApiError::ProvisionedThroughputExceeded { .. } => "ProvisionedThroughputExceeded",
        _ => "ThrottlingError",
    };
    CancellationReason {
        code,
        message: Some(error.to_string()),
        item: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RegionId;
    use crate::item::{KeyAttribute, KeySchema, KeyType};
    use crate::replica::catalog::TimeToLive;
    use crate::replica::mutation::GroupId;

    fn region() -> RegionInfo {
        RegionInfo {
            name: "us-east-1".into(),
            id: RegionId(0),
            account: "000000000000".into(),
            topology: crate::api::Regions::new(vec![(RegionId(0), "us-east-1".into())]),
        }
    }

    fn table(throughput: Option<(u64, u64)>) -> TableDef {
        let key = KeyAttribute {
            name: "pk".into(),
            kind: KeyType::S,
        };
        TableDef {
            name: "abc".into(),
            uid: TableUid(1),
            group: GroupId(1),
            attributes: vec![key.clone()],
            keys: KeySchema {
                partition: vec![key],
                sort: Vec::new(),
            },
            indexes: Vec::new(),
            created_us: 0,
            updated_us: 0,
            throughput,
            stream_view: None,
            stream_us: None,
            protected: GroupId(0),
            members: Vec::new(),
            ttl: TimeToLive::default(),
            recorded: Vec::new(),
            next_index: 0,
            merging: Default::default(),
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn writes(
        throttle: &Throttle,
        def: &TableDef,
        now: Duration,
        units: f64,
    ) -> Result<Held, ApiError> {
        throttle.take(now, &region(), def, vec![(meter(def, None, true), units)])
    }

    #[test]
    fn five_minutes_of_unused_capacity_and_then_the_rate() {
        let (throttle, def) = (Throttle::default(), table(Some((1, 2))));
        for _ in 0..600 {
            writes(&throttle, &def, seconds(0), 1.0).unwrap();
        }
        let refused = writes(&throttle, &def, seconds(0), 1.0).unwrap_err();
        let ApiError::ProvisionedThroughputExceeded { reasons, .. } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(reasons[0].reason, "TableWriteProvisionedThroughputExceeded");
        assert_eq!(
            reasons[0].resource,
            "arn:aws:dynamodb:us-east-1:000000000000:table/abc"
        );
        assert!(
            refused
                .to_string()
                .starts_with("The level of configured provisioned throughput for the table")
        );
        // Two units come back each second, and reads have a bucket of their own.
        writes(&throttle, &def, seconds(1), 1.0).unwrap();
        writes(&throttle, &def, seconds(1), 1.0).unwrap();
        writes(&throttle, &def, seconds(1), 1.0).unwrap_err();
        let read = vec![(meter(&def, None, false), 1.0)];
        throttle.take(seconds(1), &region(), &def, read).unwrap();
    }

    #[test]
    fn debts_are_repaid_by_time_alone() {
        let (throttle, def) = (Throttle::default(), table(Some((1, 1))));
        let held = writes(&throttle, &def, seconds(0), 1.0).unwrap();
        let all = [(meter(&def, None, true), 310.0)];
        throttle.settle(seconds(0), &region(), &def, &held, &all);
        writes(&throttle, &def, seconds(10), 1.0).unwrap_err();
        writes(&throttle, &def, seconds(11), 1.0).unwrap();
    }

    #[test]
    fn more_than_a_bucket_holds_waits_for_a_full_one() {
        let (throttle, def) = (Throttle::default(), table(Some((1, 1))));
        writes(&throttle, &def, seconds(0), 400.0).unwrap();
        writes(&throttle, &def, seconds(399), 400.0).unwrap_err();
        writes(&throttle, &def, seconds(400), 400.0).unwrap();
    }

    #[test]
    fn maxima_of_on_demand_tables_have_no_burst() {
        let throttle = Throttle::default();
        let mut def = table(None);
        writes(&throttle, &def, seconds(0), 1e9).unwrap();
        def.recorded = vec![(
            "OnDemandThroughput".into(),
            "{\"MaxWriteRequestUnits\":2}".into(),
        )];
        writes(&throttle, &def, seconds(0), 1.0).unwrap();
        writes(&throttle, &def, seconds(0), 1.0).unwrap();
        let refused = writes(&throttle, &def, seconds(0), 1.0).unwrap_err();
        let ApiError::MaxOnDemandThroughputExceeded { reasons, .. } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(reasons[0].reason, "TableWriteMaxOnDemandThroughputExceeded");
        writes(&throttle, &def, seconds(60), 2.0).unwrap();
        writes(&throttle, &def, seconds(60), 1.0).unwrap_err();
    }

    #[test]
    fn what_a_replica_reads_of_its_own_counts() {
        let throttle = Throttle::default();
        let mut def = table(Some((100, 1)));
        def.recorded = vec![(
            "Replicas".into(),
            "{\"us-east-1\":{\"ReadCapacityUnits\":1}}".into(),
        )];
        let read = |units| vec![(meter(&def, None, false), units)];
        throttle
            .take(seconds(0), &region(), &def, read(300.0))
            .unwrap();
        throttle
            .take(seconds(0), &region(), &def, read(1.0))
            .unwrap_err();
    }
}
