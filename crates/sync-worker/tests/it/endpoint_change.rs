//! A directory whose endpoint changes must prove that it is still the same, before anybody is judged by it.

use rollcall_core::error::Reason;
use rollcall_proto::v1::{self, CheckOutcome, CheckStageKind, EndpointState, SyncRunMode, SyncRunState};

use crate::company::{Company, DIRECTORY, TENANT};
use crate::harness::{ADMIN, Clients, TestWorker, fails, mask, metadata, ok, stage};
use crate::runs::{run, run_to_rest};

async fn move_to(clients: &mut Clients, host: String, company: &Company) -> v1::Directory {
    let update = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            hosts: vec![host],
            ca_certificates: company.ca.pem(),
            bind_password: company.slapd.service_password().into(),
            ..v1::Directory::default()
        }),
        update_mask: mask(&["hosts", "ca_certificates", "bind_password"]),
        confirm_new_directory: false,
    };
    ok(clients.directories.update_directory(update)).await
}

async fn check(clients: &mut Clients) -> v1::CheckReport {
    let check = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(v1::check_connection_request::Target::Directory(DIRECTORY.into())),
    };
    ok(clients.directories.check_connection(check))
        .await
        .report
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_directory_under_another_name_is_recognised_by_the_people_in_it() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    assert_eq!(
        run_to_rest(&mut clients, SyncRunMode::Apply).await.state(),
        SyncRunState::Succeeded
    );
    let host = company.slapd.tls_url().replace("127.0.0.1", "localhost");
    let moved = move_to(&mut clients, host, &company).await;
    assert_eq!(moved.endpoint_state(), EndpointState::Unconfirmed);
    let call = clients.user_syncs.run_user_sync(run(SyncRunMode::Apply));
    let status = fails(Reason::EndpointUnconfirmed, call).await;
    assert_eq!(metadata(&status, "resource"), DIRECTORY);

    let report = check(&mut clients).await;
    let proof = stage(&report, CheckStageKind::ExternalId);
    assert_eq!(proof.outcome(), CheckOutcome::Pass, "{proof:?}");
    let get = v1::GetDirectoryRequest {
        name: DIRECTORY.into(),
    };
    assert_eq!(
        ok(clients.directories.get_directory(get)).await.endpoint_state(),
        EndpointState::Confirmed
    );
    let after = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(
        (after.state(), after.counts.unwrap().unchanged),
        (SyncRunState::Succeeded, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_directory_is_not_taken_for_the_same_unless_a_person_says_so() {
    let (company, stranger) = (Company::start(), Company::start());
    let mut ports = company.ports().to_vec();
    ports.extend(stranger.ports());
    let worker = TestWorker::start(&ports).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    run_to_rest(&mut clients, SyncRunMode::Apply).await;
    move_to(&mut clients, stranger.slapd.tls_url(), &stranger).await;
    let report = check(&mut clients).await;
    assert_eq!(
        stage(&report, CheckStageKind::Bind).outcome(),
        CheckOutcome::Pass,
        "{report:#?}"
    );
    let proof = stage(&report, CheckStageKind::ExternalId);
    assert_eq!(proof.outcome(), CheckOutcome::Fail, "{proof:?}");
    fails(
        Reason::EndpointUnconfirmed,
        clients.user_syncs.run_user_sync(run(SyncRunMode::Preview)),
    )
    .await;

    let confirm = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: DIRECTORY.into(),
            ..v1::Directory::default()
        }),
        update_mask: None,
        confirm_new_directory: true,
    };
    let confirmed = ok(clients.directories.update_directory(confirm)).await;
    assert_eq!(confirmed.endpoint_state(), EndpointState::Confirmed);
    let held = run_to_rest(&mut clients, SyncRunMode::Apply).await;
    assert_eq!(
        held.state(),
        SyncRunState::Held,
        "all of its users would go: {held:#?}"
    );
}
