//! A directory, a worker and a user sync for tests of runs, and the users as the store has them.

use std::collections::BTreeMap;

use chrono::Utc;
use rollcall_core::event::Event;
use rollcall_core::feed::Mark;
use rollcall_core::id::{TenantId, UserId, UserSyncId, UserSyncKey, Uuid};
use rollcall_core::user::{Profile, StateReason, User, UserState};
use rollcall_proto::v1::{self, ChangeType, IssueType, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::Clock;
use rollcall_store::{NewUser, PageRequest, Recorded, Store, UserFilter};
use rollcall_testkit::{Ldif, ScriptedLdap, Slapd, SlapdBuilder, TestDatabase};

use crate::company::{DIRECTORY, STAFF, TENANT, create_sync, create_tenant};
use crate::harness::{ADMIN, Clients, TestWorker, mask, ok};
use crate::runs::{rest, run_to_rest};

pub const BASE: &str = "dc=example,dc=org";

/// Around a server `D`, which is a real one where nothing else is said.
pub struct World<D = Slapd> {
    pub slapd: D,
    pub worker: TestWorker,
    pub clients: Clients,
    pub store: Store,
    _database: Option<TestDatabase>,
}

/// The units `Staff`, `Guests` and `Groups`.
pub fn units() -> Ldif {
    let mut ldif = Ldif::new();
    for unit in ["Staff", "Guests", "Groups"] {
        ldif.entry(&format!("ou={unit},{BASE}"))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", unit);
    }
    ldif
}

/// A person with a mail address made of the uid.
pub fn person<'a>(ldif: &'a mut Ldif, unit: &str, uid: &str) -> &'a mut Ldif {
    ldif.entry(&dn(unit, uid))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", uid)
        .attribute("cn", uid)
        .attribute("sn", uid)
        .attribute("mail", format!("{uid}@example.org"))
}

pub fn dn(unit: &str, uid: &str) -> String {
    format!("uid={uid},ou={unit},{BASE}")
}

/// A unit of people named `p00`, `p01` and so on.
pub fn people(ldif: &mut Ldif, unit: &str, count: usize) {
    for number in 0..count {
        person(ldif, unit, &format!("p{number:02}"));
    }
}

/// A directory that a test scripts, whose accounts are below `base`.
pub fn scripted_directory(server: &ScriptedLdap, base: &str) -> v1::Directory {
    v1::Directory {
        display_name: "Scripted".into(),
        hosts: vec![format!("ldap://{}", server.address())],
        transport_security: v1::TransportSecurity::Plaintext.into(),
        allow_plaintext: true,
        bind_dn: format!("cn=rollcall,{base}"),
        bind_password: "secret".into(),
        ..v1::Directory::default()
    }
}

/// The directory as an admin enters it who has no certificate.
pub fn directory_at(url: String, slapd: &Slapd) -> v1::Directory {
    v1::Directory {
        display_name: "Head office".into(),
        hosts: vec![url],
        transport_security: v1::TransportSecurity::Plaintext.into(),
        allow_plaintext: true,
        bind_dn: slapd.service_dn(),
        bind_password: slapd.service_password().into(),
        ..v1::Directory::default()
    }
}

impl World {
    /// Starts the directory and a worker, and creates the user sync "staff".
    pub async fn start(builder: SlapdBuilder, sync: v1::UserSync) -> Self {
        Self::start_at(builder, sync, Clock::System).await
    }

    /// The same on PostgreSQL.
    pub async fn start_on_postgres(builder: SlapdBuilder, sync: v1::UserSync) -> Self {
        let start = move || (builder.start().unwrap(), TestDatabase::new().unwrap());
        let (slapd, database) = tokio::task::spawn_blocking(start).await.unwrap();
        let (directory, port) = (directory_at(slapd.url(), &slapd), slapd.address().port());
        let settings = [("store.url", database.url())];
        let world = Self::around_with(&settings, slapd, port, directory, sync, Clock::System).await;
        Self {
            _database: Some(database),
            ..world
        }
    }

    pub async fn start_at(builder: SlapdBuilder, sync: v1::UserSync, clock: Clock) -> Self {
        let slapd = tokio::task::spawn_blocking(move || builder.start().unwrap())
            .await
            .unwrap();
        let (directory, port) = (directory_at(slapd.url(), &slapd), slapd.address().port());
        Self::around(slapd, port, directory, sync, clock).await
    }
}

impl<D> World<D> {
    /// The same with a server that runs already.
    pub async fn around(
        server: D,
        port: u16,
        directory: v1::Directory,
        sync: v1::UserSync,
        clock: Clock,
    ) -> Self {
        Self::around_with(&[], server, port, directory, sync, clock).await
    }

    /// The same with these settings of the worker.
    pub async fn around_with(
        settings: &[(&str, &str)],
        server: D,
        port: u16,
        directory: v1::Directory,
        sync: v1::UserSync,
        clock: Clock,
    ) -> Self {
        let worker = TestWorker::start_with(&[port], settings, clock).await;
        let mut clients = worker.clients(ADMIN);
        create_tenant(&mut clients).await;
        let request = v1::CreateDirectoryRequest {
            parent: TENANT.into(),
            directory_id: "hq".into(),
            directory: Some(directory),
            request_id: String::new(),
        };
        ok(clients.directories.create_directory(request)).await;
        create_sync(&mut clients, "staff", sync).await;
        let store = worker.store().await;
        Self {
            slapd: server,
            worker,
            clients,
            store,
            _database: None,
        }
    }

