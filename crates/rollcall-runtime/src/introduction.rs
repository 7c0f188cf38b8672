//! What the other end of a connection has shown of itself so far.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The state of a connection: nothing was sent, a request came, or it has proven to be a caller's. Once dismissed, the
/// connection ends.
#[derive(Debug, Default)]
pub(crate) struct Introduction {
    has_asked: AtomicBool,
    is_caller: AtomicBool,
    dismissed: CancellationToken,
}

impl Introduction {
    /// Notes that a request came, from an unknown sender.
    pub(crate) fn ask(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// Notes that a request came with credentials of a caller.
    pub(crate) fn prove(&self) {
        self.is_caller.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }

    pub(crate) fn is_caller(&self) -> bool {
        self.is_caller.load(Ordering::Relaxed)
    }

    pub(crate) fn dismiss(&self) {
        self.dismissed.cancel();
    }

    /// Ready once the connection is to end.
    pub(crate) fn dismissal(&self) -> WaitForCancellationFutureOwned {
        self.dismissed.clone().cancelled_owned()
    }
}
