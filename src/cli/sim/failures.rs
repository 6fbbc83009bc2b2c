//! What becomes of a run that failed: its plan is stored, made small, traced and told.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use super::progress::PROGRESS_EVERY;
use super::{replay_plan, write_into};
use crate::cli::CliError;
use crate::simulation::file::PlanFile;
use crate::simulation::{self, Options, RunReport, shrink};

/// How long one plan may be shrunk.
const SHRINK_FOR: Duration = Duration::from_secs(60);

pub struct Failures<'a> {
    pub folder: &'a Path,
    pub shrink: bool,
    pub interrupt: &'a Interrupt,
}

/// Says why the run of a script failed, save for its findings. It is its own plan, and as short as somebody made it.
pub fn unmet(run: &RunReport, replay: &str) {
    eprintln!("seed {} FAILED", run.seed);
    for violation in &run.violations {
        eprintln!("  {violation}");
    }
    for outcome in run.expectations.iter().filter(|outcome| !outcome.met) {
        eprintln!("  {}", outcome.sentence());
    }
    eprintln!("  replay: {replay}");
}

impl Failures<'_> {
    /// Says what failed, and stores it.
    pub fn tell(&self, plan: &PlanFile, run: &RunReport, replay: &str) -> Result<(), CliError> {
        eprintln!("seed {} FAILED", run.seed);
        for violation in &run.violations {
            eprintln!("  {violation}");
        }
        for outcome in run.expectations.iter().filter(|outcome| !outcome.met) {
            eprintln!("  {}", outcome.sentence());
        }
        eprintln!("  replay: {replay}");
        if run.violations.is_empty() {
            return Ok(());
        }
        let name = format!("{}-seed-{}", file_name(&plan.name), run.seed);
        let mut stored = plan.clone();
        stored.oracle = run.violations.first().map(|v| v.oracle);
        let file = format!("{name}.plan.toml");
        let path = write_into(self.folder, &file, stored.to_toml().as_bytes())?;
        eprintln!("  plan:   {} ({} steps)", path.display(), plan.len());
        if self.shrink {
            self.shrink(plan, &name)?;
        }
        Ok(())
    }

    fn shrink(&self, plan: &PlanFile, name: &str) -> Result<(), CliError> {
        // Candidates may panic, as what they are made of did: that is an oracle, and not for people.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let started = Instant::now();
        let mut drawn = started;
        let shows = std::io::stderr().is_terminal();
        let mut go_on = |progress: shrink::Progress| {
            if shows && drawn.elapsed() > PROGRESS_EVERY {
                drawn = Instant::now();
                let (runs, steps) = (progress.runs, progress.steps);
                // A line that is not seen is no reason to stop.
                let _ = write!(
                    std::io::stderr(),
                    "\r\x1b[K  shrinking: {runs} runs, {steps} steps left"
                );
            }
            started.elapsed() < SHRINK_FOR && !self.interrupt.asked()
        };
        let shrunk = shrink::shrink(plan, None, &mut go_on);
        std::panic::set_hook(hook);
        if shows {
            write!(std::io::stderr(), "\r\x1b[K")?;
        }
        let Some(shrunk) = shrunk else {
            eprintln!("  the plan does not fail when it is played again");
            return Ok(());
        };
        let file = format!("{name}.small.plan.toml");
        let path = write_into(self.folder, &file, shrunk.plan.to_toml().as_bytes())?;
        let mut lines = String::new();
        let mut trace = |line: String| {
            lines.push_str(&line);
            lines.push('\n');
        };
        let options = Options {
            trace: Some(&mut trace),
            ..Options::default()
        };
        let report = simulation::play(&shrunk.plan, options);
        let story = simulation::tell(&shrunk.plan, &report);
        write_into(self.folder, &format!("{name}.trace.txt"), lines.as_bytes())?;
        write_into(self.folder, &format!("{name}.story.txt"), story.as_bytes())?;
        eprintln!(
            "  shrunk: {} ({} of {} steps, {} runs, the same {}; its trace and story beside it)",
            path.display(),
            shrunk.plan.len(),
            shrunk.steps_before,
            shrunk.runs,
            shrunk.oracle
        );
        eprintln!("  replay: {}", replay_plan(&path));
        eprintln!("\n  {story}\n");
        Ok(())
    }
}

/// What a scenario calls itself, as part of a file's name.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(plain).take(60).collect()
}
