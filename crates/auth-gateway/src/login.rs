//! Logins: which attempts share one login, and what happens when a caller stops waiting. `steps` is one page with a
//! login from beginning to end.
//!
//! A login that has begun is carried through in a task of its own, whether or not its caller still waits: a bind that
//! was sent must be accounted for.

pub mod ask;
pub mod attempt;
pub mod change;
pub mod context;
pub mod equal_timing;
pub mod memory;
pub mod outcome;
mod person;
mod reconcile;
pub mod record;
pub mod refresh;
pub mod request_ids;
mod reserve;
pub mod role;
mod seen;
pub mod single_flight;
pub mod soft_lock;
mod steps;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::audit::OwnReason;
use rollcall_core::error::{Error, ErrorKind, Reason};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use attempt::{Attempt, AttemptOrigin, Progress};
use context::Context;
use memory::keyed_hash::PrivateHasher;
use outcome::Outcome;
use record::record_early;
use request_ids::{Repeated, RequestIds, Ticket};
use steps::log_in;

/// An outage is reported at a multiple of this time, which is several times what the ways to find out take.
const OUTAGE_TICK: Duration = Duration::from_millis(25);

/// What a login ends with. Attempts that joined it share it.
pub type Done = Arc<Result<Outcome, Error>>;

/// Carries logins out.
pub struct Logins {
    context: Arc<Context>,
    request_ids: Arc<RequestIds<Result<Outcome, Error>>>,
    hasher: PrivateHasher,
    tasks: TaskTracker,
}

impl Logins {
    /// Carries logins out in `context`; `random` keys what is only kept in memory.
    pub fn new(context: Context, random: &[u8; 32]) -> Self {
        Self {
            request_ids: RequestIds::new(context.login.join),
            context: Arc::new(context),
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
        let key = (attempt.caller.name().to_owned(), request_id.clone());
        let fingerprint = attempt.fingerprint(&self.hasher);
        match self.request_ids.join(key, fingerprint, Instant::now()) {
            Repeated::First(ticket) => {
                self.carry_out(attempt, Some(ticket), Progress::default(), deadline)
                    .await
            }
            Repeated::Reused => {
                let message = "the request_id was used before, with a different request";
                let error = Error::new(Reason::RequestIdReused, message).with("request_id", request_id);
                Arc::new(Err(self.refused(&attempt.origin(), error).await))
            }
            Repeated::Repeat(mut answer) => {
                let told = timeout_at(deadline, answer.wait_for(Option::is_some)).await;
                match told {
                    Ok(Ok(done)) => done.as_ref().map_or_else(|| Arc::new(Err(broken())), Arc::clone),
                    Ok(Err(_)) => Arc::new(Err(broken())),
                    // The first attempt may have sent a bind by now.
                    Err(_) => Arc::new(Err(outcome::bind_outcome_unknown())),
                }
            }
        }
    }

    /// Records an attempt that is refused before its tenant and user are known.
    pub async fn refused(&self, origin: &AttemptOrigin, error: Error) -> Error {
        let recorded = record_early(&self.context, origin, error.reason).await;
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
        let context = Arc::clone(&self.context);
        let too_late = outcome::too_late(attempt.deadline_is_caller_s);
        let origin = attempt.origin();
        let seen = progress.clone();
        let login = async move {
            let done = Arc::new(once(&context, &attempt, &seen).await);
            if let Some(ticket) = ticket {
                ticket.finish(Arc::clone(&done), !may_be_repeated(&done));
            }
            done
        };
        let task = self.tasks.spawn(login.in_current_span());
        match timeout_at(deadline, task).await {
            Ok(Ok(done)) => done,
            // It panicked. Slots that it reserved stay reserved.
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

/// Carries one login through, unless it was done already: by this replica or another.
async fn once(c: &Context, attempt: &Attempt, progress: &Progress) -> Result<Outcome, Error> {
    let Some(request_id) = &attempt.request_id else {
        return evenly(c, attempt, progress).await;
    };
    let request = c.shared.request_id(attempt.caller.name(), request_id);
    if !c.login_store.claim_request(&request, c.login.join).await? {
        record_early(c, &attempt.origin(), OwnReason::RepeatedRequest).await?;
        return Err(outcome::bind_outcome_unknown());
    }
    let done = evenly(c, attempt, progress).await;
    if may_be_repeated(&done)
        && let Err(error) = c.login_store.release_request(&request).await
    {
        tracing::warn!(error = %error, "a login request that came to nothing cannot be repeated for a while");
    }
    done
}

/// Carries one login through. If there is an outage, neither the error nor its time tells whose login it is.
async fn evenly(c: &Context, attempt: &Attempt, progress: &Progress) -> Result<Outcome, Error> {
    let start = Instant::now();
    let mut done = log_in(c, attempt, progress).await;
    if let Err(error) = &mut done
        && error.reason == Reason::DirectoryUnavailable
    {
        // The name of the directory would tell that the login exists.
        error.metadata.clear();
        let answer_at = next_tick(start, Instant::now());
        if answer_at < attempt.deadline {
            tokio::time::sleep_until(answer_at).await;
        }
    }
    done
}

/// True if nothing was sent: the caller should try again, and may use the same request id.
fn may_be_repeated(done: &Result<Outcome, Error>) -> bool {
    done.as_ref().is_err_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::Unavailable | ErrorKind::ResourceExhausted | ErrorKind::DeadlineExceeded
        )
    })
}

/// When to report an outage: a whole number of ticks after the call began. Otherwise the time that it took would tell
/// whose login it was.
fn next_tick(start: Instant, now: Instant) -> Instant {
    let ticks = now.duration_since(start).as_nanos() / OUTAGE_TICK.as_nanos() + 1;
    start + OUTAGE_TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

fn broken() -> Error {
    Error::new(Reason::Internal, "the login broke off; the log tells more")
}
