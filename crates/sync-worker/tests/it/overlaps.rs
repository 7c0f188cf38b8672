use rollcall_core::error::Reason;
use rollcall_proto::v1;

use crate::company::{Company, DIRECTORY, TENANT, create_sync, sync_of};
use crate::harness::{ADMIN, TestWorker, fails, ok};

#[tokio::test(flavor = "multi_thread")]
async fn people_whom_two_user_syncs_claim_are_named_before_any_of_them_runs() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    create_sync(
        &mut clients,
        "staff",
        sync_of("ou=Staff,dc=example,dc=org", "(uid=*)"),
    )
    .await;
    create_sync(
        &mut clients,
        "with-mail",
        sync_of("dc=example,dc=org", "(mail=ada@*)"),
    )
    .await;
    create_sync(
        &mut clients,
        "guests",
        sync_of("ou=Guests,dc=example,dc=org", "(uid=*)"),
    )
    .await;
    create_sync(
        &mut clients,
        "broken",
        sync_of("ou=Nowhere,dc=example,dc=org", "(uid=*)"),
    )
    .await;
    let answer = ok(clients.user_syncs.check_overlaps(v1::CheckOverlapsRequest {
        parent: TENANT.into(),
    }))
    .await;
    assert_eq!((answer.total_count, answer.overlaps.len()), (1, 1));
    let overlap = &answer.overlaps[0];
    assert_eq!(
        (overlap.directory.as_str(), overlap.owner.as_str()),
        (DIRECTORY, "")
    );
    assert_eq!(overlap.dn, "uid=ada,ou=Staff,dc=example,dc=org");
    assert_eq!(
        overlap.user_syncs,
        ["tenants/acme/userSyncs/staff", "tenants/acme/userSyncs/with-mail"]
    );
    let sources: Vec<_> = answer
        .sources
        .iter()
        .map(|source| {
            (
                source.user_sync.rsplit('/').next().unwrap(),
                source.search_outcome(),
                source.entry_count,
            )
        })
        .collect();
    assert_eq!(
        sources,
        [
            ("broken", v1::SearchOutcome::Failed, 0),
            ("guests", v1::SearchOutcome::Complete, 1),
            ("staff", v1::SearchOutcome::Complete, 2),
            ("with-mail", v1::SearchOutcome::Complete, 1),
        ]
    );
    assert!(!answer.sources[0].message.is_empty());
    let unknown = v1::CheckOverlapsRequest {
        parent: "tenants/unknown".into(),
    };
    fails(Reason::TenantNotFound, clients.user_syncs.check_overlaps(unknown)).await;
}
