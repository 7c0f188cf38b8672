//! TLS to a directory: trust, the handshake, and what a certificate has to say.
//!
//! One [`TlsSetup`] per directory and revision: its session cache must not outlive a change of trust, since
//! a resumed session is not verified again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{LdapError, Misconfiguration};
use crate::idn;

pub(crate) mod detect;
mod facts;
mod failure;
pub(crate) mod old;
mod trust;

pub use crate::tls_failure::TlsFailure;
pub use facts::{CertificateFacts, TlsFacts};

/// What it takes to do TLS with one directory.
pub(crate) struct TlsSetup {
    config: Arc<ClientConfig>,
    seen: Arc<SeenChain>,
    asked: Arc<AtomicBool>,
    server_name: Option<String>,
}

/// The chain that a server showed last, whether it was accepted or not.
#[derive(Debug, Default)]
struct SeenChain(Mutex<Vec<CertificateDer<'static>>>);

impl TlsSetup {
    /// Trusts the certificates in `ca_pem` alone, or the system's when it is empty. `client` is a
    /// certificate chain and its key, both PEM.
    pub(crate) fn new(
        ca_pem: &str,
        server_name: Option<&str>,
        client: Option<(&str, &[u8])>,
    ) -> Result<Self, LdapError> {
        let misconfigured = LdapError::Misconfigured;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust::Trust { roots, pasted } = trust::roots(ca_pem).map_err(misconfigured)?;
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| misconfigured(Misconfiguration::CaCertificates(error.to_string())))?;
        let seen = Arc::new(SeenChain::default());
        let verifier = Arc::new(RecordingVerifier {
            inner,
            pasted,
            seen: seen.clone(),
        });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| misconfigured(Misconfiguration::CaCertificates(error.to_string())))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let (chain, key) = trust::client_identity(chain, key).map_err(misconfigured)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| misconfigured(Misconfiguration::ClientCertificate(unusable(&error))))?
            }
        };
        server_name.map(name_of).transpose()?;
        let asked = Arc::new(AtomicBool::new(false));
        config.client_auth_cert_resolver = Arc::new(NotingResolver {
            inner: config.client_auth_cert_resolver.clone(),
            asked: asked.clone(),
        });
        Ok(Self {
            config: Arc::new(config),
            seen,
            asked,
            server_name: server_name.map(str::to_owned),
        })
    }

    /// Does the handshake. The certificate must carry the setup's server name, or else `host`.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        host: &str,
        deadline: Instant,
    ) -> Result<TlsStream<TcpStream>, LdapError> {
        let name = name_of(self.server_name.as_deref().unwrap_or(host))?;
        let is_address = matches!(name, ServerName::IpAddress(_));
        let connecting = TlsConnector::from(self.config.clone()).connect(name, stream);
        match timeout_at(deadline, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(LdapError::Tls({
                let failure = failure::classify(&error);
                if let TlsFailure::Expired { not_after } = failure
                    && self.leaf_ends_at_another_time(not_after)
                {
                    TlsFailure::IssuerExpired { not_after }
                } else {
                    let untrusted = failure == TlsFailure::UnknownIssuer
                        || failure::cause(&error).is_some_and(failure::is_ca_certificate);
                    match untrusted && self.saw_self_signed() {
                        true if is_address => TlsFailure::SelfSignedWithoutName,
                        true => TlsFailure::SelfSigned,
                        false => failure,
                    }
                }
            })),
            Err(_) => Err(LdapError::Tls(TlsFailure::Timeout)),
        }
    }

    /// What the server's certificates said in the last handshake, accepted or not.
    pub(crate) fn seen_chain(&self) -> Vec<CertificateFacts> {
        let chain = self.seen.0.lock();
        facts::chain(&chain)
    }

    /// True if a server has asked for a client certificate. In TLS 1.3 it says only after the handshake, by
    /// hanging up, that it insists.
    pub(crate) fn was_asked_for_certificate(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// True if another certificate than the server's own ended at this time.
    fn leaf_ends_at_another_time(&self, end: Option<DateTime<Utc>>) -> bool {
        let chain = self.seen_chain();
        end.zip(chain.first())
            .is_some_and(|(end, leaf)| leaf.not_after != end)
    }

    fn saw_self_signed(&self) -> bool {
        let chain = self.seen_chain();
        chain.first().is_some_and(|leaf| leaf.subject == leaf.issuer)
    }
}

/// When a client certificate ends, the first of its chain.
pub fn client_certificate_end(pem: &str) -> Option<DateTime<Utc>> {
    let chain = trust::certificates(pem).ok()?;
    facts::chain(&chain).first().map(|own| own.not_after)
}

/// When the last of these authorities ends.
pub fn ca_certificate_end(pem: &str) -> Option<DateTime<Utc>> {
    let authorities = trust::certificates(pem).ok()?;
    facts::chain(&authorities).iter().map(|ca| ca.not_after).max()
}

fn name_of(host: &str) -> Result<ServerName<'static>, LdapError> {
    idn::to_ascii(host)
        .and_then(|name| ServerName::try_from(name.into_owned()).ok())
        .ok_or(LdapError::Misconfigured(Misconfiguration::ServerName))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of rustls, which adds causes")]
fn unusable(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "the key belongs to another certificate".to_owned(),
        _ => "the key is of a kind that TLS cannot use".to_owned(),
    }
}

/// Sends the client certificate, if there is one, and notes that a server asked for it.
#[derive(Debug)]
struct NotingResolver {
    inner: Arc<dyn ResolvesClientCert>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for NotingResolver {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// The usual verification, with two additions: it keeps the chain, so that a check can show what was refused, and it
/// accepts the server's own certificate if the tenant gave that one as trusted.
#[derive(Debug)]
struct RecordingVerifier {
    inner: Arc<WebPkiServerVerifier>,
    pasted: Vec<CertificateDer<'static>>,
    seen: Arc<SeenChain>,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity)
            .chain(intermediates)
            .take(facts::MAX_CHAIN);
        *self.seen.0.lock() = chain
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let verified =
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(error) if failure::is_ca_certificate(&error) && self.pasted.contains(end_entity) => {
                trust::verify_itself(end_entity, server_name, now)
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
