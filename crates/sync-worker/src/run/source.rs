//! Where the entries of a user sync come from, ready to be asked.

use std::time::Duration;

use rollcall_core::directory::Directory;
use rollcall_core::error::Error;
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::reader::EntryReader;
use rollcall_core::user_sync::{UserSync, UserSyncSettings};
use rollcall_ldap::{LdapDirectory, LdapError};
use rollcall_proto::resource_name;
use rollcall_service::failure;
use rollcall_service::reading::reader;
use rollcall_service::roles::RunSource;
use tokio::time::Instant;

use super::executor::Executor;
use crate::directories::open_for_use;
use crate::id_kind::id_kind;

/// A directory and how one user sync reads it.
pub(super) struct Source {
    pub(super) ldap: LdapDirectory,
    pub(super) reader: EntryReader,
    /// The trees that the server has.
    pub(super) contexts: Vec<String>,
    /// The directory as it is stored.
    pub(super) directory: Directory,
    /// The longest time for one operation.
    pub(super) timeout: Duration,
    /// Entries that its searches may bring.
    pub(super) max_entries: u32,
    name: String,
}

impl Source {
    /// The same, for the role rules of a run.
    pub(super) fn of_run(&self) -> RunSource<'_> {
        RunSource {
            directory: &self.ldap,
            reader: &self.reader,
            contexts: &self.contexts,
            timeout: self.timeout,
            max_entries: self.max_entries,
        }
    }

    /// What a failed operation means for the caller.
    pub(super) fn error(&self, error: &LdapError) -> Error {
        failure::for_admin(error, &self.name)
    }
}

/// Opens a directory for a user sync and asks what kind of server it is.
///
/// # Errors
/// What the directory and the store say.
pub(super) async fn source(
    x: &Executor,
    tenant: &TenantId,
    directory: &DirectoryId,
    settings: &UserSyncSettings,
) -> Result<Source, Error> {
    let (directory, opened) = open_for_use(&x.store, &x.directories, tenant, directory).await?;
    let ldap = opened.ldap.clone();
    let name = resource_name::directory(tenant, &directory.id);
    let timeout = directory.settings.operation_timeout;
    let root = ldap
        .root_dse(Instant::now() + timeout)
        .await
        .map_err(|error| failure::for_admin(&error, &name))?;
    let policy = &x.limits.login_policy;
    Ok(Source {
        reader: reader(root.dialect, &directory.settings, settings, policy),
        contexts: root.data_contexts(),
        ldap,
        directory,
        timeout,
        max_entries: x.limits.max_entries,
        name,
    })
}

/// The same for a run of this sync, all of whose people have ids of one kind.
///
/// # Errors
/// What the directory and the store say.
pub(super) async fn source_of(x: &Executor, sync: &UserSync) -> Result<Source, Error> {
    let settings = &sync.settings;
    let source = source(x, &sync.tenant, &settings.directory, settings).await?;
    let kind = id_kind(
        &x.store,
        &source.ldap,
        &source.directory,
        source.reader.dialect(),
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
