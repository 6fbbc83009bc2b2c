//! Clients as a planning scenario describes them: `[[clients]]`, `[sun]` and `[[burst]]`.
//!
//! `load` makes operations of them.

use serde::Deserialize;

use super::places;
use super::scenario::{Mix, Scenario, Span};

/// The most operations of one run: beyond it a run takes minutes and gigabytes.
pub const OPERATIONS_MAX: u64 = 2_000_000;
const KEYS_MAX: u32 = 1_000_000;
const SESSIONS_MAX: u64 = 10_000;
const ITEM_BYTES_MAX: usize = 390_000;
const TIMES_MAX: u64 = 1_000;

/// The clients of one region that do the same.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// The region they ask.
    pub region: String,
    /// Of all of them together; with a `[sun]`, at its peak.
    pub operations_per_second: u64,
    pub mix: Mix,
    /// Items that clients of all regions ask for. One item of the same rank is the same item everywhere.
    #[serde(default = "keys")]
    pub keys: u32,
    /// Of 100 operations on single items, how many are on items that only this region's clients ask for.
    #[serde(default)]
    pub own_keys_percent: u64,
    /// The exponent of Zipf's law: the item of rank `n` is asked for as often as `1 / n^skew` says. 0: evenly.
    #[serde(default)]
    pub key_skew: f64,
    /// Bytes that an item carries besides its few attributes.
    #[serde(default)]
    pub item_bytes: ItemBytes,
    /// The round trip between the clients and the region: what their distance to it costs each request.
    #[serde(default)]
    pub rtt: Span,
    /// Clients that are told apart: each reads at least what it wrote and read before.
    #[serde(default = "sessions")]
    pub sessions: u64,
    pub failover: Option<Failover>,
}

/// Where clients go while their region is dead, without what they knew there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failover {
    pub to: String,
    /// After the death until they go, and after the return until they come back.
    pub after: Span,
}

/// How large items are: all the same, or spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ItemBytes {
    All(usize),
    Spread(Spread),
}

/// Half of the items are smaller than `p50`, though none than half of that; none is larger than `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    pub p50: usize,
    pub p90: usize,
    pub max: usize,
}

impl Default for ItemBytes {
    fn default() -> Self {
        ItemBytes::All(0)
    }
}

fn keys() -> u32 {
    1_000
}

fn sessions() -> u64 {
    16
}

/// Load that follows the local time of each region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sun {
    /// How much virtual time a day takes: a whole day in minutes shows all that 24 hours of it would, at a
    /// rate that each hour has.
    pub day: Span,
    /// What time it is at Greenwich when the run begins.
    #[serde(default)]
    pub starts: TimeOfDay,
    /// When clients ask most, on the clock of their region.
    #[serde(default = "evening")]
    pub peak: TimeOfDay,
    /// Twelve hours from the peak: so many of 100 operations of the peak's.
    #[serde(default = "trough_percent")]
    pub trough_percent: u64,
}

fn evening() -> TimeOfDay {
    TimeOfDay { minute: 20 * 60 }
}

fn trough_percent() -> u64 {
    20
}

/// Such as `"20:30"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay {
    pub minute: i64,
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(hour, minute)| {
            let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            let both = digits(hour) && digits(minute);
            let parts = (hour.parse::<i64>().ok()?, minute.parse::<i64>().ok()?);
            Some(parts).filter(|(hour, minute)| both && *hour < 24 && *minute < 60)
        });
        let (hour, minute) =
            parts.ok_or_else(|| format!("'{text}' is not a time of day such as \"20:30\""))?;
        Ok(TimeOfDay {
            minute: hour * 60 + minute,
        })
    }
}

/// More clients than usual, for a while.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    pub at: Span,
    #[serde(rename = "for")]
    pub lasts: Span,
    /// So many times what it would be; 0: nobody asks.
    pub times: u64,
    /// Absent: of every region's clients.
    pub region: Option<String>,
}

/// Holds clients, the sun and bursts against the scenario they are of. Gives the key and what is wrong.
pub fn check(scenario: &Scenario) -> Result<(), (String, String)> {
    let idle = scenario.clients.is_empty();
    if idle && scenario.sun.is_some() {
        return refuse("sun", "there are no [[clients]] to follow it");
    }
    if idle && !scenario.bursts.is_empty() {
        return refuse("burst", "there are no [[clients]] whose burst it is");
    }
    if idle {
        return Ok(());
    }
    let workload = &scenario.workload;
    let twice = [
        (
            "operations_per_second",
            workload.operations_per_second.is_some(),
        ),
        ("keys", workload.keys.is_some()),
        ("item_bytes", workload.item_bytes.is_some()),
        ("mix", workload.mix.is_some()),
        ("shares", workload.shares.is_some()),
    ];
    if let Some((key, _)) = twice.iter().find(|(_, said)| *said) {
        let reason = "[[clients]] say that, region by region\n  hint: leave it out here";
        return refuse(&format!("workload.{key}"), reason);
    }
    for (at, clients) in scenario.clients.iter().enumerate() {
        check_clients(scenario, clients)
            .map_err(|(key, reason)| (format!("clients {}: {key}", at + 1), reason))?;
    }
    check_sun(scenario)?;
    for (at, burst) in scenario.bursts.iter().enumerate() {
        check_burst(scenario, burst)
            .map_err(|(key, reason)| (format!("burst {}: {key}", at + 1), reason))?;
    }
    let operations = super::load::count(scenario);
    if operations > OPERATIONS_MAX {
        let reason = format!(
            "{operations} operations in one run are too many, {OPERATIONS_MAX} are possible\n  hint: ask less, or for a shorter time"
        );
        return refuse("clients 1: operations_per_second", reason);
    }
    Ok(())
}

