//! A company that moves to a new forest: other servers, the same people, other identifiers. Nobody can log in
//! there before an admin has confirmed the move and released who is whom; then everybody can, as the same user.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::{SyncRunMode, SyncRunState};
use rollcall_testkit::{Slapd, TestCa};
use system_tests::{Backend, System};
use tonic::Code;

use crate::company::{company, people_dn};

const PEOPLE: [(&str, &str, &str); 2] = [
    ("ada", "ada@example.test", "countess of lovelace"),
    ("bob", "bob@example.test", "builder of things"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_a_new_forest_are_found_again_on_sqlite() -> Result<()> {
    found_again(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_a_new_forest_are_found_again_on_postgresql() -> Result<()> {
    found_again(Backend::Postgres).await
}

async fn found_again(backend: Backend) -> Result<()> {
    let (old_ca, old) = company(&PEOPLE).await?;
    let (new_ca, new) = company(&PEOPLE).await?;
    let ports = [old.tls_address().port(), new.tls_address().port()];
    let system = System::start(backend, &ports).await?;
    let tenant = system.connect("acme", &old, &old_ca, &people_dn()).await?;
    let sync = format!("{tenant}/userSyncs/staff");
    let first = system.run(&sync, SyncRunMode::Apply).await?;
    assert_eq!(first.state(), SyncRunState::Succeeded, "{first:?}");
    let before = names(&system, &tenant).await?;
    assert_eq!(login(&system, &tenant).await?, Ok(before["ada"].clone()));

    move_to(&system, &tenant, &new, &new_ca, false).await?;
    assert_eq!(login(&system, &tenant).await?, Err(Code::FailedPrecondition));
    let start = v1::RunUserSyncRequest {
        name: sync.clone(),
        mode: SyncRunMode::Relink.into(),
        ..v1::RunUserSyncRequest::default()
    };
    let refused = system.user_syncs().await?.run_user_sync(start).await;
    let refused = refused.err().context("the new endpoint is not confirmed")?;
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");

    move_to(&system, &tenant, &new, &new_ca, true).await?;
    assert_eq!(
        login(&system, &tenant).await?,
        Err(Code::Unauthenticated),
        "whoever has the login there need not be the same person"
    );
    let planned = system.run(&sync, SyncRunMode::Relink).await?;
    assert_eq!(planned.state(), SyncRunState::Held, "{planned:?}");
    assert_eq!(planned.counts.context("no counts")?.relinked, 2);
    assert_eq!(login(&system, &tenant).await?, Err(Code::Unauthenticated));

    let apply = v1::ApplySyncRunRequest {
        name: planned.name.clone(),
    };
    system.runs().await?.apply_sync_run(apply).await?;
    let applied = system.rest(&planned.name).await?;
    assert_eq!(applied.state(), SyncRunState::Succeeded, "{applied:?}");
    assert_eq!(names(&system, &tenant).await?, before, "they are the same users");
    assert_eq!(login(&system, &tenant).await?, Ok(before["ada"].clone()));
    let after = system.run(&sync, SyncRunMode::Apply).await?;
    assert_eq!(after.state(), SyncRunState::Succeeded, "{after:?}");
    assert_eq!(after.counts.context("no counts")?.unchanged, 2);
    Ok(())
}

async fn move_to(system: &System, tenant: &str, slapd: &Slapd, ca: &TestCa, confirm: bool) -> Result<()> {
    let request = v1::UpdateDirectoryRequest {
        directory: Some(v1::Directory {
            name: format!("{tenant}/directories/hq"),
            hosts: vec![slapd.tls_url()],
            ca_certificates: ca.pem(),
            bind_password: slapd.service_password().into(),
            ..v1::Directory::default()
        }),
        update_mask: None,
        confirm_new_directory: confirm,
    };
    system.directories().await?.update_directory(request).await?;
    Ok(())
}

/// The names of all users, by login.
async fn names(system: &System, tenant: &str) -> Result<BTreeMap<String, String>> {
    let users = system.all_users(tenant).await?.into_iter();
    Ok(users.map(|user| (user.login, user.name)).collect())
}

/// Who Ada is with her password; a denial counts as unauthenticated.
async fn login(system: &System, tenant: &str) -> Result<Result<String, Code>> {
    let request = v1::AuthenticateRequest {
        tenant: tenant.to_owned(),
        login: "ada".to_owned(),
        password: PEOPLE[0].2.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let answer = match system.auth().await?.authenticate(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(Err(status.code())),
    };
    match answer.outcome.context("no outcome")? {
        Outcome::Authenticated(authenticated) => Ok(Ok(authenticated.user.context("no user")?.name)),
        Outcome::Denial(_) => Ok(Err(Code::Unauthenticated)),
    }
}
