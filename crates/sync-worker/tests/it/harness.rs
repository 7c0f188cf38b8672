//! A worker in this process, on a port and a database of its own, and clients for it.

use std::future::Future;
use std::time::Duration;

use ring::digest;
use rollcall_core::error::Reason;
use rollcall_proto::status;
use rollcall_proto::v1;
use rollcall_proto::v1::audit_service_client::AuditServiceClient;
use rollcall_proto::v1::directory_service_client::DirectoryServiceClient;
use rollcall_proto::v1::sync_run_service_client::SyncRunServiceClient;
use rollcall_proto::v1::tenant_service_client::TenantServiceClient;
use rollcall_proto::v1::user_sync_service_client::UserSyncServiceClient;
use rollcall_runtime::clock::Clock;
use rollcall_runtime::config::{Loaded, Sources, load};
use rollcall_runtime::health::Health;
use rollcall_runtime::server::GrpcServer;
use rollcall_store::{Keyring, Store, StoreOptions};
use sync_worker::admission::Scheduler;
use sync_worker::config::WorkerSettings;
use sync_worker::serve::serve_worker;
use sync_worker::worker::Worker;
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_types::StatusExt;

const KEYRING: &str = "k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// May do everything, for all tenants.
pub const ADMIN: &str = "admin";
/// May do everything, for the tenant "acme".
pub const ACME: &str = "acme-portal";
/// The same as the admin, but must say for whom.
pub const CAREFUL: &str = "support-tool";
/// May do nothing that a worker serves.
pub const NOBODY: &str = "nobody";

/// A running worker; stopped when dropped.
pub struct TestWorker {
    worker: Worker,
    channel: Channel,
    stop: CancellationToken,
    dir: tempfile::TempDir,
    url: String,
}

/// Adds a caller's token.
#[derive(Clone)]
pub struct Bearer(AsciiMetadataValue);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A channel of one caller.
pub type Caller = InterceptedService<Channel, Bearer>;

/// The clients of one caller.
pub struct Clients {
    pub tenants: TenantServiceClient<Caller>,
    pub directories: DirectoryServiceClient<Caller>,
    pub user_syncs: UserSyncServiceClient<Caller>,
    pub runs: SyncRunServiceClient<Caller>,
    pub audit: AuditServiceClient<Caller>,
}

impl TestWorker {
    /// A worker that may reach these ports on loopback. Its scheduler is off.
    pub async fn start(ports: &[u16]) -> Self {
        Self::start_with(ports, &[], Clock::System).await
    }

    /// The same with further settings, at the time of this clock.
    pub async fn start_with(ports: &[u16], settings: &[(&str, &str)], clock: Clock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = match settings.iter().find(|(key, _)| *key == "store.url") {
            Some((_, url)) => (*url).to_owned(),
            None => format!("sqlite:{}", dir.path().join("rollcall.db").display()),
        };
        let loaded = configure(&url, ports, settings);
        let keyring = Keyring::parse(KEYRING).unwrap();
        let store = Store::connect(&url, keyring, StoreOptions::default())
            .await
            .unwrap();
        store.migrate().await.unwrap();
        store.close().await;

        let stop = CancellationToken::new();
        let Loaded { shared, own, .. } = loaded;
        let server = GrpcServer::bind(&shared).await.unwrap();
        let address = server.local_address();
        let health = Health::new(&[]).await;
        let (probing, drain) = (shared.health, Duration::from_secs(5));
        let worker = match Worker::open(shared, own, clock, stop.clone()).await {
            Ok(worker) => worker,
            Err(failure) => panic!("{failure:?}"),
        };
        tokio::spawn(serve_worker(worker.clone(), server, health, probing, drain));
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        Self {
            worker,
            channel,
            stop,
            dir,
            url,
        }
    }

    /// The clients of a caller.
    pub fn clients(&self, caller: &str) -> Clients {
        let bearer = Bearer(format!("Bearer {caller}-token").parse().unwrap());
        let caller = || InterceptedService::new(self.channel.clone(), bearer.clone());
        Clients {
            tenants: TenantServiceClient::new(caller()),
            directories: DirectoryServiceClient::new(caller()),
            user_syncs: UserSyncServiceClient::new(caller()),
            runs: SyncRunServiceClient::new(caller()),
            audit: AuditServiceClient::new(caller()),
        }
    }

    /// Does what a scheduler of this worker does first.
    pub async fn clean_up(&self) {
        Scheduler::new(self.worker.clone()).tick().await;
    }

    /// Another worker on the same database, without a server: it does nothing by itself.
    pub async fn another(&self, ports: &[u16], settings: &[(&str, &str)], clock: Clock) -> Worker {
        let Loaded { shared, own, .. } = configure(&self.url, ports, settings);
        match Worker::open(shared, own, clock, self.stop.clone()).await {
            Ok(worker) => worker,
            Err(failure) => panic!("{failure:?}"),
        }
    }

    /// Runs the binary on the worker's database, with directories on these ports.
    pub fn command(&self, ports: &[u16], arguments: &[&str]) -> std::process::Output {
        self.command_with_files(1024, ports, arguments)
    }

