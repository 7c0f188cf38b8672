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
use rollcall_testkit::{Ldif, Slapd, SlapdBuilder, TestCa, TestDatabase};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub(crate) const KEYRING: &str = "test AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const BASE: &str = "dc=example,dc=org";
pub(crate) const PEOPLE: &str = "ou=People,dc=example,dc=org";
pub(crate) const PASSWORD: &str = "Pässword of ada 1";

/// Everything that a test needs. Gone when dropped.
pub(crate) struct World<S = Slapd> {
    pub(crate) server: S,
    place: Place,
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    pub(crate) directory: DirectoryId,
    pub(crate) sync: UserSyncKey,
    pub(crate) url: String,
    /// The text of a configuration file for the gateways that start from here on.
    pub(crate) config: Option<String>,
    database: Option<TestDatabase>,
    ports: Vec<u16>,
    files: tempfile::TempDir,
    gateways: Vec<Running>,
}

/// A directory, and where its people are.
pub(crate) struct Place {
    pub(crate) tls_url: String,
    pub(crate) ca: String,
    pub(crate) bind_dn: String,
    pub(crate) bind_password: String,
    pub(crate) dialect: Dialect,
    pub(crate) people: Search,
    pub(crate) login: &'static str,
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
        Self::on(None, builder).await
    }

    /// The same on PostgreSQL.
    pub(crate) async fn on_postgres(database: TestDatabase) -> Self {
        Self::on(Some(database), Slapd::builder()).await
    }

    async fn on(database: Option<TestDatabase>, builder: SlapdBuilder) -> Self {
        let ca = TestCa::new().unwrap();
        let builder = builder.certificate(ca.loopback_server().unwrap());
        let slapd = builder.ldif(&people()).start().unwrap();
        let place = Place {
            tls_url: slapd.tls_url(),
            ca: ca.pem(),
            bind_dn: slapd.service_dn(),
            bind_password: slapd.service_password().to_owned(),
            dialect: Dialect::OpenLdap,
            people: Search {
                base_dn: PEOPLE.into(),
                scope: SearchScope::Subtree,
                filter: "(&(uid=*)(employeeType=staff))".into(),
            },
            login: "uid",
        };
        Self::at(slapd, place, database).await
    }

    /// How many binds as this person reached the directory.
    pub(crate) fn binds(&self, dn: &str) -> usize {
        self.server.bind_count(dn).unwrap()
    }
}

impl<S> World<S> {
    /// The people of a directory in a store, and no gateway yet.
    pub(crate) async fn at(server: S, place: Place, database: Option<TestDatabase>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let sqlite = || format!("sqlite:{}", files.path().join("rollcall.db").display());
        let url = database
            .as_ref()
            .map_or_else(sqlite, |database| database.url().to_owned());
        let store = Store::connect(&url, keyring(), StoreOptions::default())
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        let user_sync = UserSyncId::parse("staff").unwrap();
        let host = HostUrl::parse(&place.tls_url).unwrap();
        let world = Self {
            sync: UserSyncKey {
                tenant: tenant.clone(),
                user_sync,
            },
            tenant,
            directory: DirectoryId::parse("hq").unwrap(),
            config: None,
            database,
            ports: vec![host.effective_port(None)],
            server,
            place,
            store,
            url,
            files,
            gateways: Vec::new(),
        };
        world.create(directory_settings(&world.place)).await;
        world.import().await;
        world
    }

    async fn create(&self, settings: DirectorySettings) {
        let now = now();
        let tenant = TenantSettings {
            display_name: "Acme".into(),
            user_sync_enabled: true,
            verified_domains: vec!["acme.example".into()],
        };
        self.store
            .create_tenant(&self.tenant, &tenant, now)
            .await
            .unwrap();
        let password = Password::new(self.place.bind_password.clone()).ok().unwrap();
        let secrets = NewSecrets {
            bind_password: Some(&password),
            client_key: None,
        };
        self.store
            .create_directory(&self.tenant, &self.directory, &settings, secrets, now)
            .await
            .unwrap();
        self.observe(None).await;
        let sync = sync_settings(&self.directory, &self.place);
        self.store
            .create_user_sync(&self.tenant, &self.sync.user_sync, &sync, None, now)
            .await
            .unwrap();
    }

