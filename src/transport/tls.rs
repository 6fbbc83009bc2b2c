//! TLS and QUIC settings: one provider, one protocol version, both sides show certificates.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::SecureRandom;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::tls13::{Hkdf, OkmBlock};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;

use super::dial::TransportError;
use super::frame::LANES;
use super::identity::Identity;
use super::verify::{ClientJudge, Judge, ServerJudge};
use super::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};

/// Names the protocol family; a peer that speaks another is refused in the handshake.
const ALPN: &[u8] = b"meridian/1";
const KEEP_ALIVE: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT_MS: u32 = 5_000;
/// Makes the first retransmission of a handshake come after 300 ms, not a second: regions that start
/// together find each other at once, and a path of 350 ms costs one spurious packet.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// What the reset key is derived for; the derivation serves nothing else.
const RESET_LABEL: &[u8] = b"meridian stateless reset";

/// The endpoint's own secret, derived from the region's key so that it survives a restart: a region
/// that was killed resets the connections that it no longer has when their packets come (RFC 9000
/// section 10.3), and its peers dial again at once instead of waiting for the idle timeout.
pub(super) fn endpoint(identity: &Identity) -> Result<EndpointConfig, TransportError> {
    let suite = TLS13_AES_128_GCM_SHA256
        .tls13()
        .ok_or_else(|| TransportError::Tls("the provider has no TLS 1.3".to_string()))?;
    let secret = identity.key.secret_der();
    let key = suite
        .hkdf_provider
        .hmac_sign(&OkmBlock::new(RESET_LABEL), secret);
    let mut config = EndpointConfig::new(Arc::new(ResetKey {
        hkdf: suite.hkdf_provider,
        key: OkmBlock::new(key.as_ref()),
    }));
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    config.cid_generator(move || Box::new(RandomIds(random)));
    Ok(config)
}

/// Random connection ids. quinn's own are signed with a key of the process, and packets without such a
/// signature are dropped, so that a restarted region would never reset anything.
struct RandomIds(&'static dyn SecureRandom);

const CONNECTION_ID_LEN: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CONNECTION_ID_LEN];
        self.0.fill(&mut id).expect(
            "the operating system's random numbers, by which TLS keys are made, do not fail",
        );
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// HMAC-SHA-256 by the TLS provider.
struct ResetKey {
    hkdf: &'static dyn Hkdf,
    key: OkmBlock,
}

/// Bytes of HMAC-SHA-256.
const HMAC_LEN: usize = 32;

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(self.hkdf.hmac_sign(&self.key, data).as_ref());
    }

    fn signature_len(&self) -> usize {
        HMAC_LEN
    }

    /// Reset tokens are compared by the peer that was sent them; this side only signs.
    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let expected = self.hkdf.hmac_sign(&self.key, data);
        (expected.as_ref() == signature)
            .then_some(())
            .ok_or(CryptoError)
    }
}

/// Whether the parts of an identity fit each other.
pub(super) fn admit(identity: &Identity) -> Result<(), TransportError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let chain = vec![identity.certificate.clone()];
    CertifiedKey::from_der(chain, identity.key.clone_key(), &provider).map_err(tls_error)?;
    roots(identity).map(|_| ())
}

pub(super) fn server(
    identity: &Identity,
    judge: Arc<Judge>,
) -> Result<quinn::ServerConfig, TransportError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let checks =
        WebPkiClientVerifier::builder_with_provider(roots(identity)?, Arc::clone(&provider))
            .build()
            .map_err(|error| TransportError::Tls(error.to_string()))?;
    let verifier = Arc::new(ClientJudge { judge, tls: checks });
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .map_err(tls_error)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.max_early_data_size = 0;
    tls.send_tls13_tickets = 0;
    let crypto =
        QuicServerConfig::try_from(tls).map_err(|error| TransportError::Tls(error.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(quic()));
    config.migration(false);
    Ok(config)
}

pub(super) fn client(
    identity: &Identity,
    judge: Arc<Judge>,
) -> Result<quinn::ClientConfig, TransportError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let checks =
        WebPkiServerVerifier::builder_with_provider(roots(identity)?, Arc::clone(&provider))
            .build()
            .map_err(|error| TransportError::Tls(error.to_string()))?;
    let verifier = Arc::new(ServerJudge { judge, tls: checks });
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        // Not to check less: to say more. The verifier begins with TLS's own checks.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .map_err(tls_error)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    let crypto =
        QuicClientConfig::try_from(tls).map_err(|error| TransportError::Tls(error.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(quic()));
    Ok(config)
}

fn quic() -> TransportConfig {
    let mut config = TransportConfig::default();
    let lanes = u32::try_from(LANES.len()).unwrap_or(u32::MAX);
    config
        .max_concurrent_uni_streams(VarInt::from_u32(lanes))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(CONNECTION_WINDOW_BYTES))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .initial_rtt(INITIAL_RTT);
    config
}

fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, TransportError> {
    let mut roots = RootCertStore::empty();
    for root in &identity.roots {
        roots.add(root.clone()).map_err(tls_error)?;
    }
    Ok(Arc::new(roots))
}

fn tls_error(error: rustls::Error) -> TransportError {
    TransportError::Tls(error.to_string())
}
