//! The access keys that may call, from a file in the AWS CLI's own format.
//!
//! ```ini
//! [application]
//! aws_access_key_id = AKIA...
//! aws_secret_access_key = ...
//! ```
//!
//! Every profile is one caller; its name is for people. `aws_session_token` makes it a key that must come
//! with that token. Other settings are the CLI's and mean nothing here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::ConfigError;

const KEY_ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";

/// What belongs to an access key id. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    pub key: String,
    /// A request with this key must carry this token; without one it must carry none.
    pub token: Option<String>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// All access keys of a cluster, by id. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    keys: BTreeMap<String, Secret>,
}

/// A profile while it is read: where it began and what it said.
#[derive(Default)]
struct Profile {
    line: usize,
    id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
}

impl Credentials {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::CredentialsRead {
            file: file.clone(),
            reason: e.to_string(),
        })?;
        Credentials::parse(&text, &file)
    }

    /// Reads a file's text; `file` is for messages.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let wrong = |line: usize, problem: &str| ConfigError::Credentials {
            file: file.to_owned(),
            line,
            problem: problem.to_owned(),
        };
        let mut keys = BTreeMap::new();
        let mut open: Option<Profile> = None;
        let mut lines = 0;
        for (at, line) in text.lines().enumerate() {
            lines = at + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with('[') {
                let closed = without_comment(line).ends_with(']');
                if !closed {
                    return Err(wrong(lines, "a profile's name is not closed with ]"));
                }
                keep(open.take(), &mut keys).map_err(|(line, problem)| wrong(line, problem))?;
                open = Some(Profile {
                    line: lines,
                    ..Profile::default()
                });
                continue;
            }
            let (name, value) = line
                .split_once('=')
                .ok_or_else(|| wrong(lines, "this is neither [profile] nor name = value"))?;
            let profile = open
                .as_mut()
                .ok_or_else(|| wrong(lines, "a setting stands before the first [profile]"))?;
            let slot = match name.trim().to_ascii_lowercase().as_str() {
                KEY_ID => &mut profile.id,
                SECRET => &mut profile.secret,
                TOKEN => &mut profile.token,
                _ => continue,
            };
            let value = without_comment(value);
            if value.is_empty() {
                return Err(wrong(lines, "the value is empty"));
            }
            if slot.replace(value.to_owned()).is_some() {
                return Err(wrong(lines, "this is set twice in one profile"));
            }
        }
        keep(open, &mut keys).map_err(|(line, problem)| wrong(line, problem))?;
        if keys.is_empty() {
            return Err(wrong(lines, "there is no access key in the file"));
        }
        Ok(Credentials { keys })
    }

    /// What belongs to an access key id.
    pub fn secret(&self, access_key: &str) -> Option<&Secret> {
        self.keys.get(access_key)
    }
}

/// Takes a profile that ended. One without a key at all has other settings of the CLI.
fn keep(
    profile: Option<Profile>,
    keys: &mut BTreeMap<String, Secret>,
) -> Result<(), (usize, &'static str)> {
    let Some(profile) = profile else {
        return Ok(());
    };
    let (id, key) = match (profile.id, profile.secret) {
        (Some(id), Some(key)) => (id, key),
        (None, None) => return Ok(()),
        (Some(_), None) => return Err((profile.line, "the profile lacks aws_secret_access_key")),
        (None, Some(_)) => return Err((profile.line, "the profile lacks aws_access_key_id")),
    };
    if id.contains(['/', ',', ' ']) {
        return Err((
            profile.line,
            "an access key id may not hold slashes, commas or blanks",
        ));
    }
    let token = profile.token;
    match keys.insert(id, Secret { key, token }) {
        None => Ok(()),
        Some(_) => Err((
            profile.line,
            "the access key id stands in an earlier profile too",
        )),
    }
}

/// A value up to a comment, which begins with `#` or `;` after a blank.
fn without_comment(value: &str) -> &str {
    let comment = value
        .match_indices(['#', ';'])
        .map(|(at, _)| at)
        .find(|at| {
            value
                .get(..*at)
                .is_some_and(|before| before.ends_with([' ', '\t']))
        });
    comment
        .and_then(|at| value.get(..at))
        .unwrap_or(value)
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_keys() {
        let text = "# people\n[default]\naws_access_key_id = AKID # mine\naws_secret_access_key=a/b+c=\nregion = x\n\
                    \n[profile ops]\nAWS_ACCESS_KEY_ID=OPS\naws_secret_access_key = s;t\naws_session_token = tok\n[empty]\noutput=json\n";
        let credentials = Credentials::parse(text, "f").unwrap();
        let secret = |id: &str| credentials.secret(id).cloned();
        let expected = |key: &str, token: Option<&str>| {
            Some(Secret {
                key: key.to_owned(),
                token: token.map(str::to_owned),
            })
        };
        assert_eq!(secret("AKID"), expected("a/b+c=", None));
        assert_eq!(secret("OPS"), expected("s;t", Some("tok")));
        assert_eq!(secret("other"), None);
        assert!(!format!("{credentials:?}").contains("a/b"));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, said) in [
            ("", 0, "no access key"),
            ("[a]\nregion = x\n", 2, "no access key"),
            ("aws_access_key_id = x", 1, "before the first"),
            ("[a\n", 1, "not closed"),
            ("[a]\nnonsense\n", 2, "neither"),
            ("[a]\naws_access_key_id =\n", 2, "empty"),
            ("[a]\naws_access_key_id = x\n", 1, "lacks aws_secret"),
            ("\n[a]\naws_secret_access_key = x\n", 2, "lacks aws_access"),
            (
                "[a]\naws_access_key_id = x\naws_access_key_id = y\n",
                3,
                "twice",
            ),
            (
                "[a]\naws_access_key_id = x\naws_secret_access_key = y\n[b]\naws_access_key_id = x\naws_secret_access_key = z\n",
                4,
                "earlier",
            ),
            (
                "[a]\naws_access_key_id = x/y\naws_secret_access_key = y\n",
                1,
                "slashes",
            ),
        ] {
            let error = Credentials::parse(text, "keys").unwrap_err();
            let shown = error.to_string();
            assert!(
                shown.contains(&format!("line {line}:")) && shown.contains(said),
                "{text}: {shown}"
            );
        }
    }
}
