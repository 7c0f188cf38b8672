//! Who calls, and what they may do.
//!
//! The server puts an `Arc<Caller>` into every request's extensions; a handler begins with [`authorize`],
//! before it looks whether anything exists (AIP-211).

use std::sync::Arc;

use rollcall_core::audit::AuditCaller;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;

use crate::config::CallerEntry;
pub use crate::permission::Permission;

mod callers;
mod quota;
mod room;

pub(crate) use callers::{Callers, NobodyLeft};
use quota::Quota;
pub(crate) use room::Room;

/// Room for the larger requests of one caller that are under way, in bytes: half of what all callers have.
const ROOM: usize = 32 * 1024 * 1024;

/// A service that calls.
#[derive(Debug)]
pub struct Caller {
    name: String,
    /// Which token or certificate it showed, for the audit log; empty without.
    credential: String,
    permissions: Vec<Permission>,
    tenants: Tenants,
    /// Shared by all credentials of the caller.
    quota: Option<Arc<Quota>>,
    actor_required: bool,
    /// Shared by all credentials of the caller.
    room: Room,
}

#[derive(Debug)]
enum Tenants {
    All,
    Some(Vec<String>),
}

/// Checks that the caller of a request may do this at all, and returns the caller. [`Caller::may_touch`] then checks
/// whether the caller may do it for the tenant, once the tenant is known.
///
/// # Errors
/// `CALLER_UNAUTHENTICATED` if the request passed no authentication, and `PERMISSION_MISSING`.
pub fn authorize(extensions: &http::Extensions, permission: Permission) -> Result<Arc<Caller>, Error> {
    let caller = extensions.get::<Arc<Caller>>().ok_or_else(unauthenticated)?;
    if !caller.permissions.contains(&permission) {
        let message = format!("the caller lacks the permission {}", permission.as_str());
        return Err(Error::new(Reason::PermissionMissing, message).with("permission", permission.as_str()));
    }
    Ok(Arc::clone(caller))
}

impl Caller {
    /// The caller's name, for logs and audit.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The caller as the audit log names it.
    pub fn audited(&self) -> AuditCaller {
        AuditCaller {
            name: self.name.clone(),
            credential: self.credential.clone(),
        }
    }

    /// Which token or certificate the caller showed: "token:2027", "certificate:web.example", or "token" for one
    /// without an id. Empty if none is asked for.
    pub(crate) fn credential(&self) -> &str {
        &self.credential
    }

    /// Checks that the caller may act for every tenant.
    ///
    /// # Errors
    /// `TENANT_ACCESS_DENIED`.
    pub fn may_touch_all(&self) -> Result<(), Error> {
        match self.tenants {
            Tenants::All => Ok(()),
            Tenants::Some(_) => Err(Error::new(
                Reason::TenantAccessDenied,
                "the caller may not act for all tenants",
            )),
        }
    }

    /// The ids of the tenants that the caller may act for; `None` for all.
    pub fn tenants(&self) -> Option<&[String]> {
        match &self.tenants {
            Tenants::All => None,
            Tenants::Some(ids) => Some(ids),
        }
    }

    /// Checks that the caller may act for this tenant.
    ///
    /// # Errors
    /// `TENANT_ACCESS_DENIED`.
    pub fn may_touch(&self, tenant: &TenantId) -> Result<(), Error> {
        let allowed = match &self.tenants {
            Tenants::All => true,
            Tenants::Some(ids) => ids.iter().any(|id| id == tenant.as_str()),
        };
        if allowed {
            tracing::Span::current().record("tenant", tenant.as_str());
            return Ok(());
        }
        Err(denied(tenant))
    }

    /// The error about a tenant that does not exist. Only callers of all tenants may know that; all others get the same
    /// error as for an existing tenant that they may not touch.
    pub fn no_such_tenant(&self, tenant: &TenantId) -> Error {
        match self.tenants {
            Tenants::All => Error::new(Reason::TenantNotFound, "the tenant does not exist")
                .with("resource", format!("tenants/{tenant}")),
            Tenants::Some(_) => denied(tenant),
        }
    }

    /// Whether this caller must name an actor for its changes.
    pub fn must_name_actor(&self) -> bool {
        self.actor_required
    }

    /// Room for its requests.
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Takes one call from the quota.
    pub(crate) fn spend(&self) -> Result<(), Error> {
        let Some(quota) = &self.quota else { return Ok(()) };
        quota.spend().map_err(|wait| {
            Error::new(Reason::CallerQuotaExhausted, "the caller's quota is used up").retry_after(wait)
        })
    }

    fn new(entry: &CallerEntry, credential: String, quota: Option<Arc<Quota>>, room: Room) -> Self {
        let tenants = if entry.tenants == ["*"] {
            Tenants::All
        } else {
            Tenants::Some(entry.tenants.clone())
        };
        Self {
            name: entry.name.clone(),
            credential,
            permissions: entry.permissions.clone(),
            tenants,
            quota,
            actor_required: entry.actor_required,
            room,
        }
    }

    fn local() -> Self {
        Self {
            name: "local".to_owned(),
            credential: String::new(),
            permissions: Permission::ALL.to_vec(),
            tenants: Tenants::All,
            quota: None,
            actor_required: false,
            room: Room::new(ROOM),
        }
    }
}

fn denied(tenant: &TenantId) -> Error {
    let message = "the caller may not act for this tenant, or it does not exist";
    Error::new(Reason::TenantAccessDenied, message).with("tenant", tenant.as_str())
}

fn unauthenticated() -> Error {
    Error::new(
        Reason::CallerUnauthenticated,
        "the call needs a valid bearer token or client certificate",
    )
}

#[cfg(test)]
mod tests;
