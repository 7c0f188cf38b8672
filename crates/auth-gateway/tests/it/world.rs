//! A tenant with a directory full of people, and a gateway in front of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auth_gateway::config::GatewaySettings;
use auth_gateway::serve::Gateway;
use chrono::{DateTime, Utc};
use rollcall_core::audit::{AuditKind, LoginOutcome};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{
    Directory, DirectoryObservations, DirectorySettings, HostUrl, TransportSecurity,
};
use rollcall_core::entry::Entry;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::id::{DirectoryId, RunId, TenantId, UserId, UserSyncId, UserSyncKey, Uuid};
use rollcall_core::identifier::{AllowedCharacters, LoginPolicy};
use rollcall_core::issue::{Health as SyncHealth, HealthLevel};
use rollcall_core::mapping::Mapping;
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::run::{RunCounts, RunMode, RunState, RunTrigger};
use rollcall_core::secret::Password;
use rollcall_core::tenant::TenantSettings;
use rollcall_core::user::{Origin, User, UserState};
use rollcall_core::user_sync::*;
use rollcall_ldap::{DirectoryConfig, EgressPolicy, LdapDirectory, PoolLimits};
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::user_service_client::UserServiceClient;
use rollcall_proto::v1::{AuthenticateRequest, DenialReason};
use rollcall_runtime::clock::Clock;
use rollcall_runtime::config::{Loaded, Sources, load};
use rollcall_runtime::health::Health;
use rollcall_runtime::server::GrpcServer;
use rollcall_store::{
    AuditFilter, Keyring, LeaseName, NewRun, NewSecrets, PageRequest, PlanOutcome, PlanResult, RunEnd, Store,
    StoreOptions,
};
use rollcall_testkit::{Ldif, Slapd, SlapdBuilder, TestCa};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub(crate) const KEYRING: &str = "test AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const BASE: &str = "dc=example,dc=org";
pub(crate) const PEOPLE: &str = "ou=People,dc=example,dc=org";
pub(crate) const PASSWORD: &str = "Pässword of ada 1";

/// Everything that a test needs. Gone when dropped.
pub(crate) struct World {
    pub(crate) slapd: Slapd,
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    pub(crate) directory: DirectoryId,
    pub(crate) sync: UserSyncKey,
    pub(crate) url: String,
    /// The text of a configuration file for the gateways that start from here on.
    pub(crate) config: Option<String>,
    ports: Vec<u16>,
    files: tempfile::TempDir,
    gateways: Vec<Running>,
}

struct Running {
    channel: Channel,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    /// Ada, Bob and Eve in a slapd behind TLS, synced into a SQLite store, and one gateway.
    pub(crate) async fn new() -> Self {
        Self::with(Slapd::builder(), &[]).await
    }

    /// The same with a slapd of the test's choice and settings of the gateway.
    pub(crate) async fn with(builder: SlapdBuilder, settings: &[(&str, &str)]) -> Self {
        let mut world = Self::without_gateway(builder).await;
        world.start_gateway(settings).await;
        world
    }

    pub(crate) async fn without_gateway(builder: SlapdBuilder) -> Self {
        let ca = TestCa::new().unwrap();
        let slapd = builder
            .certificate(ca.loopback_server().unwrap())
            .ldif(&people())
            .start()
            .unwrap();
        let files = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", files.path().join("rollcall.db").display());
        let store = Store::connect(&url, keyring(), StoreOptions::default())
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        let directory = DirectoryId::parse("hq").unwrap();
        let user_sync = UserSyncId::parse("staff").unwrap();
        let port = slapd.tls_address().port();
        let world = Self {
            sync: UserSyncKey {
                tenant: tenant.clone(),
                user_sync,
            },
            tenant,
            directory,
            config: None,
            ports: vec![port],
            slapd,
            store,
            url,
            files,
            gateways: Vec::new(),
        };
        let settings = directory_settings(&world.slapd, &ca.pem());
        world.create(settings).await;
        world.import().await;
        world
    }

    async fn create(&self, settings: DirectorySettings) {
        let now = Utc::now();
        let tenant = TenantSettings {
            display_name: "Acme".into(),
            user_sync_enabled: true,
            verified_domains: vec!["acme.example".into()],
        };
        self.store
            .create_tenant(&self.tenant, &tenant, now)
            .await
            .unwrap();
        let password = Password::new(self.slapd.service_password().to_owned())
            .ok()
            .unwrap();
        let secrets = NewSecrets {
            bind_password: Some(&password),
            client_key: None,
        };
        self.store
            .create_directory(&self.tenant, &self.directory, &settings, secrets, now)
            .await
            .unwrap();
        self.observe(None).await;
        let sync = sync_settings(&self.directory);
        self.store
            .create_user_sync(&self.tenant, &self.sync.user_sync, &sync, None, now)
            .await
            .unwrap();
    }

