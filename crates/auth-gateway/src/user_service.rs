//! UserService: convert, authorize, call the store, convert.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use ring::rand::{SecureRandom, SystemRandom};
use rollcall_core::error::{Error, Reason};
use rollcall_core::feed::Mark;
use rollcall_core::id::{TenantId, UserId, Uuid};
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::soft_lock::{DirectoryLockout, SoftLock};
use rollcall_core::user::User;
use rollcall_core::violation::Violations;
use rollcall_proto::convert::user::{BatchGetUsers, ListUsers, LookupUser};
use rollcall_proto::convert::user_events::{Follow, ListUserEvents};
use rollcall_proto::convert::user_write::{BlockUser, CreateUser, EraseUser, ExpectedUser, UpdateUser};
use rollcall_proto::resource_name::{self, TenantScope, UserName};
use rollcall_proto::timestamp;
use rollcall_proto::v1::user_service_server::UserService;
use rollcall_proto::v1::{
    self, BatchGetUsersResponse, EraseUserResponse, ListUsersResponse, UnlockUserResponse,
};
use rollcall_runtime::clock::Clock;
use rollcall_store::{Created, NewUser, PageRequest, Store};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::config::SoftLockSettings;
use crate::users::feed::{self, Feed};
use crate::users::{erasure, filter};
use rollcall_service::call::{Call, answer, begin, create_request, failed, to_its_end};
use rollcall_service::directories::Directories;
use rollcall_service::message_size::MAX_ANSWER_BYTES;
use rollcall_service::methods::Method;
use rollcall_service::paging::fill;
use rollcall_service::resource::{about, changed_meanwhile, stored_id};
use rollcall_service::tokens::Tokens;

/// Events on their way to one reader.
const STREAM_BUFFER: usize = 4;

/// Serves UserService. Clones share everything.
#[derive(Clone)]
pub(crate) struct Users {
    pub(crate) store: Store,
    pub(crate) tokens: Tokens,
    pub(crate) clock: Clock,
    pub(crate) policy: LoginPolicy,
    pub(crate) soft_lock: SoftLockSettings,
    /// How often streams look for events.
    pub(crate) poll_interval: Duration,
    pub(crate) directories: Directories,
    /// Ends streams.
    pub(crate) stop: CancellationToken,
}

type Answer<T> = Result<Response<T>, Status>;

impl Users {
    async fn get(&self, request: Request<v1::GetUserRequest>) -> Result<v1::User, Error> {
        let name = self.begin::<_, UserName>(request).await?.request;
        self.shown(self.user(&name).await?).await
    }

    async fn batch_get(
        &self,
        request: Request<v1::BatchGetUsersRequest>,
    ) -> Result<BatchGetUsersResponse, Error> {
        let wanted = self.begin::<_, BatchGetUsers>(request).await?.request;
        let found = self.store.batch_users(&wanted.tenant, &wanted.users).await?;
        let by_id: BTreeMap<UserId, &User> = found.iter().map(|user| (user.id, user)).collect();
        let mut answer = BatchGetUsersResponse::default();
        for id in &wanted.users {
            match by_id.get(id) {
                Some(user) => answer.users.push(v1::User::from(*user)),
                None => answer.missing.push(resource_name::user(&wanted.tenant, *id)),
            }
        }
        self.add_last_logins(&mut answer.users).await?;
        let mut found = Violations::new();
        found.require(
            answer.encoded_len() <= MAX_ANSWER_BYTES,
            "names",
            "these users are together larger than a client takes: ask for fewer at a time",
        );
        found.into_result()?;
        Ok(answer)
    }

    async fn list(&self, request: Request<v1::ListUsersRequest>) -> Result<ListUsersResponse, Error> {
        let Call {
            caller,
            request: wanted,
            ..
        } = self.begin::<_, ListUsers>(request).await?;
        let tenant = wanted.scope.tenant();
        let page = self.tokens.page(caller.tenants(), wanted.page)?;
        let event_cursor = match page.is_first() {
            false => String::new(),
            true => self.feed(&wanted.scope).end().await?,
        };
        let coarse = filter::for_store(&wanted.filter);
        let read = async |part: PageRequest| match tenant {
            Some(tenant) => self.store.list_users(tenant, &coarse, &part).await,
            None => self.store.list_all_users(&coarse, &part).await,
        };
        let show = |user: &User| {
            let shown = || v1::User {
                // A placeholder, so that the page leaves room for it.
                last_login_time: Some(timestamp(user.update_time)),
                ..v1::User::from(user)
            };
            filter::matches(&wanted.filter, user).then(shown)
        };
        let (mut users, next_page_token) = fill(&page, read, show).await?;
        self.add_last_logins(&mut users).await?;
        Ok(ListUsersResponse {
            users,
            next_page_token,
            event_cursor,
        })
    }

