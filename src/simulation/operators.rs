//! What operators do to the members: a region is added while the others are busy, another is removed. As the
//! command line does it, they ask any active region, and ask again until it is so.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::host::Region;
use super::plan::{Act, Config, QUIET_US, Step};
use super::rng::Chance;
use super::scenario::Scenario;
use super::world::{Trouble, What, World, region_id};
use crate::replica::manifest::{Addresses, Change, FOUNDING, State};
use crate::replica::mutation::GroupId;
use crate::replica::stable::Retention;

/// Between two times that an operator asks.
const ASK_US: u64 = 500_000;

/// One command. Regions by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// A region that was none is started, and made a member.
    Add {
        region: usize,
    },
    Remove {
        region: usize,
    },
    /// The table is given a replica in the region, or it is taken away.
    Give {
        region: usize,
    },
    Take {
        region: usize,
    },
}

impl Command {
    pub fn region_mut(&mut self) -> &mut usize {
        match self {
            Command::Add { region }
            | Command::Remove { region }
            | Command::Give { region }
            | Command::Take { region } => region,
        }
    }

    fn region(mut self) -> usize {
        *self.region_mut()
    }
}

/// Where operators change the members, one region in the end was none in the beginning.
pub fn newcomers(scenario: &Scenario, regions: usize) -> usize {
    usize::from(scenario.membership && regions > 2)
}

/// Older versions travel again when a table moves to another group: where it does, tombstones stay as long as in
/// production, which is longer than a world lasts. A region that was cut off sends its versions again when it is
/// back, and nothing here tells when it has.
pub fn retention(
    scenario: &Scenario,
    regions: usize,
    movers: usize,
    drawn: Retention,
) -> Retention {
    match newcomers(scenario, regions) + movers {
        0 => drawn,
        _ => Retention {
            log_us: drawn.log_us,
            ..Retention::default()
        },
    }
}

/// What operators do in a world where they do something: the newcomers are added, and one founder is removed.
pub fn drawn(config: &Config, chance: Chance) -> Vec<Step> {
    let founders = config.regions.len().saturating_sub(config.newcomers);
    let mut rng = chance.of("operators", &[]);
    let span_us = config.storm_us.saturating_sub(QUIET_US).max(1);
    let mut steps = Vec::new();
    let mut push = |at_us: u64, command: Command| {
        let act = Act::Operate(command);
        steps.push(Step { at_us, act });
    };
    for region in founders..config.regions.len() {
        push(QUIET_US + rng.below(span_us), Command::Add { region });
    }
    if config.newcomers > 0 && founders > 2 && rng.coin() {
        // Not the first: it is the one that makes and changes the table.
        let region = 1 + rng.index(founders - 1);
        push(QUIET_US + rng.below(span_us), Command::Remove { region });
    }
    steps
}

