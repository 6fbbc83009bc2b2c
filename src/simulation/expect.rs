//! What a scenario expects of a run besides that no oracle objects: figures that must not be exceeded.

use serde::{Deserialize, Serialize};

use super::report::RunReport;
use super::scenario::Span;

/// The names of the figures, as scenarios write them.
pub const FIGURES: [&str; 8] = [
    "lag_p50_ms",
    "lag_p99_ms",
    "lag_max_ms",
    "conflicts_max",
    "conflicts_min",
    "refused_max",
    "converge_within",
    "write_p99_ms",
];

/// The `[expect]` table. What is absent is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// From durable at the origin to durable at another region.
    pub lag_p50_ms: Option<u64>,
    pub lag_p99_ms: Option<u64>,
    pub lag_max_ms: Option<u64>,
    /// Conflict records, all regions together.
    pub conflicts_max: Option<u64>,
    /// At least so many: for a scenario that shows them.
    pub conflicts_min: Option<u64>,
    /// Operations that met a region that was down, or an error.
    pub refused_max: Option<u64>,
    /// From the end of the faults until all regions are equal.
    pub converge_within: Option<Span>,
    /// The longest of the regions' 99th percentiles of writes. Modelled.
    pub write_p99_ms: Option<u64>,
}

/// One expectation and what came of it. The figures are in the unit that its name ends with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub key: String,
    pub limit: u64,
    /// `None`: there is no such figure, because it never came to be.
    pub found: Option<u64>,
    pub met: bool,
}

impl Outcome {
    /// In words: `lag_p99_ms is 612, expected at most 400`.
    pub fn sentence(&self) -> String {
        let found = self
            .found
            .map_or("unknown".into(), |found| found.to_string());
        let way = if self.key.ends_with("_min") {
            "least"
        } else {
            "most"
        };
        format!("{} is {found}, expected at {way} {}", self.key, self.limit)
    }
}

/// What expectations are held against.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Median, 99th percentile and maximum.
    pub lags_us: Option<[u64; 3]>,
    pub conflicts: u64,
    pub refused: u64,
    pub converged_us: Option<u64>,
    pub write_p99_us: Option<u64>,
}

impl Figures {
    pub fn of(run: &RunReport) -> Figures {
        let writes = run.figures.iter().flat_map(|f| &f.latencies);
        let writes = writes.filter(|l| l.class == "write" || l.class == "transaction");
        Figures {
            lags_us: Some([run.lag_p50_us, run.lag_p99_us, run.lag_max_us]),
            conflicts: run.conflicts,
            refused: run.refused,
            converged_us: run.converged_us,
            write_p99_us: writes.map(|l| l.p99_us).max(),
        }
    }
}

impl Expect {
    pub fn is_empty(&self) -> bool {
        *self == Expect::default()
    }

    /// What either of the two says; where both do, `other`.
    #[must_use]
    pub fn with(self, other: Expect) -> Expect {
        Expect {
            lag_p50_ms: other.lag_p50_ms.or(self.lag_p50_ms),
            lag_p99_ms: other.lag_p99_ms.or(self.lag_p99_ms),
            lag_max_ms: other.lag_max_ms.or(self.lag_max_ms),
            conflicts_max: other.conflicts_max.or(self.conflicts_max),
            conflicts_min: other.conflicts_min.or(self.conflicts_min),
            refused_max: other.refused_max.or(self.refused_max),
            converge_within: other.converge_within.or(self.converge_within),
            write_p99_ms: other.write_p99_ms.or(self.write_p99_ms),
        }
    }

    /// Holds the expectations against what came of a run.
    pub fn judge(&self, run: &Figures) -> Vec<Outcome> {
        let ms = |us: u64| us.div_ceil(1_000);
        let lag = |at: usize| run.lags_us.and_then(|lags| lags.get(at).copied()).map(ms);
        let within = self.converge_within.map(|span| ms(span.forward_us()));
        let most = [
            ("lag_p50_ms", self.lag_p50_ms, lag(0)),
            ("lag_p99_ms", self.lag_p99_ms, lag(1)),
            ("lag_max_ms", self.lag_max_ms, lag(2)),
            ("conflicts_max", self.conflicts_max, Some(run.conflicts)),
            ("refused_max", self.refused_max, Some(run.refused)),
            ("converge_within_ms", within, run.converged_us.map(ms)),
            ("write_p99_ms", self.write_p99_ms, run.write_p99_us.map(ms)),
        ];
        let outcome = |key: &str, limit: u64, found: Option<u64>, met: bool| Outcome {
            key: key.to_owned(),
            limit,
            found,
            met,
        };
        let most = most.into_iter().filter_map(|(key, limit, found)| {
            let limit = limit?;
            Some(outcome(
                key,
                limit,
                found,
                found.is_some_and(|f| f <= limit),
            ))
        });
        let least = self.conflicts_min.map(|limit| {
            outcome(
                "conflicts_min",
                limit,
                Some(run.conflicts),
                run.conflicts >= limit,
            )
        });
        most.chain(least).collect()
    }
}
