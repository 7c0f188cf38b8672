//! Where a directory is and how its connections are protected: everything up to the first LDAP message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::directory::{DirectorySettings, HostUrl, TransportSecurity};
use rollcall_core::secret::SecretBytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use crate::config::DirectoryConfig;
use crate::dial;
use crate::egress::EgressPolicy;
use crate::error::{LdapError, Misconfiguration};
use crate::probe;
use crate::protocol_violation::{ProtocolViolation, Spoken};
use crate::resolver::Resolver;
use crate::start_tls;
use crate::tls::{TlsFacts, TlsFailure, TlsSetup};

/// After this time without an answer, another explanation is looked for: a server that understands the request answers
/// sooner.
const PATIENCE: Duration = Duration::from_secs(1);

/// A stream that is ready for LDAP.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// When the server's certificate ends, if there is TLS.
    pub(crate) fn certificate_end(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => TlsFacts::of(tls).chain.first().map(|leaf| leaf.not_after),
        }
    }
}

/// A directory's hosts and how to reach them.
pub(crate) struct Endpoint {
    pub(crate) hosts: Vec<HostUrl>,
    port: Option<u16>,
    pub(crate) transport: TransportSecurity,
    pub(crate) tls: Option<TlsSetup>,
    policy: Arc<EgressPolicy>,
    resolver: Resolver,
    pub(crate) connect_timeout: Duration,
}

impl Endpoint {
    pub(crate) fn new(config: &DirectoryConfig) -> Result<Self, LdapError> {
        let settings = &config.settings;
        let tls = match settings.transport_security {
            TransportSecurity::Plaintext => None,
            TransportSecurity::Ldaps | TransportSecurity::StartTls => {
                Some(tls_setup(settings, config.client_key.as_ref())?)
            }
        };
        Ok(Self {
            hosts: settings.hosts.clone(),
            port: settings.port,
            transport: settings.transport_security,
            tls,
            policy: Arc::clone(&config.egress),
            resolver: config.resolver.clone(),
            connect_timeout: settings.connect_timeout,
        })
    }

    /// The addresses of a host that may be connected to.
    pub(crate) async fn resolve(
        &self,
        host: &HostUrl,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, LdapError> {
        let port = host.effective_port(self.port);
        dial::resolve(&host.host, port, &self.policy, &self.resolver, deadline).await
    }

    /// The policy allows this host's port.
    pub(crate) fn port_is_allowed(&self, host: &HostUrl) -> bool {
        self.policy.allows_port(host.effective_port(self.port))
    }

    /// StartTLS and TLS, as the settings want it. On plain text the server has to show that it speaks LDAP,
    /// so that no password goes to a port that wants TLS.
    pub(crate) async fn secure(
        &self,
        mut tcp: TcpStream,
        host: &HostUrl,
        deadline: Instant,
    ) -> Result<Stream, LdapError> {
        let address = tcp.peer_addr().map_err(|_| LdapError::ConnectionLost)?;
        let wants_tls = LdapError::Protocol(ProtocolViolation::NotLdap(Spoken::Tls));
        let greeting = async {
            match self.transport {
                TransportSecurity::Plaintext => probe::plain_ldap(&mut tcp, deadline).await,
                TransportSecurity::StartTls => start_tls::request(&mut tcp, deadline).await,
                TransportSecurity::Ldaps => Ok(()),
            }
        };
        let speaks_tls = async || {
            probe::speaks_tls(address, deadline)
                .await
                .then(|| wants_tls.clone())
        };
        match doubted(greeting, speaks_tls()).await {
            Err(error @ LdapError::ConnectionLost) => return Err(speaks_tls().await.unwrap_or(error)),
            greeted => greeted?,
        }
        let Some(tls) = &self.tls else {
            return Ok(Stream::Plain(tcp));
        };
        let speaks_plain = async {
            let is_plain = self.transport == TransportSecurity::Ldaps
                && probe::speaks_plain_ldap(address, deadline).await;
            is_plain.then_some(LdapError::Tls(TlsFailure::PlainLdap))
        };
        match doubted(tls.handshake(tcp, &host.host, deadline), speaks_plain).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(LdapError::Tls(failure @ (TlsFailure::Closed | TlsFailure::NotTls))) => {
                Err(LdapError::Tls(self.why_no_tls(failure, address, deadline).await))
            }
            Err(error) => Err(error),
        }
    }

    /// The likely cause of a connection that was lost before its first answer.
    pub(crate) fn explain_loss(&self, error: LdapError) -> LdapError {
        match (&error, &self.tls) {
            (LdapError::ConnectionLost, Some(tls)) if tls.was_asked_for_certificate() => {
                LdapError::Tls(TlsFailure::ClientCertificateRequired)
            }
            _ => error,
        }
    }

    /// The likely cause of a handshake that the server broke off without a reason.
    async fn why_no_tls(&self, failure: TlsFailure, address: SocketAddr, deadline: Instant) -> TlsFailure {
        let with_start_tls = self.transport == TransportSecurity::StartTls;
        if !with_start_tls && probe::speaks_plain_ldap(address, deadline).await {
            return TlsFailure::PlainLdap;
        }
        let old = probe::only_old_tls(address, with_start_tls, deadline).await;
        old.unwrap_or(failure)
    }

    /// Connects and secures the connection, within the connect timeout and before `deadline`.
    pub(crate) async fn open(&self, host: &HostUrl, deadline: Instant) -> Result<Stream, LdapError> {
        let deadline = deadline.min(Instant::now() + self.connect_timeout);
        let addresses = self.resolve(host, deadline).await?;
        let tcp = dial::connect(&addresses, deadline).await?;
        self.secure(tcp, host, deadline).await
    }
}

fn tls_setup(settings: &DirectorySettings, client_key: Option<&SecretBytes>) -> Result<TlsSetup, LdapError> {
    let key = client_key.map(SecretBytes::expose);
    TlsSetup::new(
        &settings.ca_certificates,
        settings.tls_server_name.as_deref(),
        settings.client_certificate.as_deref().zip(key),
    )
}

/// Whether the certificates, the key and the server name in the settings can be used, so that only usable ones are
/// stored. It does not matter here whether this machine has CAs of its own.
///
/// # Errors
/// The first that cannot be used.
pub fn check_trust(
    settings: &DirectorySettings,
    client_key: Option<&SecretBytes>,
) -> Result<(), Misconfiguration> {
    match tls_setup(settings, client_key) {
        Err(LdapError::Misconfigured(Misconfiguration::NoRoots)) => Ok(()),
        Err(LdapError::Misconfigured(problem)) => Err(problem),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Waits for an attempt. If it takes long, looks for another explanation at the same time; if there is one, the attempt
/// ends with it. Some servers just wait for more bytes of what they do not understand.
async fn doubted<T>(
    attempt: impl Future<Output = Result<T, LdapError>>,
    explanation: impl Future<Output = Option<LdapError>>,
) -> Result<T, LdapError> {
    tokio::pin!(attempt);
    if let Ok(outcome) = timeout(PATIENCE, &mut attempt).await {
        return outcome;
    }
    tokio::select! {
        outcome = &mut attempt => outcome,
        Some(error) = explanation => Err(error),
    }
}
