//! Has the sync worker renew a user whose entry has changed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use quick_cache::sync::Cache;
use rollcall_core::entry::Entry;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{UserId, UserSyncKey};
use rollcall_core::revision::Revision;
use rollcall_core::user::User;
use tokio::time::Instant;

use super::change::Change;
use crate::worker::{RefreshError, Worker};

/// If the worker does not answer for a user sync, renewals on which no answer depends pause for this long for its
/// users.
const PAUSE: Duration = Duration::from_secs(10);
/// User syncs whose pauses are known.
const PAUSES: usize = 10_000;
/// Users whose differences the worker knows. The worker is asked again about a user who is forgotten.
const CAPACITY: usize = 100_000;

/// Renewals, and the results of the last ones.
pub struct Refreshes {
    worker: Worker,
    /// For each user sync by itself: a worker may be slow for one customer's directory alone.
    paused_until: Cache<UserSyncKey, Instant>,
    /// Revision and entry with which the worker last looked at a user: with the same ones it would say the same.
    seen: Cache<UserId, (Revision, u64)>,
}

/// The result of a renewal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renewal {
    /// The answer may be given for the user as it is stored.
    NotNeeded,
    /// The worker has looked, and the user is now as it says.
    Done,
    /// The worker says that there is nothing to renew, so something has changed in the store.
    Rejected,
}

impl Refreshes {
    /// Renewals by this worker.
    pub fn new(worker: Worker) -> Self {
        Self {
            worker,
            paused_until: Cache::new(PAUSES),
            seen: Cache::new(CAPACITY),
        }
    }

    /// Renews the user if need be.
    ///
    /// # Errors
    /// `WORKER_UNAVAILABLE` if the user cannot be put right; the caller must not let the user in.
    pub async fn renew(
        &self,
        change: Change,
        sync: &UserSyncKey,
        user: &User,
        entry: &Entry,
        deadline: Instant,
    ) -> Result<Renewal, Error> {
        let known = (user.revision, hash(entry));
        match change {
            Change::None => return Ok(Renewal::NotNeeded),
            Change::Fields if self.is_paused(sync) || self.seen.get(&user.id) == Some(known) => {
                return Ok(Renewal::NotNeeded);
            }
            Change::Fields | Change::Role => {}
        }
        let error = match self.worker.refresh(&user.tenant, user.id, deadline).await {
            Ok(()) => {
                self.seen.insert(user.id, known);
                return Ok(Renewal::Done);
            }
            Err(RefreshError::Rejected(reason)) => {
                tracing::info!(reason = reason.as_str(), "the sync worker renews no such user");
                return Ok(Renewal::Rejected);
            }
            Err(error) => error,
        };
        tracing::warn!(error = %error, "the sync worker could not renew a user during a login");
        if error.is_outage() {
            self.paused_until.insert(sync.clone(), Instant::now() + PAUSE);
        }
        match change {
            Change::Role => Err(unavailable().caused_by(error)),
            Change::None | Change::Fields => Ok(Renewal::NotNeeded),
        }
    }

    fn is_paused(&self, sync: &UserSyncKey) -> bool {
        let until = self.paused_until.get(sync);
        until.is_some_and(|until| Instant::now() < until)
    }
}

/// The password is right, but only the worker can tell whether the user may log in, and with which role.
pub fn unavailable() -> Error {
    Error::new(
        Reason::WorkerUnavailable,
        "the user has changed in the directory and the sync worker cannot be reached to renew them",
    )
}

fn hash(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.dn.hash(&mut hasher);
    entry.attributes.hash(&mut hasher);
    hasher.finish()
}
