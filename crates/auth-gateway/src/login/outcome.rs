//! How a login ends: for the caller, who learns little, and for the audit log, which learns everything.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{LoginOutcome, LoginReason, OwnReason};
use rollcall_core::error::{Error, Reason};
use rollcall_core::soft_lock::Settlement;
use rollcall_core::user::User;
use rollcall_core::verdict::{DirectoryErrorKind, PasswordNotice, PublicReason, Verdict};
use rollcall_ldap::LdapError;
use rollcall_service::failure;

use super::ask::{Absence, Answer, Finding};

/// The answer to a login.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The password is right, and the user may log in.
    Authenticated(Box<Authenticated>),
    /// The login is refused.
    Denied(Denial),
}

/// A login that succeeded.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The user as of now.
    pub user: User,
    /// When the user last logged in before.
    pub last: Option<DateTime<Utc>>,
    /// When the directory confirmed the password.
    pub time: DateTime<Utc>,
    /// What the directory said about the password's future.
    pub notice: Option<PasswordNotice>,
}

/// Why a login is refused, as far as an end user may know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// A reason of the directory, or the one answer that says nothing.
    Reason(PublicReason),
    /// The soft lock refuses.
    TooManyAttempts {
        /// When to try again.
        retry_after: Duration,
    },
    /// The product's own password store decides.
    LocalUser,
}

impl Denial {
    /// The one answer for everything that must not be told apart.
    pub const INVALID_CREDENTIALS: Self = Self::Reason(PublicReason::InvalidCredentials);
}

/// What an answer of the directory means: for the soft lock, for the audit log, and for the caller.
pub struct Reading {
    /// How the reserved slots are settled.
    pub settlement: Settlement,
    /// For the audit log.
    pub audit: (LoginOutcome, LoginReason),
    /// For the caller.
    pub answer: Result<Judgement, Arc<Error>>,
}

impl Reading {
    /// A refusal that does not depend on the password.
    pub fn refused(reason: OwnReason) -> Self {
        Self {
            settlement: Settlement::Failure,
            audit: (LoginOutcome::Denied, reason.into()),
            answer: Ok(Judgement::Refused(Denial::INVALID_CREDENTIALS)),
        }
    }

    /// An end that says nothing about the password.
    pub fn failed(settlement: Settlement, reason: impl Into<LoginReason>, error: Error) -> Self {
        Self {
            settlement,
            audit: (LoginOutcome::Error, reason.into()),
            answer: Err(Arc::new(error)),
        }
    }
}

/// What the directory decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// Let the user in, if nothing changed meanwhile.
    Accepted(Option<PasswordNotice>),
    /// Refuse.
    Refused(Denial),
}

/// Reads an answer. `resource` is the directory's name.
pub fn read(answer: &Answer, resource: &str) -> Reading {
    match &answer.finding {
        Finding::Judged { verdict, .. } => judged(*verdict, resource),
        Finding::Absent(absence) => Reading::refused(match absence {
            Absence::NotFound => OwnReason::EntryNotFound,
            Absence::SharedId => OwnReason::ExternalIdShared,
            Absence::OutOfScope => OwnReason::EntryOutOfScope,
        }),
        // Whatever broke, the directory may have counted the attempt. So the error must not invite the caller to repeat
        // it.
        Finding::Failed(cause) if answer.bind_sent => Reading::failed(
            Settlement::Unknown,
            Reason::BindOutcomeUnknown,
            bind_outcome_unknown().caused_by(cause.clone()),
        ),
        Finding::Failed(cause) => {
            let error = unsent(cause, resource);
            Reading::failed(Settlement::NotSent, error.reason, error)
        }
    }
}

