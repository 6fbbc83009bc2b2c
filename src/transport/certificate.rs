//! Reads what a certificate says: whose it is, in which role, and until when (replication.md section 18).
//!
//! TLS checks signatures and dates; this says in words what it found, and finds what TLS does not look for:
//! the cluster, the region and the role. It reads DER of strangers: every length is checked, nothing panics.

use std::fmt;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;

use crate::clock::calendar::{self, days_since_1970};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const URI_NAME: u8 = 0x86;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

const URI_SCHEME: &str = "region://";
const DAY_S: u64 = 86_400;
const TEXT_CHARS_MAX: usize = 400;

/// What a region may do in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds data and originates commits.
    Member,
    /// Votes, and originates nothing.
    Witness,
    /// Follows, and originates nothing.
    Observer,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Witness => "witness",
            Role::Observer => "observer",
        }
    }

    pub fn parse(word: &str) -> Option<Role> {
        [Role::Member, Role::Witness, Role::Observer]
            .into_iter()
            .find(|role| role.name() == word)
    }

    /// Whether a region of this role may make commits of its own.
    pub fn originates(self) -> bool {
        self == Role::Member
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The URI in the certificate of a region. A member's says no role, as it always did.
pub(super) fn uri(cluster_hex: &str, region: &str, role: Role) -> String {
    match role {
        Role::Member => format!("{URI_SCHEME}{cluster_hex}/{region}"),
        other => format!("{URI_SCHEME}{cluster_hex}/{region}?role={other}"),
    }
}

/// What a certificate says of itself. Nothing here is believed before its signature is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub subject: String,
    pub issuer: String,
    /// 32 hexadecimal digits; absent in certificates that are of no region.
    pub cluster: Option<String>,
    pub region: Option<String>,
    pub role: Option<Role>,
    pub dns_names: Vec<String>,
    pub authority: bool,
    /// Seconds since 1970.
    pub not_before_s: u64,
    pub not_after_s: u64,
    /// SHA-256 of the whole, in hexadecimal.
    pub fingerprint: String,
}

impl Facts {
    /// `None` for what is no certificate.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Facts> {
        let (outer, _) = expect(certificate.as_ref(), SEQUENCE)?;
        let (mut rest, _) = expect(outer, SEQUENCE)?;
        if let Some((_, after)) = expect(rest, VERSION) {
            rest = after;
        }
        let (_serial, after) = any(rest)?;
        let (_algorithm, after) = expect(after, SEQUENCE)?;
        let (issuer, after) = expect(after, SEQUENCE)?;
        let (validity, after) = expect(after, SEQUENCE)?;
        let (subject, after) = expect(after, SEQUENCE)?;
        let (_key, mut rest) = expect(after, SEQUENCE)?;
        let (not_before_s, until) = time(validity)?;
        let (not_after_s, _) = time(until)?;
        let mut facts = Facts {
            subject: common_name(subject).unwrap_or_default(),
            issuer: common_name(issuer).unwrap_or_default(),
            cluster: None,
            region: None,
            role: None,
            dns_names: Vec::new(),
            authority: false,
            not_before_s,
            not_after_s,
            fingerprint: fingerprint(certificate)?,
        };
        while let Some((tag, content, after)) = tlv(rest) {
            rest = after;
            if tag == EXTENSIONS {
                facts.take_extensions(expect(content, SEQUENCE)?.0)?;
            }
        }
        Some(facts)
    }

    /// Whole days until it expires at `now_s`; negative once it has.
    pub fn days_left(&self, now_s: u64) -> i64 {
        let days = |s: u64| i64::try_from(s / DAY_S).unwrap_or(i64::MAX);
        match self.not_after_s.checked_sub(now_s) {
            Some(left) => days(left),
            None => -1 - days(now_s.saturating_sub(self.not_after_s)),
        }
    }

    fn take_extensions(&mut self, mut rest: &[u8]) -> Option<()> {
        while let Some((extension, after)) = expect(rest, SEQUENCE) {
            rest = after;
            let (id, mut value) = expect(extension, OBJECT_ID)?;
            if let Some((_critical, after)) = expect(value, BOOLEAN) {
                value = after;
            }
            let (value, _) = expect(value, OCTET_STRING)?;
            match id {
                ALTERNATIVE_NAMES => self.take_names(expect(value, SEQUENCE)?.0),
                BASIC_CONSTRAINTS => {
                    let (constraints, _) = expect(value, SEQUENCE)?;
                    let flag = expect(constraints, BOOLEAN).and_then(|(flag, _)| flag.first());
                    self.authority = flag.is_some_and(|flag| *flag != 0);
                }
                _ => {}
            }
        }
        Some(())
    }

    fn take_names(&mut self, mut rest: &[u8]) {
        while let Some((tag, content, after)) = tlv(rest) {
            rest = after;
            let text = printable(content);
            match tag {
                DNS_NAME => self.dns_names.push(text),
                URI_NAME => self.take_uri(&text),
                _ => {}
            }
        }
    }

    fn take_uri(&mut self, text: &str) {
        let Some((cluster, rest)) = text
            .strip_prefix(URI_SCHEME)
            .and_then(|text| text.split_once('/'))
        else {
            return;
        };
        let (region, role) = match rest.split_once("?role=") {
            // A role that this version does not know is none, which is refused.
            Some((region, word)) => (region, Role::parse(word)),
            None => (rest, Some(Role::Member)),
        };
        self.cluster = Some(cluster.to_string());
        self.region = Some(region.to_string());
        self.role = role;
    }
}