    pub async fn apply(&mut self) -> v1::SyncRun {
        run_to_rest(&mut self.clients, SyncRunMode::Apply).await
    }

    /// A run that must end with nothing to complain of.
    pub async fn succeed(&mut self) -> v1::SyncRun {
        let run = self.apply().await;
        assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
        run
    }

    /// Releases a plan and waits for its end.
    pub async fn release(&mut self, run: &v1::SyncRun) -> v1::SyncRun {
        let released = self.release_any(run).await;
        assert_eq!(released.name, run.name);
        released
    }

    /// The same, where it may be the plan of a newer run.
    pub async fn release_any(&mut self, run: &v1::SyncRun) -> v1::SyncRun {
        let request = v1::ApplySyncRunRequest {
            name: run.name.clone(),
        };
        let released = ok(self.clients.runs.apply_sync_run(request)).await;
        rest(&mut self.clients, &released.name).await
    }

    /// Changes these fields of the user sync.
    pub async fn update(&mut self, sync: v1::UserSync, fields: &[&str]) {
        let request = v1::UpdateUserSyncRequest {
            user_sync: Some(v1::UserSync {
                name: STAFF.into(),
                directory: DIRECTORY.into(),
                ..sync
            }),
            update_mask: mask(fields),
        };
        ok(self.clients.user_syncs.update_user_sync(request)).await;
    }

    /// Every user of the tenant, by login.
    pub async fn users(&self) -> BTreeMap<String, User> {
        let page = PageRequest::first(1000);
        let users = self
            .store
            .list_users(&tenant(), &UserFilter::default(), &page)
            .await
            .unwrap();
        let users = users.items.into_iter();
        users.map(|user| (user.profile.login.clone(), user)).collect()
    }

    /// The login and role of every user.
    pub async fn roles(&self) -> Vec<(String, String)> {
        let users = self.users().await.into_iter();
        users.map(|(login, user)| (login, user.profile.role)).collect()
    }

    /// State and reason of one user.
    pub async fn state(&self, login: &str) -> (UserState, Option<StateReason>) {
        let users = self.users().await;
        let user = &users[login];
        (user.state, user.state_reason)
    }

    /// How many users may log in.
    pub async fn active(&self) -> usize {
        let users = self.users().await;
        users
            .values()
            .filter(|user| user.state == UserState::Active)
            .count()
    }

    /// Events of the tenant so far.
    pub async fn events(&self) -> i64 {
        self.store.feed_end(Some(&tenant())).await.unwrap().position
    }

    /// The events of the tenant behind a position.
    pub async fn events_after(&self, position: i64) -> Vec<Event> {
        let events = self.store.list_events(Some(&tenant()), Mark::START, 1000).await;
        let behind = |event: &Event| event.tenant_position > position;
        events.unwrap().into_iter().filter(behind).collect()
    }

    pub async fn issues(&mut self, run: &v1::SyncRun) -> Vec<v1::SyncIssue> {
        let request = v1::ListSyncRunIssuesRequest {
            parent: run.name.clone(),
            ..Default::default()
        };
        ok(self.clients.runs.list_sync_run_issues(request)).await.issues
    }

    /// The kinds of a run's issues.
    pub async fn issue_types(&mut self, run: &v1::SyncRun) -> Vec<IssueType> {
        self.issues(run).await.iter().map(v1::SyncIssue::r#type).collect()
    }

    /// Login and kind of a run's changes.
    pub async fn changes(&mut self, run: &v1::SyncRun) -> Vec<(String, ChangeType)> {
        let request = v1::ListSyncRunChangesRequest {
            parent: run.name.clone(),
            page_size: 1000,
            ..Default::default()
        };
        let changes = ok(self.clients.runs.list_sync_run_changes(request)).await.changes;
        let mut changes: Vec<_> = changes
            .into_iter()
            .map(|change| (change.login.clone(), change.r#type()))
            .collect();
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        changes
    }

    pub async fn health(&mut self) -> v1::UserSyncHealth {
        let request = v1::GetUserSyncRequest { name: STAFF.into() };
        let sync = ok(self.clients.user_syncs.get_user_sync(request)).await;
        sync.health.unwrap_or_default()
    }

    /// What the health of the user sync says.
    pub async fn problems(&mut self) -> Vec<String> {
        let problems = self.health().await.problems.into_iter();
        problems.map(|problem| problem.message).collect()
    }

    pub async fn refresh(&mut self, login: &str) -> v1::RefreshUserResponse {
        let users = self.users().await;
        let request = v1::RefreshUserRequest {
            name: format!("{TENANT}/users/{}", users[login].id.0),
        };
        ok(self.clients.user_syncs.refresh_user(request)).await
    }

    /// A LOCAL user with this login.
    pub async fn create_local(&self, login: &str, owner: bool) {
        let user = NewUser {
            id: UserId(Uuid::from_u128(u128::from(owner) + 1)),
            profile: Profile {
                login: login.into(),
                role: "local".into(),
                ..Profile::default()
            },
            owner,
        };
        self.store
            .create_local_user(&tenant(), user, Recorded::by_nobody(Utc::now()))
            .await
            .unwrap();
    }
}

pub fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

/// The user sync "staff".
pub fn staff_key() -> UserSyncKey {
    UserSyncKey {
        tenant: tenant(),
        user_sync: UserSyncId::parse("staff").unwrap(),
    }
}
