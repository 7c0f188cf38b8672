//! Attempts for one login take turns: as many at a time as the soft lock has slots. Several devices of one
//! user that come at once wait for each other, instead of being taken for somebody who guesses.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The lines in which attempts wait, by subject. Clones share them.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<String, Line>>>);

struct Line {
    free: Arc<Semaphore>,
    counts: Arc<Counts>,
    /// Attempts in the line, waiting or having their turn.
    people: usize,
}

/// How many attempts with a turn are how far.
#[derive(Default)]
struct Counts {
    reserving: AtomicUsize,
    holding: AtomicUsize,
}

/// How far an attempt is with the slots of the soft lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It has none.
    Idle,
    /// It asks for them.
    Reserving,
    /// It holds them.
    Holding,
}

/// A turn. It ends when dropped.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    _place: Place,
    counts: Arc<Counts>,
    stage: Stage,
}

/// A place in a line, which is taken down when the last one leaves.
struct Place {
    turns: Turns,
    key: String,
}

impl Turns {
    /// Waits for a turn, of which there are `limit` at a time. `None` if it does not come in time.
    pub async fn take(&self, key: &str, limit: u32, deadline: Instant) -> Option<Turn> {
        let (free, counts, place) = self.stand_in_line(key, limit.max(1) as usize);
        let permit = timeout_at(deadline, free.acquire_owned()).await.ok()?.ok()?;
        Some(Turn {
            _permit: permit,
            _place: place,
            counts,
            stage: Stage::Idle,
        })
    }

    fn stand_in_line(&self, key: &str, limit: usize) -> (Arc<Semaphore>, Arc<Counts>, Place) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(key.to_owned()).or_insert_with(|| Line {
            free: Arc::new(Semaphore::new(limit)),
            counts: Arc::default(),
            people: 0,
        });
        line.people += 1;
        let place = Place {
            turns: self.clone(),
            key: key.to_owned(),
        };
        (Arc::clone(&line.free), Arc::clone(&line.counts), place)
    }
}

impl Turn {
    /// Notes how far this attempt is.
    pub fn set(&mut self, stage: Stage) {
        // First in, then out, so that it is never missed in between.
        if let Some(count) = self.counts.of(stage) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(count) = self.counts.of(self.stage) {
            count.fetch_sub(1, Ordering::SeqCst);
        }
        self.stage = stage;
    }

    /// How far the furthest of the others is. Whoever holds slots may soon give them back.
    pub fn others(&self) -> Stage {
        let others = |stage| {
            let own = usize::from(self.stage == stage);
            self.counts
                .of(stage)
                .is_some_and(|count| count.load(Ordering::SeqCst) > own)
        };
        match (others(Stage::Reserving), others(Stage::Holding)) {
            (_, true) => Stage::Holding,
            (true, false) => Stage::Reserving,
            (false, false) => Stage::Idle,
        }
    }
}

impl Counts {
    fn of(&self, stage: Stage) -> Option<&AtomicUsize> {
        match stage {
            Stage::Idle => None,
            Stage::Reserving => Some(&self.reserving),
            Stage::Holding => Some(&self.holding),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.set(Stage::Idle);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut first = turns.take("ada", 2, soon()).await.unwrap();
        let second = turns.take("ada", 2, soon()).await.unwrap();
        assert_eq!(second.others(), Stage::Idle);
        first.set(Stage::Reserving);
        assert_eq!((first.others(), second.others()), (Stage::Idle, Stage::Reserving));
        first.set(Stage::Holding);
        assert_eq!((first.others(), second.others()), (Stage::Idle, Stage::Holding));
        assert!(turns.take("ada", 2, soon()).await.is_none());
        assert!(turns.take("bob", 2, soon()).await.is_some());
        drop(first);
        assert_eq!(second.others(), Stage::Idle);
        let third = turns.take("ada", 2, soon()).await.unwrap();
        drop((second, third));
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
