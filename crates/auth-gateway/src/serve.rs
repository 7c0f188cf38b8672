//! Serving: store, logins, services, server; and at the end everything in the opposite order.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use ring::rand::{SecureRandom, SystemRandom};
use rollcall_proto::FILE_DESCRIPTOR_SET;
use rollcall_proto::v1::auth_service_server::AuthServiceServer;
use rollcall_proto::v1::user_service_server::UserServiceServer;
use rollcall_runtime::clock::Clock;
use rollcall_runtime::config::{ConfigArguments, Loaded, Shared};
use rollcall_runtime::exit::Failure;
use rollcall_runtime::health::Health;
use rollcall_runtime::reload::Reload;
use rollcall_runtime::server::{
    COMPRESSION, GrpcServer, MAX_AUTHENTICATE_BYTES, MAX_REQUEST_BYTES, with_health_and_reflection,
};
use rollcall_runtime::{machine, shutdown};
use rollcall_service::configuration::{
    await_database, egress_policy, login_policy, open_store, renew_store, store_options,
};
use rollcall_service::directories::Directories;
use rollcall_service::failure;
use rollcall_service::tokens::Tokens;
use rollcall_service::watch::watch;
use rollcall_store::{LoginStore, Purpose, Store};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::auth_service::Auth;
use crate::config::GatewaySettings;
use crate::login::Logins;
use crate::login::context::{Context, Parts};
use crate::login::memory::keyed_hash::{PrivateHasher, SharedHasher};
use crate::secrets::Secrets;
use crate::user_service::Users;
use crate::worker::Worker;

const SERVICES: [&str; 2] = ["rollcall.v1.AuthService", "rollcall.v1.UserService"];
/// How often connections that are not used are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Refusals of one subject are one audit event if they come within about this time.
const FLOOD: TimeDelta = TimeDelta::minutes(1);
/// How often floods that are over are looked for.
const REFUSALS_INTERVAL: Duration = Duration::from_secs(15);

/// The parts of a gateway that its services share.
pub struct Gateway {
    store: Store,
    login_store: LoginStore,
    clock: Clock,
    logins: Arc<Logins>,
    directories: Directories,
    login_timeout: Duration,
    users: Users,
    worker: Worker,
}

/// Serves until SIGTERM or SIGINT, then drains. SIGHUP reloads what can be.
///
/// # Errors
/// Settings, files, a store or a port that cannot be used.
pub async fn serve(loaded: Loaded<GatewaySettings>, arguments: &ConfigArguments) -> Result<(), Failure> {
    machine::check(&loaded.shared)?;
    let stop = shutdown::on_signals().map_err(Failure::because)?;
    let reload = Reload::prepare(&loaded, arguments).map_err(Failure::because)?;
    loaded.warn_of_endings();
    let Loaded { shared, own, .. } = loaded;
    let server = GrpcServer::bind(&shared).await.map_err(Failure::because)?;
    let health = Health::new(&SERVICES).await;
    if let Some(address) = shared.health.listen {
        health.listen(address).await.map_err(Failure::because)?;
    }
    if !await_database(&shared.store, &stop).await? {
        return Ok(());
    }
    let health_settings = shared.health;
    let gateway = Gateway::open(shared, own, Clock::System, stop.clone()).await?;
    let (store, worker) = (gateway.store.clone(), gateway.worker.clone());
    reload.follow(&server, move |loaded| {
        renew(store.clone(), worker.clone(), loaded)
    });
    watch(gateway.store.clone(), gateway.directories.clone(), Clock::System);
    let store = gateway.store.clone();
    let follower = health.clone();
    tokio::spawn(async move { follower.follow(&health_settings, || store.ping()).await });
    gateway.serve(server, &health, stop).await
}

