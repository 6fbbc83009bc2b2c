//! Who a region is to its peers: a certificate under the cluster's private CA (T3).
//!
//! A certificate names its region twice: as the URI `region://<cluster-id>/<region>` for people and
//! other tools, and as the DNS name `<region>.<cluster-id>.meridian` for TLS's own name check, which
//! both sides of every connection make. No system root is trusted.
//!
//! The CA minted here is a development CA: its key lies beside the certificates, so whoever can read
//! the folder can be any region. In production, give each region `ca.pem` and its own pair only.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::config::Topology;

/// How long to wait for another process that is minting the CA in the same folder.
const CA_WAIT: Duration = Duration::from_secs(5);
const CA_POLL: Duration = Duration::from_millis(20);

/// Why a region has no usable identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    #[error("'{path}' cannot be read or written: {source}")]
    Io {
        path: String,
        source: std::io::Error,
    },
    #[error(
        "'{path}' holds no usable PEM: {reason}\n  hint: restore it, or remove the certs folder of every region so that new ones are minted"
    )]
    Pem { path: String, reason: String },
    #[error(
        "region '{region}' has no certificate in '{path}', and there is no ca.key to sign one\n  hint: copy {region}.pem and {region}.key there, signed by the cluster's CA"
    )]
    Missing { region: String, path: String },
    #[error(
        "'{path}' is not a certificate of region '{region}' of cluster {cluster}\n  hint: another cluster's folder? The topology decides the cluster id"
    )]
    WrongName {
        region: String,
        cluster: String,
        path: String,
    },
    #[error("a certificate cannot be made: {0}")]
    Mint(#[from] rcgen::Error),
}

/// What a region shows its peers, and the root it judges theirs by.
pub struct Identity {
    pub(super) root: CertificateDer<'static>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Identity {
            root: self.root.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// Loads `ca.pem`, `<region>.pem` and `<region>.key` from `certs`.
    pub fn load(certs: &Path, cluster: &[u8; 16], region: &str) -> Result<Self, IdentityError> {
        let path = certs.join(format!("{region}.pem"));
        let certificate = read_certificate(&path)?;
        if !names(&certificate, cluster, region) {
            return Err(IdentityError::WrongName {
                region: region.to_string(),
                cluster: hex(cluster),
                path: path.display().to_string(),
            });
        }
        let key_path = certs.join(format!("{region}.key"));
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?)
            .map_err(|error| bad_pem(&key_path, &error))?;
        Ok(Identity {
            root: read_certificate(&certs.join("ca.pem"))?,
            certificate,
            key,
        })
    }

    /// Loads a region's identity from `certs`, minting what is missing: the region's pair, when the
    /// folder has a CA key, and the CA, when the folder has none. Safe for several processes at once.
    pub fn ensure(certs: &Path, cluster: &[u8; 16], region: &str) -> Result<Self, IdentityError> {
        if !certs.join(format!("{region}.pem")).exists() {
            let missing = || IdentityError::Missing {
                region: region.to_string(),
                path: certs.display().to_string(),
            };
            if certs.join("ca.pem").exists() && !certs.join("ca.key").exists() {
                return Err(missing());
            }
            DevCa::ensure(certs, cluster)?.issue_into(certs, region)?;
        }
        Identity::load(certs, cluster, region)
    }
}

/// Mints what a cluster on one machine needs in `certs`: the CA and every region's pair, where missing.
pub fn ensure(certs: &Path, topology: &Topology) -> Result<(), IdentityError> {
    let ca = DevCa::ensure(certs, &topology.cluster_id)?;
    for region in &topology.regions {
        ca.issue_into(certs, &region.name)?;
    }
    Ok(())
}

/// A certificate authority for development, tests and clusters on one machine.
pub struct DevCa {
    cluster: [u8; 16],
    key: KeyPair,
    root: CertificateDer<'static>,
    root_pem: String,
}

impl DevCa {
    /// A new CA, in memory.
    pub fn mint(cluster: &[u8; 16]) -> Result<Self, IdentityError> {
        let key = KeyPair::generate()?;
        let certificate = ca_params(cluster)?.self_signed(&key)?;
        Ok(DevCa {
            cluster: *cluster,
            root: certificate.der().clone(),
            root_pem: certificate.pem(),
            key,
        })
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

    /// An identity for `region`, in memory.
    pub fn issue(&self, region: &str) -> Result<Identity, IdentityError> {
        let (certificate, key) = self.sign(region)?;
        let der = key.serialize_der();
        Ok(Identity {
            root: self.root.clone(),
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(der.into()),
        })
    }

    /// Writes `<region>.key` and `<region>.pem`, unless the pair is there already.
    pub fn issue_into(&self, certs: &Path, region: &str) -> Result<(), IdentityError> {
        let path = certs.join(format!("{region}.pem"));
        if path.exists() {
            return Ok(());
        }
        let (certificate, key) = self.sign(region)?;
        let key_path = certs.join(format!("{region}.key"));
        replace(&key_path, key.serialize_pem().as_bytes())?;
        replace(&path, certificate.pem().as_bytes())
    }

    fn sign(&self, region: &str) -> Result<(rcgen::Certificate, KeyPair), IdentityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![dns_name(&self.cluster, region)])?;
        let uri = format!("region://{}/{region}", hex(&self.cluster));
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
        let issuer = Issuer::new(ca_params(&self.cluster)?, &self.key);
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((certificate, key))
    }
}

