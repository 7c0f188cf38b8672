//! The domains of a tenant, for deployments in which mails go to no others.

use std::collections::HashSet;

use rollcall_core::id::TenantId;
use rollcall_core::identifier::email_domain;
use rollcall_core::violation::Violations;
use rollcall_store::{Store, StoreError};

/// The domains that are verified for a tenant.
pub(crate) struct OwnDomains(HashSet<String>);

impl OwnDomains {
    /// # Errors
    /// What the store says.
    pub(crate) async fn of(store: &Store, tenant: &TenantId) -> Result<Self, StoreError> {
        let settings = store.tenant(tenant).await?.settings;
        Ok(Self(settings.verified_domains.into_iter().collect()))
    }

    /// Whether an address is of one of them.
    pub(crate) fn have(&self, address: &str) -> bool {
        email_domain(address).is_some_and(|domain| self.0.contains(&domain))
    }

    /// The addresses of this field that would get no mail, except those that it had before.
    pub(crate) fn strangers(&self, field: &str, before: &[String], addresses: &[String]) -> Violations {
        let mut found = Violations::new();
        for (index, address) in addresses.iter().enumerate() {
            if !before.contains(address) && !self.have(address) {
                found.add(
                    format!("{field}[{index}]"),
                    "is not of a domain that is verified for this tenant, and mails go to no others",
                );
            }
        }
        found
    }
}
