//! A tenant with a directory full of people, and a gateway in front of it.

mod asking;
mod people;
mod runs;
mod script;
mod worker;

use std::collections::BTreeMap;

use auth_gateway::config::GatewaySettings;
use auth_gateway::serve::Gateway;
use chrono::{DateTime, Utc};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{DirectoryObservations, DirectorySettings, HostUrl, TransportSecurity};
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId, UserSyncKey};
use rollcall_core::secret::Password;
use rollcall_core::tenant::TenantSettings;
use rollcall_core::user_sync::{Search, SearchScope, UserSyncSettings};
use rollcall_proto::v1::user_service_client::UserServiceClient;
use rollcall_runtime::clock::Clock;
use rollcall_runtime::config::{Loaded, Sources, load};
use rollcall_runtime::health::Health;
use rollcall_runtime::server::GrpcServer;
use rollcall_store::{DirectoryUpdate, Keyring, NewSecrets, Recorded, Store, StoreOptions};
use rollcall_testkit::{IdleSession, ScriptedLdap, Slapd, SlapdBuilder, TestCa, TestDatabase};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub(crate) use asking::{request, told};
pub(crate) use people::{BASE, PASSWORD, PEOPLE, Place, dn, people, person};
use people::{directory_settings, sync_settings};
pub(crate) use runs::change;
pub(crate) use worker::ScriptedWorker;

