//! One accepted connection, plain or TLS, and what is known about its other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rollcall_metrics::metrics;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;
use x509_parser::extensions::GeneralName;

use crate::extensions::Peer;
use crate::introduction::Introduction;

/// An accepted connection. Its place is free again when it is dropped.
pub(crate) struct Connection {
    stream: Stream,
    peer: Peer,
    silence: Option<Silence>,
    dismissal: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Counts a connection as open while the value lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics().connections.inc();
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics().connections.dec();
    }
}

/// How long a connection may stay silent.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// Until its first bytes.
    pub(super) bytes: Duration,
    /// After that, until its first call.
    pub(super) call: Duration,
}

/// A connection on which no call has been seen.
struct Silence {
    end: Pin<Box<Sleep>>,
    has_spoken: bool,
    call: Duration,
}

/// The parts of a connection beside its stream.
pub(super) struct Accepted {
    pub(super) address: SocketAddr,
    pub(super) introduction: Arc<Introduction>,
    pub(super) place: OwnedSemaphorePermit,
    pub(super) patience: Patience,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, accepted: Accepted) -> Self {
        Self::new(Stream::Plain(stream), Vec::new(), accepted)
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, accepted: Accepted) -> Self {
        let leaf = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first());
        let certificate_names = leaf.map(|leaf| names(leaf)).unwrap_or_default();
        Self::new(Stream::Tls(Box::new(stream)), certificate_names, accepted)
    }

    fn new(stream: Stream, certificate_names: Vec<String>, accepted: Accepted) -> Self {
        let Accepted {
            address,
            introduction,
            place,
            patience,
        } = accepted;
        Self {
            stream,
            dismissal: Box::pin(introduction.dismissal()),
            peer: Peer::new(address, certificate_names, introduction),
            silence: Some(Silence {
                end: Box::pin(tokio::time::sleep(patience.bytes)),
                has_spoken: false,
                call: patience.call,
            }),
            _place: place,
            _counted: Counted::new(),
        }
    }

    /// Ready with an error once the connection has to end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.peer.introduction().has_asked() {
            self.silence = None;
        }
        if let Some(silence) = &mut self.silence
            && silence.end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "no call came"));
        }
        self.dismissal
            .as_mut()
            .poll(cx)
            .map(|()| io::Error::new(io::ErrorKind::ConnectionAborted, "others need the place"))
    }

    /// Bytes came, so now the time until a call begins.
    fn hear(&mut self) {
        if let Some(silence) = &mut self.silence
            && !silence.has_spoken
        {
            silence.has_spoken = true;
            let end = tokio::time::Instant::now() + silence.call;
            silence.end.as_mut().reset(end);
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// DNS names and URIs of a certificate; only if it has neither, the common names (RFC 6125 section 6.4.4).
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of x509-parser: no caller has other names"
)]
fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
        return Vec::new();
    };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect();
    if names.is_empty() {
        let common = certificate.subject().iter_common_name();
        names.extend(common.filter_map(|name| name.as_str().ok().map(str::to_owned)));
    }
    names
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_end(cx) {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        })?;
        if buffer.filled().len() > before {
            self.hear();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
