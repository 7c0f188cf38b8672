//! Both services in this process, on one store, at a time that the test sets, and what they show.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use auth_gateway::config::GatewaySettings;
use auth_gateway::serve::Gateway;
use chrono::{DateTime, Utc};
use rollcall_proto::v1;
use rollcall_proto::v1::audit_service_client::AuditServiceClient;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::directory_service_client::DirectoryServiceClient;
use rollcall_proto::v1::sync_run_service_client::SyncRunServiceClient;
use rollcall_proto::v1::tenant_service_client::TenantServiceClient;
use rollcall_proto::v1::user_service_client::UserServiceClient;
use rollcall_proto::v1::user_sync_service_client::UserSyncServiceClient;
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_runtime::config::{Loaded, Sources, load};
use rollcall_runtime::health::Health;
use rollcall_runtime::server::GrpcServer;
use rollcall_store::{Keyring, Store, StoreOptions};
use rollcall_testkit::{TestDatabase, wait_for};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;

mod worker;

use worker::Process;

pub(crate) const TENANT: &str = "tenants/acme";
/// Longest time until a run rests.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a worker may be silent before another one takes its runs.
const LEASE: Duration = Duration::from_secs(2);
const KEYRING: &str = "k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Where users are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// A running Rollcall; gone when dropped.
pub(crate) struct Rollcall {
    clock: ManualClock,
    process: Process,
    worker: Channel,
    gateway: Channel,
    stop: CancellationToken,
    cursor: String,
    /// The audit events of logins that were seen.
    logins: BTreeSet<String>,
    _files: tempfile::TempDir,
    _database: Option<TestDatabase>,
}

impl Rollcall {
    /// Starts both services, which may dial this port.
    pub(crate) async fn start(backend: Backend, port: u16, now: DateTime<Utc>) -> Result<Self> {
        Self::start_with(backend, port, now, &[]).await
    }

    /// The same with these settings of the worker.
    pub(crate) async fn start_with(
        backend: Backend,
        port: u16,
        now: DateTime<Utc>,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let database = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(tokio::task::spawn_blocking(TestDatabase::new).await??),
        };
        let url = match &database {
            None => format!("sqlite:{}", files.path().join("rollcall.db").display()),
            Some(database) => database.url().to_owned(),
        };
        let keyring = Keyring::parse(KEYRING).map_err(|error| anyhow!("{error:?}"))?;
        let store = Store::connect(&url, keyring, StoreOptions::default()).await?;
        store.migrate().await?;
        store.close().await;

