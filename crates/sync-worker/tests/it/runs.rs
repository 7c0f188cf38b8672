use std::time::Duration;

use rollcall_core::error::Reason;
use rollcall_proto::v1;
use rollcall_proto::v1::{ChangeType, SyncRunMode, SyncRunState};
use tonic::Code;

use crate::company::{Company, STAFF, TENANT, create_sync, staff};
use crate::harness::{ADMIN, Clients, TestWorker, fails, mask, metadata, ok};

pub fn run(mode: SyncRunMode) -> v1::RunUserSyncRequest {
    v1::RunUserSyncRequest {
        name: STAFF.into(),
        mode: mode.into(),
        request_id: String::new(),
    }
}

/// Watches a run until it rests.
pub async fn rest(clients: &mut Clients, name: &str) -> v1::SyncRun {
    let mut stream = ok(clients
        .runs
        .watch_sync_run(v1::WatchSyncRunRequest { name: name.into() }))
    .await;
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = message.sync_run;
    }
    last.unwrap()
}

pub async fn run_to_rest(clients: &mut Clients, mode: SyncRunMode) -> v1::SyncRun {
    let started = ok(clients.user_syncs.run_user_sync(run(mode))).await;
    rest(clients, &started.name).await
}

pub(crate) async fn changes(clients: &mut Clients, run: &str) -> Vec<v1::SyncRunChange> {
    let request = v1::ListSyncRunChangesRequest {
        parent: run.into(),
        ..Default::default()
    };
    ok(clients.runs.list_sync_run_changes(request)).await.changes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_what_apply_then_does_and_a_second_run_changes_nothing() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let preview = run_to_rest(&mut clients, SyncRunMode::Preview).await;
    assert_eq!(preview.state(), SyncRunState::Planned, "{preview:#?}");
    assert!(preview.expire_time.is_some());
    let counts = preview.counts.unwrap();
    assert_eq!((counts.entries, counts.created, counts.applied), (2, 2, 0));
    let planned = changes(&mut clients, &preview.name).await;
    let mut logins: Vec<_> = planned
        .iter()
        .map(|change| (change.login.as_str(), change.r#type()))
        .collect();
    logins.sort_unstable();
    assert_eq!(logins, [("ada", ChangeType::Create), ("ben", ChangeType::Create)]);

    let apply = v1::ApplySyncRunRequest {
        name: preview.name.clone(),
    };
    ok(clients.runs.apply_sync_run(apply.clone())).await;
    let applied = rest(&mut clients, &preview.name).await;
    assert_eq!(applied.state(), SyncRunState::Succeeded, "{applied:#?}");
    assert_eq!(applied.counts.unwrap().applied, 2);
    assert_eq!(
        ok(clients.runs.apply_sync_run(apply)).await,
        applied,
        "a repeat finds what the first call did"
    );

    let second = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(second.state(), SyncRunState::Succeeded);
    let counts = second.counts.unwrap();
    assert_eq!(
        (counts.unchanged, counts.created, counts.updated, counts.applied),
        (2, 0, 0, 0)
    );
    let sync = ok(clients
        .user_syncs
        .get_user_sync(v1::GetUserSyncRequest { name: STAFF.into() }))
    .await;
    assert_eq!(sync.last_run, second.name);
    assert_eq!(sync.health.unwrap().state(), v1::HealthState::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_ends_when_it_is_cancelled_or_superseded() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let first = run_to_rest(&mut clients, SyncRunMode::Preview).await;
    let cancel = v1::CancelSyncRunRequest {
        name: first.name.clone(),
    };
    assert_eq!(
        ok(clients.runs.cancel_sync_run(cancel.clone())).await.state(),
        SyncRunState::Cancelled
    );
    let status = fails(Reason::RunNotInState, clients.runs.cancel_sync_run(cancel)).await;
    assert_eq!(
        (metadata(&status, "resource"), metadata(&status, "state")),
        (first.name, "CANCELLED".into())
    );

    let second = run_to_rest(&mut clients, SyncRunMode::Preview).await;
    let update = v1::UpdateUserSyncRequest {
        user_sync: Some(v1::UserSync {
            name: STAFF.into(),
            role: "admin".into(),
            ..Default::default()
        }),
        update_mask: mask(&["role"]),
    };
    ok(clients.user_syncs.update_user_sync(update)).await;
    let get = v1::GetSyncRunRequest {
        name: second.name.clone(),
    };
    assert_eq!(
        ok(clients.runs.get_sync_run(get)).await.state(),
        SyncRunState::Superseded
    );
    let apply = v1::ApplySyncRunRequest { name: second.name };
    let status = fails(Reason::RunNotInState, clients.runs.apply_sync_run(apply)).await;
    assert_eq!(metadata(&status, "state"), "SUPERSEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_would_empty_the_sync_is_held_until_a_person_releases_it() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    assert_eq!(
        run_to_rest(&mut clients, SyncRunMode::Apply).await.state(),
        SyncRunState::Succeeded
    );
    for person in ["ada", "ben"] {
        company
            .slapd
            .delete(&format!("uid={person},ou=Staff,dc=example,dc=org"))
            .unwrap();
    }
    let held = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    assert!(!held.hold_reasons.is_empty());
    let planned = changes(&mut clients, &held.name).await;
    assert!(
        planned
            .iter()
            .all(|change| change.r#type() == ChangeType::Deactivate),
        "{planned:?}"
    );
    assert_eq!(planned.len(), 2);
    let only = v1::ListSyncRunChangesRequest {
        parent: held.name.clone(),
        types: vec![ChangeType::Create.into(), ChangeType::Update.into()],
        ..Default::default()
    };
    assert!(
        ok(clients.runs.list_sync_run_changes(only))
            .await
            .changes
            .is_empty()
    );

    ok(clients.runs.apply_sync_run(v1::ApplySyncRunRequest {
        name: held.name.clone(),
    }))
    .await;
    let released = rest(&mut clients, &held.name).await;
    assert_eq!(released.state(), SyncRunState::Succeeded, "{released:#?}");
    assert_eq!(released.counts.unwrap().deactivated, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_an_issue_with_a_hint() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let mut all = staff();
    all.searches[0].base_dn = "dc=example,dc=org".into();
    all.field_mappings.as_mut().unwrap().login = vec!["mail".into()];
    create_sync(&mut clients, "staff", all).await;
    let ended = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(ended.state(), SyncRunState::SucceededWithIssues, "{ended:#?}");
    let list = |types: &[v1::IssueType]| v1::ListSyncRunIssuesRequest {
        parent: ended.name.clone(),
        types: types.iter().map(|kind| (*kind).into()).collect(),
        ..Default::default()
    };
    let missing = ok(clients
        .runs
        .list_sync_run_issues(list(&[v1::IssueType::MissingRequiredField])))
    .await
    .issues;
    assert_eq!(missing.len(), 1);
    assert!(
        missing[0].dn.starts_with("uid=cem,") && !missing[0].hint.is_empty(),
        "{missing:?}"
    );
    let several = [v1::IssueType::MissingRequiredField, v1::IssueType::Overlap];
    assert_eq!(
        ok(clients.runs.list_sync_run_issues(list(&several)))
            .await
            .issues
            .len(),
        1
    );
    let runs = v1::ListSyncRunsRequest {
        parent: format!("{TENANT}/userSyncs/-"),
        ..Default::default()
    };
    assert_eq!(
        ok(clients.runs.list_sync_runs(runs.clone())).await.sync_runs,
        std::slice::from_ref(&ended)
    );
    let failed = v1::ListSyncRunsRequest {
        states: vec![SyncRunState::Failed.into()],
        ..runs
    };
    assert!(ok(clients.runs.list_sync_runs(failed)).await.sync_runs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_against_a_dead_directory_fails_cleanly() {
    let mut company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    assert_eq!(
        run_to_rest(&mut clients, SyncRunMode::Apply).await.state(),
        SyncRunState::Succeeded
    );
    company.slapd.stop();
    let failed = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(failed.state(), SyncRunState::Failed, "{failed:#?}");
    assert!(!failed.failure.unwrap().message.is_empty());
    let store = worker.store().await;
    let (tenant, sync) = (
        rollcall_core::id::TenantId::parse("acme").unwrap(),
        rollcall_core::id::UserSyncId::parse("staff").unwrap(),
    );
    let known = store.known_users(&tenant, &sync, 10).await.unwrap();
    assert!(
        known.len() == 2
            && known
                .iter()
                .all(|user| user.state == rollcall_core::user::UserState::Active)
    );
    let sync = ok(clients
        .user_syncs
        .get_user_sync(v1::GetUserSyncRequest { name: STAFF.into() }))
    .await;
    assert_eq!(sync.health.unwrap().state(), v1::HealthState::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_id_starts_one_run_and_another_request_cannot_use_it() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    create_sync(&mut clients, "other", staff()).await;
    let request = v1::RunUserSyncRequest {
        request_id: "a1".into(),
        ..run(SyncRunMode::Preview)
    };
    let first = ok(clients.user_syncs.run_user_sync(request.clone())).await;
    rest(&mut clients, &first.name).await;
    assert_eq!(
        ok(clients.user_syncs.run_user_sync(request.clone())).await.name,
        first.name
    );
    let other_mode = v1::RunUserSyncRequest {
        mode: SyncRunMode::Apply.into(),
        ..request.clone()
    };
    fails(
        Reason::RequestIdReused,
        clients.user_syncs.run_user_sync(other_mode),
    )
    .await;
    let other_sync = v1::RunUserSyncRequest {
        name: format!("{TENANT}/userSyncs/other"),
        ..request
    };
    let status = fails(
        Reason::RequestIdReused,
        clients.user_syncs.run_user_sync(other_sync),
    )
    .await;
    assert_eq!(metadata(&status, "request_id"), "a1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_does_not_run() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let tenant = |on| v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant {
            name: TENANT.into(),
            user_sync_enabled: on,
            ..Default::default()
        }),
        update_mask: mask(&["user_sync_enabled"]),
    };
    ok(clients.tenants.update_tenant(tenant(false))).await;
    let status = fails(
        Reason::SyncDisabled,
        clients.user_syncs.run_user_sync(run(SyncRunMode::Apply)),
    )
    .await;
    assert_eq!(metadata(&status, "resource"), TENANT);
    ok(clients.tenants.update_tenant(tenant(true))).await;
    let off = v1::UpdateUserSyncRequest {
        user_sync: Some(v1::UserSync {
            name: STAFF.into(),
            disabled: true,
            ..Default::default()
        }),
        update_mask: mask(&["disabled"]),
    };
    ok(clients.user_syncs.update_user_sync(off)).await;
    let status = fails(
        Reason::SyncDisabled,
        clients.user_syncs.run_user_sync(run(SyncRunMode::Apply)),
    )
    .await;
    assert_eq!(metadata(&status, "resource"), STAFF);
    let unspecified = v1::RunUserSyncRequest {
        name: STAFF.into(),
        ..Default::default()
    };
    fails(
        Reason::InvalidField,
        clients.user_syncs.run_user_sync(unspecified),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_is_renewed_by_the_rules_of_its_sync() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let ended = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    let planned = changes(&mut clients, &ended.name).await;
    let ada = planned.into_iter().find(|change| change.login == "ada").unwrap();
    let refresh = v1::RefreshUserRequest {
        name: ada.user.clone(),
    };
    let unchanged = ok(clients.user_syncs.refresh_user(refresh.clone())).await;
    assert_eq!(unchanged.outcome(), v1::RefreshOutcome::Unchanged);
    let change =
        "dn: uid=ada,ou=Staff,dc=example,dc=org\nchangetype: modify\nreplace: mail\nmail: ada@new.example\n";
    company.slapd.modify(change).unwrap();
    let updated = ok(clients.user_syncs.refresh_user(refresh)).await;
    assert_eq!(updated.outcome(), v1::RefreshOutcome::Updated);
    assert_eq!(updated.user.unwrap().email, "ada@new.example");
    let nobody = v1::RefreshUserRequest {
        name: format!("{TENANT}/users/00000000-0000-0000-0000-000000000001"),
    };
    let status = fails(Reason::UserNotFound, clients.user_syncs.refresh_user(nobody)).await;
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_run_is_not_found_by_any_method() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let name = format!("{STAFF}/runs/00000000-0000-0000-0000-000000000001");
    let reason = Reason::SyncRunNotFound;
    fails(
        reason,
        clients
            .runs
            .get_sync_run(v1::GetSyncRunRequest { name: name.clone() }),
    )
    .await;
    fails(
        reason,
        clients
            .runs
            .watch_sync_run(v1::WatchSyncRunRequest { name: name.clone() }),
    )
    .await;
    fails(
        reason,
        clients
            .runs
            .apply_sync_run(v1::ApplySyncRunRequest { name: name.clone() }),
    )
    .await;
    fails(
        reason,
        clients
            .runs
            .cancel_sync_run(v1::CancelSyncRunRequest { name: name.clone() }),
    )
    .await;
    let changes = v1::ListSyncRunChangesRequest {
        parent: name.clone(),
        ..Default::default()
    };
    fails(reason, clients.runs.list_sync_run_changes(changes)).await;
    let issues = v1::ListSyncRunIssuesRequest {
        parent: name.clone(),
        ..Default::default()
    };
    let status = fails(reason, clients.runs.list_sync_run_issues(issues)).await;
    assert_eq!(metadata(&status, "resource"), name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_is_being_run_is_neither_run_again_nor_deleted() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let newest = run_to_rest(&mut clients, SyncRunMode::Preview).await;
    let key = rollcall_core::id::UserSyncKey {
        tenant: rollcall_core::id::TenantId::parse("acme").unwrap(),
        user_sync: rollcall_core::id::UserSyncId::parse("staff").unwrap(),
    };
    let (store, name) = (worker.store().await, rollcall_store::LeaseName::run_of(&key));
    // The run's own lease may be given up a moment after the run rests.
    let mut lease = None;
    let take = async || {
        lease = store
            .acquire_lease(&name, "another worker", Duration::from_secs(60))
            .await
            .unwrap();
        lease.is_some()
    };
    rollcall_testkit::wait_for("the lease is free", Duration::from_secs(10), take)
        .await
        .unwrap();
    let run_again = clients.user_syncs.run_user_sync(run(SyncRunMode::Apply));
    let status = fails(Reason::SyncInProgress, run_again).await;
    assert_eq!(
        (metadata(&status, "resource"), metadata(&status, "run")),
        (STAFF.into(), newest.name.clone())
    );
    let delete = v1::DeleteUserSyncRequest {
        name: STAFF.into(),
        user_disposition: v1::UserDisposition::Archive.into(),
        ..Default::default()
    };
    let status = fails(
        Reason::SyncInProgress,
        clients.user_syncs.delete_user_sync(delete.clone()),
    )
    .await;
    assert_eq!(
        (metadata(&status, "resource"), metadata(&status, "run")),
        (STAFF.into(), newest.name)
    );
    store.release_lease(&lease.unwrap()).await.unwrap();
    ok(clients.user_syncs.delete_user_sync(delete)).await;
}
