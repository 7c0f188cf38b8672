//! What the security review and the reminders look at.

use rollcall_core::id::{TenantId, UserSyncKey};
use rollcall_core::security_review::{ReviewedDirectory, ReviewedSync};
use rollcall_store::{CheckSubject, PageRequest, SecurityReview, StoreError};

use crate::worker::Worker;

/// Most directories and most user syncs that are looked at: as many as a tenant can have.
const MAX_LOOKED_AT: u32 = 1000;

/// What a tenant has.
pub(crate) struct Reviewed {
    pub(crate) directories: Vec<ReviewedDirectory>,
    pub(crate) user_syncs: Vec<ReviewedSync>,
    /// The last recorded review.
    pub(crate) last: Option<SecurityReview>,
}

impl Worker {
    /// All directories and user syncs of a tenant, with what is known of each.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn reviewed(&self, tenant: &TenantId) -> Result<Reviewed, StoreError> {
        let store = &self.store;
        let mut directories = Vec::new();
        for directory in store
            .list_directories(tenant, &PageRequest::first(MAX_LOOKED_AT))
            .await?
            .items
        {
            let last_check = store
                .last_check(tenant, &CheckSubject::Directory(directory.id.clone()))
                .await?;
            let seen = self.directories.host_status(&directory).unwrap_or_default();
            directories.push(ReviewedDirectory {
                certificate_end: seen
                    .iter()
                    .filter_map(|host| host.certificate_end)
                    .min()
                    .or(directory.observed.certificate_end),
                client_certificate_end: directory
                    .settings
                    .client_certificate
                    .as_deref()
                    .and_then(rollcall_ldap::client_certificate_end),
                ca_certificate_end: Some(&directory.settings.ca_certificates)
                    .filter(|pem| !pem.is_empty())
                    .and_then(|pem| rollcall_ldap::ca_certificate_end(pem)),
                directory,
                last_check,
            });
        }
        let mut user_syncs = Vec::new();
        for user_sync in store
            .list_user_syncs(tenant, &PageRequest::first(MAX_LOOKED_AT))
            .await?
            .items
        {
            let key = UserSyncKey {
                tenant: tenant.clone(),
                user_sync: user_sync.id.clone(),
            };
            let last_run = match user_sync.last_run {
                Some(run) => match store.run(&key, run).await {
                    Ok(run) => Some(run),
                    Err(StoreError::NotFound(_)) => None,
                    Err(error) => return Err(error),
                },
                None => None,
            };
            user_syncs.push(ReviewedSync { user_sync, last_run });
        }
        let last = store
            .list_security_reviews(tenant, &PageRequest::first(1))
            .await?
            .items
            .into_iter()
            .next();
        Ok(Reviewed {
            directories,
            user_syncs,
            last,
        })
    }
}
