use anyhow::Result;
use std::net::SocketAddr;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A line to a server on loopback that can be cut or fall silent, whatever is on it; closed when dropped.
pub struct Proxy {
    address: SocketAddr,
    cuts: watch::Sender<u64>,
    silences: watch::Sender<u64>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and connects each caller to `server`. While nobody listens there,
    /// callers are disconnected at once.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (cuts, silences) = (watch::Sender::new(0), watch::Sender::new(0));
        let (new_cuts, new_silences) = (cuts.clone(), silences.clone());
        let accepting = tokio::spawn(async move {
            // Owned by this task, so that aborting it ends the connections too.
            let mut lines = JoinSet::new();
            while let Ok((mut caller, _)) = listener.accept().await {
                let (mut cut, mut silence) = (new_cuts.subscribe(), new_silences.subscribe());
                lines.spawn(async move {
                    let carry = async {
                        tokio::select! {
                            _ = carried(&mut caller, server) => {}
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
            cuts,
            silences,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection that there is; bytes under way are lost. New ones are carried again.
    pub fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Carries nothing more on any connection that there is, and ends none: to the caller it looks as if the server's
    /// machine had lost its power. New ones are carried.
    pub fn silence(&self) {
        self.silences.send_modify(|count| *count += 1);
    }
}

async fn carried(caller: &mut TcpStream, server: SocketAddr) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    caller.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(caller, &mut server).await.map(drop)
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
