//! The figures of one run: all that the report's plots show. Times are virtual, latencies modelled.

use serde::{Deserialize, Serialize};

use super::cost::Cost;
use super::places::Place;
use super::watch::{ClockBelief, StabilityLine};

/// Upper edges of the lag histograms, milliseconds; one more bucket takes what is beyond.
pub const LAG_EDGES_MS: [u64; 40] = [
    1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100, 115, 130, 150, 175, 200, 250,
    300, 350, 400, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 60_000, 120_000,
    300_000, 600_000, 1_200_000,
];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    pub regions: Vec<String>,
    pub virtual_us: u64,
    /// How long clients and faults went on.
    pub storm_us: u64,
    /// The width of one bin of every strip.
    pub bin_us: u64,
    pub lag_edges_ms: Vec<u64>,
    /// From commit to visible everywhere: the first is of all regions together, the others per origin.
    pub visible: Vec<Visible>,
    pub heals: Vec<Heal>,
    pub links: Vec<LinkFigures>,
    pub latencies: Vec<Latency>,
    pub conflicts: Vec<ConflictCount>,
    pub conflict_samples: Vec<ConflictSample>,
    pub clocks: Vec<ClockLine>,
    pub faults: Vec<FaultSpan>,
    pub regions_in_full: Vec<RegionFigures>,
    pub conflicts_per_hour: u64,
    pub travel: Travel,
    pub costs: Vec<Cost>,
    /// Which prices `costs` and links are by.
    pub prices: String,
    pub clock_beliefs: Vec<ClockBelief>,
    pub stability: Vec<StabilityLine>,
    /// Commits times regions that did not have them yet: the most in each bin.
    pub backlog_strip: Vec<u64>,
    pub conflict_strip: Vec<u64>,
    pub operation_strip: Vec<u64>,
    pub refused_strip: Vec<u64>,
}

/// The usual percentiles of some times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    pub count: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visible {
    /// `all`, or a region.
    pub origin: String,
    #[serde(flatten)]
    pub spread: Spread,
    /// Commits that some region never had.
    pub unfinished: u64,
}

/// After a fault was healed: how long until every region had what was committed before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heal {
    pub at_us: u64,
    pub what: String,
    /// `None`: some of it never arrived.
    pub whole_after_us: Option<u64>,
}

/// One directed link: what `to` had of `from`'s commits, by whatever way, and what the link carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFigures {
    pub from: String,
    pub to: String,
    /// The median one-way delay.
    pub delay_us: u64,
    #[serde(flatten)]
    pub lag: Spread,
    /// By `lag_edges_ms`.
    pub lag_histogram: Vec<u64>,
    /// The longest lag of what became visible in each bin; `None`: nothing did.
    pub lag_strip_us: Vec<Option<u64>>,
    pub traffic: Vec<Traffic>,
    /// Commits that it carried, and those of them whose origin is another region than `from`.
    pub commits_sent: u64,
    pub commits_relayed: u64,
    /// As if the run went on for a month, at AWS list prices; absent: the price is not known.
    pub bytes_per_month: u64,
    pub transfer_microusd_per_month: Option<u64>,
}

impl LinkFigures {
    /// All that it carried, of all lanes.
    pub fn bytes(&self) -> u64 {
        self.traffic.iter().map(|traffic| traffic.bytes).sum()
    }
}

/// A region, and what the whole of the run was for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionFigures {
    pub region: String,
    /// Where it is, if that is known.
    pub place: Option<Place>,
    /// By its clients, wherever they were served.
    pub operations: u64,
    /// How many of them in each bin.
    pub operation_strip: Vec<u64>,
    pub refused: u64,
    /// Pairs of conflicting writes in which one was written here, in an hour of clients at this rate.
    pub conflicts_per_hour: u64,
    /// Of those, pairs whose loser was written here.
    pub losses_per_hour: u64,
}

/// How commits travelled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Travel {
    /// That each region has each commit of the others once.
    pub commits_needed: u64,
    /// More than needed were sent again after a connection broke, or came by two ways.
    pub commits_sent: u64,
    pub commits_relayed: u64,
    pub relayed_permille: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub lane: String,
    pub frames: u64,
    pub bytes: u64,
    /// Frames that met a cut, or a connection that was down.
    pub dropped_frames: u64,
}

/// Latency of one region's clients. Modelled: their own way, if the scenario says how long it is, and from the
/// front door to the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub region: String,
    /// `write`, `transaction`, `read` or `read_cohort`.
    pub class: String,
    pub count: u64,
    pub refused: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictCount {
    /// Where the winner was written, and the loser.
    pub winner: String,
    pub loser: String,
    /// Such as `write beat delete`.
    pub cause: String,
    /// Pairs of versions.
    pub pairs: u64,
    /// Records of them, all regions together.
    pub records: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictSample {
    pub at_us: u64,
    pub region: String,
    pub table: String,
    pub key: String,
    pub winner: Side,
    pub loser: Side,
}

/// One of the two versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    pub region: String,
    pub stamp: String,
    /// The item, in short; absent: a delete.
    pub item: Option<String>,
}

/// How far a region's wall clock is off the true time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockLine {
    pub region: String,
    /// Instants and offsets.
    pub offsets_us: Vec<(u64, i64)>,
}

/// A fault and how long it lasted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSpan {
    pub class: String,
    pub what: String,
    pub from_us: u64,
    /// As `from_us` for what is an instant.
    pub until_us: u64,
    /// Directed links that are cut.
    pub links: Vec<(String, String)>,
    pub regions: Vec<String>,
}

impl FaultSpan {
    /// Whether it stands between two regions, or in one of them.
    pub fn touches(&self, from: &str, to: &str) -> bool {
        let cut = |(a, b): &(String, String)| a == from && b == to;
        self.links.iter().any(cut) || self.regions.iter().any(|r| r == from || r == to)
    }
}
