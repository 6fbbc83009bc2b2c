//! The settings of a region that `up` and `serve` share: `up` hands them on to the regions it starts.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{parse_bytes, parse_duration};
use crate::config::Compression;
use crate::region::Tuning;
use crate::replication::OnLogFull;

#[derive(Clone, Debug, Args)]
pub struct TuningArgs {
    /// Between two looks for items whose Time To Live has passed
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    ttl_interval: Duration,
    /// For how long a table's Time To Live cannot be changed again (DynamoDB: about an hour)
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    ttl_cool_down: Duration,
    /// How long tables show CREATING, UPDATING and DELETING, for those who test that they wait
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    table_delay: Duration,
    /// How long commits stay in the log once all regions have them; a region that lacks older ones is copied
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "15m")]
    log_retention: Duration,
    /// How long deletions are remembered once all regions have them
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60m")]
    tombstone_retention: Duration,
    /// Keep DynamoDB's waiting rules too: a replica that was the source of a new one stays for 24 hours
    #[arg(long)]
    aws_waits: bool,
    /// Between two comparisons of everything with one other region
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10m")]
    anti_entropy: Duration,
    /// REGION=MS: what that region's wall clock is to be wrong by, for tests
    #[arg(long, value_name = "REGION=MS", value_parser = parse_offset, hide = true)]
    clock_offset: Vec<(String, i64)>,
    /// For how long versions that lost a race are kept
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30d")]
    conflict_keep: Duration,
    /// How much is kept of one table's lost versions; the oldest go first
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "64MiB")]
    conflict_bytes: u64,
    /// How long a region may be silent before `status`, the log and metrics warn of it
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10m")]
    alarm_after: Duration,
    /// How long a region may be silent before it counts as dead; one that reaches no majority for half of it
    /// takes no writes
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "7d")]
    dead_after: Duration,
    /// Take writes even where no majority of the regions has been reached for half of --dead-after
    #[arg(long)]
    no_self_fence: bool,
    /// Compress what goes to other regions: auto (far and slow links), always or never (default: as the topology says)
    #[arg(long, value_name = "WHEN")]
    compression: Option<Compression>,
    /// The most that the log may take for regions that are silent (default: whatever there is)
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    log_max_bytes: Option<u64>,
    /// What to do when it would take more: throttle local writes, or let the silent regions lapse by majority
    #[arg(long, value_enum, default_value_t = OnFull::Throttle)]
    on_log_full: OnFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFull {
    Throttle,
    Lapse,
}

fn parse_offset(text: &str) -> Result<(String, i64), String> {
    let (region, ms) = (text.split_once('=')).ok_or("give REGION=MILLISECONDS")?;
    let ms = (ms.parse()).map_err(|_| format!("'{ms}' is not a number of milliseconds"))?;
    Ok((region.to_owned(), ms))
}

impl TuningArgs {
    pub fn tuning(&self, region: &str) -> Tuning {
        let offset = self.clock_offset.iter().find(|(name, _)| name == region);
        Tuning {
            ttl_interval: self.ttl_interval,
            ttl_cool_down: self.ttl_cool_down,
            table_delay: self.table_delay,
            log_retention: self.log_retention,
            tombstone_retention: self.tombstone_retention,
            aws_waits: self.aws_waits,
            anti_entropy: self.anti_entropy,
            clock_offset_ms: offset.map_or(0, |(_, ms)| *ms),
            conflict_keep: self.conflict_keep,
            conflict_bytes: self.conflict_bytes,
            alarm_after: self.alarm_after,
            dead_after: self.dead_after,
            self_fence: !self.no_self_fence,
            compression: self.compression,
            log_bytes_max: self.log_max_bytes,
            on_log_full: match self.on_log_full {
                OnFull::Throttle => OnLogFull::Throttle,
                OnFull::Lapse => OnLogFull::Lapse,
            },
        }
    }

    /// The arguments that give a region the same.
    pub fn to_args(&self) -> Vec<String> {
        let given = [
            ("--ttl-interval", self.ttl_interval),
            ("--ttl-cool-down", self.ttl_cool_down),
            ("--table-delay", self.table_delay),
            ("--log-retention", self.log_retention),
            ("--tombstone-retention", self.tombstone_retention),
            ("--anti-entropy", self.anti_entropy),
            ("--conflict-keep", self.conflict_keep),
            ("--alarm-after", self.alarm_after),
            ("--dead-after", self.dead_after),
        ];
        let text =
            |(name, time): (&str, Duration)| [name.to_owned(), format!("{}ms", time.as_millis())];
        let bytes = [
            "--conflict-bytes".to_owned(),
            self.conflict_bytes.to_string(),
        ];
        let offset = |(region, ms): &(String, i64)| format!("--clock-offset={region}={ms}");
        let offsets = self.clock_offset.iter().map(offset);
        let max = self.log_max_bytes.iter();
        let max = max.flat_map(|bytes| ["--log-max-bytes".to_owned(), bytes.to_string()]);
        let full = self.on_log_full.to_possible_value();
        let full = full.map(|value| format!("--on-log-full={}", value.get_name()));
        let switches = [
            ("--aws-waits", self.aws_waits),
            ("--no-self-fence", self.no_self_fence),
        ];
        let switches = switches.into_iter().filter(|(_, on)| *on);
        let compression = self
            .compression
            .map(|when| format!("--compression={}", when.name()));
        (given.into_iter().flat_map(text).chain(bytes))
            .chain(offsets)
            .chain(max)
            .chain(full)
            .chain(switches.map(|(name, _)| name.to_owned()))
            .chain(compression)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tuning: TuningArgs,
    }

    #[test]
    fn what_is_handed_on_reads_back_equal() {
        let mut args = vec!["up", "--ttl-interval", "1.5s", "--ttl-cool-down", "30m"];
        args.extend(["--conflict-keep", "2d", "--conflict-bytes", "3KiB"]);
        args.extend([
            "--clock-offset=eu=-70",
            "--dead-after",
            "3s",
            "--no-self-fence",
            "--compression=never",
        ]);
        args.extend(["--log-max-bytes", "1MiB", "--on-log-full", "lapse"]);
        let given = Line::parse_from(args).tuning;
        let name = ["serve".to_owned()];
        let again = Line::parse_from(name.into_iter().chain(given.to_args())).tuning;
        assert_eq!(again.tuning("us").clock_offset_ms, 0);
        let again = again.tuning("eu");
        assert_eq!(again, given.tuning("eu"));
        assert_eq!(again.clock_offset_ms, -70);
        assert_eq!((again.dead_after.as_secs(), again.self_fence), (3, false));
        assert_eq!(again.ttl_interval, Duration::from_millis(1500));
        assert_eq!(again.conflict_bytes, 3 << 10);
        assert_eq!(again.conflict_keep.as_secs(), 2 * 86_400);
    }
}
