//! The parts of the page that are mostly tables.

use super::Report;
use super::svg::{LEFT, Log, WIDTH, count, escape, time};
use crate::simulation::RunReport;
use crate::simulation::figures::{ConflictSample, Figures, Latency, Side, Spread};

/// A table; a heading that begins with `#` is of numbers.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let number = |at: usize| headings.get(at).is_some_and(|h| h.starts_with('#'));
    let class = |at: usize| if number(at) { " class=\"n\"" } else { "" };
    let head = headings.iter().enumerate();
    let head: String = head
        .map(|(at, h)| format!("<th{}>{}</th>", class(at), h.trim_start_matches('#')))
        .collect();
    let row = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate();
        let cells: String = cells
            .map(|(at, c)| format!("<td{}>{}</td>", class(at), escape(c)))
            .collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

pub fn section(title: &str, note: &str, body: &str) -> String {
    format!("<section><h2>{title}</h2><p class=\"note\">{note}</p>{body}</section>\n")
}

pub fn expectations(run: &RunReport) -> String {
    if run.expectations.is_empty() {
        return String::new();
    }
    let row = |e: &crate::simulation::expect::Outcome| {
        let verdict = if e.met {
            "\u{2713} met"
        } else {
            "\u{2717} not met"
        };
        let found = e.found.map_or("-".into(), count);
        vec![e.key.clone(), count(e.limit), found, verdict.to_owned()]
    };
    let rows: Vec<Vec<String>> = run.expectations.iter().map(row).collect();
    let body = table(&["figure", "#expected", "#found", ""], &rows);
    section(
        "Expectations",
        "What the scenario's <code>[expect]</code> says.",
        &body,
    )
}

fn spread_cells(spread: &Spread) -> Vec<String> {
    let mut cells = vec![count(spread.count)];
    let times = [spread.p50_us, spread.p90_us, spread.p99_us, spread.max_us];
    cells.extend(times.map(time));
    cells
}

pub fn convergence(figures: &Figures) -> String {
    let row = |visible: &crate::simulation::figures::Visible| {
        let mut cells = vec![visible.origin.clone()];
        cells.extend(spread_cells(&visible.spread));
        cells.push(count(visible.unfinished));
        cells
    };
    let rows: Vec<Vec<String>> = figures.visible.iter().map(row).collect();
    let heads = [
        "written in",
        "#commits",
        "#p50",
        "#p90",
        "#p99",
        "#max",
        "#never everywhere",
    ];
    let mut body = table(&heads, &rows);
    let heals: Vec<Vec<String>> = figures
        .heals
        .iter()
        .map(|heal| {
            let whole = heal.whole_after_us.map_or("never".into(), time);
            vec![time(heal.at_us), heal.what.clone(), whole]
        })
        .collect();
    if !heals.is_empty() {
        body.push_str("<h3 style=\"margin-top:16px\">After each heal</h3>");
        body.push_str(&table(
            &[
                "at",
                "what",
                "#all that was committed before is everywhere after",
            ],
            &heals,
        ));
    }
    section(
        "Convergence",
        "From commit until every region shows it.",
        &body,
    )
}

pub fn latency(figures: &Figures) -> String {
    let shown: Vec<&Latency> = figures
        .latencies
        .iter()
        .filter(|l| l.count + l.refused > 0)
        .collect();
    let row = 24.0;
    let (left, bottom) = (230.0, 8.0 + row * shown.len() as f64);
    let values = shown
        .iter()
        .filter(|l| l.count > 0)
        .flat_map(|l| [l.p50_us, l.p999_us]);
    let log = Log::of(values, 0.0, 1.0);
    // The scale lies on its side.
    let x = |us: u64| left + (WIDTH - left - 90.0) * (1.0 - log.y(us));
    let mut body = String::new();
    let mut power = log.low;
    while power <= log.high {
        let us = 10f64.powf(power).round().max(1.0) as u64;
        body.push_str(&format!(
            "<line class=\"grid\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"0\" y2=\"{bottom:.0}\"/><text class=\"mid\" x=\"{0:.1}\" y=\"{1:.0}\">{2}</text>",
            x(us),
            bottom + 14.0,
            time(us)
        ));
        power += 1.0;
    }
    for (at, latency) in shown.iter().enumerate().filter(|(_, l)| l.count > 0) {
        let y = 14.0 + row * at as f64;
        body.push_str(&format!(
            "<text class=\"strong\" x=\"0\" y=\"{0:.0}\">{1}</text><text x=\"{2}\" y=\"{0:.0}\">{3}</text>\
             <line class=\"range\" x1=\"{4:.1}\" x2=\"{5:.1}\" y1=\"{y:.0}\" y2=\"{y:.0}\"/><circle class=\"dot\" cx=\"{4:.1}\" cy=\"{y:.0}\" r=\"4.5\"/>\
             <rect class=\"tip\" x=\"{6:.1}\" y=\"{7:.0}\" width=\"3\" height=\"14\"/><text x=\"{8:.1}\" y=\"{0:.0}\">{9}</text>",
            y + 4.0,
            escape(&latency.region),
            LEFT + 60.0,
            escape(&latency.class.replace('_', " ")),
            x(latency.p50_us),
            x(latency.p999_us),
            x(latency.p99_us) - 1.5,
            y - 7.0,
            x(latency.p999_us) + 10.0,
            time(latency.p99_us)
        ));
    }
    let plot = format!(
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"Client latency\">{body}</svg>",
        bottom + 20.0
    );
    let rows = figures.latencies.iter().map(|l| {
        let mut cells = vec![
            l.region.clone(),
            l.class.replace('_', " "),
            count(l.count),
            count(l.refused),
        ];
        cells.extend([l.p50_us, l.p90_us, l.p99_us, l.p999_us, l.max_us].map(time));
        cells
    });
    let heads = [
        "region",
        "operation",
        "#answered",
        "#refused",
        "#p50",
        "#p90",
        "#p99",
        "#p99.9",
        "#max",
    ];
    let table = table(&heads, &rows.collect::<Vec<_>>());
    section(
        "Client latency (modelled)",
        "Of the region's own clients, wherever they were served: their own way, if the scenario gives it, and from the front door \
         to the answer; a write never waits for another region. Dot: median, bar: to p99.9, mark and figure: p99.",
        &(plot + &table),
    )
}

