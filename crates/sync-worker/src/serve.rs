//! The server: its port, its services, the scheduler beside them, and an orderly end.

use std::time::Duration;

use rollcall_proto::FILE_DESCRIPTOR_SET;
use rollcall_proto::v1::audit_service_server::AuditServiceServer;
use rollcall_proto::v1::directory_service_server::DirectoryServiceServer;
use rollcall_proto::v1::sync_run_service_server::SyncRunServiceServer;
use rollcall_proto::v1::tenant_service_server::TenantServiceServer;
use rollcall_proto::v1::user_sync_service_server::UserSyncServiceServer;
use rollcall_runtime::clock::Clock;
use rollcall_runtime::config::{self, ConfigArguments, Loaded};
use rollcall_runtime::exit::Failure;
use rollcall_runtime::health::Health;
use rollcall_runtime::reload::Reload;
use rollcall_runtime::server::{
    COMPRESSION, GrpcServer, MAX_REQUEST_BYTES, ServerError, with_health_and_reflection,
};
use rollcall_runtime::{machine, shutdown};
use rollcall_service::configuration::{StoreSecrets, await_database, renew_store};
use rollcall_service::watch::watch;
use rollcall_store::Store;
use tonic::service::Routes;

use crate::admission::Scheduler;
use crate::config::WorkerSettings;
use crate::figures;
use crate::mail::Smtp;
use crate::sealer::Sealer;
use crate::services::audit::Audit;
use crate::services::directories::Directories;
use crate::services::runs::Runs;
use crate::services::tenants::Tenants;
use crate::services::user_syncs::UserSyncs;
use crate::worker::Worker;

/// The gRPC services, by full name.
const SERVICES: [&str; 5] = [
    "rollcall.v1.TenantService",
    "rollcall.v1.DirectoryService",
    "rollcall.v1.UserSyncService",
    "rollcall.v1.SyncRunService",
    "rollcall.v1.AuditService",
];

/// Serves until a signal asks to stop; then calls under way end, and runs come to a state from which another
/// worker goes on. SIGHUP reloads what can be.
///
/// # Errors
/// The port, the settings or the store cannot be used, or the transport failed.
pub async fn serve(loaded: Loaded<WorkerSettings>, arguments: &ConfigArguments) -> Result<(), Failure> {
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
    let (probing, drain) = (shared.health, shared.drain.timeout);
    let worker = Worker::open(shared, own, Clock::System, stop).await?;
    let (store, smtp) = (worker.store.clone(), worker.smtp.clone());
    reload.follow(&server, move |loaded| renew(store.clone(), smtp.clone(), loaded));
    watch(worker.store.clone(), worker.directories.clone(), Clock::System);
    serve_worker(worker, server, health, probing, drain)
        .await
        .map_err(Failure::because)
}

/// Has the worker use the secrets that the configuration names now: all, or none of those that cannot be read.
async fn renew(store: Store, smtp: Option<Smtp>, loaded: Loaded<WorkerSettings>) -> Result<(), Failure> {
    let Loaded { shared, own, .. } = loaded;
    let secrets = StoreSecrets::read(shared.store, shared.keyring)?;
    if let Some(smtp) = smtp.filter(|_| own.mail.enabled) {
        smtp.replace(&Smtp::open(&own.mail)?);
    }
    renew_store(&store, secrets).await
}

/// Serves a worker on an open port until it is to stop.
///
/// # Errors
/// The transport failed.
pub async fn serve_worker(
    worker: Worker,
    server: GrpcServer,
    health: Health,
    probing: config::Health,
    drain: Duration,
) -> Result<(), ServerError> {
    let (store, follower) = (worker.store.clone(), health.clone());
    tokio::spawn(async move { follower.follow(&probing, || store.ping()).await });
    let routes = routes(&worker, &health)?;
    let figures = tokio::spawn(figures::keep_telling(worker.clone()));
    let scheduler = tokio::spawn(Scheduler::new(worker.clone()).run());
    let sealing = tokio::spawn(Sealer::new(worker.store.clone()).run(worker.stop.clone()));
    let mailing = worker
        .mail_sender()
        .map(|sender| tokio::spawn(sender.run(worker.stop.clone())));
    let served = server.serve(routes, &health, worker.stop.clone()).await;
    scheduler.abort();
    figures.abort();
    let mailed = async {
        if let Some(mailing) = mailing {
            // Mails that are not handed over by then are sent again when their claim ends.
            let _ = tokio::time::timeout(drain, mailing).await;
        }
    };
    // Events that are not sealed by then are sealed by the next worker.
    let sealed = tokio::time::timeout(drain, sealing);
    let ((), (), _) = tokio::join!(worker.engine.drain(drain), mailed, sealed);
    worker.store.close().await;
    served
}

/// A service with the limits that all services share. A macro, since generated servers have no common trait.
macro_rules! limited {
    ($server:expr) => {
        $server
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .accept_compressed(COMPRESSION)
            .send_compressed(COMPRESSION)
    };
}

/// The services of a worker, with health and reflection.
fn routes(worker: &Worker, health: &Health) -> Result<Routes, ServerError> {
    let routes = Routes::new(limited!(TenantServiceServer::new(Tenants(worker.clone()))))
        .add_service(limited!(DirectoryServiceServer::new(Directories(worker.clone()))))
        .add_service(limited!(UserSyncServiceServer::new(UserSyncs(worker.clone()))))
        .add_service(limited!(SyncRunServiceServer::new(Runs(worker.clone()))))
        .add_service(limited!(AuditServiceServer::new(Audit(worker.clone()))));
    with_health_and_reflection(routes, health, FILE_DESCRIPTOR_SET)
}
