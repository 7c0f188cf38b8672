//! One attempt to log in, as it was asked for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollcall_core::audit::AuditCaller;
use rollcall_core::id::TenantId;
use rollcall_core::secret::Password;
use rollcall_proto::convert::auth::Authenticate;
use rollcall_runtime::caller::Caller;
use tokio::time::Instant;

use super::memory::keyed_hash::{Fingerprint, PrivateHasher};

/// One attempt.
pub struct Attempt {
    /// The tenant, if the caller named it.
    pub tenant: Option<TenantId>,
    /// What the user typed as login.
    pub login: String,
    /// What the user typed as password.
    pub password: Password,
    /// The end user's address.
    pub client: Option<IpAddr>,
    /// Identifies repeats.
    pub request_id: Option<String>,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// When the attempt must have an answer.
    pub deadline: Instant,
    /// True if the deadline is when the caller stops waiting, false if it is the longest that any login may take.
    pub deadline_is_caller_s: bool,
}

/// Where an attempt comes from: all that the audit log has if the attempt names no known tenant.
#[derive(Clone)]
pub struct AttemptOrigin {
    /// The calling service.
    pub caller: AuditCaller,
    /// The end user's address.
    pub client: Option<IpAddr>,
}

/// How far an attempt came, for the code that has to answer while the attempt still goes on.
#[derive(Clone, Default)]
pub struct Progress(Arc<AtomicBool>);

impl Attempt {
    /// The attempt of a request.
    ///
    /// It ends at `longest`, or when the caller stops waiting if that is earlier.
    pub fn new(
        request: Authenticate,
        caller: Arc<Caller>,
        longest: Instant,
        caller_deadline: Option<Instant>,
    ) -> Self {
        let hurry = caller_deadline.filter(|deadline| *deadline < longest);
        Self {
            tenant: request.tenant,
            login: request.login,
            password: request.password,
            client: request.client_address,
            request_id: request.request_id,
            caller,
            deadline: hurry.unwrap_or(longest),
            deadline_is_caller_s: hurry.is_some(),
        }
    }

    /// True if the caller allowed the directory no more time than until `deadline`, which has passed: then a failure
    /// may be due to the caller.
    pub fn is_too_hurried(&self, deadline: Instant) -> bool {
        self.deadline_is_caller_s && deadline <= Instant::now()
    }

    /// Where the attempt comes from.
    pub fn origin(&self) -> AttemptOrigin {
        AttemptOrigin {
            caller: self.caller.audited(),
            client: self.client,
        }
    }

    /// Recognises a repeat of this attempt.
    pub fn fingerprint(&self, hasher: &PrivateHasher) -> Fingerprint {
        let tenant = self.tenant.as_ref().map(TenantId::as_str).unwrap_or_default();
        let client = self.client.map(|client| client.to_string()).unwrap_or_default();
        let password = self.password.expose();
        hasher.request(&[tenant, &self.login, password, &client].map(str::as_bytes))
    }
}

impl Progress {
    /// A bind may be sent from here on.
    pub fn bind_begins(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// No bind was sent after all.
    pub fn nothing_was_sent(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// True if a bind may have been sent.
    pub fn bind_may_be_sent(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