pub fn conflicts(figures: &Figures, run: &RunReport) -> String {
    if figures.conflicts.is_empty() {
        return section(
            "Conflicts",
            "No two writes of one item were made without knowledge of each other.",
            "",
        );
    }
    let pairs: u64 = figures.conflicts.iter().map(|c| c.pairs).sum();
    let mut counts = figures.conflicts.clone();
    counts.sort_by_key(|c| std::cmp::Reverse(c.pairs));
    let rows = counts.iter().map(|c| {
        vec![
            c.winner.clone(),
            c.loser.clone(),
            c.cause.clone(),
            count(c.pairs),
            count(c.records),
        ]
    });
    let mut body = table(
        &["winner from", "loser from", "cause", "#pairs", "#records"],
        &rows.collect::<Vec<_>>(),
    );
    let sample = |s: &ConflictSample| {
        let side = |side: &Side| {
            let item = side.item.clone().unwrap_or_else(|| "deleted".into());
            format!("{}: {item}", side.region)
        };
        vec![
            time(s.at_us),
            s.key.clone(),
            side(&s.winner),
            side(&s.loser),
            s.region.clone(),
        ]
    };
    let samples: Vec<Vec<String>> = figures.conflict_samples.iter().map(sample).collect();
    body.push_str("<h3 style=\"margin-top:16px\">The first of them, with both versions</h3>");
    body.push_str(&table(
        &["at", "item", "won", "lost, and is kept", "first seen in"],
        &samples,
    ));
    let per_hour = pairs as f64 * 3.6e9 / figures.storm_us.max(1) as f64;
    let note = format!(
        "{} pairs of writes that did not know of each other ({per_hour:.0} in an hour at this rate); {} records, since every \
         region that sees one keeps it.",
        count(pairs),
        count(run.conflicts)
    );
    section("Conflicts", &note, &body)
}

/// Long tables are folded.
pub fn open(rows: &[Vec<String>]) -> &'static str {
    if rows.len() <= 24 { " open" } else { "" }
}

pub fn oracles(run: &RunReport) -> String {
    let row = |(oracle, checks): (&crate::simulation::OracleId, &u64)| {
        let objections = run
            .violations
            .iter()
            .filter(|v| v.oracle == *oracle)
            .count();
        let verdict = if objections == 0 {
            "\u{2713} holds"
        } else {
            "\u{2717} objects"
        };
        vec![oracle.to_string(), count(*checks), verdict.to_owned()]
    };
    let rows: Vec<Vec<String>> = run.checks.iter().map(row).collect();
    let body = table(&["oracle", "#checks", ""], &rows);
    section(
        "Oracles",
        "What must hold whatever breaks, and how often each looked.",
        &body,
    )
}

pub fn seeds(report: &Report) -> String {
    if report.runs.len() < 2 {
        return String::new();
    }
    let row = |run: &RunReport| {
        let verdict = if run.passed() { "\u{2713}" } else { "\u{2717}" };
        vec![
            run.seed.to_string(),
            verdict.to_owned(),
            run.regions.join(", "),
            count(run.operations),
            count(run.crashes),
            count(run.conflicts),
            time(run.lag_p50_us),
            time(run.lag_p99_us),
            run.converged_us.map_or("never".into(), time),
        ]
    };
    let rows: Vec<Vec<String>> = report.runs.iter().take(500).map(row).collect();
    let heads = [
        "seed",
        "",
        "regions",
        "#operations",
        "#crashes",
        "#conflicts",
        "#lag p50",
        "#lag p99",
        "#equal after",
    ];
    let body = format!(
        "<details{}><summary>{} seeds</summary>{}</details>",
        open(&rows),
        report.runs.len(),
        table(&heads, &rows)
    );
    section("Every seed", "One line each; 500 at most.", &body)
}
