//! A line to PostgreSQL on which one statement can be held up.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How far the statement came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Awaited,
    Held,
    Released,
}

/// Carries everything, but holds the first message with a certain text until it is released. Closed when dropped.
pub(crate) struct HeldLine {
    url: String,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

impl HeldLine {
    /// To the server of this URL; holds a message with `text`.
    pub(crate) async fn start(url: &str, text: &'static str) -> Self {
        let (front, rest) = url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let server: SocketAddr = server.parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("{front}@{}/{database}", listener.local_addr().unwrap());
        let state = Arc::new(watch::Sender::new(State::Awaited));
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let state = shared.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    let (mut answers, requests) = server.into_split();
                    let (caller, mut back) = caller.into_split();
                    let answering = tokio::spawn(async move { copy(&mut answers, &mut back).await });
                    carry(caller, requests, text, &state).await;
                    answering.abort();
                });
            }
        })
        .abort_handle();
        Self {
            url,
            state,
            accepting,
        }
    }

    /// Where to connect to.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Waits until the message is held.
    pub(crate) async fn held(&self) {
        let mut state = self.state.subscribe();
        state.wait_for(|state| *state == State::Held).await.unwrap();
    }

    /// Lets it go.
    pub(crate) fn release(&self) {
        self.state.send_replace(State::Released);
    }
}

async fn carry(
    mut caller: tokio::net::tcp::OwnedReadHalf,
    mut server: tokio::net::tcp::OwnedWriteHalf,
    text: &str,
    state: &watch::Sender<State>,
) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(count @ 1..) = caller.read(&mut buffer).await {
        let bytes = &buffer[..count];
        if *state.borrow() == State::Awaited && bytes.windows(text.len()).any(|part| part == text.as_bytes())
        {
            state.send_replace(State::Held);
            let mut released = state.subscribe();
            released
                .wait_for(|state| *state == State::Released)
                .await
                .unwrap();
        }
        if server.write_all(bytes).await.is_err() {
            return;
        }
    }
}

impl Drop for HeldLine {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
