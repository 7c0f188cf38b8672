//! DirectoryService. What CheckConnection does is in [`crate::checks`].

mod host_health;
mod update;

use std::time::Instant;

use rollcall_core::audit::{AuditedFieldChange, SecretChange};
use rollcall_core::directory::{Directory, DirectorySettings};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::secret::{Password, SecretBytes};
use rollcall_core::violation::Violations;
use rollcall_ldap::Misconfiguration;
use rollcall_proto::convert::check::CheckConnection;
use rollcall_proto::convert::directory::{
    CreateDirectory, DeleteDirectory, ListDirectories, RotateBindPassword,
};
use rollcall_proto::resource_name::{self, DirectoryName};
use rollcall_proto::v1;
use rollcall_proto::v1::directory_service_server::DirectoryService;
use rollcall_store::{Created, NewSecrets, PageRequest};
use tonic::{Request, Response, Status};

use crate::worker::Worker;
use rollcall_service::call::{Call, answer, begin, create_request, to_its_end};
use rollcall_service::paging::fill;
use rollcall_service::record::Author;
use rollcall_service::resource::{about, changed_meanwhile, expect_revision, expect_room, stored_id};

/// Most directories of one tenant.
const MAX_DIRECTORIES: u32 = 100;

/// Serves DirectoryService.
#[derive(Clone)]
pub(crate) struct Directories(pub(crate) Worker);

#[tonic::async_trait]
impl DirectoryService for Directories {
    async fn create_directory(
        &self,
        request: Request<v1::CreateDirectoryRequest>,
    ) -> Result<Response<v1::Directory>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.create(call).await }).await)
    }

    async fn get_directory(
        &self,
        request: Request<v1::GetDirectoryRequest>,
    ) -> Result<Response<v1::Directory>, Status> {
        answer(self.get(begin(&self.0.store, request).await).await)
    }

    async fn list_directories(
        &self,
        request: Request<v1::ListDirectoriesRequest>,
    ) -> Result<Response<v1::ListDirectoriesResponse>, Status> {
        answer(self.list(begin(&self.0.store, request).await).await)
    }

    async fn update_directory(
        &self,
        request: Request<v1::UpdateDirectoryRequest>,
    ) -> Result<Response<v1::Directory>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.update(call).await }).await)
    }

    async fn delete_directory(
        &self,
        request: Request<v1::DeleteDirectoryRequest>,
    ) -> Result<Response<()>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.delete(call).await }).await)
    }

    async fn check_connection(
        &self,
        request: Request<v1::CheckConnectionRequest>,
    ) -> Result<Response<v1::CheckConnectionResponse>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.check(call).await }).await)
    }

    async fn rotate_bind_password(
        &self,
        request: Request<v1::RotateBindPasswordRequest>,
    ) -> Result<Response<v1::Directory>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.rotate(call).await }).await)
    }
}

impl Directories {
    async fn create(&self, call: Result<Call<CreateDirectory>, Error>) -> Result<v1::Directory, Error> {
        let call = call?;
        let (store, now) = (&self.0.store, self.0.now());
        let author = call.author(now)?;
        let Call { caller, request, .. } = call;
        let tenant = request.tenant;
        let repeat = create_request(&caller, Some(&tenant), request.repeatable.as_ref());
        if let Some(repeat) = &repeat
            && let Some(before) = store.created_before(repeat, now).await?
        {
            return self.created_before(&tenant, &before).await;
        }
        let others = store.count_directories(&tenant, MAX_DIRECTORIES).await?;
        expect_room(others, MAX_DIRECTORIES, "directories", &tenant)?;
        let id = match request.id {
            Some(id) => id,
            None => DirectoryId::generate(self.0.random_id()?),
        };
        let name = resource_name::directory(&tenant, &id);
        expect_usable_trust(&request.settings, request.secrets.client_private_key.as_ref())?;
        self.expect_own_contacts(&tenant, &[], &request.settings).await?;
        let secrets = NewSecrets {
            bind_password: request.secrets.bind_password.as_ref(),
            client_key: request.secrets.client_private_key.as_ref(),
        };
        let settings = &request.settings;
        let record = author.change::<_, v1::Directory>(&tenant, &name, new_secrets(&secrets, None));
        let created = match &repeat {
            Some(repeat) => {
                store
                    .create_directory_once(repeat, &tenant, &id, settings, secrets, record)
                    .await
            }
            None => {
                let created = store
                    .create_directory(&tenant, &id, settings, secrets, record)
                    .await;
                created.map(Created::Now)
            }
        };
        let directory = match created.map_err(about(&name))? {
            Created::Now(directory) => directory,
            Created::Before(before) => return self.created_before(&tenant, &before).await,
        };
        Ok((&directory).into())
    }

