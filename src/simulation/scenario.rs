//! Scenario files: `simulations/*.toml` fix what they name and leave the rest to the seed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::de::DeTable;

use super::clients::{self, Burst, Clients, Sun};
use super::expect::Expect;
use super::lines;
use super::links::{self, Link, Network, RoundTrip};
use super::places;
use super::script::{self, Flaw, Script, Sections};
use super::service::Service;

/// The most regions of one world.
pub(super) const REGIONS_MAX: usize = 7;

/// A simulated world as far as a file fixes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// AWS names; their distances are the measured ones, unless the topology or a link says otherwise.
    pub regions: Option<Vec<String>>,
    /// A topology file: the source of the regions, unless they are named, and of links.
    pub topology: Option<String>,
    /// What the topology's file says of its links.
    #[serde(skip)]
    pub round_trips: Vec<RoundTrip>,
    #[serde(default)]
    pub network: Network,
    #[serde(default, rename = "link")]
    pub links: Vec<Link>,
    /// Nothing is left to chance but the instants: clocks agree, nothing is late or doubled, and regions are
    /// set up as the daemon is. For planning, where a seed should not decide what a network is like.
    #[serde(default)]
    pub steady: bool,
    /// What each kind of work takes.
    pub service: Option<Service>,
    /// What the run must show besides.
    #[serde(default)]
    pub expect: Expect,
    /// Of the storm: how long clients and faults go on, such as `"30s"`.
    pub duration: Option<Span>,
    /// Within which all regions must be equal once every fault is healed.
    pub converge_within: Option<Span>,
    #[serde(default)]
    pub workload: Workload,
    /// Instead of the workload's rate and mix: what each region's clients do.
    #[serde(default)]
    pub clients: Vec<Clients>,
    /// Clients ask by the time of day.
    pub sun: Option<Sun>,
    #[serde(default, rename = "burst")]
    pub bursts: Vec<Burst>,
    /// Where regions are that AWS does not have.
    #[serde(default, rename = "place")]
    pub places: Vec<places::Named>,
    /// Whether the seed adds faults to those listed. Absent: only when none are listed.
    pub seed_faults: Option<bool>,
    /// Whether the disk of a region is lost, or put back as it was once. Absent: the seed decides.
    pub disks: Option<bool>,
    /// Whether members are away for longer than the others wait for them. Absent: no.
    pub dead_members: Option<bool>,
    /// Operators change the members: the last region is added while the others are busy, and one may be removed.
    #[serde(default)]
    pub membership: bool,
    /// Whether the replicas of the table that some regions have are removed and added. Absent: no.
    pub movers: Option<bool>,
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// `[[table]]`, `[[step]]` and `[[expect]]`: clients that do something particular, and no others.
    #[serde(skip)]
    pub script: Option<Script>,
}

/// What clients do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Of all regions together.
    pub operations_per_second: Option<u64>,
    /// Items that are written singly.
    pub keys: Option<u32>,
    /// Groups of items that are only written together, in one transaction.
    pub cohorts: Option<u32>,
    pub cohort_keys: Option<u32>,
    /// Whether the table has a stream; it has unless this says not.
    pub streams: Option<bool>,
    /// Items that expire, unless another region puts it off just in time.
    pub expiring: Option<u32>,
    /// Items of a table that merges (docs/merging.md).
    pub merged: Option<u32>,
    /// Bytes that each item carries besides its few attributes.
    pub item_bytes: Option<usize>,
    /// How often each operation is asked, relative to the others; absent: as the seed says.
    pub mix: Option<Mix>,
    /// How much of the operations each region's clients ask, relative to the others; absent: the same.
    pub shares: Option<BTreeMap<String, u64>>,
}

/// Weights of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    pub put: u64,
    pub put_if_absent: u64,
    pub update: u64,
    pub delete: u64,
    pub read: u64,
    pub transaction: u64,
    pub read_cohort: u64,
}

impl Mix {
    /// In the order in which plans draw them.
    pub(super) fn weights(self) -> [u64; 7] {
        [
            self.put,
            self.put_if_absent,
            self.update,
            self.delete,
            self.read,
            self.transaction,
            self.read_cohort,
        ]
    }
}

