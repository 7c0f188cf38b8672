//! What a check finds out about the directory's own lockout keeps guesses from ever reaching it.

use anyhow::{Context, Result};
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::check_connection_request::Target;
use rollcall_proto::v1::{DenialReason, SyncRunMode, SyncRunState};
use rollcall_testkit::{Ldif, Slapd, SlapdBuilder, TestCa};
use system_tests::{Backend, System, directory_of, sync_of};

use crate::company::{BASE, people_dn, person};

const TENANT: &str = "tenants/acme";
const DIRECTORY: &str = "tenants/acme/directories/hq";
const PASSWORD: &str = "countess of lovelace";
/// Above it, the gateway's own limit of 3 would do, without any check.
const MAX_FAILURE: i32 = 2;

async fn strict_company() -> Result<(TestCa, Slapd)> {
    let (ca, mut ldif) = (TestCa::new()?, Ldif::new());
    for ou in ["People", "Policies"] {
        ldif.entry(&format!("ou={ou},{BASE}"))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", ou);
    }
    ldif.entry(&SlapdBuilder::default_policy_dn(BASE))
        .attribute("objectClass", "device")
        .attribute("objectClass", "pwdPolicy")
        .attribute("cn", "default")
        .attribute("pwdAttribute", "userPassword")
        .attribute("pwdLockout", "TRUE")
        .attribute("pwdMaxFailure", MAX_FAILURE.to_string())
        .attribute("pwdFailureCountInterval", "7200");
    person(&mut ldif, "ada", "ada@example.test", PASSWORD);
    let builder = Slapd::builder()
        .base_dn(BASE)
        .ppolicy()
        .certificate(ca.loopback_server()?)
        .ldif(ldif.as_str());
    let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
    Ok((ca, slapd))
}

async fn check(system: &System) -> Result<v1::Directory> {
    let request = v1::CheckConnectionRequest {
        parent: TENANT.to_owned(),
        target: Some(Target::Directory(DIRECTORY.to_owned())),
    };
    let mut directories = system.directories().await?;
    directories.check_connection(request).await?;
    let name = DIRECTORY.to_owned();
    let found = directories
        .get_directory(v1::GetDirectoryRequest { name })
        .await?;
    Ok(found.into_inner())
}

async fn login(system: &System, password: &str) -> Result<Option<v1::Denial>> {
    let request = v1::AuthenticateRequest {
        tenant: TENANT.to_owned(),
        login: "ada".to_owned(),
        password: password.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let answer = system.auth().await?.authenticate(request).await?.into_inner();
    match answer.outcome.context("no outcome")? {
        Outcome::Authenticated(_) => Ok(None),
        Outcome::Denial(denial) => Ok(Some(denial)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_check_reads_of_it_keeps_guesses_below_it() -> Result<()> {
    let (ca, slapd) = strict_company().await?;
    let system = System::start(Backend::Sqlite, &[slapd.tls_address().port()]).await?;
    system
        .connect_with(
            TENANT,
            directory_of(&slapd, &ca),
            sync_of(DIRECTORY, &people_dn()),
        )
        .await?;
    let known = check(&system).await?.server.context("no server")?;
    assert_eq!(known.lockout_threshold, Some(MAX_FAILURE));
    let run = system
        .run(&format!("{TENANT}/userSyncs/staff"), SyncRunMode::Apply)
        .await?;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:?}");

    let denied = login(&system, "guess 0").await?.context("let in")?;
    assert_eq!(denied.reason(), DenialReason::InvalidCredentials);
    for number in 1..10 {
        let denied = login(&system, &format!("guess {number}"))
            .await?
            .context("let in")?;
        assert_eq!(denied.reason(), DenialReason::TooManyAttempts);
        // The directory remembers failures for two hours, which is longer than the gateway would by itself.
        let wait = denied.retry_after.context("no time")?.seconds;
        assert!(wait > 7_000, "{wait} s");
    }
    let ada = format!("uid=ada,{}", people_dn());
    assert_eq!(slapd.bind_count(&ada)?, 1);

    // A policy that cannot be read any more may hold all the same.
    slapd.delete(&SlapdBuilder::default_policy_dn(BASE))?;
    let still = check(&system).await?.server.context("no server")?;
    assert_eq!(still.lockout_threshold, Some(MAX_FAILURE));
    Ok(())
}
