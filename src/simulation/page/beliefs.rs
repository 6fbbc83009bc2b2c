//! What regions believe: each other's clocks, and what is durable everywhere.

use super::parts::{section, table};
use super::svg::{Axis, Log, count, escape, time};
use crate::simulation::figures::Figures;
use crate::simulation::watch::{ClockBelief, StabilityLine};

/// An offset with its sign.
fn signed(us: i64) -> String {
    match us {
        0 => "0".into(),
        _ if us < 0 => format!("\u{2212}{}", time(us.unsigned_abs())),
        _ => format!("+{}", time(us.unsigned_abs())),
    }
}

pub fn clocks(figures: &Figures) -> String {
    if figures.clock_beliefs.is_empty() {
        return String::new();
    }
    let row = |belief: &ClockBelief| {
        vec![
            belief.region.clone(),
            belief.peer.clone(),
            signed(belief.offset_true_us),
            signed(belief.offset_estimated_us),
            time(belief.error_bound_us),
            time(belief.error.p50_us),
            time(belief.error.max_us),
            format!("{} of {}", count(belief.beyond_bound), count(belief.looks)),
        ]
    };
    let rows: Vec<Vec<String>> = figures.clock_beliefs.iter().map(row).collect();
    let heads = [
        "region",
        "believes of",
        "#true offset",
        "#estimated",
        "#its own bound",
        "#error, median",
        "#largest",
        "#beyond the bound",
    ];
    section(
        "What regions believe of each other's clocks",
        "How far the other's wall clock is ahead, in truth and as measured over the link, at the end; and how wrong the measured \
         was over the run, looked at every two seconds. A region cannot see what a link takes more in one direction than in the \
         other; its own bound allows for that.",
        &table(&heads, &rows),
    )
}

pub fn stability(figures: &Figures) -> String {
    if figures.stability.is_empty() {
        return String::new();
    }
    let cards: String = figures
        .stability
        .iter()
        .map(|line| card(figures, line))
        .collect();
    format!(
        "<section><h2>Stability</h2><p class=\"note\">What every region has durably may be forgotten. Line: how far the stable stamp is \
         behind the time, which a cut or a dead region holds back; faults are shaded. Below, what is kept until then.</p>\
         <div class=\"cards\">{cards}</div></section>\n"
    )
}

fn card(figures: &Figures, line: &StabilityLine) -> String {
    let (width, top, bottom) = (260.0, 6.0, 78.0);
    let axis = Axis {
        virtual_us: figures.virtual_us,
        left: 50.0,
        width,
    };
    let ages = || {
        line.stable_age_us
            .iter()
            .filter_map(|(at_us, age)| Some((*at_us, (*age)?)))
    };
    let log = Log::of(ages().map(|(_, age_us)| age_us), top, bottom);
    let mut path = String::new();
    for (at_us, age_us) in ages() {
        let begins = if path.is_empty() { "M" } else { "L" };
        path.push_str(&format!(
            "{begins}{:.1} {:.1}",
            axis.x(at_us),
            log.y(age_us)
        ));
    }
    let most = |list: &[(u64, u64)]| list.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let longest = ages().map(|(_, age_us)| age_us).max();
    format!(
        "<div class=\"card\"><h3>{}</h3><p>at most {} behind</p><svg viewBox=\"0 0 {width} 96\" role=\"img\" \
         aria-label=\"Age of the stable stamp\">{}{}{}<path class=\"line\" d=\"{path}\"/></svg>\
         <p>{} tombstones &middot; {} commits in logs &middot; {} held, at most</p></div>",
        escape(&line.region),
        longest.map_or("-".into(), time),
        axis.shade(figures.faults.iter(), top, bottom),
        log.lines(axis.left, width),
        axis.ticks(bottom, bottom, 4),
        count(most(&line.tombstones)),
        count(most(&line.log_commits)),
        count(line.held_commits_max),
    )
}

/// Each region, and what the whole run was for its clients.
pub fn regions(figures: &Figures) -> String {
    let row = |region: &crate::simulation::figures::RegionFigures| {
        let share = region.refused as f64 * 100.0 / region.operations.max(1) as f64;
        let refused = match region.refused {
            0 => "0".into(),
            some => format!("{} ({share:.1} %)", count(some)),
        };
        vec![
            region.region.clone(),
            count(region.operations),
            refused,
            count(region.conflicts_per_hour),
            count(region.losses_per_hour),
        ]
    };
    let rows: Vec<Vec<String>> = figures.regions_in_full.iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let heads = [
        "region",
        "#asked by its clients",
        "#refused",
        "#conflicts an hour",
        "#of its writes that lost, an hour",
    ];
    section(
        "Regions",
        "Conflicts at the rate of this run, of which one version or the other was written here.",
        &table(&heads, &rows),
    )
}
