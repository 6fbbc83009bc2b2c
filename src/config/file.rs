//! The shape of a topology file, before it is checked.

use serde::Deserialize;

use super::{Compression, ConfigError};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub cluster: Cluster,
    #[serde(default, rename = "region")]
    pub regions: Vec<Region>,
    #[serde(default, rename = "link")]
    pub links: Vec<Link>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    pub name: String,
    pub id: Option<String>,
    #[serde(default)]
    pub replicate: Replicate,
    #[serde(default)]
    pub throttle: bool,
    pub max_offset_ms: Option<u64>,
    #[serde(default)]
    pub compression: Compression,
}

/// Which regions a new table gets replicas in. DynamoDB's own rule is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Replicate {
    All,
    #[default]
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Region {
    pub name: String,
    pub id: u16,
    pub endpoint: Option<String>,
    pub gossip: Option<String>,
    pub admin: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    pub from: String,
    pub to: String,
    pub rtt_ms: f64,
    pub rtt_p90_ms: Option<f64>,
}

pub(super) fn read(text: &str, source: &str) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|b| *b == b'\n').count() + 1;
        ConfigError::Syntax {
            file: source.to_string(),
            line,
            problem: error.message().trim_end().to_string(),
            hint: "a topology has [cluster], [[region]] and [[link]] tables; see regions/local.toml",
        }
    })
}
