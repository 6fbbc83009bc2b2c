//! The world with its regions, and links coloured by lag; a circle where nobody knows where regions are.

use super::svg::{count, escape, time};
use crate::simulation::figures::{Figures, LinkFigures, RegionFigures};

const LAND: &str = include_str!("../world-data/land.txt");
const WIDTH: f64 = 1000.0;
/// A degree is so long, in both directions.
const DEGREE: f64 = WIDTH / 360.0;
/// What is shown: nobody has a region beyond.
const NORTH: f64 = 76.0;
const SOUTH: f64 = -57.0;
const HEIGHT: f64 = (NORTH - SOUTH) * DEGREE;
/// Colours of links.
const CLASSES: usize = 5;

type Point = (f64, f64);

pub fn section(figures: &Figures) -> String {
    let regions = &figures.regions_in_full;
    if regions.len() < 2 {
        return String::new();
    }
    let globe = Globe::of(regions);
    let (points, land) = match &globe {
        Some(globe) => (
            regions.iter().map(|r| globe.point(r)).collect(),
            globe.land(),
        ),
        None => (circle(regions.len()), String::new()),
    };
    let scale = Scale::of(&figures.links);
    let lines: String = figures
        .links
        .iter()
        .filter_map(|link| {
            let end = |name: &String| regions.iter().position(|r| r.region == *name);
            let ends = (*points.get(end(&link.from)?)?, *points.get(end(&link.to)?)?);
            Some(line(figures, link, ends, globe.is_some(), &scale))
        })
        .collect();
    let nodes = nodes(figures, &points);
    format!(
        "<section><h2>The world</h2><p class=\"note\">Links by the 99th percentile of their lag, one line for each direction, to the left \
         of its way; dashed: cut for a while. Regions by how much their clients ask; ringed: something happened to them.</p>\
         <svg class=\"map\" viewBox=\"0 0 {WIDTH} {HEIGHT:.0}\" role=\"img\" aria-label=\"Map of regions and links\">\
         {land}{lines}{nodes}</svg>{}</section>\n",
        scale.legend()
    )
}

/// A map cut open where there is the most room between regions.
struct Globe {
    /// The longitude of its left edge.
    west: f64,
}

impl Globe {
    /// `None` unless every region's place is known.
    fn of(regions: &[RegionFigures]) -> Option<Globe> {
        let places = regions
            .iter()
            .map(|r| r.place.map(|p| p.longitude_tenths as f64 / 10.0));
        let mut longitudes: Vec<f64> = places.collect::<Option<_>>()?;
        longitudes.sort_by(f64::total_cmp);
        let first = *longitudes.first()?;
        let next = longitudes.iter().skip(1).copied().chain([first + 360.0]);
        let gaps = longitudes
            .iter()
            .zip(next)
            .map(|(a, b)| (b - a, (a + b) / 2.0));
        let (_, middle) = gaps.max_by(|a, b| a.0.total_cmp(&b.0))?;
        // The usual edge, in the Pacific, unless it is far from the gap.
        let usual = -169.0;
        let far = ((middle - usual).rem_euclid(360.0)).min((usual - middle).rem_euclid(360.0));
        Some(Globe {
            west: if far < 75.0 { usual } else { middle },
        })
    }

    fn x(&self, longitude: f64) -> f64 {
        (longitude - self.west).rem_euclid(360.0) * DEGREE
    }

    fn point(&self, region: &RegionFigures) -> Point {
        let place = region.place.unwrap_or_default();
        let (latitude, longitude) = (
            place.latitude_tenths as f64 / 10.0,
            place.longitude_tenths as f64 / 10.0,
        );
        (self.x(longitude), y(latitude))
    }

    /// Every outline, twice where the edge cuts it.
    fn land(&self) -> String {
        let mut path = String::new();
        for ring in LAND.lines().filter(|line| !line.starts_with('#')) {
            let points: Vec<Point> = ring.split(' ').filter_map(coordinates).collect();
            let Some((first, _)) = points.first() else {
                continue;
            };
            let offset = self.x(*first) - first * DEGREE;
            let xs = || {
                points
                    .iter()
                    .map(|(longitude, _)| longitude * DEGREE + offset)
            };
            let (low, high) = (xs().fold(f64::MAX, f64::min), xs().fold(f64::MIN, f64::max));
            let copies = [(0.0, true), (WIDTH, low < 0.0), (-WIDTH, high > WIDTH)];
            for (shift, _) in copies.iter().filter(|(_, needed)| *needed) {
                for (at, (x, (_, latitude))) in xs().zip(&points).enumerate() {
                    let to = if at == 0 { 'M' } else { 'L' };
                    path.push_str(&format!("{to}{:.0} {:.0}", x + shift, y(*latitude)));
                }
                path.push('Z');
            }
        }
        let lines = (-1..=2).map(|nth| {
            let y = y(f64::from(nth) * 30.0);
            format!(
                "<line class=\"graticule\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y:.0}\" y2=\"{y:.0}\"/>"
            )
        });
        format!(
            "{}<path class=\"land\" d=\"{path}\"/>",
            lines.collect::<String>()
        )
    }
}

