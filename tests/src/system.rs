//! Both services over one store.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use rollcall_proto::v1;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::directory_service_client::DirectoryServiceClient;
use rollcall_proto::v1::sync_run_service_client::SyncRunServiceClient;
use rollcall_proto::v1::tenant_service_client::TenantServiceClient;
use rollcall_proto::v1::user_service_client::UserServiceClient;
use rollcall_proto::v1::user_sync_service_client::UserSyncServiceClient;
use rollcall_testkit::{Slapd, TestCa, TestDatabase};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::release::Release;
use crate::service::Service;

/// Longest time for a run in a test.
const RUN_LIMIT: Duration = Duration::from_secs(240);
/// A run whose worker died is taken over soon.
const EAGER: &str =
    "[scheduler]\ninterval = \"1s\"\nspread = \"0s\"\n[runs]\nlease_ttl = \"3s\"\nmanual_pause = \"0s\"\n";

/// Where the services keep their data.
pub enum Backend {
    /// One file for both.
    Sqlite,
    /// A database of a real server.
    Postgres,
    /// A database that the caller keeps, by its URL.
    Given(String),
}

/// A tenant's whole Rollcall.
pub struct System {
    /// The files of both services.
    pub files: TempDir,
    /// The login side.
    pub gateway: Service,
    /// The administrative side.
    pub worker: Service,
    /// The database, unless it is a file.
    pub database: Option<TestDatabase>,
}

impl System {
    /// Starts both services with a fresh store. Directories on loopback are allowed, on these ports.
    pub async fn start(backend: Backend, ports: &[u16]) -> Result<Self> {
        Self::start_release(Release::This, backend, ports).await
    }

    /// As [`System::start`], of another release.
    pub async fn start_release(release: Release, backend: Backend, ports: &[u16]) -> Result<Self> {
        Self::configured(release, backend, ports, "debug", "", EAGER).await
    }

    /// As [`System::start`], with more settings of both services.
    pub async fn start_with(backend: Backend, ports: &[u16], of_both: &str) -> Result<Self> {
        Self::configured(Release::This, backend, ports, "debug", of_both, EAGER).await
    }

    /// As [`System::start`], but nothing that is due runs by itself.
    pub async fn start_without_scheduler(backend: Backend, ports: &[u16]) -> Result<Self> {
        Self::configured(
            Release::This,
            backend,
            ports,
            "debug",
            "",
            "[scheduler]\nenabled = false\n",
        )
        .await
    }

    /// As [`System::start`], with the settings that are shipped, but that one run may follow the other at once: for benchmarks.
    pub async fn start_as_shipped(backend: Backend, ports: &[u16]) -> Result<Self> {
        let of_worker = "[runs]\nmanual_pause = \"0s\"\n";
        Self::configured(Release::This, backend, ports, "info", "", of_worker).await
    }

