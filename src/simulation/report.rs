//! What a run says about itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::expect::Outcome;
use super::figures::Figures;
use super::script::Finding;

/// The oracles. Their ids are stable: reports, tests and shrinking name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OracleId {
    /// All replicas are equal, and equal to the greatest rank of every commit durable at its origin.
    #[serde(rename = "O1")]
    Convergence,
    /// Every acknowledged write is in that fold and in every region's log.
    #[serde(rename = "O2")]
    Durability,
    /// The visible rank of an item never decreases in a region.
    #[serde(rename = "O3")]
    NoGoingBack,
    /// A client that stays in its region reads at least its own last write and last read.
    #[serde(rename = "O4")]
    Session,
    /// A transaction is one commit, and no reader sees part of it.
    #[serde(rename = "O5")]
    Atomicity,
    /// Indexes and counts are what a rebuild from the items would give.
    #[serde(rename = "O6")]
    DerivedState,
    /// A region's stream records are dense, one for each visible change, and their fold is the table.
    #[serde(rename = "O7")]
    Streams,
    /// A conflict is recorded exactly where two versions met whose writers had not seen each other.
    #[serde(rename = "O8")]
    Conflicts,
    /// What a region holds to be durable everywhere is, and nothing older comes after.
    #[serde(rename = "O9")]
    StableStamp,
    /// No dot names two commits, and nothing leaves a region before it is synced there.
    #[serde(rename = "O10")]
    Dots,
    /// The stamps of a region's commits increase, across restarts and clock steps; those ahead of the time
    /// elsewhere are held there, and applied in the end.
    #[serde(rename = "O11")]
    Clocks,
    /// Nothing is ever repaired, but for what a disk has damaged; and that is, in time.
    #[serde(rename = "O12")]
    Backstop,
    /// What waits and what is under way stays within its bounds, in bytes.
    #[serde(rename = "O13")]
    Bounds,
    /// Everything arrives within the calm phase's bound, and no peer refuses another.
    #[serde(rename = "O14")]
    Liveness,
    /// An expiry is due, and beats exactly the version that it expires.
    #[serde(rename = "O17")]
    Expiry,
    /// A region whose clock is too far ahead takes no write, and one whose clock is right does.
    #[serde(rename = "O18")]
    Fence,
    /// In a table that merges, additions all count, and attributes are what they were last assigned.
    #[serde(rename = "O21")]
    Merging,
    /// No panic, no failed assertion, no error of the store.
    #[serde(rename = "O16")]
    Panic,
}

impl OracleId {
    pub fn id(self) -> &'static str {
        match self {
            OracleId::Convergence => "O1",
            OracleId::Durability => "O2",
            OracleId::NoGoingBack => "O3",
            OracleId::Session => "O4",
            OracleId::Atomicity => "O5",
            OracleId::DerivedState => "O6",
            OracleId::Streams => "O7",
            OracleId::Conflicts => "O8",
            OracleId::StableStamp => "O9",
            OracleId::Dots => "O10",
            OracleId::Clocks => "O11",
            OracleId::Backstop => "O12",
            OracleId::Bounds => "O13",
            OracleId::Liveness => "O14",
            OracleId::Panic => "O16",
            OracleId::Expiry => "O17",
            OracleId::Fence => "O18",
            OracleId::Merging => "O21",
        }
    }

    fn name(self) -> &'static str {
        match self {
            OracleId::Convergence => "convergence",
            OracleId::Durability => "durability",
            OracleId::NoGoingBack => "no going back",
            OracleId::Session => "session",
            OracleId::Atomicity => "atomicity",
            OracleId::DerivedState => "derived state",
            OracleId::Streams => "streams",
            OracleId::Conflicts => "conflicts",
            OracleId::StableStamp => "stable stamp",
            OracleId::Dots => "dots",
            OracleId::Clocks => "clocks",
            OracleId::Backstop => "backstop idle",
            OracleId::Bounds => "bounds",
            OracleId::Liveness => "liveness",
            OracleId::Panic => "panic",
            OracleId::Expiry => "expiry",
            OracleId::Fence => "fence",
            OracleId::Merging => "merging",
        }
    }
}

impl fmt::Display for OracleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id(), self.name())
    }
}

/// Something that must never be, and was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub oracle: OracleId,
    /// Virtual time since the run began.
    pub at_us: u64,
    pub seed: u64,
    pub explanation: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at_us / 1_000_000, self.at_us % 1_000_000);
        write!(
            f,
            "{} at {seconds}.{micros:06} s (seed {}): {}",
            self.oracle, self.seed, self.explanation
        )
    }
}

/// One run. The times are virtual and the latencies modelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunReport {
    pub scenario: String,
    pub seed: u64,
    /// Every event is folded into it: the same seed gives the same hash.
    pub hash: u64,
    pub regions: Vec<String>,
    pub virtual_us: u64,
    /// Client operations attempted.
    pub operations: u64,
    /// Writes acknowledged as done.
    pub acknowledged: u64,
    /// Operations that met a region that was down, or an error.
    pub refused: u64,
    pub events: u64,
    pub frames: u64,
    pub crashes: u64,
    /// Commits that only a lost disk had.
    pub lost: u64,
    pub commits: u64,
    /// Conflict records, all regions together.
    pub conflicts: u64,
    /// Items that a disk damaged and anti-entropy put right.
    pub repairs: u64,
    /// From durable at the origin to durable at another region, over all commits and regions.
    pub lag_p50_us: u64,
    pub lag_p99_us: u64,
    pub lag_max_us: u64,
    /// From the end of the faults until all regions were equal; `None` = they never were.
    pub converged_us: Option<u64>,
    /// How often each oracle looked.
    pub checks: BTreeMap<OracleId, u64>,
    /// How often rare branches were taken (`crate::marks`).
    pub marks: BTreeMap<&'static str, u64>,
    /// How often regions did on a whim what they need not (`crate::whims`).
    pub whims: BTreeMap<&'static str, u64>,
    pub violations: Vec<Violation>,
    /// What the scenario expected besides, and what came of it.
    pub expectations: Vec<Outcome>,
    /// What a script expected, step by step, and what came of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What plots show, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
}

impl RunReport {
    /// No oracle objects, and all that was expected is met.
    pub fn passed(&self) -> bool {
        let met = self.expectations.iter().all(|e| e.met);
        self.violations.is_empty() && met && self.findings.iter().all(|f| f.met)
    }
}

/// The value that `share` of 1,000 are at or below; 0 of nothing. `sorted` ascends.
pub(in crate::simulation) fn percentile(sorted: &[u64], share: usize) -> u64 {
    let at = (sorted.len() * share).div_ceil(1_000).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&values, 500), 50);
        assert_eq!(percentile(&values, 990), 99);
        assert_eq!(percentile(&values, 1_000), 100);
        assert_eq!(percentile(&[7], 500), 7);
        assert_eq!(percentile(&[], 500), 0);
    }

    #[test]
    fn a_violation_reads_as_a_sentence() {
        let violation = Violation {
            oracle: OracleId::Dots,
            at_us: 12_000_345,
            seed: 7,
            explanation: "it left early".into(),
        };
        assert_eq!(
            violation.to_string(),
            "O10 dots at 12.000345 s (seed 7): it left early"
        );
    }
}
