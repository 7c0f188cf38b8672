//! Keys are rotated while people log in and runs go on, however often the rotation is killed.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::{SyncRunMode, SyncRunState};
use system_tests::{Backend, Service, binary};
use tokio::process::Command;

use crate::company::BASE;
use crate::crowd::{Crowd, uid};

const PEOPLE: usize = 20;
/// So many that sealing them anew takes a while.
const DIRECTORIES: usize = 90;
/// When rotations are killed, one after the other.
const MOMENTS: [u64; 6] = [60, 120, 180, 240, 300, 360];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_on_sqlite() -> Result<()> {
    rotate(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_on_postgresql() -> Result<()> {
    rotate(Backend::Postgres).await
}

async fn rotate(backend: Backend) -> Result<()> {
    let mut crowd = Crowd::start(backend, PEOPLE).await?;
    succeeds(&crowd).await?;
    let mut directories = crowd.system.directories().await?;
    for number in 0..DIRECTORIES {
        let create = v1::CreateDirectoryRequest {
            parent: crowd.tenant.clone(),
            directory_id: format!("more-{number}"),
            directory: Some(v1::Directory {
                display_name: "Another".into(),
                hosts: vec!["ldaps://dc1.acme.example".into()],
                bind_dn: BASE.into(),
                bind_password: "tulip".into(),
                ..v1::Directory::default()
            }),
            ..v1::CreateDirectoryRequest::default()
        };
        directories.create_directory(create).await?;
    }
    let key = |id: &str, byte| {
        format!(
            "{id} {}",
            base64::engine::general_purpose::STANDARD.encode([byte; 32])
        )
    };
    let (old, new) = (key("test", 7), key("new", 8));
    restart(&mut crowd, &format!("{old}\n{new}\n"))?;
    restart(&mut crowd, &format!("{new}\n{old}\n"))?;

    let over = Arc::new(AtomicBool::new(false));
    let logins = Arc::new(AtomicUsize::new(0));
    let logging_in = tokio::spawn(log_in(
        crowd.system.auth().await?,
        crowd.tenant.clone(),
        over.clone(),
        logins.clone(),
    ));
    for moment in MOMENTS {
        let mut rotating = rotation(&crowd)?.kill_on_drop(true).spawn()?;
        // It is killed if it has not ended by then.
        let _ = tokio::time::timeout(Duration::from_millis(moment), rotating.wait()).await;
        drop(rotating);
        succeeds(&crowd).await?;
    }
    // Two at once.
    let (mut first, mut second) = (rotation(&crowd)?, rotation(&crowd)?);
    let (first, second) = tokio::join!(first.output(), second.output());
    for ended in [first?, second?] {
        ensure!(ended.status.success(), "{}", said(&ended));
        ensure!(said(&ended).contains("may be taken out"), "{}", said(&ended));
    }
    over.store(true, Ordering::SeqCst);
    logging_in.await??;
    ensure!(logins.load(Ordering::SeqCst) > 0, "nobody logged in");

    restart(&mut crowd, &format!("{new}\n"))?;
    succeeds(&crowd).await?;
    one_login(&mut crowd.system.auth().await?, &crowd.tenant, 0).await?;
    // What was taken out too early, or is another key, is found before anything is served.
    for (keyring, named) in [(&old, "new"), (&key("new", 9), "new")] {
        std::fs::write(crowd.system.files.path().join("keys"), keyring)?;
        for service in ["sync-worker", "auth-gateway"] {
            let config = crowd
                .system
                .config(service.trim_start_matches("sync-").trim_start_matches("auth-"));
            let refused = Command::new(binary(service)?)
                .arg("--config")
                .arg(config)
                .output()
                .await?;
            ensure!(refused.status.code() == Some(64), "{service}: {}", said(&refused));
            ensure!(
                said(&refused).contains(&format!("the key {named} is")),
                "{}",
                said(&refused)
            );
        }
    }
    Ok(())
}

async fn log_in(
    mut client: v1::auth_service_client::AuthServiceClient<tonic::transport::Channel>,
    tenant: String,
    over: Arc<AtomicBool>,
    logins: Arc<AtomicUsize>,
) -> Result<()> {
    while !over.load(Ordering::SeqCst) {
        let number = logins.fetch_add(1, Ordering::SeqCst);
        one_login(&mut client, &tenant, number % PEOPLE).await?;
    }
    Ok(())
}

async fn one_login(
    client: &mut v1::auth_service_client::AuthServiceClient<tonic::transport::Channel>,
    tenant: &str,
    number: usize,
) -> Result<()> {
    let request = v1::AuthenticateRequest {
        tenant: tenant.to_owned(),
        login: uid(number),
        password: "secret".into(),
        ..v1::AuthenticateRequest::default()
    };
    let outcome = client.authenticate(request).await?.into_inner().outcome;
    match outcome.context("no outcome")? {
        Outcome::Authenticated(_) => Ok(()),
        Outcome::Denial(denial) => anyhow::bail!("denied: {:?}", denial.reason()),
    }
}

async fn succeeds(crowd: &Crowd) -> Result<()> {
    let run = crowd.system.run(&crowd.sync(), SyncRunMode::Apply).await?;
    ensure!(run.state() == SyncRunState::Succeeded, "{run:?}");
    Ok(())
}

fn rotation(crowd: &Crowd) -> Result<Command> {
    let mut command = Command::new(binary("sync-worker")?);
    command
        .arg("--config")
        .arg(crowd.system.config("worker"))
        .arg("rotate-keys");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn restart(crowd: &mut Crowd, keyring: &str) -> Result<()> {
    std::fs::write(crowd.system.files.path().join("keys"), keyring)?;
    crowd.replace_worker()?;
    crowd.system.gateway.kill()?;
    crowd.system.gateway = Service::start("auth-gateway", &crowd.system.config("gateway"))?;
    Ok(())
}
