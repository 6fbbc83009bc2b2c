//! Counts what the writer does. The writer's clock is asked once more per group, after the sync.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::RegionInfo;
use crate::clock::Now;
use crate::replica::{Job, Noted};
use crate::telemetry::{Metrics, exact};

/// What is known of a group before it runs.
pub(super) struct Measure {
    began: Now,
    jobs: u64,
}

impl Measure {
    pub fn begin(began: Now, jobs: &[Job]) -> Self {
        let asked = jobs
            .iter()
            .filter(|job| !matches!(job, Job::Stable(_) | Job::Silences(_) | Job::Vote(_)));
        Measure {
            began,
            jobs: asked.count() as u64,
        }
    }

    /// Counts the group, which is durable `now`. Idle groups are nobody's wait and are left out.
    pub fn count(&self, metrics: &Metrics, info: &RegionInfo, noted: Noted, now: Now) {
        for (table, count) in noted.expired {
            metrics.expired.with(&[&table]).add(count);
        }
        for (table, count) in noted.conflicts {
            metrics.conflicts.with(&[&table]).add(count);
        }
        if self.jobs == 0 {
            return;
        }
        metrics.group_jobs.observe(exact(self.jobs));
        let took = seconds(self.began.mono_us, now.mono_us);
        metrics.group_seconds.observe(took);
        for arrived in noted.arrived.into_values() {
            let mut latencies = BTreeMap::new();
            for (origin, issued_us) in arrived.commits {
                let latency = latencies.entry(origin).or_insert_with(|| {
                    let name = info.name_of(origin).unwrap_or_default();
                    metrics.replication_seconds.with(&[&name, &arrived.table])
                });
                latency.observe(seconds(issued_us, now.wall_us));
            }
        }
    }
}

/// From one time to another; nothing where a clock was set back.
pub(super) fn seconds(from_us: u64, until_us: u64) -> f64 {
    Duration::from_micros(until_us.saturating_sub(from_us)).as_secs_f64()
}
