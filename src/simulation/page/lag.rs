//! Replication lag: a heat map of all directed links, and each link by itself.

use super::svg::{self, Axis, Log, escape, time};
use super::timeline::dots;
use crate::simulation::figures::{Figures, LinkFigures};

pub fn section(figures: &Figures) -> String {
    let cards: String = figures
        .links
        .iter()
        .map(|link| card(figures, link))
        .collect();
    format!(
        "<section><h2>Replication lag</h2><p class=\"note\">From durable where it was written (row) to visible there (column).</p>\
         <div class=\"two\">{}{}</div><h3 style=\"margin-top:18px\">Each directed link</h3><p class=\"note\">Bars: how many commits \
         took how long. Line: the longest lag of what arrived, over the run; faults of the link and of its ends are shaded.</p>\
         <div class=\"cards\">{cards}</div></section>\n",
        heat(figures, "Median", |link| link.lag.p50_us),
        heat(figures, "99th percentile", |link| link.lag.p99_us)
    )
}

fn heat(figures: &Figures, title: &str, of: impl Fn(&LinkFigures) -> u64) -> String {
    let names = &figures.regions;
    let (left, top, cell) = (112.0, 22.0, (500.0 - 112.0) / names.len() as f64);
    let high = (cell * 0.62).clamp(26.0, 46.0);
    let scale = |us: u64| (us.max(1_000) as f64).log10();
    let values = || {
        figures
            .links
            .iter()
            .map(&of)
            .filter(|us| *us > 0)
            .map(scale)
    };
    let (low, most) = (
        values().fold(f64::MAX, f64::min),
        values().fold(0.0, f64::max),
    );
    let mut body = String::new();
    for (row, from) in names.iter().enumerate() {
        let y = top + high * row as f64;
        body.push_str(&format!(
            "<text class=\"strong end\" x=\"{}\" y=\"{:.1}\">{}</text>",
            left - 8.0,
            y + high / 2.0 + 4.0,
            escape(from)
        ));
        for (column, to) in names.iter().enumerate() {
            let x = left + cell * column as f64;
            let link = figures
                .links
                .iter()
                .find(|l| l.from == *from && l.to == *to);
            let Some(us) = link.map(&of).filter(|us| *us > 0) else {
                continue;
            };
            let share = (scale(us) - low) / (most - low).max(0.3);
            let (colour, class) = svg::shade(share);
            body.push_str(&format!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\" style=\"fill:{colour}\"/>\
                 <text class=\"mid {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                cell - 3.0,
                high - 3.0,
                x + cell / 2.0 - 1.5,
                y + high / 2.0 + 3.0,
                time(us)
            ));
        }
    }
    for (column, to) in names.iter().enumerate() {
        let x = left + cell * (column as f64 + 0.5);
        body.push_str(&format!(
            "<text class=\"mid\" x=\"{x:.1}\" y=\"14\">{}</text>",
            escape(&short(to, cell))
        ));
    }
    let tall = top + high * names.len() as f64 + 4.0;
    format!(
        "<div><h3>{title}</h3><svg viewBox=\"0 0 500 {tall:.0}\" role=\"img\" aria-label=\"{title} of lag, region by region\">{body}</svg></div>"
    )
}

/// A region's name as far as there is room: `ap-southeast-2` as `ap-se-2`.
fn short(name: &str, room: f64) -> String {
    if name.chars().count() as f64 * 6.0 < room {
        return name.to_owned();
    }
    let long = [
        "northeast",
        "northwest",
        "southeast",
        "southwest",
        "north",
        "south",
        "east",
        "west",
        "central",
    ];
    let brief = ["ne", "nw", "se", "sw", "n", "s", "e", "w", "c"];
    let pairs = long.iter().zip(brief);
    pairs.fold(name.to_owned(), |name, (long, brief)| {
        name.replace(long, brief)
    })
}

fn card(figures: &Figures, link: &LinkFigures) -> String {
    let (width, top) = (260.0, 4.0);
    let histogram = histogram(figures, link, width, top, 54.0);
    let axis = Axis {
        virtual_us: figures.virtual_us,
        left: 50.0,
        width,
    };
    let (top, bottom) = (82.0, 142.0);
    let log = Log::of(link.lag_strip_us.iter().flatten().copied(), top, bottom);
    let faults = figures
        .faults
        .iter()
        .filter(|f| f.touches(&link.from, &link.to));
    format!(
        "<div class=\"card\"><h3>{} \u{2192} {}</h3><p>p50 {} &middot; p99 {} &middot; max {} &middot; one way {}</p>\
         <svg viewBox=\"0 0 {width} 160\" role=\"img\" aria-label=\"Lag of this link\">{histogram}{}{}{}{}</svg></div>",
        escape(&link.from),
        escape(&link.to),
        time(link.lag.p50_us),
        time(link.lag.p99_us),
        time(link.lag.max_us),
        time(link.delay_us),
        axis.shade(faults, top, bottom),
        log.lines(axis.left, width),
        axis.ticks(bottom, bottom, 4),
        dots(figures, &axis, &log, &link.lag_strip_us)
    )
}

/// The buckets between the first and the last that hold something.
fn histogram(figures: &Figures, link: &LinkFigures, width: f64, top: f64, bottom: f64) -> String {
    let filled = |n: &u64| *n > 0;
    let buckets = &link.lag_histogram;
    let (Some(first), Some(last)) = (
        buckets.iter().position(filled),
        buckets.iter().rposition(filled),
    ) else {
        return "<text x=\"0\" y=\"30\">nothing was replicated</text>".into();
    };
    let edge = |bucket: usize| {
        let ms = figures.lag_edges_ms.get(bucket).copied();
        ms.map_or("more".into(), |ms| time(ms * 1_000))
    };
    let below = first.checked_sub(1).map_or("0".into(), edge);
    // At least eight, so that one bucket alone is no wall.
    let last = last.max(first + 7).min(buckets.len() - 1);
    let shown = &buckets[first..=last];
    let (most, each) = (
        shown.iter().max().copied().unwrap_or(1).max(1),
        width / shown.len() as f64,
    );
    let mut text = String::new();
    for (at, value) in shown.iter().enumerate().filter(|(_, value)| **value > 0) {
        let high = ((bottom - top) * *value as f64 / most as f64).max(1.0);
        text.push_str(&format!(
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{high:.1}\"><title>up to {}: {value}</title></rect>",
            each * at as f64,
            bottom - high,
            (each - 1.0).max(1.0),
            edge(first + at)
        ));
    }
    format!(
        "{text}<line class=\"grid\" x1=\"0\" x2=\"{width}\" y1=\"{bottom}\" y2=\"{bottom}\"/><text x=\"0\" y=\"{0}\">{below}</text>\
         <text class=\"end\" x=\"{width}\" y=\"{0}\">{1}</text>",
        bottom + 13.0,
        edge(last)
    )
}