pub(crate) const KEYRING: &str = "test AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

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
    scripts: Vec<ScriptedLdap>,
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
        Self::in_slapd(database, builder.ldif(&people())).await
    }

    /// Whoever is in this slapd, and no gateway yet.
    pub(crate) async fn in_slapd(database: Option<TestDatabase>, builder: SlapdBuilder) -> Self {
        let ca = TestCa::new().unwrap();
        let slapd = builder
            .certificate(ca.loopback_server().unwrap())
            .start()
            .unwrap();
        let place = Place {
            url: slapd.tls_url(),
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
        let host = HostUrl::parse(&place.url).unwrap();
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
            scripts: Vec::new(),
        };
        world.create(directory_settings(&world.place)).await;
        world.import().await;
        world
    }

    /// Makes another tenant, which has nothing.
    pub(crate) async fn another_tenant(&self, id: &str) {
        let settings = TenantSettings {
            display_name: "Another".into(),
            user_sync_enabled: false,
            verified_domains: vec![],
        };
        self.store
            .create_tenant(
                &TenantId::parse(id).unwrap(),
                &settings,
                Recorded::by_nobody(now()),
            )
            .await
            .unwrap();
    }

    async fn create(&self, settings: DirectorySettings) {
        let now = now();
        let tenant = TenantSettings {
            display_name: "Acme".into(),
            user_sync_enabled: true,
            verified_domains: vec!["acme.example".into()],
        };
        self.store
            .create_tenant(&self.tenant, &tenant, Recorded::by_nobody(now))
            .await
            .unwrap();
        let password = Password::new(self.place.bind_password.clone()).ok().unwrap();
        let secrets = NewSecrets {
            bind_password: Some(&password),
            client_key: None,
        };
        self.store
            .create_directory(
                &self.tenant,
                &self.directory,
                &settings,
                secrets,
                Recorded::by_nobody(now),
            )
            .await
            .unwrap();
        self.observe(None).await;
        let sync = sync_settings(&self.directory, &self.place);
        self.store
            .create_user_sync(
                &self.tenant,
                &self.sync.user_sync,
                &sync,
                None,
                Recorded::by_nobody(now),
            )
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
        self.start(settings, Clock::System).await
    }

    /// One whose clock shows another time.
    pub(crate) async fn start_gateway_at(&mut self, clock: Clock) -> usize {
        self.start(&[], clock).await
    }

    async fn start(&mut self, settings: &[(&str, &str)], clock: Clock) -> usize {
        let stop = CancellationToken::new();
        let loaded = self.settings(settings);
        let server = GrpcServer::bind(&loaded.shared).await.unwrap();
        let address = server.local_address();
        let health = Health::new(&[]).await;
        let gateway = Gateway::open(loaded.shared, loaded.own, clock, stop.clone()).await;
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

    /// The settings of a gateway of this world.
    pub(crate) fn settings(&self, settings: &[(&str, &str)]) -> Loaded<GatewaySettings> {
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
            .update_directory(
                tenant,
                id,
                DirectoryUpdate {
                    expected_revision: revision,
                    settings: &settings,
                    secrets,
                    endpoint_confirmed: true,
                },
                Recorded::by_nobody(now),
            )
            .await
            .unwrap();
    }

    /// Gives a tenant another directory, which is this script, and a user sync of the same name. Both have the settings of
    /// the world's own. The sync is the world's from here on, until a test sets it back.
    pub(crate) async fn add_script(&mut self, tenant: &TenantId, name: &str, script: &ScriptedLdap) {
        let directory = DirectoryId::parse(name).unwrap();
        let mut settings = directory_settings(&self.place);
        settings.hosts = vec![HostUrl::parse(&format!("ldap://{}", script.address())).unwrap()];
        settings.transport_security = TransportSecurity::Plaintext;
        settings.allow_plaintext = true;
        self.allow_port(script.address().port());
        let password = Password::new("x".into()).ok().unwrap();
        let secrets = NewSecrets {
            bind_password: Some(&password),
            client_key: None,
        };
        self.store
            .create_directory(tenant, &directory, &settings, secrets, Recorded::by_nobody(now()))
            .await
            .unwrap();
        let sync = sync_settings(&directory, &self.place);
        self.sync = UserSyncKey {
            tenant: tenant.clone(),
            user_sync: UserSyncId::parse(name).unwrap(),
        };
        self.store
            .create_user_sync(
                tenant,
                &self.sync.user_sync,
                &sync,
                None,
                Recorded::by_nobody(now()),
            )
            .await
            .unwrap();
    }

    /// Changes the settings of the user sync, and brings them into force by a run that changes nobody.
    pub(crate) async fn update_sync(&self, change: impl FnOnce(&mut UserSyncSettings)) {
        self.edit_sync(change).await;
        let (tenant, id) = (&self.sync.tenant, &self.sync.user_sync);
        let sync = self.store.user_sync(tenant, id).await.unwrap();
        let pulled = sync.last_complete_pull_time;
        self.run(Vec::new(), pulled.unwrap_or_else(now)).await;
    }

    /// Changes the settings of the user sync. No run has applied them.
    pub(crate) async fn edit_sync(&self, change: impl FnOnce(&mut UserSyncSettings)) {
        let (tenant, id) = (&self.sync.tenant, &self.sync.user_sync);
        let sync = self.store.user_sync(tenant, id).await.unwrap();
        let mut settings = sync.settings;
        change(&mut settings);
        self.store
            .update_user_sync(
                tenant,
                id,
                sync.revision,
                &settings,
                None,
                Recorded::by_nobody(now()),
            )
            .await
            .unwrap();
    }

    /// Lets a scripted directory live as long as this world.
    pub(crate) fn keep(&mut self, script: ScriptedLdap) {
        self.scripts.push(script);
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

    /// Executes SQL behind the gateways' backs, on PostgreSQL.
    pub(crate) fn sql(&self, text: &str) {
        self.database.as_ref().unwrap().sql(text).unwrap();
    }

    /// The answer to a query on PostgreSQL, as text.
    pub(crate) fn query(&self, text: &str) -> String {
        let found = self.database.as_ref().unwrap().sql(text).unwrap();
        found.trim().to_owned()
    }

    /// A session on PostgreSQL that executes this and then does nothing.
    pub(crate) fn hold(&self, text: &str) -> IdleSession {
        self.database.as_ref().unwrap().hold(text).unwrap()
    }

    /// Every byte that the gateway's database holds.
    pub(crate) fn database_bytes(&self) -> Vec<u8> {
        if let Some(database) = &self.database {
            let dump = "SELECT schema_to_xml('public', true, false, '')";
            return database.sql(dump).unwrap().into_bytes();
        }
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

fn keyring() -> Keyring {
    Keyring::parse(KEYRING).unwrap()
}
