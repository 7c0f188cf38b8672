//! Certificates as a customer pastes them: what is stored, and what never is.

use rollcall_core::error::Reason;
use rollcall_proto::v1;
use rollcall_proto::v1::check_connection_request::Target;
use rollcall_proto::v1::{CheckOutcome, CheckStageKind, SecurityPractice};
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_testkit::TestCa;

use crate::company::{Company, DIRECTORY, TENANT, create_tenant};
use crate::directories::{create, update};
use crate::harness::{ADMIN, Clients, TestWorker, description, fails, ok, stage, violations};

async fn everything_recorded(clients: &mut Clients) -> String {
    let request = v1::ListAuditEventsRequest {
        parent: TENANT.into(),
        page_size: 1000,
        ..Default::default()
    };
    format!("{:?}", ok(clients.audit.list_audit_events(request)).await)
}

/// Refused at once in every field and call, and neither stored nor recorded nor said again.
#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_pasted_by_mistake_is_refused_and_kept_nowhere() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    let server = company.ca.server(&["127.0.0.1"]).unwrap();
    let secret = server.key_pem.lines().nth(1).unwrap();
    let own = company.ca.pem();
    let putty = format!("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n{secret}\n");
    let keys = [
        server.key_pem.clone(),
        server.key_pem.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        server.key_pem.replace("PRIVATE", "RSA PRIVATE"),
        server.key_pem.replace('\n', "\r\n"),
        server
            .key_pem
            .to_lowercase()
            .replace(&secret.to_lowercase(), secret),
        putty,
    ];
    for key in &keys {
        let with_key = |field: &str| {
            let pasted = format!("\u{feff}{own}\n{key}");
            let mut directory = company.directory();
            match field {
                "directory.ca_certificates" => directory.ca_certificates = pasted,
                _ => {
                    directory.client_certificate = pasted;
                    directory.client_private_key = server.key_pem.clone();
                }
            }
            directory
        };
        for field in ["directory.ca_certificates", "directory.client_certificate"] {
            let refused = clients.directories.create_directory(create(with_key(field)));
            let status = fails(Reason::InvalidField, refused).await;
            assert_eq!(violations(&status), [field], "{key}");
            assert!(description(&status, field).contains("private key"));
            assert!(!format!("{status:?}").contains(secret));
            let draft = v1::CheckConnectionRequest {
                parent: TENANT.into(),
                target: Some(Target::Draft(with_key(field))),
            };
            let status = fails(Reason::InvalidField, clients.directories.check_connection(draft)).await;
            assert!(!format!("{status:?}").contains(secret));
        }
    }
    ok(clients.directories.create_directory(create(company.directory()))).await;
    for key in &keys {
        let pasted = v1::Directory {
            ca_certificates: format!("{own}{key}"),
            ..company.directory()
        };
        let paths = ["ca_certificates", "bind_password"];
        let refused = clients.directories.update_directory(update(pasted, &paths));
        let status = fails(Reason::InvalidField, refused).await;
        assert_eq!(violations(&status), ["directory.ca_certificates"]);
    }
    assert!(!everything_recorded(&mut clients).await.contains(secret));
    let files = worker.files();
    let holds = |text: &str| {
        files
            .iter()
            .any(|file| file.windows(text.len()).any(|w| w == text.as_bytes()))
    };
    let stored = own.lines().nth(1).unwrap();
    assert!(holds(stored), "the certificates are in these files");
    assert!(!holds(secret));
}

/// What is accepted works at the check, with the very text that was stored; what would not is refused with its reason.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_at_save_works_at_the_check() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    let (own, other) = (company.ca.pem(), TestCa::new().unwrap().pem());
    let cut = &own[..own.len() / 2];
    let bad = [
        format!("{other}{cut}"),
        format!("{own}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
        own.replace('\n', "\\n"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
    ];
    let with = |ca: &str| v1::Directory {
        ca_certificates: ca.into(),
        ..company.directory()
    };
    for ca in &bad {
        let refused = clients.directories.create_directory(create(with(ca)));
        let status = fails(Reason::InvalidField, refused).await;
        assert_eq!(violations(&status), ["directory.ca_certificates"], "{ca}");
        let said = description(&status, "directory.ca_certificates");
        assert!(said.contains("block"), "{said}");
    }
    ok(clients.directories.create_directory(create(with(&own)))).await;
    let paths = ["ca_certificates", "bind_password"];
    for ca in &bad {
        let refused = clients.directories.update_directory(update(with(ca), &paths));
        let status = fails(Reason::InvalidField, refused).await;
        assert_eq!(violations(&status), ["directory.ca_certificates"], "{ca}");
    }
    for ca in [
        format!("\u{feff}{other}\u{feff}{own}"),
        format!("the firm's:\r\n{}", own.replace('\n', "\r\n")),
        own.lines().map(|line| format!("  {line}\n")).collect(),
    ] {
        let updated = ok(clients.directories.update_directory(update(with(&ca), &paths))).await;
        assert_eq!(updated.ca_certificates, ca);
        let request = v1::CheckConnectionRequest {
            parent: TENANT.into(),
            target: Some(Target::Directory(DIRECTORY.into())),
        };
        let report = ok(clients.directories.check_connection(request))
            .await
            .report
            .unwrap();
        let tls = stage(&report, CheckStageKind::Tls);
        assert_eq!(tls.outcome(), CheckOutcome::Pass, "{tls:?}");
    }
}

/// A key has to be the certificate's, whether both are new or one of them is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_stored_with_its_own_key_only_and_its_end_is_reviewed() {
    let company = Company::start();
    let clock = Clock::Manual(ManualClock::new("2099-12-20T00:00:00Z".parse().unwrap()));
    let worker = TestWorker::start_with(&company.ports(), &[], clock).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    let (first, second) = (
        company.ca.client("one").unwrap(),
        company.ca.client("two").unwrap(),
    );
    let with = |certificate: &str, key: &str| v1::Directory {
        client_certificate: certificate.into(),
        client_private_key: key.into(),
        ..company.directory()
    };
    let field = "directory.client_certificate";
    let mixed = create(with(&first.certificate_pem, &second.key_pem));
    let status = fails(Reason::InvalidField, clients.directories.create_directory(mixed)).await;
    assert_eq!(violations(&status), [field]);
    ok(clients
        .directories
        .create_directory(create(with(&first.certificate_pem, &first.key_pem))))
    .await;
    for (directory, paths) in [
        (with(&second.certificate_pem, ""), vec!["client_certificate"]),
        (with("", &second.key_pem), vec!["client_private_key"]),
    ] {
        let refused = clients.directories.update_directory(update(directory, &paths));
        let status = fails(Reason::InvalidField, refused).await;
        assert_eq!(violations(&status), [field], "{paths:?}");
    }
    let both = update(
        with(&second.certificate_pem, &second.key_pem),
        &["client_certificate", "client_private_key"],
    );
    ok(clients.directories.update_directory(both)).await;
    let request = v1::GetSecurityReviewRequest {
        name: format!("{TENANT}/securityReview"),
    };
    let review = ok(clients.audit.get_security_review(request)).await;
    let told: Vec<_> = review
        .findings
        .iter()
        .filter(|finding| finding.practice() == SecurityPractice::Certificates)
        .map(|finding| (finding.outcome(), finding.message.as_str()))
        .collect();
    let expected = (
        CheckOutcome::Warn,
        "The client certificate expires on 2100-01-01.",
    );
    assert!(told.contains(&expected), "{told:?}");
}