    /// What an earlier call with this request id created, as it is now.
    async fn created_before(&self, tenant: &TenantId, id: &str) -> Result<v1::Directory, Error> {
        let name = DirectoryName {
            tenant: tenant.clone(),
            directory: stored_id(DirectoryId::parse(id))?,
        };
        Ok(self.to_wire(&self.find(&name).await?))
    }

    async fn get(&self, call: Result<Call<DirectoryName>, Error>) -> Result<v1::Directory, Error> {
        let request = call?.request;
        let directory = self.find(&request).await?;
        Ok(self.to_wire(&directory))
    }

    async fn list(
        &self,
        call: Result<Call<ListDirectories>, Error>,
    ) -> Result<v1::ListDirectoriesResponse, Error> {
        let Call {
            caller,
            request: ListDirectories { tenant, page },
            ..
        } = call?;
        let page = self.0.tokens.page(caller.tenants(), page)?;
        let read = async |part: PageRequest| self.0.store.list_directories(&tenant, &part).await;
        let show = |directory: &Directory| Some(self.to_wire(directory));
        let (directories, next_page_token) = fill(&page, read, show).await?;
        Ok(v1::ListDirectoriesResponse {
            directories,
            next_page_token,
        })
    }

    async fn delete(&self, call: Result<Call<DeleteDirectory>, Error>) -> Result<(), Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let request = call.request;
        let DirectoryName {
            tenant,
            directory: id,
        } = &request.name;
        let name = resource_name::directory(tenant, id);
        if let Some(disposition) = request.force {
            let current = self.find(&request.name).await?;
            expect_revision(request.revision, current.revision, &name)?;
            self.0
                .delete_user_syncs_of(&author, tenant, id, disposition)
                .await?;
        }
        let disposition = request.force.map(|disposition| {
            let name = v1::UserDisposition::from(disposition).as_str_name();
            AuditedFieldChange::asked("user_disposition", name)
        });
        let record = author.change::<_, v1::Directory>(tenant, &name, disposition.into_iter().collect());
        let store = &self.0.store;
        let deleted = store.delete_directory(tenant, id, request.revision, record).await;
        if let Err(error) = deleted {
            let error = about(&name)(error);
            if error.reason != Reason::DirectoryInUse {
                return Err(error);
            }
            let syncs = self.0.store.user_syncs_of_directory(tenant, id).await?;
            return Err(error.with("user_syncs", syncs.len().to_string()));
        }
        Ok(())
    }

    async fn check(
        &self,
        call: Result<Call<CheckConnection>, Error>,
    ) -> Result<v1::CheckConnectionResponse, Error> {
        let call = call?;
        // A check may confirm a new endpoint.
        let author = call.author(self.0.now())?;
        self.0
            .check_connection(&author, call.request, call.deadline)
            .await
    }

    async fn rotate(&self, call: Result<Call<RotateBindPassword>, Error>) -> Result<v1::Directory, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let request = call.request;
        let DirectoryName {
            tenant,
            directory: id,
        } = &request.name;
        let name = resource_name::directory(tenant, id);
        let current = self.find(&request.name).await?;
        expect_revision(request.revision, current.revision, &name)?;
        // Each new pending password may cause a try. So setting one counts as a check, like trying one at once.
        self.0.admit_check(tenant)?;
        if request.pending {
            return self.keep_pending(&author, request, &current).await;
        }
        // A connection consumes its password, and the store still needs it.
        let copy = Password::new(request.bind_password.expose().to_owned())
            .map_err(|_| Error::new(Reason::Internal, "a password that was valid is not any more"))?;
        self.0.try_bind_password(&current, copy).await?;
        let revision = Some(current.revision);
        let secrets = NewSecrets {
            bind_password: Some(&request.bind_password),
            client_key: None,
        };
        let record = author.change::<_, v1::Directory>(tenant, &name, new_secrets(&secrets, Some(&current)));
        let rotated = self
            .0
            .store
            .rotate_bind_password(tenant, id, revision, &request.bind_password, record)
            .await;
        let directory = rotated.map_err(changed_meanwhile(request.revision, &name))?;
        Ok(self.to_wire(&directory))
    }

    /// Keeps a password that the directory does not have yet.
    async fn keep_pending(
        &self,
        author: &Author,
        request: RotateBindPassword,
        current: &Directory,
    ) -> Result<v1::Directory, Error> {
        let DirectoryName {
            tenant,
            directory: id,
        } = &request.name;
        let name = resource_name::directory(tenant, id);
        // The last one was tried in vain, and this one may be at once.
        let (limit, settings) = (&self.0.refusal_limit, &current.settings);
        if current.pending_bind_password_refuse_time.is_some() {
            limit.admit(tenant, settings, current.refusals_allowed(), Instant::now())?;
            limit.note(tenant, settings, false, Instant::now());
        }
        let asked = vec![AuditedFieldChange::asked("pending", "true")];
        let record = author.change::<_, v1::Directory>(tenant, &name, asked);
        let kept = self
            .0
            .store
            .keep_pending_bind_password(tenant, id, Some(current.revision), &request.bind_password, record)
            .await;
        let directory = kept.map_err(changed_meanwhile(request.revision, &name))?;
        Ok(self.to_wire(&directory))
    }

    async fn expect_own_contacts(
        &self,
        tenant: &TenantId,
        before: &[String],
        settings: &DirectorySettings,
    ) -> Result<(), Error> {
        let field = "directory.contact_addresses";
        self.0
            .expect_own_addresses(tenant, field, before, &settings.contact_addresses)
            .await
    }

    async fn find(&self, name: &DirectoryName) -> Result<Directory, Error> {
        let DirectoryName { tenant, directory } = name;
        let found = self.0.store.directory(tenant, directory).await;
        found.map_err(about(&resource_name::directory(tenant, directory)))
    }

    /// The directory with the health of its hosts, as far as this process knows it.
    fn to_wire(&self, directory: &Directory) -> v1::Directory {
        let now = self.0.now();
        let seen = self.0.directories.host_status(directory).unwrap_or_default();
        let health = hosts(directory)
            .into_iter()
            .zip(&seen)
            .map(|(host, status)| host_health::health(host, status, now));
        v1::Directory {
            host_health: health.collect(),
            ..directory.into()
        }
    }
}

