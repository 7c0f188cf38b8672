use anyhow::Result;
use std::net::SocketAddr;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A line to a server on loopback that can be cut, whatever is on it; closed when dropped.
pub struct Proxy {
    address: SocketAddr,
    cuts: watch::Sender<u64>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and connects each caller to `server`. While nobody listens there,
    /// callers are disconnected at once.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (cuts, _) = watch::channel(0);
        let new_cuts = cuts.clone();
        let accepting = tokio::spawn(async move {
            // Owned by this task, so that aborting it ends the connections too.
            let mut lines = JoinSet::new();
            while let Ok((mut caller, _)) = listener.accept().await {
                let mut cut = new_cuts.subscribe();
                lines.spawn(async move {
                    let carry = async {
                        let mut server = TcpStream::connect(server).await?;
                        caller.set_nodelay(true)?;
                        server.set_nodelay(true)?;
                        copy_bidirectional(&mut caller, &mut server).await
                    };
                    tokio::select! {
                        _ = carry => {}
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
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
