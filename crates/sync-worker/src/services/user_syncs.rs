//! UserSyncService. Runs are started in [`running`]; what the checks do is in [`crate::checks`].

mod deletion;
mod empty_base;
mod running;

use std::pin::Pin;

use futures::Stream;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{RunId, TenantId, UserSyncId, UserSyncKey};
use rollcall_core::user_sync::{UserSync, UserSyncSettings};
use rollcall_core::violation::Violations;
use rollcall_proto::convert::check::CheckUserSync;
use rollcall_proto::convert::explain::ExplainUser;
use rollcall_proto::convert::user_sync::{
    CloneUserSync, CreateUserSync, DeleteUserSync, ListUserSyncs, UpdateUserSync,
};
use rollcall_proto::resource_name;
use rollcall_proto::v1;
use rollcall_proto::v1::user_sync_service_server::UserSyncService;
use rollcall_store::{CreateRequest, Created, PageRequest, UserSyncFilter};
use tonic::{Request, Response, Status};

use self::empty_base::EmptyBase;
use crate::admission::next_run_time;
use crate::worker::Worker;
use rollcall_service::call::{Call, answer, begin, create_request, to_its_end};
use rollcall_service::paging::fill;
use rollcall_service::record::Author;
use rollcall_service::resource::{
    about, changed_meanwhile, expect_revision, expect_room, name_resource, stored_id,
};

/// Most user syncs of one tenant.
const MAX_USER_SYNCS: u32 = 200;
/// What RunDueUserSyncs streams.
pub(crate) type DueStream = Pin<Box<dyn Stream<Item = Result<v1::RunDueUserSyncsResponse, Status>> + Send>>;

/// Serves UserSyncService.
#[derive(Clone)]
pub(crate) struct UserSyncs(pub(crate) Worker);

#[tonic::async_trait]
impl UserSyncService for UserSyncs {
    type RunDueUserSyncsStream = DueStream;

    async fn create_user_sync(
        &self,
        request: Request<v1::CreateUserSyncRequest>,
    ) -> Result<Response<v1::UserSync>, Status> {
        let (this, empty) = (self.clone(), EmptyBase::of_create(&request));
        let call = begin(&self.0.store, request).await;
        answer(to_its_end(async move { this.0.with_trees(empty, this.create(call).await).await }).await)
    }

    async fn get_user_sync(
        &self,
        request: Request<v1::GetUserSyncRequest>,
    ) -> Result<Response<v1::UserSync>, Status> {
        answer(self.get(begin(&self.0.store, request).await).await)
    }

    async fn list_user_syncs(
        &self,
        request: Request<v1::ListUserSyncsRequest>,
    ) -> Result<Response<v1::ListUserSyncsResponse>, Status> {
        answer(self.list(begin(&self.0.store, request).await).await)
    }

    async fn update_user_sync(
        &self,
        request: Request<v1::UpdateUserSyncRequest>,
    ) -> Result<Response<v1::UserSync>, Status> {
        let (this, empty) = (self.clone(), EmptyBase::of_update(&request));
        let call = begin(&self.0.store, request).await;
        answer(to_its_end(async move { this.0.with_trees(empty, this.update(call).await).await }).await)
    }

    async fn delete_user_sync(
        &self,
        request: Request<v1::DeleteUserSyncRequest>,
    ) -> Result<Response<()>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.delete(call).await }).await)
    }

    async fn clone_user_sync(
        &self,
        request: Request<v1::CloneUserSyncRequest>,
    ) -> Result<Response<v1::UserSync>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.copy(call).await }).await)
    }

    async fn check_user_sync(
        &self,
        request: Request<v1::CheckUserSyncRequest>,
    ) -> Result<Response<v1::CheckUserSyncResponse>, Status> {
        let empty = EmptyBase::of_check(&request);
        let call = begin(&self.0.store, request).await;
        answer(self.0.with_trees(empty, self.check(call).await).await)
    }

    async fn check_overlaps(
        &self,
        request: Request<v1::CheckOverlapsRequest>,
    ) -> Result<Response<v1::CheckOverlapsResponse>, Status> {
        answer(self.overlaps(begin(&self.0.store, request).await).await)
    }

    async fn run_user_sync(
        &self,
        request: Request<v1::RunUserSyncRequest>,
    ) -> Result<Response<v1::SyncRun>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.run(call).await }).await)
    }

    async fn run_due_user_syncs(
        &self,
        request: Request<v1::RunDueUserSyncsRequest>,
    ) -> Result<Response<Self::RunDueUserSyncsStream>, Status> {
        answer(self.run_due(begin(&self.0.store, request).await))
    }

    async fn refresh_user(
        &self,
        request: Request<v1::RefreshUserRequest>,
    ) -> Result<Response<v1::RefreshUserResponse>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.refresh(call).await }).await)
    }

    async fn explain_user(
        &self,
        request: Request<v1::ExplainUserRequest>,
    ) -> Result<Response<v1::ExplainUserResponse>, Status> {
        answer(self.explain(begin(&self.0.store, request).await).await)
    }
}

