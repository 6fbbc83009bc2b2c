//! What operators do to the table: its replica in a region is added and removed by UpdateTable, while clients write
//! and faults happen. Any region that has the table is asked, as through the API, and again until it is so.

use super::host::{Asker, Work};
use super::operators::Command;
use super::plan::{Act, Config, QUIET_US, Step, index};
use super::rng::Chance;
use super::scenario::Scenario;
use super::workload;
use super::world::{Trouble, World, region_id};
use crate::replica::members::{self, MemberStatus};
use crate::replica::read;
use crate::replica::request::{TableChange, WriteRequest};

/// These always have the table: a log that one region alone reads is not kept, and oracles read logs.
pub const STAY: usize = 2;
/// A region whose replica is removed keeps other changes of the table waiting for so long, if it does not answer.
const WAIT_US: u64 = 60_000_000;

/// Of how many regions, the last founders, the replica of the table comes and goes.
pub fn count(scenario: &Scenario, founders: usize) -> usize {
    match scenario.movers {
        Some(true) => founders.saturating_sub(STAY),
        Some(false) | None => 0,
    }
}

/// Where it does, one region more is needed.
pub fn regions_min(scenario: &Scenario) -> usize {
    match scenario.movers {
        Some(true) => STAY + 1,
        Some(false) | None => 0,
    }
}

/// What comes and goes may have to wait for what does not answer.
pub fn allow_for_them(config: &mut Config) {
    if config.movers > 0 {
        config.converge_us += WAIT_US;
        // A session's token says nothing of what was written where its new region had no replica yet.
        config.moves = 0;
    }
}

/// Two to ten changes, of each region by turns: it has the table in the beginning.
pub fn drawn(config: &Config, chance: Chance) -> Vec<Step> {
    let founders = config.regions.len().saturating_sub(config.newcomers);
    let first = founders.saturating_sub(config.movers);
    let mut rng = chance.of("movers", &[]);
    let span_us = config.storm_us.saturating_sub(QUIET_US).max(1);
    if first == founders {
        return Vec::new();
    }
    let mut times: Vec<u64> = (0..rng.between(2, 10))
        .map(|_| QUIET_US + rng.below(span_us))
        .collect();
    times.sort_unstable();
    let mut has = vec![true; founders];
    let mut step = |at_us: u64| {
        let region = first + rng.index(founders - first);
        has[region] = !has[region];
        let command = match has[region] {
            true => Command::Give { region },
            false => Command::Take { region },
        };
        let act = Act::Operate(command);
        Step { at_us, act }
    };
    times.into_iter().map(&mut step).collect()
}

impl World<'_> {
    /// Asks some region that the table has a replica in `region`, or has none, if that is not so yet. Now and then
    /// another region too: operators do not know of each other.
    pub(super) fn is_moved(&mut self, region: usize, wanted: bool) -> Result<bool, Trouble> {
        let mut can = Vec::new();
        for other in (0..self.regions.len()).filter(|other| *other != region) {
            let txn = self.regions[other].snapshot()?;
            let def = read::table(&*txn, region_id(other), workload::TABLE)?;
            let Some(def) = def.filter(|_| self.regions[other].serves()) else {
                continue;
            };
            if !members::is_joining(&*txn, &def, region_id(other))? {
                let statuses = members::statuses(&*txn, &def)?;
                let status = statuses.into_iter().find(|(r, _)| *r == region_id(region));
                can.push((other, status.map(|(_, status)| status)));
            }
        }
        let mut rng = self.chance.of("mover asks", &[index(region), self.now_us]);
        rng.shuffle(&mut can);
        can.truncate(if rng.per_mille(250) { 2 } else { 1 });
        let is_so = |(_, status): &(usize, Option<MemberStatus>)| match status {
            None => !wanted,
            Some(status) => wanted && *status == MemberStatus::Active,
        };
        if can.first().is_some_and(is_so) {
            return Ok(true);
        }
        for (asked, status) in can {
            self.ask_to_move(asked, region, wanted, status)?;
        }
        Ok(false)
    }

    fn ask_to_move(
        &mut self,
        asked: usize,
        region: usize,
        wanted: bool,
        status: Option<MemberStatus>,
    ) -> Result<(), Trouble> {
        use MemberStatus::{Active, Creating, Failed};
        let id = region_id(region);
        let change = match (wanted, status) {
            (true, None | Some(Failed(_))) => TableChange::AddReplica(id),
            (false, Some(Active | Creating | Failed(_))) => TableChange::RemoveReplica(id),
            // It comes or goes.
            _ => return Ok(()),
        };
        let table = workload::TABLE.to_owned();
        let request = Box::new(WriteRequest::UpdateTable { table, change });
        let asker = Asker::World;
        self.regions[asked].enqueue(Work::Write { asker, request });
        self.begin_group(asked, false)
    }
}