/// `2027-11-24` of seconds since 1970.
pub fn date(seconds: u64) -> String {
    let (year, month, day) = calendar::civil(seconds / DAY_S);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2027-11-24T10:00:00Z` of seconds since 1970.
pub fn date_time(seconds: u64) -> String {
    let text = calendar::date_time(seconds.saturating_mul(1_000_000));
    format!("{}Z", text.split('.').next().unwrap_or_default())
}

/// The first element: tag, content, and what follows it.
fn tlv(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let fold = |length: usize, digit: &u8| (length << 8) | usize::from(*digit);
            (digits.iter().fold(0, fold), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn any(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    tlv(bytes).map(|(_, content, rest)| (content, rest))
}

/// The first element's content and what follows it, if it has this tag.
fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    match tlv(bytes)? {
        (tag, content, rest) if tag == wanted => Some((content, rest)),
        _ => None,
    }
}

/// Text of a stranger, fit for logs and terminals: no control characters, and not much of it.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = |c: char| if c.is_control() { '?' } else { c };
    text.chars().take(TEXT_CHARS_MAX).map(shown).collect()
}

fn common_name(mut names: &[u8]) -> Option<String> {
    while let Some((set, after)) = expect(names, SET) {
        names = after;
        let (pair, _) = expect(set, SEQUENCE)?;
        let (id, value) = expect(pair, OBJECT_ID)?;
        if id == COMMON_NAME {
            return Some(printable(any(value)?.0));
        }
    }
    None
}

/// A time (RFC 5280 section 4.1.2.5) as seconds since 1970, not before then.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (tag, content, rest) = tlv(bytes)?;
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (year, text) = match tag {
        UTC_TIME => {
            let (year, text) = text.split_at_checked(2)?;
            let year: u64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text)
        }
        GENERALIZED_TIME => {
            let (year, text) = text.split_at_checked(4)?;
            (year.parse().ok()?, text)
        }
        _ => return None,
    };
    let field = |at: usize| text.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (field(0)?, field(2)?);
    let days = days_since_1970(year, month, day)?;
    Some((
        days * DAY_S + field(4)? * 3600 + field(6)? * 60 + field(8)?,
        rest,
    ))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Option<String> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
    let hash = suite.common.hash_provider.hash(certificate.as_ref());
    Some(hash.as_ref().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::super::authority::{DevCa, Terms};
    use super::*;

    const CLUSTER: [u8; 16] = [7; 16];

    #[test]
    fn a_certificate_says_whose_it_is_and_until_when() {
        let ca = DevCa::mint(&CLUSTER).expect("mints");
        let terms = Terms {
            role: Role::Observer,
            valid_s: Some((951_782_400, 4_102_444_800)),
        };
        let identity = ca.issue_with("eu-west-1", terms).expect("issues");
        let facts = Facts::read(&identity.certificate).expect("reads");
        assert_eq!(facts.subject, "eu-west-1");
        assert_eq!(facts.cluster, Some("07".repeat(16)));
        assert_eq!(facts.region.as_deref(), Some("eu-west-1"));
        assert_eq!(facts.role, Some(Role::Observer));
        assert!(!facts.authority);
        assert_eq!(facts.not_before_s, 951_782_400);
        assert_eq!(facts.not_after_s, 4_102_444_800);
        assert_eq!(date_time(facts.not_before_s), "2000-02-29T00:00:00Z");
        assert_eq!(date(facts.not_after_s), "2100-01-01");
        assert_eq!(facts.days_left(4_102_444_800 - 3 * DAY_S), 3);
        assert_eq!(facts.days_left(4_102_444_801), -1);
        let root = Facts::read(&identity.roots[0]).expect("reads");
        assert!(root.authority);
        assert_eq!(root.subject, format!("meridian {}", "07".repeat(16)));
        assert_eq!(facts.issuer, root.subject);
    }

    #[test]
    fn damaged_certificates_are_read_without_panic() {
        let ca = DevCa::mint(&CLUSTER).expect("mints");
        let whole = ca.issue("eu-west-1").expect("issues").certificate;
        for at in 0..whole.len() {
            let cut = CertificateDer::from(whole[..at].to_vec());
            assert_eq!(Facts::read(&cut), None, "cut at {at}");
            for bit in [1, 0x80] {
                let mut damaged = whole.to_vec();
                damaged[at] ^= bit;
                let _ = Facts::read(&CertificateDer::from(damaged));
            }
        }
    }

    #[test]
    fn a_strangers_text_cannot_draw_on_a_terminal() {
        assert_eq!(printable(b"\x1b[2Jus-east-1\n"), "?[2Jus-east-1?");
        assert_eq!(printable(&[b'a'; 9_000]).len(), TEXT_CHARS_MAX);
    }
}
