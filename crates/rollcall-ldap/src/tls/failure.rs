//! Why a TLS handshake failed, in terms that an admin can act on.

use std::io;

use chrono::{DateTime, Utc};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Most names of a certificate that are listed.
const MAX_NAMES: usize = 20;

/// Why a TLS handshake failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TlsFailure {
    /// The server's certificate is out of date.
    #[error("the server's certificate has expired{}", .not_after.map(|time| format!(" on {}", time.format("%Y-%m-%d"))).unwrap_or_default())]
    Expired {
        /// When it ended, if known.
        not_after: Option<DateTime<Utc>>,
    },
    /// A certificate between the server's and a trusted one is out of date.
    #[error("the certificate of a CA that the server sent has expired{}", .not_after.map(|time| format!(" on {}", time.format("%Y-%m-%d"))).unwrap_or_default())]
    IssuerExpired {
        /// When it ended, if known.
        not_after: Option<DateTime<Utc>>,
    },
    /// The server's certificate is for later.
    #[error("the server's certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for other names than the one that was connected to.
    #[error("the server's certificate is for {}, not for the configured host", names_text(.names))]
    WrongName {
        /// The names that it is for.
        names: Vec<String>,
    },
    /// None of the trusted CAs signed the certificate.
    #[error("the server's certificate is not signed by a trusted CA")]
    UnknownIssuer,
    /// Nobody but its own key signed the certificate.
    #[error("the server's certificate is self-signed, and not among the trusted ones")]
    SelfSigned,
    /// The same, and the server was not told which host is wanted (SNI, RFC 6066 section 3): the name is an address. Some
    /// show a stopgap then.
    #[error(
        "the server's certificate is self-signed, and perhaps not its real one: addressed by an IP address, it was not told which host is wanted"
    )]
    SelfSignedWithoutName,
    /// The certificate is that of a CA, or otherwise not one for a server.
    #[error("the server's certificate is not meant for a server")]
    WrongPurpose,
    /// The certificate is broken or uses something that is not supported.
    #[error("the server's certificate cannot be used: {0}")]
    BadCertificate(String),
    /// The server knows only TLS 1.1 or older.
    #[error("the server offers only TLS versions older than 1.2")]
    OldVersion,
    /// The two sides have no cipher or key exchange in common.
    #[error("the server offers no acceptable cipher")]
    NoCommonCipher,
    /// What came back is not TLS: the port speaks plain LDAP or something else.
    #[error("the server does not speak TLS on this port")]
    NotTls,
    /// The port speaks LDAP without TLS: tried, on a connection of its own.
    #[error("the server speaks plain LDAP on this port, not TLS")]
    PlainLdap,
    /// The server closed the connection during the handshake.
    #[error("the server closed the connection during the handshake")]
    Closed,
    /// The server wants a client certificate, or another one.
    #[error("the server demands a client certificate")]
    ClientCertificateRequired,
    /// The server gave up with this alert.
    #[error("the server ended the handshake with alert {0}")]
    Alert(String),
    /// No answer in time.
    #[error("no handshake within the time limit")]
    Timeout,
    /// Something else.
    #[error("the handshake failed")]
    Other,
}

fn names_text(names: &[String]) -> String {
    if names.is_empty() {
        "no name at all".into()
    } else {
        names.join(", ")
    }
}

/// Names the cause of a failed handshake.
pub(super) fn classify(error: &io::Error) -> TlsFailure {
    let Some(cause) = cause(error) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                TlsFailure::Closed
            }
            _ => TlsFailure::Other,
        };
    };
    match cause {
        Error::InvalidCertificate(problem) => classify_certificate(problem),
        Error::NoCertificatesPresented => TlsFailure::BadCertificate("the server sent none".into()),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => TlsFailure::NotTls,
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => TlsFailure::OldVersion,
        Error::PeerIncompatible(_) => TlsFailure::NoCommonCipher,
        Error::AlertReceived(alert) => match alert {
            AlertDescription::ProtocolVersion => TlsFailure::OldVersion,
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                TlsFailure::NoCommonCipher
            }
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA => TlsFailure::ClientCertificateRequired,
            other => TlsFailure::Alert(format!("{other:?}")),
        },
        _ => TlsFailure::Other,
    }
}

fn classify_certificate(problem: &CertificateError) -> TlsFailure {
    match problem {
        CertificateError::Expired => TlsFailure::Expired { not_after: None },
        CertificateError::ExpiredContext { not_after, .. } => TlsFailure::Expired {
            not_after: time(*not_after),
        },
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFailure::NotYetValid
        }
        CertificateError::NotValidForName => TlsFailure::WrongName { names: Vec::new() },
        CertificateError::NotValidForNameContext { presented, .. } => TlsFailure::WrongName {
            names: presented.iter().take(MAX_NAMES).map(|name| plain(name)).collect(),
        },
        // A bad signature is that of a CA which has a trusted one's name but not its key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFailure::UnknownIssuer,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsFailure::WrongPurpose
        }
        problem if is_ca(problem) => TlsFailure::WrongPurpose,
        other => TlsFailure::BadCertificate(other.to_string()),
    }
}

/// What rustls says, if it was rustls that failed.
pub(super) fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

/// The server's certificate says that it is a CA's.
pub(super) fn is_ca_certificate(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(problem) if is_ca(problem))
}

fn is_ca(problem: &CertificateError) -> bool {
    matches!(problem, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// rustls names a certificate's names in Rust's notation, `DnsName("host")`.
fn plain(name: &str) -> String {
    match name.split_once('(') {
        Some((_, rest)) => rest
            .trim_end_matches(')')
            .trim_matches('"')
            .chars()
            .take(255)
            .collect(),
        None => name.chars().take(255).collect(),
    }
}

fn time(time: UnixTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from(time.as_secs()).ok()?, 0)
}
