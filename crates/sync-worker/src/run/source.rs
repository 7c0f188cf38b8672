//! Where the entries of a user sync come from: an open directory, and how the sync reads it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::directory::Directory;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{DirectoryId, UserSyncKey};
use rollcall_core::reader::EntryReader;
use rollcall_core::user_sync::UserSyncSettings;
use rollcall_ldap::{LdapDirectory, LdapError};
use rollcall_proto::resource_name;
use rollcall_service::directories::OpenDirectory;
use rollcall_service::failure;
use rollcall_service::in_use::{open_for_use, open_known};
use rollcall_service::reading::reader;
use rollcall_service::roles::RunSource;
use rollcall_store::{PullBegun, Sighting};
use tokio::time::Instant;

use super::executor::Executor;
use crate::hidden_state;
use crate::id_kind::id_kind;

/// A directory and how one user sync reads it.
pub(crate) struct Source {
    pub(crate) ldap: LdapDirectory,
    pub(crate) reader: EntryReader,
    trees: Trees,
    /// The directory as it is stored.
    pub(crate) directory: Directory,
    /// The longest time for one operation.
    pub(crate) timeout: Duration,
    /// Entries that its searches may bring.
    pub(super) max_entries: u32,
    name: String,
}

/// The trees that a server has.
enum Trees {
    Known(Arc<[String]>),
    /// Asked for only when needed: most runs do not need them.
    Asked(Arc<OpenDirectory>),
}

impl Source {
    /// What a check has opened and found out.
    pub(crate) fn of_check(
        ldap: LdapDirectory,
        reader: EntryReader,
        naming_contexts: &[String],
        directory: Directory,
        max_entries: u32,
    ) -> Self {
        Self {
            ldap,
            reader,
            trees: Trees::Known(naming_contexts.into()),
            timeout: directory.settings.operation_timeout,
            max_entries,
            name: resource_name::directory(&directory.tenant, &directory.id),
            directory,
        }
    }

    /// The trees that the server has.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn naming_contexts(&self) -> Result<Arc<[String]>, LdapError> {
        match &self.trees {
            Trees::Known(trees) => Ok(Arc::clone(trees)),
            Trees::Asked(opened) => opened.naming_contexts(Instant::now() + self.timeout).await,
        }
    }

    /// The same, for the role rules of a run.
    pub(super) fn of_run<'a>(&'a self, naming_contexts: &'a [String]) -> RunSource<'a> {
        RunSource {
            directory: &self.ldap,
            reader: &self.reader,
            naming_contexts,
            timeout: self.timeout,
            max_entries: self.max_entries,
        }
    }

    /// What a failed operation means for the caller.
    pub(crate) fn error(&self, error: &LdapError) -> Error {
        failure::for_admin(error, &self.name)
    }
}

/// Opens a directory for a user sync.
///
/// # Errors
/// What the directory and the store say.
pub(super) async fn source(
    x: &Executor,
    key: &UserSyncKey,
    directory: &DirectoryId,
    settings: &UserSyncSettings,
) -> Result<Source, Error> {
    let (directory, opened) = open_for_use(&x.store, &x.directories, &key.tenant, directory).await?;
    source_in(x, key, directory, opened, settings).await
}

async fn source_in(
    x: &Executor,
    key: &UserSyncKey,
    directory: Directory,
    opened: Arc<OpenDirectory>,
    settings: &UserSyncSettings,
) -> Result<Source, Error> {
    let name = resource_name::directory(&key.tenant, &directory.id);
    let timeout = directory.settings.operation_timeout;
    let dialect = opened
        .dialect(Instant::now() + timeout)
        .await
        .map_err(|error| failure::for_admin(&error, &name))?;
    let policy = &x.limits.login_policy;
    let exclusions = x.store.exclusions(&key.tenant, &directory.id).await?;
    let reader = reader(dialect, &directory, Some(&key.user_sync), settings, policy);
    let reader = reader.with_exclusions(exclusions);
    Ok(Source {
        reader,
        ldap: opened.ldap.clone(),
        trees: Trees::Asked(opened),
        directory,
        timeout,
        max_entries: x.limits.max_entries,
        name,
    })
}

