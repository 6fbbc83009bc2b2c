//! The player: does the steps at their times, and looks at what is expected.

use serde_json::{Value as Json, json};

use super::judge::{self, describe, region_name};
use super::value::{item, resolve, show};
use super::{
    Act, Ask, Cluster, Expectation, Expected, Finding, Lost, Operator, Reply, Request, Script, Step,
};
use crate::simulation::expect::Figures;
use crate::simulation::report::percentile;

/// Between two looks at what is not yet as expected.
const LOOK_US: u64 = 50_000;
/// What writes; the others only read, and may be asked again.
const WRITES: [&str; 4] = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"];

/// What came of a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    pub findings: Vec<Finding>,
    pub operations: u64,
    pub figures: Figures,
    writes_us: Vec<u64>,
}

impl Verdict {
    /// The rest was not played.
    pub fn lose(&mut self, lost: &Lost) {
        self.findings.push(Finding {
            line: 0,
            at_us: 0,
            expected: "to be played to its end".to_owned(),
            found: lost.to_string(),
            met: false,
        });
    }
}

struct Player<'p> {
    script: &'p Script,
    cluster: &'p mut dyn Cluster,
    verdict: &'p mut Verdict,
}

/// Plays `script` on `cluster`. `within_us` is for convergence at the end. `verdict` holds what was found until the
/// cluster was lost, if it was.
pub fn play(
    script: &Script,
    cluster: &mut dyn Cluster,
    within_us: Option<u64>,
    verdict: &mut Verdict,
) -> Result<(), Lost> {
    let mut player = Player {
        script,
        cluster,
        verdict,
    };
    player.cluster.gather()?;
    player.make_tables()?;
    player.cluster.begin()?;
    let timed = script.expectations.iter();
    let timed = timed.filter_map(|e| Some((e.at_us?, e)));
    let mut timed = timed.peekable();
    for batch in batches(&script.steps) {
        let at_us = batch.first().map_or(0, |step| step.at_us);
        while let Some((due_us, expectation)) = timed.next_if(|(due_us, _)| *due_us < at_us) {
            player.wait_until(due_us)?;
            player.expect(expectation)?;
        }
        player.wait_until(at_us)?;
        player.act(batch)?;
    }
    for (due_us, expectation) in timed {
        player.wait_until(due_us)?;
        player.expect(expectation)?;
    }
    player.wait_until(script.end_us)?;
    player.end(within_us)
}

/// Steps in order, those together that clients of different regions ask at the same time.
fn batches(steps: &[Step]) -> Vec<&[Step]> {
    let region = |step: &Step| match &step.act {
        Act::Ask(ask) => Some(ask.region),
        Act::Operate(_) => None,
    };
    let mut batches = Vec::new();
    let mut first = 0;
    for (at, step) in steps.iter().enumerate().skip(1) {
        let open = steps.get(first..at).unwrap_or_default();
        let joins = region(step).is_some()
            && open.iter().all(|other| {
                let other_region = region(other);
                other.at_us == step.at_us && other_region.is_some() && other_region != region(step)
            });
        if !joins {
            batches.push(open);
            first = at;
        }
    }
    batches.push(steps.get(first..).unwrap_or_default());
    batches.retain(|batch| !batch.is_empty());
    batches
}

