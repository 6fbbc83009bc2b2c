//! The report as one page: nothing is fetched, no script runs, and every figure is in `report.json` too.

mod beliefs;
mod lag;
mod map;
mod money;
mod parts;
mod svg;
mod timeline;

use serde::Serialize;

use super::RunReport;
use svg::{count, escape, time};

/// Of `report.json`. Keys are only ever added.
const FORMAT: u32 = 1;
const STYLE: &str = include_str!("style.css");

/// All runs of one command.
#[derive(Debug, Serialize)]
pub struct Report {
    pub format: u32,
    pub program: String,
    pub scenario: String,
    pub passed: bool,
    /// Seeds that were to be run; more than `runs` where someone stopped it.
    pub asked: u64,
    /// What plays the shown run again.
    pub replay: String,
    /// The run that the page shows in full: the first that failed, or the first.
    pub shown: usize,
    pub runs: Vec<RunReport>,
}

impl Report {
    pub fn new(runs: Vec<RunReport>, replay: impl Fn(u64) -> String) -> Report {
        let shown = runs.iter().position(|run| !run.passed()).unwrap_or(0);
        let run = runs.get(shown);
        Report {
            format: FORMAT,
            program: format!("meridian {}", env!("CARGO_PKG_VERSION")),
            scenario: run.map(|r| r.scenario.clone()).unwrap_or_default(),
            passed: runs.iter().all(RunReport::passed),
            asked: runs.len() as u64,
            replay: run.map(|r| replay(r.seed)).unwrap_or_default(),
            shown,
            runs,
        }
    }

    /// The page.
    pub fn to_html(&self) -> String {
        let Some(run) = self.runs.get(self.shown) else {
            return String::new();
        };
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0} - Meridian simulation</title>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" \
             content=\"light dark\">\n<style>{STYLE}</style></head><body>\n<header><h1>{0}</h1>\
             <p class=\"soft\">Seed {1} &middot; {2} regions: {3} &middot; {4} of virtual time &middot; {5}</p></header>\n",
            escape(&self.scenario),
            run.seed,
            run.regions.len(),
            escape(&run.regions.join(", ")),
            time(run.virtual_us),
            self.program
        );
        page.push_str(&self.verdict(run));
        page.push_str(&tiles(run));
        page.push_str(&parts::expectations(run));
        if let Some(figures) = &run.figures {
            page.push_str(&map::section(figures));
            page.push_str(&timeline::section(figures));
            page.push_str(&lag::section(figures));
            page.push_str(&parts::convergence(figures));
            page.push_str(&parts::latency(figures));
            page.push_str(&parts::conflicts(figures, run));
            page.push_str(&beliefs::regions(figures));
            page.push_str(&money::traffic(figures));
            page.push_str(&money::costs(figures));
            page.push_str(&beliefs::stability(figures));
            page.push_str(&timeline::clocks(figures));
            page.push_str(&beliefs::clocks(figures));
        }
        page.push_str(&parts::oracles(run));
        page.push_str(&parts::seeds(self));
        page.push_str(FOOTER);
        page
    }

    fn verdict(&self, run: &RunReport) -> String {
        let many = self.runs.len();
        let failed = self.runs.iter().filter(|run| !run.passed()).count();
        let mut lines: Vec<String> = Vec::new();
        lines.extend(run.violations.iter().map(ToString::to_string));
        let unmet = run.expectations.iter().filter(|e| !e.met);
        lines.extend(unmet.map(|e| e.sentence()));
        let unmet = run.findings.iter().filter(|f| !f.met);
        lines.extend(unmet.map(|f| f.sentence(&run.scenario)));
        let checks: u64 = run.checks.values().sum();
        let word = match (self.passed, run.violations.is_empty()) {
            (true, _) => "\u{2713} Passed: every oracle holds, and all is as expected".to_owned(),
            (false, true) => "\u{2717} Failed: not as expected".to_owned(),
            (false, false) => "\u{2717} Failed: an oracle objects".to_owned(),
        };
        let seeds = match many {
            1 => String::new(),
            _ => format!(
                " {failed} of {many} seeds failed; this page shows seed {}.",
                run.seed
            ),
        };
        let stopped = match many as u64 {
            many if many < self.asked => format!(" Stopped after {many} of {} seeds.", self.asked),
            _ => String::new(),
        };
        let class = if self.passed { "" } else { " failed" };
        let lines: String = lines
            .iter()
            .map(|l| format!("<p>{}</p>", escape(l)))
            .collect();
        format!(
            "<div class=\"verdict{class}\"><strong>{word}</strong>{lines}<p class=\"note\">{} checks by {} oracles.{seeds}{stopped} \
             Play it again: <code>{}</code></p></div>\n",
            count(checks),
            run.checks.len(),
            escape(&self.replay)
        )
    }
}

fn tiles(run: &RunReport) -> String {
    let visible = run.figures.as_ref().and_then(|f| f.visible.first());
    let converged = run.converged_us.map_or("never".into(), time);
    let tiles = [
        (count(run.operations), "operations asked"),
        (count(run.refused), "refused"),
        (time(run.lag_p50_us), "replication lag, median"),
        (time(run.lag_p99_us), "replication lag, p99"),
        (
            time(visible.map_or(0, |v| v.spread.p99_us)),
            "visible everywhere, p99",
        ),
        (count(run.conflicts), "conflict records"),
        (count(run.crashes), "crashes"),
        (converged, "to equal, once all is healed"),
    ];
    let tile = |(figure, what): (String, &str)| {
        format!("<div class=\"tile\"><b>{figure}</b><span>{what}</span></div>")
    };
    let tiles: String = tiles.into_iter().map(tile).collect();
    format!("<div class=\"tiles\">{tiles}</div>\n")
}

const FOOTER: &str = "<footer class=\"note\"><p>Every figure is in <code>report.json</code> beside this page. All times are \
virtual. Replication is the real code on modelled links, disks and clocks. Latencies are modelled: the time from a \
region's front door to its answer, and the client's own way to it where the scenario gives one; a write waits for its group's sync (about what a \
cloud disk takes), a read for nothing. Lag is from durable at the origin to durable and visible in the other region, by \
whatever way it came. A lane's loss costs a retransmission round, as in QUIC.</p></footer>\n</body></html>\n";
