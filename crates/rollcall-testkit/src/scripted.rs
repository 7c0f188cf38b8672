//! An LDAP server that says what the test tells it to, right or wrong.

pub mod ber;
pub(crate) mod filter;
pub(crate) mod request;

use parking_lot::Mutex;

use crate::ca::Certificate;
use anyhow::{Result, bail};
use request::{Parsed, Request};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// A listening scripted server; every connection is dropped when it is dropped.
pub struct ScriptedLdap {
    address: SocketAddr,
    record: Arc<Record>,
    accepting: AbortHandle,
}

/// The server's end of one connection, for the script to act on. Dropping it closes the connection.
pub struct Peer {
    stream: Option<Stream>,
    buffer: Vec<u8>,
    number: usize,
    /// A request has come.
    greeted: bool,
    /// What goes before the end of the answer to the first question.
    greeting: Vec<u8>,
    record: Arc<Record>,
}

#[derive(Default)]
struct Record {
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    open: AtomicUsize,
}

impl ScriptedLdap {
    /// Listens in plain text on a free port of 127.0.0.1 and runs `script` for every connection, each in a
    /// task of its own. The script holds whatever a test needs to steer it: a channel, a `Notify`, a counter.
    /// An error that it returns ends that connection like `Ok` does: a client that leaves is no failure.
    pub async fn plain<S, F>(script: S) -> Result<Self>
    where
        S: Fn(Peer) -> F + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self::listen(None, script).await
    }

    /// Like [`ScriptedLdap::plain`], with TLS from the first byte.
    pub async fn tls<S, F>(certificate: &Certificate, script: S) -> Result<Self>
    where
        S: Fn(Peer) -> F + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self::tls_with(certificate.server_config()?, script).await
    }

    /// The same with a configuration that says which certificate whom is shown.
    pub async fn tls_with<S, F>(config: Arc<ServerConfig>, script: S) -> Result<Self>
    where
        S: Fn(Peer) -> F + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self::listen(Some(config), script).await
    }

    async fn listen<S, F>(config: Option<Arc<ServerConfig>>, script: S) -> Result<Self>
    where
        S: Fn(Peer) -> F + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let record = Arc::new(Record::default());
        let script = Arc::new(script);
        let shared = record.clone();
        let accepting = tokio::spawn(async move {
            // Owned by this task, so that aborting it ends the connections too.
            let mut scripts = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let peer = Peer::new(stream, shared.clone());
                let (script, config) = (script.clone(), config.clone());
                scripts.spawn(async move {
                    let mut peer = peer;
                    if let Some(config) = config {
                        peer.accept_tls(config).await?;
                    }
                    script(peer).await
                });
                while scripts.try_join_next().is_some() {}
            }
        })
        .abort_handle();
        Ok(Self {
            address,
            record,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request received so far on all connections, in order of arrival.
    pub fn received(&self) -> Vec<Request> {
        self.record.requests.lock().clone()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }

    /// How many of them the script still holds.
    pub fn open_connections(&self) -> usize {
        self.record.open.load(Ordering::SeqCst)
    }
}

impl Drop for ScriptedLdap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Peer {
    fn new(stream: TcpStream, record: Arc<Record>) -> Self {
        let number = record.connections.fetch_add(1, Ordering::SeqCst);
        record.open.fetch_add(1, Ordering::SeqCst);
        Self {
            stream: Some(Stream::Plain(stream)),
            buffer: Vec::new(),
            number,
            greeted: false,
            greeting: Vec::new(),
            record,
        }
    }

    /// This connection's number, counted from 0 in the order of acceptance.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Puts these bytes, such as an entry of message 1, before the answer to a client that begins by asking for nothing.
    pub fn greet_with(&mut self, bytes: Vec<u8>) {
        self.greeting = bytes;
    }

    /// The next request; `None` when the client closed. What is no LDAP request is an error.
    ///
    /// A client may begin by asking for no attribute of the root DSE, to see whether LDAP is spoken here. That
    /// is answered at once, as every server does, and neither returned nor recorded.
    pub async fn receive(&mut self) -> Result<Option<Request>> {
        loop {
            if !self.buffer.is_empty() {
                match request::parse(&self.buffer, self.number) {
                    Parsed::Message { request, length } => {
                        self.buffer.drain(..length);
                        let is_first = !std::mem::replace(&mut self.greeted, true);
                        if is_first && request.asks_for_nothing() {
                            let mut answer = std::mem::take(&mut self.greeting);
                            answer.extend(ber::search_done(request.id, 0, ""));
                            self.send(&answer).await?;
                            continue;
                        }
                        let mut requests = self.record.requests.lock();
                        requests.push(Request::clone(&request));
                        return Ok(Some(*request));
                    }
                    Parsed::Malformed => bail!("not an LDAP request: {:02x?}", self.buffer),
                    Parsed::Incomplete => {}
                }
            }
            let mut chunk = [0; 4096];
            let count = self.stream()?.read(&mut chunk).await?;
            if count == 0 {
                return Ok(None);
            }
            self.buffer.extend(&chunk[..count]);
        }
    }

    /// Sends these bytes, whatever they are ([`ber`] builds right ones).
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream()?;
        stream.write_all(bytes).await?;
        stream.flush().await?;
        Ok(())
    }

    /// Goes on in TLS as the server: after the answer to StartTLS, or at once.
    pub async fn tls(&mut self, certificate: &Certificate) -> Result<()> {
        self.accept_tls(certificate.server_config()?).await
    }

    async fn accept_tls(&mut self, config: Arc<ServerConfig>) -> Result<()> {
        let acceptor = TlsAcceptor::from(config);
        match self.stream.take() {
            Some(Stream::Plain(stream)) => {
                self.stream = Some(Stream::Tls(Box::new(acceptor.accept(stream).await?)));
                Ok(())
            }
            _ => bail!("this connection cannot start TLS"),
        }
    }

    /// Waits until the client closes the connection, whatever it still sends.
    pub async fn closed(&mut self) -> Result<()> {
        let mut chunk = [0; 4096];
        while self.stream()?.read(&mut chunk).await? > 0 {}
        Ok(())
    }

    /// Ends the connection by a reset; one that is dropped says goodbye.
    pub fn reset(self) -> Result<()> {
        match &self.stream {
            Some(Stream::Plain(stream)) => stream.set_zero_linger()?,
            Some(Stream::Tls(stream)) => stream.get_ref().0.set_zero_linger()?,
            None => {}
        }
        Ok(())
    }

    fn stream(&mut self) -> Result<&mut Stream> {
        match &mut self.stream {
            Some(stream) => Ok(stream),
            None => bail!("the TLS handshake failed on this connection"),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.record.open.fetch_sub(1, Ordering::SeqCst);
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
