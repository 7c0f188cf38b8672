use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A certificate authority of a test's own. Two of them never trust each other.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// A leaf certificate with its key, as PEM.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate alone, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 PEM.
    pub key_pem: String,
}

impl TestCa {
    /// A new authority with a new key; valid from 2000 to 2100.
    pub fn new() -> Result<Self> {
        let params = authority_params("Rollcall test CA")?;
        Self::of(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
    }

    /// An issuing authority below this one, whose certificate ends with the year before `end_year`. With the key of another
    /// one (PEM) it is that one renewed.
    pub fn issuing(&self, key_pem: &str, end_year: i32) -> Result<Self> {
        let mut params = authority_params("Rollcall test issuing CA")?;
        params.not_after = date_time_ymd(end_year, 1, 1);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::from_pem(key_pem)?;
        Self::of(CertifiedIssuer::signed_by(params, key, &self.issuer)?)
    }

    fn of(issuer: CertifiedIssuer<'static, KeyPair>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("rollcall-ca-").tempdir()?;
        std::fs::write(dir.path().join("ca.pem"), issuer.pem())?;
        Ok(Self { issuer, dir })
    }

    /// The authority's certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The authority's certificate, DER.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A file with [`TestCa::pem`]; it lives as long as this value.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A server certificate for these DNS names and IP addresses. For a wrong name, leave the right one out.
    pub fn server(&self, names: &[&str]) -> Result<Certificate> {
        let mut params = valid_params(owned(names))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, names.first().copied().unwrap_or("nameless"))
    }

    /// A server certificate for everything this machine is called on loopback: `localhost`, its host name,
    /// 127.0.0.1 to 127.0.0.9 and ::1. (libldap checks `localhost` against the machine's own name.)
    pub fn loopback_server(&self) -> Result<Certificate> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut names = owned(&["localhost", "::1"]);
        names.extend((1..10).map(|last| format!("127.0.0.{last}")));
        if !host.trim().is_empty() {
            names.push(host.trim().to_owned());
        }
        self.server(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A server certificate for these names whose validity ended in 2001.
    pub fn expired_server(&self, names: &[&str]) -> Result<Certificate> {
        let mut params = valid_params(owned(names))?;
        params.not_after = date_time_ymd(2001, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, names.first().copied().unwrap_or("nameless"))
    }

    /// A server certificate for these names whose validity begins in 2099.
    pub fn future_server(&self, names: &[&str]) -> Result<Certificate> {
        let mut params = valid_params(owned(names))?;
        params.not_before = date_time_ymd(2099, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, names.first().copied().unwrap_or("nameless"))
    }

    /// A client certificate whose common name and one DNS name are `name`.
    pub fn client(&self, name: &str) -> Result<Certificate> {
        let mut params = valid_params(owned(&[name]))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, name)
    }

    fn issue(&self, mut params: CertificateParams, common_name: &str) -> Result<Certificate> {
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Certificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl Certificate {
    /// A server certificate for these names that no authority has signed.
    pub fn self_signed(names: &[&str]) -> Result<Self> {
        let mut params = valid_params(owned(names))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let common_name = names.first().copied().unwrap_or("nameless");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate_pem: params.self_signed(&key)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The same for a certificate that says that it is an authority's, as `openssl req -x509` makes it.
    pub fn self_signed_authority(names: &[&str]) -> Result<Self> {
        let mut params = valid_params(owned(names))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "server");
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate_pem: params.self_signed(&key)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The same certificate, sent with these ones of authorities (PEM).
    pub fn with_chain(mut self, authorities: &str) -> Self {
        self.certificate_pem += authorities;
        self
    }

    /// Writes `NAME.pem` and `NAME.key` into `dir` and returns both paths.
    pub fn write_to(&self, dir: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let paths = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        std::fs::write(&paths.0, &self.certificate_pem)?;
        std::fs::write(&paths.1, &self.key_pem)?;
        Ok(paths)
    }

    /// A TLS server configuration that presents this certificate to clients that name a host (SNI), and `stopgap` to all
    /// others.
    pub fn server_config_or(&self, stopgap: &Certificate) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName {
                named: self.certified_key()?,
                stopgap: stopgap.certified_key()?,
            }));
        Ok(Arc::new(config))
    }

    fn certified_key(&self) -> Result<Arc<CertifiedKey>> {
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())?;
        let provider = rustls::crypto::ring::default_provider();
        Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider)?))
    }

    /// A TLS server configuration that presents this certificate and asks for none.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("certificate and key do not fit")?;
        Ok(Arc::new(config))
    }
}

#[derive(Debug)]
struct ByName {
    named: Arc<CertifiedKey>,
    stopgap: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(match hello.server_name() {
            Some(_) => self.named.clone(),
            None => self.stopgap.clone(),
        })
    }
}

fn authority_params(name: &str) -> Result<CertificateParams> {
    let mut params = valid_params(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn valid_params(names: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    Ok(params)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
