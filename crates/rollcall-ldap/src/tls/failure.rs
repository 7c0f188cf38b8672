//! What an error of the handshake means, in terms that an admin can act on.

use std::io;

use chrono::{DateTime, Utc};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::tls_failure::TlsFailure;

/// Most names of a certificate that are listed.
const MAX_NAMES: usize = 20;

/// Names the cause of a failed handshake.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the standard library, which adds kinds"
)]
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

#[expect(clippy::wildcard_enum_match_arm, reason = "of rustls, which adds causes")]
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
