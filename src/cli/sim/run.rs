//! `sim run`: worlds on several threads, told and reported in the order of their seeds.
//!
//! A world knows nothing of threads: each runs on one, from its first event to its last. So what comes of a
//! seed does not depend on how many run beside it, and only the order of telling is left to see to.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::account;
use super::failures::{self, Failures};
use super::interrupt::Interrupt;
use super::progress::{PROGRESS_EVERY, Progress};
use super::{RunArgs, Source, write_into};
use crate::cli::CliError;
use crate::simulation::file::PlanFile;
use crate::simulation::page::Report;
use crate::simulation::{Options, RunReport};

/// The stack of a thread that runs worlds: what the main thread of a process has.
const STACK_BYTES: usize = 8 << 20;

/// One run that has ended.
struct Ended {
    nth: u64,
    plan: PlanFile,
    run: RunReport,
}

pub fn run_all(args: &RunArgs) -> Result<(), CliError> {
    let source = Source::of(args)?;
    let interrupt = Interrupt::listen()?;
    let crew = Crew {
        args,
        source: &source,
        interrupt: &interrupt,
        next: AtomicU64::new(0),
    };
    let mut progress = Progress::new(source.len(), !args.json);
    let reports = crew.run(&mut progress)?;
    let (done, failed) = (reports.len() as u64, progress.failed);
    let summary = summary(&reports, failed, progress.elapsed());
    let mut report = Report::new(reports, |seed| source.replay(seed));
    report.asked = source.len();
    if let Some(folder) = &args.report {
        let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
        write_into(folder, "report.json", &json)?;
        let page = write_into(folder, "report.html", report.to_html().as_bytes())?;
        eprintln!("the report is {}", page.display());
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        let json = serde_json::to_string_pretty(&report.runs).unwrap_or_default();
        writeln!(out, "{json}")?;
    } else {
        writeln!(out, "{summary}")?;
    }
    match (done < report.asked, failed) {
        (true, _) => Err(CliError::Interrupted {
            done,
            seeds: report.asked,
        }),
        (false, 0) => Ok(()),
        (false, count) => Err(CliError::Violations { count, seeds: done }),
    }
}

/// Who runs the seeds of one command.
struct Crew<'a> {
    args: &'a RunArgs,
    source: &'a Source,
    interrupt: &'a Interrupt,
    /// The seed that the next free thread takes.
    next: AtomicU64,
}

impl Crew<'_> {
    /// Runs all seeds, or those that were begun when someone asked for the end.
    fn run(&self, progress: &mut Progress) -> Result<Vec<RunReport>, CliError> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let jobs = self.args.jobs.unwrap_or(cores).max(1);
        thread::scope(|scope| {
            let (tell, hear) = channel();
            for _ in 0..jobs {
                let tell = tell.clone();
                thread::Builder::new()
                    .name("world".into())
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, move || self.work(&tell))?;
            }
            drop(tell);
            self.collect(&hear, progress)
        })
    }

    fn work(&self, tell: &Sender<Ended>) {
        while !self.interrupt.asked() {
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            if nth >= self.source.len() {
                break;
            }
            let plan = self.source.plan(nth);
            let run = self.source.play(&plan, self.options(nth));
            // Nobody listens when what came before could not be told.
            if tell.send(Ended { nth, plan, run }).is_err() {
                break;
            }
        }
    }

    fn options(&self, nth: u64) -> Options<'static> {
        let folder = |dir: &PathBuf| dir.join(format!("run-{nth}"));
        Options {
            figures: self.args.report.is_some(),
            expect: self.source.expect(),
            files: self.args.files.as_ref().map(folder),
            ..Options::default()
        }
    }

    /// Hears of runs as they end, and tells of them in the order of their seeds.
    fn collect(
        &self,
        hear: &Receiver<Ended>,
        progress: &mut Progress,
    ) -> Result<Vec<RunReport>, CliError> {
        let failures = Failures {
            folder: &self.args.found,
            shrink: self.args.shrink.unwrap_or(self.source.len() == 1),
            interrupt: self.interrupt,
        };
        let mut early: BTreeMap<u64, Ended> = BTreeMap::new();
        let mut reports: Vec<RunReport> = Vec::new();
        loop {
            match hear.recv_timeout(PROGRESS_EVERY) {
                Ok(ended) => {
                    progress.count(&ended.run);
                    early.insert(ended.nth, ended);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Some(Ended { plan, run, .. }) = early.remove(&(reports.len() as u64)) {
                if !run.passed() {
                    progress.clear()?;
                    let replay = self.source.replay(run.seed);
                    match self.source.script() {
                        None => failures.tell(&plan, &run, &replay)?,
                        Some(_) => failures::unmet(&run, &replay),
                    }
                }
                if self.source.script().is_some() {
                    let only_unmet = self.source.len() > 1;
                    account(&run.findings, self.source.path(), only_unmet);
                }
                reports.push(run);
            }
            progress.draw(self.interrupt.asked())?;
        }
        progress.clear()?;
        Ok(reports)
    }
}

fn summary(reports: &[RunReport], failed: usize, elapsed: Duration) -> String {
    let virtual_s = reports.iter().map(|r| r.virtual_us).sum::<u64>() as f64 / 1e6;
    let operations: u64 = reports.iter().map(|r| r.operations).sum();
    let conflicts: u64 = reports.iter().map(|r| r.conflicts).sum();
    let wall = elapsed.as_secs_f64();
    format!(
        "{} seeds passed, {failed} failed: {operations} operations and {conflicts} conflicts in {virtual_s:.0} \
         virtual seconds, {wall:.1} s ({:.0}x real time)",
        reports.len() - failed,
        virtual_s / wall.max(1e-3)
    )
}
