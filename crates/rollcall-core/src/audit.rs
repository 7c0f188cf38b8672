//! The audit log: who did what, and how every login attempt ended.

mod actor;
mod asked_by;
mod field_change;
mod filter;
mod subject;

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::error::Reason;
use crate::id::{DirectoryId, TenantId, UserId, UserSyncId};
use crate::text_enum::text_enum;
use crate::verdict::InternalReason;
use crate::vocabulary::vocabulary;

pub use actor::Actor;
pub use asked_by::{AskedBy, Decision};
pub use field_change::{AuditedFieldChange, SecretChange, ValueChange};
pub use filter::{About, AuditClass, AuditFilter, AuditOrder};
pub use subject::Subject;

vocabulary! {
    /// How a login attempt ended, as the audit log keeps it. Callers see less.
    pub enum LoginOutcome {
        /// The right password.
        Authenticated = "AUTHENTICATED",
        /// Any denial.
        Denied = "DENIED",
        /// No verdict: outage, misconfiguration, unknown outcome.
        Error = "ERROR",
    }
}

text_enum! {
    /// Why a login ended as it did, where neither the directory nor an error says so.
    pub enum OwnReason {
        /// The right password of somebody who may log in.
        Authenticated = "AUTHENTICATED",
        /// Nobody has this login.
        UnknownLogin = "UNKNOWN_LOGIN",
        /// Another person's entry asks for this login too.
        AmbiguousLogin = "AMBIGUOUS_LOGIN",
        /// The product's own password store decides.
        LocalUser = "LOCAL_USER",
        /// An admin blocks the user.
        Blocked = "BLOCKED",
        /// The user is deactivated.
        Deactivated = "DEACTIVATED",
        /// The user is archived.
        Archived = "ARCHIVED",
        /// The user sync that owned the user is gone.
        UserSyncDeleted = "USER_SYNC_DELETED",
        /// No entry below the bases of the searches has the user's external id: it is gone, it was moved elsewhere, or it may
        /// not be seen.
        EntryNotFound = "ENTRY_NOT_FOUND",
        /// Several entries have the user's external id.
        ExternalIdShared = "EXTERNAL_ID_SHARED",
        /// No search of the user sync finds the entry.
        EntryOutOfScope = "ENTRY_OUT_OF_SCOPE",
        /// The same wrong password as a moment ago, or as another attempt at this moment.
        RepeatedPassword = "REPEATED_PASSWORD",
        /// Another attempt with this request id was carried out already.
        RepeatedRequest = "REPEATED_REQUEST",
        /// The soft lock refused.
        TooManyAttempts = "TOO_MANY_ATTEMPTS",
        /// The password was right, but the user may not log in any more since a moment ago.
        ChangedMeanwhile = "CHANGED_MEANWHILE",
        /// The directory answered the bind, but said nothing about the password.
        DirectoryGaveNoVerdict = "DIRECTORY_GAVE_NO_VERDICT",
        /// Another release wrote a reason that this one does not know.
        Unrecognized = "UNRECOGNIZED",
    }
}

/// The precise reason of a login's end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LoginReason {
    /// Rollcall's own.
    Own(OwnReason),
    /// The directory's.
    Directory(InternalReason),
    /// The call failed.
    Error(Reason),
}

impl LoginReason {
    /// The reason as the audit log spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own(reason) => reason.as_str(),
            Self::Directory(reason) => reason.as_str(),
            Self::Error(reason) => reason.as_str(),
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote, here or in an earlier release.
    pub fn parse(text: &str) -> Self {
        if text == "ENTRY_GONE" {
            return Self::Own(OwnReason::EntryNotFound);
        }
        let own = OwnReason::ALL.iter().copied().map(Self::Own);
        let directory = InternalReason::ALL.iter().copied().map(Self::Directory);
        let errors = Reason::ALL.iter().copied().map(Self::Error);
        own.chain(directory)
            .chain(errors)
            .find(|reason| reason.as_str() == text)
            .unwrap_or(Self::Own(OwnReason::Unrecognized))
    }
}

impl From<OwnReason> for LoginReason {
    fn from(reason: OwnReason) -> Self {
        Self::Own(reason)
    }
}

impl From<InternalReason> for LoginReason {
    fn from(reason: InternalReason) -> Self {
        Self::Directory(reason)
    }
}

impl From<Reason> for LoginReason {
    fn from(reason: Reason) -> Self {
        Self::Error(reason)
    }
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
        /// The precise reason.
        reason: LoginReason,
        /// The user, if the login named one.
        user: Option<UserId>,
        /// The user's sync.
        user_sync: Option<UserSyncId>,
        /// The user's directory, whether it was asked or not.
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
        /// The fields that changed, and what the request asked for beside them.
        changes: Vec<AuditedFieldChange>,
    },
}

/// One audit event. It is written once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEvent {
    /// Its number in the store, which it keeps when it is sealed. After a restore another event may get the same.
    pub id: i64,
    /// When.
    pub time: DateTime<Utc>,
    /// The tenant; `None` if an attempt names no known one.
    pub tenant: Option<TenantId>,
    /// The calling service.
    pub caller: AuditCaller,
    /// For whom the calling service says that it acts.
    pub actor: Actor,
    /// What.
    pub kind: AuditKind,
    /// Whether the personal data in it was erased: the actor, the client address, the unknown login, and the values.
    pub erased: bool,
}

/// A calling service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditCaller {
    /// Its name.
    pub name: String,
    /// Which of its tokens or certificates it showed; empty if it showed none.
    pub credential: String,
}

impl From<&str> for AuditCaller {
    /// A caller that showed nothing.
    fn from(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            credential: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_reason_has_a_word_of_its_own_and_is_read_back() {
        let own = OwnReason::ALL.iter().copied().map(LoginReason::from);
        let directory = InternalReason::ALL.iter().copied().map(LoginReason::from);
        let errors = Reason::ALL.iter().copied().map(LoginReason::from);
        let mut words = HashSet::new();
        for reason in own.chain(directory).chain(errors) {
            assert!(
                words.insert(reason.as_str()),
                "{reason:?} is spelled like another"
            );
            assert_eq!(LoginReason::parse(reason.as_str()), reason);
        }
        assert_eq!(LoginReason::parse("OF_TOMORROW"), OwnReason::Unrecognized.into());
        assert_eq!(LoginReason::parse("ENTRY_GONE"), OwnReason::EntryNotFound.into());
    }
}
