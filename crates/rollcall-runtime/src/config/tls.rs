//! TLS of the server, from the PEM files that the configuration names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use rollcall_metrics::Expiring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::expiry::{self, certificate_end};

use super::{Shared, certificate_is_optional, warn_if_open};

/// What a client of HTTP/1 names in the handshake.
pub(crate) const HTTP_1: &[u8] = b"http/1.1";

/// Accepts TLS connections, if TLS is configured. Clones share it, even if it is replaced.
#[derive(Clone)]
pub(crate) struct SharedTls(Arc<RwLock<Option<TlsAcceptor>>>);

impl SharedTls {
    pub(crate) fn new(acceptor: Option<TlsAcceptor>) -> Self {
        Self(Arc::new(RwLock::new(acceptor)))
    }

    /// The acceptor for new connections.
    pub(crate) fn current(&self) -> Option<TlsAcceptor> {
        self.0.read().clone()
    }

    /// Replaces the acceptor. Open connections stay as they are.
    pub(crate) fn replace(&self, acceptor: Option<TlsAcceptor>) {
        *self.0.write() = acceptor;
    }
}

/// A TLS file is missing or broken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{} holds no usable PEM: {problem}", path.display())]
    File {
        key: &'static str,
        path: PathBuf,
        problem: String,
    },
    #[error("certificate and key cannot be used: {0}")]
    Identity(rustls::Error),
    #[error("client authorities cannot be used: {0}")]
    Authorities(String),
}

impl TlsError {
    /// The configuration key to look at.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            TlsError::File { key, .. } => key,
            TlsError::Identity(_) => "server.tls_certificate_file",
            TlsError::Authorities(_) => "server.client_ca_file",
        }
    }
}

/// An acceptor of TLS connections; `None` if TLS is not configured. If every caller has a client certificate, one is
/// demanded; otherwise one is verified only if it is shown.
pub(crate) fn tls_acceptor(config: &Shared) -> Result<Option<TlsAcceptor>, TlsError> {
    let (Some(certificate), Some(key)) = (&config.server.tls_certificate_file, &config.server.tls_key_file)
    else {
        return Ok(None);
    };
    let chain = certificates("server.tls_certificate_file", certificate)?;
    expiry::note(
        Expiring::ServerCertificate,
        chain.iter().filter_map(certificate_end),
    );
    warn_if_open(key);
    let private = private_key("server.tls_key_file", key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Identity)?;
    let builder = match &config.server.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let refused = |error: &dyn std::fmt::Display| TlsError::Authorities(error.to_string());
            let mut roots = RootCertStore::empty();
            let authorities = certificates("server.client_ca_file", path)?;
            expiry::note(
                Expiring::ClientAuthority,
                authorities.iter().filter_map(certificate_end),
            );
            for authority in authorities {
                roots.add(authority).map_err(|error| refused(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let optional = certificate_is_optional(&config.callers);
            let verifier = if optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(&error))?)
        }
    };
    let mut tls = builder
        .with_single_cert(chain, private)
        .map_err(TlsError::Identity)?;
    // HTTP/1 is accepted only to tell the client that this server does not speak it.
    tls.alpn_protocols = vec![b"h2".to_vec(), HTTP_1.to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(tls))))
}

/// When the first certificate of a file ends. Logs if it has ended or ends soon. That is no mistake of the
/// configuration: stopping the service would help nobody.
pub(super) fn told_end(key: &'static str, path: &Path) -> Option<DateTime<Utc>> {
    // A file that cannot be read is reported as a mistake elsewhere.
    let chain = certificates(key, path).unwrap_or_default();
    let end = chain.iter().filter_map(certificate_end).min()?;
    if let Some(said) = expiry::ending(end, Clock::System.now()) {
        tracing::warn!(key, file = %path.display(), "{said}");
    }
    Some(end)
}

/// What is wrong with a file that is to hold certificates, if anything is.
pub fn certificate_problem(key: &'static str, path: &Path) -> Option<String> {
    certificates(key, path).err().map(|error| error.to_string())
}

/// What is wrong with a file that is to hold a private key, if anything is.
pub fn private_key_problem(key: &'static str, path: &Path) -> Option<String> {
    private_key(key, path).err().map(|error| error.to_string())
}

fn private_key(key: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::File {
        key,
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let broken = |problem: String| TlsError::File {
        key,
        path: path.to_owned(),
        problem,
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| broken(error.to_string()))?;
    if chain.is_empty() {
        Err(broken("no certificate".to_owned()))
    } else {
        Ok(chain)
    }
}