fn y(latitude: f64) -> f64 {
    (NORTH - latitude) * DEGREE
}

fn coordinates(text: &str) -> Option<Point> {
    let (longitude, latitude) = text.split_once(',')?;
    Some((longitude.parse().ok()?, latitude.parse().ok()?))
}

fn circle(count: usize) -> Vec<Point> {
    let point = |nth: usize| {
        let angle = std::f64::consts::TAU * (nth as f64 / count as f64 - 0.25);
        (
            WIDTH / 2.0 + 300.0 * angle.cos(),
            HEIGHT / 2.0 + 140.0 * angle.sin(),
        )
    };
    (0..count).map(point).collect()
}

/// Which lag has which colour: even steps of its logarithm.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(links: &[LinkFigures]) -> Scale {
        let lags = links
            .iter()
            .map(|link| link.lag.p99_us)
            .filter(|us| *us > 0);
        let logs: Vec<f64> = lags.map(|us| (us as f64).log10()).collect();
        let low = logs.iter().copied().fold(f64::MAX, f64::min);
        let high = logs.iter().copied().fold(f64::MIN, f64::max);
        match low <= high {
            true => Scale {
                low,
                high: high.max(low + 0.05),
            },
            false => Scale {
                low: 4.0,
                high: 5.0,
            },
        }
    }

    fn class(&self, us: u64) -> usize {
        let share = ((us.max(1) as f64).log10() - self.low) / (self.high - self.low);
        ((share * CLASSES as f64).floor().max(0.0) as usize).min(CLASSES - 1)
    }

    fn legend(&self) -> String {
        let edge = |nth: usize| {
            let log = self.low + (self.high - self.low) * nth as f64 / CLASSES as f64;
            time(10f64.powf(log).round() as u64)
        };
        let item = |nth: usize| {
            format!(
                "<li><i class=\"l{nth}\"></i>{} to {}</li>",
                edge(nth),
                edge(nth + 1)
            )
        };
        format!(
            "<ul class=\"legend\">{}</ul>",
            (0..CLASSES).map(item).collect::<String>()
        )
    }
}

/// One direction: bowed to the left of its way, on the shorter way around the globe.
fn line(
    figures: &Figures,
    link: &LinkFigures,
    (from, to): (Point, Point),
    on_globe: bool,
    scale: &Scale,
) -> String {
    let across = match to.0 - from.0 {
        _ if !on_globe => 0.0,
        apart if apart > WIDTH / 2.0 => -WIDTH,
        apart if apart < -WIDTH / 2.0 => WIDTH,
        _ => 0.0,
    };
    let cut = figures.faults.iter().any(|fault| {
        let named = |(a, b): &(String, String)| *a == link.from && *b == link.to;
        fault.links.iter().any(named)
    });
    let class = match link.lag.count {
        0 => "none".to_owned(),
        _ => format!("l{}", scale.class(link.lag.p99_us)),
    };
    let curve = |shift: f64| {
        let (a, b) = ((from.0 + shift, from.1), (to.0 + across + shift, to.1));
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let control = ((a.0 + b.0) / 2.0 + dy * 0.13, (a.1 + b.1) / 2.0 - dx * 0.13);
        let middle = (
            (a.0 + b.0 + 2.0 * control.0) / 4.0,
            (a.1 + b.1 + 2.0 * control.1) / 4.0,
        );
        let angle = dy.atan2(dx).to_degrees();
        format!(
            "<path d=\"M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}\"/><path class=\"tip\" d=\"M5 0L-4 -4L-4 4Z\" \
             transform=\"translate({:.1} {:.1}) rotate({angle:.0})\"/>",
            a.0, a.1, control.0, control.1, b.0, b.1, middle.0, middle.1
        )
    };
    // What leaves on one side comes in on the other.
    let second = if across == 0.0 {
        String::new()
    } else {
        curve(-across)
    };
    format!(
        "<g class=\"link {class}{}\"><title>{} \u{2192} {}: p50 {}, p99 {}, {} commits</title>{}{second}</g>",
        if cut { " cut" } else { "" },
        escape(&link.from),
        escape(&link.to),
        time(link.lag.p50_us),
        time(link.lag.p99_us),
        count(link.lag.count),
        curve(0.0)
    )
}

