//! The settings of a region that `up` and `serve` share: `up` hands them on to the regions it starts.

use std::time::Duration;

use clap::Args;

use super::{parse_bytes, parse_duration};
use crate::region::Tuning;

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
    /// Keep DynamoDB's waiting rules too: a replica that was the source of a new one stays for 24 hours
    #[arg(long)]
    aws_waits: bool,
    /// For how long versions that lost a race are kept
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30d")]
    conflict_keep: Duration,
    /// How much is kept of one table's lost versions; the oldest go first
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "64MiB")]
    conflict_bytes: u64,
}

impl TuningArgs {
    pub fn tuning(&self) -> Tuning {
        Tuning {
            ttl_interval: self.ttl_interval,
            ttl_cool_down: self.ttl_cool_down,
            table_delay: self.table_delay,
            aws_waits: self.aws_waits,
            conflict_keep: self.conflict_keep,
            conflict_bytes: self.conflict_bytes,
        }
    }

    /// The arguments that give a region the same.
    pub fn to_args(&self) -> Vec<String> {
        let given = [
            ("--ttl-interval", self.ttl_interval),
            ("--ttl-cool-down", self.ttl_cool_down),
            ("--table-delay", self.table_delay),
            ("--conflict-keep", self.conflict_keep),
        ];
        let text =
            |(name, time): (&str, Duration)| [name.to_owned(), format!("{}ms", time.as_millis())];
        let bytes = [
            "--conflict-bytes".to_owned(),
            self.conflict_bytes.to_string(),
        ];
        let mut args: Vec<String> = given.into_iter().flat_map(text).chain(bytes).collect();
        if self.aws_waits {
            args.push("--aws-waits".to_owned());
        }
        args
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
        let given = Line::parse_from(args).tuning;
        let name = ["serve".to_owned()];
        let again = Line::parse_from(name.into_iter().chain(given.to_args())).tuning;
        assert_eq!(again.tuning(), given.tuning());
        assert_eq!(again.tuning().ttl_interval, Duration::from_millis(1500));
        assert_eq!(again.tuning().conflict_bytes, 3 << 10);
        assert_eq!(again.tuning().conflict_keep.as_secs(), 2 * 86_400);
    }
}
