//! What a topology must satisfy before anything is started from it.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::ops::RangeInclusive;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::file::{self, File, Replicate};
use super::{ConfigError, Link, REGIONS_MAX, RegionSpec, Topology};

/// The longest injected round trip. More is surely a slip of units (microseconds for milliseconds).
const RTT_MS_MAX: f64 = 60_000.0;
/// How far clocks may be apart, unless the file says otherwise (replication.md section 3).
const MAX_OFFSET_MS: u64 = 500;
/// Less is within the error of a probe; more than the quarantine's hour means nothing.
const MAX_OFFSET_MS_RANGE: RangeInclusive<u64> = 10..=3_600_000;
const CLUSTER_NAME_CHARS_MAX: usize = 64;

/// The checks, and the name of the file for their errors.
pub(super) struct Check<'a> {
    pub source: &'a str,
}

impl Check<'_> {
    pub fn topology(&self, file: File) -> Result<Topology, ConfigError> {
        self.cluster_name(&file.cluster.name)?;
        let mut regions = self.regions(file.regions)?;
        self.unique_addresses(&regions)?;
        let links = self.links(file.links, &regions)?;
        let cluster_id = match file.cluster.id {
            Some(id) => self.explicit_id(&id)?,
            None => derived_id(&file.cluster.name, &regions),
        };
        regions.sort_by_key(|r| r.id);
        Ok(Topology {
            name: file.cluster.name,
            cluster_id,
            replicate_all: file.cluster.replicate == Replicate::All,
            throttle: file.cluster.throttle,
            max_offset_ms: self.max_offset_ms(file.cluster.max_offset_ms)?,
            compression: file.cluster.compression,
            regions,
            links,
        })
    }

    fn cluster_name(&self, name: &str) -> Result<(), ConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > CLUSTER_NAME_CHARS_MAX || !name.chars().all(plain) {
            return Err(self.invalid(
                "cluster.name",
                format!("'{name}' cannot name a cluster"),
                format!("use 1 to {CLUSTER_NAME_CHARS_MAX} letters, digits, '-', '_' and '.'"),
            ));
        }
        Ok(())
    }

    fn max_offset_ms(&self, given: Option<u64>) -> Result<u64, ConfigError> {
        let ms = given.unwrap_or(MAX_OFFSET_MS);
        if !MAX_OFFSET_MS_RANGE.contains(&ms) {
            let (least, most) = (MAX_OFFSET_MS_RANGE.start(), MAX_OFFSET_MS_RANGE.end());
            return Err(self.invalid(
                "cluster.max_offset_ms",
                format!("{ms} is out of range"),
                format!(
                    "give {least} to {most} milliseconds, or leave the key out for {MAX_OFFSET_MS}"
                ),
            ));
        }
        Ok(ms)
    }

    fn explicit_id(&self, id: &str) -> Result<[u8; 16], ConfigError> {
        parse_hex(id).ok_or_else(|| {
            self.invalid(
                "cluster.id",
                format!("'{id}' is not a cluster id"),
                "give 32 hexadecimal digits, or leave the key out".to_string(),
            )
        })
    }

    fn regions(&self, regions: Vec<file::Region>) -> Result<Vec<RegionSpec>, ConfigError> {
        if regions.is_empty() {
            return Err(self.invalid(
                "region",
                "there is none".to_string(),
                "add a [[region]] table with a name and an id".to_string(),
            ));
        }
        let mut names = BTreeMap::new();
        let mut ids = BTreeMap::new();
        let mut checked = Vec::with_capacity(regions.len());
        for (n, region) in regions.into_iter().enumerate() {
            let key = |field: &str| format!("region[{n}].{field}");
            if !is_region_name(&region.name) {
                return Err(self.invalid(
                    &key("name"),
                    format!("'{}' does not look like a region", region.name),
                    "name regions as AWS does, such as us-east-1: SDKs sign with it".to_string(),
                ));
            }
            if region.id >= REGIONS_MAX {
                return Err(self.invalid(
                    &key("id"),
                    format!("{} is too large", region.id),
                    format!("region ids are 0 to {}", REGIONS_MAX - 1),
                ));
            }
            if let Some(other) = names.insert(region.name.clone(), n) {
                return Err(self.invalid(
                    &key("name"),
                    format!("'{}' is also the name of region[{other}]", region.name),
                    "every region needs its own name".to_string(),
                ));
            }
            if let Some(other) = ids.insert(region.id, n) {
                return Err(self.invalid(
                    &key("id"),
                    format!("{} is also the id of region[{other}]", region.id),
                    "every region needs its own id, and keeps it for the life of the cluster"
                        .to_string(),
                ));
            }
            checked.push(RegionSpec {
                endpoint: self.address(&key("endpoint"), region.endpoint)?,
                gossip: self.fixed_address(&key("gossip"), region.gossip)?,
                admin: self.address(&key("admin"), region.admin)?,
                name: region.name,
                id: region.id,
            });
        }
        Ok(checked)
    }

    fn address(&self, key: &str, address: Option<String>) -> Result<Option<String>, ConfigError> {
        let Some(address) = address else {
            return Ok(None);
        };
        if is_address(&address) {
            return Ok(Some(address));
        }
        Err(self.invalid(
            key,
            format!("'{address}' is not an address"),
            "give host:port, such as 127.0.0.1:8001 or eu.example.net:8001".to_string(),
        ))
    }

    /// An address that others must know beforehand, so its port cannot be left to chance.
    fn fixed_address(
        &self,
        key: &str,
        address: Option<String>,
    ) -> Result<Option<String>, ConfigError> {
        match self.address(key, address)? {
            Some(address) if any_port(&address) => Err(self.invalid(
                key,
                format!("'{address}' has no port"),
                "give the port that the other regions will send to".to_string(),
            )),
            address => Ok(address),
        }
    }

    /// `endpoint` and `admin` share TCP's ports; `gossip` has UDP's to itself.
    fn unique_addresses(&self, regions: &[RegionSpec]) -> Result<(), ConfigError> {
        let mut seen: BTreeMap<(&str, &str), String> = BTreeMap::new();
        for (n, region) in regions.iter().enumerate() {
            let listeners = [
                ("tcp", "endpoint", &region.endpoint),
                ("tcp", "admin", &region.admin),
                ("udp", "gossip", &region.gossip),
            ];
            for (protocol, field, address) in listeners {
                let Some(address) = address.as_deref().filter(|a| !any_port(a)) else {
                    continue;
                };
                let key = format!("region[{n}].{field}");
                if let Some(other) = seen.insert((protocol, address), key.clone()) {
                    return Err(self.invalid(
                        &key,
                        format!("'{address}' is also {other}"),
                        "every listener needs its own address".to_string(),
                    ));
                }
            }
        }
        Ok(())
    }

    fn links(
        &self,
        links: Vec<file::Link>,
        regions: &[RegionSpec],
    ) -> Result<Vec<Link>, ConfigError> {
        let mut seen = BTreeMap::new();
        let mut checked = Vec::with_capacity(links.len());
        for (n, link) in links.into_iter().enumerate() {
            let key = |field: &str| format!("link[{n}].{field}");
            for (field, name) in [("from", &link.from), ("to", &link.to)] {
                if !regions.iter().any(|r| r.name == *name) {
                    let known: Vec<_> = regions.iter().map(|r| r.name.as_str()).collect();
                    return Err(self.invalid(
                        &key(field),
                        format!("there is no region '{name}'"),
                        format!("the regions are {}", known.join(", ")),
                    ));
                }
            }
            if link.from == link.to {
                return Err(self.invalid(
                    &key("to"),
                    format!("'{}' is linked to itself", link.to),
                    "a link joins two regions".to_string(),
                ));
            }
            let (low, high) = if link.from < link.to {
                (link.from.clone(), link.to.clone())
            } else {
                (link.to.clone(), link.from.clone())
            };
            if let Some(other) = seen.insert((low, high), n) {
                return Err(self.invalid(
                    &key("to"),
                    format!("link[{other}] joins the same two regions"),
                    "a link counts for both directions: describe it once".to_string(),
                ));
            }
            self.round_trips(&key, link.rtt_ms, link.rtt_p90_ms)?;
            checked.push(Link {
                from: link.from,
                to: link.to,
                rtt_ms: link.rtt_ms,
                rtt_p90_ms: link.rtt_p90_ms,
            });
        }
        Ok(checked)
    }

    fn round_trips(
        &self,
        key: &dyn Fn(&str) -> String,
        rtt_ms: f64,
        p90_ms: Option<f64>,
    ) -> Result<(), ConfigError> {
        let hint = || format!("round trips are milliseconds, 0 to {RTT_MS_MAX}");
        if !(0.0..=RTT_MS_MAX).contains(&rtt_ms) {
            return Err(self.invalid(&key("rtt_ms"), format!("{rtt_ms} is out of range"), hint()));
        }
        match p90_ms {
            Some(p90) if !(rtt_ms..=RTT_MS_MAX).contains(&p90) => Err(self.invalid(
                &key("rtt_p90_ms"),
                format!("{p90} is out of range"),
                format!("{}, and the 90th percentile is at least rtt_ms", hint()),
            )),
            _ => Ok(()),
        }
    }

    fn invalid(&self, key: &str, problem: String, hint: String) -> ConfigError {
        ConfigError::Invalid {
            file: self.source.to_string(),
            key: key.to_string(),
            problem,
            hint,
        }
    }
}

