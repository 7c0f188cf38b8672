//! Accepts connections, never more than allowed at a time, and does their TLS handshakes concurrently.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use super::connection::{Accepted, Connection, Patience};
use super::http1;
use super::strangers::Strangers;
use crate::config::{HTTP_1, SharedTls};
use crate::introduction::Introduction;

/// Pause after a failed accept, most likely because there are no file descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// Connections that are ready and not taken yet.
const READY: usize = 64;

/// Limits on what strangers can use up.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: u32,
    /// For a handshake, and for the time until the first call.
    pub(super) handshake: Duration,
    pub(super) first_call: Duration,
}

/// The stream of connections. The port closes when the stream is dropped.
pub(super) fn accept(
    listener: TcpListener,
    tls: SharedTls,
    limits: Limits,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(READY);
    tokio::spawn(async move {
        tokio::select! {
            () = accept_all(&listener, tls, limits, &ready) => {}
            () = ready.closed() => {}
        }
    });
    ReceiverStream::new(connections)
}

async fn accept_all(
    listener: &TcpListener,
    tls: SharedTls,
    limits: Limits,
    ready: &mpsc::Sender<io::Result<Connection>>,
) {
    let most = usize::try_from(limits.connections).unwrap_or(usize::MAX);
    let places = Arc::new(Semaphore::new(most));
    let strangers = Strangers::new((most / 4).max(1));
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // A connection waits for a place, so now a stranger has to go.
                if places.available_permits() == 0 {
                    strangers.make_room();
                }
                let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                    return;
                };
                let (tls, ready) = (tls.current(), ready.clone());
                let introduction = Arc::<Introduction>::default();
                strangers.admit(&introduction);
                let accepted = Accepted {
                    address,
                    introduction,
                    place,
                    patience: Patience {
                        bytes: limits.handshake,
                        call: limits.first_call,
                    },
                };
                tokio::spawn(async move {
                    match establish(stream, accepted, tls).await {
                        // If the server is stopping, nobody receives it.
                        Ok(connection) => drop(ready.send(Ok(connection)).await),
                        Err(error) => {
                            tracing::debug!(peer.address = %address, error = %error, "connection failed");
                        }
                    }
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn establish(
    stream: TcpStream,
    accepted: Accepted,
    tls: Option<TlsAcceptor>,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let (patience, dismissal) = (accepted.patience.bytes, accepted.introduction.dismissal());
    let handshake = async {
        let Some(tls) = tls else {
            if !http1::is_http2(&http1::peek(&stream).await?) {
                http1::refuse(stream).await?;
                return Err(io::Error::other("a client of HTTP/1"));
            }
            return Ok(Connection::plain(stream, accepted));
        };
        let mut stream = tls.accept(stream).await?;
        // Many HTTP/1 clients name no protocol.
        let is_http2 = match stream.get_ref().1.alpn_protocol() {
            Some(protocol) => protocol != HTTP_1,
            None => http1::is_http2(stream.fill_buf().await?),
        };
        if !is_http2 {
            http1::refuse(stream).await?;
            return Err(io::Error::other("a client of HTTP/1"));
        }
        Ok(Connection::tls(stream, accepted))
    };
    tokio::select! {
        result = tokio::time::timeout(patience, handshake) => {
            result.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        }
        () = dismissal => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
