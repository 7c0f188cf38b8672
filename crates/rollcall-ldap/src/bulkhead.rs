//! The bulkhead of a directory: how many operations at a time, and how many may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::LdapError;

/// Lets a bounded number of operations in and keeps a bounded number waiting.
pub(crate) struct Bulkhead {
    permits: Arc<Semaphore>,
    most: usize,
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl Bulkhead {
    pub(crate) fn new(permits: usize, max_waiting: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            most: permits,
            waiting: AtomicUsize::new(0),
            max_waiting,
        }
    }

    /// How many are in, and how many wait.
    pub(crate) fn load(&self) -> (usize, usize) {
        let busy = self.most.saturating_sub(self.permits.available_permits());
        (busy, self.waiting.load(Ordering::Relaxed))
    }

    /// Waits for a permit until the deadline. Fails at once when too many wait already.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, LdapError> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _counted = Waiting::count(self).ok_or(LdapError::Busy)?;
        match timeout_at(deadline, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(LdapError::Busy),
        }
    }
}

struct Waiting<'a>(&'a Bulkhead);

impl<'a> Waiting<'a> {
    fn count(bulkhead: &'a Bulkhead) -> Option<Self> {
        let before = bulkhead.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Self(bulkhead);
        (before < bulkhead.max_waiting).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_permits_come_back() {
        let bulkhead = Bulkhead::new(1, 1);
        let far = Instant::now() + Duration::from_secs(60);
        let permit = bulkhead.enter(far).await.unwrap();
        let second = bulkhead.enter(far);
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(bulkhead.enter(far).await.unwrap_err(), LdapError::Busy);
        drop(permit);
        let permit = second.await.unwrap();
        assert_eq!(bulkhead.enter(Instant::now()).await.unwrap_err(), LdapError::Busy);
        drop(permit);
        assert!(bulkhead.enter(far).await.is_ok());
    }
}