    /// What a check would have found out about the directory.
    pub(crate) async fn observe(&self, lockout_threshold: Option<u32>) {
        let observed = DirectoryObservations {
            dialect: Some(Dialect::OpenLdap),
            lockout_threshold,
            observe_time: Some(Utc::now()),
            ..DirectoryObservations::default()
        };
        self.store
            .save_observations(&self.tenant, &self.directory, &observed)
            .await
            .unwrap();
    }

    /// Another gateway over the same store; returns its number.
    pub(crate) async fn start_gateway(&mut self, settings: &[(&str, &str)]) -> usize {
        let stop = CancellationToken::new();
        let loaded = self.settings(settings);
        let server = GrpcServer::bind(&loaded.shared).await.unwrap();
        let address = server.local_address();
        let health = Health::new(&[]).await;
        let gateway = Gateway::open(loaded.shared, loaded.own, Clock::System, stop.clone()).await;
        let gateway = gateway.unwrap_or_else(|failure| panic!("{failure:?}"));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            gateway
                .serve(server, &health, stopped)
                .await
                .unwrap_or_else(|failure| panic!("{failure:?}"));
        });
        let channel = Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        self.gateways.push(Running { channel, stop, task });
        self.gateways.len() - 1
    }

    fn settings(&self, settings: &[(&str, &str)]) -> Loaded<GatewaySettings> {
        let fixed = [
            ("server.listen", "127.0.0.1:0".to_owned()),
            ("store.url", self.url.clone()),
            ("keyring.key", KEYRING.to_owned()),
            ("egress.allow_cidrs", "[\"127.0.0.0/8\"]".to_owned()),
            ("egress.allow_ports", format!("{:?}", self.ports)),
            ("worker.endpoint", String::new()),
        ];
        let fixed = fixed.into_iter().map(|(key, value)| (key.to_owned(), value));
        let own = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let sources = Sources {
            file: self.config.clone().map(|text| ("test.toml".to_owned(), text)),
            environment: BTreeMap::new(),
            flags: fixed.chain(own).collect(),
        };
        load::<GatewaySettings>(&sources).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// Lets gateways dial another port too. To be called before they start.
    pub(crate) fn allow_port(&mut self, port: u16) {
        self.ports.push(port);
    }

    /// Stops a gateway and waits until it has drained.
    pub(crate) async fn stop_gateway(&mut self, number: usize) {
        let running = &mut self.gateways[number];
        running.stop.cancel();
        (&mut running.task).await.unwrap();
    }

    pub(crate) fn channel(&self, gateway: usize) -> Channel {
        self.gateways[gateway].channel.clone()
    }

    pub(crate) fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel(0))
    }

    /// Creates a user for everybody in the directory whom the sync finds and the store lacks, as a run would.
    pub(crate) async fn import(&self) {
        let settings = self
            .store
            .user_sync(&self.tenant, &self.sync.user_sync)
            .await
            .unwrap()
            .settings;
        let mapping = Mapping::new(&settings, policy());
        let mut changes = Vec::new();
        for search in &settings.searches {
            for entry in self.find(search).await {
                let origin = self.origin(&entry);
                let known = [origin.external_id.clone()];
                let found = self
                    .store
                    .users_by_external_ids(&self.tenant, &self.directory, &known)
                    .await
                    .unwrap();
                if found.is_empty() {
                    changes.push(creation(&mapping, &entry, origin, &settings.role));
                }
            }
        }
        self.run(changes, Utc::now()).await;
    }

    /// One run that applies these changes, and whose pull ended Complete at `pulled`.
    pub(crate) async fn run(&self, changes: Vec<Change>, pulled: DateTime<Utc>) {
        let (store, key, now) = (&self.store, &self.sync, Utc::now());
        let name = LeaseName::run_of(key);
        let lease = store
            .acquire_lease(&name, "test", Duration::from_secs(60))
            .await
            .unwrap()
            .unwrap();
        let run = NewRun {
            id: RunId(Uuid::from_u128(rand())),
            mode: RunMode::Apply,
            trigger: RunTrigger::Call,
            started_by: "test".into(),
        };
        let id = run.id;
        store.create_run(&lease, key, run, now).await.unwrap();
        store.begin_pull(&lease, key, id).await.unwrap();
        store.append_chunk(&lease, key, id, 0, &changes).await.unwrap();
        let plan = PlanResult {
            outcome: PlanOutcome::Apply,
            counts: RunCounts::default(),
            complete: true,
        };
        store.finish_plan(&lease, key, id, plan, now).await.unwrap();
        let outcome = store
            .apply_chunk(&lease, key, id, 0, &changes, now)
            .await
            .unwrap();
        assert_eq!(outcome.issues, []);
        let end = RunEnd {
            state: RunState::Succeeded,
            failure: None,
            health: SyncHealth {
                level: HealthLevel::Ok,
                problems: Vec::new(),
            },
            applied_scope_revision: None,
            complete_pull_time: Some(pulled),
        };
        store.end_run(&lease, key, id, end, now).await.unwrap();
        store.release_lease(&lease).await.unwrap();
    }

    async fn find(&self, search: &Search) -> Vec<Entry> {
        let directory: Directory = self.store.directory(&self.tenant, &self.directory).await.unwrap();
        let ldap = LdapDirectory::new(DirectoryConfig {
            settings: directory.settings,
            bind_password: self
                .store
                .bind_password(&self.tenant, &self.directory)
                .await
                .unwrap()
                .unwrap(),
            client_key: None,
            egress: Arc::new(EgressPolicy::new(
                vec!["127.0.0.0/8".parse().unwrap()],
                self.ports.clone(),
            )),
            limits: PoolLimits::default(),
            dialect: Some(Dialect::OpenLdap),
        })
        .unwrap();
        let attributes = ["*".to_owned(), "entryUUID".to_owned()];
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let (base, scope, filter) = (&search.base_dn, search.scope, &search.filter);
        ldap.find(base, scope, filter, &attributes, 1_000, deadline)
            .await
            .unwrap()
            .entries
    }

    fn origin(&self, entry: &Entry) -> Origin {
        Origin {
            user_sync: self.sync.user_sync.clone(),
            directory: self.directory.clone(),
            external_id: ExternalId::from_values(IdKind::EntryUuid, entry.values("entryuuid")).unwrap(),
            dn: entry.dn.clone(),
            linked: false,
        }
    }

    /// The user of a login.
    pub(crate) async fn user(&self, login: &str) -> User {
        self.store
            .lookup_user(&self.tenant, login)
            .await
            .unwrap()
            .unwrap()
    }

    /// A login through the first gateway, in words.
    pub(crate) async fn login(&self, login: &str, password: &str) -> String {
        self.attempt(0, request(login, password)).await
    }

    /// An attempt through a gateway, in words: `OK login`, `DENIED reason` or `code reason`.
    pub(crate) async fn attempt(&self, gateway: usize, request: AuthenticateRequest) -> String {
        let answer = AuthServiceClient::new(self.channel(gateway))
            .authenticate(request)
            .await;
        match answer.map(|response| response.into_inner().outcome.unwrap()) {
            Ok(Outcome::Authenticated(authenticated)) => format!("OK {}", authenticated.user.unwrap().login),
            Ok(Outcome::Denial(denial)) => {
                let reason = DenialReason::try_from(denial.reason).unwrap();
                assert_eq!(
                    denial.retry_after.is_some(),
                    reason == DenialReason::TooManyAttempts
                );
                format!(
                    "DENIED {}",
                    reason.as_str_name().trim_start_matches("DENIAL_REASON_")
                )
            }
            Err(status) => {
                let reason = rollcall_proto::status::reason(&status);
                format!(
                    "{:?} {}",
                    status.code(),
                    reason.map_or("-", |reason| reason.as_str())
                )
            }
        }
    }

    /// The audit log's login attempts from the oldest to the newest, as `OUTCOME REASON`.
    pub(crate) async fn audit(&self) -> Vec<String> {
        let page = PageRequest::first(1_000);
        let found = self
            .store
            .list_audit(Some(&self.tenant), &AuditFilter::default(), &page)
            .await
            .unwrap();
        let mut told: Vec<String> = found
            .items
            .into_iter()
            .filter_map(|event| match event.kind {
                AuditKind::Login { outcome, reason, .. } => Some(match outcome {
                    LoginOutcome::Authenticated => format!("AUTHENTICATED {reason}"),
                    LoginOutcome::Denied => format!("DENIED {reason}"),
                    LoginOutcome::Error => format!("ERROR {reason}"),
                }),
                AuditKind::Change { .. } => None,
            })
            .collect();
        told.reverse();
        told
    }

    /// How many binds as this person reached the directory.
    pub(crate) fn binds(&self, dn: &str) -> usize {
        self.slapd.bind_count(dn).unwrap()
    }

    /// Every byte that the gateway's database holds.
    pub(crate) fn database_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for file in std::fs::read_dir(self.files.path()).unwrap() {
            bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
        }
        bytes
    }
}

