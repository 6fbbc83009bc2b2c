//! Where a world's links come from: a topology file, the measured distances of AWS, what the scenario says.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::geography::{Delay, Geography};
use super::scenario::{Scenario, Span};
use crate::config::Topology;

/// Between regions of which nothing is known. A scenario that names such regions is refused.
const FALLBACK: Delay = Delay {
    base_us: 50_000,
    spread_us: 2_000,
    bytes_per_second: 0,
    loss_ppm: 0,
};

/// What all links are like, unless a `[[link]]` says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Megabits per second in each direction; absent: no limit.
    pub mbit_per_s: Option<u64>,
    /// Of a million packets, how many are lost.
    pub loss_ppm: Option<u64>,
}

/// Both directions between two regions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub between: [String; 2],
    pub rtt: Option<Span>,
    /// The 90th percentile.
    pub rtt_p90: Option<Span>,
    pub mbit_per_s: Option<u64>,
    pub loss_ppm: Option<u64>,
}

impl Link {
    fn joins(&self, a: &str, b: &str) -> bool {
        let [from, to] = &self.between;
        (from == a && to == b) || (from == b && to == a)
    }
}

/// A round trip that a topology file gives.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundTrip {
    from: String,
    to: String,
    rtt_us: u64,
    p90_us: u64,
}

/// The topology that a scenario names, looked for beside the scenario's file and in every folder above.
pub fn topology(named: &str, scenario: &str) -> Result<Topology, String> {
    let here = Path::new(scenario).parent().unwrap_or(Path::new(""));
    let here = std::path::absolute(here).unwrap_or_else(|_| here.to_path_buf());
    let mut places = here.ancestors().map(|folder| folder.join(named));
    let path = places.find(|path| path.is_file());
    let path = path.ok_or_else(|| {
        format!("'{named}' is neither beside the scenario nor in a folder above it")
    })?;
    Topology::load(&path).map_err(|error| error.to_string())
}

/// The round trips of a topology's links.
pub fn round_trips(topology: &Topology) -> Vec<RoundTrip> {
    let micros = |ms: f64| {
        let time = Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default();
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    };
    let links = topology.links.iter().map(|link| RoundTrip {
        from: link.from.clone(),
        to: link.to.clone(),
        rtt_us: micros(link.rtt_ms),
        p90_us: micros(link.rtt_p90_ms.unwrap_or(link.rtt_ms)),
    });
    links.collect()
}

/// A pair of regions whose distance nobody knows.
pub fn unknown(scenario: &Scenario, regions: &[String]) -> Option<(String, String)> {
    let aws = Geography::aws();
    let pairs = regions.iter().enumerate();
    let mut pairs = pairs.flat_map(|(at, a)| regions.iter().skip(at + 1).map(move |b| (a, b)));
    let unknown = pairs.find(|(a, b)| {
        let said = scenario
            .links
            .iter()
            .any(|l| l.rtt.is_some() && l.joins(a, b));
        !said && measured(scenario, &aws, a, b).is_none()
    });
    unknown.map(|(a, b)| (a.clone(), b.clone()))
}

/// From each region to each.
pub fn delays(scenario: &Scenario, regions: &[String]) -> Vec<Vec<Delay>> {
    let aws = Geography::aws();
    let from = |a: &String| {
        let to = |b: &String| delay(scenario, &aws, a, b);
        regions.iter().map(to).collect()
    };
    regions.iter().map(from).collect()
}

fn delay(scenario: &Scenario, aws: &Geography, a: &str, b: &str) -> Delay {
    let mut delay = measured(scenario, aws, a, b).unwrap_or(FALLBACK);
    let network = scenario.network;
    let (mut mbit, mut loss_ppm) = (network.mbit_per_s, network.loss_ppm);
    for link in scenario.links.iter().filter(|link| link.joins(a, b)) {
        if let Some(rtt) = link.rtt {
            let p90 = link.rtt_p90.unwrap_or(rtt);
            (delay.base_us, delay.spread_us) = one_way(rtt.forward_us(), p90.forward_us());
        }
        mbit = link.mbit_per_s.or(mbit);
        loss_ppm = link.loss_ppm.or(loss_ppm);
    }
    delay.bytes_per_second = mbit.unwrap_or(0).saturating_mul(125_000);
    delay.loss_ppm = loss_ppm.unwrap_or(0);
    delay
}

fn measured(scenario: &Scenario, aws: &Geography, a: &str, b: &str) -> Option<Delay> {
    let drawn = scenario.round_trips.iter();
    let mut drawn = drawn.filter(|r| (r.from == a && r.to == b) || (r.from == b && r.to == a));
    let Some(trip) = drawn.next() else {
        return aws.delay(a, b);
    };
    let (base_us, spread_us) = one_way(trip.rtt_us, trip.p90_us);
    Some(Delay {
        base_us,
        spread_us,
        ..Delay::default()
    })
}

/// Half of a round trip, and half of what nine of ten stay within beyond it.
fn one_way(rtt_us: u64, p90_us: u64) -> (u64, u64) {
    (rtt_us / 2, p90_us.saturating_sub(rtt_us) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(rest: &str) -> Scenario {
        let text = format!(
            "name = \"x\"\nregions = [\"eu-west-1\", \"us-east-1\", \"us-west-2\"]\n{rest}"
        );
        Scenario::parse(&text, "simulations/x.toml").unwrap()
    }

    #[test]
    fn a_link_overrides_the_network_and_both_the_measured() {
        let scenario = scenario(
            "[network]\nmbit_per_s = 8\nloss_ppm = 5\n[[link]]\nbetween = [\"us-east-1\", \"eu-west-1\"]\n\
             rtt = \"10ms\"\nrtt_p90 = \"14ms\"\nloss_ppm = 0",
        );
        let delays = delays(&scenario, scenario.regions.as_deref().unwrap());
        let said = Delay {
            base_us: 5_000,
            spread_us: 2_000,
            bytes_per_second: 1_000_000,
            loss_ppm: 0,
        };
        assert_eq!((delays[0][1], delays[1][0]), (said, said));
        assert_eq!(
            (delays[1][2].loss_ppm, delays[1][2].bytes_per_second),
            (5, 1_000_000)
        );
        assert!(delays[1][2].base_us > 20_000);
    }

    #[test]
    fn a_topology_gives_regions_and_links() {
        let text = "name = \"x\"\ntopology = \"regions/aws-global-5.toml\"";
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/simulations/x.toml");
        let scenario = Scenario::parse(text, file).unwrap();
        let regions = scenario.regions.clone().unwrap();
        assert_eq!(regions.len(), 5);
        assert_eq!(delays(&scenario, &regions)[0][1].base_us, 32_100);
        let wrong = Scenario::parse("name = \"x\"\ntopology = \"no.toml\"", file).unwrap_err();
        assert!(wrong.to_string().contains("topology"), "{wrong}");
    }
}
