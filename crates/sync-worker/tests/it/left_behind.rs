//! Runs that somebody left half done, and runs that are in each other's way.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::audit::AskedBy;
use rollcall_core::error::Reason;
use rollcall_core::id::{RunId, TenantId, UserSyncId, UserSyncKey, Uuid};
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts, RunMode, RunTrigger};
use rollcall_proto::v1::{self, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_store::{
    EraseUser, LeaseName, LeaseToken, Mailing, NewAuditEvent, NewRun, PageRequest, RunHandle, Store,
    UserFilter,
};
use rollcall_testkit::wait_for;

use crate::company::{Company, STAFF, create_sync, staff};
use crate::harness::{ADMIN, Clients, TestWorker, fails, ok};
use crate::run_world::tenant;
use crate::runs::{rest, run, run_to_rest};
use crate::scheduling::{MORNING, NOON, at, nightly, run_due, runs};

/// So long that only the first tick of a scheduler counts.
const RARELY: (&str, &str) = ("scheduler.interval", "600s");

fn key() -> UserSyncKey {
    UserSyncKey {
        tenant: TenantId::parse("acme").unwrap(),
        user_sync: UserSyncId::parse("staff").unwrap(),
    }
}

/// A run as a worker leaves it that dies as soon as it has accepted it; with the lease, which is still held.
async fn accepted(store: &Store, mode: RunMode, now: DateTime<Utc>) -> (LeaseToken, RunId) {
    let (name, id) = (LeaseName::run_of(&key()), RunId(Uuid::from_u128(7)));
    let lease = store
        .acquire_lease(&name, "the dead", Duration::from_secs(600))
        .await;
    let lease = lease.unwrap().unwrap();
    let new = NewRun {
        id,
        mode,
        trigger: RunTrigger::Schedule,
        asked_by: AskedBy::default(),
    };
    store.create_run(&lease, &key(), new, None, now).await.unwrap();
    (lease, id)
}

/// The same with a plan that is to be applied.
async fn planned(store: &Store, now: DateTime<Utc>) -> (LeaseToken, RunId) {
    let (lease, id) = accepted(store, RunMode::Apply, now).await;
    let run = RunHandle {
        lease,
        key: key(),
        id,
    };
    store.begin_pull(&run, 9).await.unwrap();
    let plan = PlanResult {
        outcome: PlanOutcome::Apply,
        counts: RunCounts::default(),
        complete: true,
    };
    store
        .finish_plan(&run, plan, &Mailing::default(), now)
        .await
        .unwrap();
    (run.lease, id)
}

async fn state(clients: &mut Clients, name: &str) -> SyncRunState {
    let get = v1::GetSyncRunRequest { name: name.into() };
    ok(clients.runs.get_sync_run(get)).await.state()
}

fn name_of(run: RunId) -> String {
    format!("{STAFF}/runs/{}", run.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_starts_a_run_finds_the_one_that_was_left_behind_carried_on() {
    let company = Company::start();
    let worker = TestWorker::start_with(&company.ports(), &[RARELY], Clock::System).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let store = worker.store().await;
    let (lease, left) = accepted(&store, RunMode::Apply, Utc::now()).await;
    store.release_lease(&lease).await.unwrap();

    let new = clients.user_syncs.run_user_sync(run(SyncRunMode::Apply));
    fails(Reason::SyncInProgress, new).await;
    let carried_on = rest(&mut clients, &name_of(left)).await;
    assert_eq!(carried_on.state(), SyncRunState::Succeeded, "{carried_on:#?}");
    assert_eq!(runs(&mut clients, STAFF).await.len(), 1);
    let new = ok(clients.user_syncs.run_user_sync(run(SyncRunMode::Apply))).await;
    assert_eq!(
        rest(&mut clients, &new.name).await.state(),
        SyncRunState::Succeeded
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_server_carries_on_what_was_left_behind_and_tells_of_it() {
    let company = Company::start();
    let clock = Clock::Manual(ManualClock::new(at(NOON)));
    let worker = TestWorker::start_with(&company.ports(), &[RARELY], clock).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    // Due by now, as the command sees it.
    create_sync(&mut clients, "staff", nightly()).await;
    let store = worker.store().await;
    let (lease, left) = accepted(&store, RunMode::Apply, at(NOON)).await;
    store.release_lease(&lease).await.unwrap();
    let done = worker.command(&company.ports(), &["run-due"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let told = String::from_utf8_lossy(&done.stderr);
    assert_eq!(
        told.matches(&left.0.to_string()).count(),
        2,
        "taken over, and ended: {told}"
    );
    let all = runs(&mut clients, STAFF).await;
    assert_eq!(all.len(), 1, "it was the night's run: {all:#?}");
    assert_eq!(all[0].state(), SyncRunState::Succeeded);
    assert_eq!(all[0].counts.unwrap().created, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_server_looks_again_after_people_who_were_erased() {
    let company = Company::start();
    let worker = TestWorker::start_with(&company.ports(), &[RARELY], Clock::System).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    run_to_rest(&mut clients, SyncRunMode::Apply).await;
    let (store, tenant) = (worker.store().await, tenant());
    let users = store
        .list_users(&tenant, &UserFilter::default(), &PageRequest::first(1))
        .await;
    let erase = EraseUser {
        tenant: &tenant,
        user: users.unwrap().items[0].id,
        expected_revision: None,
        exclude: false,
        left_before: None,
    };
    let record = NewAuditEvent::by_nobody(Utc::now() - TimeDelta::hours(1));
    store.erase_user(erase, &record).await.unwrap();
    let waiting = async || store.tenants_to_sweep(Utc::now()).await.unwrap().len();
    assert_eq!(waiting().await, 1);
    let done = worker.command(&company.ports(), &["run-due"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(waiting().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_at_night_does_not_cost_the_night_its_run() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[RARELY], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    let store = worker.store().await;
    let (lease, preview) = accepted(&store, RunMode::Preview, at(NOON)).await;
    clock.set(at(MORNING));
    let (messages, end) = run_due(&mut clients, "tenants/-").await;
    assert_eq!((messages.len(), end.is_ok()), (1, false), "{messages:#?}");
    let why = &messages[0].failure.as_ref().unwrap().message;
    assert!(why.contains("under way"), "{why}");

    store.release_lease(&lease).await.unwrap();
    fails(
        Reason::SyncInProgress,
        clients.user_syncs.run_user_sync(run(SyncRunMode::Apply)),
    )
    .await;
    let planned = rest(&mut clients, &name_of(preview)).await;
    assert_eq!(planned.state(), SyncRunState::Planned);
    let (messages, end) = run_due(&mut clients, "tenants/-").await;
    assert_eq!((messages.len(), end.is_ok()), (1, true), "{messages:#?}");
    let ended = messages[0].sync_run.as_ref().unwrap();
    assert_eq!(ended.state(), SyncRunState::Succeeded, "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_and_runs_already_is_the_night_s_run() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[RARELY], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    clock.set(at(MORNING));
    company.slapd.pause().unwrap();
    let manual = ok(clients.user_syncs.run_user_sync(run(SyncRunMode::Apply))).await;
    let mut caller = worker.clients(ADMIN);
    let due = tokio::spawn(async move { run_due(&mut caller, "tenants/-").await });
    let store = worker.store().await;
    let is_counted = async || {
        let sync = store.user_sync(&key().tenant, &key().user_sync).await.unwrap();
        sync.next_run_time
            .is_some_and(|next| next > at(MORNING) + TimeDelta::hours(1))
    };
    wait_for(
        "the run counts as the night's",
        Duration::from_secs(20),
        is_counted,
    )
    .await
    .unwrap();
    company.slapd.resume().unwrap();
    let (messages, end) = due.await.unwrap();
    assert_eq!((messages.len(), end.is_ok()), (1, true), "{messages:#?}");
    assert_eq!(messages[0].sync_run.as_ref().unwrap().name, manual.name);
    assert_eq!(runs(&mut clients, STAFF).await.len(), 1);
}

/// The plan is of the day before, when everything went down: what it says is carried out, and then looked at anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_an_outage_left_half_applied_is_not_the_night_s_run() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[RARELY], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    let store = worker.store().await;
    let (lease, old) = planned(&store, at(NOON)).await;
    store.release_lease(&lease).await.unwrap();

    clock.set(at(MORNING));
    let (messages, end) = run_due(&mut clients, "tenants/-").await;
    assert_eq!((messages.len(), end.is_ok()), (1, false), "{messages:#?}");
    let carried_on = rest(&mut clients, &name_of(old)).await;
    assert_eq!(carried_on.state(), SyncRunState::Succeeded);
    let (messages, end) = run_due(&mut clients, "tenants/-").await;
    assert_eq!((messages.len(), end.is_ok()), (1, true), "{messages:#?}");
    assert_eq!(messages[0].sync_run.as_ref().unwrap().counts.unwrap().created, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_works_on_so_many_runs_at_a_time_however_they_were_started() {
    let company = Company::start();
    let settings = [RARELY, ("runs.concurrent", "1")];
    let worker = TestWorker::start_with(&company.ports(), &settings, Clock::System).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let mut other = staff();
    other.searches[0].base_dn = "ou=Guests,dc=example,dc=org".into();
    create_sync(&mut clients, "guests", other).await;
    company.slapd.pause().unwrap();
    let first = ok(clients.user_syncs.run_user_sync(run(SyncRunMode::Apply))).await;
    let is_read = async || state(&mut worker.clients(ADMIN), &first.name).await == SyncRunState::Pulling;
    wait_for("the first is read", Duration::from_secs(20), is_read)
        .await
        .unwrap();
    let second = v1::RunUserSyncRequest {
        name: STAFF.replace("staff", "guests"),
        ..run(SyncRunMode::Apply)
    };
    let second = ok(clients.user_syncs.run_user_sync(second)).await;
    let watch = v1::WatchSyncRunRequest {
        name: second.name.clone(),
    };
    let mut seen = ok(clients.runs.watch_sync_run(watch)).await;
    // What is told first, at once, is that it waits.
    let first_seen = seen.message().await.unwrap().unwrap().sync_run.unwrap();
    assert_eq!(first_seen.state(), SyncRunState::Pending);
    // It would be read by then.
    let next = tokio::time::timeout(Duration::from_secs(2), seen.message()).await;
    assert!(next.is_err(), "{next:?}");
    company.slapd.resume().unwrap();
    let mut last = first_seen;
    while let Some(message) = seen.message().await.unwrap() {
        last = message.sync_run.unwrap();
        if last.state() != SyncRunState::Pending {
            let first = state(&mut worker.clients(ADMIN), &first.name).await;
            assert_eq!(
                first,
                SyncRunState::Succeeded,
                "while the second was {:?}",
                last.state()
            );
        }
    }
    assert_eq!(last.state(), SyncRunState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_is_started_as_soon_as_there_is_room_for_it() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let settings = [
        ("scheduler.enabled", "true"),
        ("scheduler.interval", "10s"),
        ("runs.concurrent", "1"),
    ];
    let worker = TestWorker::start_with(&company.ports(), &settings, Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    for number in 0..6 {
        let mut sync = nightly();
        sync.searches[0].filter = format!("(uid=nobody{number})");
        create_sync(&mut clients, &format!("sync{number}"), sync).await;
    }
    clock.set(at(MORNING));
    let all_ended = async || {
        let parent = "tenants/acme/userSyncs/-".to_owned();
        let request = v1::ListSyncRunsRequest {
            parent,
            ..Default::default()
        };
        let runs = ok(worker.clients(ADMIN).runs.list_sync_runs(request))
            .await
            .sync_runs;
        runs.len() == 6 && runs.iter().all(|run| run.end_time.is_some())
    };
    // One tick finds the first; one each would take a minute.
    wait_for("all six", Duration::from_secs(25), all_ended)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_can_never_be_applied_is_given_up_after_an_hour() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let store = worker.store().await;
    let (lease, left) = planned(&store, at(NOON)).await;
    // A plan that was lost.
    worker.sql("UPDATE sync_runs SET chunks = 1");
    store.release_lease(&lease).await.unwrap();
    let health = async || {
        let get = v1::GetUserSyncRequest { name: STAFF.into() };
        ok(worker.clients(ADMIN).user_syncs.get_user_sync(get))
            .await
            .health
            .unwrap()
    };
    let told = async || health().await.state() == v1::HealthState::Error;
    wait_for("its sync says so", Duration::from_secs(20), told)
        .await
        .unwrap();
    assert_eq!(state(&mut clients, &name_of(left)).await, SyncRunState::Applying);
    clock.set(at(NOON) + TimeDelta::minutes(61));
    let given_up = rest(&mut clients, &name_of(left)).await;
    assert_eq!(given_up.state(), SyncRunState::Failed, "{given_up:#?}");
    assert_eq!(health().await.state(), v1::HealthState::Error);
    let next = ok(clients.user_syncs.run_user_sync(run(SyncRunMode::Apply))).await;
    assert_eq!(
        rest(&mut clients, &next.name).await.state(),
        SyncRunState::Succeeded
    );
}