/// `[a-z]{2}(-[a-z]+)+-\d`, the form of AWS's region names.
fn is_region_name(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let lower = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    match parts.as_slice() {
        [continent, middle @ .., number] if !middle.is_empty() => {
            continent.len() == 2
                && lower(continent)
                && middle.iter().all(|part| lower(part))
                && number.len() == 1
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    }
}

fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']');
    !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok()
}

/// Port 0: whichever is free when the listener is bound.
fn any_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse() == Ok(0_u16))
}

/// Keyed with constants and fed length-prefixed fields: the id must not change between versions.
pub(super) fn derived_id(name: &str, regions: &[RegionSpec]) -> [u8; 16] {
    let mut names: Vec<&str> = regions.iter().map(|r| r.name.as_str()).collect();
    names.sort_unstable();
    let mut hasher = SipHasher13::new_with_keys(0x6d65_7269_6469_616e, 0x636c_7573_7465_7231);
    for field in std::iter::once(name).chain(names) {
        hasher.write(&(field.len() as u64).to_le_bytes());
        hasher.write(field.as_bytes());
    }
    hasher.finish128().as_u128().to_be_bytes()
}

fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let id = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
    Some(id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::is_region_name;

    #[test]
    fn region_names_have_the_form_of_aws() {
        for good in ["us-east-1", "us-gov-west-1", "xx-a-b-c-9"] {
            assert!(is_region_name(good), "{good}");
        }
        for bad in [
            "",
            "us-1",
            "use-east-1",
            "us-east-12",
            "us--1",
            "us-east-x",
            "US-east-1",
            "us-ea5t-1",
        ] {
            assert!(!is_region_name(bad), "{bad}");
        }
    }
}