    /// What a check would have found out about the directory.
    pub(crate) async fn observe(&self, lockout_threshold: Option<u32>) {
        let observed = DirectoryObservations {
            dialect: Some(self.place.dialect),
            lockout_threshold,
            observe_time: Some(now()),
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

    /// Lets gateways that start from here on dial another port too.
    pub(crate) fn allow_port(&mut self, port: u16) {
        self.ports.push(port);
    }

    /// Changes the directory's settings. The gateway may dial the port of its first host.
    pub(crate) async fn update_directory(&mut self, change: impl FnOnce(&mut DirectorySettings)) {
        let directory = self.store.directory(&self.tenant, &self.directory).await.unwrap();
        let mut settings = directory.settings;
        change(&mut settings);
        self.ports.extend(
            settings
                .hosts
                .iter()
                .map(|host| host.effective_port(settings.port)),
        );
        let (tenant, id, revision) = (&self.tenant, &self.directory, directory.revision);
        let (secrets, now) = (NewSecrets::default(), now());
        self.store
            .update_directory(tenant, id, revision, &settings, secrets, true, now)
            .await
            .unwrap();
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
        self.run(changes, now()).await;
    }

    /// One run that applies these changes, and whose pull ended Complete at `pulled`.
    pub(crate) async fn run(&self, changes: Vec<Change>, pulled: DateTime<Utc>) {
        let (store, key, now) = (&self.store, &self.sync, now());
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
            dialect: Some(self.place.dialect),
        })
        .unwrap();
        let attributes = ["*".to_owned(), self.id_kind().attribute().to_owned()];
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
            external_id: {
                let kind = self.id_kind();
                let values = entry.values(kind.attribute()).to_vec();
                ExternalId::from_values(kind, &values).unwrap()
            },
            dn: entry.dn.clone(),
            linked: false,
        }
    }

    fn id_kind(&self) -> IdKind {
        self.place.dialect.external_id_kinds()[0].clone()
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
        let mut page = PageRequest::first(1_000);
        let mut events = Vec::new();
        loop {
            let (tenant, filter) = (Some(&self.tenant), AuditFilter::default());
            let found = self.store.list_audit(tenant, &filter, &page).await.unwrap();
            events.extend(found.items);
            page.after = found.next;
            if page.after.is_none() {
                break;
            }
        }
        let mut told: Vec<String> = events
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

    /// Executes SQL behind the gateways' backs, on PostgreSQL.
    pub(crate) fn sql(&self, text: &str) {
        self.database.as_ref().unwrap().sql(text).unwrap();
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

/// The time.
pub(crate) fn now() -> DateTime<Utc> {
    Clock::System.now()
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

fn directory_settings(place: &Place) -> DirectorySettings {
    DirectorySettings {
        display_name: "Headquarters".into(),
        disabled: false,
        hosts: vec![HostUrl::parse(&place.tls_url).unwrap()],
        port: None,
        transport_security: TransportSecurity::Ldaps,
        allow_plaintext: false,
        ca_certificates: place.ca.clone(),
        tls_server_name: None,
        client_certificate: None,
        bind_dn: place.bind_dn.clone(),
        connect_timeout: Duration::from_secs(3),
        operation_timeout: Duration::from_secs(10),
        page_size: 500,
        external_id_attribute: None,
        soft_lock: Default::default(),
    }
}

fn sync_settings(directory: &DirectoryId, place: &Place) -> UserSyncSettings {
    UserSyncSettings {
        display_name: "Staff".into(),
        directory: directory.clone(),
        disabled: false,
        searches: vec![place.people.clone()],
        role: "user".into(),
        role_rules: Vec::new(),
        field_mappings: FieldMappings {
            login: vec![place.login.into()],
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
