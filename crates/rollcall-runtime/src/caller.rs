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

mod known;
mod quota;
mod room;

pub(crate) use known::{Callers, NobodyLeft};
use quota::Quota;
pub(crate) use room::Room;

/// Bytes of the requests of one caller under way but small ones: half of what all have.
const ROOM: usize = 32 * 1024 * 1024;

/// A service that calls.
#[derive(Debug)]
pub struct Caller {
    name: String,
    /// Which token or certificate it showed, for the audit log; empty without.
    credential: String,
    permissions: Vec<Permission>,
    tenants: Tenants,
    /// One for all credentials of the caller.
    quota: Option<Arc<Quota>>,
    actor_required: bool,
    /// One for all credentials of the caller.
    room: Room,
}

/// Whose data a call is about.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// One tenant's.
    Tenant(&'a TenantId),
    /// Every tenant's. Needs a caller that may touch all of them.
    AllTenants,
    /// A tenant that is not known yet; [`Caller::may_touch`] must be asked as soon as it is.
    Unresolved,
}

#[derive(Debug)]
enum Tenants {
    All,
    Some(Vec<String>),
}

/// Checks that the caller of a request may do this within this scope, and returns the caller.
///
/// # Errors
/// `CALLER_UNAUTHENTICATED` if the request passed no authentication, `PERMISSION_MISSING`, or
/// `TENANT_ACCESS_DENIED`, which says nothing about whether the tenant exists.
pub fn authorize(
    extensions: &http::Extensions,
    permission: Permission,
    scope: Scope<'_>,
) -> Result<Arc<Caller>, Error> {
    let caller = extensions.get::<Arc<Caller>>().ok_or_else(unauthenticated)?;
    if !caller.permissions.contains(&permission) {
        let message = format!("the caller lacks the permission {}", permission.as_str());
        return Err(Error::new(Reason::PermissionMissing, message).with("permission", permission.as_str()));
    }
    match scope {
        Scope::Tenant(tenant) => caller.may_touch(tenant)?,
        Scope::AllTenants if !caller.may_touch_all() => {
            return Err(Error::new(
                Reason::TenantAccessDenied,
                "the caller may not act for all tenants",
            ));
        }
        Scope::AllTenants | Scope::Unresolved => {}
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

    /// True if the caller may act for every tenant.
    pub fn may_touch_all(&self) -> bool {
        matches!(self.tenants, Tenants::All)
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
        let message = "the caller may not act for this tenant, or it does not exist";
        Err(Error::new(Reason::TenantAccessDenied, message).with("tenant", tenant.as_str()))
    }

    /// Whether whatever the caller changes must say for whom.
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

fn unauthenticated() -> Error {
    Error::new(
        Reason::CallerUnauthenticated,
        "the call needs a valid bearer token or client certificate",
    )
}

#[cfg(test)]
mod tests;
