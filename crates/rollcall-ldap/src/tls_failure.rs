//! Why a TLS handshake failed.

use chrono::{DateTime, Utc};

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
    /// The certificate is signed only by its own key.
    #[error("the server's certificate is self-signed, and not among the trusted ones")]
    SelfSigned,
    /// The certificate is signed only by its own key, and the server was not told which host is wanted (SNI, RFC 6066
    /// section 3), since the name is an address. Some servers show a placeholder then.
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
    /// The port speaks LDAP without TLS, which was tried on a connection of its own.
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
