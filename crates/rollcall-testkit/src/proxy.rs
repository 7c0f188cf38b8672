use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A line to a server on loopback that can be cut, fall silent or become slow, whatever is on it; closed when dropped.
pub struct Proxy {
    address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    cuts: watch::Sender<u64>,
    silences: watch::Sender<u64>,
    latency: watch::Sender<Latency>,
    accepting: AbortHandle,
}

/// How much later than it was sent everything arrives.
#[derive(Clone, Copy, Default)]
struct Latency {
    to_server: Duration,
    from_server: Duration,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and connects each caller to `server`. While nobody listens there,
    /// callers are disconnected at once.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let server = Arc::new(Mutex::new(server));
        let leads_to = server.clone();
        let (cuts, silences) = (watch::Sender::new(0), watch::Sender::new(0));
        let latency = watch::Sender::new(Latency::default());
        let (new_cuts, new_silences, new_latency) = (cuts.clone(), silences.clone(), latency.clone());
        let accepting = tokio::spawn(async move {
            // Owned by this task, so that aborting it ends the connections too.
            let mut lines = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                let (mut cut, mut silence) = (new_cuts.subscribe(), new_silences.subscribe());
                let latency = new_latency.subscribe();
                let server = *leads_to.lock();
                lines.spawn(async move {
                    let carry = async {
                        // Kept while the line is silent: dropping it would end the connection.
                        let mut carried = std::pin::pin!(carried(caller, server, latency));
                        tokio::select! {
                            _ = &mut carried => {}
                            _ = silence.changed() => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = carry => {}
                        _ = cut.changed() => {}
                    }
                });
                while lines.try_join_next().is_some() {}
            }
        })
        .abort_handle();
        Ok(Self {
            address,
            server,
            cuts,
            silences,
            latency,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects callers to another server from now on: one that was restarted, and now has another port.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.server.lock() = server;
    }

    /// Ends every connection that there is; bytes under way are lost. New ones are carried again.
    pub fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// From now on everything takes so much longer in both directions, on every connection.
    pub fn delay(&self, one_way: Duration) {
        self.latency.send_replace(Latency {
            to_server: one_way,
            from_server: one_way,
        });
    }

    /// From now on whatever the server says takes so much longer, on every connection.
    pub fn delay_answers(&self, time: Duration) {
        self.latency.send_replace(Latency {
            to_server: Duration::ZERO,
            from_server: time,
        });
    }

    /// Carries nothing more on any connection that there is, and ends none: to the caller it looks as if the server's
    /// machine had lost its power. New ones are carried.
    pub fn silence(&self) {
        self.silences.send_modify(|count| *count += 1);
    }
}

async fn carried(
    caller: TcpStream,
    server: SocketAddr,
    latency: watch::Receiver<Latency>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    caller.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_caller, to_caller), (from_server, to_server)) = (caller.into_split(), server.into_split());
    let asking = copy(from_caller, to_server, || latency.borrow().to_server);
    let answering = copy(from_server, to_caller, || latency.borrow().from_server);
    tokio::try_join!(asking, answering).map(drop)
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    latency: impl Fn() -> Duration,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let late = latency();
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
