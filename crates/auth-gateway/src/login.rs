//! A login from beginning to end.
//!
//! 1. What can be refused without looking is refused when the request is converted.
//! 2. [`standing`]: one query finds the user; unknown, LOCAL, blocked and deactivated users are decided here.
//! 3. [`turn`], [`guess`]: a failure slot is reserved before the password goes anywhere, and a repeated wrong
//!    password goes nowhere.
//! 4. [`ask`]: the directory that owns the user, and no other, binds and verifies at once.
//! 5. [`outcome`]: what its answer means, by the table in rollcall-core.
//! 6. [`change`], [`refresh`]: what the entry brought to light is seen to before the answer.
//! 7. [`record`]: audit, soft lock and a last look at the user are one transaction; without it, no answer.
//!
//! A login that has begun is carried through in a task of its own, whether or not its caller still waits:
//! a bind that was sent must be accounted for.

pub mod ask;
pub mod attempt;
pub mod change;
pub mod disguise;
pub mod guess;
pub mod join;
pub mod keyed_hash;
mod known;
pub mod known_dn;
pub mod outcome;
pub mod prepared;
pub mod record;
pub mod refresh;
pub mod replay;
pub mod role;
pub mod run;
pub mod standing;
pub mod tenant_view;
pub mod turn;

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::error::{Error, Reason};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use attempt::{Attempt, AttemptOrigin, Progress};
use join::{Joined, Joins, Ticket};
use keyed_hash::PrivateHasher;
use outcome::Outcome;
use run::Runner;

/// What a login ends with. Those who joined it share it.
pub type Done = Arc<Result<Outcome, Error>>;

/// Carries logins out.
pub struct Logins {
    runner: Arc<Runner>,
    joins: Arc<Joins<Result<Outcome, Error>>>,
    hasher: PrivateHasher,
    tasks: TaskTracker,
}

impl Logins {
    /// Carries logins out with `runner`; `random` keys what is only kept in memory.
    pub fn new(runner: Runner, join: Duration, random: &[u8; 32]) -> Self {
        Self {
            runner: Arc::new(runner),
            joins: Joins::new(join),
            hasher: PrivateHasher::new(random),
            tasks: TaskTracker::new(),
        }
    }

    /// Answers an attempt, or joins the earlier one with the same request id.
    pub async fn authenticate(&self, attempt: Attempt) -> Done {
        let deadline = attempt.deadline;
        let Some(request_id) = attempt.request_id.clone() else {
            let progress = Progress::default();
            return self.carry_out(attempt, None, progress.clone(), deadline).await;
        };
        let key = (attempt.caller.name().to_owned(), request_id);
        let fingerprint = attempt.fingerprint(&self.hasher);
        match self.joins.join(key, fingerprint, Instant::now()) {
            Joined::First(ticket) => {
                self.carry_out(attempt, Some(ticket), Progress::default(), deadline)
                    .await
            }
            Joined::Reused => {
                let message = "the request_id was used before, with a different request";
                let error = Error::new(Reason::RequestIdReused, message);
                Arc::new(Err(self.refused(&attempt.origin(), error).await))
            }
            Joined::Repeat(mut answer) => {
                let told = timeout_at(deadline, answer.wait_for(Option::is_some)).await;
                match told {
                    Ok(Ok(done)) => done.as_ref().map_or_else(|| Arc::new(Err(broken())), Arc::clone),
                    Ok(Err(_)) => Arc::new(Err(broken())),
                    // The first attempt may have sent the bind by now.
                    Err(_) => Arc::new(Err(outcome::bind_outcome_unknown())),
                }
            }
        }
    }

    /// Records an attempt that is refused before anybody knows whose it is.
    pub async fn refused(&self, origin: &AttemptOrigin, error: Error) -> Error {
        let recorded = self.runner.record_early(origin, error.reason.as_str()).await;
        recorded.err().unwrap_or(error)
    }

    /// Waits for the logins under way, after the last caller was answered.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn carry_out(
        &self,
        attempt: Attempt,
        ticket: Option<Ticket<Result<Outcome, Error>>>,
        progress: Progress,
        deadline: Instant,
    ) -> Done {
        let runner = Arc::clone(&self.runner);
        let too_late = too_late(attempt.deadline_is_caller_s);
        let origin = attempt.origin();
        let seen = progress.clone();
        let login = async move {
            let done = Arc::new(runner.run_once(&attempt, &seen).await);
            if let Some(ticket) = ticket {
                ticket.finish(Arc::clone(&done), !run::may_be_repeated(&done));
            }
            done
        };
        let task = self.tasks.spawn(login.in_current_span());
        match timeout_at(deadline, task).await {
            Ok(Ok(done)) => done,
            // It panicked. Whatever it had sent stays reserved.
            Ok(Err(_)) => {
                let error = match progress.bind_may_be_sent() {
                    true => outcome::bind_outcome_unknown(),
                    false => broken(),
                };
                Arc::new(Err(self.refused(&origin, error).await))
            }
            Err(_) if progress.bind_may_be_sent() => Arc::new(Err(outcome::bind_outcome_unknown())),
            Err(_) => Arc::new(Err(too_late)),
        }
    }
}

/// Nothing was sent, nor will be: a directory has less time than the whole login has.
fn too_late(deadline_is_caller_s: bool) -> Error {
    if deadline_is_caller_s {
        let message = "the call's deadline passed before the password was sent anywhere";
        return Error::new(Reason::DeadlineExceeded, message);
    }
    // A directory would have been told of by now.
    Error::new(Reason::StoreUnavailable, "the store did not answer in time")
        .retry_after(Duration::from_secs(1))
}

fn broken() -> Error {
    Error::new(Reason::Internal, "the login broke off; the log tells more")
}
