//! Plain words for what went wrong: a sentence and what to do about it.

use crate::error::{DialFailure, LdapError};
use crate::protocol_violation::{ProtocolViolation, Spoken};
use crate::result_code::{ResultClass, ResultCode};
use crate::tls::TlsFailure;

/// A sentence on the error and a hint for the tenant's admin.
pub(super) fn explain(error: &LdapError) -> (String, &'static str) {
    let hint = match error {
        LdapError::EgressDenied => {
            "Unless the operator set it otherwise, only public addresses and the ports 389, 636, 3268 and 3269 are \
             reached. Ask the operator, or publish the directory on such an address and port."
        }
        LdapError::Unreachable(failure) => dial_hint(*failure),
        LdapError::Tls(failure) => tls_hint(failure),
        LdapError::StartTlsRefused(_) => {
            "The server does not offer StartTLS on this port. Install a certificate on it, or use ldaps:// with \
             port 636. No password was sent."
        }
        LdapError::Protocol(ProtocolViolation::NotLdap(Spoken::Tls)) => {
            "This port wants TLS from the first byte: use ldaps:// with transport security LDAPS. No password was sent."
        }
        LdapError::Protocol(ProtocolViolation::NotLdap(_)) => {
            "Something else than an LDAP server answers there. Check host and port."
        }
        LdapError::Protocol(ProtocolViolation::BytesBeforeTls) => {
            "Something between Rollcall and the server tampers with the connection, or the server is broken. Use \
             ldaps:// instead."
        }
        LdapError::Protocol(ProtocolViolation::MessageTooLarge { .. }) => {
            "Make the attribute smaller, or leave the entry out of the search."
        }
        LdapError::Protocol(_) => {
            "The server's answers are not valid LDAP. Check host, port and server version."
        }
        LdapError::Disconnected(_) => "The server ended the connection. Its log should say why.",
        LdapError::ConnectionLost => "The server closed the connection. Its log should say why.",
        LdapError::Timeout => {
            "The server accepts connections but does not answer in time. Check its load, or a proxy or firewall in \
             between."
        }
        LdapError::BindRefused(code) | LdapError::SearchRefused(code) => code_hint(*code),
        LdapError::Misconfigured(_) => "Correct the directory's settings.",
        LdapError::Busy | LdapError::Exhausted | LdapError::CircuitOpen => "Try again in a moment.",
    };
    let message = if let LdapError::Tls(failure) = error {
        // The stage says already that it is about TLS.
        failure.to_string()
    } else if let LdapError::Protocol(violation @ ProtocolViolation::NotLdap(_)) = error {
        violation.to_string()
    } else {
        error.to_string()
    };
    (sentence(&message), hint)
}

fn dial_hint(failure: DialFailure) -> &'static str {
    match failure {
        DialFailure::NameNotFound | DialFailure::ResolveTimeout | DialFailure::NameServers => {
            "Check the spelling of the host name. It must resolve to a public address by public DNS, unless the \
             operator opened others."
        }
        DialFailure::Refused => {
            "Nothing listens on this port, or a firewall rejects the connection. Check the port."
        }
        DialFailure::Timeout | DialFailure::NoRoute | DialFailure::Other => {
            "A firewall may drop the connection. Allow the addresses from which Rollcall connects."
        }
    }
}

fn tls_hint(failure: &TlsFailure) -> &'static str {
    match failure {
        TlsFailure::Expired { .. } => "Renew the server's certificate.",
        TlsFailure::IssuerExpired { .. } => {
            "Let the server send the renewed certificate of its CA instead, or add that one to the directory's CA \
             certificates."
        }
        TlsFailure::NotYetValid => "Check the clock of the server that issued the certificate.",
        TlsFailure::WrongName { .. } => {
            "Use one of the certificate's names as the host, set the TLS server name to it, or have a certificate \
             issued that carries the host in its subject alternative names."
        }
        TlsFailure::UnknownIssuer => {
            "Add the certificate of the CA that issued the server's certificate to the directory's CA certificates, \
             and let the server send its intermediate certificates."
        }
        TlsFailure::SelfSigned => {
            "Add this certificate to the directory's CA certificates, or have one issued by a CA."
        }
        TlsFailure::SelfSignedWithoutName => {
            "Set tls_server_name to the server's host name, so that it shows the certificate of that host; or add this \
             certificate to the directory's CA certificates."
        }
        TlsFailure::WrongPurpose | TlsFailure::BadCertificate(_) => {
            "Have a server certificate issued by a CA, with the host in its subject alternative names."
        }
        TlsFailure::OldVersion => "Enable TLS 1.2 or 1.3 on the server.",
        TlsFailure::NoCommonCipher => {
            "Enable cipher suites with ECDHE and AES-GCM or ChaCha20 on the server; a client certificate may be \
             demanded, too."
        }
        TlsFailure::PlainLdap => {
            "Use ldap:// with transport security START_TLS on this port, or the server's LDAPS port, usually 636."
        }
        TlsFailure::NotTls => {
            "Something else than a directory answers there. Check host and port: LDAPS usually has port 636."
        }
        TlsFailure::Closed => {
            "The server's log should say why. A server without a certificate does this, and so does one that is no \
             LDAPS server: check the port, usually 636."
        }
        TlsFailure::ClientCertificateRequired => "Set a client certificate that the server accepts.",
        TlsFailure::Alert(_) | TlsFailure::Other => "The server's log should say why it ended the handshake.",
        TlsFailure::Timeout => {
            "The port accepts connections but does not do TLS in time. Check host and port."
        }
    }
}

fn code_hint(code: ResultCode) -> &'static str {
    match code.class() {
        ResultClass::Credentials => {
            "Check the bind DN and the bind password, and that the account is not locked."
        }
        ResultClass::Configuration => {
            "The server refuses simple binds without TLS. Set transport security to LDAPS or START_TLS."
        }
        ResultClass::NotFound => {
            "Check the DN. An account without the right to read an entry sees the same answer."
        }
        ResultClass::Access => "Give the bind account the right to read there.",
        ResultClass::Referral => {
            "The server does not hold this entry and refers to another. Set that one as host."
        }
        ResultClass::Truncated => "Raise the server's size and time limits for the bind account.",
        ResultClass::Infrastructure => "The server is busy or unavailable. Its log should say why.",
        ResultClass::Success | ResultClass::Other => "The server's log should say why.",
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect::<String>() + ".")
        .unwrap_or_default()
}
