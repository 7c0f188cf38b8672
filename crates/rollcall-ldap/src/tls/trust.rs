//! Which certificates to trust, and which to show.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Misconfiguration;

/// The certificates in `pem` and no others, or the system's if it is empty.
///
/// The system's store rather than one compiled in: the operator's image decides whom to trust, and it can be
/// renewed without a new release of Rollcall.
pub(super) fn roots(pem: &str) -> Result<Arc<RootCertStore>, Misconfiguration> {
    if pem.trim().is_empty() {
        return system_roots().ok_or(Misconfiguration::NoRoots);
    }
    let mut store = RootCertStore::empty();
    let pem = without_marks(pem);
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| Misconfiguration::CaCertificates(error.to_string()))?;
        store
            .add(certificate)
            .map_err(|error| Misconfiguration::CaCertificates(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(Misconfiguration::CaCertificates(
            "there is no certificate in them".into(),
        ));
    }
    Ok(Arc::new(store))
}

/// Without byte-order marks, which editors put in front of a file, and so between files that were joined: the parser would
/// pass over the certificate behind one without a word.
fn without_marks(pem: &str) -> String {
    pem.replace('\u{feff}', "")
}

/// Loaded once per process. One unreadable file does not cost the others.
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
    let chain = CertificateDer::pem_slice_iter(without_marks(chain).as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Misconfiguration::ClientCertificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(Misconfiguration::ClientCertificate(
            "there is no certificate in it".into(),
        ));
    }
    // The parser's error may quote its input, which is a key.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| Misconfiguration::ClientCertificate("the key is not a PEM private key".into()))?;
    Ok((chain, key))
}
