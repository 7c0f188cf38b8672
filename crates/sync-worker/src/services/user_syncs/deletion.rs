//! Deleting user syncs, alone or with everything that belongs to them.

use std::time::Duration;

use rollcall_core::audit::AuditedFieldChange;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{DirectoryId, TenantId, UserSyncKey};
use rollcall_core::revision::Revision;
use rollcall_core::user::UserDisposition;
use rollcall_proto::v1;
use rollcall_store::StoreError;

use super::in_progress;
use crate::worker::Worker;
use rollcall_service::record::Author;
use rollcall_service::resource::{about, changed_meanwhile};

/// Longest deletion of a user sync, including all of its users.
const DELETION_LEASE: Duration = Duration::from_secs(300);

/// A repeated call does not wait for a deletion that may have died. If that one lives, it gives way to the repeat.
fn taken_over(name: &str) -> Error {
    let message = "another call deletes this user sync too, and goes on with it";
    Error::new(Reason::ConcurrentChange, message).with("resource", name)
}

impl Worker {
    /// Deletes a user sync that no run is working on.
    pub(crate) async fn delete_user_sync(
        &self,
        author: &Author,
        key: &UserSyncKey,
        expected: Option<Revision>,
        disposition: UserDisposition,
    ) -> Result<(), Error> {
        let name = key.to_string();
        let (tenant, id) = (&key.tenant, &key.user_sync);
        let current = self.store.user_sync(tenant, id).await.map_err(about(&name))?;
        let lease = self.store.acquire_lease_for_deletion(key, DELETION_LEASE).await?;
        let Some(lease) = lease else {
            return Err(in_progress(key, current.last_run));
        };
        let asked = AuditedFieldChange::asked(
            "user_disposition",
            v1::UserDisposition::from(disposition).as_str_name(),
        );
        let record = author.change::<_, v1::UserSync>(tenant, &name, vec![asked]);
        let deleted = self
            .store
            .delete_user_sync(&lease, key, expected, disposition, record)
            .await;
        if let Err(error) = self.store.release_lease(&lease).await {
            tracing::debug!(%error, "the lease of a deletion ends by itself");
        }
        deleted.map_err(|error| match matches!(error, StoreError::LeaseLost) {
            true => taken_over(&name),
            false => changed_meanwhile(expected, &name)(error),
        })
    }

    /// Deletes all user syncs of a directory.
    pub(crate) async fn delete_user_syncs_of(
        &self,
        author: &Author,
        tenant: &TenantId,
        directory: &DirectoryId,
        disposition: UserDisposition,
    ) -> Result<(), Error> {
        for sync in self.store.user_syncs_of_directory(tenant, directory).await? {
            let key = sync.key();
            self.delete_user_sync(author, &key, None, disposition).await?;
        }
        Ok(())
    }

    /// True if anybody is known from this directory.
    pub(crate) async fn has_users(&self, tenant: &TenantId, directory: &DirectoryId) -> Result<bool, Error> {
        for sync in self.store.user_syncs_of_directory(tenant, directory).await? {
            if self.store.count_users(tenant, &sync.id).await? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
