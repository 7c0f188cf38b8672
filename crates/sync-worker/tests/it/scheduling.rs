use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::error::Reason;
use rollcall_proto::status;
use rollcall_proto::v1::{self, SyncRunState, SyncRunTrigger};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_testkit::wait_for;
use tonic::Code;

use crate::company::{Company, DIRECTORY, STAFF, TENANT, create_sync, staff};
use crate::harness::{ACME, ADMIN, Clients, TestWorker, mask, metadata, ok};
use crate::runs::run_to_rest;

pub const NOON: &str = "2026-03-01T12:00:00Z";
/// After the night's run was due.
pub const MORNING: &str = "2026-03-02T07:00:00Z";

pub fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

pub fn nightly() -> v1::UserSync {
    v1::UserSync {
        auto_sync: true,
        ..staff()
    }
}

pub async fn runs(clients: &mut Clients, parent: &str) -> Vec<v1::SyncRun> {
    let request = v1::ListSyncRunsRequest {
        parent: parent.into(),
        ..Default::default()
    };
    ok(clients.runs.list_sync_runs(request)).await.sync_runs
}

async fn next_run_seconds(clients: &mut Clients) -> i64 {
    let sync = ok(clients
        .user_syncs
        .get_user_sync(v1::GetUserSyncRequest { name: STAFF.into() }))
    .await;
    sync.next_run_time.unwrap().seconds
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_runs_what_is_due_once_and_sets_the_next_time() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let settings = [("scheduler.enabled", "true")];
    let worker = TestWorker::start_with(&company.ports(), &settings, Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    create_sync(&mut clients, "manual", staff()).await;
    assert_eq!(
        next_run_seconds(&mut clients).await,
        at("2026-03-02T02:00:00Z").timestamp()
    );

    // Two nights were missed, and are caught up by one run.
    clock.set(at(MORNING) + TimeDelta::days(1));
    let ended = async || {
        let mut clients = worker.clients(ADMIN);
        runs(&mut clients, STAFF)
            .await
            .first()
            .is_some_and(|run| run.state() == SyncRunState::Succeeded)
    };
    wait_for("the night's run succeeded", Duration::from_secs(20), ended)
        .await
        .unwrap();
    let next =
        async || next_run_seconds(&mut worker.clients(ADMIN)).await == at("2026-03-04T02:00:00Z").timestamp();
    wait_for("the next time is set", Duration::from_secs(10), next)
        .await
        .unwrap();
    let all = runs(&mut clients, &format!("{TENANT}/userSyncs/-")).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(
        (all[0].trigger(), all[0].caller.as_str()),
        (SyncRunTrigger::Schedule, "")
    );
}

/// Matrix case 64: what a clock that was ahead has scheduled does not wait until that time comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_runs_in_the_next_night_although_the_clock_was_years_ahead() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let settings = [("scheduler.enabled", "true")];
    let worker = TestWorker::start_with(&company.ports(), &settings, Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    let tonight = next_run_seconds(&mut clients).await;
    clock.set(at(NOON) + TimeDelta::days(3650));
    let far = async || next_run_seconds(&mut worker.clients(ADMIN)).await > tonight + 3600 * 86_400;
    wait_for("a run in the wrong year", Duration::from_secs(20), far)
        .await
        .unwrap();
    clock.set(at(NOON));
    let near = async || next_run_seconds(&mut worker.clients(ADMIN)).await == tonight;
    wait_for("the next night", Duration::from_secs(20), near)
        .await
        .unwrap();
}

pub async fn run_due(
    clients: &mut Clients,
    parent: &str,
) -> (Vec<v1::RunDueUserSyncsResponse>, Result<(), tonic::Status>) {
    let request = v1::RunDueUserSyncsRequest {
        parent: parent.into(),
    };
    let mut stream = ok(clients.user_syncs.run_due_user_syncs(request)).await;
    let mut messages = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(status) => return (messages, Err(status)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn due_user_syncs_run_on_call_and_only_once() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    let (messages, end) = run_due(&mut clients, "tenants/-").await;
    assert!(
        messages.is_empty() && end.is_ok(),
        "nothing is due at noon: {messages:?}"
    );

    clock.set(at(MORNING));
    let (mut one, mut other) = (worker.clients(ADMIN), worker.clients(ACME));
    let (first, second) = tokio::join!(run_due(&mut one, "tenants/-"), run_due(&mut other, TENANT));
    let messages: Vec<_> = first.0.into_iter().chain(second.0).collect();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    let run = messages[0].sync_run.as_ref().unwrap();
    assert_eq!(
        (messages[0].user_sync.as_str(), run.state()),
        (STAFF, SyncRunState::Succeeded)
    );
    assert_eq!(run.trigger(), SyncRunTrigger::Due);
    assert!(first.1.is_ok() && second.1.is_ok());
    assert_eq!(
        next_run_seconds(&mut clients).await,
        at("2026-03-03T02:00:00Z").timestamp()
    );
    let (messages, end) = run_due(&mut clients, "tenants/-").await;
    assert!(messages.is_empty() && end.is_ok(), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_and_a_held_sync_make_the_call_end_badly() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    clock.set(at(MORNING));
    run_due(&mut clients, TENANT).await.1.unwrap();
    for person in ["ada", "ben"] {
        company
            .slapd
            .delete(&format!("uid={person},ou=Staff,dc=example,dc=org"))
            .unwrap();
    }
    let mut broken = nightly();
    broken.searches[0].base_dn = "ou=Nowhere,dc=example,dc=org".into();
    create_sync(&mut clients, "broken", broken).await;
    let mut guests = nightly();
    guests.searches[0].base_dn = "ou=Guests,dc=example,dc=org".into();
    create_sync(&mut clients, "guests", guests).await;
    clock.set(at(MORNING) + TimeDelta::days(1));
    let (mut messages, end) = run_due(&mut clients, TENANT).await;
    messages.sort_by(|a, b| a.user_sync.cmp(&b.user_sync));
    let states: Vec<_> = messages
        .iter()
        .map(|message| message.sync_run.as_ref().unwrap().state())
        .collect();
    assert_eq!(
        states,
        [SyncRunState::Failed, SyncRunState::Succeeded, SyncRunState::Held],
        "{messages:#?}"
    );
    let end = end.unwrap_err();
    assert_eq!(status::reason(&end), Some(Reason::SyncsNeedAttention));
    let counts = ["succeeded", "failed", "held"].map(|key| metadata(&end, key));
    assert_eq!(counts, ["1", "1", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_whose_directory_is_switched_off_is_not_due() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    let off = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            disabled: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(clients.directories.update_directory(off)).await;
    clock.set(at(MORNING));
    let (messages, end) = run_due(&mut clients, TENANT).await;
    assert!(messages.is_empty() && end.is_ok(), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_nobody_applies_expires() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let planned = run_to_rest(&mut clients, v1::SyncRunMode::Preview).await;
    assert_eq!(
        planned.expire_time.unwrap().seconds,
        (at(NOON) + TimeDelta::hours(72)).timestamp()
    );
    clock.set(at(NOON) + TimeDelta::hours(73));
    let expired = async || {
        let get = v1::GetSyncRunRequest {
            name: planned.name.clone(),
        };
        ok(worker.clients(ADMIN).runs.get_sync_run(get)).await.state() == SyncRunState::Expired
    };
    wait_for("the plan expired", Duration::from_secs(10), expired)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes_but_the_newest_run_stays() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    run_to_rest(&mut clients, v1::SyncRunMode::Apply).await;
    let newest = run_to_rest(&mut clients, v1::SyncRunMode::Apply).await;
    clock.set(at(NOON) + TimeDelta::days(1000));
    // A clean-up comes once an hour, and at the start of a process.
    worker.clean_up().await;
    assert_eq!(runs(&mut clients, STAFF).await, [newest]);
    let audit = v1::ListAuditEventsRequest {
        parent: TENANT.into(),
        ..Default::default()
    };
    assert!(
        ok(clients.audit.list_audit_events(audit))
            .await
            .audit_events
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_server_runs_what_is_due_and_ends_badly_if_any_failed() {
    let company = Company::start();
    // What is created at that noon is due by now.
    let clock = Clock::Manual(ManualClock::new(at(NOON)));
    let worker = TestWorker::start_with(&company.ports(), &[], clock).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    let run_due = || worker.command(&company.ports(), &["run-due"]);
    let done = run_due();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let run = runs(&mut clients, STAFF).await.remove(0);
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    assert_eq!(run.caller, "sync-worker run-due");

    let mut broken = nightly();
    broken.searches[0].base_dn = "ou=Nowhere,dc=example,dc=org".into();
    create_sync(&mut clients, "broken", broken).await;
    let failed = run_due();
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let told = String::from_utf8_lossy(&failed.stderr);
    assert!(
        told.contains("0 user syncs succeeded, 1 failed, 0 are held"),
        "{told}"
    );
    assert_eq!(runs(&mut clients, STAFF).await.len(), 1, "it is not due again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_too_few_open_files_says_so_and_starts_nothing() {
    let company = Company::start();
    let clock = Clock::Manual(ManualClock::new(at(NOON)));
    let worker = TestWorker::start_with(&company.ports(), &[], clock).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    let refused = worker.command_with_files(64, &company.ports(), &["run-due"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        told.contains("may have 64 open files, and needs 256: raise the hard limit"),
        "{told}"
    );
    assert!(runs(&mut clients, STAFF).await.is_empty());
    let done = worker.command_with_files(256, &company.ports(), &["run-due"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_run_that_cannot_work_says_why_in_the_health_of_its_sync() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let worker = TestWorker::start_with(&company.ports(), &[], Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    clock.set(at(MORNING));
    run_due(&mut clients, TENANT).await.1.unwrap();
    let away = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            hosts: vec![company.slapd.tls_url().replace("127.0.0.1", "localhost")],
            bind_password: company.slapd.service_password().into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(clients.directories.update_directory(away)).await;
    clock.set(at(MORNING) + TimeDelta::days(1));
    let (messages, end) = run_due(&mut clients, TENANT).await;
    assert_eq!(messages.len(), 1, "{messages:#?}");
    let run = messages[0].sync_run.as_ref().unwrap();
    let why = "is not yet proven to be the same directory";
    assert_eq!(run.state(), SyncRunState::Failed);
    assert!(run.failure.as_ref().unwrap().message.contains(why), "{run:#?}");
    assert_eq!(metadata(&end.unwrap_err(), "failed"), "1");
    let get = v1::GetUserSyncRequest { name: STAFF.into() };
    let health = ok(clients.user_syncs.get_user_sync(get)).await.health.unwrap();
    assert_eq!(health.state(), v1::HealthState::Error);
    assert!(health.problems[0].message.contains(why), "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_runs_all_that_is_due_though_their_directory_takes_one_at_a_time() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let settings = [("runs.per_directory", "1"), ("runs.concurrent", "3")];
    let worker = TestWorker::start_with(&company.ports(), &settings, Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    for (id, filter) in [
        ("one", "(uid=ada)"),
        ("two", "(uid=ben)"),
        ("three", "(uid=nobody)"),
    ] {
        let mut sync = nightly();
        sync.searches[0].filter = filter.into();
        create_sync(&mut clients, id, sync).await;
    }
    clock.set(at(MORNING));
    let (messages, end) = run_due(&mut clients, TENANT).await;
    let states: Vec<_> = messages
        .iter()
        .filter_map(|message| Some(message.sync_run.as_ref()?.state()))
        .collect();
    assert_eq!(states, [SyncRunState::Succeeded; 3], "{messages:#?}");
    assert!(end.is_ok());
}

/// Whoever changes a user sync while it runs at night gets the night's run all the same, by the new settings.
#[tokio::test(flavor = "multi_thread")]
async fn a_nightly_run_that_a_change_makes_worthless_is_made_up_for() {
    for by_call in [false, true] {
        let company = Company::start();
        let clock = ManualClock::new(at(NOON));
        let enabled = if by_call { "false" } else { "true" };
        let settings = [("scheduler.enabled", enabled)];
        let worker = TestWorker::start_with(&company.ports(), &settings, Clock::Manual(clock.clone())).await;
        let mut clients = worker.clients(ADMIN);
        company.set_up(&mut clients).await;
        create_sync(&mut clients, "staff", nightly()).await;

        company.slapd.pause().unwrap();
        clock.set(at(MORNING));
        let mut caller = worker.clients(ADMIN);
        let call = tokio::spawn(async move {
            match by_call {
                true => run_due(&mut caller, TENANT)
                    .await
                    .1
                    .map_err(|status| status.code()),
                false => Ok(()),
            }
        });
        let has_run = async |state| {
            let runs = runs(&mut worker.clients(ADMIN), STAFF).await;
            runs.iter().any(|run| run.state() == state)
        };
        let limit = Duration::from_secs(20);
        let pulling = async || has_run(SyncRunState::Pulling).await;
        wait_for("a run that reads", limit, pulling).await.unwrap();
        let change = v1::UpdateUserSyncRequest {
            user_sync: Some(v1::UserSync {
                name: STAFF.into(),
                display_name: "Everybody".into(),
                ..v1::UserSync::default()
            }),
            update_mask: mask(&["display_name"]),
        };
        ok(clients.user_syncs.update_user_sync(change)).await;
        company.slapd.resume().unwrap();
        let superseded = async || has_run(SyncRunState::Superseded).await;
        wait_for("the run that is worthless", limit, superseded)
            .await
            .unwrap();
        if by_call {
            assert_eq!(call.await.unwrap(), Err(Code::FailedPrecondition));
            run_due(&mut clients, TENANT).await.1.unwrap();
        }
        let made_up = async || has_run(SyncRunState::Succeeded).await;
        wait_for("the run that makes up for it", limit, made_up)
            .await
            .unwrap();
    }
}
