//! The simulated world as a cluster that scripts are played on.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{Api, Call, Clash, Cluster, Lost, Operator, Place, Reply, Request, Script, Side, Turn};
use crate::item::{Item, codec};
use crate::replica::mutation::Version;
use crate::replica::request::WriteResponse;
use crate::replica::{ApiError, conflict, read};
use crate::simulation::host::{Asker, Work};
use crate::simulation::plan::{Config, Disk, Kill, QUIET_US};
use crate::simulation::skew::EPOCH_US;
use crate::simulation::world::{Trouble, World, region_id};

/// How long a read takes. Modelled.
const READ_US: u64 = 150;
/// For how long a client waits for an answer.
const ANSWER_US: u64 = 30_000_000;

/// The requests that are under way in a world.
pub struct Stage<'o> {
    api: &'o dyn Api,
    calls: BTreeMap<u64, OnStage>,
    next: u64,
}

struct OnStage {
    call: Box<dyn Call>,
    region: usize,
    /// The region's process that it was asked of.
    life: u64,
    asked_us: u64,
    reply: Option<Reply>,
}

impl<'o> Stage<'o> {
    pub fn new(api: &'o dyn Api) -> Self {
        Stage {
            api,
            calls: BTreeMap::new(),
            next: 0,
        }
    }
}

/// Of a world with a script: its time begins when the quiet ends, and nobody else asks anything.
pub fn set(config: &mut Config, script: &Script) {
    config.storm_us = QUIET_US + script.end_us;
    config.operations_per_second = 0;
    config.cohorts = 0;
    config.expiring = 0;
}

/// As the front door answers for a region that is down.
fn unavailable(region: &str) -> Json {
    let message = format!("region {region} does not answer");
    json!({"__type": "com.amazon.coral.service#ServiceUnavailable", "message": message})
}

impl World<'_> {
    /// Begins a request; its reply comes when the world goes on.
    fn call(&mut self, request: Request) -> Result<u64, Trouble> {
        let region = request.region;
        let place = Place {
            region: region_id(region),
            regions: (self.regions.iter())
                .map(|region| (region.id(), region.name.clone()))
                .collect(),
        };
        let (asked_us, life) = (self.now_us, self.regions[region].life);
        let store = self.regions[region].share();
        let body = request.body.to_string().into_bytes();
        let stage = self.stage.as_mut().expect("scripts are played on a stage");
        let ticket = stage.next;
        stage.next += 1;
        let call = stage.api.call(&place, store, request.operation, body);
        stage.calls.insert(
            ticket,
            OnStage {
                call,
                region,
                life,
                asked_us,
                reply: None,
            },
        );
        self.operations += 1;
        match self.regions[region].serves() {
            true => self.go_on(ticket, None)?,
            false => self.give_up(),
        }
        Ok(ticket)
    }

    /// A request goes on, with what came of its write.
    pub(in crate::simulation) fn go_on(
        &mut self,
        ticket: u64,
        written: Option<Result<WriteResponse, ApiError>>,
    ) -> Result<(), Trouble> {
        let now_us = self.now_us;
        let calls = self.stage.as_mut().map(|stage| &mut stage.calls);
        let Some(one) = calls.and_then(|calls| calls.get_mut(&ticket)) else {
            return Ok(());
        };
        let region = one.region;
        let wrote = written.is_some();
        match one.call.go_on(written) {
            Turn::Answer(status, body) => {
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let took_us = if wrote {
                    now_us - one.asked_us
                } else {
                    READ_US
                };
                one.reply = Some(Reply {
                    status,
                    body,
                    took_us,
                });
                Ok(())
            }
            Turn::Write(request) => {
                let asker = Asker::Script(ticket);
                self.regions[region].enqueue(Work::Write { asker, request });
                self.begin_group(region, false)
            }
        }
    }

    /// Nobody answers the requests to processes that are gone.
    fn give_up(&mut self) {
        let calls = self.stage.iter_mut().flat_map(|stage| &mut stage.calls);
        for (_, one) in calls.filter(|(_, one)| one.reply.is_none()) {
            let region = &self.regions[one.region];
            if !region.serves() || region.life != one.life {
                let body = unavailable(&region.name);
                let (status, took_us) = (503, self.now_us - one.asked_us);
                one.reply = Some(Reply {
                    status,
                    body,
                    took_us,
                });
            }
        }
    }

    fn answered(&self) -> bool {
        let calls = self.stage.iter().flat_map(|stage| stage.calls.values());
        calls.into_iter().all(|one| one.reply.is_some())
    }

    /// Does something; what goes wrong is a violation, and the end.
    fn attempt(
        &mut self,
        action: impl FnOnce(&mut Self) -> Result<(), Trouble>,
    ) -> Result<(), Lost> {
        self.guarded(action);
        self.sound()
    }

    fn sound(&self) -> Result<(), Lost> {
        match self.oracles.violations.first() {
            None => Ok(()),
            Some(violation) => Err(Lost(violation.to_string())),
        }
    }

    fn clash(&self, kept: &conflict::Kept, key: Item) -> Result<Clash, Trouble> {
        let side = |version: &Version, image: &Option<Vec<u8>>| {
            let item = image.as_deref().map(codec::decode).transpose();
            let item = item.map_err(|e| crate::store::StoreError::Damaged(e.to_string()))?;
            let region = usize::from(version.dot.log.origin.region.0);
            Ok::<_, Trouble>(Side { region, item })
        };
        let conflict = &kept.conflict;
        Ok(Clash {
            id: kept.id.to_string(),
            key,
            winner: side(&conflict.winner, &conflict.winner_image)?,
            loser: side(&conflict.loser, &conflict.loser_image)?,
        })
    }

    fn kept(&self, region: usize, table: &str) -> Result<Vec<Clash>, Trouble> {
        let txn = self.regions[region].snapshot()?;
        let Some(def) = read::table(&*txn, region_id(region), table)? else {
            return Ok(Vec::new());
        };
        let mut clashes = Vec::new();
        for kept in conflict::list(&*txn, Some(table), usize::MAX)? {
            let key = &kept.conflict.key;
            let key = def.keys.key_item(&key.partition, &key.sort);
            clashes.push(self.clash(&kept, key.unwrap_or_default())?);
        }
        Ok(clashes)
    }
}

