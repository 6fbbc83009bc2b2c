//! A checked topology.

use std::fmt::Write as _;
use std::path::Path;

use super::check::{Check, derived_id};
use super::file;
use super::{Compression, ConfigError};

/// The most regions a cluster can have: a replica set is a 64-bit set of region ids.
pub const REGIONS_MAX: u16 = 64;

/// One region as its cluster knows it. Addresses are `host:port`; `meridian up` fills absent ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionSpec {
    pub name: String,
    /// 0 to 63, stable for the life of the cluster: stamps and logs carry it.
    pub id: u16,
    /// Where clients reach the DynamoDB API (TCP). Port 0 here and in `admin` takes any free one.
    pub endpoint: Option<String>,
    /// Where the other regions reach this one (UDP).
    pub gossip: Option<String>,
    /// Where `status` and the fault commands reach it (TCP).
    pub admin: Option<String>,
}

/// The distance that two regions should seem to have. Symmetrical; added to the real one.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub from: String,
    pub to: String,
    pub rtt_ms: f64,
    /// The 90th percentile, where known. Live regions inject the median; the simulator uses both.
    pub rtt_p90_ms: Option<f64>,
}

/// The regions of one cluster and the links between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    pub name: String,
    /// What certificates and stores are bound to: `[cluster] id`, or a hash of the cluster's name and
    /// region names. Give it explicitly in a cluster that is to grow: the hash changes with the regions.
    pub cluster_id: [u8; 16],
    /// Every new table gets a replica in every region.
    pub replicate_all: bool,
    /// Requests beyond a table's throughput are refused, as AWS refuses them.
    pub throttle: bool,
    /// How far the regions' clocks may be apart, the same for all (replication.md section 3).
    pub max_offset_ms: u64,
    /// What regions compress, unless one is told otherwise.
    pub compression: Compression,
    /// In the order of their ids.
    pub regions: Vec<RegionSpec>,
    pub links: Vec<Link>,
}

