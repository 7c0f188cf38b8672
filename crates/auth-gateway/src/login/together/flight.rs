//! The same password for the same login, several times at once: one attempt tries it, and the others wait for what it
//! finds out. A telephone, a laptop and a mail client that all send an old password are one wrong password.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::login::memory::keyed_hash::Fingerprint;

/// The passwords that are being tried. Clones share them.
pub struct Flights<T>(Arc<Mutex<Awaited<T>>>);

type Awaited<T> = HashMap<Fingerprint, watch::Receiver<Option<Arc<T>>>>;

/// What an attempt turns out to be.
pub enum Boarded<T> {
    /// The first with this password: try it and [`Flight::land`].
    First(Flight<T>),
    /// Another one tries it: wait for what it finds.
    Other(Landing<T>),
}

/// The duty to try a password. Dropped without a landing, one of those who wait tries it.
pub struct Flight<T> {
    flights: Flights<T>,
    fingerprint: Fingerprint,
    found: watch::Sender<Option<Arc<T>>>,
}

/// The wait for another attempt.
pub struct Landing<T>(watch::Receiver<Option<Arc<T>>>);

impl<T> Flights<T> {
    /// Joins the attempt with this password, or becomes it.
    pub fn board(&self, fingerprint: Fingerprint) -> Boarded<T> {
        let mut awaited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match awaited.entry(fingerprint) {
            Entry::Occupied(there) => Boarded::Other(Landing(there.get().clone())),
            Entry::Vacant(free) => {
                let (found, waiting) = watch::channel(None);
                free.insert(waiting);
                Boarded::First(Flight {
                    flights: self.clone(),
                    fingerprint,
                    found,
                })
            }
        }
    }
}

impl<T> Flight<T> {
    /// Tells those who wait. Whoever comes later tries anew: a password that was right may be so no more.
    pub fn land(self, found: Arc<T>) {
        self.found.send_replace(Some(found));
    }
}

impl<T> Landing<T> {
    /// What the other attempt found; `None` if it told nothing.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn wait(mut self, deadline: Instant) -> Result<Option<Arc<T>>, TooLate> {
        match timeout_at(deadline, self.0.wait_for(Option::is_some)).await {
            Ok(Ok(found)) => Ok(found.as_ref().map(Arc::clone)),
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(TooLate),
        }
    }
}

/// The other attempt did not end in time.
#[derive(Debug)]
pub struct TooLate;

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        let mut awaited = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.remove(&self.fingerprint);
    }
}

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    fn first(flights: &Flights<i32>, fingerprint: Fingerprint) -> Flight<i32> {
        match flights.board(fingerprint) {
            Boarded::First(flight) => flight,
            Boarded::Other(_) => panic!("it is being tried"),
        }
    }

    fn other(flights: &Flights<i32>, fingerprint: Fingerprint) -> Landing<i32> {
        match flights.board(fingerprint) {
            Boarded::First(_) => panic!("it is not being tried"),
            Boarded::Other(landing) => landing,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_meanwhile_share_and_those_who_come_later_do_not() {
        let flights = Flights::default();
        let flight = first(&flights, [1; 32]);
        drop(first(&flights, [2; 32]));
        let (one, two) = (other(&flights, [1; 32]), other(&flights, [1; 32]));
        assert!(two.wait(soon()).await.is_err());
        flight.land(Arc::new(7));
        assert_eq!(one.wait(soon()).await.unwrap().as_deref(), Some(&7));
        drop(first(&flights, [1; 32]));
        assert!(flights.0.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_breaks_off_tells_nothing_and_another_takes_its_place() {
        let flights = Flights::default();
        let flight = first(&flights, [1; 32]);
        let waiting = other(&flights, [1; 32]);
        drop(flight);
        assert_eq!(waiting.wait(soon()).await.unwrap(), None);
        first(&flights, [1; 32]);
    }
}
