//! Who a region is to its peers: a certificate under the cluster's private CA (T3).
//!
//! A certificate names its region twice: as the URI `region://<cluster-id>/<region>` for people and
//! other tools, and as the DNS name `<region>.<cluster-id>.meridian` for TLS's own name check, which
//! both sides of every connection make. No system root is trusted.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::authority::DevCa;
use super::certificate::{Facts, Role};
use super::files::{bad_pem, read, read_certificate, read_certificates};
use crate::config::Topology;

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
    #[error(
        "the certificate '{path}' has the role {role}, which may not originate commits\n  hint: every region of a topology is a member; issue it with --role member"
    )]
    Role { path: String, role: String },
    #[error("'{path}' and the region's key do not fit: {reason}")]
    Mismatch { path: String, reason: String },
    #[error(
        "'{path}' is there already and is not overwritten\n  hint: choose another folder with --out, or use `meridian cert renew`"
    )]
    Exists { path: String },
    #[error("a certificate cannot be made: {0}")]
    Mint(#[from] rcgen::Error),
}

/// What a region shows its peers, and the roots it judges theirs by: one, or two while the cluster moves
/// from one authority to the next.
pub struct Identity {
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Identity {
            roots: self.roots.clone(),
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
        let role = Facts::read(&certificate).and_then(|facts| facts.role);
        if !role.is_some_and(Role::originates) {
            return Err(IdentityError::Role {
                path: path.display().to_string(),
                role: role.map_or("of no known name", Role::name).to_string(),
            });
        }
        let identity = Identity {
            roots: read_certificates(&certs.join("ca.pem"))?,
            certificate,
            key,
        };
        super::tls::admit(&identity).map_err(|reason| IdentityError::Mismatch {
            path: path.display().to_string(),
            reason: reason.to_string(),
        })?;
        Ok(identity)
    }

    /// What the certificate says.
    pub fn facts(&self) -> Option<Facts> {
        Facts::read(&self.certificate)
    }

    /// When the first of the roots expires, in seconds since 1970.
    pub fn roots_expire_s(&self) -> Option<u64> {
        let facts = self.roots.iter().filter_map(Facts::read);
        facts.map(|facts| facts.not_after_s).min()
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

/// What the certificates in a file say.
pub fn show(file: &Path) -> Result<Vec<Facts>, IdentityError> {
    let found = read_certificates(file)?;
    let facts: Option<Vec<Facts>> = found.iter().map(Facts::read).collect();
    facts.ok_or_else(|| bad_pem(file, &"what it holds is no certificate"))
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

/// A cluster id in 32 hexadecimal digits.
pub(super) fn hex(cluster: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*cluster))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert_eq!(first.roots, other.roots);
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
                .map(|r| r.join().expect("joins").expect("mints").roots)
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