impl World<'_> {
    /// The members that the world begins with.
    pub(super) fn founders(config: &Config) -> GroupId {
        let count = config.regions.len().saturating_sub(config.newcomers);
        GroupId::of((0..count).map(region_id))
    }

    /// Those that are started later.
    pub(super) fn unborn(config: &Config) -> BTreeSet<usize> {
        let founders = Self::founders(config);
        let all = 0..config.regions.len();
        all.filter(|r| !founders.contains(region_id(*r))).collect()
    }

    pub(super) fn operate(&mut self, command: Command) -> Result<(), Trouble> {
        self.trace(None, || format!("{command:?}"));
        let region = command.region();
        if matches!(command, Command::Add { .. }) && self.unborn.remove(&region) {
            self.start(region)?;
        }
        if self.commands.is_empty() {
            self.schedule(0, What::Pursue);
        }
        self.commands.push(command);
        Ok(())
    }

    /// Every command that is not done is asked for, of an active region that is alive.
    pub(super) fn pursue(&mut self) -> Result<(), Trouble> {
        let mut waited_for = BTreeSet::new();
        for command in std::mem::take(&mut self.commands) {
            let region = command.region();
            if !waited_for.insert(region) {
                self.commands.push(command);
                continue;
            }
            let state = self.newest_state(region);
            let done = match command {
                Command::Add { .. } => !matches!(state, None | Some(State::Joining)),
                Command::Remove { .. } => state == Some(State::Removed),
                Command::Give { .. } => self.is_moved(region, true)?,
                Command::Take { .. } => self.is_moved(region, false)?,
            };
            if done {
                self.trace(Some(region), || format!("{command:?} is done"));
                continue;
            }
            self.commands.push(command);
            let id = region_id(region);
            let change = match (command, state) {
                (Command::Add { .. }, None) => Change::Add {
                    region: id,
                    name: self.regions[region].name.clone(),
                    addresses: Addresses {
                        replication: Some(format!("simulated:{region}")),
                        ..Addresses::default()
                    },
                },
                (Command::Remove { .. }, Some(State::Active)) => Change::Leave { region: id },
                (Command::Remove { .. }, Some(State::Lapsed)) => Change::Remove { region: id },
                _ => continue,
            };
            let others = (0..self.regions.len()).filter(|r| *r != region);
            let mut active = others.filter(|r| self.regions[*r].takes_wishes());
            if let Some(asked) = active.next() {
                let now = self.regions[asked].clock.now(self.now_us);
                self.regions[asked].wish(now, change);
            }
        }
        if !self.commands.is_empty() {
            self.schedule(ASK_US, What::Pursue);
        }
        Ok(())
    }

    /// What a region is among the members, as the newest record has it that any region holds.
    pub(super) fn newest_state(&self, region: usize) -> Option<State> {
        let founders = Self::founders(&self.plan.config);
        // What a newcomer begins with is its own topology, in which it is a founder: nobody agreed on that.
        let agreed = |r: &&Region| {
            let is_founder = founders.contains(r.id());
            is_founder || r.epoch().is_some_and(|epoch| epoch > FOUNDING)
        };
        let known = self.regions.iter().filter(agreed);
        let known = known.filter_map(|r| r.members());
        let newest = known.max_by_key(|manifest| manifest.epoch)?;
        newest.state(region_id(region))
    }

    /// Whether two regions let each other in at all: as certificates and the members they know decide. A region
    /// that is turned away knows so.
    pub(super) fn may_connect(&mut self, a: usize, b: usize) -> bool {
        let knows = |here: usize, there: usize| {
            let members = self.regions[here].members();
            members.is_some_and(|m| m.member(region_id(there)).is_some())
        };
        // One that lapsed may come back.
        let calls = |here: usize, there: usize| {
            let members = self.regions[here].members();
            let stays = |at| members.and_then(|m| m.state(region_id(at))) != Some(State::Removed);
            stays(here) && stays(there)
        };
        let (a_knows, b_knows) = (knows(a, b), knows(b, a));
        let may = a_knows && b_knows && (calls(a, b) || calls(b, a));
        self.regions[a].set_unwelcome(!b_knows);
        self.regions[b].set_unwelcome(!a_knows);
        may
    }

    /// Whether all members have everything, and take writes.
    pub(super) fn is_converged(&self) -> bool {
        let members = self.final_members();
        let done = members.iter().all(|r| self.unfinished(*r).is_none());
        done && self.commands.is_empty() && self.oracles.all_applied()
    }

    /// What keeps a region from being done, in words.
    pub(super) fn unfinished(&self, region: usize) -> Option<&'static str> {
        let here = &self.regions[region];
        if !here.serves() {
            return Some("is being rebuilt");
        }
        if !here.is_idle() {
            return Some("is busy");
        }
        self.fenced_us(region).map(|_| "is fenced")
    }

    /// The regions that are members, by what is known anywhere.
    pub(super) fn final_members(&self) -> Vec<usize> {
        let all = 0..self.regions.len();
        let stays = |r: &usize| {
            let gone = self.newest_state(*r) == Some(State::Removed);
            !gone && !self.unborn.contains(r)
        };
        all.filter(stays).collect()
    }
}
