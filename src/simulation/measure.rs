//! Makes the figures of what the meter saw.

use super::cost;
use super::figures::{
    ClockLine, ConflictCount, FaultSpan, Figures, Heal, LAG_EDGES_MS, Latency, LinkFigures,
    RegionFigures, Spread, Traffic, Travel, Visible,
};
use super::meter::{Asked, Lag, Meter};
use super::places;
use super::plan::{Act, Config, Fault, Plan, Step, index};
use super::report::percentile;
use super::shrink::class_of;
use super::story;
use crate::replication::Lane;

/// Bins of a strip, about.
const BINS: u64 = 120;

/// All figures of a run that took `virtual_us`.
pub fn figures(meter: &Meter, plan: &Plan, virtual_us: u64) -> Figures {
    let config = &plan.config;
    let bin_us = virtual_us.div_ceil(BINS).max(1);
    let bins = usize::try_from(virtual_us / bin_us + 1).unwrap_or(1);
    let strips = Strips { bin_us, bins };
    let faults = spans(plan, virtual_us);
    let links = links(meter, config, &strips, virtual_us);
    let per_hour = PerHour {
        pairs: meter.conflicts.values().collect(),
        storm_us: config.storm_us,
    };
    Figures {
        regions: config.regions.clone(),
        virtual_us,
        storm_us: config.storm_us,
        bin_us,
        lag_edges_ms: LAG_EDGES_MS.to_vec(),
        visible: visible(meter, config),
        heals: heals(meter, plan),
        costs: cost::costs(&config.regions, &links, &meter.write_units, virtual_us),
        prices: cost::WHAT.to_owned(),
        travel: travel(meter, &links),
        regions_in_full: regions(meter, config, &per_hour, &strips),
        conflicts_per_hour: per_hour.of(|_| true),
        clock_beliefs: meter.watched.beliefs(&config.regions),
        stability: meter.watched.stability(),
        links,
        latencies: latencies(meter, config),
        conflicts: meter.conflicts.values().cloned().collect(),
        conflict_samples: meter.samples.clone(),
        clocks: clocks(meter, config),
        faults,
        backlog_strip: strips.backlog(&meter.backlog),
        conflict_strip: strips.counts(&meter.conflicts_us),
        operation_strip: strips.counts(&meter.asked_us),
        refused_strip: strips.counts(&meter.refused_us),
    }
}

struct Strips {
    bin_us: u64,
    bins: usize,
}

impl Strips {
    fn bin(&self, at_us: u64) -> usize {
        let bin = usize::try_from(at_us / self.bin_us).unwrap_or(0);
        bin.min(self.bins - 1)
    }

    fn counts(&self, instants_us: &[u64]) -> Vec<u64> {
        let mut strip = vec![0; self.bins];
        for at_us in instants_us {
            strip[self.bin(*at_us)] += 1;
        }
        strip
    }

    /// The most in each bin; what was there before goes on where nothing changes.
    fn backlog(&self, changes: &[(u64, u64)]) -> Vec<u64> {
        let mut strip = vec![0; self.bins];
        let (mut level, mut next) = (0, changes.iter().peekable());
        for (at, most) in strip.iter_mut().enumerate() {
            *most = level;
            while let Some((_, now)) = next.next_if(|(at_us, _)| self.bin(*at_us) <= at) {
                level = *now;
                *most = level.max(*most);
            }
        }
        strip
    }

    fn longest<'l>(&self, lags: impl Iterator<Item = &'l Lag>) -> Vec<Option<u64>> {
        let mut strip = vec![None; self.bins];
        for lag in lags {
            let longest: &mut Option<u64> = &mut strip[self.bin(lag.at_us)];
            *longest = Some(lag.lag_us.max(longest.unwrap_or(0)));
        }
        strip
    }
}

pub(super) fn spread(mut values_us: Vec<u64>) -> Spread {
    values_us.sort_unstable();
    let at = |share| percentile(&values_us, share);
    Spread {
        count: index(values_us.len()),
        p50_us: at(500),
        p90_us: at(900),
        p99_us: at(990),
        p999_us: at(999),
        max_us: at(1_000),
    }
}

fn visible(meter: &Meter, config: &Config) -> Vec<Visible> {
    let of = |origin: Option<usize>| {
        let trips = meter.trips.values();
        let trips = trips.filter(|trip| origin.is_none_or(|origin| trip.origin == origin));
        let (mut times_us, mut unfinished) = (Vec::new(), 0);
        for trip in trips {
            match trip.done_us {
                Some(done_us) => times_us.push(done_us.saturating_sub(trip.made_us)),
                None => unfinished += 1,
            }
        }
        (spread(times_us), unfinished)
    };
    let everyone = std::iter::once(("all".to_owned(), None));
    let each = config.regions.iter().cloned().enumerate();
    let rows = everyone.chain(each.map(|(at, name)| (name, Some(at))));
    rows.map(|(name, at)| {
        let (spread, unfinished) = of(at);
        Visible {
            origin: name,
            spread,
            unfinished,
        }
    })
    .collect()
}