/// The same for a run that has begun, all of whose people have ids of one kind. It is found out anew which attributes
/// of the account's state may not be read.
///
/// # Errors
/// What the directory and the store say.
pub(super) async fn source_of(x: &Executor, begun: &PullBegun) -> Result<Source, Error> {
    let sync = &begun.user_sync;
    let settings = &sync.settings;
    let key = sync.key();
    let found = reached(x, &key, begun).await;
    if let Err(error) = &found
        && matches!(
            error.reason,
            Reason::DirectoryUnavailable | Reason::DirectoryTimeout
        )
    {
        x.store
            .save_unreachable(&key.tenant, &settings.directory, x.clock.now())
            .await?;
    }
    let (mut source, expiry) = found?;
    let dialect = source.reader.dialect();
    let deadline = Instant::now() + source.timeout;
    keep_sighting(x, &source, expiry).await?;
    if let Some(hidden) = hidden_state::probe(&source.ldap, dialect, &settings.searches, deadline).await {
        if hidden_state::keep(&x.store, &source.directory, &sync.id, &hidden, x.clock.now()).await? {
            tracing::warn!(user_sync = %key, ?hidden, "what may be read of accounts' state has changed");
        }
        source.reader = source.reader.with_hidden(&hidden);
    }
    let kind = id_kind(
        &x.store,
        &source.ldap,
        &source.directory,
        dialect,
        Some(&sync.id),
        &settings.searches,
    )
    .await?;
    Ok(match kind {
        Some(kind) => Source {
            reader: source.reader.with_id_kind(kind),
            ..source
        },
        None => source,
    })
}

/// The outer `None`: it was not read. The inner `None`: the bind account's password never expires.
type Expiry = Option<Option<DateTime<Utc>>>;

/// Makes sure that a run's directory answers. If a check has told the kind of server, nothing has been asked yet. One
/// question is enough; if possible, it is one whose answer is needed.
async fn reached(x: &Executor, key: &UserSyncKey, begun: &PullBegun) -> Result<(Source, Expiry), Error> {
    let directory = begun.directory.clone();
    let opened = open_known(&x.directories, begun.user_sync_enabled, &directory).await?;
    let settings = &begun.user_sync.settings;
    let source = source_in(x, key, directory, Arc::clone(&opened), settings).await?;
    let deadline = Instant::now() + source.timeout;
    if opened.wants_expiry() {
        let dialect = source.reader.dialect();
        match source.ldap.bind_password_expire_time(dialect, deadline).await {
            Ok(expiry) => {
                opened.note_expiry();
                return Ok((source, Some(expiry)));
            }
            // The server may answer other questions all the same, and what was known may still hold.
            Err(LdapError::Timeout | LdapError::Protocol(_)) => {}
            Err(error) if error.is_host_failure() => return Err(source.error(&error)),
            Err(_) => {}
        }
    }
    let answer = source.ldap.root_dse(Instant::now() + source.timeout).await;
    answer.map_err(|error| source.error(&error))?;
    Ok((source, None))
}

/// Keeps what reminders and the review say about the server, if that has changed.
async fn keep_sighting(x: &Executor, source: &Source, expiry: Expiry) -> Result<(), Error> {
    let known = &source.directory.observed;
    let hosts = source.ldap.host_status();
    let seen = Sighting {
        bind_password_expire_time: expiry.unwrap_or(known.bind_password_expire_time),
        certificate_end: hosts.iter().filter_map(|host| host.certificate_end).min(),
    };
    let same = Sighting {
        bind_password_expire_time: known.bind_password_expire_time,
        certificate_end: known.certificate_end,
    };
    if seen != same || known.unreachable_since.is_some() {
        let (tenant, id) = (&source.directory.tenant, &source.directory.id);
        x.store.save_sighting(tenant, id, &seen).await?;
    }
    Ok(())
}