    async fn lookup(&self, request: Request<v1::LookupUserRequest>) -> Result<v1::User, Error> {
        let wanted = self.begin::<_, LookupUser>(request).await?.request;
        let found = self.store.lookup_user(&wanted.tenant, &wanted.identifier).await?;
        let user = found.ok_or_else(|| {
            let parent = resource_name::tenant(&wanted.tenant);
            Error::new(Reason::UserNotFound, "nobody has this login or e-mail address")
                .with("resource", parent)
        })?;
        self.shown(user).await
    }

    async fn create(&self, request: Request<v1::CreateUserRequest>) -> Result<v1::User, Error> {
        let call = self.begin::<_, CreateUser>(request).await?;
        let author = call.author(self.clock.now())?;
        let Call {
            caller,
            request: wanted,
            ..
        } = call;
        wanted.validate(&self.policy)?;
        let tenant = &wanted.tenant;
        let repeat = create_request(&caller, Some(tenant), wanted.repeatable.as_ref());
        let new = NewUser {
            id: random_id()?,
            profile: wanted.profile,
            owner: wanted.owner,
        };
        let name = resource_name::user(tenant, new.id);
        let record = author.change::<_, v1::User>(tenant, &name, Vec::new());
        let created = match &repeat {
            Some(repeat) => {
                self.store
                    .create_local_user_once(repeat, tenant, new, record)
                    .await
            }
            None => {
                let created = self.store.create_local_user(tenant, new, record).await;
                created.map(Created::Now)
            }
        };
        let user = match created.map_err(about(&name))? {
            Created::Now(user) => user,
            Created::Before(before) => {
                let before = stored_id(before.parse().ok())?;
                let name = UserName {
                    tenant: tenant.clone(),
                    user: UserId(before),
                };
                return Ok((&self.user(&name).await?).into());
            }
        };
        Ok((&user).into())
    }

    async fn update(&self, request: Request<v1::UpdateUserRequest>) -> Result<v1::User, Error> {
        let call = self.begin::<_, UpdateUser>(request).await?;
        let author = call.author(self.clock.now())?;
        let wanted = call.request;
        let UserName { tenant, user: id } = &wanted.name;
        let name = resource_name::user(tenant, *id);
        let record = author.change::<_, v1::User>(tenant, &name, Vec::new());
        let current = self.user(&wanted.name).await?;
        if current.origin.is_some() && wanted.only_clears_owner() && !current.owner {
            return Ok((&current).into());
        }
        let (profile, owner) = wanted.apply(&current, &self.policy)?;
        // The revision on which the update is based must still be the user's when it is written.
        let revision = wanted.revision.unwrap_or(current.revision);
        let updated = self
            .store
            .update_local_user(tenant, *id, Some(revision), &profile, owner, record)
            .await;
        let user = updated.map_err(changed_meanwhile(wanted.revision, &name))?;
        Ok((&user).into())
    }

    async fn delete(&self, request: Request<v1::DeleteUserRequest>) -> Result<(), Error> {
        let call = self.begin::<_, ExpectedUser>(request).await?;
        let author = call.author(self.clock.now())?;
        let wanted = call.request;
        let UserName { tenant, user: id } = &wanted.name;
        let name = resource_name::user(tenant, *id);
        let record = author.change::<_, v1::User>(tenant, &name, Vec::new());
        let deleted = self
            .store
            .delete_local_user(tenant, *id, wanted.revision, record)
            .await;
        deleted.map_err(about(&name))
    }

    async fn erase(&self, request: Request<v1::EraseUserRequest>) -> Result<EraseUserResponse, Error> {
        let call = self.begin::<_, EraseUser>(request).await?;
        erasure::erase(&self.store, &self.directories, &self.clock, call).await
    }

    async fn block(&self, request: Request<v1::BlockUserRequest>) -> Result<v1::User, Error> {
        let call = self.begin::<_, BlockUser>(request).await?;
        let author = call.author(self.clock.now())?;
        let wanted = call.request;
        let UserName { tenant, user: id } = &wanted.user.name;
        let name = resource_name::user(tenant, *id);
        let record = author.change::<_, v1::User>(tenant, &name, Vec::new());
        let blocked = self
            .store
            .block_user(tenant, *id, wanted.user.revision, &wanted.reason, record)
            .await;
        let user = blocked.map_err(about(&name))?;
        Ok((&user).into())
    }