/// What ended a fault, and when all that was committed before had arrived.
fn heals(meter: &Meter, plan: &Plan) -> Vec<Heal> {
    let mut ends: Vec<(u64, String)> = Vec::new();
    for step in &plan.steps {
        match &step.act {
            Act::Break(fault @ Fault::Heal { .. }) => {
                let what = story::breaks(fault, &plan.config.regions, "heal");
                ends.push((step.at_us, what));
            }
            Act::Break(Fault::Kill(kill)) => {
                let name = plan.config.regions.get(kill.region);
                if let (Some(after_us), Some(name)) = (kill.restart_after_us, name) {
                    ends.push((step.at_us + after_us, format!("{name} is back")));
                }
            }
            _ => {}
        }
    }
    if plan
        .steps
        .iter()
        .any(|step| matches!(step.act, Act::Break(_)))
    {
        ends.push((plan.config.storm_us, "the calm: every fault is over".into()));
    }
    ends.retain(|(at_us, _)| *at_us <= plan.config.storm_us);
    ends.sort();
    let heal = |(at_us, what): (u64, String)| {
        let before = meter.trips.values().filter(|trip| trip.made_us <= at_us);
        let whole_us = before
            .map(|trip| trip.done_us)
            .try_fold(at_us, |latest, done| done.map(|done| done.max(latest)));
        Heal {
            at_us,
            what,
            whole_after_us: whole_us.map(|us| us - at_us),
        }
    };
    ends.into_iter().map(heal).collect()
}

fn links(meter: &Meter, config: &Config, strips: &Strips, virtual_us: u64) -> Vec<LinkFigures> {
    let prices = cost::Prices::aws();
    let count = config.regions.len();
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
    let link = |(from, to): (usize, usize)| {
        let lags = || {
            meter
                .lags
                .iter()
                .filter(move |l| l.from == from && l.to == to)
        };
        let lag = spread(lags().map(|lag| lag.lag_us).collect());
        let mut histogram = vec![0; LAG_EDGES_MS.len() + 1];
        for lag in lags() {
            let ms = lag.lag_us.div_ceil(1_000);
            histogram[LAG_EDGES_MS.partition_point(|edge| *edge < ms)] += 1;
        }
        let carried = || {
            let carried = meter.carried.range((from, to, Lane::Control)..);
            carried.take_while(move |((a, b, _), _)| (*a, *b) == (from, to))
        };
        let bytes = carried().map(|(_, carried)| carried.bytes).sum();
        let bytes_per_month = cost::per_month(bytes, virtual_us);
        let names = (&config.regions[from], &config.regions[to]);
        let traffic = carried().map(|((_, _, lane), carried)| Traffic {
            lane: format!("{lane:?}").to_lowercase(),
            frames: carried.frames,
            bytes: carried.bytes,
            dropped_frames: carried.dropped,
        });
        LinkFigures {
            from: config.regions[from].clone(),
            to: config.regions[to].clone(),
            delay_us: config.delays[from][to].base_us,
            lag,
            lag_histogram: histogram,
            lag_strip_us: strips.longest(lags()),
            traffic: traffic.collect(),
            commits_sent: carried().map(|(_, carried)| carried.commits).sum(),
            commits_relayed: carried().map(|(_, carried)| carried.relayed).sum(),
            bytes_per_month,
            transfer_microusd_per_month: prices.link(names.0, names.1, bytes_per_month),
        }
    };
    pairs.filter(|(from, to)| from != to).map(link).collect()
}

/// Conflicts at the rate of the storm.
struct PerHour<'m> {
    pairs: Vec<&'m ConflictCount>,
    storm_us: u64,
}

impl PerHour<'_> {
    fn of(&self, which: impl Fn(&ConflictCount) -> bool) -> u64 {
        let pairs = self.pairs.iter().filter(|count| which(count));
        let pairs: u64 = pairs.map(|count| count.pairs).sum();
        pairs * 3_600_000_000 / self.storm_us.max(1)
    }
}

fn regions(
    meter: &Meter,
    config: &Config,
    per_hour: &PerHour<'_>,
    strips: &Strips,
) -> Vec<RegionFigures> {
    let places = places::of(&config.places, &config.regions);
    let region = |((at, name), place): ((usize, &String), Option<places::Place>)| {
        let asked = || {
            meter
                .asked
                .iter()
                .filter(move |((region, _), _)| *region == at)
        };
        let refused = asked().map(|(_, asked)| asked.refused).sum();
        let answered: u64 = asked()
            .map(|(_, asked)| index(asked.latencies_us.len()))
            .sum();
        RegionFigures {
            region: name.clone(),
            place,
            operations: answered + refused,
            refused,
            operation_strip: strips.counts(meter.asked_in.get(&at).map_or(&[], Vec::as_slice)),
            conflicts_per_hour: per_hour.of(|c| c.winner == *name || c.loser == *name),
            losses_per_hour: per_hour.of(|c| c.loser == *name),
        }
    };
    let all = config.regions.iter().enumerate().zip(places);
    all.map(region).collect()
}

