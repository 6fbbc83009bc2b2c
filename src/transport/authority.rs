//! The cluster's own certificate authority: `ca.pem` and `ca.key` in a folder.
//!
//! `up` mints one beside the regions' certificates, so whoever can read that folder can be any region. In
//! production `meridian cert init` makes it on a machine of its own, and each region is given `ca.pem` and
//! its own pair only (`meridian cert issue`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::{Facts, Role, uri};
use super::files::{bad_pem, create_private, io, read_certificate, replace};
use super::identity::{Identity, IdentityError, dns_name, hex};

/// How long to wait for another process that is minting the CA in the same folder.
const CA_WAIT: Duration = Duration::from_secs(5);
const CA_POLL: Duration = Duration::from_millis(20);
/// What comes before the cluster's id in the name of its authority.
const NAME_PREFIX: &str = "meridian ";
/// A certificate is valid from a little before it is made: clocks differ.
const BACKDATE_S: u64 = 3_600;
const DAY_S: u64 = 86_400;

/// What a certificate is issued for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub role: Role,
    /// From and until, in seconds since 1970; `None` for as long as can be written, which is what `up` and
    /// tests use.
    pub valid_s: Option<(u64, u64)>,
}

impl Terms {
    /// A member for ever.
    pub const FOREVER: Terms = Terms {
        role: Role::Member,
        valid_s: None,
    };

    /// From now on, for some days.
    pub fn days(role: Role, days: u32) -> Terms {
        let now_s = now_s();
        let from = now_s.saturating_sub(BACKDATE_S);
        let until = now_s.saturating_add(u64::from(days) * DAY_S);
        Terms {
            role,
            valid_s: Some((from, until)),
        }
    }

    fn write(self, params: &mut CertificateParams) {
        if let Some((from, until)) = self.valid_s {
            let epoch = rcgen::date_time_ymd(1970, 1, 1);
            params.not_before = epoch + Duration::from_secs(from);
            params.not_after = epoch + Duration::from_secs(until);
        }
    }
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A cluster's certificate authority.
pub struct DevCa {
    cluster: [u8; 16],
    key: KeyPair,
    root: CertificateDer<'static>,
    root_pem: String,
}

impl DevCa {
    /// A new CA, in memory.
    pub fn mint(cluster: &[u8; 16]) -> Result<Self, IdentityError> {
        DevCa::mint_for(cluster, None)
    }

    fn mint_for(cluster: &[u8; 16], days: Option<u32>) -> Result<Self, IdentityError> {
        let key = KeyPair::generate()?;
        let mut params = ca_params(cluster)?;
        if let Some(days) = days {
            Terms::days(Role::Member, days).write(&mut params);
        }
        let certificate = params.self_signed(&key)?;
        Ok(DevCa {
            cluster: *cluster,
            root: certificate.der().clone(),
            root_pem: certificate.pem(),
            key,
        })
    }

    /// A new CA in `folder`, valid for some days. Refuses a folder that has one.
    pub fn init(folder: &Path, cluster: &[u8; 16], days: u32) -> Result<Self, IdentityError> {
        fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
        let (key, pem) = (folder.join("ca.key"), folder.join("ca.pem"));
        refuse_existing(&[&key, &pem])?;
        let ca = DevCa::mint_for(cluster, Some(days))?;
        create_private(&key, ca.key.serialize_pem().as_bytes())?;
        create_private(&pem, ca.root_pem.as_bytes())?;
        Ok(ca)
    }

    /// The CA in `folder`, whatever its cluster.
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join("ca.pem");
        let facts = Facts::read(&read_certificate(&path)?);
        let id = facts.and_then(|facts| {
            let id = facts.subject.strip_prefix(NAME_PREFIX)?;
            (id.len() == 32).then(|| u128::from_str_radix(id, 16).ok())?
        });
        let id = id.ok_or_else(|| bad_pem(&path, &"it is not the authority of a cluster"))?;
        DevCa::load(folder, &id.to_be_bytes())
    }

    /// The CA in `certs`, minted there if the folder has none. `ca.key` is created first and
    /// exclusively, so of several processes one mints and the others wait for `ca.pem`.
    pub fn ensure(certs: &Path, cluster: &[u8; 16]) -> Result<Self, IdentityError> {
        fs::create_dir_all(certs).map_err(|source| io(certs, source))?;
        let key_path = certs.join("ca.key");
        let pem_path = certs.join("ca.pem");
        if key_path.exists() || pem_path.exists() {
            return DevCa::load(certs, cluster);
        }
        let ca = DevCa::mint(cluster)?;
        match create_private(&key_path, ca.key.serialize_pem().as_bytes()) {
            Ok(()) => {}
            Err(IdentityError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                return DevCa::load(certs, cluster);
            }
            Err(error) => return Err(error),
        }
        replace(&pem_path, ca.root_pem.as_bytes())?;
        Ok(ca)
    }

