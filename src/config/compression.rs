//! When regions compress what they send each other.

use std::str::FromStr;

use serde::Deserialize;

/// `[cluster] compression`, or a region's `--compression`. What comes compressed is always read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Where bytes cost more than the work: on a link with a noticeable round trip, or one whose queue grows.
    #[default]
    Auto,
    Always,
    Never,
}

impl Compression {
    /// Its word in files and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Auto => "auto",
            Compression::Always => "always",
            Compression::Never => "never",
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Compression::Auto, Compression::Always, Compression::Never]
            .into_iter()
            .find(|known| known.name() == word)
            .ok_or_else(|| format!("'{word}' is not one of auto, always and never"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for known in [Compression::Auto, Compression::Always, Compression::Never] {
            assert_eq!(known.name().parse(), Ok(known));
        }
        assert!("sometimes".parse::<Compression>().is_err());
    }
}
