//! TenantService.

use rollcall_core::audit::AuditedFieldChange;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::revision::Revision;
use rollcall_core::tenant::{Tenant, TenantSettings};
use rollcall_core::user::UserDisposition;
use rollcall_proto::convert::tenant::{CreateTenant, DeleteTenant, ListTenants, UpdateTenant};
use rollcall_proto::v1::tenant_service_server::TenantService;
use rollcall_proto::{resource_name, v1};
use rollcall_store::{Created, PageRequest, Recorded};
use tonic::{Request, Response, Status};

use crate::worker::Worker;
use rollcall_service::call::{Call, answer, begin, create_request, to_its_end};
use rollcall_service::paging::fill;
use rollcall_service::record::Author;
use rollcall_service::resource::{about, changed_meanwhile, expect_revision, stored_id};

/// Serves TenantService.
#[derive(Clone)]
pub(crate) struct Tenants(pub(crate) Worker);

#[tonic::async_trait]
impl TenantService for Tenants {
    async fn create_tenant(
        &self,
        request: Request<v1::CreateTenantRequest>,
    ) -> Result<Response<v1::Tenant>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.create(call).await }).await)
    }

    async fn get_tenant(
        &self,
        request: Request<v1::GetTenantRequest>,
    ) -> Result<Response<v1::Tenant>, Status> {
        answer(self.get(begin(&self.0.store, request).await).await)
    }

    async fn list_tenants(
        &self,
        request: Request<v1::ListTenantsRequest>,
    ) -> Result<Response<v1::ListTenantsResponse>, Status> {
        answer(self.list(begin(&self.0.store, request).await).await)
    }

    async fn update_tenant(
        &self,
        request: Request<v1::UpdateTenantRequest>,
    ) -> Result<Response<v1::Tenant>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.update(call).await }).await)
    }

    async fn delete_tenant(&self, request: Request<v1::DeleteTenantRequest>) -> Result<Response<()>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.delete(call).await }).await)
    }
}

impl Tenants {
    async fn create(&self, call: Result<Call<CreateTenant>, Error>) -> Result<v1::Tenant, Error> {
        let call = call?;
        let (store, now) = (&self.0.store, self.0.now());
        let author = call.author(now)?;
        let Call { caller, request, .. } = call;
        let repeat = create_request(&caller, None, request.repeatable.as_ref());
        let id = match request.id {
            Some(id) => id,
            None => TenantId::generate(self.0.random_id()?),
        };
        let name = resource_name::tenant(&id);
        let record = author.change::<_, v1::Tenant>(&id, &name, Vec::new());
        let created = match &repeat {
            Some(repeat) => {
                store
                    .create_tenant_once(repeat, &id, &request.settings, record)
                    .await
            }
            None => store
                .create_tenant(&id, &request.settings, record)
                .await
                .map(Created::Now),
        };
        let tenant = match created {
            Ok(Created::Now(tenant)) => tenant,
            Ok(Created::Before(before)) => return self.created_before(&before).await,
            Err(error) => {
                return Err(self
                    .name_domain(about(&name)(error), &id, &request.settings)
                    .await);
            }
        };
        Ok((&tenant).into())
    }

    /// What an earlier call with this request id created, as it is now.
    async fn created_before(&self, id: &str) -> Result<v1::Tenant, Error> {
        self.find(&stored_id(TenantId::parse(id))?).await
    }

    async fn get(&self, call: Result<Call<TenantId>, Error>) -> Result<v1::Tenant, Error> {
        self.find(&call?.request).await
    }

    async fn find(&self, id: &TenantId) -> Result<v1::Tenant, Error> {
        let found = self.0.store.tenant(id).await;
        Ok((&found.map_err(about(&resource_name::tenant(id)))?).into())
    }

    async fn list(&self, call: Result<Call<ListTenants>, Error>) -> Result<v1::ListTenantsResponse, Error> {
        let Call {
            caller,
            request: ListTenants { page },
            ..
        } = call?;
        let page = self.0.tokens.page(caller.tenants(), page)?;
        let read = async |part: PageRequest| self.0.store.list_tenants(caller.tenants(), &part).await;
        let (tenants, next_page_token) = fill(&page, read, |tenant| Some(v1::Tenant::from(tenant))).await?;
        Ok(v1::ListTenantsResponse {
            tenants,
            next_page_token,
        })
    }

    async fn update(&self, call: Result<Call<UpdateTenant>, Error>) -> Result<v1::Tenant, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let request = call.request;
        let name = resource_name::tenant(&request.tenant);
        let current = self.0.store.tenant(&request.tenant).await.map_err(about(&name))?;
        expect_revision(request.revision, current.revision, &name)?;
        let settings = request.apply(&current.settings)?;
        let record = author.change::<_, v1::Tenant>(&current.id, &name, Vec::new());
        let updated = self
            .0
            .store
            .update_tenant(&current.id, current.revision, &settings, record)
            .await;
        let tenant = updated.map_err(changed_meanwhile(request.revision, &name))?;
        Ok((&tenant).into())
    }

    async fn delete(&self, call: Result<Call<DeleteTenant>, Error>) -> Result<(), Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let DeleteTenant {
            tenant: id,
            revision,
            force,
        } = call.request;
        let name = resource_name::tenant(&id);
        let mut expected = revision;
        if force {
            expected = Some(self.empty(&author, &id, revision).await?);
        }
        self.0
            .store
            .delete_tenant(&id, expected, force, deletion(&author, &id, &name, force))
            .await
            .map_err(changed_meanwhile(revision, &name))
    }

    /// Adds the domain to an error that another tenant has it.
    async fn name_domain(&self, error: Error, id: &TenantId, settings: &TenantSettings) -> Error {
        if error.reason != Reason::DomainTaken {
            return error;
        }
        for domain in &settings.verified_domains {
            if let Ok(Some(other)) = self.0.store.tenant_by_domain(domain).await
                && other.id != *id
            {
                return error.with("domain", domain);
            }
        }
        error
    }

    /// Deletes what belongs to the tenant, step by step: if a step fails, a repeat goes on. The add-on is switched off
    /// first, so that nothing starts meanwhile. Returns the tenant's revision.
    async fn empty(
        &self,
        author: &Author,
        id: &TenantId,
        expected: Option<Revision>,
    ) -> Result<Revision, Error> {
        let store = &self.0.store;
        let name = resource_name::tenant(id);
        let record = deletion(author, id, &name, true);
        let begun = store.begin_tenant_deletion(id, expected, record).await;
        let revision = begun.map_err(about(&name))?;
        loop {
            let directories = store.list_directories(id, &PageRequest::first(100)).await?.items;
            if directories.is_empty() {
                break;
            }
            for directory in directories {
                self.0
                    .delete_user_syncs_of(author, id, &directory.id, UserDisposition::Archive)
                    .await?;
                let name = resource_name::directory(id, &directory.id);
                let record = author.change::<_, v1::Directory>(id, &name, Vec::new());
                store.delete_directory(id, &directory.id, None, record).await?;
            }
        }
        Ok(revision)
    }
}

fn deletion<'a>(author: &'a Author, id: &'a TenantId, name: &'a str, force: bool) -> Recorded<'a, Tenant> {
    let asked = AuditedFieldChange::asked("force", force.to_string());
    author.change::<_, v1::Tenant>(id, name, vec![asked])
}
