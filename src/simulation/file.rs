//! Plan files: all that one run did, as TOML that plays it again.
//!
//! A seed means something at its commit only: whoever adds a draw changes every world after it. A plan
//! names its configuration and every step with its time, so it stays what it was. What is still drawn while
//! it plays (jitter, the time of a sync) is keyed by the seed it carries and by what the draw is about.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{Config, Plan, Step, index};
use super::report::OracleId;
use super::scenario::{Scenario, ScenarioError};
use crate::whims::WHIMS;

/// Of the format. What is younger than this code is refused.
const VERSION: u32 = 1;

/// One run, drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    version: u32,
    /// The scenario it was drawn from.
    pub name: String,
    /// In words: TOML has no numbers of 64 bits without a sign.
    seed: String,
    /// What this run broke, when it was stored.
    pub oracle: Option<OracleId>,
    config: Config,
    plan: Steps,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    steps: Vec<Step>,
}

impl PlanFile {
    /// What `scenario` and `seed` decide.
    pub fn draw(scenario: &Scenario, seed: u64) -> PlanFile {
        PlanFile::of(&scenario.name, seed, Plan::draw(scenario, seed), None)
    }

    pub(super) fn of(name: &str, seed: u64, plan: Plan, oracle: Option<OracleId>) -> PlanFile {
        PlanFile {
            version: VERSION,
            name: name.to_owned(),
            seed: seed.to_string(),
            oracle,
            config: plan.config,
            plan: Steps { steps: plan.steps },
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed.parse().unwrap_or(0)
    }

    /// Steps: what clients ask and what breaks.
    pub fn len(&self) -> usize {
        self.plan.steps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.plan.steps.is_empty()
    }

    pub(super) fn to_plan(&self) -> Plan {
        Plan {
            config: self.config.clone(),
            steps: self.plan.steps.clone(),
        }
    }

    /// Reads and checks the plan file at `path`.
    pub fn load(path: &Path) -> Result<PlanFile, ScenarioError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError::Read {
            file: file.clone(),
            reason: error.to_string(),
        })?;
        PlanFile::parse(&text, &file)
    }

    /// Checks a plan given as text; `file` is what errors call it.
    pub fn parse(text: &str, file: &str) -> Result<PlanFile, ScenarioError> {
        let plan: PlanFile = toml::from_str(text).map_err(|error| ScenarioError::Parse {
            file: file.to_owned(),
            reason: error.to_string(),
        })?;
        match plan.check() {
            Ok(()) => Ok(plan),
            Err((key, reason)) => Err(ScenarioError::Invalid {
                file: file.to_owned(),
                line: None,
                key: key.to_owned(),
                reason,
            }),
        }
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.version != VERSION {
            let reason = format!(
                "{} is not {VERSION}, which this program reads",
                self.version
            );
            return Err(("version", reason));
        }
        if self.seed.parse::<u64>().is_err() {
            return Err(("seed", format!("'{}' is not a number", self.seed)));
        }
        let count = self.config.regions.len();
        if !(2..=super::scenario::REGIONS_MAX).contains(&count) {
            return Err((
                "config.regions",
                format!("{count} regions are not possible"),
            ));
        }
        let square =
            |rows: &Vec<Vec<_>>| rows.len() == count && rows.iter().all(|r| r.len() == count);
        if !square(&self.config.delays) {
            return Err((
                "config.delays",
                "one row and column per region is needed".into(),
            ));
        }
        let damage = self.config.damage.map(|damage| damage.region);
        if damage.is_some_and(|region| region >= count) {
            return Err(("config.damage", "there is no such region".into()));
        }
        let known = |name: &String| WHIMS.iter().any(|(known, _)| name == known);
        if let Some(name) = self.config.whims.iter().find(|name| !known(name)) {
            return Err(("config.whims", format!("there is no whim '{name}'")));
        }
        if !self.plan.steps.is_sorted_by_key(|step| step.at_us) {
            return Err((
                "plan.steps",
                "they are not in the order of their times".into(),
            ));
        }
        for (at, step) in self.plan.steps.iter().enumerate() {
            if let Some(region) = regions_named(step).into_iter().find(|r| *r >= index(count)) {
                return Err((
                    "plan.steps",
                    format!("step {}: there is no region {region}", at + 1),
                ));
            }
        }
        Ok(())
    }

    /// As TOML: one line for each field of the configuration and for each step.
    pub fn to_toml(&self) -> String {
        let value = |what: Result<Value, serde_json::Error>| what.unwrap_or(Value::Null);
        let mut text = format!(
            "version = {}\nname = {}\nseed = {}\n",
            self.version,
            inline(&Value::from(self.name.as_str())),
            inline(&Value::from(self.seed.as_str()))
        );
        if let Some(oracle) = self.oracle {
            text.push_str(&format!("oracle = \"{}\"\n", oracle.id()));
        }
        text.push_str("\n[config]\n");
        if let Value::Object(fields) = value(serde_json::to_value(&self.config)) {
            for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
                text.push_str(&format!("{name} = {}\n", inline(field)));
            }
        }
        text.push_str("\n[plan]\nsteps = [\n");
        for step in &self.plan.steps {
            let act = inline(&value(serde_json::to_value(&step.act)));
            text.push_str(&format!("  {{ at_us = {}, act = {act} }},\n", step.at_us));
        }
        text.push_str("]\n");
        text
    }
}

