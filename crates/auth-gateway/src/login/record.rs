//! Records how a login ended. Audit event, soft lock and a last look at the user are one transaction; a
//! login that is not recorded did not happen.

use std::net::IpAddr;

use rollcall_core::audit::{Actor, AuditCaller, AuditKind, LoginOutcome, LoginReason};
use rollcall_core::error::Error;
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId};
use rollcall_core::soft_lock::{Settlement, SoftLockSubject};
use rollcall_metrics::metrics;
use rollcall_store::{FinishLogin, FinishOutcome, LoginTarget, NewAuditEvent};

use super::attempt::AttemptOrigin;
use super::context::Context;
use super::outcome::not_recorded;
use super::soft_lock::unsettled::Held;

/// What the audit log says about the user of an attempt.
#[derive(Clone, Default)]
pub struct Who {
    /// The tenant; `None` if the attempt names no known one.
    pub tenant: Option<TenantId>,
    /// The calling service.
    pub caller: AuditCaller,
    /// The user, if the login names one.
    pub user: Option<UserId>,
    /// The user's sync.
    pub user_sync: Option<UserSyncId>,
    /// The user's directory.
    pub directory: Option<DirectoryId>,
    /// Keyed hash and length of a login that names nobody.
    pub unknown_login: Option<String>,
    /// The end user's address.
    pub client: Option<IpAddr>,
}

impl From<&AttemptOrigin> for Who {
    fn from(origin: &AttemptOrigin) -> Self {
        Self {
            caller: origin.caller.clone(),
            client: origin.client,
            ..Self::default()
        }
    }
}

/// How an attempt ended.
pub struct Ending {
    /// For the audit log.
    pub outcome: LoginOutcome,
    /// For the audit log.
    pub reason: LoginReason,
    /// How the reserved slots are settled.
    pub settlement: Settlement,
    /// The password was sent somewhere. Then a failure to record must not invite a retry.
    pub bind_sent: bool,
}

/// The audit event.
fn event(c: &Context, who: &Who, outcome: LoginOutcome, reason: LoginReason) -> NewAuditEvent {
    NewAuditEvent {
        time: c.now(),
        tenant: who.tenant.clone(),
        caller: who.caller.clone(),
        actor: Actor::default(),
        kind: AuditKind::Login {
            outcome,
            reason,
            user: who.user,
            user_sync: who.user_sync.clone(),
            directory: who.directory.clone(),
            unknown_login: who.unknown_login.clone(),
            client_address: who.client.map(|client| client.to_string()),
            flood: None,
        },
    }
}

/// Records an attempt whose tenant and user are not known. A flood of them does not fill the log.
pub(super) async fn record_early(
    c: &Context,
    origin: &AttemptOrigin,
    reason: impl Into<LoginReason>,
) -> Result<(), Error> {
    let (outcome, reason) = (LoginOutcome::Error, reason.into());
    let event = event(c, &Who::from(origin), outcome, reason);
    let recorded = c.login_store.record_refusal_of_nobody(event).await;
    count(None, outcome, reason, recorded.map_err(Error::from))
}

/// Records an attempt for which nothing was asked. A flood of them does not fill the log.
pub(super) async fn record_unasked(
    c: &Context,
    who: &Who,
    counted: &SoftLockSubject,
    outcome: LoginOutcome,
    reason: impl Into<LoginReason>,
) -> Result<(), Error> {
    let reason = reason.into();
    let event = event(c, who, outcome, reason);
    let recorded = match &who.tenant {
        Some(tenant) => c.login_store.record_refusal(tenant, counted, event).await,
        None => c.login_store.record_refusal_of_nobody(event).await,
    };
    count(
        who.tenant.as_ref(),
        outcome,
        reason,
        recorded.map_err(Error::from),
    )
}

/// Records an end that lets nobody in.
pub(super) async fn record(c: &Context, who: &Who, held: &mut Held, ending: Ending) -> Result<(), Error> {
    commit(c, who, held, ending, None, None).await?;
    Ok(())
}

/// Records that a user is let in, if nothing has changed that this relies on. `at` is the user at the address, if the
/// address is known.
pub(super) async fn record_success(
    c: &Context,
    who: &Who,
    held: &mut Held,
    ending: Ending,
    at: Option<SoftLockSubject>,
    expect: LoginTarget,
) -> Result<FinishOutcome, Error> {
    commit(c, who, held, ending, at, Some(expect)).await
}

/// Counts how a login ended: as recorded, or with the error that prevented the record.
fn count<T>(
    tenant: Option<&TenantId>,
    outcome: LoginOutcome,
    reason: LoginReason,
    recorded: Result<T, Error>,
) -> Result<T, Error> {
    let metrics = metrics();
    let (outcome, reason) = match &recorded {
        Ok(_) => (outcome, reason),
        Err(error) => {
            metrics.logins_not_recorded.inc();
            (LoginOutcome::Error, error.reason.into())
        }
    };
    metrics.logins.count((outcome, reason));
    if let Some(tenant) = tenant {
        metrics.tenant_logins.login(tenant, outcome);
    }
    recorded
}

/// # Errors
/// `LOGIN_NOT_RECORDED` once a bind was sent, `STORE_UNAVAILABLE` and the like before.
async fn commit(
    c: &Context,
    who: &Who,
    held: &mut Held,
    ending: Ending,
    proven_at: Option<SoftLockSubject>,
    expect: Option<LoginTarget>,
) -> Result<FinishOutcome, Error> {
    let finish = FinishLogin {
        audit: event(c, who, ending.outcome, ending.reason),
        tenant: who.tenant.clone(),
        slots: held.slots().to_vec(),
        settlement: ending.settlement,
        proven_at,
        expect,
    };
    let look = c
        .login_store
        .finish(finish)
        .await
        .map_err(|error| match ending.bind_sent {
            true => not_recorded().caused_by(error),
            false => error.into(),
        });
    let look = match look {
        // The login is judged again, and ends later.
        Ok(FinishOutcome::TargetChanged(_)) => look?,
        look => count(who.tenant.as_ref(), ending.outcome, ending.reason, look)?,
    };
    if ending.settlement != Settlement::Unknown && !matches!(look, FinishOutcome::TargetChanged(_)) {
        held.settled();
    }
    Ok(look)
}