    async fn unblock(&self, request: Request<v1::UnblockUserRequest>) -> Result<v1::User, Error> {
        let call = self.begin::<_, ExpectedUser>(request).await?;
        let author = call.author(self.clock.now())?;
        let wanted = call.request;
        let UserName { tenant, user: id } = &wanted.name;
        let name = resource_name::user(tenant, *id);
        let record = author.change::<_, v1::User>(tenant, &name, Vec::new());
        let unblocked = self
            .store
            .unblock_user(tenant, *id, wanted.revision, record)
            .await;
        let user = unblocked.map_err(about(&name))?;
        Ok((&user).into())
    }

    async fn deactivate(&self, request: Request<v1::DeactivateUserRequest>) -> Result<v1::User, Error> {
        let call = self.begin::<_, ExpectedUser>(request).await?;
        let author = call.author(self.clock.now())?;
        let wanted = call.request;
        let UserName { tenant, user: id } = &wanted.name;
        let name = resource_name::user(tenant, *id);
        let record = author.change::<_, v1::User>(tenant, &name, Vec::new());
        let deactivated = self
            .store
            .deactivate_local_user(tenant, *id, wanted.revision, record)
            .await;
        let user = deactivated.map_err(about(&name))?;
        Ok((&user).into())
    }

    async fn reactivate(&self, request: Request<v1::ReactivateUserRequest>) -> Result<v1::User, Error> {
        let call = self.begin::<_, ExpectedUser>(request).await?;
        let author = call.author(self.clock.now())?;
        let wanted = call.request;
        let UserName { tenant, user: id } = &wanted.name;
        let name = resource_name::user(tenant, *id);
        let record = author.change::<_, v1::User>(tenant, &name, Vec::new());
        let reactivated = self
            .store
            .reactivate_local_user(tenant, *id, wanted.revision, record)
            .await;
        let user = reactivated.map_err(about(&name))?;
        Ok((&user).into())
    }

    async fn unlock(&self, request: Request<v1::UnlockUserRequest>) -> Result<UnlockUserResponse, Error> {
        let call = self.begin::<_, UserName>(request).await?;
        let author = call.author(self.clock.now())?;
        let name = call.request;
        let user = self.user(&name).await?;
        let (own, lockout) = match &user.origin {
            Some(origin) => {
                let directory = self.store.directory(&name.tenant, &origin.directory).await?;
                (directory.settings.soft_lock, directory.observed.lockout())
            }
            None => (SoftLock::default(), DirectoryLockout::default()),
        };
        let policy = self.soft_lock.defaults().rules(&own, lockout).policy;
        let resource = resource_name::user(&name.tenant, name.user);
        let record = author.event(&name.tenant, &resource, Vec::new());
        let forgotten = self.store.unlock_user(&name.tenant, name.user, &record).await?;
        let was_locked =
            forgotten.is_some_and(|(count, now)| policy.reserve(Some(count), None, now).is_err());
        Ok(UnlockUserResponse { was_locked })
    }

    async fn list_events(
        &self,
        request: Request<v1::ListUserEventsRequest>,
    ) -> Result<v1::ListUserEventsResponse, Error> {
        let wanted = self.begin::<_, ListUserEvents>(request).await?.request;
        feed::list(&self.feed(&wanted.follow.scope), &wanted).await
    }

    async fn follow(
        &self,
        request: Request<v1::WatchUserEventsRequest>,
    ) -> Result<(Feed, Follow, Option<Mark>), Error> {
        let follow = self.begin::<_, Follow>(request).await?.request;
        let feed = self.feed(&follow.scope);
        let after = feed.mark(&follow.after)?;
        Ok((feed, follow, after))
    }

    fn feed(&self, scope: &TenantScope) -> Feed {
        Feed {
            store: self.store.clone(),
            tokens: self.tokens.clone(),
            scope: scope.clone(),
        }
    }

    async fn begin<W: Method, T: TryFrom<W, Error = Error>>(
        &self,
        request: Request<W>,
    ) -> Result<Call<T>, Error> {
        begin(&self.store, request).await
    }

    /// A user with the time of the last login.
    async fn shown(&self, user: User) -> Result<v1::User, Error> {
        let mut shown = [v1::User::from(&user)];
        self.add_last_logins(&mut shown).await?;
        let [user] = shown;
        Ok(user)
    }

