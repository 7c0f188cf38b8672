use rollcall_core::error::Reason;
use rollcall_proto::v1;
use rollcall_proto::v1::{CheckOutcome, SecurityPractice};

use crate::company::{Company, DIRECTORY, STAFF, TENANT};
use crate::harness::{ADMIN, TestWorker, fails, ok, violations};

const REVIEW: &str = "tenants/acme/securityReview";

fn finding(review: &v1::SecurityReview, practice: SecurityPractice) -> &v1::SecurityFinding {
    let found = review
        .findings
        .iter()
        .find(|finding| finding.practice() == practice);
    found.unwrap_or_else(|| panic!("{practice:?} is not in {review:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_tells_how_things_stand_and_keeps_who_looked() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let get = v1::GetSecurityReviewRequest { name: REVIEW.into() };
    let review = ok(clients.audit.get_security_review(get.clone())).await;
    assert_eq!(review.egress_addresses, ["203.0.113.7"]);
    assert_eq!(
        finding(&review, SecurityPractice::Transport).outcome(),
        CheckOutcome::Pass
    );
    assert_eq!(
        finding(&review, SecurityPractice::Certificates).outcome(),
        CheckOutcome::Skipped
    );
    let runs = finding(&review, SecurityPractice::Runs);
    assert_eq!(
        (runs.outcome(), runs.resource.as_str()),
        (CheckOutcome::Warn, STAFF)
    );
    assert_eq!(
        finding(&review, SecurityPractice::Review).outcome(),
        CheckOutcome::Warn
    );
    assert!(review.last_record.is_none());

    let check = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(v1::check_connection_request::Target::Directory(DIRECTORY.into())),
    };
    ok(clients.directories.check_connection(check)).await;
    let checked = ok(clients.audit.get_security_review(get.clone())).await;
    let certificates = finding(&checked, SecurityPractice::Certificates);
    assert_eq!(
        (certificates.outcome(), certificates.resource.as_str()),
        (CheckOutcome::Pass, DIRECTORY)
    );
    assert_ne!(checked.etag, review.etag);

    let record = |etag: &str| v1::RecordSecurityReviewRequest {
        name: REVIEW.into(),
        etag: etag.into(),
        reviewer: "auditor@acme.example".into(),
        note: "seen".into(),
    };
    fails(
        Reason::EtagMismatch,
        clients.audit.record_security_review(record(&review.etag)),
    )
    .await;
    let recorded = ok(clients.audit.record_security_review(record(&checked.etag))).await;
    assert_eq!(
        (recorded.reviewer.as_str(), recorded.caller.as_str()),
        ("auditor@acme.example", ADMIN)
    );
    assert_eq!(recorded.findings.len(), checked.findings.len());
    let after = ok(clients.audit.get_security_review(get)).await;
    assert_eq!(after.last_record.as_ref(), Some(&recorded));
    assert_eq!(
        finding(&after, SecurityPractice::Review).outcome(),
        CheckOutcome::Pass
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_names_all_that_is_wrong_with_it() {
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    let bad = v1::RecordSecurityReviewRequest {
        name: TENANT.into(),
        note: "x".repeat(2001),
        ..Default::default()
    };
    let status = fails(Reason::InvalidField, clients.audit.record_security_review(bad)).await;
    assert_eq!(violations(&status), ["name", "etag", "reviewer", "note"]);
    let unknown = v1::GetSecurityReviewRequest { name: REVIEW.into() };
    fails(Reason::TenantNotFound, clients.audit.get_security_review(unknown)).await;
}
