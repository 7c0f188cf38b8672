//! Passwords that go through every path are found nowhere afterwards.

use anyhow::Result;
use rollcall_proto::v1;
use system_tests::{Backend, System};

use crate::company::{company, people_dn};

const CANARY: &str = "canary-7f3e9a-password";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_is_in_a_log_a_file_or_an_error() -> Result<()> {
    let (ca, slapd) = company(&[("ada", "ada@example.test", CANARY)]).await?;
    let mut system = System::start(Backend::Sqlite, &[slapd.tls_address().port()]).await?;
    let tenant = system.connect("acme", &slapd, &ca, &people_dn()).await?;
    system
        .run(&format!("{tenant}/userSyncs/staff"), v1::SyncRunMode::Apply)
        .await?;

    let mut said = String::new();
    let wrong = format!("{CANARY}-wrong");
    for (login, password) in [
        ("ada", CANARY),
        ("ada", &wrong),
        ("ada@example.test", CANARY),
        ("nobody", CANARY),
        // People type their password into the field for the login.
        (CANARY, "anything"),
        ("ada", ""),
        ("ada", &format!("{CANARY}\0")),
        ("ada", &CANARY.repeat(60)),
    ] {
        let request = v1::AuthenticateRequest {
            tenant: tenant.clone(),
            login: login.to_owned(),
            password: password.to_owned(),
            ..v1::AuthenticateRequest::default()
        };
        match system.auth().await?.authenticate(request).await {
            Ok(answer) => said += &format!("{:?}", answer.into_inner()),
            Err(status) => said += &format!("{status:?}"),
        }
    }
    let mut slapd = slapd;
    slapd.stop();
    let request = v1::AuthenticateRequest {
        tenant: tenant.clone(),
        login: "ada".to_owned(),
        password: CANARY.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    said += &format!(
        "{:?}",
        system.auth().await?.authenticate(request).await.unwrap_err()
    );
    assert!(
        system.gateway.stop()? && system.worker.stop()?,
        "both stop cleanly"
    );

    let bind_password = slapd.service_password().to_owned();
    for canary in [CANARY, &bind_password] {
        assert!(!said.contains(canary), "an answer holds a password");
        assert!(
            !system.gateway.log().contains(canary),
            "the gateway's log holds a password"
        );
        assert!(
            !system.worker.log().contains(canary),
            "the worker's log holds a password"
        );
        for file in std::fs::read_dir(system.files.path())? {
            let path = file?.path();
            let bytes = std::fs::read(&path)?;
            let found = bytes
                .windows(canary.len())
                .any(|window| window == canary.as_bytes());
            assert!(!found, "{} holds a password", path.display());
        }
    }
    Ok(())
}