/// One fault: exactly one of `cut`, `isolate`, `reset`, `kill`, `skew`, `stall`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub at: Span,
    /// Nothing passes between the two regions.
    pub cut: Option<[String; 2]>,
    /// With `cut`: only from the first to the second.
    #[serde(default)]
    pub one_way: bool,
    /// Nothing passes between the region and any other.
    pub isolate: Option<String>,
    /// With `cut` and `isolate`; absent: when the storm ends.
    pub heal_after: Option<Span>,
    /// The connection between the two regions dies, and what is on its way with it.
    pub reset: Option<[String; 2]>,
    /// The region's process dies, between two commits or within one.
    pub kill: Option<String>,
    /// With `kill`; absent: when the storm ends.
    pub restart_after: Option<Span>,
    /// The region's wall clock is set.
    pub skew: Option<String>,
    /// With `skew`, and with `kill` for the clock after the restart; may be negative.
    pub by: Option<Span>,
    /// The region's disk takes `by` longer for each sync, until `heal_after`.
    pub stall: Option<String>,
}

/// A time span such as `"500ms"`, `"10s"`, `"2m"` or `"-5s"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span {
    pub us: i64,
}

impl Span {
    /// Its length in microseconds; 0 when negative.
    pub fn forward_us(self) -> u64 {
        u64::try_from(self.us).unwrap_or(0)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit_us = match text.get(digits.len()..) {
            Some("us") => 1,
            Some("ms") => 1_000,
            Some("s") => 1_000_000,
            Some("m") => 60_000_000,
            _ => return Err(format!("'{text}' is not a time span such as \"10s\"")),
        };
        let count: i64 = (digits.parse()).map_err(|_| {
            format!("'{text}' is not a time span: '{digits}' is not a whole number")
        })?;
        let us = count
            .checked_mul(unit_us)
            .filter(|us| us.abs() <= 86_400_000_000);
        us.map(|us| Span { us })
            .ok_or_else(|| format!("'{text}' is longer than a day"))
    }
}

/// Why a scenario cannot be run. Names the file and, where there is one, the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    #[error("the scenario '{file}' cannot be read: {reason}")]
    Read { file: String, reason: String },
    #[error("the scenario '{file}' is not valid: {reason}")]
    Parse { file: String, reason: String },
    #[error("the scenario '{file}' is not valid{}: {key}: {reason}", at_line(*.line))]
    Invalid {
        file: String,
        /// Where the key is, if the file has it.
        line: Option<usize>,
        key: String,
        reason: String,
    },
    #[error("the scenario is not valid: {file}:{line}: {reason}")]
    Flawed {
        file: String,
        line: usize,
        reason: String,
    },
}

fn at_line(line: Option<usize>) -> String {
    line.map_or(String::new(), |line| format!(", line {line}"))
}

