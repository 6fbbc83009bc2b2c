//! What the clients of a planning scenario ask, drawn from the seed.
//!
//! How much is asked when follows from the sun and the bursts; what, from the clients' mix. Draws are by
//! whole numbers, and what is not one is computed by operations that every machine rounds alike, so that a
//! seed gives the same plan everywhere.

use serde::{Deserialize, Serialize};

use super::clients::{Burst, Clients, Failover, ItemBytes, Spread, Sun};
use super::geography::Delay;
use super::places::{self, Place};
use super::plan::{Act, Config, Operation, OperationKind, QUIET_US, Step, index};
use super::rng::{Chance, Rng};
use super::scenario::Scenario;
use super::steady::weighted;

/// Rates change at the borders of such slots.
const SLOT_US: u64 = 100_000;
/// An operation in units of what `Rate` counts.
const OPERATION: u64 = 100_000;
/// Storms that no scenario fixes are no longer.
const STORM_MAX_US: u64 = 50_000_000;
/// Items that are only written together, unless the workload says otherwise.
const COHORTS: u32 = 200;
const COHORT_KEYS: u32 = 3;
/// Of 1,000 of the way from the trough to the peak, by hours from the peak: a cosine.
const CURVE: [u64; 13] = [
    1_000, 983, 933, 854, 750, 629, 500, 371, 250, 146, 67, 17, 0,
];

/// A client's own way to the region that it asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// The region that is its own.
    pub from: usize,
    pub rtt_us: u64,
}

/// For files: that nothing need be said of it.
pub fn is_zero(bytes: &usize) -> bool {
    *bytes == 0
}

/// What a world with clients has besides.
pub fn set(config: &mut Config, scenario: &Scenario) {
    let workload = &scenario.workload;
    config.operations_per_second = scenario
        .clients
        .iter()
        .map(|c| c.operations_per_second)
        .sum();
    config.cohorts = workload.cohorts.unwrap_or(COHORTS);
    config.cohort_keys = workload.cohort_keys.unwrap_or(COHORT_KEYS);
    config.expiring = workload.expiring.unwrap_or(0);
    config.merged = workload.merged.unwrap_or(0);
}

/// How many operations there will be, at most: a slot more or less is not counted.
pub fn count(scenario: &Scenario) -> u64 {
    let storm_us = scenario.duration.map_or(STORM_MAX_US, |d| d.forward_us());
    let regions = scenario.regions.clone().unwrap_or_default();
    let places = places::of(&places::named(scenario), &regions);
    let counts = scenario.clients.iter().map(|clients| {
        let place = place(&regions, &places, &clients.region);
        let slots = Rate::of(scenario, clients, place).slots(storm_us);
        slots.into_iter().fold(0, u64::saturating_add) / OPERATION
    });
    counts.fold(0, u64::saturating_add)
}

/// Everything that clients ask.
pub fn operations(scenario: &Scenario, config: &Config, chance: Chance) -> Vec<Step> {
    let places = places::of(&config.places, &config.regions);
    let keys = scenario.clients.iter().map(|c| c.keys).max().unwrap_or(1);
    let (mut steps, mut sessions) = (Vec::new(), 0);
    for (nth, clients) in scenario.clients.iter().enumerate() {
        let region = position(config, &clients.region);
        let rate = Rate::of(
            scenario,
            clients,
            place(&config.regions, &places, &clients.region),
        );
        let slots = Shares::of(rate.slots(config.storm_us));
        let group = Group {
            config,
            clients,
            region,
            ranks: Shares::of(zipf(clients.keys, clients.key_skew)),
            own_base: keys.saturating_mul(u32::try_from(region).unwrap_or(0) + 1),
            first_session: sessions,
            away: away(scenario, config, clients),
        };
        for at in 0..slots.total / OPERATION {
            let mut rng = chance.of("client operation", &[index(nth), at]);
            let slot = index(slots.pick(&mut rng));
            let at_us = QUIET_US + slot * SLOT_US + rng.below(SLOT_US);
            let id = index(steps.len()) + 1;
            steps.push(Step {
                at_us,
                act: Act::Ask(group.operation(id, at_us, &mut rng)),
            });
        }
        sessions += 2 * clients.sessions;
    }
    steps
}

