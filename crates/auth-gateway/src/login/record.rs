//! Records how a login ended. Audit event, soft lock and a last look at the user are one transaction; a
//! login that is not recorded did not happen.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{AuditKind, LoginOutcome};
use rollcall_core::error::Error;
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId};
use rollcall_core::throttle::Settlement;
use rollcall_store::{FinishLogin, HeldSlot, LoginChange, LoginExpectation, NewAuditEvent, Store};

use super::attempt::AttemptOrigin;
use super::outcome::not_recorded;

/// Whose login it is, for the audit log.
#[derive(Clone)]
pub struct Who {
    /// The tenant.
    pub tenant: TenantId,
    /// The calling service.
    pub caller: String,
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

/// How it ended.
pub struct Ending {
    /// For the audit log.
    pub outcome: LoginOutcome,
    /// For the audit log.
    pub reason: &'static str,
    /// The slots that were reserved.
    pub slots: Vec<HeldSlot>,
    /// How they are settled.
    pub settlement: Settlement,
    /// What must still be so for a success to stand.
    pub expect: Option<LoginExpectation>,
    /// A bind was sent, so that a failure to record must not invite a retry.
    pub bind_sent: bool,
}

impl Ending {
    /// Ends without any slot.
    pub fn without_slots(outcome: LoginOutcome, reason: &'static str) -> Self {
        Self {
            outcome,
            reason,
            slots: Vec::new(),
            settlement: Settlement::NotSent,
            expect: None,
            bind_sent: false,
        }
    }
}

/// The audit event.
pub fn audit_event(
    who: &Who,
    outcome: LoginOutcome,
    reason: &'static str,
    now: DateTime<Utc>,
) -> NewAuditEvent {
    NewAuditEvent {
        time: now,
        tenant: Some(who.tenant.clone()),
        caller: who.caller.clone(),
        kind: AuditKind::Login {
            outcome,
            reason: reason.into(),
            user: who.user,
            user_sync: who.user_sync.clone(),
            directory: who.directory.clone(),
            unknown_login: who.unknown_login.clone(),
            client_address: who.client.map(|client| client.to_string()),
            flood: None,
        },
    }
}

/// The audit event of an attempt of which nobody knows whose it is.
pub fn early_event(origin: &AttemptOrigin, reason: &'static str, now: DateTime<Utc>) -> NewAuditEvent {
    NewAuditEvent {
        time: now,
        tenant: None,
        caller: origin.caller.clone(),
        kind: AuditKind::Login {
            outcome: LoginOutcome::Error,
            reason: reason.into(),
            user: None,
            user_sync: None,
            directory: None,
            unknown_login: None,
            client_address: origin.client.map(|client| client.to_string()),
            flood: None,
        },
    }
}

/// Records an ending.
///
/// # Errors
/// `LOGIN_NOT_RECORDED` once a bind was sent, `STORE_UNAVAILABLE` and the like before.
pub async fn record(
    store: &Store,
    who: &Who,
    ending: Ending,
    now: DateTime<Utc>,
) -> Result<LoginChange, Error> {
    let bind_sent = ending.bind_sent;
    let changed = || audit_event(who, LoginOutcome::Denied, "CHANGED_MEANWHILE", now);
    let finish = FinishLogin {
        audit: audit_event(who, ending.outcome, ending.reason, now),
        audit_if_changed: ending.expect.is_some().then(changed),
        tenant: Some(who.tenant.clone()),
        slots: ending.slots,
        settlement: ending.settlement,
        expect: ending.expect,
    };
    let finished = store.finish_login(finish).await;
    finished.map_err(|error| match bind_sent {
        true => not_recorded().caused_by(error),
        false => error.into(),
    })
}
