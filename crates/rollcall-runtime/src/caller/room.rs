//! Room for the requests under way, in memory.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// The unit of room, in bytes.
const UNIT: usize = 1024;

/// Room for so many bytes.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    /// Waits for room, and takes it until the result is dropped. The request that has waited longest comes first.
    pub(crate) async fn take(self, bytes: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.0.acquire_many_owned(units).await.ok()
    }
}
