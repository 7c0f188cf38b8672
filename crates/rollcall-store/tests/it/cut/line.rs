//! A line to PostgreSQL that breaks at a chosen statement. Of the protocol (PostgreSQL 17, chapter 55) it knows how messages are
//! framed, and which of them begin to do something.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Query and Execute, of the caller.
const STATEMENTS: [u8; 2] = *b"QE";
/// Query and Sync, after which the server answers that it is ready.
const ENDS: [u8; 2] = *b"QS";
/// ReadyForQuery, of the server.
const READY: u8 = b'Z';

/// When the connection breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    BeforeTheServer,
    BeforeItsAnswer,
}

/// The line. Gone when dropped.
pub(super) struct Line {
    url: String,
    fuse: Fuse,
    accepting: AbortHandle,
}

/// Statements until the cut; `None` for none.
#[derive(Clone, Default)]
struct Fuse(Arc<Mutex<Option<(u64, When)>>>);

impl Line {
    pub(super) async fn to(url: &str) -> Self {
        let (account, rest) = url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let server: SocketAddr = server.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fuse = Fuse::default();
        let burns = fuse.clone();
        let accepting = tokio::spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                lines.spawn(carry(caller, server, burns.clone()));
            }
        });
        Self {
            url: format!("{account}@{address}/{database}?sslmode=disable"),
            fuse,
            accepting: accepting.abort_handle(),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Breaks the connection that sends the `statement`th statement from now on.
    pub(super) fn cut_at(&self, statement: u64, when: When) {
        *self.fuse.0.lock() = Some((statement, when));
    }

    /// Carries everything from now on; whether a connection was cut.
    pub(super) fn carry_on(&self) -> bool {
        self.fuse.0.lock().take().is_none()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Fuse {
    fn burn(&self) -> Option<When> {
        let mut left = self.0.lock();
        let (statements, when) = (*left)?;
        *left = (statements > 1).then_some((statements - 1, when));
        left.is_none().then_some(when)
    }
}

async fn carry(caller: TcpStream, server: SocketAddr, fuse: Fuse) -> Option<()> {
    let server = TcpStream::connect(server).await.ok()?;
    caller.set_nodelay(true).ok()?;
    server.set_nodelay(true).ok()?;
    let (mut from_caller, mut to_caller) = caller.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // The first message has no type.
    let first = read(&mut from_caller, 0).await?;
    to_server.write_all(&first).await.ok()?;
    let mut last = tokio::select! {
        // The server waits for a statement when one is cut, so this is never in the middle of an answer.
        _ = pass_on(&mut from_server, &mut to_caller) => None,
        cut = until_cut(&mut from_caller, &mut to_server, &fuse) => cut,
    }?;
    while !ENDS.contains(&last) {
        let message = read(&mut from_caller, 1).await?;
        last = message[0];
        to_server.write_all(&message).await.ok()?;
    }
    ready(&mut from_server).await
}

/// Carries what the caller says. Returns the type of the message at which to cut, if the server shall have it.
async fn until_cut(caller: &mut OwnedReadHalf, server: &mut OwnedWriteHalf, fuse: &Fuse) -> Option<u8> {
    loop {
        let message = read(caller, 1).await?;
        let cut = match STATEMENTS.contains(&message[0]) {
            true => fuse.burn(),
            false => None,
        };
        if cut == Some(When::BeforeTheServer) {
            return None;
        }
        server.write_all(&message).await.ok()?;
        if cut == Some(When::BeforeItsAnswer) {
            return Some(message[0]);
        }
    }
}

async fn pass_on(server: &mut OwnedReadHalf, caller: &mut OwnedWriteHalf) -> Option<()> {
    loop {
        let message = read(server, 1).await?;
        caller.write_all(&message).await.ok()?;
    }
}

/// Returns when the server has done everything.
async fn ready(from_server: &mut OwnedReadHalf) -> Option<()> {
    while read(from_server, 1).await?[0] != READY {}
    Some(())
}

/// A message whose length stands behind `type_bytes` bytes.
async fn read(from: &mut (impl AsyncRead + Unpin), type_bytes: usize) -> Option<Vec<u8>> {
    let mut message = vec![0; type_bytes + 4];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[type_bytes..].try_into().ok()?);
    let whole = type_bytes + usize::try_from(length).ok()?;
    message.resize(whole, 0);
    from.read_exact(message.get_mut(type_bytes + 4..)?).await.ok()?;
    Some(message)
}
