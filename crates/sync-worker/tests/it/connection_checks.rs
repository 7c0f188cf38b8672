use std::time::{Duration, Instant};

use rollcall_core::error::Reason;
use rollcall_proto::v1;
use rollcall_proto::v1::check_connection_request::Target;
use rollcall_proto::v1::{CheckOutcome, CheckStageKind};
use rollcall_testkit::{ScriptedLdap, TestCa};

use crate::company::{Company, DIRECTORY, TENANT};
use crate::harness::{ADMIN, Clients, TestWorker, fails, mask, metadata, ok, stage, stages};

fn stored() -> v1::CheckConnectionRequest {
    v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(Target::Directory(DIRECTORY.into())),
    }
}

fn draft(directory: v1::Directory) -> v1::CheckConnectionRequest {
    v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(Target::Draft(directory)),
    }
}

async fn report(clients: &mut Clients, request: v1::CheckConnectionRequest) -> v1::CheckReport {
    ok(clients.directories.check_connection(request))
        .await
        .report
        .unwrap()
}

/// The stage that failed, after which all others of its host must be SKIPPED.
fn failure(report: &v1::CheckReport) -> &v1::CheckStage {
    assert_eq!(report.outcome(), CheckOutcome::Fail, "{report:#?}");
    let at = report
        .stages
        .iter()
        .position(|stage| stage.outcome() == CheckOutcome::Fail)
        .unwrap();
    for later in &report.stages[at + 1..] {
        assert_eq!(later.outcome(), CheckOutcome::Skipped, "{later:?}");
    }
    let failed = &report.stages[at];
    assert!(
        !failed.message.is_empty() && !failed.hint.is_empty(),
        "{failed:?}"
    );
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_directory_passes_and_is_known_afterwards() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let report = report(&mut clients, stored()).await;
    for kind in [
        CheckStageKind::Parse,
        CheckStageKind::EgressPolicy,
        CheckStageKind::Dns,
        CheckStageKind::Tcp,
        CheckStageKind::Tls,
        CheckStageKind::Bind,
        CheckStageKind::RootDse,
    ] {
        let stage = stages(&report, kind)[0];
        assert_eq!(stage.outcome(), CheckOutcome::Pass, "{stage:?}");
    }
    assert_eq!(stages(&report, CheckStageKind::Privilege).len(), 1, "{report:#?}");
    assert!(
        stage(&report, CheckStageKind::Tls).message.contains("TLS"),
        "{report:#?}"
    );
    assert!(report.check_time.is_some() && report.duration.is_some());
    let get = v1::GetDirectoryRequest {
        name: DIRECTORY.into(),
    };
    let server = ok(clients.directories.get_directory(get)).await.server.unwrap();
    assert_eq!(server.kind(), v1::DirectoryServerKind::Openldap);
    assert!(
        server
            .capabilities
            .iter()
            .any(|oid| oid == "1.2.840.113556.1.4.319"),
        "{server:?}"
    );
    let starttls = v1::Directory {
        hosts: vec![company.slapd.url()],
        ..company.directory()
    };
    let report = crate::connection_checks::report(&mut clients, draft(starttls)).await;
    assert_eq!(
        stage(&report, CheckStageKind::Bind).outcome(),
        CheckOutcome::Pass,
        "{report:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_is_told_at_its_stage_with_a_hint() {
    let company = Company::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut ports = company.ports().to_vec();
    ports.push(closed);
    let worker = TestWorker::start(&ports).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let good = company.directory();
    let other_ca = TestCa::new().unwrap();
    let with_host = |host: String| v1::Directory {
        hosts: vec![host],
        ..good.clone()
    };
    let cases = [
        (
            "nothing listens",
            with_host(format!("ldaps://127.0.0.1:{closed}")),
            CheckStageKind::Tcp,
        ),
        (
            "no such name",
            with_host("ldaps://no-such-host.invalid".into()),
            CheckStageKind::Dns,
        ),
        (
            "a refused address",
            with_host("ldaps://10.1.2.3".into()),
            CheckStageKind::EgressPolicy,
        ),
        (
            "a refused port",
            with_host("ldaps://127.0.0.1:22".into()),
            CheckStageKind::EgressPolicy,
        ),
        (
            "another CA",
            v1::Directory {
                ca_certificates: other_ca.pem(),
                ..good.clone()
            },
            CheckStageKind::Tls,
        ),
        (
            "another name",
            v1::Directory {
                tls_server_name: "dc1.acme.example".into(),
                ..good.clone()
            },
            CheckStageKind::Tls,
        ),
        (
            "plain text on the TLS port",
            v1::Directory {
                hosts: vec![company.slapd.tls_url().replace("ldaps", "ldap")],
                ..good.clone()
            },
            CheckStageKind::Tls,
        ),
        (
            "a wrong password",
            v1::Directory {
                bind_password: "wrong".into(),
                ..good.clone()
            },
            CheckStageKind::Bind,
        ),
    ];
    for (what, directory, kind) in cases {
        let report = report(&mut clients, draft(directory)).await;
        assert_eq!(failure(&report).kind(), kind, "{what}: {report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_answers_ends_within_the_deadline_and_keeps_nobody_from_the_next() {
    let company = Company::start();
    let black_hole = ScriptedLdap::plain(|mut peer| async move { peer.closed().await })
        .await
        .unwrap();
    let mut ports = company.ports().to_vec();
    ports.push(black_hole.address().port());
    let worker = TestWorker::start(&ports).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let hosts = vec![
        format!("ldaps://{}", black_hole.address()),
        company.slapd.tls_url(),
    ];
    let begin = Instant::now();
    let report = report(
        &mut clients,
        draft(v1::Directory {
            hosts,
            ..company.directory()
        }),
    )
    .await;
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let outcomes: Vec<_> = stages(&report, CheckStageKind::Tls)
        .iter()
        .map(|stage| stage.outcome())
        .collect();
    assert_eq!(outcomes, [CheckOutcome::Fail, CheckOutcome::Pass], "{report:#?}");

    let hasty = {
        let mut request = tonic::Request::new(draft(v1::Directory {
            hosts: vec![format!("ldaps://{}", black_hole.address())],
            ..company.directory()
        }));
        request.set_timeout(Duration::from_secs(2));
        clients.directories.check_connection(request).await
    };
    let report = hasty.unwrap().into_inner().report.unwrap();
    assert_eq!(
        failure(&report).kind(),
        CheckStageKind::Tls,
        "the report comes before the caller's deadline"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_borrows_the_stored_password_for_the_stored_endpoint_only() {
    let company = Company::start();
    let other = ScriptedLdap::plain(|mut peer| async move { peer.closed().await })
        .await
        .unwrap();
    let mut ports = company.ports().to_vec();
    ports.push(other.address().port());
    let worker = TestWorker::start(&ports).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let without = v1::Directory {
        name: DIRECTORY.into(),
        bind_password: String::new(),
        ..company.directory()
    };
    let same = v1::Directory {
        display_name: "Renamed".into(),
        page_size: 7,
        ..without.clone()
    };
    let borrowed = report(&mut clients, draft(same)).await;
    assert_eq!(
        stage(&borrowed, CheckStageKind::Bind).outcome(),
        CheckOutcome::Pass
    );

    let moved = v1::Directory {
        hosts: vec![format!("ldaps://{}", other.address())],
        ..without.clone()
    };
    let status = fails(
        Reason::BindPasswordRequired,
        clients.directories.check_connection(draft(moved)),
    )
    .await;
    assert_eq!(metadata(&status, "resource"), DIRECTORY);
    let downgraded = v1::Directory {
        hosts: vec![company.slapd.url()],
        transport_security: v1::TransportSecurity::Plaintext.into(),
        allow_plaintext: true,
        ..without.clone()
    };
    fails(
        Reason::BindPasswordRequired,
        clients.directories.check_connection(draft(downgraded)),
    )
    .await;
    assert_eq!(other.connections(), 0, "not even a connection was made");
    let unknown = v1::Directory {
        name: format!("{DIRECTORY}-not"),
        ..without
    };
    fails(
        Reason::DirectoryNotFound,
        clients.directories.check_connection(draft(unknown)),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_of_the_directory_shows_and_its_update_heals() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let change = format!(
        "dn: {}\nchangetype: modify\nreplace: userPassword\nuserPassword: changed\n",
        company.slapd.service_dn()
    );
    company.slapd.modify(&change).unwrap();
    assert_eq!(
        failure(&report(&mut clients, stored()).await).kind(),
        CheckStageKind::Bind
    );
    let update = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            bind_password: "changed".into(),
            ..v1::Directory::default()
        }),
        update_mask: mask(&["bind_password"]),
        confirm_new_directory: false,
    };
    ok(clients.directories.update_directory(update)).await;
    let healed = report(&mut clients, stored()).await;
    assert_eq!(stage(&healed, CheckStageKind::Bind).outcome(), CheckOutcome::Pass);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_of_one_tenant_are_limited() {
    let company = Company::start();
    let settings = [("checks.per_minute", "2")];
    let worker = TestWorker::start_with(
        &company.ports(),
        &settings,
        rollcall_runtime::clock::Clock::System,
    )
    .await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    for _ in 0..2 {
        report(&mut clients, stored()).await;
    }
    let status = fails(
        Reason::ChecksRateLimited,
        clients.directories.check_connection(stored()),
    )
    .await;
    assert_eq!(metadata(&status, "tenant"), "acme");
    let info = tonic_types::StatusExt::get_details_retry_info(&status).unwrap();
    assert!(info.retry_delay.unwrap() > Duration::ZERO);
}
