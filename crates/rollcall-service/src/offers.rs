//! Does a directory still offer a person to a user sync? If it does, the next run after an erasure makes a new user of the person.

use rollcall_core::error::Error;
use rollcall_core::id::{TenantId, UserSyncId};
use rollcall_core::person;
use rollcall_core::user::Origin;
use rollcall_core::user_sync::Search;
use rollcall_ldap::{LdapError, Misconfiguration};
use rollcall_proto::resource_name;
use rollcall_store::Store;
use tokio::time::Instant;

use crate::directories::Directories;
use crate::failure::for_admin;
use crate::in_use::open_for_use;
use crate::scope::in_scope;

/// A user sync whose searches, in force or edited since, find the person's entry as it is now, whether or not the sync
/// and the account are enabled. `None` if there is none.
///
/// # Errors
/// It cannot be found out: what [`open_for_use`], the directory and the store say.
pub async fn offering_sync(
    store: &Store,
    directories: &Directories,
    tenant: &TenantId,
    origin: &Origin,
) -> Result<Option<UserSyncId>, Error> {
    let syncs = store.user_syncs_of_directory(tenant, &origin.directory).await?;
    let Some(first) = syncs.first() else {
        return Ok(None);
    };
    let (directory, opened) = open_for_use(store, directories, tenant, &origin.directory).await?;
    let name = resource_name::directory(tenant, &directory.id);
    let told = |error: LdapError| for_admin(&error, &name);
    let deadline = || Instant::now() + directory.settings.operation_timeout;
    let dialect = opened.dialect(deadline()).await.map_err(told)?;
    let contexts = opened.naming_contexts(deadline()).await.map_err(told)?;
    let attributes = [person::ATTRIBUTE.to_owned()];
    let found = opened
        .ldap
        .find_by_external_id(&origin.external_id, &contexts, &attributes, deadline())
        .await;
    let entry = match found {
        Err(LdapError::Misconfigured(Misconfiguration::SharedId)) => return Ok(Some(first.id.clone())),
        found => found.map_err(told)?,
    };
    let Some(entry) = entry.filter(|entry| person::not_a_person(dialect, entry).is_none()) else {
        return Ok(None);
    };
    for sync in &syncs {
        let judged_by = store.judged_by(tenant, &sync.id).await?;
        let edited = &judged_by.user_sync.settings.searches;
        let searches: Vec<Search> = judged_by
            .in_force
            .searches
            .iter()
            .chain(edited)
            .cloned()
            .collect();
        if in_scope(&opened.ldap, &searches, &entry.dn, deadline())
            .await
            .map_err(told)?
        {
            return Ok(Some(sync.id.clone()));
        }
    }
    Ok(None)
}
