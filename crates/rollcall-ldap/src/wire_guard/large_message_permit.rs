//! Which connections may receive large messages.
//!
//! ldap3's buffer keeps the size of the largest message that it ever held, so a connection that has received one counts
//! until it is closed. One connection of a directory may do so at a time, and a few of the whole process.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Connections of all directories together that may hold large messages.
const IN_PROCESS: usize = 8;
static PROCESS: Semaphore = Semaphore::const_new(IN_PROCESS);

type Permits = (OwnedSemaphorePermit, SemaphorePermit<'static>);

/// One connection's permit to receive large messages. Held from the first large message to the end.
pub(crate) struct LargeMessagePermit {
    directory: Arc<Semaphore>,
    waiting: Option<Pin<Box<dyn Future<Output = Option<Permits>> + Send>>>,
    held: Option<Permits>,
}

impl LargeMessagePermit {
    /// The permit of one connection. All connections of the directory share its semaphore, which has one place.
    pub(crate) fn of(directory: Arc<Semaphore>) -> Self {
        Self {
            directory,
            waiting: None,
            held: None,
        }
    }

    /// Ready once this connection has the permit.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held.is_some() {
            return Poll::Ready(());
        }
        let directory = self.directory.clone();
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::pin(async move {
                let own = directory.acquire_owned().await.ok()?;
                Some((own, PROCESS.acquire().await.ok()?))
            })
        });
        self.held = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(())
    }
}