    async fn configured(
        release: Release,
        backend: Backend,
        ports: &[u16],
        log: &str,
        of_both: &str,
        of_worker: &str,
    ) -> Result<Self> {
        let files = tempfile::Builder::new().prefix("rollcall-system-").tempdir()?;
        let database = match &backend {
            Backend::Sqlite | Backend::Given(_) => None,
            Backend::Postgres => Some(tokio::task::spawn_blocking(TestDatabase::new).await??),
        };
        let url = match (&database, backend) {
            (_, Backend::Given(url)) => url,
            (None, _) => format!("sqlite://{}?mode=rwc", files.path().join("rollcall.db").display()),
            (Some(database), _) => database.url().to_owned(),
        };
        let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        std::fs::write(files.path().join("keys"), format!("test {key}\n"))?;
        let shared = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n\
             [store]\nurl = \"{url}\"\n\
             [keyring]\nkey_file = \"{keys}\"\n\
             [egress]\nallow_cidrs = [\"127.0.0.0/8\"]\nallow_ports = {ports:?}\n\
             [telemetry]\nformat = \"json\"\nfilter = \"{log}\"\n{of_both}",
            keys = files.path().join("keys").display(),
        );
        let worker_config = files.path().join("worker.toml");
        std::fs::write(&worker_config, format!("{shared}{of_worker}"))?;
        migrate(release, &worker_config)?;
        let worker = Service::start_release(release, "sync-worker", &worker_config)?;
        let gateway_config = files.path().join("gateway.toml");
        std::fs::write(
            &gateway_config,
            format!("{shared}[worker]\nendpoint = \"http://{}\"\n", worker.address()),
        )?;
        let gateway = Service::start_release(release, "auth-gateway", &gateway_config)?;
        Ok(Self {
            files,
            gateway,
            worker,
            database,
        })
    }

    /// The file that a service was configured with.
    pub fn config(&self, name: &str) -> PathBuf {
        self.files.path().join(format!("{name}.toml"))
    }

    /// Client of the AuthService.
    pub async fn auth(&self) -> Result<AuthServiceClient<Channel>> {
        Ok(AuthServiceClient::new(self.gateway.channel().await?))
    }

    /// Client of the UserService.
    pub async fn users(&self) -> Result<UserServiceClient<Channel>> {
        Ok(UserServiceClient::new(self.gateway.channel().await?))
    }

    /// Client of the TenantService.
    pub async fn tenants(&self) -> Result<TenantServiceClient<Channel>> {
        Ok(TenantServiceClient::new(self.worker.channel().await?))
    }

    /// Client of the DirectoryService.
    pub async fn directories(&self) -> Result<DirectoryServiceClient<Channel>> {
        Ok(DirectoryServiceClient::new(self.worker.channel().await?))
    }

    /// Client of the UserSyncService.
    pub async fn user_syncs(&self) -> Result<UserSyncServiceClient<Channel>> {
        Ok(UserSyncServiceClient::new(self.worker.channel().await?))
    }

    /// Client of the SyncRunService.
    pub async fn runs(&self) -> Result<SyncRunServiceClient<Channel>> {
        Ok(SyncRunServiceClient::new(self.worker.channel().await?))
    }

    /// Creates a tenant with one directory `hq` and one user sync `staff` that takes everybody with a uid.
    pub async fn connect(&self, tenant: &str, slapd: &Slapd, ca: &TestCa, base_dn: &str) -> Result<String> {
        let name = format!("tenants/{tenant}");
        let user_sync = sync_of(&format!("{name}/directories/hq"), base_dn);
        self.connect_with(&name, directory_of(slapd, ca), user_sync)
            .await?;
        Ok(name)
    }

    /// Creates a tenant with this directory as `hq` and this user sync as `staff`.
    pub async fn connect_with(
        &self,
        tenant: &str,
        directory: v1::Directory,
        user_sync: v1::UserSync,
    ) -> Result<()> {
        let id = tenant.trim_start_matches("tenants/").to_owned();
        let request = v1::CreateTenantRequest {
            tenant: Some(v1::Tenant {
                display_name: id.clone(),
                user_sync_enabled: true,
                ..v1::Tenant::default()
            }),
            tenant_id: id,
            request_id: String::new(),
        };
        self.tenants().await?.create_tenant(request).await?;
        let request = v1::CreateDirectoryRequest {
            parent: tenant.to_owned(),
            directory_id: "hq".to_owned(),
            directory: Some(directory),
            request_id: String::new(),
        };
        self.directories().await?.create_directory(request).await?;
        let request = v1::CreateUserSyncRequest {
            parent: tenant.to_owned(),
            user_sync_id: "staff".to_owned(),
            user_sync: Some(user_sync),
            request_id: String::new(),
        };
        self.user_syncs().await?.create_user_sync(request).await?;
        Ok(())
    }

    /// Runs a user sync and waits until the run rests.
    pub async fn run(&self, user_sync: &str, mode: v1::SyncRunMode) -> Result<v1::SyncRun> {
        let request = v1::RunUserSyncRequest {
            name: user_sync.to_owned(),
            mode: mode.into(),
            ..v1::RunUserSyncRequest::default()
        };
        let run = self
            .user_syncs()
            .await?
            .run_user_sync(request)
            .await?
            .into_inner();
        self.rest(&run.name).await
    }

    /// Watches a run until it rests.
    pub async fn rest(&self, run: &str) -> Result<v1::SyncRun> {
        let watch = async {
            let request = v1::WatchSyncRunRequest { name: run.to_owned() };
            let mut updates = self.runs().await?.watch_sync_run(request).await?.into_inner();
            let mut last = None;
            while let Some(update) = updates.message().await? {
                last = update.sync_run;
            }
            last.context("the run was never reported")
        };
        tokio::time::timeout(RUN_LIMIT, watch)
            .await
            .context("the run does not end")?
    }

    /// Every user of a tenant.
    pub async fn all_users(&self, tenant: &str) -> Result<Vec<v1::User>> {
        let mut client = self.users().await?;
        let mut users = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListUsersRequest {
                parent: tenant.to_owned(),
                page_size: 1000,
                page_token,
                ..v1::ListUsersRequest::default()
            };
            let page = client.list_users(request).await?.into_inner();
            users.extend(page.users);
            if page.next_page_token.is_empty() {
                return Ok(users);
            }
            page_token = page.next_page_token;
        }
    }
}

/// A directory resource for this server, over TLS.
pub fn directory_of(slapd: &Slapd, ca: &TestCa) -> v1::Directory {
    v1::Directory {
        display_name: "Headquarters".to_owned(),
        hosts: vec![slapd.tls_url()],
        transport_security: v1::TransportSecurity::Ldaps.into(),
        ca_certificates: ca.pem(),
        bind_dn: slapd.service_dn(),
        bind_password: slapd.service_password().to_owned(),
        ..v1::Directory::default()
    }
}

/// A user sync that takes everybody with a uid below `base_dn`.
pub fn sync_of(directory: &str, base_dn: &str) -> v1::UserSync {
    let one = |name: &str| vec![name.to_owned()];
    v1::UserSync {
        display_name: "Staff".to_owned(),
        directory: directory.to_owned(),
        searches: vec![v1::UserSearch {
            base_dn: base_dn.to_owned(),
            scope: v1::SearchScope::Subtree.into(),
            filter: "(uid=*)".to_owned(),
        }],
        role: "user".to_owned(),
        field_mappings: Some(v1::FieldMappings {
            login: one("uid"),
            email: one("mail"),
            display_name: one("displayName"),
            given_name: one("givenName"),
            family_name: one("sn"),
            ..v1::FieldMappings::default()
        }),
        missing_users: v1::MissingUserPolicy::Archive.into(),
        report: Some(v1::ReportSettings {
            when: v1::ReportWhen::Never.into(),
            addresses: Vec::new(),
        }),
        ..v1::UserSync::default()
    }
}

fn migrate(release: Release, config: &std::path::Path) -> Result<()> {
    let status = std::process::Command::new(release.binary("sync-worker")?)
        .arg("--config")
        .arg(config)
        .arg("migrate")
        .status()?;
    anyhow::ensure!(status.success(), "the migration failed");
    Ok(())
}