/// A request of the tenant.
pub(crate) fn request(login: &str, password: &str) -> AuthenticateRequest {
    AuthenticateRequest {
        tenant: "tenants/acme".into(),
        login: login.into(),
        password: password.into(),
        ..AuthenticateRequest::default()
    }
}

/// The DN of somebody in the directory.
pub(crate) fn dn(uid: &str) -> String {
    format!("uid={uid},{PEOPLE}")
}

/// LDIF of one person.
pub(crate) fn person(uid: &str, dn: &str, password: &str) -> String {
    let mut ldif = Ldif::new();
    ldif.entry(dn)
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", uid)
        .attribute("cn", uid)
        .attribute("sn", uid)
        .attribute("mail", format!("{uid}@acme.example"))
        .attribute("employeeType", "staff")
        .attribute("userPassword", password);
    ldif.as_str().to_owned()
}

fn people() -> String {
    let mut ldif = Ldif::new();
    for ou in ["People", "Elsewhere"] {
        ldif.entry(&format!("ou={ou},{BASE}"))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", ou);
    }
    let all = [
        ("ada", PASSWORD),
        ("bob", "password of bob"),
        ("eve", "password of eve"),
    ];
    let mut text = ldif.as_str().to_owned();
    for (uid, password) in all {
        text.push('\n');
        text.push_str(&person(uid, &dn(uid), password));
    }
    text
}