fn position(config: &Config, name: &str) -> usize {
    let mut all = config.regions.iter();
    all.position(|region| region == name).unwrap_or(0)
}

fn place(regions: &[String], places: &[Option<Place>], name: &str) -> Place {
    let mut known = regions.iter().zip(places);
    let found = known.find(|(region, _)| *region == name);
    found.and_then(|(_, place)| *place).unwrap_or_default()
}

/// How much some clients ask, and when.
struct Rate<'s> {
    operations_per_second: u64,
    sun: Option<&'s Sun>,
    place: Place,
    bursts: Vec<&'s Burst>,
}

impl<'s> Rate<'s> {
    fn of(scenario: &'s Scenario, clients: &Clients, place: Place) -> Self {
        let concerned = |burst: &&Burst| burst.region.as_ref().is_none_or(|r| *r == clients.region);
        Rate {
            operations_per_second: clients.operations_per_second,
            sun: scenario.sun.as_ref(),
            place,
            bursts: scenario.bursts.iter().filter(concerned).collect(),
        }
    }

    /// How much is asked in each slot from the quiet beginning until the storm ends.
    fn slots(&self, storm_us: u64) -> Vec<u64> {
        let count = storm_us.saturating_sub(QUIET_US) / SLOT_US;
        let slot = |nth: u64| self.at(QUIET_US + nth * SLOT_US);
        (0..count).map(slot).collect()
    }

    fn at(&self, at_us: u64) -> u64 {
        let light = self.sun.map_or(1_000, |sun| light(sun, self.place, at_us));
        let times = self.bursts.iter().filter(|burst| {
            let from_us = burst.at.forward_us();
            (from_us..from_us + burst.lasts.forward_us()).contains(&at_us)
        });
        let times = times.fold(1, |times: u64, burst| times.saturating_mul(burst.times));
        let per_slot = OPERATION / 1_000 * SLOT_US / 1_000_000;
        let usual = self.operations_per_second * light * per_slot;
        usual.saturating_mul(times)
    }
}

/// Of 1,000 operations of the peak, how many are asked at this time of the run.
fn light(sun: &Sun, place: Place, at_us: u64) -> u64 {
    const DAY_MINUTES: u64 = 24 * 60;
    let passed = at_us.saturating_mul(DAY_MINUTES) / sun.day.forward_us().max(1);
    let utc = i64::try_from(passed).unwrap_or(0) + sun.starts.minute;
    let apart = (place.minute_of_day(utc) - sun.peak.minute).rem_euclid(24 * 60);
    // On the shorter way around the clock.
    let apart = apart.min(24 * 60 - apart).unsigned_abs();
    let (hour, minute) = (usize::try_from(apart / 60).unwrap_or(0), apart % 60);
    let curve = |hour: usize| CURVE.get(hour).copied().unwrap_or(0);
    let height = (curve(hour) * (60 - minute) + curve(hour + 1) * minute) / 60;
    let trough = sun.trough_percent * 10;
    trough + (1_000 - trough) * height / 1_000
}

/// Draws by weights, of which there are many.
struct Shares {
    /// The sum of the weights up to each.
    sums: Vec<u64>,
    total: u64,
}

impl Shares {
    fn of(weights: Vec<u64>) -> Shares {
        let mut total = 0;
        let sum = |weight: u64| {
            total += weight;
            total
        };
        let sums = weights.into_iter().map(sum).collect();
        Shares { sums, total }
    }

    fn pick(&self, rng: &mut Rng) -> usize {
        let draw = rng.below(self.total);
        self.sums.partition_point(|sum| *sum <= draw)
    }
}

/// The weights of so many ranks by Zipf's law.
fn zipf(ranks: u32, skew: f64) -> Vec<u64> {
    // The first weighs so much that the sum of the most ranks possible still fits.
    const FIRST: f64 = (1u64 << 40) as f64;
    let weight = |rank: u32| (FIRST / power(f64::from(rank), skew)).max(1.0) as u64;
    (1..=ranks).map(weight).collect()
}

