//! The directory that a run, a refresh or an erasure may use.

use std::sync::Arc;

use rollcall_core::directory::Directory;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_proto::resource_name;
use rollcall_store::Store;

use crate::directories::{Directories, OpenDirectory};

/// The directory and its connections. Nothing is sent yet.
///
/// # Errors
/// `TENANT_NOT_FOUND`, `DIRECTORY_NOT_FOUND`; `SYNC_DISABLED` while the tenant's add-on or the directory is
/// switched off; `ENDPOINT_UNCONFIRMED`; `DIRECTORY_MISCONFIGURED` if settings or secrets cannot be used;
/// what the store says.
pub async fn open_for_use(
    store: &Store,
    directories: &Directories,
    tenant: &TenantId,
    directory: &DirectoryId,
) -> Result<(Directory, Arc<OpenDirectory>), Error> {
    let user_sync_enabled = store.tenant(tenant).await?.settings.user_sync_enabled;
    // The add-on is checked before the rest, so a tenant that is switched off gets that error, whatever it asks for.
    expect_enabled(tenant, user_sync_enabled)?;
    let directory = store.directory(tenant, directory).await?;
    let opened = open_known(directories, user_sync_enabled, &directory).await?;
    Ok((directory, opened))
}

/// The connections of a directory that was read, with whether its tenant has the add-on. Nothing is sent yet.
///
/// # Errors
/// As [`open_for_use`].
pub async fn open_known(
    directories: &Directories,
    user_sync_enabled: bool,
    directory: &Directory,
) -> Result<Arc<OpenDirectory>, Error> {
    expect_enabled(&directory.tenant, user_sync_enabled)?;
    let name = resource_name::directory(&directory.tenant, &directory.id);
    if directory.settings.disabled {
        return Err(refusal(
            Reason::SyncDisabled,
            "the directory is switched off",
            &name,
        ));
    }
    if !directory.endpoint_confirmed {
        let message = "the endpoint of the directory was changed and is not yet proven to be the same directory: \
                       run CheckConnection, or confirm it as a new directory";
        return Err(refusal(Reason::EndpointUnconfirmed, message, &name));
    }
    directories.open(directory).await
}

fn expect_enabled(tenant: &TenantId, user_sync_enabled: bool) -> Result<(), Error> {
    match user_sync_enabled {
        true => Ok(()),
        false => {
            let message = "user sync is switched off for this tenant";
            let name = resource_name::tenant(tenant);
            Err(refusal(Reason::SyncDisabled, message, &name))
        }
    }
}

fn refusal(reason: Reason, message: &str, resource: &str) -> Error {
    Error::new(reason, message).with("resource", resource)
}
