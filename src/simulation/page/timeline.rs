//! What happened when: faults on top, and below them what they did.

use super::svg::{Axis, LEFT, Log, WIDTH, count, escape};
use crate::simulation::figures::{FaultSpan, Figures};

/// Faults that get a line of their own; of more, those of one class share one.
const ROWS_MAX: usize = 10;
const ROW: f64 = 20.0;
const STRIP: f64 = 78.0;

pub fn section(figures: &Figures) -> String {
    let axis = Axis {
        virtual_us: figures.virtual_us,
        left: LEFT,
        width: WIDTH,
    };
    let rows = rows(&figures.faults);
    let mut body = String::new();
    let mut y = 4.0;
    for (label, spans) in &rows {
        for fault in spans {
            let (from, until) = (axis.x(fault.from_us), axis.x(fault.until_us));
            body.push_str(&format!(
                "<rect class=\"fault\" style=\"opacity:.75\" x=\"{from:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"12\" rx=\"2\">\
                 <title>{}</title></rect>",
                y + 2.0,
                (until - from).max(3.0),
                escape(&fault.what)
            ));
        }
        let begin = spans
            .iter()
            .map(|f| axis.x(f.from_us))
            .fold(WIDTH, f64::min);
        let end = spans.iter().map(|f| axis.x(f.until_us)).fold(0.0, f64::max);
        // Beside the last span, or before the first where there is no room.
        let wide = label.chars().count() as f64 * 6.2;
        let (x, class) = match end + 8.0 + wide < WIDTH {
            // Rows of a class have gaps that a label would cover.
            _ if spans.len() > 1 => (LEFT - 6.0, "strong end"),
            true => (end + 8.0, "strong"),
            false if begin - 8.0 - wide > LEFT => (begin - 8.0, "strong end"),
            false => (begin.min(WIDTH - wide).max(LEFT) + 6.0, "strong"),
        };
        body.push_str(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{:.0}\">{}</text>",
            y + 12.0,
            escape(label)
        ));
        y += ROW;
    }
    let lag = worst_lag(figures);
    let (top, bottom) = (y + 22.0, y + 22.0 + STRIP + 20.0);
    let log = Log::of(lag.iter().flatten().copied(), top, bottom);
    body.push_str(&title("longest lag of what arrived, any link", top));
    body.push_str(&log.lines(LEFT, WIDTH));
    body.push_str(&dots(figures, &axis, &log, &lag));
    y = bottom + 10.0;
    if figures.operation_strip.iter().any(|n| *n > 0) {
        let (top, bottom) = (y + 26.0, y + 26.0 + STRIP);
        body.push_str(&title("operations asked, by the region of the client", top));
        body.push_str(&stacked(figures, &axis, top, bottom));
        y = bottom + 10.0;
    }
    let strips = [
        (
            "commits that some region lacks",
            &figures.backlog_strip,
            "bar",
        ),
        ("conflicts", &figures.conflict_strip, "bar c1"),
        ("refused operations", &figures.refused_strip, "bar c2"),
    ];
    for (label, strip, class) in strips {
        if strip.iter().all(|n| *n == 0) {
            continue;
        }
        let (top, bottom) = (y + 22.0, y + 22.0 + STRIP);
        body.push_str(&title(label, top));
        body.push_str(&bars(figures, &axis, strip, class, top, bottom));
        y = bottom + 10.0;
    }
    let shades = axis.shade(figures.faults.iter(), 0.0, y);
    let ticks = axis.ticks(0.0, y, 12);
    format!(
        "<section><h2>What happened when</h2>{}<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"Timeline\">\
         {ticks}<g style=\"opacity:.35\">{shades}</g>{body}</svg></section>\n",
        legend(figures),
        y + 20.0
    )
}

fn legend(figures: &Figures) -> String {
    match figures.faults.len() {
        0 => "<p class=\"note\">Nothing was broken in this run.</p>".into(),
        _ => "<p class=\"note\">Faults are shaded in every plot of this page.</p>".into(),
    }
}

/// One row for each fault, or for each class of them when there are many.
fn rows(faults: &[FaultSpan]) -> Vec<(String, Vec<&FaultSpan>)> {
    if faults.len() <= ROWS_MAX {
        return faults.iter().map(|f| (f.what.clone(), vec![f])).collect();
    }
    let mut rows: Vec<(String, Vec<&FaultSpan>)> = Vec::new();
    for fault in faults {
        match rows.iter_mut().find(|(label, _)| *label == fault.class) {
            Some((_, spans)) => spans.push(fault),
            None => rows.push((fault.class.clone(), vec![fault])),
        }
    }
    for (label, spans) in &mut rows {
        *label = format!("{label} ({})", spans.len());
    }
    rows
}

fn title(text: &str, top: f64) -> String {
    format!(
        "<text class=\"strong\" x=\"{LEFT}\" y=\"{:.0}\">{text}</text>",
        top - 7.0
    )
}

fn worst_lag(figures: &Figures) -> Vec<Option<u64>> {
    let bins = figures.backlog_strip.len();
    let worst = |bin: usize| {
        let links = figures.links.iter();
        links
            .filter_map(|link| link.lag_strip_us.get(bin).copied().flatten())
            .max()
    };
    (0..bins).map(worst).collect()
}