    /// The same for a process that may have so many open files.
    pub fn command_with_files(&self, files: u32, ports: &[u16], arguments: &[&str]) -> std::process::Output {
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let url = &self.url;
        std::process::Command::new("/bin/bash")
            .env_clear()
            .args(["-c", "ulimit -n $0 && exec \"$@\""])
            .arg(files.to_string())
            .arg(env!("CARGO_BIN_EXE_sync-worker"))
            .args(arguments)
            .args(["--set", &format!("store.url={url}")])
            .args(["--set", &format!("keyring.key={KEYRING}")])
            .args(["--set", "egress.allow_cidrs=127.0.0.0/8"])
            .args(["--set", &format!("egress.allow_ports={}", ports.join(","))])
            .output()
            .unwrap()
    }

    /// Executes SQL behind the worker's back.
    pub fn sql(&self, text: &str) {
        let script = "import sqlite3, sys\n\
                      database = sqlite3.connect(sys.argv[1], timeout=30)\n\
                      database.execute(sys.argv[2])\n\
                      database.commit()";
        let file = self.dir.path().join("rollcall.db");
        let done = std::process::Command::new("/usr/bin/python3")
            .args(["-I", "-c", script])
            .arg(file)
            .arg(text)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// The bytes of all that the worker has written.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect()
    }

    /// The worker's database, opened once more, for what no service of the worker shows.
    pub async fn store(&self) -> Store {
        Store::open(
            &self.url,
            Keyring::parse(KEYRING).unwrap(),
            StoreOptions::default(),
        )
        .await
        .unwrap()
    }
}

impl Drop for TestWorker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn configure(url: &str, ports: &[u16], settings: &[(&str, &str)]) -> Loaded<WorkerSettings> {
    let hash = |caller: &str| {
        let digest = digest::digest(&digest::SHA256, format!("{caller}-token").as_bytes());
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let everything = r#"["authenticate", "users.read", "users.write", "tenants.write", "syncs.read", "syncs.write", "runs", "audit"]"#;
    let callers = [
        (ADMIN, everything, r#"["*"]"#),
        (ACME, everything, r#"["acme"]"#),
        (CAREFUL, everything, r#"["*"]"#),
        (NOBODY, r#"["authenticate"]"#, r#"["*"]"#),
    ];
    let file: String = callers
        .iter()
        .map(|(name, permissions, tenants)| {
            let token = hash(name);
            let careful = *name == CAREFUL;
            format!(
                "[[callers]]\nname = \"{name}\"\ntoken_sha256 = \"{token}\"\npermissions = {permissions}\n\
                 tenants = {tenants}\nactor_required = {careful}\n"
            )
        })
        .collect();
    let ports: Vec<String> = ports.iter().chain(&[636]).map(ToString::to_string).collect();
    let mut flags: Vec<(String, String)> = [
        ("server.listen", "127.0.0.1:0"),
        ("store.url", url),
        ("keyring.key", KEYRING),
        ("egress.allow_cidrs", "127.0.0.0/8"),
        ("egress.allow_ports", &ports.join(",")),
        ("egress.addresses", "203.0.113.7"),
        ("scheduler.enabled", "false"),
        ("scheduler.interval", "1s"),
        ("scheduler.spread", "0s"),
        ("checks.per_minute", "1000"),
        ("runs.manual_pause", "0s"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec();
    flags.extend(
        settings
            .iter()
            .filter(|(key, _)| *key != "store.url")
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    let sources = Sources {
        file: Some(("test.toml".to_owned(), file)),
        flags,
        ..Sources::default()
    };
    load(&sources).map_err(|mistakes| mistakes.to_string()).unwrap()
}

/// The answer to a call that must succeed.
pub async fn ok<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> T {
    match call.await {
        Ok(response) => response.into_inner(),
        Err(status) => panic!(
            "{:?} {} {:?}",
            status.code(),
            status.message(),
            violations(&status)
        ),
    }
}

/// The status of a call that must fail for this reason.
pub async fn fails<T>(reason: Reason, call: impl Future<Output = Result<Response<T>, Status>>) -> Status {
    let Err(status) = call.await else {
        panic!("the call succeeded, {reason:?} was expected")
    };
    assert_eq!(
        status::reason(&status),
        Some(reason),
        "{:?} {} {:?}",
        status.code(),
        status.message(),
        violations(&status)
    );
    status
}

/// The bad fields that a status names.
pub fn violations(status: &Status) -> Vec<String> {
    let found = status
        .get_details_bad_request()
        .map(|details| details.field_violations)
        .unwrap_or_default();
    found.into_iter().map(|violation| violation.field).collect()
}

/// What a status says of one bad field.
pub fn description(status: &Status, field: &str) -> String {
    let found = status
        .get_details_bad_request()
        .map(|details| details.field_violations)
        .unwrap_or_default();
    let found = found.into_iter().find(|violation| violation.field == field);
    found.map(|violation| violation.description).unwrap_or_default()
}

/// A varying part of a status.
pub fn metadata(status: &Status, key: &str) -> String {
    let info = status.get_details_error_info();
    info.and_then(|info| info.metadata.get(key).cloned())
        .unwrap_or_default()
}

/// A field mask.
pub fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask {
        paths: paths.iter().map(ToString::to_string).collect(),
    })
}

/// The stages of a report of this kind.
pub fn stages(report: &v1::CheckReport, kind: v1::CheckStageKind) -> Vec<&v1::CheckStage> {
    report
        .stages
        .iter()
        .filter(|stage| stage.kind() == kind)
        .collect()
}

/// The one stage of a report of this kind.
pub fn stage(report: &v1::CheckReport, kind: v1::CheckStageKind) -> &v1::CheckStage {
    match stages(report, kind).as_slice() {
        [stage] => stage,
        others => panic!("{} stages of {kind:?} in {report:#?}", others.len()),
    }
}