/// The secrets that a change sets, replaces or removes.
fn new_secrets(secrets: &NewSecrets<'_>, before: Option<&Directory>) -> Vec<AuditedFieldChange> {
    let had_password = before.is_some_and(|before| before.bind_password_set);
    // A key is stored as long as there is a certificate for it.
    let had_key = before.is_some_and(|before| before.settings.client_certificate.is_some());
    let given = [
        ("bind_password", secrets.bind_password.is_some(), had_password),
        ("client_private_key", secrets.client_key.is_some(), had_key),
    ];
    let set = given.into_iter().filter(|(_, is_given, _)| *is_given);
    set.filter_map(|(path, .., had)| {
        SecretChange::between(had, true).map(|change| AuditedFieldChange::secret(path, change))
    })
    .collect()
}

/// A stored password never travels to an endpoint for which it was not given.
pub(crate) fn password_required(resource: &str) -> Error {
    let message = "the endpoint, transport, trust or bind DN differs from what is stored: send the bind password \
                   again, since a stored secret never travels to a new endpoint";
    Error::new(Reason::BindPasswordRequired, message).with("resource", resource)
}

/// Refuses certificates and keys that a connection could not use, before they are stored.
fn expect_usable_trust(settings: &DirectorySettings, client_key: Option<&SecretBytes>) -> Result<(), Error> {
    let Err(problem) = rollcall_ldap::check_trust(settings, client_key) else {
        return Ok(());
    };
    let field = if matches!(problem, Misconfiguration::ClientCertificate(_)) {
        "directory.client_certificate"
    } else if problem == Misconfiguration::ServerName {
        "directory.tls_server_name"
    } else {
        "directory.ca_certificates"
    };
    let mut found = Violations::new();
    found.add(field, problem.to_string());
    Err(Error::invalid(found))
}

fn hosts(directory: &Directory) -> Vec<String> {
    directory.settings.hosts.iter().map(ToString::to_string).collect()
}
