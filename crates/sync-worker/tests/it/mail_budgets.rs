//! Report mails are no relay: budgets, what is told once, whose domains, and the pause between runs.

use std::time::Duration;

use chrono::TimeDelta;
use rollcall_core::error::Reason;
use rollcall_proto::v1::{self, HealthState, ReportWhen, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_testkit::SmtpSink;
use tonic::Code;
use tonic_types::StatusExt;

use crate::company::{Company, DIRECTORY, STAFF, TENANT, create_sync, staff};
use crate::harness::{ADMIN, Clients, TestWorker, fails, mask, ok, violations};
use crate::reports::{ADMIN_ADDRESS, all_gone, mails, reported, settings};
use crate::runs::{run, run_to_rest};
use crate::scheduling::{MORNING, NOON, at, nightly, run_due};

async fn start(company: &Company, sink: &SmtpSink, more: &[(&str, &str)], clock: Clock) -> TestWorker {
    let settings = settings(sink, &company.ca, "starttls");
    let settings: Vec<_> = settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .chain(more.iter().copied())
        .collect();
    TestWorker::start_with(&company.ports(), &settings, clock).await
}

fn sink(company: &Company) -> SmtpSink {
    SmtpSink::starttls(&company.ca.loopback_server().unwrap()).unwrap()
}

async fn health(clients: &mut Clients) -> v1::UserSyncHealth {
    let get = v1::GetUserSyncRequest { name: STAFF.into() };
    ok(clients.user_syncs.get_user_sync(get)).await.health.unwrap()
}

fn says(health: &v1::UserSyncHealth, words: &str) -> bool {
    health
        .problems
        .iter()
        .any(|problem| problem.message.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_used_up_is_said_and_leaves_the_alarms_theirs() {
    let mut company = Company::start();
    let sink = sink(&company);
    let budgets = [("mail.reports_per_day", "3"), ("mail.alarms_per_day", "3")];
    let clock = ManualClock::new(at(NOON));
    let worker = start(&company, &sink, &budgets, Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let two = [ADMIN_ADDRESS, "second@example.org"];
    create_sync(
        &mut clients,
        "staff",
        reported(nightly(), ReportWhen::Always, &two),
    )
    .await;
    // Previews cost nothing.
    run_to_rest(&mut clients, SyncRunMode::Preview).await;
    let first = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(first.mails_withheld, 0);
    assert_eq!(health(&mut clients).await.state(), HealthState::Ok);
    for withheld in [1, 2] {
        let run = run_to_rest(&mut clients, SyncRunMode::Apply).await;
        assert_eq!(
            (run.state(), run.mails_withheld),
            (SyncRunState::Succeeded, withheld),
            "{run:#?}"
        );
        let health = health(&mut clients).await;
        assert_eq!(health.state(), HealthState::Warning);
        assert!(
            says(&health, "not sent: the tenant has sent as many today"),
            "{health:?}"
        );
    }
    company.slapd.stop();
    let failed = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!((failed.state(), failed.mails_withheld), (SyncRunState::Failed, 2));
    mails(&sink, 3).await;
    all_gone(&worker).await;
    assert_eq!(sink.mails().unwrap().len(), 3);

    // The night finds the directory unreachable, and two people hear of it.
    clock.set(at(MORNING));
    let (ended, _) = run_due(&mut clients, TENANT).await;
    let failed = ended[0].sync_run.as_ref().unwrap();
    assert_eq!((failed.state(), failed.mails_withheld), (SyncRunState::Failed, 0));
    mails(&sink, 5).await;
    all_gone(&worker).await;
    // Beside what reminds them of the directory.
    let mut mails = sink.mails().unwrap();
    mails.retain(|mail| mail.header("Subject") == Some("[Rollcall] Staff: the run failed"));
    assert_eq!(mails.len(), 2, "{mails:#?}");
    let health = health(&mut clients).await;
    assert_eq!(health.state(), HealthState::Error);
}

/// Whoever may change a directory could otherwise see to it that nobody hears of a run that is held.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_brings_about_leaves_the_alarms_theirs_too() {
    let mut company = Company::start();
    let sink = sink(&company);
    let budgets = [("mail.reports_per_day", "100"), ("mail.alarms_per_day", "3")];
    let clock = ManualClock::new(at(NOON));
    let worker = start(&company, &sink, &budgets, Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let two = [ADMIN_ADDRESS, "second@example.org"];
    let sync = reported(nightly(), ReportWhen::OnIssues, &two);
    create_sync(&mut clients, "staff", sync).await;
    let url = company.slapd.tls_url();
    for host in [url.replace("127.0.0.1", "localhost"), url] {
        let update = v1::UpdateDirectoryRequest {
            directory: Some(v1::Directory {
                name: DIRECTORY.into(),
                hosts: vec![host],
                ca_certificates: company.ca.pem(),
                bind_password: company.slapd.service_password().into(),
                ..v1::Directory::default()
            }),
            update_mask: mask(&["hosts", "ca_certificates", "bind_password"]),
            confirm_new_directory: true,
        };
        ok(clients.directories.update_directory(update)).await;
    }
    mails(&sink, 3).await;
    all_gone(&worker).await;
    assert_eq!(sink.mails().unwrap().len(), 3, "new endpoints have a budget too");
    company.slapd.stop();
    clock.set(at(MORNING));
    let (ended, _) = run_due(&mut clients, TENANT).await;
    let failed = ended[0].sync_run.as_ref().unwrap();
    assert_eq!((failed.state(), failed.mails_withheld), (SyncRunState::Failed, 0));
    mails(&sink, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_findings_are_told_once() {
    let company = Company::start();
    let sink = sink(&company);
    let worker = start(&company, &sink, &[], Clock::System).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(
        &mut clients,
        "staff",
        reported(staff(), ReportWhen::OnIssues, &[ADMIN_ADDRESS]),
    )
    .await;
    let entry = |name: &str| {
        format!(
            "dn: cn={name},ou=Staff,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: x\ncn: {name}\nsn: X\n"
        )
    };
    let mut told = 0;
    let mut expect = async |news: usize, what: &str, clients: &mut Clients| {
        run_to_rest(clients, SyncRunMode::Apply).await;
        told += news;
        mails(&sink, told).await;
        all_gone(&worker).await;
        assert_eq!(sink.mails().unwrap().len(), told, "{what}");
    };
    expect(0, "nothing is wrong", &mut clients).await;
    company.slapd.add(&entry("short one")).unwrap();
    expect(1, "a login is too short", &mut clients).await;
    for _ in 0..3 {
        expect(0, "the same one", &mut clients).await;
    }
    company.slapd.add(&entry("short two")).unwrap();
    expect(1, "another one", &mut clients).await;
    company
        .slapd
        .delete("cn=short one,ou=Staff,dc=example,dc=org")
        .unwrap();
    expect(1, "the other alone", &mut clients).await;
    company
        .slapd
        .delete("cn=short two,ou=Staff,dc=example,dc=org")
        .unwrap();
    expect(0, "all is well", &mut clients).await;
    company.slapd.add(&entry("short two")).unwrap();
    expect(1, "it is back", &mut clients).await;
    // Whoever is told from now on knows nothing yet.
    let update = v1::UpdateUserSyncRequest {
        user_sync: Some(v1::UserSync {
            name: STAFF.into(),
            ..reported(
                v1::UserSync::default(),
                ReportWhen::OnIssues,
                &[ADMIN_ADDRESS, "second@example.org"],
            )
        }),
        update_mask: mask(&["report"]),
    };
    ok(clients.user_syncs.update_user_sync(update)).await;
    expect(2, "one more address", &mut clients).await;
    expect(0, "both know", &mut clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_domains_must_be_verified_others_get_no_mail_and_it_is_said() {
    let company = Company::start();
    let sink = sink(&company);
    let only = [("mail.only_verified_domains", "true")];
    let worker = start(&company, &sink, &only, Clock::System).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let verify = async |clients: &mut Clients, domains: &[&str]| {
        let update = v1::UpdateTenantRequest {
            tenant: Some(v1::Tenant {
                name: TENANT.into(),
                verified_domains: domains.iter().map(ToString::to_string).collect(),
                ..v1::Tenant::default()
            }),
            update_mask: mask(&["verified_domains"]),
        };
        ok(clients.tenants.update_tenant(update)).await;
    };
    verify(&mut clients, &["example.org"]).await;
    let addresses = ["victim@example.com", ADMIN_ADDRESS, "Second@EXAMPLE.org"];
    let wanted = v1::CreateUserSyncRequest {
        parent: TENANT.into(),
        user_sync_id: "staff".into(),
        user_sync: Some(reported(staff(), ReportWhen::Always, &addresses)),
        ..Default::default()
    };
    let create = clients.user_syncs.create_user_sync(wanted);
    let refused = fails(Reason::InvalidField, create).await;
    assert_eq!(violations(&refused), ["user_sync.report.addresses[0]"]);
    verify(&mut clients, &["example.org", "example.com"]).await;
    create_sync(
        &mut clients,
        "staff",
        reported(staff(), ReportWhen::Always, &addresses),
    )
    .await;
    verify(&mut clients, &["example.org"]).await;
    // What stands there stays, and what is new is refused.
    let update = |addresses: &[&str]| v1::UpdateUserSyncRequest {
        user_sync: Some(v1::UserSync {
            name: STAFF.into(),
            ..reported(v1::UserSync::default(), ReportWhen::Always, addresses)
        }),
        update_mask: mask(&["report"]),
    };
    let more = [&addresses[..], &["another@example.com"]].concat();
    let refused = fails(
        Reason::InvalidField,
        clients.user_syncs.update_user_sync(update(&more)),
    )
    .await;
    assert_eq!(violations(&refused), ["user_sync.report.addresses[3]"]);
    ok(clients.user_syncs.update_user_sync(update(&addresses))).await;
    let done = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!((done.state(), done.mails_withheld), (SyncRunState::Succeeded, 1));
    let health = health(&mut clients).await;
    assert!(
        says(&health, "the domains of the addresses are not verified"),
        "{health:?}"
    );
    mails(&sink, 2).await;
    all_gone(&worker).await;
    let mut reached: Vec<_> = sink
        .mails()
        .unwrap()
        .into_iter()
        .flat_map(|mail| mail.recipients)
        .collect();
    reached.sort();
    assert_eq!(reached, ["Second@EXAMPLE.org", ADMIN_ADDRESS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_somebody_asks_for_have_a_pause_between_them() {
    let company = Company::start();
    let clock = ManualClock::new(at(NOON));
    let pause = [("runs.manual_pause", "30s")];
    let worker = TestWorker::start_with(&company.ports(), &pause, Clock::Manual(clock.clone())).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(&mut clients, "staff", nightly()).await;
    create_sync(&mut clients, "guests", staff()).await;
    let repeatable = v1::RunUserSyncRequest {
        request_id: "once".into(),
        ..run(SyncRunMode::Apply)
    };
    let first = ok(clients.user_syncs.run_user_sync(repeatable.clone())).await;
    crate::runs::rest(&mut clients, &first.name).await;
    clock.set(at(NOON) + TimeDelta::seconds(20));
    for mode in [SyncRunMode::Apply, SyncRunMode::Relink] {
        let status = fails(
            Reason::RunsRateLimited,
            clients.user_syncs.run_user_sync(run(mode)),
        )
        .await;
        assert_eq!(status.code(), Code::ResourceExhausted);
        let retry = status.get_details_retry_info().unwrap().retry_delay;
        assert_eq!(retry, Some(Duration::from_secs(10)));
    }
    // A repeat is no run, a preview changes nothing, and the others have nothing to do with it.
    assert_eq!(
        ok(clients.user_syncs.run_user_sync(repeatable)).await.name,
        first.name
    );
    run_to_rest(&mut clients, SyncRunMode::Preview).await;
    let guests = v1::RunUserSyncRequest {
        name: format!("{TENANT}/userSyncs/guests"),
        ..run(SyncRunMode::Apply)
    };
    ok(clients.user_syncs.run_user_sync(guests)).await;
    clock.set(at(NOON) + TimeDelta::seconds(30));
    run_to_rest(&mut clients, SyncRunMode::Apply).await;
    // What is due runs when it is due.
    clock.set(at(MORNING));
    run_to_rest(&mut clients, SyncRunMode::Apply).await;
    let (ended, _) = run_due(&mut clients, TENANT).await;
    let ran = ended[0].sync_run.as_ref().unwrap();
    assert_eq!(ran.trigger(), v1::SyncRunTrigger::Due);
}