/// `base` to the power of `exponent`, by multiplying and square roots only: these are rounded alike
/// everywhere, and the library's `powf` is not.
fn power(base: f64, exponent: f64) -> f64 {
    let (mut left, mut result, mut root) = (exponent, 1.0, base);
    while left >= 1.0 {
        (left, result) = (left - 1.0, result * base);
    }
    for _ in 0..20 {
        (left, root) = (left * 2.0, root.sqrt());
        if left >= 1.0 {
            (left, result) = (left - 1.0, result * root);
        }
    }
    result
}

/// While some clients are elsewhere: from when until when.
fn away(scenario: &Scenario, config: &Config, clients: &Clients) -> Vec<(u64, u64)> {
    let Some(Failover { after, .. }) = &clients.failover else {
        return Vec::new();
    };
    let deaths = scenario.faults.iter();
    let deaths = deaths.filter(|fault| fault.kill.as_ref() == Some(&clients.region));
    let span = |fault: &super::scenario::Fault| {
        let died_us = fault.at.forward_us();
        let back = fault.restart_after.map(|span| died_us + span.forward_us());
        let back_us = back.unwrap_or(config.storm_us);
        (died_us + after.forward_us(), back_us + after.forward_us())
    };
    deaths.map(span).collect()
}

/// Clients that do the same, and where.
struct Group<'s> {
    config: &'s Config,
    clients: &'s Clients,
    region: usize,
    ranks: Shares,
    /// Where the items begin that are only this region's.
    own_base: u32,
    first_session: u64,
    away: Vec<(u64, u64)>,
}

impl Group<'_> {
    fn operation(&self, id: u64, at_us: u64, rng: &mut Rng) -> Operation {
        let rtt_us = self.clients.rtt.forward_us();
        let session = rng.below(self.clients.sessions);
        let gone = self
            .away
            .iter()
            .any(|(from_us, until_us)| (*from_us..*until_us).contains(&at_us));
        let elsewhere = self.clients.failover.as_ref().filter(|_| gone);
        let bytes = bytes(self.clients.item_bytes, rng);
        let kind = self.kind(bytes, rng);
        match elsewhere.map(|failover| position(self.config, &failover.to)) {
            None => Operation {
                id,
                client: self.first_session + session,
                region: self.region,
                way: (rtt_us > 0).then_some(Way {
                    from: self.region,
                    rtt_us,
                }),
                bytes,
                kind,
            },
            // A new session: what it knew of the dead region, this one may not have.
            Some(region) => Operation {
                id,
                client: self.first_session + self.clients.sessions + session,
                region,
                way: Some(Way {
                    from: self.region,
                    rtt_us: rtt_us + self.round_trip_us(region),
                }),
                bytes,
                kind,
            },
        }
    }

    fn round_trip_us(&self, other: usize) -> u64 {
        let way = |from: usize, to: usize| {
            let delay: Option<&Delay> = self.config.delays.get(from).and_then(|row| row.get(to));
            delay.map_or(0, |delay| delay.base_us)
        };
        way(self.region, other) + way(other, self.region)
    }

    fn key(&self, rng: &mut Rng) -> u32 {
        let rank = u32::try_from(self.ranks.pick(rng)).unwrap_or(0);
        if rng.below(100) < self.clients.own_keys_percent {
            self.own_base.saturating_add(rank)
        } else {
            rank
        }
    }

    fn kind(&self, padding: usize, rng: &mut Rng) -> OperationKind {
        let key = self.key(rng);
        let index = rng.per_mille(750).then(|| rng.below(4));
        let cohort = u32::try_from(rng.below(u64::from(self.config.cohorts.max(1)))).unwrap_or(0);
        match weighted(&self.clients.mix.weights(), rng) {
            1 => OperationKind::PutIfAbsent { key },
            2 => OperationKind::Update { key, index },
            3 => OperationKind::Delete { key },
            4 => OperationKind::Read { key },
            5 if self.config.cohorts > 0 => {
                let mut order: Vec<u32> = (0..self.config.cohort_keys).collect();
                rng.shuffle(&mut order);
                OperationKind::Transaction { cohort, order }
            }
            6 if self.config.cohorts > 0 => OperationKind::ReadCohort { cohort },
            _ => OperationKind::Put {
                key,
                index,
                padding,
            },
        }
    }
}

