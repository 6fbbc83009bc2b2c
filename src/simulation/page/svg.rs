//! Plots as SVG text. Colours are classes, so that light, dark and paper each have their own.

use crate::simulation::figures::FaultSpan;

/// The room left of a strip for its labels.
pub const LEFT: f64 = 62.0;
/// The width of every wide plot.
pub const WIDTH: f64 = 1000.0;

/// Escapes text for HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A time as people read it: three digits and a unit.
pub fn time(us: u64) -> String {
    let us = us as f64;
    let (value, unit) = match us {
        _ if us < 1_000.0 => (us, "µs"),
        _ if us < 1_000_000.0 => (us / 1e3, "ms"),
        _ if us < 120_000_000.0 => (us / 1e6, "s"),
        _ => (us / 60e6, "min"),
    };
    format!("{} {unit}", digits(value))
}

/// Three digits, no more after the point than they need.
pub fn digits(value: f64) -> String {
    match value {
        _ if value >= 99.95 || value.fract() == 0.0 => format!("{value:.0}"),
        _ if value >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A count with its thousands apart.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

pub fn bytes(value: u64) -> String {
    let value = value as f64;
    match value {
        _ if value < 1e3 => format!("{value:.0} B"),
        _ if value < 1e6 => format!("{} KB", digits(value / 1e3)),
        _ if value < 1e9 => format!("{} MB", digits(value / 1e6)),
        _ => format!("{} GB", digits(value / 1e9)),
    }
}

/// The time axis of all plots of one run.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub virtual_us: u64,
    pub left: f64,
    pub width: f64,
}

impl Axis {
    pub fn x(&self, us: u64) -> f64 {
        let share = us as f64 / self.virtual_us.max(1) as f64;
        self.left + (self.width - self.left) * share.min(1.0)
    }

    /// Minutes and seconds at even distances, and thin lines above them.
    pub fn ticks(&self, top: f64, bottom: f64, most: u64) -> String {
        let steps_s = [
            1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400,
        ];
        let long_s = self.virtual_us / 1_000_000;
        let step_s = steps_s
            .into_iter()
            .find(|step| long_s / step <= most)
            .unwrap_or(28_800);
        let mut text = String::new();
        for nth in 0..=long_s / step_s {
            let at_s = nth * step_s;
            let x = self.x(at_s * 1_000_000);
            let class = match x {
                _ if nth == 0 => "",
                _ if x + 16.0 > self.width => " class=\"end\"",
                _ => " class=\"mid\"",
            };
            text.push_str(&format!(
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.0}\" y2=\"{bottom:.0}\"/>\
                 <text{class} x=\"{x:.1}\" y=\"{:.0}\">{}:{:02}</text>",
                bottom + 14.0,
                at_s / 60,
                at_s % 60
            ));
        }
        text
    }

    /// Spans of faults as shades, instants as lines.
    pub fn shade<'f>(
        &self,
        faults: impl Iterator<Item = &'f FaultSpan>,
        top: f64,
        bottom: f64,
    ) -> String {
        let shade = |fault: &FaultSpan| {
            let (from, until) = (self.x(fault.from_us), self.x(fault.until_us));
            format!(
                "<rect class=\"fault\" x=\"{from:.1}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"{:.0}\"><title>{}</title></rect>",
                (until - from).max(1.5),
                bottom - top,
                escape(&fault.what)
            )
        };
        faults.map(shade).collect()
    }
}

/// Where a time is between the bottom and the top of a plot of powers of ten, and the powers' lines.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    pub low: f64,
    pub high: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Log {
    /// Fits these times.
    pub fn of(values_us: impl Iterator<Item = u64>, top: f64, bottom: f64) -> Self {
        let (mut low, mut high) = (f64::MAX, 0.0f64);
        for us in values_us.filter(|us| *us > 0) {
            low = low.min((us as f64).log10());
            high = high.max((us as f64).log10());
        }
        let (low, high) = if low > high { (3.0, 4.0) } else { (low, high) };
        let (low, high) = ((low - 0.1).floor(), (high + 0.1).ceil());
        Log {
            low,
            high: high.max(low + 1.0),
            top,
            bottom,
        }
    }

    pub fn y(&self, us: u64) -> f64 {
        let value = (us.max(1) as f64).log10().clamp(self.low, self.high);
        let share = (value - self.low) / (self.high - self.low);
        self.bottom - share * (self.bottom - self.top)
    }

    pub fn lines(&self, left: f64, right: f64) -> String {
        let mut text = String::new();
        let mut power = self.low;
        while power <= self.high {
            let us = 10f64.powf(power).round().max(1.0);
            let y = self.y(us as u64);
            text.push_str(&format!(
                "<line class=\"grid\" x1=\"{left:.0}\" x2=\"{right:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"end\" x=\"{:.0}\" y=\"{:.1}\">{}</text>",
                left - 6.0,
                y + 4.0,
                tick(us)
            ));
            power += 1.0;
        }
        text
    }
}

/// A power of ten of microseconds.
fn tick(us: f64) -> String {
    match us {
        _ if us >= 1e6 => format!("{} s", us / 1e6),
        _ if us >= 1e3 => format!("{} ms", us / 1e3),
        _ => format!("{us} µs"),
    }
}

/// A colour between light and deep blue, and the class of text that reads on it.
pub fn shade(share: f64) -> (String, &'static str) {
    let stops = [
        (237, 246, 251),
        (158, 202, 225),
        (49, 130, 189),
        (8, 48, 107),
    ];
    let at = share.clamp(0.0, 1.0) * 3.0;
    let low = at.floor().min(2.0);
    let (a, b) = (stops[low as usize], stops[low as usize + 1]);
    let mix = |a: i32, b: i32| (f64::from(a) + (at - low) * f64::from(b - a)).round();
    let colour = format!("rgb({},{},{})", mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2));
    (colour, if share > 0.5 { "light" } else { "dark" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(time(999), "999 µs");
        assert_eq!(time(12_345), "12.3 ms");
        assert_eq!(time(1_000_000), "1 s");
        assert_eq!(time(600_000_000), "10 min");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(bytes(1_536), "1.54 KB");
        assert_eq!(escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }

    #[test]
    fn a_log_axis_holds_its_values() {
        let log = Log::of([40_000, 900_000_000].into_iter(), 0.0, 100.0);
        assert!(log.y(40_000) <= 100.0 && log.y(900_000_000) >= 0.0);
        assert!(log.y(100_000) > log.y(1_000_000), "more is higher");
    }
}