impl Topology {
    /// Reads and checks the topology file at `path`.
    pub fn load(path: &Path) -> Result<Topology, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            file: file.clone(),
            reason: error.to_string(),
        })?;
        Topology::parse(&text, &file)
    }

    /// Checks a topology given as text; `source` is what errors call it.
    pub fn parse(text: &str, source: &str) -> Result<Topology, ConfigError> {
        let file = file::read(text, source)?;
        Check { source }.topology(file)
    }

    /// `regions/local.toml`: three regions, every table global, no injected delay.
    pub fn builtin_local() -> Topology {
        Topology::parse(
            include_str!("../../regions/local.toml"),
            "regions/local.toml",
        )
        .expect("the built-in topology is parsed by a test")
    }

    pub fn region(&self, name: &str) -> Option<&RegionSpec> {
        self.regions.iter().find(|r| r.name == name)
    }

    pub fn region_mut(&mut self, name: &str) -> Option<&mut RegionSpec> {
        self.regions.iter_mut().find(|r| r.name == name)
    }

    /// The injected round trip between two regions, 0 where no link is described.
    pub fn rtt_ms(&self, a: &str, b: &str) -> f64 {
        self.links
            .iter()
            .find(|l| (l.from == a && l.to == b) || (l.from == b && l.to == a))
            .map_or(0.0, |l| l.rtt_ms)
    }

    /// Whether the cluster's id follows from names, and so would be another with other regions.
    pub fn has_derived_id(&self) -> bool {
        self.cluster_id == derived_id(&self.name, &self.regions)
    }

    /// The cluster id in 32 hexadecimal digits, as certificates and messages show it.
    pub fn cluster_id_hex(&self) -> String {
        hex(&self.cluster_id)
    }

    /// This topology as a file, cluster id included, that [`Topology::parse`] reads back equal.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let replicate = if self.replicate_all { "all" } else { "none" };
        let _ = writeln!(out, "[cluster]\nname = \"{}\"", self.name);
        let _ = writeln!(out, "id = \"{}\"", self.cluster_id_hex());
        let _ = writeln!(out, "replicate = \"{replicate}\"");
        if self.throttle {
            let _ = writeln!(out, "throttle = true");
        }
        let _ = writeln!(out, "max_offset_ms = {}", self.max_offset_ms);
        let _ = writeln!(out, "compression = \"{}\"", self.compression.name());
        for region in &self.regions {
            let _ = writeln!(out, "\n[[region]]\nname = \"{}\"", region.name);
            let _ = writeln!(out, "id = {}", region.id);
            let addresses = [
                ("endpoint", &region.endpoint),
                ("gossip", &region.gossip),
                ("admin", &region.admin),
            ];
            for (key, address) in addresses {
                if let Some(address) = address {
                    let _ = writeln!(out, "{key} = \"{address}\"");
                }
            }
        }
        for link in &self.links {
            let _ = writeln!(out, "\n[[link]]\nfrom = \"{}\"", link.from);
            let _ = writeln!(out, "to = \"{}\"\nrtt_ms = {:?}", link.to, link.rtt_ms);
            if let Some(p90) = link.rtt_p90_ms {
                let _ = writeln!(out, "rtt_p90_ms = {p90:?}");
            }
        }
        out
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Topology::parse(text, "t.toml")
            .expect_err("must be refused")
            .to_string()
    }

    const TWO: &str = "[cluster]\nname='c'\n[[region]]\nname='us-east-1'\nid=0\n[[region]]\nname='eu-west-1'\nid=1\n";

    #[test]
    fn shipped_topologies_parse() {
        let local = Topology::builtin_local();
        let names: Vec<_> = local.regions.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["us-east-1", "eu-west-1", "ap-northeast-1"]);
        assert!(local.replicate_all);
        assert_eq!(local.rtt_ms("us-east-1", "eu-west-1"), 0.0);
        let text = include_str!("../../regions/aws-global-5.toml");
        let global = Topology::parse(text, "aws-global-5.toml").expect("parses");
        assert_eq!(global.regions.len(), 5);
        assert_eq!(global.links.len(), 10);
        assert_eq!(global.rtt_ms("eu-west-1", "us-east-1"), 69.7);
    }

    #[test]
    fn written_topologies_read_back_equal() {
        let text = include_str!("../../regions/aws-global-5.toml");
        let mut global = Topology::parse(text, "t").expect("parses");
        global.region_mut("us-west-2").expect("there").endpoint = Some("127.0.0.1:8001".into());
        global.region_mut("us-west-2").expect("there").gossip = Some("[::1]:8001".into());
        global.compression = Compression::Never;
        let again = Topology::parse(&global.to_toml(), "t").expect("parses");
        assert_eq!(again, global);
    }

    #[test]
    fn cluster_id_depends_on_names_only() {
        let a = Topology::parse(TWO, "t").expect("parses");
        let swapped = TWO.replace("id=0", "id=9");
        let b = Topology::parse(&swapped, "t").expect("parses");
        assert_eq!(a.cluster_id, b.cluster_id);
        let c = Topology::parse(&TWO.replace("'c'", "'d'"), "t").expect("parses");
        assert_ne!(a.cluster_id, c.cluster_id);
        let id = "00112233445566778899aabbccddeeff";
        let d = TWO.replace("name='c'", &format!("name='c'\nid='{id}'"));
        let d = Topology::parse(&d, "t").expect("parses");
        assert_eq!(d.cluster_id_hex(), id);
    }

    #[test]
    fn derived_id_is_stable_across_versions() {
        let id = Topology::builtin_local().cluster_id_hex();
        assert_eq!(id, LOCAL_ID);
    }

    const LOCAL_ID: &str = "a7f83f7ccfe05280764c7c30fe042498";

    #[test]
    fn errors_name_file_key_and_remedy() {
        let text = TWO.replace("eu-west-1", "Europe");
        let message = error(&text);
        assert!(
            message.contains("topology 't.toml', key `region[1].name`"),
            "{message}"
        );
        assert!(message.contains("hint: name regions as AWS does"));
        let message = error(&TWO.replace("id=1", "id=1\nendpont='x:1'"));
        assert!(
            message.contains("'t.toml', line 9: unknown field `endpont`"),
            "{message}"
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let link = |from: &str, to: &str, rest: &str| {
            error(&format!("{TWO}[[link]]\nfrom='{from}'\nto='{to}'\n{rest}"))
        };
        let region = |field: &str| error(&TWO.replace("id=1", field));
        let cases = [
            (error("[cluster]\nname='c'"), "there is none"),
            (region("id=0"), "also the id of region[0]"),
            (region("id=64"), "too large"),
            (
                error(&TWO.replace("eu-west-1", "us-east-1")),
                "also the name",
            ),
            (region("id=1\ngossip='here'"), "not an address"),
            (region("id=1\ngossip='h:0'"), "has no port"),
            (
                region("id=1\nendpoint='h:1'\nadmin='h:1'"),
                "is also region[1].endpoint",
            ),
            (
                link("us-east-1", "us-west-2", "rtt_ms=1"),
                "there is no region",
            ),
            (
                link("us-east-1", "us-east-1", "rtt_ms=1"),
                "linked to itself",
            ),
            (link("us-east-1", "eu-west-1", "rtt_ms=-1"), "out of range"),
            (link("us-east-1", "eu-west-1", "rtt_ms=nan"), "out of range"),
            (
                link("us-east-1", "eu-west-1", "rtt_ms=2\nrtt_p90_ms=1.0"),
                "out of range",
            ),
            (
                link(
                    "us-east-1",
                    "eu-west-1",
                    "rtt_ms=1\n[[link]]\nfrom='eu-west-1'\nto='us-east-1'\nrtt_ms=2",
                ),
                "same two regions",
            ),
            (error(&TWO.replace("'c'", "'a b'")), "cannot name a cluster"),
            (
                error(&TWO.replace("'c'", "'c'\nid='xyz'")),
                "not a cluster id",
            ),
            (error(&TWO.replace("'c'", "'c'\nreplicate='some'")), "some"),
            (
                error(&TWO.replace("'c'", "'c'\ncompression='gzip'")),
                "gzip",
            ),
            (
                error(&TWO.replace("'c'", "'c'\nmax_offset_ms=9")),
                "out of range",
            ),
        ];
        for (message, wanted) in cases {
            assert!(message.contains(wanted), "{wanted}: {message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = Topology::parse(&text, "t");
        }
    }
}