fn directory_settings(slapd: &Slapd, ca: &str) -> DirectorySettings {
    DirectorySettings {
        display_name: "Headquarters".into(),
        disabled: false,
        hosts: vec![HostUrl::parse(&slapd.tls_url()).unwrap()],
        port: None,
        transport_security: TransportSecurity::Ldaps,
        allow_plaintext: false,
        ca_certificates: ca.to_owned(),
        tls_server_name: None,
        client_certificate: None,
        bind_dn: slapd.service_dn(),
        connect_timeout: Duration::from_secs(3),
        operation_timeout: Duration::from_secs(10),
        page_size: 500,
        external_id_attribute: None,
    }
}

fn sync_settings(directory: &DirectoryId) -> UserSyncSettings {
    UserSyncSettings {
        display_name: "Staff".into(),
        directory: directory.clone(),
        disabled: false,
        searches: vec![Search {
            base_dn: PEOPLE.into(),
            scope: SearchScope::Subtree,
            filter: "(&(uid=*)(employeeType=staff))".into(),
        }],
        role: "user".into(),
        role_rules: Vec::new(),
        field_mappings: FieldMappings {
            login: vec!["uid".into()],
            email: vec!["mail".into()],
            display_name: vec!["cn".into()],
            ..FieldMappings::default()
        },
        new_users: NewUsers::Create,
        existing_users: ExistingUsers::Update,
        missing_users: MissingUsers::Deactivate,
        overwrite_local_users: false,
        login_changes: LoginChanges::Reject,
        auto_sync: false,
        cron: DEFAULT_CRON.into(),
        time_zone: "Etc/UTC".into(),
        restrictions: Vec::new(),
        removal_limit: RemovalLimit::default(),
        report: Report {
            when: ReportWhen::Never,
            addresses: Vec::new(),
        },
    }
}

fn creation(mapping: &Mapping, entry: &Entry, origin: Origin, role: &str) -> Change {
    Change {
        kind: ChangeKind::Create,
        user: UserId(Uuid::from_u128(rand())),
        expected_revision: 0,
        origin,
        profile: mapping.map(entry, role).unwrap().profile,
        state: UserState::Active,
        state_reason: None,
        changes: Vec::new(),
    }
}

fn policy() -> LoginPolicy {
    LoginPolicy {
        allowed: AllowedCharacters::with_punctuation("._-@+").unwrap(),
        ..LoginPolicy::default()
    }
}

fn keyring() -> Keyring {
    Keyring::parse(KEYRING).unwrap()
}

fn rand() -> u128 {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).unwrap();
    u128::from_be_bytes(bytes)
}