/// A time per bin: lines between neighbours, a dot where a bin stands alone.
pub fn dots(figures: &Figures, axis: &Axis, log: &Log, strip: &[Option<u64>]) -> String {
    let mut path = String::new();
    let mut text = String::new();
    let mut open = false;
    for (bin, us) in strip.iter().enumerate() {
        let Some(us) = us else {
            open = false;
            continue;
        };
        let middle_us = figures.bin_us * bin as u64 + figures.bin_us / 2;
        let (x, y) = (axis.x(middle_us), log.y(*us));
        path.push_str(&format!("{}{x:.1} {y:.1}", if open { "L" } else { "M" }));
        let alone = !open && strip.get(bin + 1).is_none_or(Option::is_none);
        if alone {
            text.push_str(&format!(
                "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.8\"/>"
            ));
        }
        open = true;
    }
    format!("<path class=\"line\" d=\"{path}\"/>{text}")
}

fn bars(
    figures: &Figures,
    axis: &Axis,
    strip: &[u64],
    class: &str,
    top: f64,
    bottom: f64,
) -> String {
    let most = strip.iter().copied().max().unwrap_or(0).max(1);
    let mut text = frame(most, top, bottom);
    for (bin, value) in strip.iter().enumerate().filter(|(_, value)| **value > 0) {
        let from = axis.x(figures.bin_us * bin as u64);
        let until = axis.x(figures.bin_us * (bin as u64 + 1));
        let high = (bottom - top) * *value as f64 / most as f64;
        text.push_str(&format!(
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{high:.1}\"><title>{value}</title></rect>",
            bottom - high,
            (until - from - 0.6).max(0.6)
        ));
    }
    text
}

/// What each region's clients ask, one above the other.
fn stacked(figures: &Figures, axis: &Axis, top: f64, bottom: f64) -> String {
    let strip = &figures.operation_strip;
    let most = strip.iter().copied().max().unwrap_or(0).max(1);
    let mut below = vec![0; strip.len()];
    let mut text = frame(most, top, bottom);
    let level = |value: u64| bottom - (bottom - top) * value as f64 / most as f64;
    for (at, region) in figures.regions_in_full.iter().enumerate() {
        for (bin, (value, below)) in region.operation_strip.iter().zip(&mut below).enumerate() {
            let from = axis.x(figures.bin_us * bin as u64);
            let until = axis.x(figures.bin_us * (bin as u64 + 1));
            let (low, high) = (level(*below), level(*below + value));
            *below += value;
            if *value > 0 {
                text.push_str(&format!(
                    "<rect class=\"f{at}\" x=\"{from:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    (until - from - 0.4).max(0.6),
                    low - high
                ));
            }
        }
    }
    let mut x = WIDTH;
    for (at, region) in figures.regions_in_full.iter().enumerate().rev() {
        x -= region.region.chars().count() as f64 * 6.3 + 24.0;
        text.push_str(&format!(
            "<rect class=\"f{at}\" x=\"{x:.0}\" y=\"{:.0}\" width=\"9\" height=\"9\" rx=\"2\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            top - 16.0,
            x + 13.0,
            top - 7.5,
            escape(&region.region)
        ));
    }
    text
}

/// The lines at the top and the bottom of a strip, and what they stand for.
fn frame(most: u64, top: f64, bottom: f64) -> String {
    format!(
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{bottom:.0}\" y2=\"{bottom:.0}\"/>\
         <line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{top:.0}\" y2=\"{top:.0}\"/>\
         <text class=\"end\" x=\"{0}\" y=\"{1:.0}\">{2}</text><text class=\"end\" x=\"{0}\" y=\"{3:.0}\">0</text>",
        LEFT - 6.0,
        top + 4.0,
        count(most),
        bottom + 3.0
    )
}

/// How far each region's clock is off.
pub fn clocks(figures: &Figures) -> String {
    let off = figures
        .clocks
        .iter()
        .flat_map(|c| &c.offsets_us)
        .map(|(_, us)| us.unsigned_abs());
    let most_us = off.max().unwrap_or(0);
    if most_us == 0 {
        return "<section><h2>Clocks</h2><p class=\"note\">Every clock showed the true time throughout.</p></section>\n".into();
    }
    let axis = Axis {
        virtual_us: figures.virtual_us,
        left: 170.0,
        width: WIDTH,
    };
    let (mut body, row) = (String::new(), 46.0);
    for (at, clock) in figures.clocks.iter().enumerate() {
        let middle = 24.0 + row * at as f64;
        let mut path = String::new();
        for (nth, (at_us, offset_us)) in clock.offsets_us.iter().enumerate() {
            let y = middle - 18.0 * *offset_us as f64 / most_us as f64;
            path.push_str(&format!(
                "{}{:.1} {y:.1}",
                if nth == 0 { "M" } else { "L" },
                axis.x(*at_us)
            ));
        }
        let last_us = clock.offsets_us.last().map_or(0, |(_, us)| *us);
        let sign = if last_us < 0 { "\u{2212}" } else { "+" };
        body.push_str(&format!(
            "<line class=\"grid\" x1=\"170\" x2=\"{WIDTH}\" y1=\"{middle:.0}\" y2=\"{middle:.0}\"/><path class=\"line\" d=\"{path}\"/>\
             <text class=\"strong\" x=\"0\" y=\"{:.0}\">{}</text><text class=\"end\" x=\"164\" y=\"{:.0}\">{sign}{}</text>",
            middle + 4.0,
            escape(&clock.region),
            middle + 4.0,
            super::time(last_us.unsigned_abs())
        ));
    }
    let bottom = 4.0 + row * figures.clocks.len() as f64;
    let ticks = axis.ticks(0.0, bottom, 10);
    format!(
        "<section><h2>Clocks</h2><p class=\"note\">True offset of each region's wall clock, which only the simulator knows; the largest \
         is {}. The figure is the last one.</p><svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"Clock offsets\">{ticks}{body}</svg></section>\n",
        super::time(most_us),
        bottom + 20.0
    )
}