impl UserSyncs {
    async fn create(&self, call: Result<Call<CreateUserSync>, Error>) -> Result<v1::UserSync, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let Call { caller, request, .. } = call;
        let repeat = create_request(&caller, Some(&request.tenant), request.repeatable.as_ref());
        if let Some(before) = self.created_before(&request.tenant, repeat.as_ref()).await? {
            return Ok(before);
        }
        self.expect_own_addresses(&request.tenant, &[], &request.settings)
            .await?;
        self.add(&author, &request.tenant, request.id, &request.settings, repeat)
            .await
    }

    async fn expect_own_addresses(
        &self,
        tenant: &TenantId,
        before: &[String],
        settings: &UserSyncSettings,
    ) -> Result<(), Error> {
        let field = "user_sync.report.addresses";
        self.0
            .expect_own_addresses(tenant, field, before, &settings.report.addresses)
            .await
    }

    async fn copy(&self, call: Result<Call<CloneUserSync>, Error>) -> Result<v1::UserSync, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let Call { caller, request, .. } = call;
        let tenant = &request.key.tenant;
        let repeat = create_request(&caller, Some(tenant), request.repeatable.as_ref());
        if let Some(before) = self.created_before(tenant, repeat.as_ref()).await? {
            return Ok(before);
        }
        let original = self.find(&request.key).await?.settings;
        let display_name = request.display_name.unwrap_or_else(|| {
            // The longest name still has to leave room for the addition.
            let kept: String = original.display_name.chars().take(193).collect();
            format!("{kept} (copy)")
        });
        let settings = UserSyncSettings {
            display_name,
            disabled: true,
            ..original
        };
        self.add(&author, tenant, request.id, &settings, repeat).await
    }

    /// What an earlier call with this request id created, as it is now.
    async fn created_before(
        &self,
        tenant: &TenantId,
        repeat: Option<&CreateRequest<'_>>,
    ) -> Result<Option<v1::UserSync>, Error> {
        let Some(repeat) = repeat else { return Ok(None) };
        match self.0.store.created_before(repeat, self.0.now()).await? {
            Some(id) => self.by_id(tenant, &id).await.map(Some),
            None => Ok(None),
        }
    }

    async fn by_id(&self, tenant: &TenantId, id: &str) -> Result<v1::UserSync, Error> {
        let key = UserSyncKey {
            tenant: tenant.clone(),
            user_sync: stored_id(UserSyncId::parse(id))?,
        };
        Ok((&self.find(&key).await?).into())
    }

    async fn add(
        &self,
        author: &Author,
        tenant: &TenantId,
        id: Option<UserSyncId>,
        settings: &UserSyncSettings,
        repeat: Option<CreateRequest<'_>>,
    ) -> Result<v1::UserSync, Error> {
        let store = &self.0.store;
        let others = store.count_user_syncs(tenant, MAX_USER_SYNCS).await?;
        expect_room(others, MAX_USER_SYNCS, "user syncs", tenant)?;
        let id = match id {
            Some(id) => id,
            None => UserSyncId::generate(self.0.random_id()?),
        };
        let key = UserSyncKey {
            tenant: tenant.clone(),
            user_sync: id,
        };
        let (now, name) = (author.time(), key.to_string());
        let next = next_run_time(&key, settings, self.0.settings.scheduler.spread, now);
        let id = &key.user_sync;
        let record = author.change::<_, v1::UserSync>(tenant, &name, Vec::new());
        let created = match &repeat {
            Some(repeat) => {
                store
                    .create_user_sync_once(repeat, tenant, id, settings, next, record)
                    .await
            }
            None => {
                let created = store.create_user_sync(tenant, id, settings, next, record).await;
                created.map(Created::Now)
            }
        };
        let created = created.map_err(|error| match Error::from(error) {
            error if error.reason == Reason::DirectoryNotFound => {
                error.with("resource", resource_name::directory(tenant, &settings.directory))
            }
            error => name_resource(error, &name),
        })?;
        let user_sync = match created {
            Created::Now(user_sync) => user_sync,
            Created::Before(before) => return self.by_id(tenant, &before).await,
        };
        Ok((&user_sync).into())
    }

    async fn get(&self, call: Result<Call<UserSyncKey>, Error>) -> Result<v1::UserSync, Error> {
        let key = call?.request;
        Ok((&self.find(&key).await?).into())
    }

    async fn list(
        &self,
        call: Result<Call<ListUserSyncs>, Error>,
    ) -> Result<v1::ListUserSyncsResponse, Error> {
        let Call {
            caller,
            request:
                ListUserSyncs {
                    scope,
                    directory,
                    health,
                    page,
                },
            ..
        } = call?;
        let page = self.0.tokens.page(caller.tenants(), page)?;
        let store = &self.0.store;
        let filter = UserSyncFilter { directory, health };
        let read = async |part: PageRequest| store.find_user_syncs(scope.tenant(), &filter, &part).await;
        let (user_syncs, next_page_token) = fill(&page, read, |sync| Some(v1::UserSync::from(sync))).await?;
        Ok(v1::ListUserSyncsResponse {
            user_syncs,
            next_page_token,
        })
    }

    async fn update(&self, call: Result<Call<UpdateUserSync>, Error>) -> Result<v1::UserSync, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let request = call.request;
        let key = &request.key;
        let name = key.to_string();
        let current = self.find(key).await?;
        expect_revision(request.revision, current.revision, &name)?;
        let settings = request.apply(&current.settings)?;
        self.expect_own_addresses(&key.tenant, &current.settings.report.addresses, &settings)
            .await?;
        let moves = settings.directory != current.settings.directory;
        if moves && self.0.store.count_users(&key.tenant, &key.user_sync).await? > 0 {
            let mut found = Violations::new();
            found.add(
                "user_sync.directory",
                "cannot be changed while the user sync has users",
            );
            return Err(found.into());
        }
        let now = author.time();
        let next = match same_schedule(&current.settings, &settings) {
            true => current.next_run_time,
            false => next_run_time(key, &settings, self.0.settings.scheduler.spread, now),
        };
        let record = author.change::<_, v1::UserSync>(&key.tenant, &name, Vec::new());
        let store = &self.0.store;
        let updated = store
            .update_user_sync(
                &key.tenant,
                &key.user_sync,
                current.revision,
                &settings,
                next,
                record,
            )
            .await;
        let user_sync = updated.map_err(changed_meanwhile(request.revision, &name))?;
        Ok((&user_sync).into())
    }

    async fn delete(&self, call: Result<Call<DeleteUserSync>, Error>) -> Result<(), Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let DeleteUserSync {
            key,
            revision,
            disposition,
        } = call.request;
        self.0
            .delete_user_sync(&author, &key, revision, disposition)
            .await
    }

    async fn check(
        &self,
        call: Result<Call<CheckUserSync>, Error>,
    ) -> Result<v1::CheckUserSyncResponse, Error> {
        let Call {
            request, deadline, ..
        } = call?;
        self.0.check_user_sync(request, deadline).await
    }

    async fn explain(
        &self,
        call: Result<Call<ExplainUser>, Error>,
    ) -> Result<v1::ExplainUserResponse, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        self.0.explain_user(&author, call.request, call.deadline).await
    }

    async fn overlaps(
        &self,
        call: Result<Call<TenantId>, Error>,
    ) -> Result<v1::CheckOverlapsResponse, Error> {
        self.0.check_overlaps(&call?.request).await
    }

    async fn find(&self, key: &UserSyncKey) -> Result<UserSync, Error> {
        let found = self.0.store.user_sync(&key.tenant, &key.user_sync).await;
        found.map_err(about(&key.to_string()))
    }
}

/// Another call has the user sync at this moment, perhaps because of its newest run.
fn in_progress(key: &UserSyncKey, last_run: Option<RunId>) -> Error {
    let message = "a run of this user sync is under way: wait for it, or cancel it";
    let error = Error::new(Reason::SyncInProgress, message).with("resource", key.to_string());
    match last_run {
        Some(run) => error.with("run", resource_name::run(key, run)),
        None => error,
    }
}

fn same_schedule(a: &UserSyncSettings, b: &UserSyncSettings) -> bool {
    (a.disabled, a.auto_sync, &a.cron, &a.time_zone) == (b.disabled, b.auto_sync, &b.cron, &b.time_zone)
}
