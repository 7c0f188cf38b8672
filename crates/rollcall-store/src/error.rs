//! Why the store could not do something. The list is closed; no SQL and no driver text is in any message.

use std::time::Duration;

use rollcall_core::error::{Error, Reason};
use sea_orm::{DbErr, RuntimeErr, SqlErr, SqlxError};

/// What every method of the store returns.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What was not found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A tenant.
    Tenant,
    /// A directory of the tenant.
    Directory,
    /// A user sync of the tenant.
    UserSync,
    /// A run of the user sync.
    Run,
    /// A user of the tenant.
    User,
}

/// Why a key of the keyring does not fit the database.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyMismatch {
    /// Secrets are sealed with a key that is not there.
    #[error(
        "the key {key_id} is missing, which seals {secrets} stored secrets: put it back; it may go once \
        `sync-worker rotate-keys` says so"
    )]
    Missing {
        /// Id of the key.
        key_id: String,
        /// How many secrets.
        secrets: u64,
    },
    /// Another key had this id when the database was used last.
    #[error(
        "the key {key_id} is not the one that this database knows by that id: put that one back, and give a \
        new key an id of its own"
    )]
    Wrong {
        /// Id of the key.
        key_id: String,
    },
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such resource, or not in this tenant.
    #[error("there is no such {}", .0.name())]
    NotFound(Kind),
    /// A resource with this id exists.
    #[error("a resource with this id exists already")]
    AlreadyExists,
    /// The login or the e-mail address belongs to another user, or to another tenant's verified domain.
    #[error("the {} is not available", if *.email { "e-mail address" } else { "login" })]
    IdentifierTaken {
        /// True if it is the e-mail address.
        email: bool,
    },
    /// The request id was used before, with another content.
    #[error("the request id was used before, for another request")]
    RequestIdReused {
        /// The request id.
        request_id: String,
    },
    /// The domain is verified for another tenant.
    #[error("a domain is verified for another tenant already")]
    DomainTaken,
    /// The resource changed since the caller read it.
    #[error("the resource changed since it was read")]
    RevisionMismatch,
    /// The tenant still has directories, user syncs or users that are not archived.
    #[error("the tenant still has directories, user syncs or users")]
    TenantInUse,
    /// User syncs still use the directory.
    #[error("user syncs still use the directory")]
    DirectoryInUse,
    /// The run is not in a state in which this can be done.
    #[error("the run is not in a state that allows this")]
    NotInState,
    /// A person wants the run to stop. Nothing was written.
    #[error("the run is to be cancelled")]
    CancelRequested,
    /// Only a LOCAL user can be changed this way.
    #[error("only a local user can be changed this way")]
    NotLocal,
    /// The account owner cannot be changed this way.
    #[error("the account owner cannot be changed this way")]
    OwnerProtected,
    /// Another holder has the lease, or its holder gave it up. Nothing was written.
    #[error("the lease is lost")]
    LeaseLost,
    /// Events after the cursor were deleted already.
    #[error("events after the cursor are not kept any more")]
    CursorExpired,
    /// The page cursor was not made by this list.
    #[error("the page cursor is not one of this list")]
    InvalidCursor,
    /// The database was migrated by a newer release.
    #[error("the database has the schema of a newer release: start that one")]
    SchemaUnknown,
    /// The database was not migrated to this release.
    #[error("the database needs a migration: run `sync-worker migrate` first")]
    SchemaOutdated,
    /// A stored secret was sealed with a key that the keyring lacks.
    #[error("the keyring lacks the key {key_id} of a stored secret")]
    KeyMissing {
        /// Id of the key.
        key_id: String,
    },
    /// The keyring is not the one that this database was used with.
    #[error("the keyring does not fit the database: {}", list(.0))]
    KeyringDoesNotFit(Vec<KeyMismatch>),
    /// Too many concurrent writers, repeatedly; the same call may be repeated.
    #[error("the database is too busy")]
    Contended,
    /// Another transaction holds what this one needs, for longer than it may take. Nothing was written; the same call may
    /// be repeated.
    #[error("another transaction holds what this one needs")]
    Locked,
    /// The database could not be reached; the same call may be repeated.
    #[error("the database cannot be reached")]
    Unavailable(#[source] Source),
    /// What is stored contradicts what the store ever writes, or an operation that must work failed.
    #[error("the store is damaged: {what}")]
    Corrupt {
        /// What is wrong.
        what: &'static str,
        /// The cause, for the log.
        #[source]
        source: Option<Source>,
    },
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Tenant => "tenant",
            Kind::Directory => "directory",
            Kind::UserSync => "user sync",
            Kind::Run => "sync run",
            Kind::User => "user",
        }
    }

    fn reason(self) -> Reason {
        match self {
            Kind::Tenant => Reason::TenantNotFound,
            Kind::Directory => Reason::DirectoryNotFound,
            Kind::UserSync => Reason::UserSyncNotFound,
            Kind::Run => Reason::SyncRunNotFound,
            Kind::User => Reason::UserNotFound,
        }
    }
}

fn list(mismatches: &[KeyMismatch]) -> String {
    let texts: Vec<String> = mismatches.iter().map(KeyMismatch::to_string).collect();
    texts.join("; ")
}

impl StoreError {
    pub(crate) fn corrupt(what: &'static str) -> Self {
        Self::Corrupt { what, source: None }
    }

    pub(crate) fn corrupt_by(what: &'static str, source: impl Into<Source>) -> Self {
        Self::Corrupt {
            what,
            source: Some(source.into()),
        }
    }

