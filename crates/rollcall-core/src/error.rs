//! The one error that leaves a service: what went wrong, who has to act, and a hint.
//!
//! `Reason` is closed and part of the contract (`error_reason.proto`); each has exactly one [`ErrorKind`]. Messages are
//! written for the caller: no secret, DN, SQL or address is put into one. The cause travels as `source` and goes to the
//! log only.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::violation::Violations;

/// Who has to do what next. Maps one to one to a gRPC code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The request is malformed; the caller must change it.
    InvalidArgument,
    /// The calling service did not prove who it is.
    Unauthenticated,
    /// The calling service may not do this, or not for this tenant.
    PermissionDenied,
    /// The resource does not exist.
    NotFound,
    /// The resource, or an identifier that it claims, exists already.
    AlreadyExists,
    /// The system is not in the state that the call needs.
    FailedPrecondition,
    /// Lost a race or has an unknown outcome; retry at a higher level.
    Aborted,
    /// A limit was reached; later it may work.
    ResourceExhausted,
    /// Something needed is down; the same call may be repeated safely.
    Unavailable,
    /// The deadline passed.
    DeadlineExceeded,
    /// The caller went away.
    Cancelled,
    /// This server does not serve the method.
    Unimplemented,
    /// A bug or broken data.
    Internal,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $wire:literal => $kind:ident,)*) => {
        /// Why a call failed, as `google.rpc.ErrorInfo.reason`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, for tables and tests.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The reason as it stands in `ErrorInfo.reason`.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $wire,)* }
            }

            /// The kind of error that this reason always has.
            pub fn kind(self) -> ErrorKind {
                match self { $(Reason::$name => ErrorKind::$kind,)* }
            }
        }
    };
}

reasons! {
    /// A field is missing, oversized, unknown or contradicts another; see the field violations.
    InvalidField = "INVALID_FIELD" => InvalidArgument,
    /// The login's tenant cannot be told from the request.
    TenantRequired = "TENANT_REQUIRED" => InvalidArgument,
    /// The page token was not issued for this request.
    InvalidPageToken = "INVALID_PAGE_TOKEN" => InvalidArgument,
    /// The cursor was not given out for this feed.
    InvalidCursor = "INVALID_CURSOR" => InvalidArgument,
    /// An endpoint change must bring the bind password with it.
    BindPasswordRequired = "BIND_PASSWORD_REQUIRED" => InvalidArgument,
    /// The request id was used before, with a different request.
    RequestIdReused = "REQUEST_ID_REUSED" => InvalidArgument,
    /// Writes of this caller must say for whom they are made.
    ActorRequired = "ACTOR_REQUIRED" => InvalidArgument,
    /// The request is larger than the method takes.
    RequestTooLarge = "REQUEST_TOO_LARGE" => InvalidArgument,
    /// The calling service sent no or a wrong credential.
    CallerUnauthenticated = "CALLER_UNAUTHENTICATED" => Unauthenticated,
    /// The calling service lacks the permission for this method.
    PermissionMissing = "PERMISSION_MISSING" => PermissionDenied,
    /// The calling service may not touch this tenant, which may not even exist.
    TenantAccessDenied = "TENANT_ACCESS_DENIED" => PermissionDenied,
    /// No such tenant.
    TenantNotFound = "TENANT_NOT_FOUND" => NotFound,
    /// No such directory in this tenant.
    DirectoryNotFound = "DIRECTORY_NOT_FOUND" => NotFound,
    /// No such user sync in this tenant.
    UserSyncNotFound = "USER_SYNC_NOT_FOUND" => NotFound,
    /// No such run of this user sync.
    SyncRunNotFound = "SYNC_RUN_NOT_FOUND" => NotFound,
    /// No such user in this tenant.
    UserNotFound = "USER_NOT_FOUND" => NotFound,
    /// Health was asked about a service that this server does not have.
    ServiceNotFound = "SERVICE_NOT_FOUND" => NotFound,
    /// A resource with this id exists.
    AlreadyExists = "ALREADY_EXISTS" => AlreadyExists,
    /// The login or e-mail belongs to another user.
    IdentifierTaken = "IDENTIFIER_TAKEN" => AlreadyExists,
    /// The domain is verified for another tenant.
    DomainTaken = "DOMAIN_TAKEN" => AlreadyExists,
    /// The resource changed since the caller read it.
    EtagMismatch = "ETAG_MISMATCH" => Aborted,
    /// Another change of the same thing was faster.
    ConcurrentChange = "CONCURRENT_CHANGE" => Aborted,
    /// A run of this user sync is under way.
    SyncInProgress = "SYNC_IN_PROGRESS" => Aborted,
    /// The bind was sent and its outcome is unknown; it must not be repeated blindly.
    BindOutcomeUnknown = "BIND_OUTCOME_UNKNOWN" => Aborted,
    /// The login was decided but could not be recorded, so it does not count.
    LoginNotRecorded = "LOGIN_NOT_RECORDED" => Aborted,
    /// The password is right, but the user's role or state changed and the sync worker could not be reached to renew it.
    WorkerUnavailable = "WORKER_UNAVAILABLE" => Aborted,
    /// The add-on, the directory or the user sync is switched off.
    SyncDisabled = "SYNC_DISABLED" => FailedPrecondition,
    /// The directory answers, but not as configured; the tenant's admin must act.
    DirectoryMisconfigured = "DIRECTORY_MISCONFIGURED" => FailedPrecondition,
    /// The directory's endpoint changed and was not confirmed yet.
    EndpointUnconfirmed = "ENDPOINT_UNCONFIRMED" => FailedPrecondition,
    /// The directory did not accept the new bind password; the old one stays.
    BindPasswordRejected = "BIND_PASSWORD_REJECTED" => FailedPrecondition,
    /// User syncs still use this directory.
    DirectoryInUse = "DIRECTORY_IN_USE" => FailedPrecondition,
    /// The tenant still has directories, user syncs or users.
    TenantInUse = "TENANT_IN_USE" => FailedPrecondition,
    /// The run is not waiting to be applied or cancelled.
    RunNotInState = "RUN_NOT_IN_STATE" => FailedPrecondition,
    /// At least one of the due syncs failed or is held.
    SyncsNeedAttention = "SYNCS_NEED_ATTENTION" => FailedPrecondition,
    /// Only a LOCAL user can be changed this way.
    UserNotLocal = "USER_NOT_LOCAL" => FailedPrecondition,
    /// The account owner cannot be changed this way.
    OwnerProtected = "OWNER_PROTECTED" => FailedPrecondition,
    /// The directory still offers the person, who would come back.
    UserStillOffered = "USER_STILL_OFFERED" => FailedPrecondition,
    /// The cursor is older than the kept events; list the users and start anew.
    CursorExpired = "CURSOR_EXPIRED" => FailedPrecondition,
    /// The directory could not be reached; nothing of the bind was sent.
    DirectoryUnavailable = "DIRECTORY_UNAVAILABLE" => Unavailable,
    /// Rollcall's own store could not be reached.
    StoreUnavailable = "STORE_UNAVAILABLE" => Unavailable,
    /// This replica is shutting down.
    ShuttingDown = "SHUTTING_DOWN" => Unavailable,
    /// A stream ends with its connection, which is as old as it may become.
    ConnectionTooOld = "CONNECTION_TOO_OLD" => Unavailable,
    /// A stream's reader takes nothing.
    ReaderTooSlow = "READER_TOO_SLOW" => Unavailable,
    /// The directory did not answer the worker in time.
    DirectoryTimeout = "DIRECTORY_TIMEOUT" => Unavailable,
    /// The caller's deadline passed.
    DeadlineExceeded = "DEADLINE_EXCEEDED" => DeadlineExceeded,
    /// The caller went away.
    Cancelled = "CANCELLED" => Cancelled,
    /// The calling service used up its quota.
    CallerQuotaExhausted = "CALLER_QUOTA_EXHAUSTED" => ResourceExhausted,
    /// The calling service has as many endless streams as it may have.
    TooManyStreams = "TOO_MANY_STREAMS" => ResourceExhausted,
    /// Too many checks for this tenant at a time.
    ChecksRateLimited = "CHECKS_RATE_LIMITED" => ResourceExhausted,
    /// Too little time since the last run of this user sync that somebody asked for.
    RunsRateLimited = "RUNS_RATE_LIMITED" => ResourceExhausted,
    /// The directory has all the work that it may be given at a time.
    DirectoryBusy = "DIRECTORY_BUSY" => ResourceExhausted,
    /// The parent has as many resources of this type as it may have.
    ResourceLimitReached = "RESOURCE_LIMIT_REACHED" => ResourceExhausted,
    /// The metadata of the call is too large.
    MetadataTooLarge = "METADATA_TOO_LARGE" => ResourceExhausted,
    /// This server has no such method, or cannot read the request's compression.
    Unimplemented = "UNIMPLEMENTED" => Unimplemented,
    /// A bug, or broken data in the store.
    Internal = "INTERNAL" => Internal,
}

