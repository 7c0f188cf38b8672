//! What can go wrong between Rollcall and a directory.
//!
//! Messages are for the tenant's admin and hold no address, DN or secret. A wrong password is no error:
//! see [`BindAnswer`](crate::BindAnswer).

use thiserror::Error;

use crate::protocol_violation::ProtocolViolation;
use crate::result_code::ResultCode;
use crate::tls_failure::TlsFailure;
use crate::wire_guard::vet::Notice;

/// Why no TCP connection came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DialFailure {
    /// The name does not exist or has no address.
    #[error("the host name cannot be resolved")]
    NameNotFound,
    /// The name servers did not answer in time.
    #[error("the host name was not resolved in time")]
    ResolveTimeout,
    /// The name servers have no answer: the domain's own do not answer them, or refuse to.
    #[error("the name servers have no answer for the host name")]
    NameServers,
    /// Nothing listens on the port, or a firewall rejects.
    #[error("the connection was refused")]
    Refused,
    /// No answer in time; often a firewall that drops.
    #[error("no answer within the time limit")]
    Timeout,
    /// The network has no way there.
    #[error("there is no route to the host")]
    NoRoute,
    /// Something else.
    #[error("the connection failed")]
    Other,
}

/// What is wrong with the settings of a directory.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Misconfiguration {
    /// The CA certificates are not PEM, or not certificates.
    #[error("the CA certificates cannot be read: {0}")]
    CaCertificates(String),
    /// No CA certificates are given and this system has none.
    #[error("no CA certificates are given and the system has none")]
    NoRoots,
    /// The client certificate or its key cannot be used.
    #[error("the client certificate or its key cannot be used: {0}")]
    ClientCertificate(String),
    /// The server name is neither a DNS name nor an address.
    #[error("the TLS server name is not valid")]
    ServerName,
    /// No attribute with a stable id is known for this kind of server.
    #[error("no external id attribute is set and none is known for this kind of server")]
    ExternalIdAttribute,
    /// Several entries have the same value of the id attribute.
    #[error(
        "several entries have the id of one person: the external id attribute must be one whose values are unique"
    )]
    SharedId,
    /// The filter is not one that can be sent.
    #[error("the filter is not valid")]
    Filter,
    /// The configuration asks about an attribute that holds secrets.
    #[error("a filter or a field asks about an attribute that holds secrets, which is never read")]
    SecretAttribute,
    /// There is no host.
    #[error("the directory has no host")]
    NoHost,
}

/// Why an operation on a directory did not come to an answer.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LdapError {
    /// The operator's policy forbids the address or port. Never says which address.
    #[error("connections to this host or port are not allowed")]
    EgressDenied,
    /// No TCP connection.
    #[error("the host cannot be reached: {0}")]
    Unreachable(DialFailure),
    /// No TLS.
    #[error("no TLS connection: {0}")]
    Tls(TlsFailure),
    /// The server refused StartTLS with this code. Nothing else was sent.
    #[error("the server refused StartTLS with result {0}")]
    StartTlsRefused(ResultCode),
    /// The server broke the protocol; the connection is closed.
    // Such a large message need not be a fault of the directory.
    #[error("{}{}", if matches!(.0, ProtocolViolation::MessageTooLarge { .. }) { "" } else { "protocol error: " }, .0)]
    Protocol(ProtocolViolation),
    /// The server said that it closes the connection.
    #[error("the server closed the connection with result {}", .0.code)]
    Disconnected(Notice),
    /// The connection ended before the answer.
    #[error("the connection was lost")]
    ConnectionLost,
    /// No answer within the deadline; the connection is closed.
    #[error("the directory did not answer in time")]
    Timeout,
    /// The service account could not bind.
    #[error("the service account's bind was refused with result {0}")]
    BindRefused(ResultCode),
    /// The server answered a search with this code.
    #[error("the search was refused with result {0}")]
    SearchRefused(ResultCode),
    /// The directory's settings do not work.
    #[error("{0}")]
    Misconfigured(Misconfiguration),
    /// As many operations as this directory may have are under way or waiting.
    #[error("the directory has as much work as it may have")]
    Busy,
    /// This process has no connection or descriptor left. That says nothing of the directory.
    #[error("this service has no connection left for the directory")]
    Exhausted,
    /// Several attempts in a row failed; the next ones fail at once until the directory is tried again.
    #[error("the directory failed repeatedly and is left alone for a moment")]
    CircuitOpen,
}

impl LdapError {
    /// True if time ran out, Rollcall's own or the caller's.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::Tls(TlsFailure::Timeout)
                | Self::Unreachable(DialFailure::Timeout | DialFailure::ResolveTimeout)
        )
    }

    /// True if another host of the same directory may do better; false for what is wrong with the request
    /// or the configuration.
    pub fn is_host_failure(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Tls(_)
            | Self::StartTlsRefused(_)
            | Self::Protocol(_)
            | Self::Disconnected(_)
            | Self::ConnectionLost
            | Self::Timeout => true,
            Self::BindRefused(code) | Self::SearchRefused(code) => code.is_infrastructure(),
            Self::EgressDenied
            | Self::Misconfigured(_)
            | Self::Busy
            | Self::Exhausted
            | Self::CircuitOpen => false,
        }
    }
}

/// A password check that brought no answer.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{error}")]
pub struct BindError {
    /// What happened.
    pub error: LdapError,
    /// True if no byte of the bind was sent, or ever will be: it may be tried again. False if the server may have
    /// received and counted it.
    pub unsent: bool,
}
