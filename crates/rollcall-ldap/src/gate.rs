//! The bulkhead of a directory: how many operations at a time, and how many may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::LdapError;

/// Lets a bounded number of operations in and keeps a bounded number waiting.
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl Gate {
    pub(crate) fn new(places: usize, max_waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            waiting: AtomicUsize::new(0),
            max_waiting,
        }
    }

    /// Waits for a place until the deadline. Fails at once when too many wait already.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, LdapError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _counted = Waiting::count(self).ok_or(LdapError::Busy)?;
        match timeout_at(deadline, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(LdapError::Busy),
        }
    }
}

struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn count(gate: &'a Gate) -> Option<Self> {
        let before = gate.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Self(gate);
        (before < gate.max_waiting).then_some(waiting)
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
    async fn the_queue_is_bounded_and_places_come_back() {
        let gate = Gate::new(1, 1);
        let far = Instant::now() + Duration::from_secs(60);
        let place = gate.enter(far).await.unwrap();
        let second = gate.enter(far);
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(gate.enter(far).await.unwrap_err(), LdapError::Busy);
        drop(place);
        let place = second.await.unwrap();
        assert_eq!(gate.enter(Instant::now()).await.unwrap_err(), LdapError::Busy);
        drop(place);
        assert!(gate.enter(far).await.is_ok());
    }
}
