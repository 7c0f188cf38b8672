//! A backup that was made while people logged in is a whole Rollcall when it is restored: people log in, and a run goes on.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_testkit::{TestDatabase, wait_for};
use system_tests::{Backend, Service};
use tonic::transport::Channel;

use crate::crowd::{Crowd, uid};

const PEOPLE: usize = 30;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_online_backup_of_sqlite_is_restored() -> Result<()> {
    back_up_and_restore(Backend::Sqlite, |crowd| {
        let (from, to) = (
            crowd.system.files.path().join("rollcall.db"),
            crowd.system.files.path().join("restored.db"),
        );
        said(
            Command::new("sqlite3")
                .arg(&from)
                .arg(format!(".backup '{}'", to.display())),
        )?;
        Ok((format!("sqlite://{}?mode=rwc", to.display()), None))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_postgresql_is_restored() -> Result<()> {
    back_up_and_restore(Backend::Postgres, |crowd| {
        let (from, to) = (
            crowd.system.database.as_ref().context("no database")?,
            TestDatabase::new()?,
        );
        let dump = crowd.system.files.path().join("dump");
        said(
            Command::new("pg_dump")
                .args(["--format=custom", "--file"])
                .arg(&dump)
                .arg(from.url()),
        )?;
        said(
            Command::new("pg_restore")
                .args(["--no-owner", "--exit-on-error", "--dbname", to.url()])
                .arg(&dump),
        )?;
        Ok((to.url().to_owned(), Some(to)))
    })
    .await
}

async fn back_up_and_restore(
    backend: Backend,
    back_up: impl FnOnce(&Crowd) -> Result<(String, Option<TestDatabase>)>,
) -> Result<()> {
    let mut crowd = Crowd::start(backend, PEOPLE).await?;
    crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    let (over, logins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (mut client, tenant) = (crowd.system.auth().await?, crowd.tenant.clone());
    let (ending, counted) = (over.clone(), logins.clone());
    let logging_in = tokio::spawn(async move {
        while !ending.load(Ordering::SeqCst) {
            log_in(&mut client, &tenant, counted.fetch_add(1, Ordering::SeqCst)).await?;
        }
        anyhow::Ok(())
    });
    wait_for("logins", PATIENCE, async || {
        logins.load(Ordering::SeqCst) > PEOPLE
    })
    .await?;
    let (url, restored) = back_up(&crowd)?;
    over.store(true, Ordering::SeqCst);
    logging_in.await??;
    let before = crowd.system.all_users(&crowd.tenant).await?;

    crowd.system.gateway.kill()?;
    for name in ["worker", "gateway"] {
        let config = crowd.system.config(name);
        let text = std::fs::read_to_string(&config)?;
        let lines = text.lines().map(|line| match line.starts_with("url = ") {
            true => format!("url = \"{url}\"\n"),
            false => format!("{line}\n"),
        });
        std::fs::write(&config, lines.collect::<String>())?;
    }
    crowd.replace_worker()?;
    crowd.system.gateway = Service::start("auth-gateway", &crowd.system.config("gateway"))?;
    ensure!(
        crowd.system.all_users(&crowd.tenant).await? == before,
        "the users are others"
    );
    let mut client = crowd.system.auth().await?;
    for number in 0..PEOPLE {
        log_in(&mut client, &crowd.tenant, number).await?;
    }
    let run = crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    ensure!(run.state() == v1::SyncRunState::Succeeded, "{run:?}");
    crowd.equals_the_directory().await?;
    drop((crowd, restored));
    Ok(())
}

async fn log_in(client: &mut AuthServiceClient<Channel>, tenant: &str, number: usize) -> Result<()> {
    let request = v1::AuthenticateRequest {
        tenant: tenant.to_owned(),
        login: uid(number % PEOPLE),
        password: "secret".to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    match client.authenticate(request).await?.into_inner().outcome {
        Some(Outcome::Authenticated(_)) => Ok(()),
        other => anyhow::bail!("{other:?}"),
    }
}

fn said(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
