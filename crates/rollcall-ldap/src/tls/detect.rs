//! Does a server speak TLS at all? For telling a wrong port from a broken server.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::failure;
use crate::tls_failure::TlsFailure;

/// Greets the server and hangs up as soon as it has answered, at the latest when it shows a certificate.
pub(crate) async fn answers(stream: TcpStream, host: IpAddr, deadline: Instant) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let Ok(builder) = builder else {
        return false;
    };
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsNobody(schemes)))
        .with_no_client_auth();
    let connecting = TlsConnector::from(Arc::new(config)).connect(ServerName::from(host), stream);
    match timeout_at(deadline, connecting).await {
        Ok(Err(error)) => !matches!(
            failure::classify(&error),
            TlsFailure::Closed | TlsFailure::NotTls | TlsFailure::Other
        ),
        Ok(Ok(_)) => true,
        Err(_) => false,
    }
}

/// Refuses every certificate: it is enough to know that one was shown.
#[derive(Debug)]
struct TrustsNobody(Vec<SignatureScheme>);

impl ServerCertVerifier for TrustsNobody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