/// An error on its way to the caller.
pub struct Error {
    /// Why, as part of the contract.
    pub reason: Reason,
    /// One sentence for a person, with what to do about it.
    pub message: String,
    /// The varying parts of the message, for programs. Keys are documented with the reason.
    pub metadata: BTreeMap<&'static str, String>,
    /// The bad fields, all of them. Empty unless the kind is `InvalidArgument`.
    pub violations: Violations,
    /// When to try again. Set for `Unavailable` and `ResourceExhausted`.
    pub retry_after: Option<Duration>,
    /// What caused it, for the log only.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with this reason and message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Violations::new(),
            retry_after: None,
            source: None,
        }
    }

    /// A request with these bad fields.
    pub fn invalid(violations: Violations) -> Self {
        let count = violations.iter().count();
        let fields = if count == 1 { "field is" } else { "fields are" };
        let mut error = Self::new(Reason::InvalidField, format!("{count} {fields} not valid"));
        error.violations = violations;
        error
    }

    /// Adds a varying part.
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.insert(key, value.into());
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Keeps the cause for the log.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind that the reason stands for.
    pub fn kind(&self) -> ErrorKind {
        self.reason.kind()
    }
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::invalid(violations)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("reason", &self.reason)
            .field("message", &self.message)
            .field("metadata", &self.metadata)
            .field("violations", &self.violations)
            .field("source", &self.source.as_ref().map(ToString::to_string))
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error and all that caused it, for a log or an operator's terminal.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    match causes(error) {
        causes if causes.is_empty() => error.to_string(),
        causes => format!("{error}: {causes}"),
    }
}

/// All that caused an error, the nearest cause first. Empty if no cause is known.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_every_cause() {
        let inner = Error::new(Reason::Internal, "inner").caused_by(std::io::Error::other("innermost"));
        let error = Error::new(Reason::Internal, "outer").caused_by(inner);
        assert_eq!(chain(&error), "outer: inner: innermost");
        assert_eq!(causes(&error), "inner: innermost");
        assert_eq!(chain(&Error::new(Reason::Internal, "alone")), "alone");
    }

    #[test]
    fn reasons_have_the_form_that_error_info_asks_for() {
        for reason in Reason::ALL {
            let text = reason.as_str();
            assert!(text.len() <= 63 && text.len() >= 3, "{text}");
            assert!(text.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{text}");
            assert!(!text.starts_with('_') && !text.ends_with('_'), "{text}");
        }
    }
}