fn judged(verdict: Verdict, resource: &str) -> Reading {
    match verdict {
        Verdict::Authenticated { notice } => Reading {
            settlement: Settlement::Success,
            audit: (LoginOutcome::Authenticated, OwnReason::Authenticated.into()),
            answer: Ok(Judgement::Accepted(notice)),
        },
        Verdict::Denied {
            public,
            internal,
            password_proven,
        } => Reading {
            // A right password that is answered like a wrong one counts like one.
            settlement: match password_proven && public != PublicReason::InvalidCredentials {
                true => Settlement::Success,
                false => Settlement::Failure,
            },
            audit: (LoginOutcome::Denied, internal.into()),
            answer: Ok(Judgement::Refused(Denial::Reason(public))),
        },
        Verdict::DirectoryError(DirectoryErrorKind::Misconfigured) => {
            let message = "the directory refuses simple binds as they are configured; \
                           CheckConnection tells more";
            let error = Error::new(Reason::DirectoryMisconfigured, message).with("resource", resource);
            Reading::failed(Settlement::NotSent, Reason::DirectoryMisconfigured, error)
        }
        // The server said that it did not look at the password, so nothing was counted. But the bind was sent.
        Verdict::DirectoryError(DirectoryErrorKind::Busy) => {
            Reading::failed(Settlement::NotSent, Reason::DirectoryBusy, bind_outcome_unknown())
        }
        Verdict::DirectoryError(DirectoryErrorKind::Unavailable) => Reading::failed(
            Settlement::NotSent,
            OwnReason::DirectoryGaveNoVerdict,
            bind_outcome_unknown(),
        ),
        // The server may have counted a failure all the same.
        Verdict::DirectoryError(DirectoryErrorKind::Unclear) => Reading::failed(
            Settlement::Unknown,
            OwnReason::DirectoryGaveNoVerdict,
            bind_outcome_unknown(),
        ),
    }
}

/// The same error for another attempt that ends like the first.
pub fn again(error: &Arc<Error>) -> Error {
    let mut same = Error::new(error.reason, error.message.clone());
    same.metadata.clone_from(&error.metadata);
    same.retry_after = error.retry_after;
    match error.source {
        Some(_) => same.caused_by(SharedCause(Arc::clone(error))),
        None => same,
    }
}

/// The cause of an error that several attempts end with.
#[derive(Debug)]
struct SharedCause(Arc<Error>);

impl SharedCause {
    fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }
}

impl fmt::Display for SharedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause().map_or(Ok(()), |cause| fmt::Display::fmt(cause, f))
    }
}

impl std::error::Error for SharedCause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause()?.source()
    }
}

/// The bind was sent, and its outcome is unknown.
pub fn bind_outcome_unknown() -> Error {
    Error::new(
        Reason::BindOutcomeUnknown,
        "the password was sent to the directory and its answer is not known; do not repeat it blindly",
    )
}

/// Nothing was sent, and nothing will be: the time ended before. A directory's own deadline is earlier than the
/// login's.
pub fn too_late(deadline_is_caller_s: bool) -> Error {
    if deadline_is_caller_s {
        let message = "the call's deadline passed before the password was sent anywhere";
        return Error::new(Reason::DeadlineExceeded, message);
    }
    // A slow directory would have been reported by now, so the store was slow.
    Error::new(Reason::StoreUnavailable, "the store did not answer in time")
        .retry_after(Duration::from_secs(1))
}

/// The login was decided, but could not be recorded.
pub fn not_recorded() -> Error {
    Error::new(
        Reason::LoginNotRecorded,
        "the login was decided but could not be recorded, so it does not count",
    )
}

/// The password is right, but what decides the login changed more often than it could be judged again.
pub fn changed_too_fast() -> Error {
    Error::new(
        Reason::ConcurrentChange,
        "what decides this login was changed while the password was checked; another attempt binds again",
    )
}

/// What a failure means as long as no part of a bind was sent. The error repeats nothing that the directory said.
pub fn unsent(cause: &LdapError, resource: &str) -> Error {
    failure::for_login(cause, resource)
}

#[cfg(test)]
mod tests {
    use rollcall_core::entry::Entry;
    use rollcall_core::verdict::InternalReason;
    use rollcall_ldap::{DialFailure, ResultCode, TlsFailure};

    use super::*;

    fn reading(finding: Finding, bind_sent: bool) -> Reading {
        let answer = Answer {
            finding,
            bind_sent,
            bind_refused: false,
        };
        read(&answer, "tenants/acme/directories/hq")
    }

