//! TenantService.

use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::revision::Revision;
use rollcall_core::tenant::{Tenant, TenantSettings};
use rollcall_core::violation::Violations;

use super::named_request;
use crate::decode::{Repeatable, finish, merge, repeatable, required, resource_id};
use crate::etag::{decode_etag, etag};
use crate::page::AskedPage;
use crate::update_mask;
use crate::{resource_name, timestamp, v1};

/// CreateTenant.
pub struct CreateTenant {
    /// How to recognise a repeat.
    pub repeatable: Option<Repeatable>,
    /// The id; `None` to have one generated.
    pub id: Option<TenantId>,
    /// The settings.
    pub settings: TenantSettings,
}

/// ListTenants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListTenants {
    /// Which page.
    pub page: AskedPage,
}

/// UpdateTenant.
#[derive(Clone, PartialEq, Debug)]
pub struct UpdateTenant {
    /// The tenant.
    pub tenant: TenantId,
    /// The revision that the caller expects, if it does.
    pub revision: Option<Revision>,
    wire: v1::Tenant,
    paths: Vec<String>,
}

/// DeleteTenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteTenant {
    /// The tenant.
    pub tenant: TenantId,
    /// The revision that the caller expects, if it does.
    pub revision: Option<Revision>,
    /// Delete what belongs to the tenant too.
    pub force: bool,
}

named_request!(GetTenantRequest => TenantId, parse_tenant, TENANT);

impl UpdateTenant {
    /// The settings after the update.
    ///
    /// # Errors
    /// INVALID_FIELD, with all fields that would not be valid.
    pub fn apply(&self, current: &TenantSettings) -> Result<TenantSettings, Error> {
        let mut merged = wire(current);
        self.paths
            .iter()
            .for_each(|path| merged.overlay(&self.wire, path));
        let mut found = Violations::new();
        let settings = settings(&mut found, merged);
        finish(found, Some(settings))
    }
}

impl TryFrom<v1::CreateTenantRequest> for CreateTenant {
    type Error = Error;

    fn try_from(mut request: v1::CreateTenantRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let repeatable = repeatable(&mut found, "CreateTenant", &mut request, |it| &mut it.request_id);
        let id = resource_id(&mut found, "tenant_id", &request.tenant_id, TenantId::parse);
        let tenant = required(&mut found, "tenant", request.tenant);
        let settings = tenant.map(|tenant| settings(&mut found, tenant));
        finish(
            found,
            settings.map(|settings| Self {
                repeatable,
                id,
                settings,
            }),
        )
    }
}

impl TryFrom<v1::ListTenantsRequest> for ListTenants {
    type Error = Error;

    fn try_from(request: v1::ListTenantsRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let page = AskedPage::decode(
            &mut found,
            request.page_size,
            request.page_token,
            &["ListTenants"],
        );
        finish(found, Some(Self { page }))
    }
}

impl TryFrom<v1::UpdateTenantRequest> for UpdateTenant {
    type Error = Error;

    fn try_from(request: v1::UpdateTenantRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let wire = required(&mut found, "tenant", request.tenant).unwrap_or_default();
        let tenant = match found.is_empty() {
            true => resource_name::decode(
                &mut found,
                "tenant.name",
                &wire.name,
                resource_name::TENANT,
                resource_name::parse_tenant,
            ),
            false => None,
        };
        let revision = decode_etag(&mut found, "tenant.etag", &wire.etag);
        let (writable, populated) = (v1::Tenant::WRITABLE, wire.populated());
        let mask = request.update_mask;
        let paths = update_mask::paths(&mut found, mask, writable, v1::Tenant::is_writable, populated);
        finish(
            found,
            tenant.map(|tenant| Self {
                tenant,
                revision,
                wire,
                paths,
            }),
        )
    }
}

impl TryFrom<v1::DeleteTenantRequest> for DeleteTenant {
    type Error = Error;

    fn try_from(request: v1::DeleteTenantRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let tenant = resource_name::decode(
            &mut found,
            "name",
            &request.name,
            resource_name::TENANT,
            resource_name::parse_tenant,
        );
        let revision = decode_etag(&mut found, "etag", &request.etag);
        let force = request.force;
        finish(
            found,
            tenant.map(|tenant| Self {
                tenant,
                revision,
                force,
            }),
        )
    }
}

impl From<&Tenant> for v1::Tenant {
    fn from(tenant: &Tenant) -> Self {
        Self {
            name: resource_name::tenant(&tenant.id),
            etag: etag(tenant.revision),
            create_time: Some(timestamp(tenant.create_time)),
            update_time: Some(timestamp(tenant.update_time)),
            ..wire(&tenant.settings)
        }
    }
}

fn settings(found: &mut Violations, wire: v1::Tenant) -> TenantSettings {
    // Every field is named here and in `wire`, so that neither compiles without one that is added.
    let v1::Tenant {
        display_name,
        user_sync_enabled,
        verified_domains,
        name: _,
        etag: _,
        create_time: _,
        update_time: _,
    } = wire;
    let settings = TenantSettings {
        display_name,
        user_sync_enabled,
        verified_domains,
    };
    let mut inner = Violations::new();
    merge(&mut inner, settings.validate());
    found.nest("tenant", inner);
    settings
}

/// The settings on the wire. What the service itself says of a tenant is empty.
fn wire(settings: &TenantSettings) -> v1::Tenant {
    v1::Tenant {
        display_name: settings.display_name.clone(),
        user_sync_enabled: settings.user_sync_enabled,
        verified_domains: settings.verified_domains.clone(),
        name: String::new(),
        etag: String::new(),
        create_time: None,
        update_time: None,
    }
}
