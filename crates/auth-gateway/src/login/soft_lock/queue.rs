//! Attempts for one login wait in a queue: as many go on at a time as the soft lock has slots. So several devices of
//! one user that come at once wait for each other, instead of being taken for an attacker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The queues, by subject. Clones share them.
#[derive(Clone, Default)]
pub struct LoginQueues(Arc<Mutex<HashMap<String, Queue>>>);

struct Queue {
    free: Arc<Semaphore>,
    slots: Arc<Slots>,
    /// Attempts in the queue, waiting or going on.
    members: usize,
}

/// What the attempts that go on do with the slots of the soft lock.
#[derive(Default)]
struct Slots {
    /// Held by the attempt that asks for slots. So it knows which others hold slots when it gets none.
    reserving: Arc<tokio::sync::Mutex<()>>,
    holders: AtomicUsize,
    given_back: AtomicUsize,
}

/// The right to go on. It ends when dropped; slots that the attempt held are given back by then.
pub struct Permit {
    _permit: OwnedSemaphorePermit,
    _membership: Membership,
    slots: Arc<Slots>,
    holds: bool,
}

/// The right to ask for slots, one attempt at a time.
pub struct Reserving {
    _alone: OwnedMutexGuard<()>,
    slots: Arc<Slots>,
    given_back: usize,
}

/// A membership in a queue. The queue is removed when the last attempt leaves.
struct Membership {
    queues: LoginQueues,
    key: String,
}

impl LoginQueues {
    /// Waits for the right to go on, which `limit` attempts have at a time. `None` if it does not come in time.
    pub async fn take(&self, key: &str, limit: u32, deadline: Instant) -> Option<Permit> {
        let (free, slots, membership) = self.join(key, limit.max(1) as usize);
        let permit = timeout_at(deadline, free.acquire_owned()).await.ok()?.ok()?;
        Some(Permit {
            _permit: permit,
            _membership: membership,
            slots,
            holds: false,
        })
    }

    fn join(&self, key: &str, limit: usize) -> (Arc<Semaphore>, Arc<Slots>, Membership) {
        let mut queues = self.0.lock();
        let queue = queues.entry(key.to_owned()).or_insert_with(|| Queue {
            free: Arc::new(Semaphore::new(limit)),
            slots: Arc::default(),
            members: 0,
        });
        queue.members += 1;
        let membership = Membership {
            queues: self.clone(),
            key: key.to_owned(),
        };
        (Arc::clone(&queue.free), Arc::clone(&queue.slots), membership)
    }
}

impl Permit {
    /// Waits until no other attempt of the queue asks for slots.
    pub async fn begin_reserving(&self) -> Reserving {
        Reserving {
            _alone: Arc::clone(&self.slots.reserving).lock_owned().await,
            given_back: self.slots.given_back.load(Ordering::SeqCst),
            slots: Arc::clone(&self.slots),
        }
    }

    /// Notes that slots were got. Call it while still reserving.
    pub fn hold(&mut self, _reserving: &Reserving) {
        self.slots.holders.fetch_add(1, Ordering::SeqCst);
        self.holds = true;
    }
}

impl Reserving {
    /// Whether slots may be free after all, now or soon, although none were got: another attempt of the queue has given
    /// some back since, or holds some.
    pub fn may_come_free(&self) -> bool {
        self.slots.holders.load(Ordering::SeqCst) > 0
            || self.slots.given_back.load(Ordering::SeqCst) != self.given_back
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.holds {
            // The slots are given back before the attempt leaves, so that another one always sees one or the other.
            self.slots.given_back.fetch_add(1, Ordering::SeqCst);
            self.slots.holders.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut queues = self.queues.0.lock();
        if let Some(queue) = queues.get_mut(&self.key) {
            queue.members -= 1;
            if queue.members == 0 {
                queues.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_go_on_at_a_time_and_the_next_waits() {
        let queues = LoginQueues::default();
        let soon = || Instant::now() + Duration::from_secs(1);
        let first = queues.take("ada", 2, soon()).await.unwrap();
        let second = queues.take("ada", 2, soon()).await.unwrap();
        assert!(queues.take("ada", 2, soon()).await.is_none());
        assert!(queues.take("bob", 2, soon()).await.is_some());
        drop(first);
        let third = queues.take("ada", 2, soon()).await.unwrap();
        drop((second, third));
        assert!(queues.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn slots_may_come_free_while_others_hold_some_or_have_just_given_them_back() {
        let queues = LoginQueues::default();
        let soon = || Instant::now() + Duration::from_secs(1);
        let mut first = queues.take("ada", 2, soon()).await.unwrap();
        let second = queues.take("ada", 2, soon()).await.unwrap();
        let reserving = first.begin_reserving().await;
        assert!(
            timeout_at(soon(), second.begin_reserving()).await.is_err(),
            "two ask at once"
        );
        assert!(!reserving.may_come_free());
        first.hold(&reserving);
        drop(reserving);
        let reserving = second.begin_reserving().await;
        assert!(reserving.may_come_free());
        drop(first);
        assert!(reserving.may_come_free());
        drop(reserving);
        assert!(!second.begin_reserving().await.may_come_free());
    }
}