    fn verdict(verdict: Verdict) -> Reading {
        let entry = Box::new(Entry::default());
        reading(Finding::Judged { verdict, entry }, true)
    }

    #[test]
    fn an_outage_is_never_a_denial_and_a_retry_is_offered_only_while_nothing_was_sent() {
        use Reason::*;
        let refused = ResultCode(49);
        for (cause, unsent_reason) in [
            (LdapError::Unreachable(DialFailure::Refused), DirectoryUnavailable),
            (LdapError::Unreachable(DialFailure::Timeout), DirectoryUnavailable),
            (LdapError::ConnectionLost, DirectoryUnavailable),
            (LdapError::CircuitOpen, DirectoryUnavailable),
            (LdapError::SearchRefused(ResultCode(52)), DirectoryUnavailable),
            (LdapError::SearchRefused(ResultCode(3)), DirectoryUnavailable),
            (LdapError::BindRefused(refused), DirectoryMisconfigured),
            (LdapError::SearchRefused(ResultCode(50)), DirectoryMisconfigured),
            (LdapError::EgressDenied, DirectoryMisconfigured),
            (LdapError::Tls(TlsFailure::UnknownIssuer), DirectoryMisconfigured),
            (LdapError::Tls(TlsFailure::Timeout), DirectoryUnavailable),
            (LdapError::Timeout, DirectoryUnavailable),
            (LdapError::Busy, DirectoryBusy),
        ] {
            let before = reading(Finding::Failed(cause.clone()), false);
            assert_eq!(before.settlement, Settlement::NotSent, "{cause:?}");
            assert_eq!(
                before.answer.err().map(|error| error.reason),
                Some(unsent_reason),
                "{cause:?}"
            );
            let after = reading(Finding::Failed(cause.clone()), true);
            assert_eq!(after.settlement, Settlement::Unknown, "{cause:?}");
            assert_eq!(
                after.answer.err().map(|error| error.reason),
                Some(BindOutcomeUnknown),
                "{cause:?}"
            );
        }
    }

    #[test]
    fn only_a_proven_password_that_is_told_forgets_failures() {
        let denied = |password_proven| {
            verdict(Verdict::Denied {
                public: PublicReason::AccountDisabled,
                internal: InternalReason::AccountDisabled,
                password_proven,
            })
        };
        assert_eq!(denied(true).settlement, Settlement::Success);
        assert_eq!(denied(false).settlement, Settlement::Failure);
        let locked = verdict(Verdict::Denied {
            public: PublicReason::InvalidCredentials,
            internal: InternalReason::AccountLocked,
            password_proven: true,
        });
        assert_eq!(locked.settlement, Settlement::Failure);
        assert_eq!(
            verdict(Verdict::Authenticated { notice: None }).settlement,
            Settlement::Success
        );
        let gone = reading(Finding::Absent(Absence::NotFound), false);
        assert_eq!(gone.settlement, Settlement::Failure);
        assert_eq!(
            gone.answer.ok(),
            Some(Judgement::Refused(Denial::INVALID_CREDENTIALS))
        );
    }

    #[test]
    fn a_server_that_did_not_look_at_the_password_counts_nothing_and_invites_no_retry() {
        for (kind, reason) in [
            (DirectoryErrorKind::Busy, Reason::BindOutcomeUnknown),
            (DirectoryErrorKind::Unavailable, Reason::BindOutcomeUnknown),
            (DirectoryErrorKind::Misconfigured, Reason::DirectoryMisconfigured),
        ] {
            let reading = verdict(Verdict::DirectoryError(kind));
            assert_eq!(reading.settlement, Settlement::NotSent);
            assert_eq!(reading.answer.err().map(|error| error.reason), Some(reason));
        }
        let unclear = verdict(Verdict::DirectoryError(DirectoryErrorKind::Unclear));
        assert_eq!(unclear.settlement, Settlement::Unknown);
        let reason = unclear.answer.err().map(|error| error.reason);
        assert_eq!(reason, Some(Reason::BindOutcomeUnknown));
    }
}