/// A scenario's time begins when the world's quiet ends, so that a world's faults and a script's steps agree.
impl Cluster for World<'_> {
    fn gather(&mut self) -> Result<(), Lost> {
        let all_serve = |world: &Self| world.regions.iter().all(|region| region.serves());
        while !all_serve(self) && self.next_event(QUIET_US) {}
        self.sound()
    }

    fn begin(&mut self) -> Result<(), Lost> {
        self.advance(QUIET_US);
        self.sound()?;
        match self.is_converged() {
            true => Ok(()),
            false => {
                let seconds = QUIET_US / 1_000_000;
                Err(Lost(format!(
                    "the tables are not everywhere after {seconds} s"
                )))
            }
        }
    }

    fn now_us(&self) -> u64 {
        self.now_us.saturating_sub(QUIET_US)
    }

    fn started_us(&self) -> u64 {
        EPOCH_US + QUIET_US
    }

    fn pause(&mut self, for_us: u64) -> Result<(), Lost> {
        self.advance(self.now_us + for_us);
        self.sound()
    }

    fn ask(&mut self, requests: Vec<Request>) -> Result<Vec<Reply>, Lost> {
        let mut tickets = Vec::with_capacity(requests.len());
        for request in requests {
            let mut ticket = None;
            self.attempt(|world| {
                ticket = Some(world.call(request)?);
                Ok(())
            })?;
            tickets.extend(ticket);
        }
        let until_us = self.now_us + ANSWER_US;
        while !self.answered() && self.next_event(until_us) {
            self.sound()?;
            self.give_up();
        }
        let calls = self
            .stage
            .as_mut()
            .map(|stage| std::mem::take(&mut stage.calls));
        let mut calls = calls.unwrap_or_default();
        let replies: Option<Vec<Reply>> = (tickets.iter())
            .map(|ticket| calls.remove(ticket)?.reply)
            .collect();
        let seconds = ANSWER_US / 1_000_000;
        replies.ok_or_else(|| Lost(format!("a region gave no answer within {seconds} s")))
    }

    fn operate(&mut self, operator: &Operator) -> Result<(), Lost> {
        let operator = operator.clone();
        self.attempt(move |world| match operator {
            Operator::Cut(ways) => {
                world.sever_ways(&ways);
                Ok(())
            }
            Operator::Heal(pair) => {
                world.net.mend(pair);
                Ok(())
            }
            Operator::Slow { a, b, rtt_us } => {
                world.net.set_round_trip(a, b, rtt_us);
                Ok(())
            }
            Operator::Skew { region, by_us } => {
                world.regions[region].clock.step(by_us);
                world.clock_set();
                Ok(())
            }
            Operator::Restart(region) if world.regions[region].is_alive() => Ok(()),
            Operator::Restart(region) => world.start(region),
            Operator::Kill(region) => {
                let life = world.regions[region].life;
                let kill = Kill {
                    region,
                    within_commit: false,
                    commit_survives: false,
                    restart_after_us: None,
                    disk: Disk::Kept,
                    step_us: 0,
                };
                world.crash(life, kill)
            }
        })
    }

    fn conflicts(&mut self, region: usize, table: &str) -> Result<Vec<Clash>, Lost> {
        let mut clashes = Vec::new();
        self.attempt(|world| {
            clashes = world.kept(region, table)?;
            Ok(())
        })?;
        Ok(clashes)
    }

    fn calm(&mut self, _within_us: Option<u64>) -> Result<Option<u64>, Lost> {
        // The plan has the calm at this time, and how long it may take until all is equal.
        while self.converged_us.is_none() && self.next_event(u64::MAX) {
            self.sound()?;
        }
        Ok(self.converged_us)
    }

    fn lags_us(&mut self) -> Option<Vec<u64>> {
        let mut lags_us = self.oracles.lags_us.clone();
        lags_us.sort_unstable();
        Some(lags_us)
    }

    fn tell(&mut self, region: Option<usize>, text: &str) {
        self.trace(region, || text.to_owned());
    }

    fn patience_us(&self) -> u64 {
        0
    }
}
