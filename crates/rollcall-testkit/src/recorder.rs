use parking_lot::Mutex;

use crate::ca::TestCa;
use anyhow::Result;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsConnector;

/// A line to an LDAP server on loopback that keeps what the server says. Callers speak plain text to it, and it
/// speaks TLS to the server; closed when dropped.
pub struct Recorder {
    address: SocketAddr,
    said: Said,
    accepting: AbortHandle,
}

type Said = Arc<Mutex<Vec<Vec<u8>>>>;

impl Recorder {
    /// Listens on a free port of 127.0.0.1 and connects each caller to the TLS port of `server`, whose
    /// certificate must be for its address and come from `ca`.
    pub async fn start(server: SocketAddr, ca: &TestCa) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.der())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let said = Said::default();
        let shared = said.clone();
        let accepting = tokio::spawn(async move {
            // Owned by this task, so that aborting it ends the connections too.
            let mut lines = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                lines.spawn(carry(caller, server, connector.clone(), shared.clone()));
                while lines.try_join_next().is_some() {}
            }
        })
        .abort_handle();
        Ok(Self {
            address,
            said,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The messages that the server sent on any connection since the last call, in order of arrival. A message
    /// is here before the caller has it.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.said.lock())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(caller: TcpStream, server: SocketAddr, tls: TlsConnector, said: Said) -> Result<()> {
    let name = ServerName::from(server.ip());
    let server = tls.connect(name, TcpStream::connect(server).await?).await?;
    let (mut from_caller, to_caller) = tokio::io::split(caller);
    let (from_server, mut to_server) = tokio::io::split(server);
    tokio::try_join!(
        async {
            tokio::io::copy(&mut from_caller, &mut to_server).await?;
            Ok(to_server.shutdown().await?)
        },
        record(from_server, to_caller, said),
    )?;
    Ok(())
}

async fn record(
    mut server: impl AsyncRead + Unpin,
    mut caller: impl AsyncWrite + Unpin,
    said: Said,
) -> Result<()> {
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let count = server.read(&mut chunk).await?;
        if count == 0 {
            return Ok(caller.shutdown().await?);
        }
        buffer.extend(&chunk[..count]);
        while let Some(length) = message_length(&buffer).filter(|length| *length <= buffer.len()) {
            said.lock().push(buffer.drain(..length).collect());
        }
        caller.write_all(&chunk[..count]).await?;
    }
}

/// How long the first message is, by its header; none while that is incomplete.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let first = usize::from(*bytes.get(1)?);
    if first < 0x80 {
        return Some(2 + first);
    }
    let octets = bytes.get(2..2 + (first & 0x7f))?;
    let length = octets
        .iter()
        .fold(0, |length, octet| (length << 8) | usize::from(*octet));
    Some(2 + octets.len() + length)
}
