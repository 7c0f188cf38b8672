//! A bind password that is changed in the directory without a gap: kept as pending before, and used from then on.

use rollcall_core::error::Reason;
use rollcall_proto::v1;
use rollcall_proto::v1::{CheckOutcome, CheckStageKind, SyncRunMode, SyncRunState};
use rollcall_testkit::TestDatabase;

use crate::company::{Company, DIRECTORY, TENANT, create_sync, staff};
use crate::harness::{ADMIN, Clients, TestWorker, fails, ok, stage};
use crate::runs::{changes, run_to_rest};
use rollcall_runtime::clock::Clock;

const NEXT: &str = "the next password, long enough";

fn change_in_directory(company: &Company, password: &str) {
    let change = format!(
        "dn: {}\nchangetype: modify\nreplace: userPassword\nuserPassword: {password}\n",
        company.slapd.service_dn()
    );
    company.slapd.modify(&change).unwrap();
}

fn pending(password: &str) -> v1::RotateBindPasswordRequest {
    v1::RotateBindPasswordRequest {
        name: DIRECTORY.into(),
        bind_password: password.into(),
        pending: true,
        ..Default::default()
    }
}

async fn keep(clients: &mut Clients, password: &str) -> v1::Directory {
    ok(clients.directories.rotate_bind_password(pending(password))).await
}

async fn directory(clients: &mut Clients) -> v1::Directory {
    let request = v1::GetDirectoryRequest {
        name: DIRECTORY.into(),
    };
    ok(clients.directories.get_directory(request)).await
}

/// How the bind stage of a check ends, of connections that are new.
async fn check(clients: &mut Clients) -> CheckOutcome {
    let check = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(v1::check_connection_request::Target::Directory(DIRECTORY.into())),
    };
    let report = ok(clients.directories.check_connection(check)).await.report;
    stage(&report.unwrap(), CheckStageKind::Bind).outcome()
}

/// The service account's binds that were refused, and that were not.
fn binds(company: &Company) -> (usize, usize) {
    let binds = company.slapd.binds().unwrap();
    let (refused, accepted): (Vec<_>, Vec<_>) = binds
        .into_iter()
        .filter(|bind| bind.dn == company.slapd.service_dn())
        .partition(|bind| bind.result != Some(0));
    (refused.len(), accepted.len())
}

/// Who replaced the bind password, by the audit log.
async fn replaced_by(clients: &mut Clients) -> Vec<String> {
    let request = v1::ListAuditEventsRequest {
        parent: TENANT.into(),
        page_size: 1000,
        ..Default::default()
    };
    let events = ok(clients.audit.list_audit_events(request)).await.audit_events;
    events
        .into_iter()
        .filter(|event| format!("{event:?}").contains("bind_password\""))
        .filter(|event| format!("{event:?}").contains("RotateBindPassword"))
        .map(|event| event.caller)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_with_the_pending_password_once_the_directory_has_it() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let kept = keep(&mut clients, NEXT).await;
    assert!(kept.pending_bind_password_time.is_some());
    assert_eq!(check(&mut clients).await, CheckOutcome::Pass);
    let kept = directory(&mut clients).await;
    assert!(
        kept.pending_bind_password_time.is_some(),
        "the present one is right"
    );
    assert_eq!(binds(&company).0, 0);

    change_in_directory(&company, NEXT);
    let run = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    assert_eq!(binds(&company).0, 1, "the present one, once");
    let rotated = directory(&mut clients).await;
    assert_eq!(rotated.pending_bind_password_time, None);
    assert!(rotated.bind_password_update_time.unwrap().seconds > 0);
    assert_ne!(rotated.etag, kept.etag);
    assert_eq!(replaced_by(&mut clients).await, [""], "nobody called");
    assert_eq!(check(&mut clients).await, CheckOutcome::Pass);
    let run = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    assert_eq!(binds(&company).0, 1, "and never again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_goes_on_with_the_pending_password() {
    let company = Company::start();
    let database = TestDatabase::new().unwrap();
    let settings = [("store.url", database.url())];
    let first = TestWorker::start_with(&company.ports(), &settings, Clock::System).await;
    let mut clients = first.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let run = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    let planned = changes(&mut clients, &run.name).await;
    let ada = planned.into_iter().find(|change| change.login == "ada").unwrap();
    keep(&mut clients, NEXT).await;
    change_in_directory(&company, NEXT);
    let mail =
        "dn: uid=ada,ou=Staff,dc=example,dc=org\nchangetype: modify\nreplace: mail\nmail: ada@new.example\n";
    company.slapd.modify(mail).unwrap();

    // One that has no connection to the directory.
    let second = TestWorker::start_with(&company.ports(), &settings, Clock::System).await;
    let refresh = v1::RefreshUserRequest { name: ada.user };
    let refreshed = ok(second.clients(ADMIN).user_syncs.refresh_user(refresh)).await;
    assert_eq!(refreshed.outcome(), v1::RefreshOutcome::Updated);
    assert_eq!(refreshed.user.unwrap().email, "ada@new.example");
    assert_eq!(directory(&mut clients).await.pending_bind_password_time, None);
    assert_eq!(binds(&company).0, 1, "the present one, once");
    assert_eq!(replaced_by(&mut clients).await, [""], "nobody called");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_the_pending_password_too() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    keep(&mut clients, NEXT).await;
    change_in_directory(&company, NEXT);
    assert_eq!(check(&mut clients).await, CheckOutcome::Pass);
    assert_eq!(directory(&mut clients).await.pending_bind_password_time, None);
    assert_eq!(binds(&company).0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_password_that_is_wrong_costs_one_bind_in_the_window() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    keep(&mut clients, "not the next password").await;
    change_in_directory(&company, NEXT);
    for checks in 1..=4 {
        assert_eq!(check(&mut clients).await, CheckOutcome::Fail);
        assert_eq!(
            binds(&company),
            (checks + 1, 0),
            "the present one at each check, the pending one once"
        );
    }
    let check = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(v1::check_connection_request::Target::Directory(DIRECTORY.into())),
    };
    fails(
        Reason::ChecksRateLimited,
        clients.directories.check_connection(check),
    )
    .await;
    assert_eq!(binds(&company).0, 5, "one more might lock the account");
    let refused = directory(&mut clients).await;
    assert!(
        refused.pending_bind_password_time.is_some(),
        "it may be right later"
    );
    assert!(refused.pending_bind_password_refuse_time.is_some());
    let request = v1::GetSecurityReviewRequest {
        name: format!("{TENANT}/securityReview"),
    };
    let review = ok(clients.audit.get_security_review(request)).await;
    let rotation = review
        .findings
        .iter()
        .find(|finding| finding.practice() == v1::SecurityPractice::PasswordRotation)
        .unwrap();
    assert_eq!(rotation.outcome(), CheckOutcome::Fail, "{rotation:?}");
}

/// Each wrong one counts towards the account's lockout, and a locked account keeps everybody out.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_that_are_tried_do_not_lock_the_bind_account() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let rotation = |number: usize| v1::RotateBindPasswordRequest {
        name: DIRECTORY.into(),
        bind_password: format!("guess {number}"),
        ..Default::default()
    };
    for number in 0..4 {
        let rotated = clients.directories.rotate_bind_password(rotation(number));
        fails(Reason::BindPasswordRejected, rotated).await;
    }
    let rotated = clients.directories.rotate_bind_password(rotation(4));
    fails(Reason::ChecksRateLimited, rotated).await;
    let draft = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(v1::check_connection_request::Target::Draft(v1::Directory {
            bind_password: "guess 5".into(),
            ..company.directory()
        })),
    };
    let checked = clients.directories.check_connection(draft);
    fails(Reason::ChecksRateLimited, checked).await;
    assert_eq!(binds(&company).0, 4);
}