    fn load(certs: &Path, cluster: &[u8; 16]) -> Result<Self, IdentityError> {
        let key_path = certs.join("ca.key");
        let pem_path = certs.join("ca.pem");
        let started = std::time::Instant::now();
        while !pem_path.exists() && started.elapsed() < CA_WAIT {
            std::thread::sleep(CA_POLL);
        }
        let text = fs::read_to_string(&key_path).map_err(|source| io(&key_path, source))?;
        let key = KeyPair::from_pem(&text).map_err(|error| bad_pem(&key_path, &error))?;
        let root_pem = fs::read_to_string(&pem_path).map_err(|source| io(&pem_path, source))?;
        Ok(DevCa {
            cluster: *cluster,
            root: read_certificate(&pem_path)?,
            root_pem,
            key,
        })
    }

    /// The cluster's id in 32 hexadecimal digits.
    pub fn cluster_hex(&self) -> String {
        hex(&self.cluster)
    }

    /// What this authority's own certificate says.
    pub fn facts(&self) -> Option<Facts> {
        Facts::read(&self.root)
    }

    /// An identity for `region` as a member for ever, in memory.
    pub fn issue(&self, region: &str) -> Result<Identity, IdentityError> {
        self.issue_with(region, Terms::FOREVER)
    }

    /// An identity for `region`, in memory.
    pub fn issue_with(&self, region: &str, terms: Terms) -> Result<Identity, IdentityError> {
        let key = KeyPair::generate()?;
        let certificate = self.sign(region, &key, terms)?;
        Ok(Identity {
            roots: vec![self.root.clone()],
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        })
    }

    /// Writes `<region>.key` and `<region>.pem`, unless the pair is there already.
    pub fn issue_into(&self, certs: &Path, region: &str) -> Result<(), IdentityError> {
        let (key_path, path) = pair(certs, region);
        if path.exists() {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        let certificate = self.sign(region, &key, Terms::FOREVER)?;
        replace(&key_path, key.serialize_pem().as_bytes())?;
        replace(&path, certificate.pem().as_bytes())
    }

    /// Writes what a region needs to `folder`: `ca.pem` and its pair. Refuses to overwrite any of them; a
    /// `ca.pem` that holds this authority already, alone or among others, stays.
    pub fn hand_out(
        &self,
        folder: &Path,
        region: &str,
        terms: Terms,
    ) -> Result<PathBuf, IdentityError> {
        fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
        let (key_path, path) = pair(folder, region);
        refuse_existing(&[&key_path, &path])?;
        let root_path = folder.join("ca.pem");
        if root_path.exists() {
            if !super::files::read_certificates(&root_path)?.contains(&self.root) {
                return Err(exists(&root_path));
            }
        } else {
            create_private(&root_path, self.root_pem.as_bytes())?;
        }
        let key = KeyPair::generate()?;
        let certificate = self.sign(region, &key, terms)?;
        create_private(&key_path, key.serialize_pem().as_bytes())?;
        create_private(&path, certificate.pem().as_bytes())?;
        Ok(path)
    }

    /// Replaces `<region>.pem` by one of new dates for the same key, in one step: a region that loads the
    /// pair at any moment finds one that fits. The role stays.
    pub fn renew(&self, folder: &Path, region: &str, days: u32) -> Result<PathBuf, IdentityError> {
        let (key_path, path) = pair(folder, region);
        let facts = Facts::read(&read_certificate(&path)?)
            .filter(|facts| facts.region.as_deref() == Some(region))
            .filter(|facts| facts.cluster.as_deref() == Some(&hex(&self.cluster)));
        let wrong = || IdentityError::WrongName {
            region: region.to_string(),
            cluster: hex(&self.cluster),
            path: path.display().to_string(),
        };
        let role = facts.ok_or_else(wrong)?.role.ok_or_else(wrong)?;
        let text = fs::read_to_string(&key_path).map_err(|source| io(&key_path, source))?;
        let key = KeyPair::from_pem(&text).map_err(|error| bad_pem(&key_path, &error))?;
        let certificate = self.sign(region, &key, Terms::days(role, days))?;
        replace(&path, certificate.pem().as_bytes())?;
        Ok(path)
    }

    fn sign(
        &self,
        region: &str,
        key: &KeyPair,
        terms: Terms,
    ) -> Result<rcgen::Certificate, IdentityError> {
        let mut params = CertificateParams::new(vec![dns_name(&self.cluster, region)])?;
        let uri = uri(&hex(&self.cluster), region, terms.role);
        params
            .subject_alt_names
            .push(SanType::URI(uri.as_str().try_into()?));
        params.distinguished_name = common_name(region);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        terms.write(&mut params);
        let issuer = Issuer::new(ca_params(&self.cluster)?, &self.key);
        Ok(params.signed_by(key, &issuer)?)
    }
}

/// The key and the certificate of a region.
fn pair(folder: &Path, region: &str) -> (PathBuf, PathBuf) {
    (
        folder.join(format!("{region}.key")),
        folder.join(format!("{region}.pem")),
    )
}

fn refuse_existing(paths: &[&Path]) -> Result<(), IdentityError> {
    match paths.iter().find(|path| path.exists()) {
        Some(path) => Err(exists(path)),
        None => Ok(()),
    }
}

fn exists(path: &Path) -> IdentityError {
    IdentityError::Exists {
        path: path.display().to_string(),
    }
}

/// The same parameters whenever the CA signs, so that issuer names match.
fn ca_params(cluster: &[u8; 16]) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = common_name(&format!("{NAME_PREFIX}{}", hex(cluster)));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