        let clock = ManualClock::new(now);
        let stop = CancellationToken::new();
        let shared = [
            ("server.listen", "127.0.0.1:0".to_owned()),
            ("store.url", url),
            ("keyring.key", KEYRING.to_owned()),
            ("egress.allow_cidrs", "127.0.0.0/8".to_owned()),
            ("egress.allow_ports", port.to_string()),
        ];
        let flags = |own: &[(&str, String)]| Sources {
            flags: shared
                .iter()
                .chain(own)
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
            ..Sources::default()
        };
        let own = [
            ("scheduler.enabled", "false".to_owned()),
            ("runs.lease_ttl", format!("{}s", LEASE.as_secs())),
            ("runs.manual_pause", "0s".to_owned()),
        ];
        let own: Vec<(&str, String)> = settings
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .chain(own)
            .collect();
        let process = Process::start(flags(&own).flags, Clock::Manual(clock.clone())).await?;
        let worker_url = process.url();
        let worker = Channel::from_shared(worker_url.clone())?.connect().await?;
        let settings = flags(&[
            ("worker.endpoint", worker_url),
            ("throttle.mode", "log".to_owned()),
            // However many nights the clock goes on: what is remembered for a while is remembered by the machine's time.
            ("throttle.replay", "0s".to_owned()),
        ]);
        let gateway = gateway(&settings, Clock::Manual(clock.clone()), stop.clone()).await?;
        Ok(Self {
            clock,
            process,
            worker,
            gateway,
            stop,
            cursor: String::new(),
            logins: BTreeSet::new(),
            _files: files,
            _database: database,
        })
    }

    pub(crate) fn set_time(&self, now: DateTime<Utc>) {
        self.clock.set(now);
    }

    pub(crate) fn tenants(&self) -> TenantServiceClient<Channel> {
        TenantServiceClient::new(self.worker.clone())
    }

    pub(crate) fn directories(&self) -> DirectoryServiceClient<Channel> {
        DirectoryServiceClient::new(self.worker.clone())
    }

    pub(crate) fn user_syncs(&self) -> UserSyncServiceClient<Channel> {
        UserSyncServiceClient::new(self.worker.clone())
    }

    pub(crate) fn runs(&self) -> SyncRunServiceClient<Channel> {
        SyncRunServiceClient::new(self.worker.clone())
    }

    pub(crate) fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.gateway.clone())
    }

    pub(crate) fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.gateway.clone())
    }

    /// Creates the tenant with this directory and a user sync of it.
    pub(crate) async fn create(&self, directory: v1::Directory, user_sync: v1::UserSync) -> Result<()> {
        let tenant = v1::CreateTenantRequest {
            tenant: Some(v1::Tenant {
                display_name: "Acme".to_owned(),
                user_sync_enabled: true,
                ..v1::Tenant::default()
            }),
            tenant_id: "acme".to_owned(),
            ..v1::CreateTenantRequest::default()
        };
        self.tenants().create_tenant(tenant).await?;
        let directory = v1::CreateDirectoryRequest {
            parent: TENANT.to_owned(),
            directory_id: "hq".to_owned(),
            directory: Some(directory),
            ..v1::CreateDirectoryRequest::default()
        };
        self.directories().create_directory(directory).await?;
        let user_sync = v1::CreateUserSyncRequest {
            parent: TENANT.to_owned(),
            user_sync_id: "staff".to_owned(),
            user_sync: Some(user_sync),
            ..v1::CreateUserSyncRequest::default()
        };
        self.user_syncs().create_user_sync(user_sync).await?;
        Ok(())
    }

    /// A run to its rest.
    pub(crate) async fn run(&self, sync: &str, mode: v1::SyncRunMode) -> Result<v1::SyncRun> {
        let request = v1::RunUserSyncRequest {
            name: sync.to_owned(),
            mode: mode.into(),
            request_id: String::new(),
        };
        let name = self.begin(&request).await?;
        self.rest(&name).await
    }

    /// A run whose worker is killed on the way, as soon as `there` says so. Another one carries it on.
    pub(crate) async fn run_killed(
        &mut self,
        sync: &str,
        mode: v1::SyncRunMode,
        there: impl Fn() -> bool,
    ) -> Result<v1::SyncRun> {
        let request = v1::RunUserSyncRequest {
            name: sync.to_owned(),
            mode: mode.into(),
            request_id: String::new(),
        };
        let name = self.begin(&request).await?;
        let ended = async || {
            let rests = self.now_of(&name).await.is_some_and(|run| rests(&run));
            there() || rests
        };
        wait_for("the run is under way", LIMIT, ended).await?;
        self.process.kill_and_start().await?;
        if self.now_of(&name).await.is_some_and(|run| rests(&run)) {
            return self.rest(&name).await;
        }
        // The lease of the dead worker ends by itself. Whoever asks for a run then has this one carried on first.
        let killed = Instant::now();
        wait_for("the lease ends", LIMIT, async || killed.elapsed() > LEASE).await?;
        let refused = self.user_syncs().run_user_sync(request).await;
        if !matches!(&refused, Err(status) if status.code() == Code::Aborted) {
            bail!("a run begins before the other one was carried on: {refused:?}");
        }
        self.rest(&name).await
    }

    /// Starts a run; its name.
    async fn begin(&self, request: &v1::RunUserSyncRequest) -> Result<String> {
        let started = Mutex::new(None);
        // A run that rests may hold the user sync for a moment longer.
        wait_for("a run starts", LIMIT, async || {
            let answer = self.user_syncs().run_user_sync(request.clone()).await;
            let again = matches!(&answer, Err(status) if status.code() == Code::Aborted);
            *started.lock().unwrap() = Some(answer);
            !again
        })
        .await?;
        let run = started.into_inner().unwrap().context("no run")??;
        Ok(run.into_inner().name)
    }

    async fn now_of(&self, name: &str) -> Option<v1::SyncRun> {
        let get = v1::GetSyncRunRequest {
            name: name.to_owned(),
        };
        self.runs()
            .get_sync_run(get)
            .await
            .ok()
            .map(tonic::Response::into_inner)
    }

    /// Releases a plan.
    pub(crate) async fn apply(&self, request: v1::ApplySyncRunRequest) -> Result<()> {
        wait_for("a plan is released", LIMIT, async || {
            let answer = self.runs().apply_sync_run(request.clone()).await;
            !matches!(&answer, Err(status) if status.code() == Code::Aborted)
        })
        .await
    }

    /// A run that somebody started, at its rest. Asks for it again and again, since its progress is told twice a second.
    pub(crate) async fn rest(&self, name: &str) -> Result<v1::SyncRun> {
        let found = Mutex::new(None);
        wait_for("the run rests", LIMIT, async || {
            let Some(run) = self.now_of(name).await else {
                return false;
            };
            let rests = rests(&run);
            *found.lock().unwrap() = Some(run);
            rests
        })
        .await?;
        found.into_inner().unwrap().context("no run")
    }

    /// Why the login ended as it did that came after the last call. Several may be of one time, in any order.
    pub(crate) async fn last_login(&mut self) -> Result<String> {
        let request = v1::ListAuditEventsRequest {
            parent: TENANT.to_owned(),
            page_size: 20,
            ..v1::ListAuditEventsRequest::default()
        };
        let mut client = AuditServiceClient::new(self.worker.clone());
        let events = client.list_audit_events(request).await?.into_inner().audit_events;
        let mut reasons = Vec::new();
        for event in events {
            if let Some(v1::audit_event::Kind::Login(login)) = event.kind
                && self.logins.insert(event.name)
                // Refusals that were counted become one event when nobody waits for it.
                && login.first_attempt_time.is_none()
            {
                reasons.push(login.reason);
            }
        }
        Ok(reasons.join(" and "))
    }

    /// How a user sync does.
    pub(crate) async fn health(&self, sync: &str) -> Result<v1::UserSyncHealth> {
        let request = v1::GetUserSyncRequest {
            name: sync.to_owned(),
        };
        let sync = self.user_syncs().get_user_sync(request).await?.into_inner();
        sync.health.context("no health")
    }

    /// Every change of a plan.
    pub(crate) async fn changes(&self, run: &str) -> Result<Vec<v1::SyncRunChange>> {
        let request = v1::ListSyncRunChangesRequest {
            parent: run.to_owned(),
            page_size: 1000,
            ..v1::ListSyncRunChangesRequest::default()
        };
        let changes = self.runs().list_sync_run_changes(request).await?;
        Ok(changes.into_inner().changes)
    }

    pub(crate) async fn issues(&self, run: &str) -> Result<Vec<v1::SyncIssue>> {
        let request = v1::ListSyncRunIssuesRequest {
            parent: run.to_owned(),
            page_size: 1000,
            ..v1::ListSyncRunIssuesRequest::default()
        };
        Ok(self
            .runs()
            .list_sync_run_issues(request)
            .await?
            .into_inner()
            .issues)
    }

    pub(crate) async fn all_users(&self) -> Result<Vec<v1::User>> {
        let request = v1::ListUsersRequest {
            parent: TENANT.to_owned(),
            page_size: 1000,
            ..v1::ListUsersRequest::default()
        };
        Ok(self.users().list_users(request).await?.into_inner().users)
    }

    /// The events since the last call.
    pub(crate) async fn new_events(&mut self) -> Result<Vec<v1::UserEvent>> {
        let mut events = Vec::new();
        loop {
            let request = v1::ListUserEventsRequest {
                parent: TENANT.to_owned(),
                page_size: 1000,
                after: self.cursor.clone(),
                types: Vec::new(),
            };
            let page = self.users().list_user_events(request).await?.into_inner();
            self.cursor = page.next_cursor;
            events.extend(page.events);
            if !page.more {
                return Ok(events);
            }
        }
    }
}

/// Whether it ended, or waits for somebody.
fn rests(run: &v1::SyncRun) -> bool {
    run.end_time.is_some() || matches!(run.state(), v1::SyncRunState::Held | v1::SyncRunState::Planned)
}

impl Drop for Rollcall {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn gateway(sources: &Sources, clock: Clock, stop: CancellationToken) -> Result<Channel> {
    let loaded: Loaded<GatewaySettings> = load(sources).map_err(|mistakes| anyhow!("{mistakes}"))?;
    let server = GrpcServer::bind(&loaded.shared).await?;
    let url = format!("http://{}", server.local_address());
    let health = Health::new(&[]).await;
    let gateway = Gateway::open(loaded.shared, loaded.own, clock, stop.clone())
        .await
        .map_err(|failure| anyhow!("{failure:?}"))?;
    tokio::spawn(async move { gateway.serve(server, &health, stop).await });
    Ok(Channel::from_shared(url)?.connect().await?)
}