/// A value in one line of TOML; what is absent is left out.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(inline).collect();
            format!("[{}]", list.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, field)| !field.is_null());
            let fields: Vec<String> = fields
                .map(|(k, v)| format!("{} = {}", name_in_toml(k), inline(v)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        // JSON's text of a string, number or boolean is TOML's.
        other => other.to_string(),
    }
}

/// A key as TOML takes it: in quotes unless it is plain.
fn name_in_toml(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !key.is_empty() && key.chars().all(plain) {
        true => key.to_owned(),
        false => Value::from(key).to_string(),
    }
}

/// The regions that a step is about, by what its fields are called in its file: so that a kind of fault
/// that is added later is known here too.
pub(super) fn regions_named(step: &Step) -> Vec<u64> {
    let mut named = Vec::new();
    let mut act = serde_json::to_value(&step.act).unwrap_or(Value::Null);
    visit_regions(&mut act, &mut |region| {
        named.extend(region.as_u64());
    });
    named
}

/// Calls `see` with every number in `value` that names a region.
pub(super) fn visit_regions(value: &mut Value, see: &mut dyn FnMut(&mut Value)) {
    let Value::Object(fields) = value else { return };
    for (name, field) in fields.iter_mut() {
        match name.as_str() {
            "region" | "a" | "b" | "from" | "to" | "peer" if field.is_u64() => see(field),
            "ways" => {
                let pairs = field.as_array_mut().into_iter().flatten();
                let ends = pairs.flat_map(|pair| pair.as_array_mut().into_iter().flatten());
                ends.for_each(&mut *see);
            }
            _ => visit_regions(field, see),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_come_back_from_their_files() {
        let scenario = Scenario {
            name: "a \"quoted\" name".into(),
            ..Scenario::default()
        };
        for seed in [0, 1, 2, 3, 4, 5, u64::MAX] {
            let plan = PlanFile::draw(&scenario, seed);
            let back = PlanFile::parse(&plan.to_toml(), "x.toml").unwrap();
            assert_eq!(back, plan);
            assert_eq!(back.seed(), seed);
        }
    }

    #[test]
    fn what_cannot_be_played_is_refused_by_its_key() {
        let good = PlanFile::draw(&Scenario::default(), 1);
        let error = |plan: PlanFile| {
            let parsed = PlanFile::parse(&plan.to_toml(), "x.toml");
            parsed.unwrap_err().to_string()
        };
        let mut young = good.clone();
        young.version = VERSION + 1;
        assert!(error(young).contains("version"));
        let mut lonely = good.clone();
        lonely.config.regions.truncate(1);
        assert!(error(lonely).contains("config.regions"));
        let mut astray = good.clone();
        astray.config.delays.pop();
        assert!(error(astray).contains("config.delays"));
        let mut odd = good.clone();
        odd.config.whims = vec!["a bad day".into()];
        assert!(error(odd).contains("config.whims"));
        let mut backwards = good;
        backwards.plan.steps.reverse();
        assert!(error(backwards).contains("plan.steps"));
    }
}
