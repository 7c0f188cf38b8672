//! The audit log: who did what, and how every login attempt ended.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::id::{DirectoryId, TenantId, UserId, UserSyncId};

/// How a login attempt ended, as the audit log keeps it. Callers see less.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LoginOutcome {
    /// The right password.
    Authenticated,
    /// Any denial.
    Denied,
    /// No verdict: outage, misconfiguration, unknown outcome.
    Error,
}

/// Attempts that were refused one soon after the other, and are one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flood {
    /// How many.
    pub attempts: u64,
    /// When the first one was.
    pub since: DateTime<Utc>,
}

/// What an audit event is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuditKind {
    /// A login attempt.
    Login {
        /// How it ended.
        outcome: LoginOutcome,
        /// The precise reason, e.g. `WRONG_PASSWORD` or `UNKNOWN_LOGIN`.
        reason: Cow<'static, str>,
        /// The user, if the login named one.
        user: Option<UserId>,
        /// The user's sync.
        user_sync: Option<UserSyncId>,
        /// The directory that was asked, if one was.
        directory: Option<DirectoryId>,
        /// Keyed hash and length of a login that names nobody; people type passwords there.
        unknown_login: Option<String>,
        /// Address of the end user, if the caller told it.
        client_address: Option<String>,
        /// Set if the event stands for many attempts; its time is that of the last.
        flood: Option<Flood>,
    },
    /// A change of configuration or of a user by a call.
    Change {
        /// The method, e.g. `DirectoryService.UpdateDirectory`.
        method: Cow<'static, str>,
        /// Name of the resource.
        resource: String,
        /// Fields that changed, without secrets.
        details: BTreeMap<String, String>,
    },
}

/// One audit event. Only ever inserted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEvent {
    /// Position in the log.
    pub position: i64,
    /// When.
    pub time: DateTime<Utc>,
    /// The tenant; `None` if an attempt names no known one.
    pub tenant: Option<TenantId>,
    /// The calling service.
    pub caller: String,
    /// What.
    pub kind: AuditKind,
}
