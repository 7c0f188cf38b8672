//! A certificate authority for one test, as PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

pub(crate) struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self {
            folder: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    /// Certificate and key for these names, signed by this authority.
    pub(crate) fn issue(&self, common_name: &str, alternative: Vec<SanType>) -> (String, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = alternative;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The `[server]` section of a server with a certificate of this authority for 127.0.0.1.
    pub(crate) fn server_section(&self) -> String {
        let loopback = SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        let (certificate, key) = self.issue("server", vec![loopback]);
        format!(
            "[server]\ntls_certificate_file = {:?}\ntls_key_file = {:?}\n",
            self.file("server.pem", &certificate),
            self.file("server.key", &key)
        )
    }

    /// The line that makes a server demand certificates of this authority.
    pub(crate) fn client_ca_line(&self) -> String {
        format!("client_ca_file = {:?}\n", self.file("ca.pem", &self.certificate))
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.certificate))
    }

    /// The same, below gRPC, for a client that names these protocols.
    pub(crate) fn rustls_client(&self, protocols: &[&[u8]]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        client
    }

    /// A client that trusts this authority and shows a certificate.
    pub(crate) fn client_with(&self, (certificate, key): (String, String)) -> ClientTlsConfig {
        self.client().identity(Identity::from_pem(certificate, key))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path: &Path = self.folder.path();
        let path = path.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}
