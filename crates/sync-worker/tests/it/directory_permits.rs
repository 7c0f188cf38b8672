//! Only so many runs read one directory at a time, and one tenant's leave room for others.

use std::time::Duration;

use chrono::Utc;
use rollcall_core::audit::AskedBy;
use rollcall_core::id::{RunId, UserSyncId, UserSyncKey, Uuid};
use rollcall_core::run::{RunMode, RunTrigger};
use rollcall_proto::v1::{self, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_store::{LeaseName, LeaseToken, NewRun, RunHandle, Store};
use rollcall_testkit::{ScriptedLdap, wait_for};

use crate::company::{Company, TENANT, create_sync, create_tenant, staff};
use crate::harness::{ADMIN, Clients, TestWorker, ok};
use crate::run_world::tenant;
use crate::runs::{rest, run};
use crate::scheduling::{MORNING, NOON, at, nightly, runs};

const LIMIT: Duration = Duration::from_secs(20);

/// A run of somebody else that reads the directory of this user sync of its own.
pub async fn read_elsewhere(worker: &TestWorker, id: &str) -> (Store, LeaseToken) {
    create_sync(&mut worker.clients(ADMIN), id, staff()).await;
    let store = worker.store().await;
    let key = UserSyncKey {
        tenant: tenant(),
        user_sync: UserSyncId::parse(id).unwrap(),
    };
    let name = LeaseName::run_of(&key);
    let lease = store.acquire_lease(&name, "somebody else", Duration::from_secs(600));
    let lease = lease.await.unwrap().unwrap();
    let run = NewRun {
        id: RunId(Uuid::new_v4()),
        mode: RunMode::Preview,
        trigger: RunTrigger::Call,
        asked_by: AskedBy::default(),
    };
    let run = store
        .create_run(&lease, &key, run, None, Utc::now())
        .await
        .unwrap();
    let handle = RunHandle {
        lease: lease.clone(),
        key,
        id: run.id,
    };
    assert!(store.begin_pull(&handle, 2).await.unwrap().is_some());
    (store, lease)
}

async fn state(clients: &mut Clients, run: &str) -> SyncRunState {
    let get = v1::GetSyncRunRequest { name: run.into() };
    ok(clients.runs.get_sync_run(get)).await.state()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_while_others_read_whichever_process_they_are_of() {
    let company = Company::start();
    let worker = TestWorker::start_with(&company.ports(), &[], Clock::System).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let second = v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: "second".into(),
        directory: Some(company.directory()),
        request_id: String::new(),
    };
    ok(clients.directories.create_directory(second)).await;
    let elsewhere = v1::UserSync {
        directory: format!("{TENANT}/directories/second"),
        ..staff()
    };
    create_sync(&mut clients, "elsewhere", elsewhere).await;
    let (_, _) = read_elsewhere(&worker, "first").await;
    let (store, lease) = read_elsewhere(&worker, "second").await;

    let waiting = ok(clients.user_syncs.run_user_sync(run(SyncRunMode::Apply))).await;
    let other = v1::RunUserSyncRequest {
        name: format!("{TENANT}/userSyncs/elsewhere"),
        mode: SyncRunMode::Preview.into(),
        ..Default::default()
    };
    let other = ok(clients.user_syncs.run_user_sync(other)).await;
    assert_eq!(
        rest(&mut clients, &other.name).await.state(),
        SyncRunState::Planned
    );
    assert_eq!(state(&mut clients, &waiting.name).await, SyncRunState::Pending);
    store.release_lease(&lease).await.unwrap();
    assert_eq!(
        rest(&mut clients, &waiting.name).await.state(),
        SyncRunState::Succeeded
    );
    // It let others read.
    read_elsewhere(&worker, "third").await;

    let waiting = ok(clients.user_syncs.run_user_sync(run(SyncRunMode::Apply))).await;
    let cancel = v1::CancelSyncRunRequest {
        name: waiting.name.clone(),
    };
    ok(clients.runs.cancel_sync_run(cancel)).await;
    let cancelled =
        async || state(&mut worker.clients(ADMIN), &waiting.name).await == SyncRunState::Cancelled;
    wait_for("a run that waits is cancelled", LIMIT, cancelled)
        .await
        .unwrap();
}

/// A directory that takes every connection and never says a word.
async fn silent() -> (ScriptedLdap, v1::Directory) {
    let server = ScriptedLdap::plain(|mut peer| async move {
        while peer.receive().await?.is_some() {}
        Ok(())
    })
    .await
    .unwrap();
    let directory = v1::Directory {
        display_name: "Silent".into(),
        hosts: vec![format!("ldap://{}", server.address())],
        transport_security: v1::TransportSecurity::Plaintext.into(),
        allow_plaintext: true,
        bind_dn: "cn=rollcall".into(),
        bind_password: "secret".into(),
        operation_timeout: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..v1::Directory::default()
    };
    (server, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_directories_never_answer_keeps_nobody_else_waiting() {
    let company = Company::start();
    let (server, directory) = silent().await;
    let [tls, plain] = company.ports();
    let clock = ManualClock::new(at(NOON));
    let settings = [("scheduler.enabled", "true"), ("runs.concurrent", "2")];
    let ports = [tls, plain, server.address().port()];
    let worker = TestWorker::start_with(&ports, &settings, Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    for id in ["first", "second", "third"] {
        let request = v1::CreateDirectoryRequest {
            parent: TENANT.into(),
            directory_id: id.into(),
            directory: Some(directory.clone()),
            request_id: String::new(),
        };
        ok(clients.directories.create_directory(request)).await;
        let sync = v1::UserSync {
            directory: format!("{TENANT}/directories/{id}"),
            schedule: "0 1 * * *".into(),
            ..nightly()
        };
        create_sync(&mut clients, id, sync).await;
    }
    company.set_up_other(&mut clients, nightly()).await;

    // An hour before anybody else.
    clock.set(at("2026-03-02T01:30:00Z"));
    let silence = async || server.connections() > 0;
    wait_for("a run that gets no answer", LIMIT, silence)
        .await
        .unwrap();
    clock.set(at(MORNING));
    let ended = async || {
        let runs = runs(&mut worker.clients(ADMIN), "tenants/globex/userSyncs/staff").await;
        runs.first()
            .is_some_and(|run| run.state() == SyncRunState::Succeeded)
    };
    wait_for("the other tenant's run", LIMIT, ended).await.unwrap();
    let waiting = runs(&mut clients, &format!("{TENANT}/userSyncs/-")).await;
    assert_eq!(waiting.len(), 1, "{waiting:#?}");
    assert_eq!(waiting[0].state(), SyncRunState::Pulling);
}
