//! A login from beginning to end: one page, in the order of the steps.
//!
//! 1. What can be refused without looking is refused when the request is converted.
//! 2. [`resolve`]: one query finds the user whom the login means. Logins of LOCAL users, and of what is switched off,
//!    are answered here.
//! 3. [`reserve`]: a slot of the soft lock is reserved before the password goes anywhere.
//! 4. [`verify`]: the directory that owns the user tries the password. If the login is unknown, or its user may not log
//!    in, no directory is asked, and a wait of the same length takes the place of the bind.
//! 5. [`accept`]: what the directory's answer means. Refusals end here.
//! 6. [`reconcile`]: what the entry shows is dealt with before the answer.
//! 7. [`record_success`]: audit, soft lock and a last look at the user are one transaction; without it, no answer.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{LoginOutcome, LoginReason, OwnReason};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{TenantId, UserSyncKey};
use rollcall_core::identifier::{email_domain, normalize};
use rollcall_core::soft_lock::{Settlement, SoftLockSubject};
use rollcall_core::verdict::PasswordNotice;
use rollcall_metrics::{LoginStage, metrics};
use rollcall_store::{FinishOutcome, LoginTarget, StoreError};
use tokio::time::Instant;
use tracing::Instrument;

use super::attempt::{Attempt, Progress};
use super::context::Context;
use super::memory::tenant_view::TenantView;
use super::outcome::{
    self, Authenticated, Denial, Judgement, Outcome, bind_outcome_unknown, changed_too_fast,
};
use super::person::{BindTarget, Person, Stop, Trial};
use super::reconcile::{Refusal, failed, judge_again, reconcile};
use super::record::{Ending, Who, record, record_early, record_success, record_unasked};
use super::reserve::{Slots, network, reserve};
use super::seen::{Seen, Verified};
use super::single_flight::Attempted;
use super::verify::verify;
use rollcall_service::eligibility::{Eligibility, eligibility};

/// How often a login is judged again because what decides it changed meanwhile.
const ROUNDS: usize = 3;

