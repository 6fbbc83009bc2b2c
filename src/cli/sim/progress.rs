//! How far it is: one line on a terminal, drawn over and over. Nothing where standard error is none.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::cli::CliError;
use crate::marks::MARKS;
use crate::simulation::RunReport;

/// How often the line is drawn anew.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The count of what has ended, and the line that shows it.
pub struct Progress {
    pub failed: usize,
    total: u64,
    done: u64,
    hit: BTreeSet<&'static str>,
    started: Instant,
    drawn: Instant,
    /// Someone can see it.
    seen: bool,
    shown: bool,
}

impl Progress {
    /// `wanted`: the line is drawn, if standard error is a terminal.
    pub fn new(total: u64, wanted: bool) -> Self {
        let started = Instant::now();
        Progress {
            failed: 0,
            total,
            done: 0,
            hit: BTreeSet::new(),
            started,
            drawn: started,
            seen: wanted && std::io::stderr().is_terminal(),
            shown: false,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A run has ended.
    pub fn count(&mut self, run: &RunReport) {
        self.done += 1;
        self.failed += usize::from(!run.passed());
        self.hit.extend(run.marks.keys());
    }

    /// Draws the line, if it is time.
    pub fn draw(&mut self, stopping: bool) -> Result<(), CliError> {
        if !self.seen || self.drawn.elapsed() < PROGRESS_EVERY {
            return Ok(());
        }
        (self.drawn, self.shown) = (Instant::now(), true);
        let mut err = std::io::stderr().lock();
        write!(err, "\r\x1b[K{}", self.line(self.elapsed(), stopping))?;
        Ok(err.flush()?)
    }

    fn line(&self, elapsed: Duration, stopping: bool) -> String {
        let rate = self.done as f64 / elapsed.as_secs_f64().max(1e-3);
        let left = match (stopping, self.done) {
            (true, _) => "stopping after the seeds under way".to_owned(),
            (false, 0) => String::from("-- left"),
            (false, _) => left(self.total.saturating_sub(self.done) as f64 / rate),
        };
        format!(
            "{}/{} seeds, {} failed, {rate:.1}/s, {} of {} marks hit, {left}",
            self.done,
            self.total,
            self.failed,
            self.hit.len(),
            MARKS.len()
        )
    }

    /// Takes the line away, so that something can be said.
    pub fn clear(&mut self) -> Result<(), CliError> {
        if std::mem::take(&mut self.shown) {
            write!(std::io::stderr(), "\r\x1b[K")?;
        }
        Ok(())
    }
}

/// The time left, in the two greatest units.
fn left(seconds: f64) -> String {
    let seconds = Duration::from_secs_f64(seconds.clamp(0.0, 1e9)).as_secs();
    match seconds {
        0..60 => format!("{seconds} s left"),
        60..3_600 => format!("{} min {} s left", seconds / 60, seconds % 60),
        _ => format!("{} h {} min left", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is_and_how_long_it_takes() {
        let mut progress = Progress::new(40, false);
        let after = Duration::from_secs(5);
        let begun = progress.line(after, false);
        assert!(begun.starts_with("0/40 seeds, 0 failed, 0.0/s, 0 of "));
        assert!(begun.ends_with(" marks hit, -- left"), "{begun}");
        (progress.done, progress.failed) = (10, 1);
        progress.hit.insert("relay");
        let marks = MARKS.len();
        assert_eq!(
            progress.line(after, false),
            format!("10/40 seeds, 1 failed, 2.0/s, 1 of {marks} marks hit, 15 s left")
        );
        assert!(progress.line(after, true).contains("stopping"));
        assert_eq!(left(61.9), "1 min 1 s left");
        assert_eq!(left(7_384.0), "2 h 3 min left");
    }
}