/// How large an item is: even between the points that are given.
fn bytes(spread: ItemBytes, rng: &mut Rng) -> usize {
    let Spread { p50, p90, max } = match spread {
        ItemBytes::All(bytes) => return bytes,
        ItemBytes::Spread(spread) => spread,
    };
    let draw = rng.index(1_000);
    let between = |low: usize, high: usize, at: usize, of: usize| low + (high - low) * at / of;
    match draw {
        0..500 => between(p50 / 2, p50, draw, 500),
        500..900 => between(p50, p90, draw - 500, 400),
        _ => between(p90, max, draw - 900, 99),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::*;

    const BASE: &str = "name = \"x\"\nregions = [\"eu-west-1\", \"ap-northeast-1\"]\nduration = \"100s\"\nsteady = true\n\
        [[clients]]\nregion = \"eu-west-1\"\noperations_per_second = 40\nmix = { put = 1, update = 1, transaction = 1 }\n";

    fn asked(text: &str) -> Vec<(u64, Operation)> {
        let scenario = Scenario::parse(text, "x.toml").unwrap();
        let steps = Plan::draw(&scenario, 1).steps.into_iter();
        let asked = steps.filter_map(|step| match step.act {
            Act::Ask(operation) => Some((step.at_us, operation)),
            _ => None,
        });
        asked.collect()
    }

    fn within(asked: &[(u64, Operation)], from_s: u64, until_s: u64) -> usize {
        let within = |at_us: u64| (from_s * 1_000_000..until_s * 1_000_000).contains(&at_us);
        asked.iter().filter(|(at_us, _)| within(*at_us)).count()
    }

    #[test]
    fn clients_ask_as_often_and_as_much_as_the_file_says() {
        let all = asked(&format!(
            "{BASE}keys = 10\nitem_bytes = {{ p50 = 100, p90 = 400, max = 900 }}\nrtt = \"30ms\""
        ));
        assert_eq!(all.len(), 98 * 40);
        assert!((900..1_100).contains(&within(&all, 30, 55)), "even");
        let mut sizes: Vec<usize> = Vec::new();
        for (_, operation) in &all {
            assert_eq!(operation.region, 0);
            assert_eq!(
                operation.way,
                Some(Way {
                    from: 0,
                    rtt_us: 30_000
                })
            );
            match operation.kind {
                OperationKind::Put { key, .. } | OperationKind::Update { key, .. } => {
                    assert!(key < 10)
                }
                OperationKind::Transaction { .. } => {}
                ref other => panic!("{other:?} is not in the mix"),
            }
            sizes.push(operation.bytes);
        }
        sizes.sort_unstable();
        let at = |percent: usize| sizes[sizes.len() * percent / 100];
        assert!(
            (95..=105).contains(&at(50)) && (380..=420).contains(&at(90)),
            "{} {}",
            at(50),
            at(90)
        );
        assert!(sizes[0] >= 50 && sizes[sizes.len() - 1] <= 900);
        let ids: std::collections::BTreeSet<u64> = all.iter().map(|(_, o)| o.id).collect();
        assert_eq!(ids.len(), all.len(), "ids are unique");
    }

    #[test]
    fn a_burst_multiplies_while_it_lasts_in_its_region() {
        let burst = "[[burst]]\nat = \"50s\"\nfor = \"10s\"\ntimes = 5\nregion = ";
        let here = asked(&format!("{BASE}{burst}\"eu-west-1\""));
        assert!(
            (1_800..2_200).contains(&within(&here, 50, 60)),
            "{}",
            within(&here, 50, 60)
        );
        assert!((320..480).contains(&within(&here, 60, 70)));
        let there = asked(&format!("{BASE}{burst}\"ap-northeast-1\""));
        assert_eq!(there.len(), 98 * 40);
        let lull = asked(&format!(
            "{BASE}[[burst]]\nat = \"50s\"\nfor = \"10s\"\ntimes = 0"
        ));
        assert_eq!(within(&lull, 50, 60), 0);
    }

    #[test]
    fn load_follows_the_sun() {
        let tokyo = BASE.replace(
            "[[clients]]\nregion = \"eu-west-1\"",
            "[[clients]]\nregion = \"ap-northeast-1\"",
        );
        let sun = "[sun]\nday = \"96s\"\npeak = \"12:00\"\ntrough_percent = 0\n";
        let (europe, japan) = (
            asked(&format!("{BASE}{sun}")),
            asked(&format!("{tokyo}{sun}")),
        );
        // Four seconds are an hour: Dublin's noon is about 48 s after the start, Tokyo's nine hours earlier.
        let (noon, before) = (within(&europe, 40, 56), within(&europe, 4, 20));
        assert!(noon > 550 && before < 200, "{noon} {before}");
        let (noon, after) = (within(&japan, 4, 20), within(&japan, 50, 66));
        assert!(noon > 550 && after < 100, "{noon} {after}");
    }

    #[test]
    fn the_curve_is_even_around_its_peak() {
        let sun = Sun {
            day: "1440s".to_owned().try_into().unwrap(),
            starts: "00:00".to_owned().try_into().unwrap(),
            peak: "20:00".to_owned().try_into().unwrap(),
            trough_percent: 10,
        };
        let at = |hour: u64, minute: u64| {
            light(&sun, Place::default(), (hour * 60 + minute) * 1_000_000)
        };
        assert_eq!(at(20, 0), 1_000);
        assert_eq!(at(8, 0), 100);
        assert_eq!(at(14, 0), 550);
        assert_eq!(at(23, 30), at(16, 30));
        assert!(at(16, 45) > at(16, 30) && at(16, 45) < at(17, 0));
    }

    #[test]
    fn ranks_follow_zipf_and_even_means_even() {
        assert_eq!(power(9.0, 0.5), 3.0);
        assert_eq!(power(7.0, 2.0), 49.0);
        assert_eq!(power(5.0, 0.0), 1.0);
        assert!((power(10.0, 1.2) - 15.848_931_9).abs() < 1e-4);
        let weights = zipf(1_000, 1.0);
        assert_eq!(weights[0], 1 << 40);
        assert_eq!(weights[9], (1u64 << 40) / 10);
        assert!(zipf(100, 0.0).windows(2).all(|pair| pair[0] == pair[1]));
        let shares = Shares::of(vec![0, 3, 0, 1]);
        let mut rng = Chance::new(1).of("test", &[]);
        let drawn: Vec<usize> = (0..4_000).map(|_| shares.pick(&mut rng)).collect();
        let often = drawn.iter().filter(|at| **at == 1).count();
        assert!((2_800..3_200).contains(&often), "{often}");
        assert!(drawn.iter().all(|at| *at == 1 || *at == 3));
    }

    #[test]
    fn some_items_are_only_this_regions() {
        let keys = |percent: u64| -> Vec<u32> {
            let all = asked(
                &format!("{BASE}keys = 50\nown_keys_percent = {percent}")
                    .replace("transaction = 1", "read = 1"),
            );
            let key = |(_, o): &(u64, Operation)| match o.kind {
                OperationKind::Put { key, .. }
                | OperationKind::Update { key, .. }
                | OperationKind::Read { key } => Some(key),
                _ => None,
            };
            all.iter().filter_map(key).collect()
        };
        assert!(keys(0).iter().all(|key| *key < 50));
        assert!(keys(100).iter().all(|key| (50..100).contains(key)));
        let own = keys(80).iter().filter(|key| **key >= 50).count();
        assert!((98 * 30..98 * 34).contains(&own), "{own}");
    }

    #[test]
    fn clients_of_a_dead_region_go_where_the_file_says_and_come_back() {
        let all = asked(&format!(
            "{BASE}sessions = 4\nrtt = \"10ms\"\nfailover = {{ to = \"ap-northeast-1\", after = \"5s\" }}\n\
             [[fault]]\nat = \"20s\"\nkill = \"eu-west-1\"\nrestart_after = \"30s\""
        ));
        for (at_us, operation) in all {
            let gone = (25_000_000..55_000_000).contains(&at_us);
            assert_eq!(operation.region, usize::from(gone), "{at_us}");
            assert_eq!(
                operation.client >= 4,
                gone,
                "who moves begins a new session"
            );
            let way = operation.way.unwrap();
            assert_eq!((way.from, way.rtt_us > 150_000), (0, gone));
        }
    }
}