fn nodes(figures: &Figures, points: &[Point]) -> String {
    let regions = &figures.regions_in_full;
    let most = regions
        .iter()
        .map(|r| r.operations)
        .max()
        .unwrap_or(1)
        .max(1) as f64;
    let mut taken: Vec<(Point, Point)> = points
        .iter()
        .map(|p| ((p.0 - 9.0, p.1 - 9.0), (p.0 + 9.0, p.1 + 9.0)))
        .collect();
    let mut body = String::new();
    for (region, point) in regions.iter().zip(points) {
        let radius = 4.0 + 5.0 * (region.operations as f64 / most).sqrt();
        let hurt = figures
            .faults
            .iter()
            .any(|fault| fault.regions.contains(&region.region));
        if hurt {
            body.push_str(&format!(
                "<circle class=\"hurt\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{:.1}\"/>",
                point.0,
                point.1,
                radius + 4.0
            ));
        }
        let (x, y, anchor) = label(
            *point,
            region.region.chars().count() as f64 * 7.2,
            &mut taken,
        );
        body.push_str(&format!(
            "<circle class=\"node\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>{}: {} operations, {} refused</title></circle>\
             <text class=\"name{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            point.0,
            point.1,
            escape(&region.region),
            count(region.operations),
            count(region.refused),
            escape(&region.region)
        ));
    }
    body
}

/// Where there is room for a label, by a region's dot.
fn label(point: Point, wide: f64, taken: &mut Vec<(Point, Point)>) -> (f64, f64, &'static str) {
    // Below first: lines bow upward and leave to the sides.
    let places = [
        (point.0, point.1 + 25.0, " mid"),
        (point.0 + 14.0, point.1 + 4.5, ""),
        (point.0 - 14.0, point.1 + 4.5, " end"),
        (point.0, point.1 - 16.0, " mid"),
        (point.0 + 14.0, point.1 + 20.0, ""),
        (point.0 - 14.0, point.1 - 12.0, " end"),
    ];
    let bounds = |(x, y, anchor): (f64, f64, &str)| {
        let left = match anchor {
            "" => x,
            " end" => x - wide,
            _ => x - wide / 2.0,
        };
        ((left, y - 11.0), (left + wide, y + 3.0))
    };
    let free = |place: &&(f64, f64, &'static str)| {
        let (low, high) = bounds(**place);
        let inside = low.0 > 2.0 && high.0 < WIDTH - 2.0;
        let clear =
            |(l, h): &(Point, Point)| high.0 < l.0 || h.0 < low.0 || high.1 < l.1 || h.1 < low.1;
        inside && taken.iter().all(clear)
    };
    let place = *places.iter().find(free).unwrap_or(&places[0]);
    taken.push(bounds(place));
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::places::Place;

    fn region(longitude_tenths: i64) -> RegionFigures {
        let place = Place {
            latitude_tenths: 400,
            longitude_tenths,
        };
        RegionFigures {
            place: Some(place),
            ..RegionFigures::default()
        }
    }

    #[test]
    fn the_map_is_cut_open_where_no_region_is() {
        let usual = Globe::of(&[region(-775), region(87), region(1_397)]).unwrap();
        assert!(usual.x(-77.5) < usual.x(8.7) && usual.x(8.7) < usual.x(139.7));
        // Sydney, Auckland, Oregon: the Pacific is in the middle.
        let pacific = Globe::of(&[region(1_512), region(1_748), region(-1_197)]).unwrap();
        assert!(pacific.x(151.2) < pacific.x(174.8) && pacific.x(174.8) < pacific.x(-119.7));
        assert!(Globe::of(&[RegionFigures::default()]).is_none());
    }

    #[test]
    fn land_is_on_the_map() {
        let globe = Globe { west: -169.0 };
        let land = globe.land();
        assert!(land.matches('Z').count() > 60, "{}", land.len());
        assert!(!land.contains("NaN"));
    }

    #[test]
    fn labels_keep_out_of_each_others_way() {
        let mut taken = Vec::new();
        let (first, second) = (
            label((500.0, 100.0), 70.0, &mut taken),
            label((502.0, 100.0), 70.0, &mut taken),
        );
        assert_ne!((first.1, first.2), (second.1, second.2));
        assert_eq!(label((995.0, 300.0), 70.0, &mut taken).2, " end");
    }
}