/// Calls at a worker that has no connection to the directory yet.
#[tokio::test(flavor = "multi_thread")]
async fn refreshes_at_once_send_the_refused_password_once_and_the_pending_one_once() {
    let company = Company::start();
    let database = TestDatabase::new().unwrap();
    let settings = [("store.url", database.url())];
    let first = TestWorker::start_with(&company.ports(), &settings, Clock::System).await;
    let mut clients = first.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let run = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    let people = changes(&mut clients, &run.name).await;
    keep(&mut clients, NEXT).await;
    change_in_directory(&company, NEXT);
    let before = binds(&company).1;

    let second = TestWorker::start_with(&company.ports(), &settings, Clock::System).await;
    let refreshes = people.iter().cycle().take(6).map(|person| {
        let mut clients = second.clients(ADMIN);
        let name = person.user.clone();
        async move { ok(clients.user_syncs.refresh_user(v1::RefreshUserRequest { name })).await }
    });
    futures::future::join_all(refreshes).await;
    let (refused, accepted) = binds(&company);
    assert_eq!(refused, 1, "the present one");
    assert!(accepted > before, "the pending one");
    assert_eq!(replaced_by(&mut clients).await, [""], "nobody called");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_workers_one_tries_the_pending_password_and_all_go_on() {
    let company = Company::start();
    let database = TestDatabase::new().unwrap();
    let settings = [("store.url", database.url())];
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(TestWorker::start_with(&company.ports(), &settings, Clock::System).await);
    }
    let mut clients: Vec<_> = workers.iter().map(|worker| worker.clients(ADMIN)).collect();
    company.set_up(&mut clients[0]).await;
    create_sync(&mut clients[0], "staff", staff()).await;
    keep(&mut clients[0], NEXT).await;
    change_in_directory(&company, NEXT);
    let checks = clients.iter_mut().map(check);
    let outcomes = futures::future::join_all(checks).await;
    assert_eq!(outcomes, [CheckOutcome::Pass; 3]);
    let (refused, accepted) = binds(&company);
    assert!(
        refused <= 3,
        "each may have tried the present one, and none a wrong one: {refused}"
    );
    assert_eq!(accepted, 3);
    assert_eq!(replaced_by(&mut clients[0]).await.len(), 1);
}

/// Each may be tried once: whoever guesses the bind account's password is no faster with pending ones.
#[tokio::test(flavor = "multi_thread")]
async fn pending_passwords_count_as_checks() {
    let company = Company::start();
    let worker = TestWorker::start_with(&company.ports(), &[("checks.per_minute", "2")], Clock::System).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    for _ in 0..2 {
        keep(&mut clients, NEXT).await;
    }
    let third = clients
        .directories
        .rotate_bind_password(pending("another one, long enough"));
    fails(Reason::ChecksRateLimited, third).await;
}
