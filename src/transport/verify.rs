//! Judges the certificate of the other side, in both directions (replication.md section 18): TLS's own
//! checks, then the cluster, the region and the role, which TLS does not look for. A refusal is words: they
//! go into the handshake's error, so that both operators read the same.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::certificate::{Facts, Role, date_time};
use super::identity::{dns_name, hex, names};
use super::refusal::Refusals;
use crate::clock::RegionId;

/// What a region hears that is not among the members. Also how it knows.
pub(super) const NO_MEMBER: &str = "which is no member of this cluster";

/// What certificates are judged by.
#[derive(Debug)]
pub(super) struct Judge {
    pub cluster: [u8; 16],
    /// Who may connect; changes with the members.
    pub peers: RwLock<BTreeMap<String, RegionId>>,
    pub refusals: Arc<Refusals>,
}

impl Judge {
    pub fn set_peers(&self, peers: BTreeMap<String, RegionId>) {
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = peers;
    }

    fn peer(&self, name: &str) -> Option<RegionId> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(name).copied()
    }

    /// Whether the certificate is that of a peer (of `expected`, where one was dialled), given what TLS
    /// found. Notes a refusal with the peer that it claims to be, or that was dialled.
    fn judge<T>(
        &self,
        certificate: &CertificateDer<'_>,
        found: Result<T, Error>,
        expected: Option<&str>,
    ) -> Result<T, Error> {
        let facts = Facts::read(certificate);
        let claimed = facts.as_ref().and_then(|facts| facts.region.as_deref());
        match self.check(certificate, facts.as_ref(), found, expected) {
            Ok(valid) => Ok(valid),
            Err(reason) => {
                let peer = expected.or(claimed);
                let peer = peer.and_then(|name| self.peer(name));
                let noted = format!("this region refused it: {reason}");
                self.refusals.note(peer, noted);
                Err(Error::General(reason))
            }
        }
    }

    fn check<T>(
        &self,
        certificate: &CertificateDer<'_>,
        facts: Option<&Facts>,
        found: Result<T, Error>,
        expected: Option<&str>,
    ) -> Result<T, String> {
        let facts = facts.ok_or("its certificate cannot be read")?;
        let who = facts.region.as_deref().unwrap_or(&facts.subject);
        let cluster = hex(&self.cluster);
        let theirs = facts.cluster.as_deref();
        if let Some(theirs) = theirs.filter(|theirs| **theirs != cluster) {
            return Err(format!(
                "the certificate of '{who}' is of cluster {theirs}, not {cluster}"
            ));
        }
        let misnamed = |error: &Error| {
            matches!(
                error,
                Error::InvalidCertificate(
                    CertificateError::NotValidForName
                        | CertificateError::NotValidForNameContext { .. }
                )
            )
        };
        if let Some(error) = found.as_ref().err().filter(|error| !misnamed(error)) {
            return Err(explain(error, facts, who));
        }
        let Some(region) = facts.region.as_deref() else {
            return Err(format!("the certificate of '{who}' names no region"));
        };
        if let Some(expected) = expected.filter(|expected| *expected != region) {
            return Err(format!(
                "the certificate is of region '{region}' where '{expected}' should be"
            ));
        }
        if self.peer(region).is_none() {
            return Err(format!(
                "the certificate is of region '{region}', {NO_MEMBER}: `meridian region add {region}` makes it one"
            ));
        }
        if !names(certificate, &self.cluster, region) {
            return Err(format!(
                "the certificate of '{region}' lacks the name {}",
                dns_name(&self.cluster, region)
            ));
        }
        if !facts.role.is_some_and(Role::originates) {
            return Err(format!(
                "the certificate of '{region}' has the role {}, which may not originate commits",
                facts.role.map_or("of no known name", Role::name)
            ));
        }
        found.map_err(|error| explain(&error, facts, who))
    }
}

/// What TLS found, as an operator would say it.
fn explain(error: &Error, facts: &Facts, who: &str) -> String {
    let Error::InvalidCertificate(error) = error else {
        return format!("the certificate of '{who}' cannot be checked: {error}");
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let until = date_time(facts.not_after_s);
            format!(
                "the certificate of '{who}' expired at {until}, or its authority's has: renew it"
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let from = date_time(facts.not_before_s);
            format!("the certificate of '{who}' is not valid before {from}: check the clocks")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of '{who}' was not signed by this cluster's authority, but by another ('{}')",
            facts.issuer
        ),
        other => format!("the certificate of '{who}' is not valid: {other}"),
    }
}

/// Judges who dials this region.
#[derive(Debug)]
pub(super) struct ClientJudge {
    pub judge: Arc<Judge>,
    pub tls: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for ClientJudge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Without hints a client shows what it has: it must be told why that is refused.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let found = self.tls.verify_client_cert(end_entity, intermediates, now);
        self.judge.judge(end_entity, found, None)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.tls.supported_verify_schemes()
    }
}

/// Judges whom this region dials.
#[derive(Debug)]
pub(super) struct ServerJudge {
    pub judge: Arc<Judge>,
    pub tls: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for ServerJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found =
            self.tls
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let name = server_name.to_str();
        let expected = name.split('.').next().unwrap_or_default();
        self.judge.judge(end_entity, found, Some(expected))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.tls.supported_verify_schemes()
    }
}
