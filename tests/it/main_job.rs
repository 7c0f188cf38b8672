//! The main job on both stores: connect, preview, sync, log in, follow the directory, hold what looks wrong.

use anyhow::Result;
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_testkit::Ldif;
use system_tests::{Backend, System};

use crate::company::{company, people_dn, person};

const PEOPLE: [(&str, &str, &str); 4] = [
    ("ada", "ada@example.test", "countess of lovelace"),
    ("bob", "bob@example.test", "builder of things"),
    ("eve", "eve@example.test", "listens to everything"),
    ("ab", "ab@example.test", "has a login that is too short"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_works_on_sqlite() -> Result<()> {
    main_job(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_works_on_postgresql() -> Result<()> {
    main_job(Backend::Postgres).await
}

async fn main_job(backend: Backend) -> Result<()> {
    let (ca, slapd) = company(&PEOPLE).await?;
    let system = System::start(backend, &[slapd.tls_address().port()]).await?;
    let tenant = system.connect("acme", &slapd, &ca, &people_dn()).await?;
    let sync = format!("{tenant}/userSyncs/staff");

    let preview = system.run(&sync, v1::SyncRunMode::Preview).await?;
    assert_eq!(preview.state(), v1::SyncRunState::Planned, "{preview:?}");
    assert_eq!(preview.counts.unwrap().created, 3);
    assert_eq!(system.all_users(&tenant).await?, [], "a preview writes no user");
    assert_eq!(
        issues(&system, &preview.name).await?,
        [v1::IssueType::LoginTooShort]
    );

    let request = v1::ApplySyncRunRequest {
        name: preview.name.clone(),
    };
    system.runs().await?.apply_sync_run(request.clone()).await?;
    let applied = system.rest(&preview.name).await?;
    assert_eq!(
        applied.state(),
        v1::SyncRunState::SucceededWithIssues,
        "{applied:?}"
    );
    assert_eq!(
        logins(&system, &tenant, v1::UserState::Active).await?,
        ["ada", "bob", "eve"]
    );
    let again = system.runs().await?.apply_sync_run(request).await?.into_inner();
    assert_eq!(
        again, applied,
        "a plan is applied once; a repeat of the call changes nothing"
    );

    assert_eq!(
        login(&system, &tenant, "ada", "countess of lovelace").await?,
        Ok("ada".to_owned())
    );
    assert_eq!(
        login(&system, &tenant, "ADA@example.test", "countess of lovelace").await?,
        Ok("ada".to_owned())
    );
    let denied = Err(v1::DenialReason::InvalidCredentials);
    assert_eq!(login(&system, &tenant, "ada", "wrong").await?, denied);
    assert_eq!(
        login(&system, &tenant, "nobody", "countess of lovelace").await?,
        denied
    );
    assert_eq!(
        login(&system, &tenant, "ab", "has a login that is too short").await?,
        denied
    );

    // Somebody moves, somebody leaves, somebody comes.
    slapd.modify(&format!(
        "dn: uid=ada,{}\nchangetype: modify\nreplace: displayName\ndisplayName: Ada King\n",
        people_dn()
    ))?;
    slapd.delete(&format!("uid=eve,{}", people_dn()))?;
    let mut ldif = Ldif::new();
    person(&mut ldif, "grace", "grace@example.test", "admiral");
    slapd.add(ldif.as_str())?;
    let run = system.run(&sync, v1::SyncRunMode::Apply).await?;
    assert_eq!(run.state(), v1::SyncRunState::SucceededWithIssues, "{run:?}");
    let counts = run.counts.unwrap();
    assert_eq!(
        (counts.created, counts.updated, counts.archived, counts.unchanged),
        (1, 1, 1, 1),
        "{counts:?}"
    );
    assert_eq!(
        logins(&system, &tenant, v1::UserState::Active).await?,
        ["ada", "bob", "grace"]
    );
    assert_eq!(
        login(&system, &tenant, "eve", "listens to everything").await?,
        denied
    );

    // Nearly everybody disappears from the results: held, and nobody is touched.
    for uid in ["ada", "bob"] {
        slapd.delete(&format!("uid={uid},{}", people_dn()))?;
    }
    let held = system.run(&sync, v1::SyncRunMode::Apply).await?;
    assert_eq!(held.state(), v1::SyncRunState::Held, "{held:?}");
    assert!(!held.hold_reasons.is_empty());
    assert_eq!(
        logins(&system, &tenant, v1::UserState::Active).await?,
        ["ada", "bob", "grace"]
    );

    // An outage is neither a denial nor an absence.
    let mut slapd = slapd;
    slapd.stop();
    let outage = login(&system, &tenant, "grace", "admiral").await.unwrap_err();
    assert_eq!(
        outage.downcast::<tonic::Status>()?.code(),
        tonic::Code::Unavailable
    );
    let failed = system.run(&sync, v1::SyncRunMode::Apply).await?;
    assert_eq!(failed.state(), v1::SyncRunState::Failed, "{failed:?}");
    assert_eq!(
        logins(&system, &tenant, v1::UserState::Active).await?,
        ["ada", "bob", "grace"]
    );
    Ok(())
}

async fn login(
    system: &System,
    tenant: &str,
    login: &str,
    password: &str,
) -> Result<Result<String, v1::DenialReason>> {
    let request = v1::AuthenticateRequest {
        tenant: tenant.to_owned(),
        login: login.to_owned(),
        password: password.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    Ok(
        match system
            .auth()
            .await?
            .authenticate(request)
            .await?
            .into_inner()
            .outcome
        {
            Some(Outcome::Authenticated(authenticated)) => Ok(authenticated.user.unwrap().login),
            Some(Outcome::Denial(denial)) => Err(denial.reason()),
            None => panic!("no outcome"),
        },
    )
}

async fn logins(system: &System, tenant: &str, state: v1::UserState) -> Result<Vec<String>> {
    let users = system.all_users(tenant).await?;
    let mut logins: Vec<String> = users
        .into_iter()
        .filter(|user| user.state() == state)
        .map(|user| user.login)
        .collect();
    logins.sort();
    Ok(logins)
}

async fn issues(system: &System, run: &str) -> Result<Vec<v1::IssueType>> {
    let request = v1::ListSyncRunIssuesRequest {
        parent: run.to_owned(),
        ..v1::ListSyncRunIssuesRequest::default()
    };
    let issues = system
        .runs()
        .await?
        .list_sync_run_issues(request)
        .await?
        .into_inner()
        .issues;
    assert!(
        issues
            .iter()
            .all(|issue| !issue.hint.is_empty() && !issue.message.is_empty())
    );
    Ok(issues.iter().map(v1::SyncIssue::r#type).collect())
}