    /// True if a unique key was claimed by somebody else between look and write, or the database broke a
    /// deadlock: the transaction may simply be repeated.
    pub(crate) fn is_lost_race(&self) -> bool {
        matches!(self, StoreError::AlreadyExists | StoreError::Contended)
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "a pooler in transaction mode stands before PostgreSQL and gives a connection's statements to others: use one in session \
     mode, or none"
)]
struct PooledStatements;

/// The one place that knows what a driver's errors mean.
impl From<DbErr> for StoreError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of sea-orm: the others have no cause in a driver"
    )]
    fn from(error: DbErr) -> Self {
        if let Some(SqlErr::UniqueConstraintViolation(_)) = error.sql_err() {
            return Self::AlreadyExists;
        }
        let sqlx = match &error {
            DbErr::Conn(RuntimeErr::SqlxError(cause))
            | DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => Some(cause.clone()),
            _ => None,
        };
        let unavailable = match sqlx.as_deref() {
            Some(SqlxError::Database(cause)) => match cause.code().as_deref() {
                // PostgreSQL: serialization failure, deadlock.
                Some("40001" | "40P01") => return Self::Contended,
                // SQLite.
                Some(code) if code.parse().is_ok_and(is_contended_on_sqlite) => return Self::Contended,
                // PostgreSQL: lock_timeout.
                Some("55P03") => return Self::Locked,
                // PostgreSQL: a prepared statement exists already, or does not. It belongs to another client of a pool
                // in between.
                Some("42P05" | "26000") => return Self::Unavailable(PooledStatements.into()),
                // PostgreSQL: the transaction was ended because it paused too long; the server takes no writes, as a standby.
                Some("25P03" | "25006") => true,
                // PostgreSQL: connection exception, insufficient resources, operator intervention, system
                // error.
                Some(code) if code.len() == 5 => ["08", "53", "57", "58", "3D", "28"]
                    .iter()
                    .any(|class| code.starts_with(class)),
                Some(code) => code.parse().is_ok_and(is_unavailable_on_sqlite),
                None => false,
            },
            Some(
                SqlxError::Io(_)
                | SqlxError::Tls(_)
                | SqlxError::PoolTimedOut
                | SqlxError::PoolClosed
                | SqlxError::WorkerCrashed
                | SqlxError::Protocol(_)
                | SqlxError::BeginFailed,
            ) => true,
            Some(_) => false,
            None => matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_)),
        };
        if unavailable {
            Self::Unavailable(error.into())
        } else {
            Self::corrupt_by("a statement failed", error)
        }
    }
}

/// SQLITE_BUSY and its extended codes.
fn is_contended_on_sqlite(code: i32) -> bool {
    [5, 261, 517, 773].contains(&code)
}

/// IOERR, CANTOPEN, FULL, READONLY and their extended codes.
fn is_unavailable_on_sqlite(code: i32) -> bool {
    [8, 10, 13, 14].contains(&(code & 0xff))
}

/// A failure of SQLite without SQLite's text, which may quote the statement.
#[derive(Debug, thiserror::Error)]
#[error("SQLite's error {0}")]
struct SqliteFailure(i32);

/// Errors of a connection that is used in the calling thread.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error().map(|error| error.extended_code) else {
            return Self::corrupt_by("a row cannot be read", error);
        };
        match code {
            // UNIQUE and PRIMARY KEY.
            2067 | 1555 => Self::AlreadyExists,
            code if is_contended_on_sqlite(code) => Self::Contended,
            code if is_unavailable_on_sqlite(code) => Self::Unavailable(SqliteFailure(code).into()),
            code => Self::corrupt_by("a statement failed", SqliteFailure(code)),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let reason = match &error {
            StoreError::NotFound(kind) => kind.reason(),
            StoreError::AlreadyExists => Reason::AlreadyExists,
            StoreError::DomainTaken => Reason::DomainTaken,
            StoreError::RequestIdReused { .. } => Reason::RequestIdReused,
            StoreError::IdentifierTaken { .. } => Reason::IdentifierTaken,
            StoreError::RevisionMismatch => Reason::EtagMismatch,
            StoreError::TenantInUse => Reason::TenantInUse,
            StoreError::DirectoryInUse => Reason::DirectoryInUse,
            StoreError::NotInState | StoreError::CancelRequested => Reason::RunNotInState,
            StoreError::NotLocal => Reason::UserNotLocal,
            StoreError::OwnerProtected => Reason::OwnerProtected,
            StoreError::LeaseLost => Reason::ConcurrentChange,
            StoreError::CursorExpired => Reason::CursorExpired,
            StoreError::InvalidCursor => Reason::InvalidPageToken,
            StoreError::SchemaUnknown
            | StoreError::SchemaOutdated
            | StoreError::Contended
            | StoreError::Locked
            | StoreError::Unavailable(_) => Reason::StoreUnavailable,
            StoreError::KeyMissing { .. } | StoreError::KeyringDoesNotFit(_) | StoreError::Corrupt { .. } => {
                Reason::Internal
            }
        };
        let message = if matches!(error, StoreError::CursorExpired) {
            "events after the cursor are not kept any more; list the users and start anew".to_owned()
        } else if reason == Reason::Internal {
            "something is wrong inside Rollcall; its log tells more".to_owned()
        } else if reason == Reason::StoreUnavailable {
            "the store cannot be reached".to_owned()
        } else {
            error.to_string()
        };
        let request_id = if let StoreError::RequestIdReused { request_id } = &error {
            Some(request_id.clone())
        } else {
            None
        };
        let unavailable = reason == Reason::StoreUnavailable;
        let answer = Error::new(reason, message).caused_by(error);
        match request_id {
            Some(request_id) => answer.with("request_id", request_id),
            None if unavailable => answer.retry_after(Duration::from_secs(1)),
            None => answer,
        }
    }
}
