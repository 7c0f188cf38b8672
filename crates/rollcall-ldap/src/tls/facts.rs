//! What a TLS connection and its certificates have to tell an admin.

use chrono::{DateTime, Utc};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Most certificates of a chain that are looked at.
pub(super) const MAX_CHAIN: usize = 10;
/// Most names of a certificate that are kept.
const MAX_NAMES: usize = 50;
/// Longest name kept, in characters.
const MAX_NAME_CHARS: usize = 255;

/// An established TLS connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFacts {
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: &'static str,
    /// The cipher suite as IANA names it.
    pub cipher: String,
    /// The server's certificates, its own first.
    pub chain: Vec<CertificateFacts>,
}

/// One certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The DNS names and addresses that it is for, at most 50.
    pub names: Vec<String>,
    /// When it becomes valid.
    pub not_before: DateTime<Utc>,
    /// When it ends being valid.
    pub not_after: DateTime<Utc>,
}

impl TlsFacts {
    pub(crate) fn of(stream: &TlsStream<TcpStream>) -> Self {
        let session = stream.get_ref().1;
        Self {
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "TLS",
            },
            cipher: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown")
                .to_owned(),
            chain: chain(session.peer_certificates().unwrap_or_default()),
        }
    }
}

/// The facts of each certificate that can be parsed.
pub(super) fn chain(certificates: &[CertificateDer<'_>]) -> Vec<CertificateFacts> {
    certificates
        .iter()
        .take(MAX_CHAIN)
        .filter_map(|certificate| certificate_facts(certificate))
        .collect()
}

fn certificate_facts(der: &[u8]) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = match certificate.subject_alternative_name() {
        Ok(Some(names)) => names
            .value
            .general_names
            .iter()
            .filter_map(name_text)
            .take(MAX_NAMES)
            .collect(),
        _ => Vec::new(),
    };
    let time = |seconds| DateTime::from_timestamp(seconds, 0);
    Some(CertificateFacts {
        subject: bounded(&certificate.subject().to_string()),
        issuer: bounded(&certificate.issuer().to_string()),
        names,
        not_before: time(certificate.validity().not_before.timestamp())?,
        not_after: time(certificate.validity().not_after.timestamp())?,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of x509-parser: other names name no host"
)]
fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(bounded(name)),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(std::net::Ipv4Addr::from(four).to_string()),
            Err(_) => {
                let six = <[u8; 16]>::try_from(*bytes).ok()?;
                Some(std::net::Ipv6Addr::from(six).to_string())
            }
        },
        _ => None,
    }
}

fn bounded(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME_CHARS)
        .collect()
}