/// Makes the gateway use the secrets that the configuration names now. If one of them cannot be read, none is replaced.
async fn renew(store: Store, worker: Worker, loaded: Loaded<GatewaySettings>) -> Result<(), Failure> {
    let Loaded { shared, own, .. } = loaded;
    let secrets = Secrets::read(shared.store, shared.keyring, &own.worker)?;
    worker.replace(&secrets.worker);
    renew_store(&store, secrets.of_store).await
}

impl Gateway {
    /// Connects to the store, whose schema must be this release's, and puts the parts together.
    ///
    /// # Errors
    /// Settings that cannot be used, and a store that cannot be.
    pub async fn open(
        shared: Shared,
        own: GatewaySettings,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let policy = login_policy(&shared.users)?;
        let options = store_options(&shared.store, &shared.users);
        let egress = egress_policy(&shared.egress);
        let secrets = Secrets::read(shared.store, shared.keyring, &own.worker)?;
        let store = open_store(secrets.of_store, options, LoginStore::MOST_CONNECTIONS).await?;
        let keys = store.keys().map_err(Failure::because)?;
        let login_store = LoginStore::open(&store);
        let directories = Directories::new(store.clone(), clock.clone(), egress, failure::for_login);
        let context = Context::new(Parts {
            store: store.clone(),
            login_store: login_store.clone(),
            directories: directories.clone(),
            worker: secrets.worker.clone(),
            clock: clock.clone(),
            login: own.login,
            soft_lock: own.soft_lock,
            policy: policy.clone(),
            shared: SharedHasher::new(keys.of(Purpose::Logins).clone()),
            private: PrivateHasher::new(&random()?),
        });
        let logins = Arc::new(Logins::new(context, &random()?));
        let users = Users {
            store: store.clone(),
            tokens: Tokens::of(&store, clock.clone()).map_err(Failure::because)?,
            clock: clock.clone(),
            policy,
            soft_lock: own.soft_lock,
            poll_interval: own.events.poll_interval,
            directories: directories.clone(),
            stop,
        };
        Ok(Self {
            store,
            login_store,
            clock,
            logins,
            directories,
            login_timeout: own.login.timeout,
            users,
            worker: secrets.worker,
        })
    }

    /// Serves on `server` until `stop` is cancelled, then drains.
    ///
    /// # Errors
    /// The transport failed.
    pub async fn serve(
        self,
        server: GrpcServer,
        health: &Health,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let auth = Auth::new(Arc::clone(&self.logins), self.login_timeout);
        let auth = AuthServiceServer::new(auth)
            .max_decoding_message_size(MAX_AUTHENTICATE_BYTES)
            .accept_compressed(COMPRESSION)
            .send_compressed(COMPRESSION);
        let users = UserServiceServer::new(self.users)
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .accept_compressed(COMPRESSION)
            .send_compressed(COMPRESSION);
        let routes = Routes::new(auth).add_service(users);
        let routes =
            with_health_and_reflection(routes, health, FILE_DESCRIPTOR_SET).map_err(Failure::because)?;
        let sweeper = tokio::spawn(sweep(self.directories));
        let auditor = tokio::spawn(audit_refusals(self.store.clone(), self.clock));
        let served = server.serve(routes, health, stop).await;
        sweeper.abort();
        auditor.abort();
        // Logins whose callers are gone still have to be accounted for.
        let _ = tokio::time::timeout(self.login_timeout, self.logins.drain()).await;
        self.login_store.close().await;
        self.store.close().await;
        served.map_err(Failure::because)
    }
}

async fn sweep(directories: Directories) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        directories.sweep();
    }
}

/// Makes audit events of what the soft lock refused in the last minute. What this process does not get to, the next one
/// or another replica does.
async fn audit_refusals(store: Store, clock: Clock) {
    let mut ticks = tokio::time::interval(REFUSALS_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = store.audit_refusals(clock.now() - FLOOD).await {
            tracing::warn!(error = %error, "refusals were counted but not yet audited");
        }
    }
}

fn random() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Failure::because("the operating system gives no random numbers"))?;
    Ok(bytes)
}
