//! If several attempts with the same password for the same login come at once, one attempt tries it, and the others
//! wait for its result. A telephone, a laptop and a mail client that all send an old password are one wrong password.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::login::memory::keyed_hash::Fingerprint;

/// The passwords that are being tried. Clones share them.
pub struct SingleFlight<T>(Arc<Mutex<Awaited<T>>>);

type Awaited<T> = HashMap<Fingerprint, watch::Receiver<Option<Arc<T>>>>;

/// What an attempt turns out to be.
pub enum Attempted<T> {
    /// The first with this password: try it and [`Leader::publish`].
    Leader(Leader<T>),
    /// Another one tries it: wait for what it finds.
    Follower(Follower<T>),
}

/// The duty to try a password. Dropped before it tells, one of those who wait tries it.
pub struct Leader<T> {
    single_flight: SingleFlight<T>,
    fingerprint: Fingerprint,
    found: watch::Sender<Option<Arc<T>>>,
}

/// The wait for another attempt.
pub struct Follower<T>(watch::Receiver<Option<Arc<T>>>);

impl<T> SingleFlight<T> {
    /// Joins the attempt with this password, or becomes the leader.
    pub fn join(&self, fingerprint: Fingerprint) -> Attempted<T> {
        let mut awaited = self.0.lock();
        match awaited.entry(fingerprint) {
            Entry::Occupied(there) => Attempted::Follower(Follower(there.get().clone())),
            Entry::Vacant(free) => {
                let (found, waiting) = watch::channel(None);
                free.insert(waiting);
                Attempted::Leader(Leader {
                    single_flight: self.clone(),
                    fingerprint,
                    found,
                })
            }
        }
    }
}

impl<T> Leader<T> {
    /// Tells the result to the attempts that wait. A later attempt binds again: the password may not be right any more.
    pub fn publish(self, found: Arc<T>) {
        self.found.send_replace(Some(found));
    }
}

impl<T> Follower<T> {
    /// What the other attempt found; `None` if it told nothing.
    ///
    /// # Errors
    /// The other attempt does not end in time.
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

impl<T> Drop for Leader<T> {
    fn drop(&mut self) {
        let mut awaited = self.single_flight.0.lock();
        awaited.remove(&self.fingerprint);
    }
}

impl<T> Clone for SingleFlight<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for SingleFlight<T> {
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

    fn lead(single_flight: &SingleFlight<i32>, fingerprint: Fingerprint) -> Leader<i32> {
        match single_flight.join(fingerprint) {
            Attempted::Leader(leader) => leader,
            Attempted::Follower(_) => panic!("it is being tried"),
        }
    }

    fn follow(single_flight: &SingleFlight<i32>, fingerprint: Fingerprint) -> Follower<i32> {
        match single_flight.join(fingerprint) {
            Attempted::Leader(_) => panic!("it is not being tried"),
            Attempted::Follower(follower) => follower,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_meanwhile_share_and_those_who_come_later_do_not() {
        let single_flight = SingleFlight::default();
        let leader = lead(&single_flight, [1; 32]);
        drop(lead(&single_flight, [2; 32]));
        let (one, two) = (follow(&single_flight, [1; 32]), follow(&single_flight, [1; 32]));
        assert!(two.wait(soon()).await.is_err());
        leader.publish(Arc::new(7));
        assert_eq!(one.wait(soon()).await.unwrap().as_deref(), Some(&7));
        drop(lead(&single_flight, [1; 32]));
        assert!(single_flight.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_breaks_off_tells_nothing_and_another_takes_its_place() {
        let single_flight = SingleFlight::default();
        let leader = lead(&single_flight, [1; 32]);
        let waiting = follow(&single_flight, [1; 32]);
        drop(leader);
        assert_eq!(waiting.wait(soon()).await.unwrap(), None);
        lead(&single_flight, [1; 32]);
    }
}