fn refuse(key: &str, reason: impl Into<String>) -> Result<(), (String, String)> {
    Err((key.to_owned(), reason.into()))
}

/// That a region is among those of the scenario.
fn known(scenario: &Scenario, key: &str, name: &str) -> Result<(), (String, String)> {
    let regions = scenario.regions.as_deref().unwrap_or_default();
    match regions.iter().any(|region| region == name) {
        true => Ok(()),
        false if regions.is_empty() => refuse(
            key,
            "the scenario names no regions\n  hint: give it regions = [...] or a topology",
        ),
        false => refuse(
            key,
            format!(
                "'{name}' is not among the regions\n  hint: they are {}",
                regions.join(", ")
            ),
        ),
    }
}

fn check_clients(scenario: &Scenario, clients: &Clients) -> Result<(), (String, String)> {
    known(scenario, "region", &clients.region)?;
    if clients.operations_per_second > OPERATIONS_MAX {
        return refuse(
            "operations_per_second",
            format!("{OPERATIONS_MAX} at most are possible"),
        );
    }
    if clients.operations_per_second == 0 {
        let reason = "nobody would ask\n  hint: leave these [[clients]] out";
        return refuse("operations_per_second", reason);
    }
    if clients.mix.weights().iter().all(|weight| *weight == 0) {
        return refuse("mix", "every weight is 0");
    }
    if !(1..=KEYS_MAX).contains(&clients.keys) {
        return refuse("keys", format!("1 to {KEYS_MAX} are possible"));
    }
    if clients.own_keys_percent > 100 {
        return refuse("own_keys_percent", "0 to 100 are possible");
    }
    if !(0.0..=4.0).contains(&clients.key_skew) {
        let reason = "0 to 4 are possible\n  hint: 0 is even, 1 is what word counts and many shops look like";
        return refuse("key_skew", reason);
    }
    let ordered = match clients.item_bytes {
        ItemBytes::All(bytes) => bytes <= ITEM_BYTES_MAX,
        ItemBytes::Spread(Spread { p50, p90, max }) => {
            p50 <= p90 && p90 <= max && max <= ITEM_BYTES_MAX
        }
    };
    if !ordered {
        let reason =
            format!("p50 <= p90 <= max <= {ITEM_BYTES_MAX} must hold: an item has 400 KB at most");
        return refuse("item_bytes", reason);
    }
    if !(0..=10_000_000).contains(&clients.rtt.us) {
        return refuse("rtt", "0s to 10s are possible");
    }
    if !(1..=SESSIONS_MAX).contains(&clients.sessions) {
        return refuse("sessions", format!("1 to {SESSIONS_MAX} are possible"));
    }
    if let Some(failover) = &clients.failover {
        known(scenario, "failover.to", &failover.to)?;
        if failover.to == clients.region {
            return refuse("failover.to", "that is where they are");
        }
        if failover.after.us < 0 {
            return refuse("failover.after", "must not be negative");
        }
    }
    Ok(())
}

fn check_sun(scenario: &Scenario) -> Result<(), (String, String)> {
    let Some(sun) = &scenario.sun else {
        return Ok(());
    };
    if sun.day.us < 10_000_000 {
        return refuse("sun.day", "at least 10s are needed");
    }
    if sun.trough_percent > 100 {
        return refuse("sun.trough_percent", "0 to 100 are possible");
    }
    let regions = scenario.regions.as_deref().unwrap_or_default();
    let places = places::of(&places::named(scenario), regions);
    let mut nowhere = regions
        .iter()
        .zip(places)
        .filter(|(_, place)| place.is_none());
    match nowhere.next() {
        None => Ok(()),
        Some((region, _)) => refuse(
            "sun",
            format!(
                "where '{region}' is, and so what time it is there, is unknown\n  hint: say it with a [[place]]: \
                 region, latitude, longitude"
            ),
        ),
    }
}