impl Scenario {
    /// Reads and checks the scenario file at `path`.
    pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError::Read {
            file: file.clone(),
            reason: error.to_string(),
        })?;
        Scenario::parse(&text, &file)
    }

    /// Checks a scenario given as text; `file` is what errors call it.
    pub fn parse(text: &str, file: &str) -> Result<Scenario, ScenarioError> {
        let flawed = |flaw: Flaw| ScenarioError::Flawed {
            file: file.to_owned(),
            line: script::line_of(text, flaw.at),
            reason: flaw.reason,
        };
        let toml = |error: toml::de::Error| {
            flawed(Flaw {
                at: error.span().map_or(0, |span| span.start),
                reason: error.message().to_owned(),
            })
        };
        let mut document = DeTable::parse(text).map_err(toml)?;
        let sections = Sections::take(document.get_mut()).map_err(flawed)?;
        let rest = toml::de::Deserializer::from(document);
        let mut scenario = Scenario::deserialize(rest).map_err(toml)?;
        scenario.expect = sections.figures;
        let checked = (scenario.take_topology(file)).and_then(|()| scenario.check());
        checked.map_err(|(key, reason)| ScenarioError::Invalid {
            file: file.to_owned(),
            line: lines::line_of(text, &key),
            key,
            reason,
        })?;
        if let Some(at) = sections.at() {
            let script = scenario.take_script(&sections, text, at);
            script.map_err(flawed)?;
        }
        Ok(scenario)
    }

    fn take_script(&mut self, sections: &Sections<'_>, text: &str, at: usize) -> Result<(), Flaw> {
        let refuse = |reason: &str| script::flaw(at, reason);
        let Some(regions) = &self.regions else {
            return refuse("steps name regions, so the scenario must too: regions = [..]");
        };
        if self.workload != Workload::default() || !self.clients.is_empty() {
            return refuse(
                "a scenario has steps or other clients ([workload], [[clients]]), not both",
            );
        }
        let duration_us = self.duration.map(Span::forward_us);
        self.script = Some(sections.script(text, regions, duration_us)?);
        // What a step shows is to depend on nothing that is not written.
        self.steady = true;
        Ok(())
    }

    /// Every pair of its regions, and how far they are apart.
    pub fn round_trips_ms(&self) -> Vec<(String, String, f64)> {
        let regions = self.regions.as_deref().unwrap_or_default();
        let delays = links::delays(self, regions);
        let mut trips = Vec::new();
        for (from, row) in regions.iter().zip(delays) {
            for (to, delay) in regions.iter().zip(row).take_while(|(to, _)| *to != from) {
                let rtt_ms = 2.0 * delay.base_us as f64 / 1e3;
                trips.push((from.clone(), to.clone(), rtt_ms));
            }
        }
        trips
    }

    /// Regions and round trips of the topology's file, if one is named.
    fn take_topology(&mut self, file: &str) -> Result<(), (String, String)> {
        let Some(named) = &self.topology else {
            return Ok(());
        };
        let found = links::topology(named, file);
        let topology = found.map_err(|reason| ("topology".to_owned(), reason))?;
        self.round_trips = links::round_trips(&topology);
        if self.regions.is_none() {
            let names = topology.regions.iter().map(|region| region.name.clone());
            self.regions = Some(names.collect());
        }
        Ok(())
    }

    fn check(&self) -> Result<(), (String, String)> {
        let refuse = |key: &str, reason: String| Err((key.to_owned(), reason));
        if let Some(regions) = &self.regions {
            if !(2..=REGIONS_MAX).contains(&regions.len()) {
                return refuse(
                    "regions",
                    format!("2 to {REGIONS_MAX} regions are possible"),
                );
            }
            for (at, name) in regions.iter().enumerate() {
                if regions.iter().take(at).any(|other| other == name) {
                    return refuse("regions", format!("'{name}' is there twice"));
                }
            }
            if let Some((a, b)) = links::unknown(self, regions) {
                let hint = "name AWS regions, or give a [[link]] with its rtt";
                return refuse(
                    "regions",
                    format!("how far '{a}' and '{b}' are apart is unknown: {hint}"),
                );
            }
        }
        self.check_links()?;
        places::check(self)?;
        if self.duration.is_some_and(|d| d.us < 1_000_000) {
            return refuse("duration", "at least 1s is needed".into());
        }
        let workload = &self.workload;
        if workload.keys == Some(0) {
            return refuse("workload.keys", "at least 1 is needed".into());
        }
        if workload
            .cohort_keys
            .is_some_and(|k| !(2..=100).contains(&k))
        {
            return refuse("workload.cohort_keys", "2 to 100 are possible".into());
        }
        for (at, fault) in self.faults.iter().enumerate() {
            if self.duration.is_some_and(|d| fault.at.us >= d.us) {
                return refuse(
                    &format!("fault {}: at", at + 1),
                    "is after the duration".into(),
                );
            }
            self.check_fault(fault)
                .map_err(|(key, reason)| (format!("fault {}: {key}", at + 1), reason))?;
        }
        clients::check(self)
    }

    /// Links and shares are of regions that are there, and mixes of something.
    fn check_links(&self) -> Result<(), (String, String)> {
        let named = self.links.iter().flat_map(|link| &link.between);
        let named = named.map(|name| ("link: between", name));
        let shares = self.workload.shares.iter().flatten();
        for (key, name) in named.chain(shares.map(|(name, _)| ("workload.shares", name))) {
            if !self.regions.as_ref().is_some_and(|all| all.contains(name)) {
                return Err((key.to_owned(), format!("'{name}' is not among the regions")));
            }
        }
        let nothing = |weights: u64| weights == 0;
        if self
            .workload
            .mix
            .is_some_and(|mix| nothing(mix.weights().iter().sum()))
        {
            return Err(("workload.mix".into(), "every weight is 0".into()));
        }
        if self
            .workload
            .shares
            .as_ref()
            .is_some_and(|s| nothing(s.values().sum()))
        {
            return Err(("workload.shares".into(), "every share is 0".into()));
        }
        if self
            .workload
            .item_bytes
            .is_some_and(|bytes| bytes > 390_000)
        {
            return Err((
                "workload.item_bytes".into(),
                "an item has 400 KB at most".into(),
            ));
        }
        Ok(())
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), (String, String)> {
        let refuse = |key: &str, reason: String| Err((key.to_owned(), reason));
        let Some(regions) = &self.regions else {
            return refuse(
                "regions",
                "faults name regions, so the scenario must too".into(),
            );
        };
        let kinds = [
            fault.cut.is_some(),
            fault.isolate.is_some(),
            fault.reset.is_some(),
            fault.kill.is_some(),
            fault.skew.is_some(),
            fault.stall.is_some(),
        ];
        if kinds.iter().filter(|k| **k).count() != 1 {
            return refuse(
                "at",
                "each fault is exactly one of cut, isolate, reset, kill, skew, stall".into(),
            );
        }
        let pairs = [("cut", &fault.cut), ("reset", &fault.reset)];
        let pairs = pairs
            .iter()
            .flat_map(|(key, pair)| pair.iter().map(move |p| (*key, p)));
        for (key, [a, b]) in pairs.clone() {
            if a == b {
                return refuse(key, format!("'{a}' and itself"));
            }
        }
        let single = [
            ("isolate", &fault.isolate),
            ("kill", &fault.kill),
            ("skew", &fault.skew),
            ("stall", &fault.stall),
        ];
        let single = single
            .iter()
            .flat_map(|(key, name)| name.iter().map(move |n| (*key, n)));
        let named = pairs.flat_map(|(key, pair)| pair.iter().map(move |name| (key, name)));
        for (key, name) in named.chain(single) {
            if !regions.contains(name) {
                return refuse(key, format!("'{name}' is not among the regions"));
            }
        }
        let spans = [
            ("at", Some(fault.at)),
            ("heal_after", fault.heal_after),
            ("restart_after", fault.restart_after),
        ];
        if let Some((key, _)) = spans.iter().find(|(_, s)| s.is_some_and(|s| s.us < 0)) {
            return refuse(key, "must not be negative".into());
        }
        if (fault.skew.is_some() || fault.stall.is_some()) && fault.by.is_none() {
            return refuse("by", "is missing".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_all_units() {
        let us = |text: &str| Span::try_from(text.to_owned()).map(|s| s.us);
        assert_eq!(us("250us"), Ok(250));
        assert_eq!(us("500ms"), Ok(500_000));
        assert_eq!(us("-5s"), Ok(-5_000_000));
        assert_eq!(us("2m"), Ok(120_000_000));
        for wrong in ["", "s", "5", "5h", "1.5s", "9999m", "99999999999999999999s"] {
            assert!(us(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_name_the_file_and_the_key() {
        let error = |text: &str| Scenario::parse(text, "x.toml").unwrap_err().to_string();
        let unknown = error("name = \"x\"\nregionen = []");
        assert!(
            unknown.contains("x.toml") && unknown.contains("regionen"),
            "{unknown}"
        );
        assert!(error("name = \"x\"\nregions = [\"eu-west-1\", \"mars\"]").contains("'mars'"));
        let base =
            "name = \"x\"\nregions = [\"eu-west-1\", \"us-east-1\"]\n[[fault]]\nat = \"1s\"\n";
        let two = error(&format!("{base}kill = \"eu-west-1\"\nskew = \"eu-west-1\""));
        assert!(two.contains("fault 1: at"), "{two}");
        let stranger = error(&format!("{base}cut = [\"eu-west-1\", \"us-west-2\"]"));
        assert!(stranger.contains("fault 1: cut"), "{stranger}");
        assert!(Scenario::parse(&format!("{base}kill = \"eu-west-1\""), "x").is_ok());
    }
}