/// The DNS name in the certificate of `region`, and what its peers expect there.
pub(super) fn dns_name(cluster: &[u8; 16], region: &str) -> String {
    format!("{region}.{}.meridian", hex(cluster))
}

/// Whether `certificate` is that of `region` of `cluster`. Its signature is not looked at.
pub(super) fn names(certificate: &CertificateDer<'_>, cluster: &[u8; 16], region: &str) -> bool {
    let Ok(name) = ServerName::try_from(dns_name(cluster, region)) else {
        return false;
    };
    rustls::server::ParsedCertificate::try_from(certificate)
        .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, &name).is_ok())
}

/// The same parameters whenever the CA signs, so that issuer names match.
fn ca_params(cluster: &[u8; 16]) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = common_name(&format!("meridian {}", hex(cluster)));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn hex(cluster: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*cluster))
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|source| io(path, source))
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&read(path)?).map_err(|error| bad_pem(path, &error))
}

fn io(path: &Path, source: std::io::Error) -> IdentityError {
    IdentityError::Io {
        path: path.display().to_string(),
        source,
    }
}

fn bad_pem(path: &Path, reason: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::Pem {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

/// Creates `path`, for its owner's eyes only; an error if it is there.
fn create_private(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    write_new(path, bytes).map_err(|source| io(path, source))
}

/// Writes under another name first, so that `path` is whole whenever it is there.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let unique = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}-{unique}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    // Left over from a crash of a process of the same id.
    let _ = fs::remove_file(&temporary);
    create_private(&temporary, bytes)?;
    fs::rename(&temporary, path).map_err(|source| io(path, source))
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: [u8; 16] = [7; 16];

    #[test]
    fn certificates_name_their_region_only() {
        let ca = DevCa::mint(&CLUSTER).expect("mints");
        let identity = ca.issue("eu-west-1").expect("issues");
        assert!(names(&identity.certificate, &CLUSTER, "eu-west-1"));
        assert!(!names(&identity.certificate, &CLUSTER, "us-east-1"));
        assert!(!names(&identity.certificate, &[8; 16], "eu-west-1"));
        assert!(!names(
            &CertificateDer::from(vec![1, 2, 3]),
            &CLUSTER,
            "eu-west-1"
        ));
    }

    #[test]
    fn a_folder_is_filled_once_and_then_read() {
        let folder = tempfile::tempdir().expect("folder");
        let certs = folder.path().join("certs");
        let first = Identity::ensure(&certs, &CLUSTER, "eu-west-1").expect("mints");
        let again = Identity::ensure(&certs, &CLUSTER, "eu-west-1").expect("loads");
        assert_eq!(first.certificate, again.certificate);
        let other = Identity::ensure(&certs, &CLUSTER, "us-east-1").expect("mints");
        assert_eq!(first.root, other.root);
    }

    #[test]
    fn racing_processes_agree_on_one_ca() {
        let folder = tempfile::tempdir().expect("folder");
        let regions = ["us-east-1", "eu-west-1", "us-west-2", "sa-east-1"];
        let roots: Vec<_> = std::thread::scope(|scope| {
            let mint = |region: &'static str| Identity::ensure(folder.path(), &CLUSTER, region);
            let racers: Vec<_> = regions.map(|r| scope.spawn(move || mint(r))).into();
            racers
                .into_iter()
                .map(|r| r.join().expect("joins").expect("mints").root)
                .collect()
        });
        assert!(roots.iter().all(|root| *root == roots[0]));
    }

    #[test]
    fn folders_that_cannot_work_say_so() {
        let folder = tempfile::tempdir().expect("folder");
        let certs = folder.path();
        Identity::ensure(certs, &CLUSTER, "eu-west-1").expect("mints");
        let wrong = Identity::ensure(certs, &[8; 16], "eu-west-1").expect_err("another cluster");
        assert!(matches!(wrong, IdentityError::WrongName { .. }), "{wrong}");
        fs::remove_file(certs.join("ca.key")).expect("removes");
        let missing = Identity::ensure(certs, &CLUSTER, "us-east-1").expect_err("no key to sign");
        assert!(
            matches!(missing, IdentityError::Missing { .. }),
            "{missing}"
        );
        fs::write(certs.join("eu-west-1.key"), "no PEM").expect("writes");
        let bad = Identity::load(certs, &CLUSTER, "eu-west-1").expect_err("damaged");
        assert!(matches!(bad, IdentityError::Pem { .. }), "{bad}");
    }
}