fn check_burst(scenario: &Scenario, burst: &Burst) -> Result<(), (String, String)> {
    if let Some(region) = &burst.region {
        known(scenario, "region", region)?;
    }
    if burst.at.us < 0 || scenario.duration.is_some_and(|d| burst.at.us >= d.us) {
        return refuse("at", "is not within the duration");
    }
    if burst.lasts.us <= 0 {
        return refuse("for", "must be longer than nothing");
    }
    if burst.times > TIMES_MAX {
        return refuse("times", format!("0 to {TIMES_MAX} are possible"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_hours_and_minutes() {
        let minute = |text: &str| TimeOfDay::try_from(text.to_owned()).map(|t| t.minute);
        assert_eq!(minute("00:00"), Ok(0));
        assert_eq!(minute("23:59"), Ok(1_439));
        for wrong in [
            "", "8", "24:00", "12:60", "1:30", "12:3", "-1:30", "+1:30", "12:300",
        ] {
            assert!(minute(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line_and_a_hint() {
        let base = "name = \"x\"\nregions = [\"eu-west-1\", \"us-east-1\"]\nduration = \"60s\"\n";
        let clients =
            "[[clients]]\nregion = \"eu-west-1\"\noperations_per_second = 5\nmix = { put = 1 }\n";
        let good = Scenario::parse(&format!("{base}{clients}"), "x.toml");
        assert!(good.is_ok(), "{good:?}");
        let cases = [
            (
                "[[clients]]\nregion = \"mars\"\noperations_per_second = 5\nmix = { put = 1 }",
                5,
                "'mars'",
            ),
            (
                "[[clients]]\nregion = \"eu-west-1\"\noperations_per_second = 0\nmix = { put = 1 }",
                6,
                "leave",
            ),
            (
                "[[clients]]\nregion = \"eu-west-1\"\noperations_per_second = 90000\nmix = { put = 1 }",
                6,
                "shorter",
            ),
            (
                "[[clients]]\nregion = \"eu-west-1\"\noperations_per_second = 5\nmix = {}",
                7,
                "every weight",
            ),
            (&format!("{clients}keys = 0"), 8, "possible"),
            (&format!("{clients}own_keys_percent = 101"), 8, "possible"),
            (&format!("{clients}key_skew = -0.5"), 8, "hint"),
            (
                &format!("{clients}item_bytes = {{ p50 = 9, p90 = 5, max = 7 }}"),
                8,
                "p90",
            ),
            (&format!("{clients}item_bytes = 400000"), 8, "400 KB"),
            (&format!("{clients}rtt = \"-1s\""), 8, "possible"),
            (&format!("{clients}sessions = 0"), 8, "possible"),
            (
                &format!("{clients}failover = {{ to = \"mars\", after = \"1s\" }}"),
                8,
                "us-east-1",
            ),
            (
                &format!("{clients}failover = {{ to = \"eu-west-1\", after = \"1s\" }}"),
                8,
                "where they are",
            ),
            (&format!("{clients}[sun]\nday = \"1s\""), 9, "10s"),
            (
                &format!("{clients}[sun]\nday = \"60s\"\ntrough_percent = 200"),
                10,
                "possible",
            ),
            (
                &format!("{clients}[[burst]]\nat = \"2m\"\nfor = \"1s\"\ntimes = 2"),
                9,
                "within",
            ),
            (
                &format!("{clients}[[burst]]\nat = \"2s\"\nfor = \"0s\"\ntimes = 2"),
                10,
                "longer",
            ),
            (
                &format!(
                    "{clients}[[burst]]\nat = \"2s\"\nfor = \"1s\"\ntimes = 2\nregion = \"mars\""
                ),
                12,
                "hint",
            ),
            (
                &format!("[workload]\nkeys = 3\n{clients}"),
                5,
                "leave it out",
            ),
            (
                &format!("{clients}[[place]]\nregion = \"mars\"\nlatitude = 0\nlongitude = 0"),
                9,
                "'mars'",
            ),
            (
                &format!(
                    "{clients}[[place]]\nregion = \"eu-west-1\"\nlatitude = 99\nlongitude = 0"
                ),
                10,
                "-90",
            ),
            ("[sun]\nday = \"60s\"", 4, "no [[clients]]"),
            (
                "[[burst]]\nat = \"2s\"\nfor = \"1s\"\ntimes = 2",
                4,
                "no [[clients]]",
            ),
        ];
        for (text, line, part) in cases {
            let error = Scenario::parse(&format!("{base}{text}"), "x.toml");
            let error = error.expect_err(text).to_string();
            assert!(error.contains(&format!("line {line}")), "{text}: {error}");
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_sun_needs_to_know_where_regions_are() {
        let text = "name = \"x\"\nregions = [\"here\", \"there\"]\n[[link]]\nbetween = [\"here\", \"there\"]\nrtt = \"9ms\"\n\
            [[clients]]\nregion = \"here\"\noperations_per_second = 5\nmix = { put = 1 }\n[sun]\nday = \"60s\"\n";
        let error = Scenario::parse(text, "x.toml").unwrap_err().to_string();
        assert!(
            error.contains("line 10") && error.contains("[[place]]"),
            "{error}"
        );
        let place =
            |name: &str| format!("[[place]]\nregion = \"{name}\"\nlatitude = 1\nlongitude = 2.5\n");
        let text = format!("{text}{}{}", place("here"), place("there"));
        Scenario::parse(&text, "x.toml").unwrap();
    }
}