fn travel(meter: &Meter, links: &[LinkFigures]) -> Travel {
    let commits_sent: u64 = links.iter().map(|link| link.commits_sent).sum();
    let commits_relayed: u64 = links.iter().map(|link| link.commits_relayed).sum();
    Travel {
        commits_needed: index(meter.lags.len()),
        commits_sent,
        commits_relayed,
        relayed_permille: commits_relayed * 1_000 / commits_sent.max(1),
    }
}

fn latencies(meter: &Meter, config: &Config) -> Vec<Latency> {
    let row = |((region, class), asked): (&(usize, &'static str), &Asked)| {
        let spread = spread(asked.latencies_us.clone());
        Latency {
            region: config.regions.get(*region).cloned().unwrap_or_default(),
            class: (*class).to_owned(),
            count: spread.count,
            refused: asked.refused,
            p50_us: spread.p50_us,
            p90_us: spread.p90_us,
            p99_us: spread.p99_us,
            p999_us: spread.p999_us,
            max_us: spread.max_us,
        }
    };
    meter.asked.iter().map(row).collect()
}

fn clocks(meter: &Meter, config: &Config) -> Vec<ClockLine> {
    let line = |(at, name): (usize, &String)| ClockLine {
        region: name.clone(),
        offsets_us: meter.offsets.get(&at).cloned().unwrap_or_default(),
    };
    config.regions.iter().enumerate().map(line).collect()
}

/// The faults with their ends: a cut's is its heal, a death's the return, a stall's its last.
fn spans(plan: &Plan, virtual_us: u64) -> Vec<FaultSpan> {
    let calm_us = plan.config.storm_us.min(virtual_us);
    let names = &plan.config.regions;
    let mut spans = Vec::new();
    for (at, step) in plan.steps.iter().enumerate() {
        let Act::Break(fault) = &step.act else {
            continue;
        };
        let later = plan.steps.iter().skip(at + 1);
        let until = |ends: &dyn Fn(&Fault) -> bool| {
            let mut later = later.clone().filter(|later| match &later.act {
                Act::Break(other) => ends(other),
                _ => false,
            });
            later.next().map_or(calm_us, |end: &Step| end.at_us)
        };
        let name = |region: &usize| names.get(*region).cloned().unwrap_or_default();
        let links =
            |ways: &[(usize, usize)]| ways.iter().map(|(a, b)| (name(a), name(b))).collect();
        let mut span = FaultSpan {
            class: class_of(step),
            what: story::breaks(fault, names, &class_of(step)),
            from_us: step.at_us,
            until_us: step.at_us,
            ..FaultSpan::default()
        };
        match fault {
            Fault::Heal { .. }
            | Fault::Stall { by_us: 0, .. }
            | Fault::Full { full: false, .. }
            | Fault::Reroute {
                longer_us: 0,
                bytes_per_second: 0,
                ..
            } => continue,
            Fault::Clog { ways, for_us, .. } => {
                span.links = links(ways);
                span.until_us = (step.at_us + for_us).min(calm_us);
            }
            Fault::Reroute { ways, .. } => {
                span.links = links(ways);
                span.until_us = until(
                    &|other| matches!(other, Fault::Reroute { ways: w, longer_us: 0, .. } if w == ways),
                );
            }
            Fault::Full { region, .. } => {
                span.regions = vec![name(region)];
                span.until_us = until(
                    &|other| matches!(other, Fault::Full { region: r, full: false } if r == region),
                );
            }
            Fault::Cut { ways, .. } => {
                span.links = links(ways);
                span.until_us =
                    until(&|other| matches!(other, Fault::Heal { ways: healed } if healed == ways));
            }
            Fault::Kill(kill) => {
                span.regions = vec![name(&kill.region)];
                let back = kill.restart_after_us.map(|after_us| step.at_us + after_us);
                span.until_us = back.unwrap_or(calm_us).min(calm_us);
            }
            Fault::Stall { region, .. } => {
                span.regions = vec![name(region)];
                let over = |other: &Fault| matches!(other, Fault::Stall { region: r, by_us: 0 } if r == region);
                span.until_us = until(&over);
            }
            _ => {
                let named = super::file::regions_named(step);
                let named = named.into_iter().filter_map(|at| usize::try_from(at).ok());
                span.regions = named.map(|at| name(&at)).collect();
            }
        }
        spans.push(span);
    }
    spans
}
