//! What clients do to a table that merges: they count, assign, put and delete the same few items in every region.

use serde::{Deserialize, Serialize};

use super::plan::{Act, Config, Operation, OperationKind, QUIET_US, Step, index};
use super::rng::{Chance, Rng};
use super::scenario::Scenario;

/// What is done to an item of the table that merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeAct {
    /// Puts an item whose counter comes from the operation's id.
    Put(u64),
    Delete,
    /// Adds to the counter.
    Count(i64),
    /// Assigns this attribute the operation's id.
    Assign(u32, u64),
    /// Assigns the counter.
    Reset(i64),
}

/// Writes in a second, all regions together.
const PER_SECOND: u64 = 5;

/// How many items of such a table a world has.
pub fn draw(scenario: &Scenario, chance: Chance) -> u32 {
    if scenario.steady || scenario.script.is_some() || !scenario.clients.is_empty() {
        return 0;
    }
    chance.of("merged", &[]).pick(&[0, 0, 1, 4])
}

/// The steps. Ids follow those of the other `operations`.
pub fn steps(config: &Config, chance: Chance, operations: usize) -> Vec<Step> {
    if config.merged == 0 {
        return Vec::new();
    }
    let mut rng = chance.of("merge mix", &[]);
    // Worlds that only count, that hardly ever assign, and that do everything.
    let mix = Mix(rng.pick(&[[0, 0, 8, 2, 0], [1, 1, 12, 4, 1], [2, 2, 4, 4, 2]]));
    let span_us = config.storm_us.saturating_sub(QUIET_US);
    let step = |at: u64| {
        let mut rng = chance.of("merge", &[at]);
        let region = rng.index(config.regions.len());
        let id = index(operations) + at + 1;
        let key = u32::try_from(rng.below(u64::from(config.merged))).unwrap_or(0);
        let operation = Operation {
            id,
            client: index(region) * config.clients_per_region,
            region,
            way: None,
            bytes: 0,
            kind: OperationKind::Merge {
                key,
                act: mix.act(id, &mut rng),
            },
        };
        Step {
            at_us: QUIET_US + rng.below(span_us),
            act: Act::Ask(operation),
        }
    };
    (0..PER_SECOND * span_us / 1_000_000).map(step).collect()
}

/// Weights of puts, deletions, additions, assignments and resets of the counter.
struct Mix([u64; 5]);

impl Mix {
    fn act(&self, id: u64, rng: &mut Rng) -> MergeAct {
        let small = |rng: &mut Rng| i64::try_from(rng.below(9)).unwrap_or(0) - 2;
        match super::steady::weighted(&self.0, rng) {
            0 => MergeAct::Put(id),
            1 => MergeAct::Delete,
            2 => MergeAct::Count(small(rng)),
            3 => MergeAct::Assign(u32::from(rng.coin()), id),
            _ => MergeAct::Reset(small(rng)),
        }
    }
}
