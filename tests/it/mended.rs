//! Somebody whose account is disabled at two and enabled at nine may log in at nine: the directory is asked, not the night.

use anyhow::{Context, Result};
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::{DenialReason, SyncRunMode, SyncRunState, UserEventType, UserState};
use rollcall_testkit::{Ldif, Slapd, TestCa};
use system_tests::{Backend, System, directory_of, sync_of};

use crate::company::{BASE, people_dn, person};

const TENANT: &str = "tenants/acme";
const STAFF: &str = "tenants/acme/userSyncs/staff";
const RIGHT: &str = "right of ada";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_disabled_at_two_and_enabled_at_nine_logs_in_at_nine_on_sqlite() -> Result<()> {
    logs_in_once_enabled(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_disabled_at_two_and_enabled_at_nine_logs_in_at_nine_on_postgresql() -> Result<()> {
    logs_in_once_enabled(Backend::Postgres).await
}

async fn logs_in_once_enabled(backend: Backend) -> Result<()> {
    let ca = TestCa::new()?;
    let mut ldif = Ldif::new();
    ldif.entry(&people_dn())
        .attribute("objectClass", "organizationalUnit")
        .attribute("ou", "People");
    person(&mut ldif, "ada", "ada@example.test", RIGHT);
    person(&mut ldif, "bob", "bob@example.test", "right of bob");
    // Whose accounts an administrator can lock.
    let builder = Slapd::builder().ppolicy();
    let builder = builder.base_dn(BASE).certificate(ca.loopback_server()?);
    let builder = builder.ldif(ldif.as_str());
    let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
    let system = System::start(backend, &[slapd.tls_address().port()]).await?;
    let sync = sync_of(&format!("{TENANT}/directories/hq"), &people_dn());
    system
        .connect_with(TENANT, directory_of(&slapd, &ca), sync)
        .await?;
    system.run(STAFF, SyncRunMode::Apply).await?;
    assert!(login(&system, RIGHT).await?.is_ok());

    // At two.
    lock(
        &slapd,
        "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z",
    )?;
    let run = system.run(STAFF, SyncRunMode::Apply).await?;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    assert_eq!(ada(&system).await?.state(), UserState::Deactivated);
    let denied = login(&system, RIGHT).await?;
    assert_eq!(denied, Err(DenialReason::AccountDisabled));

    // At nine. A wrong password brings nobody back.
    lock(&slapd, "delete: pwdAccountLockedTime")?;
    let denied = login(&system, "wrong").await?;
    assert_eq!(denied, Err(DenialReason::InvalidCredentials));
    assert_eq!(ada(&system).await?.state(), UserState::Deactivated);
    let user = login(&system, RIGHT).await?.expect("the directory says yes");
    assert_eq!((user.login.as_str(), user.state()), ("ada", UserState::Active));
    assert_eq!(ada(&system).await?.state(), UserState::Active);
    let events = v1::ListUserEventsRequest {
        parent: TENANT.to_owned(),
        ..v1::ListUserEventsRequest::default()
    };
    let events = system.users().await?.list_user_events(events).await?.into_inner();
    let last = events.events.last().context("no event")?;
    assert_eq!(last.r#type(), UserEventType::Reactivated);
    // The next night has nothing to add.
    let run = system.run(STAFF, SyncRunMode::Apply).await?;
    let counts = run.counts.context("no counts")?;
    assert_eq!((counts.unchanged, counts.reactivated), (2, 0));
    Ok(())
}

/// Locks the account as an administrator does, or unlocks it.
fn lock(slapd: &Slapd, change: &str) -> Result<()> {
    slapd.modify(&format!(
        "dn: uid=ada,{}\nchangetype: modify\n{change}\n",
        people_dn()
    ))?;
    Ok(())
}

async fn ada(system: &System) -> Result<v1::User> {
    let users = system.all_users(TENANT).await?;
    users
        .into_iter()
        .find(|user| user.login == "ada")
        .context("no ada")
}

/// Who Ada is with this password, or why she is denied.
async fn login(system: &System, password: &str) -> Result<Result<v1::User, DenialReason>> {
    let request = v1::AuthenticateRequest {
        tenant: TENANT.to_owned(),
        login: "ada".to_owned(),
        password: password.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let answer = system.auth().await?.authenticate(request).await?.into_inner();
    Ok(match answer.outcome.context("no outcome")? {
        Outcome::Authenticated(authenticated) => Ok(authenticated.user.context("no user")?),
        Outcome::Denial(denial) => Err(denial.reason()),
    })
}