    /// Adds when each of these users, perhaps of several tenants, last logged in.
    async fn add_last_logins(&self, users: &mut [v1::User]) -> Result<(), Error> {
        let mut by_tenant: BTreeMap<TenantId, Vec<UserId>> = BTreeMap::new();
        let names: Vec<_> = users
            .iter()
            .map(|user| resource_name::parse_user(&user.name))
            .collect();
        for name in names.iter().flatten() {
            by_tenant.entry(name.tenant.clone()).or_default().push(name.user);
        }
        let mut last = BTreeMap::new();
        for (tenant, ids) in by_tenant {
            last.extend(self.store.last_logins(&tenant, &ids).await?);
        }
        for (user, name) in users.iter_mut().zip(names) {
            let time = name.and_then(|name| last.get(&name.user));
            user.last_login_time = time.map(|time| timestamp(*time));
        }
        Ok(())
    }

    async fn user(&self, name: &UserName) -> Result<User, Error> {
        let found = self.store.user(&name.tenant, name.user).await;
        found.map_err(about(&resource_name::user(&name.tenant, name.user)))
    }
}

#[tonic::async_trait]
impl UserService for Users {
    type WatchUserEventsStream = ReceiverStream<Result<v1::WatchUserEventsResponse, Status>>;

    async fn get_user(&self, request: Request<v1::GetUserRequest>) -> Answer<v1::User> {
        answer(self.get(request).await)
    }

    async fn batch_get_users(
        &self,
        request: Request<v1::BatchGetUsersRequest>,
    ) -> Answer<BatchGetUsersResponse> {
        answer(self.batch_get(request).await)
    }

    async fn list_users(&self, request: Request<v1::ListUsersRequest>) -> Answer<ListUsersResponse> {
        answer(self.list(request).await)
    }

    async fn lookup_user(&self, request: Request<v1::LookupUserRequest>) -> Answer<v1::User> {
        answer(self.lookup(request).await)
    }

    async fn create_user(&self, request: Request<v1::CreateUserRequest>) -> Answer<v1::User> {
        let users = self.clone();
        answer(to_its_end(async move { users.create(request).await }).await)
    }

    async fn update_user(&self, request: Request<v1::UpdateUserRequest>) -> Answer<v1::User> {
        let users = self.clone();
        answer(to_its_end(async move { users.update(request).await }).await)
    }

    async fn delete_user(&self, request: Request<v1::DeleteUserRequest>) -> Answer<()> {
        let users = self.clone();
        answer(to_its_end(async move { users.delete(request).await }).await)
    }

    async fn erase_user(&self, request: Request<v1::EraseUserRequest>) -> Answer<EraseUserResponse> {
        let users = self.clone();
        answer(to_its_end(async move { users.erase(request).await }).await)
    }

    async fn block_user(&self, request: Request<v1::BlockUserRequest>) -> Answer<v1::User> {
        let users = self.clone();
        answer(to_its_end(async move { users.block(request).await }).await)
    }

    async fn unblock_user(&self, request: Request<v1::UnblockUserRequest>) -> Answer<v1::User> {
        let users = self.clone();
        answer(to_its_end(async move { users.unblock(request).await }).await)
    }

    async fn deactivate_user(&self, request: Request<v1::DeactivateUserRequest>) -> Answer<v1::User> {
        let users = self.clone();
        answer(to_its_end(async move { users.deactivate(request).await }).await)
    }

    async fn reactivate_user(&self, request: Request<v1::ReactivateUserRequest>) -> Answer<v1::User> {
        let users = self.clone();
        answer(to_its_end(async move { users.reactivate(request).await }).await)
    }

    async fn unlock_user(&self, request: Request<v1::UnlockUserRequest>) -> Answer<UnlockUserResponse> {
        let users = self.clone();
        answer(to_its_end(async move { users.unlock(request).await }).await)
    }

    async fn list_user_events(
        &self,
        request: Request<v1::ListUserEventsRequest>,
    ) -> Answer<v1::ListUserEventsResponse> {
        answer(self.list_events(request).await)
    }

    async fn watch_user_events(
        &self,
        request: Request<v1::WatchUserEventsRequest>,
    ) -> Answer<Self::WatchUserEventsStream> {
        let (feed, follow, after) = self.follow(request).await.map_err(|error| failed(&error))?;
        let (to, events) = mpsc::channel(STREAM_BUFFER);
        tokio::spawn(feed::watch(
            feed,
            follow,
            after,
            self.poll_interval,
            self.clock.clone(),
            self.stop.clone(),
            to,
        ));
        Ok(Response::new(ReceiverStream::new(events)))
    }
}

fn random_id() -> Result<UserId, Error> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(Reason::Internal, "the operating system gives no random numbers"))?;
    // Version 4 (RFC 9562 section 5.4).
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(UserId(Uuid::from_bytes(bytes)))
}
