//! Which certificates to trust, and which to show.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::ServerCertVerified;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::Misconfiguration;

/// Longest name of a kind of PEM block that is shown.
const MAX_LABEL_CHARS: usize = 40;

/// The certificates in `pem` and no others, or the system's if it is empty.
///
/// The system's store is used rather than one compiled in: the operator's image decides whom to trust, and it can be
/// renewed without a new release of Rollcall.
pub(super) fn roots(pem: &str) -> Result<Trust, Misconfiguration> {
    if pem.trim().is_empty() {
        let roots = system_roots().ok_or(Misconfiguration::NoRoots)?;
        return Ok(Trust {
            roots,
            pasted: Vec::new(),
        });
    }
    let pasted = certificates(pem).map_err(Misconfiguration::CaCertificates)?;
    let mut store = RootCertStore::empty();
    for (index, certificate) in pasted.iter().enumerate() {
        store.add(certificate.clone()).map_err(|_| {
            let number = index + 1;
            Misconfiguration::CaCertificates(format!("block {number} is no X.509 certificate"))
        })?;
    }
    Ok(Trust {
        roots: Arc::new(store),
        pasted,
    })
}

/// Whom to trust.
pub(super) struct Trust {
    /// The CAs.
    pub(super) roots: Arc<RootCertStore>,
    /// The certificates that the tenant gave, one of which may be the server's own.
    pub(super) pasted: Vec<CertificateDer<'static>>,
}

/// The certificates in a text as people paste it: with byte-order marks, any line ends, indented, with other text
/// between them. The parser skips blocks whose first line it does not know, so each block is checked first: a
/// certificate that somebody believes to be trusted must not be skipped silently.
pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    // Editors put a byte-order mark in front of a file, so joined files have one in the middle.
    let pem = pem.replace('\u{feff}', "");
    let lines: Vec<&str> = pem.split(['\n', '\r']).map(str::trim).collect();
    let pem = lines.join("\n");
    let mut blocks = 0;
    for rest in pem.split("-----BEGIN ").skip(1) {
        blocks += 1;
        let label = rest.split("-----").next().unwrap_or_default();
        if label != "CERTIFICATE" {
            let shown: String = label
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || *c == ' ')
                .take(MAX_LABEL_CHARS)
                .collect();
            return Err(format!("block {blocks} is of kind {shown}, not CERTIFICATE"));
        }
    }
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        // The parser's error may quote its input.
        let certificate = certificate.map_err(|_| format!("block {} is cut or changed", found.len() + 1))?;
        found.push(certificate);
    }
    match found.len() {
        0 => Err("there is no certificate in them".to_owned()),
        count if count < blocks => {
            Err("each BEGIN CERTIFICATE and END CERTIFICATE has to stand on a line of its own".to_owned())
        }
        _ => Ok(found),
    }
}

/// Loaded once per process. An unreadable file does not affect the others.
fn system_roots() -> Option<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    (!roots.is_empty()).then(|| roots.clone())
}

/// A client certificate chain and its key.
pub(super) fn client_identity(
    chain: &str,
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Misconfiguration> {
    let chain = certificates(chain).map_err(Misconfiguration::ClientCertificate)?;
    // The parser's error may quote its input, which is a key.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        let encrypted = key.windows(9).any(|window| window == b"ENCRYPTED");
        Misconfiguration::ClientCertificate(match encrypted {
            true => "the key is encrypted: give it without a passphrase".into(),
            false => "the key is not a PEM private key".into(),
        })
    })?;
    Ok((chain, key))
}

/// Accepts a server's certificate that the tenant gave as trusted although it says that it is a CA's: `openssl req
/// -x509` writes that into every certificate. Name and dates are checked as in any other.
pub(super) fn verify_itself(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    let bad = || rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
    let parsed = ParsedCertificate::try_from(certificate)?;
    let (_, fields) = X509Certificate::from_der(certificate).map_err(|_| bad())?;
    let seconds = i64::try_from(now.as_secs()).map_err(|_| bad())?;
    if seconds > fields.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if seconds < fields.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    verify_server_name(&parsed, server_name)?;
    Ok(ServerCertVerified::assertion())
}
