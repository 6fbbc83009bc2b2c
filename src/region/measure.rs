//! Counts what the writer does. The writer's clock is asked once more per group, after the sync.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{Now, RegionId};
use crate::replica::{Job, Noted, log};
use crate::telemetry::{Metrics, exact};

/// What is known of a group before it runs.
pub(super) struct Measure {
    began: Now,
    jobs: u64,
    /// The commits of other regions: whose, and when they were issued.
    remote: Vec<(RegionId, u64)>,
}

impl Measure {
    pub fn begin(began: Now, jobs: &[Job]) -> Self {
        let mut measure = Measure {
            began,
            jobs: 0,
            remote: Vec::new(),
        };
        for job in jobs {
            let commits: &[Vec<u8>] = match job {
                Job::Stable(_) | Job::Silences(_) => continue,
                Job::Remote(commits) => commits,
                _ => &[],
            };
            measure.jobs += 1;
            let headers = commits.iter().filter_map(|commit| log::header(commit).ok());
            let origin = headers.map(|(dot, issued)| (dot.log.origin.region, issued.physical_us));
            measure.remote.extend(origin);
        }
        measure
    }

    /// Counts the group, which is durable `now`. Idle groups are nobody's wait and are left out.
    pub fn count(
        &self,
        metrics: &Metrics,
        names: &BTreeMap<RegionId, String>,
        noted: Noted,
        now: Now,
    ) {
        for (table, count) in noted.expired {
            metrics.expired.with(&[&table]).add(count);
        }
        for (table, count) in noted.conflicts {
            metrics.conflicts.with(&[&table]).add(count);
        }
        if self.jobs == 0 {
            return;
        }
        let seconds = |from_us: u64, until_us: u64| {
            Duration::from_micros(until_us.saturating_sub(from_us)).as_secs_f64()
        };
        metrics.group_jobs.observe(exact(self.jobs));
        let took = seconds(self.began.mono_us, now.mono_us);
        metrics.group_seconds.observe(took);
        for (origin, issued_us) in &self.remote {
            let name = names.get(origin).map_or("", String::as_str);
            let latency = seconds(*issued_us, now.wall_us);
            metrics.replication_seconds.with(&[name]).observe(latency);
        }
    }
}