/// Carries one login through.
///
/// # Errors
/// Errors about the call, never about the password.
pub(super) async fn log_in(c: &Context, attempt: &Attempt, progress: &Progress) -> Result<Outcome, Error> {
    let (metrics, begin) = (metrics(), Instant::now());
    metrics.logins_in_progress.inc();
    // On the heap: otherwise the caller's stack would hold all steps at once.
    let walked = Box::pin(walk(c, attempt, progress)).await;
    metrics.logins_in_progress.dec();
    metrics.login_seconds.took(LoginStage::Whole, begin.elapsed());
    match walked {
        Ok(authenticated) => Ok(Outcome::Authenticated(Box::new(authenticated))),
        Err(Stop::Denied(denial)) => Ok(Outcome::Denied(denial)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Measures a step, even if the login ends in it.
async fn timed<T>(stage: LoginStage, step: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let span = tracing::info_span!(target: "rollcall_trace", "login.step", step = stage.as_str());
    let done = step.instrument(span).await;
    metrics().login_seconds.took(stage, begin.elapsed());
    done
}

async fn walk(c: &Context, attempt: &Attempt, progress: &Progress) -> Result<Authenticated, Stop> {
    let person = timed(LoginStage::Resolve, resolve(c, attempt)).await?;
    let (mut slots, verified) = loop {
        match c.single_flight.join(person.fingerprint) {
            Attempted::Leader(leader) => {
                let mut slots = timed(LoginStage::Reserve, reserve(c, attempt, &person)).await?;
                let verify = verify(c, attempt, progress, &person, slots.begin);
                let verified = Arc::new(timed(LoginStage::Verify, verify).await);
                match verified.is_for_all(attempt) {
                    true => leader.publish(Arc::clone(&verified)),
                    false => slots.leader = Some(leader),
                }
                break (slots, verified);
            }
            Attempted::Follower(follower) => {
                // The attempt that it waits for may send this very password.
                progress.bind_begins();
                let deadline = c.directory_deadline(attempt.deadline);
                match follower.wait(deadline).await {
                    Ok(Some(verified)) => break (Slots::of_another(), verified),
                    Ok(None) => progress.nothing_was_sent(),
                    Err(_) => return Err(person.failed(c, bind_outcome_unknown()).await),
                }
            }
        }
    };
    let right = accept(c, &person, &verified, &mut slots).await?;
    admit(c, attempt, &person, right, &mut slots).await
}

/// Finds the user whom a login means. Ends logins that no password decides.
async fn resolve(c: &Context, attempt: &Attempt) -> Result<Person, Stop> {
    let (tenant, view) = match tenant_and_view(c, attempt).await {
        Ok(found) => found,
        Err(error) => {
            record_early(c, &attempt.origin(), error.reason).await?;
            return Err(Stop::Failed(error));
        }
    };
    let typed = normalize(&attempt.login);
    let hash = c.shared.unknown_login(&tenant, &typed);
    let target = c.login_store.target(&tenant, &attempt.login).await?;
    let sync = target.as_ref().and_then(|target| target.sync.as_ref());
    let eligibility = target.as_ref().map(|target| eligibility(target, &typed));
    let counted = match (&target, &eligibility) {
        // An ambiguous login counts like an unknown one: other people who type it must not lock this user's account.
        (Some(_), Some(Eligibility::Refused(OwnReason::AmbiguousLogin))) | (None, _) => {
            SoftLockSubject::UnknownLogin(hash.clone())
        }
        (Some(target), _) => SoftLockSubject::User(target.user.id),
    };
    let unknown_login = match target {
        Some(_) => None,
        None => Some(format!("{hash}:{}", attempt.login.chars().count())),
    };
    let who = Who {
        tenant: Some(tenant.clone()),
        caller: attempt.caller.audited(),
        user: target.as_ref().map(|target| target.user.id),
        user_sync: sync.map(|sync| sync.user_sync.clone()),
        directory: sync.map(|sync| sync.directory.clone()),
        unknown_login,
        client: attempt.client,
    };
    let own = who.user_sync.as_ref().and_then(|sync| view.home(sync));
    let home = own.or_else(|| view.home_for_unknown_login(&hash));
    let key = subject_key(&tenant, &counted);
    let mut person = Person {
        fingerprint: c.private.password(&key, &attempt.password),
        lock: view.lock(home),
        home: home.cloned(),
        trial: Trial::Wait(OwnReason::UnknownLogin),
        tenant,
        who,
        typed,
        counted,
        key,
    };
    if let Some((target, eligibility)) = target.zip(eligibility) {
        person.trial = match eligibility {
            Eligibility::Ask { origin, sync } => Trial::Bind(Box::new(BindTarget { target, origin, sync })),
            Eligibility::Refused(reason) => Trial::Wait(reason),
            Eligibility::Local => {
                return Err(person.denied(c, OwnReason::LocalUser, Denial::LocalUser).await);
            }
            Eligibility::Unable(obstacle) => return Err(person.failed(c, obstacle.into()).await),
        };
    }
    match (&person.trial, view.obstacle(&hash)) {
        (Trial::Wait(_), Some(obstacle)) => Err(person.failed(c, obstacle.clone().into()).await),
        _ => Ok(person),
    }
}

async fn tenant_and_view(c: &Context, attempt: &Attempt) -> Result<(TenantId, Arc<TenantView>), Error> {
    let tenant = tenant(c, attempt).await?;
    match c.views.get(&c.store, &tenant).await {
        Ok(view) => Ok((tenant, view)),
        Err(StoreError::NotFound(_)) => Err(attempt.caller.no_such_tenant(&tenant)),
        Err(error) => Err(error.into()),
    }
}

/// The tenant that was named, or the one to which the e-mail's domain belongs.
async fn tenant(c: &Context, attempt: &Attempt) -> Result<TenantId, Error> {
    if let Some(tenant) = &attempt.tenant {
        return Ok(tenant.clone());
    }
    let required = || {
        let message = "tenant is required: no tenant has verified this domain";
        Error::new(Reason::TenantRequired, message)
    };
    let domain = email_domain(&attempt.login).ok_or_else(required)?;
    let tenant = c.store.tenant_by_domain(&domain).await?.ok_or_else(required)?;
    // A caller must not learn that a domain is verified for a tenant which is not the caller's.
    attempt.caller.may_touch(&tenant.id).map_err(|_| required())?;
    Ok(tenant.id)
}

/// A right password, and what it was proven with.
struct Right {
    target: LoginTarget,
    seen: Seen,
    time: DateTime<Utc>,
    notice: Option<PasswordNotice>,
}

/// Lets a right password pass. With any other one the login ends here, and is recorded.
async fn accept(c: &Context, person: &Person, verified: &Verified, slots: &mut Slots) -> Result<Right, Stop> {
    let (outcome, reason) = verified.reading.audit;
    let stop = match (&verified.reading.answer, &verified.seen, &person.trial) {
        (Ok(Judgement::Accepted(notice)), Some(seen), Trial::Bind(bind_target)) => {
            return Ok(Right {
                target: bind_target.target.clone(),
                seen: seen.clone(),
                time: verified.time,
                notice: *notice,
            });
        }
        (Ok(Judgement::Refused(denial)), _, _) => Stop::Denied(*denial),
        (Err(error), _, _) => Stop::Failed(outcome::again(error)),
        // Without a user no password is right.
        (Ok(Judgement::Accepted(_)), _, _) => Stop::Denied(Denial::INVALID_CREDENTIALS),
    };
    if slots.are_another_s() {
        let reason = match &stop {
            Stop::Denied(denial) if *denial == Denial::INVALID_CREDENTIALS => {
                OwnReason::RepeatedPassword.into()
            }
            Stop::Denied(_) | Stop::Failed(_) => reason,
        };
        let recorded = record_unasked(c, &person.who, &person.counted, outcome, reason);
        timed(LoginStage::Record, recorded).await?;
    } else {
        let ending = Ending {
            outcome,
            reason,
            settlement: verified.reading.settlement,
            bind_sent: verified.bind_sent,
        };
        timed(
            LoginStage::Record,
            record(c, &person.who, &mut slots.held, ending),
        )
        .await?;
    }
    Err(stop)
}

/// Lets the user in, unless something that decides about it has changed meanwhile.
async fn admit(
    c: &Context,
    attempt: &Attempt,
    person: &Person,
    right: Right,
    slots: &mut Slots,
) -> Result<Authenticated, Stop> {
    let Right {
        mut target,
        mut seen,
        time,
        notice,
    } = right;
    let last = target.last_login_time;
    let authenticated = |user| Authenticated {
        user,
        last,
        time,
        notice,
    };
    for _ in 0..ROUNDS {
        let deadline = c.directory_deadline(attempt.deadline);
        let reconciled = reconcile(c, &seen, &mut target, &person.typed, deadline);
        if let Err(refusal) = timed(LoginStage::Reconcile, reconciled).await {
            return Err(refuse(c, person, slots, refusal).await);
        }
        let ending = Ending {
            outcome: LoginOutcome::Authenticated,
            reason: OwnReason::Authenticated.into(),
            settlement: Settlement::Success,
            bind_sent: true,
        };
        let at = person.at_address(c);
        let recorded = record_success(c, &person.who, &mut slots.held, ending, at, target.clone());
        let look = timed(LoginStage::Record, recorded).await?;
        let now = match look {
            FinishOutcome::Unchanged => return Ok(authenticated(target.user)),
            FinishOutcome::UserChanged(user) => return Ok(authenticated(*user)),
            FinishOutcome::TargetChanged(now) => now,
        };
        if let Err(refusal) = judge_again(c, &mut seen, &mut target, now, &person.typed, deadline).await {
            return Err(refuse(c, person, slots, refusal).await);
        }
    }
    Err(refuse(c, person, slots, failed(changed_too_fast())).await)
}

/// Records that a right password does not let the user in. If it is answered like a wrong one, it counts like one.
async fn refuse(c: &Context, person: &Person, slots: &mut Slots, (reason, stop): Refusal) -> Stop {
    let settlement = match &stop {
        Stop::Denied(Denial::INVALID_CREDENTIALS) => c.count_once(&person.fingerprint),
        Stop::Denied(_) | Stop::Failed(_) => Settlement::Success,
    };
    let ending = Ending {
        outcome: stop.outcome(),
        reason,
        settlement,
        bind_sent: true,
    };
    let recorded = timed(
        LoginStage::Record,
        record(c, &person.who, &mut slots.held, ending),
    )
    .await;
    recorded.err().map_or(stop, Stop::Failed)
}

impl Person {
    /// The user at the address that the attempt comes from, if the address is known.
    pub(super) fn at_address(&self, c: &Context) -> Option<SoftLockSubject> {
        match (&self.counted, self.who.client) {
            (SoftLockSubject::User(user), Some(client)) => {
                let address = c.shared.address(*user, &network(client));
                Some(SoftLockSubject::UserAt(*user, address))
            }
            _ => None,
        }
    }

    pub(super) fn home_key(&self) -> Option<&UserSyncKey> {
        self.home.as_ref().map(|home| &home.user_sync)
    }

    /// Ends with a denial an attempt for which nothing was asked.
    pub(super) async fn denied(&self, c: &Context, reason: OwnReason, denial: Denial) -> Stop {
        self.unasked(c, reason.into(), Stop::Denied(denial)).await
    }

    /// Ends with an error an attempt for which nothing was asked.
    pub(super) async fn failed(&self, c: &Context, error: Error) -> Stop {
        self.unasked(c, error.reason.into(), Stop::Failed(error)).await
    }

    async fn unasked(&self, c: &Context, reason: LoginReason, stop: Stop) -> Stop {
        let recorded = record_unasked(c, &self.who, &self.counted, stop.outcome(), reason);
        let recorded = timed(LoginStage::Record, recorded).await;
        recorded.err().map_or(stop, Stop::Failed)
    }
}

impl Stop {
    fn outcome(&self) -> LoginOutcome {
        match self {
            Self::Denied(_) => LoginOutcome::Denied,
            Self::Failed(_) => LoginOutcome::Error,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// The subject as text, for keyed hashes in memory.
fn subject_key(tenant: &TenantId, subject: &SoftLockSubject) -> String {
    match subject {
        SoftLockSubject::User(user) => format!("{tenant}/user/{user}"),
        SoftLockSubject::UserAt(user, address) => format!("{tenant}/user/{user}/{address}"),
        SoftLockSubject::UnknownLogin(hash) => format!("{tenant}/unknown/{hash}"),
        SoftLockSubject::Client(address) => format!("{tenant}/client/{address}"),
    }
}
