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
pub struct Turns(Arc<Mutex<HashMap<String, Line>>>);

struct Line {
    free: Arc<Semaphore>,
    slots: Arc<Slots>,
    /// Attempts in the queue, waiting or going on.
    people: usize,
}

/// What the attempts that go on do with the slots of the soft lock.
#[derive(Default)]
struct Slots {
    /// Held by the attempt that asks for slots. So it knows which others hold slots when it gets none.
    asking: Arc<tokio::sync::Mutex<()>>,
    holders: AtomicUsize,
    given_back: AtomicUsize,
}

/// The right to go on. It ends when dropped; slots that the attempt held are given back by then.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    _place: Place,
    slots: Arc<Slots>,
    holds: bool,
}

/// The right to ask for slots, one attempt at a time.
pub struct Asking {
    _alone: OwnedMutexGuard<()>,
    slots: Arc<Slots>,
    given_back: usize,
}

/// A place in a queue. The queue is removed when the last attempt leaves.
struct Place {
    turns: Turns,
    key: String,
}

impl Turns {
    /// Waits for the right to go on, which `limit` attempts have at a time. `None` if it does not come in time.
    pub async fn take(&self, key: &str, limit: u32, deadline: Instant) -> Option<Turn> {
        let (free, slots, place) = self.stand_in_line(key, limit.max(1) as usize);
        let permit = timeout_at(deadline, free.acquire_owned()).await.ok()?.ok()?;
        Some(Turn {
            _permit: permit,
            _place: place,
            slots,
            holds: false,
        })
    }

    fn stand_in_line(&self, key: &str, limit: usize) -> (Arc<Semaphore>, Arc<Slots>, Place) {
        let mut lines = self.0.lock();
        let line = lines.entry(key.to_owned()).or_insert_with(|| Line {
            free: Arc::new(Semaphore::new(limit)),
            slots: Arc::default(),
            people: 0,
        });
        line.people += 1;
        let place = Place {
            turns: self.clone(),
            key: key.to_owned(),
        };
        (Arc::clone(&line.free), Arc::clone(&line.slots), place)
    }
}

impl Turn {
    /// Waits until no other attempt of the queue asks for slots.
    pub async fn ask(&self) -> Asking {
        Asking {
            _alone: Arc::clone(&self.slots.asking).lock_owned().await,
            given_back: self.slots.given_back.load(Ordering::SeqCst),
            slots: Arc::clone(&self.slots),
        }
    }

    /// Notes that slots were got. Call it while still asking.
    pub fn hold(&mut self, _asking: &Asking) {
        self.slots.holders.fetch_add(1, Ordering::SeqCst);
        self.holds = true;
    }
}

impl Asking {
    /// Whether slots may be free after all, now or soon, although none were got: another attempt of the queue has given
    /// some back since, or holds some.
    pub fn may_come_free(&self) -> bool {
        self.slots.holders.load(Ordering::SeqCst) > 0
            || self.slots.given_back.load(Ordering::SeqCst) != self.given_back
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.holds {
            // The slots are given back before the attempt leaves, so that another one always sees one or the other.
            self.slots.given_back.fetch_add(1, Ordering::SeqCst);
            self.slots.holders.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.0.lock();
        if let Some(line) = lines.get_mut(&self.key) {
            line.people -= 1;
            if line.people == 0 {
                lines.remove(&self.key);
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
    async fn so_many_have_a_turn_and_the_next_waits() {
        let turns = Turns::default();
        let soon = || Instant::now() + Duration::from_secs(1);
        let first = turns.take("ada", 2, soon()).await.unwrap();
        let second = turns.take("ada", 2, soon()).await.unwrap();
        assert!(turns.take("ada", 2, soon()).await.is_none());
        assert!(turns.take("bob", 2, soon()).await.is_some());
        drop(first);
        let third = turns.take("ada", 2, soon()).await.unwrap();
        drop((second, third));
        assert!(turns.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn slots_may_come_free_while_others_hold_some_or_have_just_given_them_back() {
        let turns = Turns::default();
        let soon = || Instant::now() + Duration::from_secs(1);
        let mut first = turns.take("ada", 2, soon()).await.unwrap();
        let second = turns.take("ada", 2, soon()).await.unwrap();
        let asking = first.ask().await;
        assert!(timeout_at(soon(), second.ask()).await.is_err(), "two ask at once");
        assert!(!asking.may_come_free());
        first.hold(&asking);
        drop(asking);
        let asking = second.ask().await;
        assert!(asking.may_come_free());
        drop(first);
        assert!(asking.may_come_free());
        drop(asking);
        assert!(!second.ask().await.may_come_free());
    }
}
