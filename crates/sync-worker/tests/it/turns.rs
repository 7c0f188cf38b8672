//! Only so many runs read one directory at a time.

use std::time::Duration;

use rollcall_core::id::DirectoryId;
use rollcall_proto::v1::{self, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::Clock;
use rollcall_store::{LeaseName, LeaseToken, Store};
use rollcall_testkit::wait_for;

use crate::company::{Company, TENANT, create_sync, staff};
use crate::harness::{ADMIN, Clients, TestWorker, ok};
use crate::run_world::tenant;
use crate::runs::{rest, run};

const LIMIT: Duration = Duration::from_secs(20);

async fn take_turn(store: &Store, number: u32) -> LeaseToken {
    let directory = DirectoryId::parse("hq").unwrap();
    let name = LeaseName::turn(&tenant(), &directory, number);
    let taken = store.acquire_lease(&name, "somebody else", Duration::from_secs(600));
    taken.await.unwrap().unwrap()
}

async fn state(clients: &mut Clients, run: &str) -> SyncRunState {
    let get = v1::GetSyncRunRequest { name: run.into() };
    ok(clients.runs.get_sync_run(get)).await.state()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_its_turn_whichever_process_has_it() {
    let company = Company::start();
    let worker = TestWorker::start_with(&company.ports(), &[], Clock::System).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let second = v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: "second".into(),
        directory: Some(company.directory()),
    };
    ok(clients.directories.create_directory(second)).await;
    let elsewhere = v1::UserSync {
        directory: format!("{TENANT}/directories/second"),
        ..staff()
    };
    create_sync(&mut clients, "elsewhere", elsewhere).await;
    let store = worker.store().await;
    let turns = [take_turn(&store, 0).await, take_turn(&store, 1).await];

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
    store.release_lease(&turns[1]).await.unwrap();
    assert_eq!(
        rest(&mut clients, &waiting.name).await.state(),
        SyncRunState::Succeeded
    );
    // It gave its turn back.
    let again = take_turn(&store, 1).await;

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
    store.release_lease(&again).await.unwrap();
}
