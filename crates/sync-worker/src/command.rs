//! The smaller jobs of the binary, each of which ends by itself.

use std::collections::HashSet;

use rollcall_core::audit::AskedBy;
use rollcall_runtime::clock::Clock;
use rollcall_runtime::config::{Loaded, Shared};
use rollcall_runtime::exit::Failure;
use rollcall_runtime::{health, machine, shutdown};
use rollcall_service::configuration::{StoreSecrets, open_store, refused, store_options};
use rollcall_store::{Rotation, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admission::DueCounts;
use crate::config::WorkerSettings;
use crate::retention::Retention;
use crate::sealer::Sealer;
use crate::worker::Worker;

/// Who starts runs here, as runs and audit events show it.
const RUN_DUE: &str = "sync-worker run-due";

/// Asks the server that runs with this configuration on this machine whether it is ready.
///
/// # Errors
/// It is not, or does not answer.
pub async fn healthcheck(shared: &Shared) -> Result<(), Failure> {
    health::check(shared).await.map_err(Failure::because)
}

/// Brings the database to the schema of this release.
///
/// # Errors
/// Settings or a store that cannot be used, and a schema of a newer release.
pub async fn migrate(loaded: Loaded<WorkerSettings>) -> Result<(), Failure> {
    let Shared {
        store,
        keyring,
        users,
        ..
    } = loaded.shared;
    let options = store_options(&store, &users);
    let secrets = StoreSecrets::read(store, keyring)?;
    let url = secrets.database_url.expose();
    let store = Store::connect(url, secrets.keyring, options)
        .await
        .map_err(Failure::because)?;
    let migrated = store.migrate().await;
    store.close().await;
    migrated.map_err(|error| refused(secrets.keyring_setting, error))?;
    tracing::info!("the database has the schema of this release");
    Ok(())
}

/// Seals every secret anew with the keyring's first key, while everything else runs, and tells which keys may go. Begun
/// again, it goes on with what is left.
///
/// # Errors
/// Settings or a store that cannot be used; a signal; and secrets that another key seals still.
pub async fn rotate_keys(loaded: Loaded<WorkerSettings>) -> Result<(), Failure> {
    let stop = shutdown::on_signals().map_err(Failure::because)?;
    let Shared {
        store,
        keyring,
        users,
        ..
    } = loaded.shared;
    let options = store_options(&store, &users);
    let store = open_store(StoreSecrets::read(store, keyring)?, options, 0).await?;
    let rotated = rotate(&store, &stop).await;
    store.close().await;
    rotated
}

async fn rotate(store: &Store, stop: &CancellationToken) -> Result<(), Failure> {
    let mut rotation = Rotation::default();
    while store.rotate_keys(&mut rotation).await.map_err(Failure::because)? {
        if stop.is_cancelled() {
            return Err(Failure::because("stopped before the end; run it again"));
        }
    }
    let Rotation { sealed, damaged, .. } = rotation;
    let uses = store.key_uses().await.map_err(Failure::because)?;
    let keyring = store.keyring();
    let mut ids = keyring.ids();
    let current = ids.next().unwrap_or_default();
    tracing::info!(key.id = current, sealed, "secrets were sealed anew");
    for id in ids.filter(|id| !uses.contains_key(*id)) {
        tracing::info!(
            key.id = id,
            "seals nothing any more: it may be taken out of the keyring"
        );
    }
    let in_use = uses.iter().filter(|(id, _)| *id != current);
    let left = in_use.map(|(id, secrets)| format!("the key {id} still seals {secrets} and must stay"));
    let damaged = damaged
        .into_iter()
        .map(|what| format!("{what} does not open: set it anew"));
    let problems: Vec<String> = damaged.chain(left).collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::because(problems.join("; "))),
    }
}

/// Runs every user sync whose time has come, one-shot, for a host without a server. A signal stops it: runs
/// come to a state from which another worker goes on.
///
/// # Errors
/// Settings or a store that cannot be used, and `SYNCS_NEED_ATTENTION` if any sync failed or is held.
pub async fn run_due(loaded: Loaded<WorkerSettings>) -> Result<(), Failure> {
    machine::check(&loaded.shared)?;
    let stop = shutdown::on_signals().map_err(Failure::because)?;
    let drain = loaded.shared.drain.timeout;
    let worker = Worker::open(loaded.shared, loaded.own, Clock::System, stop.clone()).await?;
    let (results, mut ended) = mpsc::channel(16);
    let running = {
        let worker = worker.clone();
        tokio::spawn(async move { worker.run_due_alone(&AskedBy::caller(RUN_DUE), results).await })
    };
    let mut counts = DueCounts::default();
    let mut told = HashSet::new();
    while let Some(Some(result)) = stop.run_until_cancelled(ended.recv()).await {
        // A run that was taken over may also be the run of a due sync; it is told once.
        if result.run.as_ref().is_ok_and(|run| !told.insert(run.id)) {
            continue;
        }
        counts.add(&result);
        match &result.run {
            Ok(run) => {
                tracing::info!(user_sync = %result.user_sync, run.id = %run.id, run.state = ?run.state, "run")
            }
            Err(error) => tracing::error!(user_sync = %result.user_sync, %error, "no run"),
        }
    }
    drop(ended);
    worker.engine.drain(drain).await;
    let outcome = running
        .await
        .map_err(Failure::because)?
        .and_then(|()| counts.into_result());
    if let Some(sender) = worker.mail_sender()
        && let Err(error) = sender.send_due(&stop).await
    {
        tracing::warn!(%error, "the outbox could not be read");
    }
    // Work that a server does between the nights.
    if let Err(error) = worker.engine.expire().await {
        tracing::warn!(%error, "plans that nobody applied could not be ended");
    }
    Sealer::new(worker.store.clone()).run_once().await;
    let now = worker.now();
    if let Err(error) = worker.sweep_after_erasures(now).await {
        tracing::warn!(%error, "what runs and calls wrote about people who were erased could not be taken out");
    }
    if let Err(error) = Retention::new(worker.clone()).work(now).await {
        tracing::warn!(%error, "what is too old could not be deleted");
    }
    worker.store.close().await;
    outcome.map_err(Failure::because)
}
