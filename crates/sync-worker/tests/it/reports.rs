//! Reports by mail, through a real SMTP server.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::id::TenantId;
use rollcall_proto::v1::{self, ReportWhen, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_store::{Keyring, Mailing, NewMail, Store, StoreOptions};
use rollcall_testkit::{ReceivedMail, SmtpSink, TestCa, wait_for};

use crate::company::{Company, DIRECTORY, STAFF, TENANT, create_sync, staff};
use crate::harness::{ADMIN, Clients, TestWorker, ok};
use crate::runs::{rest, run_to_rest};

const LIMIT: Duration = Duration::from_secs(30);
pub(crate) const ADMIN_ADDRESS: &str = "admin@example.org";

/// What makes a worker send to this server.
pub(crate) fn settings(sink: &SmtpSink, ca: &TestCa, security: &str) -> Vec<(String, String)> {
    let settings = [
        ("mail.enabled", "true".to_owned()),
        ("mail.host", "localhost".to_owned()),
        ("mail.port", sink.port().to_string()),
        ("mail.security", security.to_owned()),
        ("mail.ca_file", ca.file().display().to_string()),
        ("mail.username", sink.username().to_owned()),
        ("mail.password_file", sink.password_file().display().to_string()),
        ("mail.from", "Rollcall <rollcall@example.net>".to_owned()),
        ("mail.poll_interval", "1s".to_owned()),
        ("mail.retry_interval", "1s".to_owned()),
    ];
    settings.map(|(key, value)| (key.to_owned(), value)).into()
}

/// A worker that tells a company's admin of its one user sync by mail, at a time that the test sets.
pub(crate) struct Mailed {
    pub(crate) company: Company,
    pub(crate) sink: SmtpSink,
    pub(crate) start: DateTime<Utc>,
    pub(crate) clock: ManualClock,
    pub(crate) worker: TestWorker,
    pub(crate) clients: Clients,
}

impl Mailed {
    /// With the store at this URL, or one of its own.
    pub(crate) async fn start(when: ReportWhen, url: Option<&str>) -> Self {
        let company = Company::start();
        let sink = SmtpSink::starttls(&company.ca.loopback_server().unwrap()).unwrap();
        let mut settings = settings(&sink, &company.ca, "starttls");
        settings.extend(url.map(|url| ("store.url".to_owned(), url.to_owned())));
        let settings: Vec<_> = settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let start: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let clock = ManualClock::new(start);
        let worker = TestWorker::start_with(&company.ports(), &settings, Clock::Manual(clock.clone())).await;
        let mut clients = worker.clients(ADMIN);
        company.set_up(&mut clients).await;
        let sync = reported(staff(), when, &[ADMIN_ADDRESS]);
        create_sync(&mut clients, "staff", sync).await;
        Self {
            company,
            sink,
            start,
            clock,
            worker,
            clients,
        }
    }
}

async fn start(company: &Company, sink: &SmtpSink, security: &str) -> TestWorker {
    let settings = settings(sink, &company.ca, security);
    let settings: Vec<_> = settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    TestWorker::start_with(&company.ports(), &settings, Clock::System).await
}

pub(crate) fn reported(sync: v1::UserSync, when: ReportWhen, addresses: &[&str]) -> v1::UserSync {
    let addresses = addresses.iter().map(ToString::to_string).collect();
    v1::UserSync {
        report: Some(v1::ReportSettings {
            when: when.into(),
            addresses,
        }),
        ..sync
    }
}

pub(crate) async fn mails(sink: &SmtpSink, count: usize) -> Vec<ReceivedMail> {
    wait_for("the mails arrive", LIMIT, async || {
        sink.mails().unwrap().len() >= count
    })
    .await
    .unwrap();
    sink.mails().unwrap()
}

/// Waits until the outbox is empty, however late its mails are due. Those that the server refuses are tried again.
pub(crate) async fn all_gone(worker: &TestWorker) {
    let store = worker.store().await;
    let late: DateTime<Utc> = "2100-01-01T00:00:00Z".parse().unwrap();
    let empty = async || {
        let left = store.claim_mail(9, Duration::ZERO, late).await.unwrap();
        left.iter().all(|mail| mail.mail.to == ["refused@example.org"])
    };
    wait_for("the outbox is empty", LIMIT, empty).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_reported_to_each_address_of_its_own() {
    let mut company = Company::start();
    let sink = SmtpSink::starttls(&company.ca.loopback_server().unwrap()).unwrap();
    let worker = start(&company, &sink, "starttls").await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let addresses = ["refused@example.org", ADMIN_ADDRESS];
    create_sync(
        &mut clients,
        "staff",
        reported(staff(), ReportWhen::Always, &addresses),
    )
    .await;

    run_to_rest(&mut clients, SyncRunMode::Preview).await;
    let done = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(done.state(), SyncRunState::Succeeded, "{done:#?}");
    let first = mails(&sink, 1).await.remove(0);
    assert!(
        first.tls && first.authenticated && first.defects.is_empty(),
        "{first:?}"
    );
    assert_eq!(first.sender, "rollcall@example.net");
    assert_eq!(
        first.recipients,
        [ADMIN_ADDRESS],
        "the other address was refused for itself"
    );
    assert_eq!(first.header("To"), Some(ADMIN_ADDRESS));
    assert_eq!(first.header("From"), Some("Rollcall <rollcall@example.net>"));
    assert_eq!(
        first.header("Subject"),
        Some("[Rollcall] Staff: the run succeeded")
    );
    assert_eq!(first.header("Auto-Submitted"), Some("auto-generated"));
    for part in ["2 created", "Head office", done.name.as_str()] {
        assert!(
            first.text.contains(part) && first.html.contains(part),
            "{part} in {first:?}"
        );
    }

    for person in ["ada", "ben"] {
        let dn = format!("uid={person},ou=Staff,dc=example,dc=org");
        company.slapd.delete(&dn).unwrap();
    }
    let held = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    let second = mails(&sink, 2).await.remove(1);
    assert_eq!(
        second.header("Subject"),
        Some("[Rollcall] Staff: the run is held, please look")
    );
    for part in [
        held.hold_reasons[0].message.as_str(),
        "2 deactivated",
        "Expires: ",
    ] {
        assert!(second.text.contains(part), "{part} in {second:?}");
    }
    let apply = v1::ApplySyncRunRequest {
        name: held.name.clone(),
    };
    ok(clients.runs.apply_sync_run(apply)).await;
    assert_eq!(
        rest(&mut clients, &held.name).await.state(),
        SyncRunState::Succeeded
    );
    let third = mails(&sink, 3).await.remove(2);
    assert_eq!(
        third.header("Subject"),
        Some("[Rollcall] Staff: the run succeeded")
    );
    assert_ne!(third.header("Message-ID"), second.header("Message-ID"));

    company.slapd.stop();
    let failed = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(failed.state(), SyncRunState::Failed, "{failed:#?}");
    let fourth = mails(&sink, 4).await.remove(3);
    assert_eq!(fourth.header("Subject"), Some("[Rollcall] Staff: the run failed"));
    assert!(
        fourth.text.contains(&failed.failure.unwrap().message),
        "{fourth:?}"
    );
    all_gone(&worker).await;
    assert_eq!(
        sink.mails().unwrap().len(),
        4,
        "a preview that nobody released is not reported"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_run_that_nobody_applied_is_reported_when_it_expires() {
    let Mailed {
        company,
        sink,
        start,
        clock,
        worker,
        mut clients,
    } = Mailed::start(ReportWhen::OnIssues, None).await;
    run_to_rest(&mut clients, SyncRunMode::Apply).await;
    for person in ["ada", "ben"] {
        let dn = format!("uid={person},ou=Staff,dc=example,dc=org");
        company.slapd.delete(&dn).unwrap();
    }
    let held = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    mails(&sink, 1).await;

    clock.set(start + chrono::TimeDelta::hours(73));
    let expired = mails(&sink, 2).await.remove(1);
    assert_eq!(
        expired.header("Subject"),
        Some("[Rollcall] Staff: a held run expired")
    );
    for part in [held.hold_reasons[0].message.as_str(), "has changed nothing"] {
        assert!(expired.text.contains(part), "{part} in {expired:?}");
    }
    let get = v1::GetUserSyncRequest { name: STAFF.into() };
    let health = ok(clients.user_syncs.get_user_sync(get)).await.health.unwrap();
    assert_eq!(health.state(), v1::HealthState::Warning, "{health:?}");
    assert!(
        health
            .problems
            .iter()
            .any(|problem| problem.message.contains("nobody applied it in time")),
        "{health:?}"
    );
    all_gone(&worker).await;
    assert_eq!(sink.mails().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_endpoint_is_reported_to_everybody_who_gets_reports() {
    let company = Company::start();
    let sink = SmtpSink::starttls(&company.ca.loopback_server().unwrap()).unwrap();
    let worker = start(&company, &sink, "starttls").await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let sync = reported(staff(), ReportWhen::Never, &[ADMIN_ADDRESS]);
    create_sync(&mut clients, "staff", sync).await;
    let sync = reported(
        staff(),
        ReportWhen::OnIssues,
        &[ADMIN_ADDRESS, "second@example.org"],
    );
    create_sync(&mut clients, "guests", sync).await;
    run_to_rest(&mut clients, SyncRunMode::Apply).await;
    let confirm = |confirm_new_directory| v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            hosts: vec![company.slapd.tls_url().replace("127.0.0.1", "localhost")],
            bind_password: company.slapd.service_password().into(),
            ..v1::Directory::default()
        }),
        update_mask: None,
        confirm_new_directory,
    };
    ok(clients.directories.update_directory(confirm(false))).await;
    let check = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(v1::check_connection_request::Target::Directory(DIRECTORY.into())),
    };
    ok(clients.directories.check_connection(check)).await;
    let first = mails(&sink, 2).await;
    for mail in &first {
        assert_eq!(
            mail.header("Subject"),
            Some("[Rollcall] Head office: its new endpoint is in use")
        );
        for part in [
            "localhost",
            "known people were found",
            "UpdateDirectory, disabled",
        ] {
            assert!(
                mail.text.contains(part) && mail.html.contains(part),
                "{part} in {mail:?}"
            );
        }
    }
    let mut recipients: Vec<_> = first.iter().flat_map(|mail| mail.recipients.clone()).collect();
    recipients.sort();
    assert_eq!(recipients, [ADMIN_ADDRESS, "second@example.org"], "each once");

    let mut back = confirm(true);
    back.directory.as_mut().unwrap().hosts = vec![company.slapd.tls_url()];
    ok(clients.directories.update_directory(back.clone())).await;
    let second = mails(&sink, 4).await;
    assert_eq!(
        second[3].header("Subject"),
        Some("[Rollcall] Head office: confirmed as a new directory")
    );
    for part in ["127.0.0.1", "mode RELINK"] {
        assert!(second[3].text.contains(part), "{part} in {:?}", second[3]);
    }
    // Confirmed already: there is nothing new to tell.
    ok(clients.directories.update_directory(back)).await;
    all_gone(&worker).await;
    assert_eq!(sink.mails().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn issues_are_reported_where_wanted_and_cannot_forge_anything() {
    let company = Company::start();
    let sink = SmtpSink::starttls(&company.ca.loopback_server().unwrap()).unwrap();
    let worker = start(&company, &sink, "starttls").await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let wanted = v1::UserSync {
        display_name: "Stäff <b>\"x\"".into(),
        ..staff()
    };
    let addresses = [ADMIN_ADDRESS];
    create_sync(
        &mut clients,
        "staff",
        reported(wanted, ReportWhen::OnIssues, &addresses),
    )
    .await;
    let clean = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(clean.state(), SyncRunState::Succeeded, "{clean:#?}");

    // The login is "eve\r\nBcc: evil@example.org\r\n\r\n<script>".
    let hostile = "dn: uid=eve\\0D\\0ABcc: evil@example.org\\0D\\0A\\0D\\0A\\3Cscript\\3E,ou=Staff,dc=example,dc=org\n\
        objectClass: inetOrgPerson\n\
        uid:: ZXZlDQpCY2M6IGV2aWxAZXhhbXBsZS5vcmcNCg0KPHNjcmlwdD4=\n\
        cn: Eve\nsn: Eve\n";
    company.slapd.add(hostile).unwrap();
    let ended = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(ended.state(), SyncRunState::SucceededWithIssues, "{ended:#?}");
    let mail = mails(&sink, 1).await.remove(0);
    assert_eq!(
        mail.header("Subject"),
        Some("[Rollcall] Stäff <b>\"x\": the run left issues")
    );
    assert_eq!(mail.recipients, [ADMIN_ADDRESS]);
    let mut names: Vec<_> = mail.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "Auto-Submitted",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ];
    assert_eq!(names, expected);
    assert!(
        mail.text.contains("1 x LOGIN_ILLEGAL_CHARACTERS"),
        "{}",
        mail.text
    );
    assert!(mail.text.contains("What to do: "), "{}", mail.text);
    assert!(
        !mail.text.lines().any(|line| line.starts_with("Bcc:")),
        "{}",
        mail.text
    );
    assert!(
        mail.html.contains("&lt;script&gt;") && !mail.html.contains("<script"),
        "{}",
        mail.html
    );
    assert!(
        mail.html.contains("Stäff &lt;b&gt;&quot;x&quot;"),
        "{}",
        mail.html
    );

    let never = v1::UpdateUserSyncRequest {
        user_sync: Some(v1::UserSync {
            name: crate::company::STAFF.into(),
            ..reported(v1::UserSync::default(), ReportWhen::Never, &addresses)
        }),
        update_mask: crate::harness::mask(&["report"]),
    };
    ok(clients.user_syncs.update_user_sync(never)).await;
    let again = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(again.state(), SyncRunState::SucceededWithIssues, "{again:#?}");
    all_gone(&worker).await;
    assert_eq!(
        sink.mails().unwrap().len(),
        1,
        "only the run with issues, while it was wanted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_waits_for_a_server_that_is_away() {
    let company = Company::start();
    let mut sink = SmtpSink::tls(&company.ca.loopback_server().unwrap()).unwrap();
    sink.stop().unwrap();
    let dead = TcpListener::bind(("127.0.0.1", sink.port())).unwrap();
    let worker = start(&company, &sink, "tls").await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let wanted = reported(staff(), ReportWhen::Always, &[ADMIN_ADDRESS]);
    create_sync(&mut clients, "staff", wanted).await;
    run_to_rest(&mut clients, SyncRunMode::Apply).await;
    // The first attempt ends in nothing.
    tokio::task::spawn_blocking(move || dead.accept().unwrap())
        .await
        .unwrap();
    sink.start().unwrap();
    let arrived = mails(&sink, 1).await;
    assert!(arrived[0].tls && arrived[0].authenticated, "{arrived:?}");
    all_gone(&worker).await;
    assert_eq!(sink.mails().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_report_is_written_while_mail_is_off() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let wanted = reported(staff(), ReportWhen::Always, &[ADMIN_ADDRESS]);
    create_sync(&mut clients, "staff", wanted).await;
    run_to_rest(&mut clients, SyncRunMode::Apply).await;
    let late = "2100-01-01T00:00:00Z".parse().unwrap();
    let waiting = worker
        .store()
        .await
        .claim_mail(9, Duration::ZERO, late)
        .await
        .unwrap();
    assert_eq!(waiting, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_shows_neither_password_nor_address_nor_text() {
    const KEY: &str = "k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("rollcall.db").display());
    let keyring = Keyring::parse(KEY).unwrap();
    let store = Store::connect(&url, keyring, StoreOptions::default())
        .await
        .unwrap();
    store.migrate().await.unwrap();
    for to in ["canary@example.org", "refused.canary@example.org"] {
        let mail = NewMail {
            id: "run.held".into(),
            to: vec![to.into()],
            subject: "canary subject".into(),
            text: "canary text".into(),
            html: "<p>canary html</p>".into(),
        };
        let mailing = Mailing {
            mails: vec![mail],
            per_day: 9,
            ..Mailing::default()
        };
        store
            .enqueue_mails(&TenantId::parse("acme").unwrap(), &mailing, Utc::now())
            .await
            .unwrap();
    }
    store.close().await;

    let ca = TestCa::new().unwrap();
    let mut sink = SmtpSink::starttls(&ca.loopback_server().unwrap()).unwrap();
    sink.stop().unwrap();
    let settings = settings(&sink, &ca, "starttls");
    let run_due = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-worker"));
        command.env_clear().arg("run-due");
        for (key, value) in &settings {
            command.args(["--set", &format!("{key}={value}")]);
        }
        for setting in [
            &format!("store.url={url}"),
            &format!("keyring.key={KEY}"),
            "telemetry.filter=trace",
        ] {
            command.args(["--set", setting]);
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        [output.stdout, output.stderr].concat()
    };
    let mut log = run_due();
    sink.start().unwrap();
    wait_for("the mail arrives", LIMIT, async || {
        log.extend(run_due());
        sink.mails().unwrap().len() == 1
    })
    .await
    .unwrap();
    let log = String::from_utf8(log).unwrap();
    for expected in ["cannot be reached", "code 550", "a mail was sent"] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    assert!(!log.contains("canary") && !log.contains(sink.password()), "{log}");
}
