//! Has the sync worker renew a user whose entry turned out to have changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rollcall_core::entry::Entry;
use rollcall_core::error::{Error, Reason};
use rollcall_core::user::User;
use tokio::time::Instant;

use super::change::Change;
use crate::worker::Worker;

/// After a failure, renewals that the answer does not depend on pause for this long.
const PAUSE: Duration = Duration::from_secs(10);
/// Users whose differences the worker knows of; beyond it all are asked for again.
const CAPACITY: usize = 100_000;

/// Renewals, and what became of the last ones.
pub struct Refreshes {
    worker: Worker,
    paused_until: Mutex<Option<Instant>>,
    /// Revision and entry at which the worker last looked at a user: it will say the same again.
    seen: Mutex<HashMap<rollcall_core::id::UserId, (i64, u64)>>,
}

impl Refreshes {
    /// Renews through `worker`.
    pub fn new(worker: Worker) -> Self {
        Self {
            worker,
            paused_until: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Renews the user if need be. True if the user was renewed and has to be read again.
    ///
    /// # Errors
    /// `WORKER_UNAVAILABLE` if the role is wrong and cannot be put right; the caller must not let the user in.
    pub async fn renew(
        &self,
        change: Change,
        user: &User,
        entry: &Entry,
        deadline: Instant,
    ) -> Result<bool, Error> {
        let known = (user.revision, hash(entry));
        match change {
            Change::None => return Ok(false),
            Change::Fields if self.is_paused() || self.is_seen(user, known) => return Ok(false),
            Change::Fields | Change::Role => {}
        }
        match self.worker.refresh(&user.tenant, user.id, deadline).await {
            Ok(()) => {
                self.note_seen(user, known);
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(error = %error, "the sync worker could not renew a user during a login");
                *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Instant::now() + PAUSE);
                match change {
                    Change::Role => Err(Error::new(
                        Reason::WorkerUnavailable,
                        "the user's role has changed and the sync worker cannot be reached to renew it",
                    )
                    .caused_by(error)),
                    Change::None | Change::Fields => Ok(false),
                }
            }
        }
    }

    fn is_paused(&self) -> bool {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn is_seen(&self, user: &User, known: (i64, u64)) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&user.id) == Some(&known)
    }

    fn note_seen(&self, user: &User, known: (i64, u64)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= CAPACITY {
            seen.clear();
        }
        seen.insert(user.id, known);
    }
}

fn hash(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.dn.hash(&mut hasher);
    entry.attributes.hash(&mut hasher);
    hasher.finish()
}