impl Player<'_> {
    fn make_tables(&mut self) -> Result<(), Lost> {
        for table in &self.script.tables {
            self.prepare("CreateTable", table.create.clone(), &table.name)?;
            if let Some(attribute) = &table.ttl {
                let enabled = json!({"Enabled": true, "AttributeName": attribute});
                let body = json!({"TableName": table.name, "TimeToLiveSpecification": enabled});
                self.prepare("UpdateTimeToLive", body, &table.name)?;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, operation: &'static str, body: Json, table: &str) -> Result<(), Lost> {
        let request = Request {
            region: 0,
            operation,
            body,
        };
        for reply in self.cluster.ask(vec![request])? {
            if reply.error().is_some() {
                let refused = judge::outcome(&reply);
                return Err(Lost(format!(
                    "the table '{table}' cannot be made: {refused}"
                )));
            }
        }
        Ok(())
    }

    fn wait_until(&mut self, at_us: u64) -> Result<(), Lost> {
        match at_us.checked_sub(self.cluster.now_us()) {
            Some(for_us) if for_us > 0 => self.cluster.pause(for_us),
            _ => Ok(()),
        }
    }

    fn act(&mut self, batch: &[Step]) -> Result<(), Lost> {
        let mut asks: Vec<(&Step, &Ask)> = Vec::new();
        for step in batch {
            match &step.act {
                Act::Ask(ask) => asks.push((step, ask)),
                Act::Operate(operator) => {
                    self.say(None, &show_operator(self.script, operator));
                    self.cluster.operate(operator)?;
                }
            }
        }
        if asks.is_empty() {
            return Ok(());
        }
        let start_us = self.cluster.started_us();
        let request = |(_, ask): &(&Step, &Ask)| Request {
            region: ask.region,
            operation: ask.operation,
            body: resolve(&ask.body, start_us),
        };
        let replies = self.cluster.ask(asks.iter().map(request).collect())?;
        for ((step, ask), reply) in asks.into_iter().zip(replies) {
            self.judge(step, ask, reply, start_us)?;
        }
        Ok(())
    }

    /// Holds an answer against what is expected of it; a read is asked again for as long as it may take.
    fn judge(&mut self, step: &Step, ask: &Ask, reply: Reply, start_us: u64) -> Result<(), Lost> {
        let writes = WRITES.contains(&ask.operation);
        self.verdict.operations += 1;
        if writes && reply.error().is_none() {
            self.verdict.writes_us.push(reply.took_us);
        }
        let body = resolve(&ask.body, start_us);
        let said = format!("{} {}", ask.operation, show_request(ask, &body));
        self.say(
            Some(ask.region),
            &format!("{said}: {}", judge::outcome(&reply)),
        );
        let mut found = judge::answer(ask, &reply, start_us);
        let until_us = self.cluster.now_us() + self.cluster.patience_us();
        while found.is_some() && !writes && self.cluster.now_us() < until_us {
            self.cluster.pause(LOOK_US)?;
            let request = Request {
                region: ask.region,
                operation: ask.operation,
                body: body.clone(),
            };
            for reply in self.cluster.ask(vec![request])? {
                found = judge::answer(ask, &reply, start_us);
            }
        }
        self.verdict.figures.refused += u64::from(found.is_some() && ask.answer.error.is_none());
        if found.is_some() || ask.answer.is_told() {
            let region = region_name(self.script, ask.region);
            let wanted = judge::wanted(ask, start_us);
            self.find(
                step.line,
                format!("{said} in {region} to give {wanted}"),
                found,
            );
        }
        Ok(())
    }

    fn expect(&mut self, expectation: &Expectation) -> Result<(), Lost> {
        let patience_us = expectation.within_us + self.cluster.patience_us();
        let until_us = self.cluster.now_us() + patience_us;
        let mut found = judge::look(self.cluster, self.script, expectation)?;
        while found.is_some() && self.cluster.now_us() < until_us {
            self.cluster.pause(LOOK_US)?;
            found = judge::look(self.cluster, self.script, expectation)?;
        }
        let start_us = self.cluster.started_us();
        let mut expected = describe(self.script, expectation, start_us);
        if expectation.within_us > 0 {
            let ms = expectation.within_us / 1_000;
            expected.push_str(&format!(", within {ms} ms"));
        }
        self.find(expectation.line, expected, found);
        Ok(())
    }

    fn find(&mut self, line: usize, expected: String, found: Option<String>) {
        let met = found.is_none();
        self.verdict.findings.push(Finding {
            line,
            at_us: self.cluster.now_us(),
            expected,
            found: found.unwrap_or_else(|| "that".to_owned()),
            met,
        });
    }

    /// The calm, and what is expected of the end.
    fn end(&mut self, within_us: Option<u64>) -> Result<(), Lost> {
        self.say(None, "every fault is healed");
        let converged_us = self.cluster.calm(within_us)?;
        self.verdict.figures.converged_us = converged_us;
        let found = match converged_us {
            None => Some("that some still lacked commits".to_owned()),
            Some(_) => {
                let everywhere = Expectation {
                    line: 0,
                    at_us: None,
                    within_us: 0,
                    regions: (0..self.script.regions.len()).collect(),
                    what: Expected::Converged,
                };
                judge::look(self.cluster, self.script, &everywhere)?
            }
        };
        let expected = "the same items in every region, once every fault is healed";
        self.find(0, expected.to_owned(), found);
        let script = self.script;
        for expectation in script.expectations.iter().filter(|e| e.at_us.is_none()) {
            self.expect(expectation)?;
        }
        self.figures()
    }

    fn figures(&mut self) -> Result<(), Lost> {
        let mut conflicts = 0;
        for table in &self.script.tables {
            for region in 0..self.script.regions.len() {
                conflicts += self.cluster.conflicts(region, &table.name)?.len() as u64;
            }
        }
        let figures = &mut self.verdict.figures;
        figures.conflicts = conflicts;
        if let Some(lags_us) = self.cluster.lags_us() {
            let share = |share| percentile(&lags_us, share);
            figures.lags_us = Some([share(500), share(990), share(1_000)]);
        }
        let writes_us = &mut self.verdict.writes_us;
        writes_us.sort_unstable();
        figures.write_p99_us = (!writes_us.is_empty()).then(|| percentile(writes_us, 990));
        Ok(())
    }

    fn say(&mut self, region: Option<usize>, text: &str) {
        self.cluster.tell(region, text);
    }
}

/// The table of a request and what it is about.
fn show_request(ask: &Ask, body: &Json) -> String {
    let about = ["Item", "Key"].iter().find_map(|name| body.get(*name));
    match about {
        Some(about) => format!("{} {}", ask.table, show(&item(about))),
        None => ask.table.clone(),
    }
}

fn show_operator(script: &Script, operator: &Operator) -> String {
    let name = |region: &usize| region_name(script, *region);
    match operator {
        Operator::Cut(ways) => {
            let way = |(a, b): &(usize, usize)| format!("{} -> {}", name(a), name(b));
            let ways: Vec<String> = ways.iter().map(way).collect();
            format!("cut {}", ways.join(", "))
        }
        Operator::Heal(None) => "heal every link".to_owned(),
        Operator::Heal(Some((a, b))) => format!("heal {} and {}", name(a), name(b)),
        Operator::Kill(region) => format!("kill {}", name(region)),
        Operator::Restart(region) => format!("restart {}", name(region)),
        Operator::Skew { region, by_us } => {
            format!("skew {} by {} ms", name(region), by_us / 1_000)
        }
        Operator::Slow { a, b, rtt_us } => {
            let ms = rtt_us / 1_000;
            format!(
                "slow {} and {} to a round trip of {ms} ms",
                name(a),
                name(b)
            )
        }
    }
}
