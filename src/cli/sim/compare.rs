//! `sim compare A B`: what differs between two reports.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::cli::CliError;

/// Figures of a run itself.
const PLAIN: [&str; 10] = [
    "operations",
    "acknowledged",
    "refused",
    "crashes",
    "commits",
    "conflicts",
    "lag_p50_us",
    "lag_p99_us",
    "lag_max_us",
    "converged_us",
];

/// Figures of the whole run, by the group that they are in.
const GROUPS: [(&str, &[&str]); 2] = [
    ("", &["conflicts_per_hour"]),
    (
        "travel",
        &[
            "commits_needed",
            "commits_sent",
            "commits_relayed",
            "relayed_permille",
        ],
    ),
];

/// Figures with names of their own: the list, the fields that name a row, and its figures.
const LISTS: [(&str, &[&str], &[&str]); 8] = [
    ("visible", &["origin"], &["p50_us", "p99_us", "max_us"]),
    (
        "links",
        &["from", "to"],
        &[
            "p50_us",
            "p90_us",
            "p99_us",
            "max_us",
            "commits_relayed",
            "bytes_per_month",
            "transfer_microusd_per_month",
        ],
    ),
    (
        "regions_in_full",
        &["region"],
        &[
            "operations",
            "refused",
            "conflicts_per_hour",
            "losses_per_hour",
        ],
    ),
    (
        "costs",
        &["region"],
        &[
            "bytes_sent_per_month",
            "transfer_microusd_per_month",
            "replicated_write_units_per_month",
            "dynamodb_writes_microusd_per_month",
        ],
    ),
    (
        "clock_beliefs",
        &["region", "peer"],
        &["error_bound_us", "beyond_bound"],
    ),
    ("heals", &["what"], &["whole_after_us"]),
    (
        "latencies",
        &["region", "class"],
        &["count", "refused", "p50_us", "p90_us", "p99_us", "p999_us"],
    ),
    ("conflicts", &["winner", "loser", "cause"], &["pairs"]),
];

/// Prints the figures of both, with what changed.
pub fn compare(a: &Path, b: &Path, all: bool) -> Result<(), CliError> {
    let (before, after) = (figures(a)?, figures(b)?);
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let wide = keys.iter().map(|key| key.len()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:wide$} {:>14} {:>14} {:>14}",
        "figure", "A", "B", "change"
    )?;
    let mut same = 0;
    for key in keys {
        let (old, new) = (before.get(key).copied(), after.get(key).copied());
        if old == new && !all {
            same += 1;
            continue;
        }
        let show = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0}"));
        let change = match (old, new) {
            (Some(old), Some(new)) if old > 0.0 => format!("{:+.1} %", (new - old) * 100.0 / old),
            (Some(old), Some(new)) => format!("{:+.0}", new - old),
            _ => "-".into(),
        };
        writeln!(
            out,
            "{key:wide$} {:>14} {:>14} {change:>14}",
            show(old),
            show(new)
        )?;
    }
    if same > 0 {
        writeln!(out, "{same} figures are the same (--all shows them)")?;
    }
    Ok(())
}

/// The figures of a report: the mean over its runs.
fn figures(path: &Path) -> Result<BTreeMap<String, f64>, CliError> {
    let path = if path.is_dir() {
        path.join("report.json")
    } else {
        path.to_path_buf()
    };
    let unreadable = |reason: String| CliError::Report {
        path: path.display().to_string(),
        reason,
    };
    let text = std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    let report: Value =
        serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let runs = report.get("runs").and_then(Value::as_array);
    let runs = runs.ok_or_else(|| unreadable("it has no runs".into()))?;
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for run in runs {
        for (key, value) in of_run(run) {
            let sum = sums.entry(key).or_default();
            *sum = (sum.0 + value, sum.1 + 1.0);
        }
    }
    Ok(sums
        .into_iter()
        .map(|(key, (sum, count))| (key, sum / count))
        .collect())
}

fn of_run(run: &Value) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    for key in PLAIN {
        let value = run.get(key).and_then(Value::as_f64);
        found.extend(value.map(|value| (key.to_owned(), value)));
    }
    for (group, keys) in GROUPS {
        let figures = run.get("figures");
        let group_of = match group {
            "" => figures,
            group => figures.and_then(|f| f.get(group)),
        };
        for key in keys {
            let value = group_of.and_then(|f| f.get(*key)).and_then(Value::as_f64);
            let name = [group, *key].join("/");
            found.extend(value.map(|value| (name.trim_start_matches('/').to_owned(), value)));
        }
    }
    let text = |row: &Value, key: &str| {
        row.get(key)
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    for (list, names, figures) in LISTS {
        let rows = run
            .get("figures")
            .and_then(|f| f.get(list))
            .and_then(Value::as_array);
        for row in rows.into_iter().flatten() {
            let named: Vec<String> = names.iter().map(|name| text(row, name)).collect();
            for figure in figures {
                let value = row.get(*figure).and_then(Value::as_f64);
                let key = format!("{list}/{}/{figure}", named.join("/"));
                found.extend(value.map(|value| (key, value)));
            }
        }
    }
    found
}
