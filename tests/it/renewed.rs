//! The keyring and the user of the database are replaced under load, without a restart and without a lost login. What does not
//! fit is refused with words, and the old one stays.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_testkit::wait_for;
use system_tests::{Backend, Service, binary};

use crate::crowd::{Crowd, uid};

const PEOPLE: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn key(id: &str, byte: u8) -> String {
    format!(
        "{id} {}\n",
        base64::engine::general_purpose::STANDARD.encode([byte; 32])
    )
}

fn hang_up(service: &Service) -> Result<()> {
    let pid = service.pid().to_string();
    let sent = std::process::Command::new("kill").args(["-HUP", &pid]).status()?;
    ensure!(sent.success(), "no SIGHUP");
    Ok(())
}

/// Writes a file, has both services read it, and waits until each has said so once more.
async fn renew(crowd: &Crowd, file: &Path, text: &str, said: &str) -> Result<()> {
    let services = [&crowd.system.gateway, &crowd.system.worker];
    let count = |service: &Service| service.log().matches(said).count();
    let before = services.map(count);
    std::fs::write(file, text)?;
    for service in services {
        hang_up(service)?;
    }
    wait_for(said, PATIENCE, async || {
        services
            .map(count)
            .iter()
            .zip(before)
            .all(|(now, before)| *now > before)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyring_and_credentials_are_replaced_under_load() -> Result<()> {
    const TAKEN: &str = "the store uses the secrets as they are now";
    const KEPT: &str = "the store goes on with the secrets that it has";
    let mut crowd = Crowd::start(Backend::Postgres, PEOPLE).await?;
    crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    let (keys, url_file) = (
        crowd.system.files.path().join("keys"),
        crowd.system.files.path().join("url"),
    );
    let first = crowd
        .system
        .database
        .as_ref()
        .context("no database")?
        .url()
        .to_owned();
    std::fs::write(&url_file, &first)?;
    for name in ["worker", "gateway"] {
        let config = crowd.system.config(name);
        let text = std::fs::read_to_string(&config)?;
        let named = format!("url_file = \"{}\"", url_file.display());
        std::fs::write(&config, text.replace(&format!("url = \"{first}\""), &named))?;
    }
    crowd.replace_worker()?;
    crowd.system.gateway.kill()?;
    // The worker has another port now.
    let config = crowd.system.config("gateway");
    let text = std::fs::read_to_string(&config)?;
    let (head, _) = text.split_once("[worker]").context("no worker")?;
    let endpoint = format!(
        "{head}[worker]\nendpoint = \"http://{}\"\n",
        crowd.system.worker.address()
    );
    std::fs::write(&config, endpoint)?;
    crowd.system.gateway = Service::start("auth-gateway", &config)?;

    let (over, logins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut client = crowd.system.auth().await?;
    let (tenant, ending, counted) = (crowd.tenant.clone(), over.clone(), logins.clone());
    let logging_in = tokio::spawn(async move {
        while !ending.load(Ordering::SeqCst) {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let request = v1::AuthenticateRequest {
                tenant: tenant.clone(),
                login: uid(number % PEOPLE),
                password: "secret".to_owned(),
                ..v1::AuthenticateRequest::default()
            };
            match client.authenticate(request).await?.into_inner().outcome {
                Some(Outcome::Authenticated(_)) => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        anyhow::Ok(())
    });

    let (old, new) = (key("test", 7), key("new", 8));
    renew(&crowd, &keys, &format!("{old}{new}"), TAKEN).await?;
    renew(&crowd, &keys, &format!("{new}{old}"), TAKEN).await?;
    let mut rotate = tokio::process::Command::new(binary("sync-worker")?);
    rotate
        .arg("--config")
        .arg(crowd.system.config("worker"))
        .arg("rotate-keys");
    let rotated = rotate.output().await?;
    ensure!(
        rotated.status.success(),
        "{}",
        String::from_utf8_lossy(&rotated.stderr)
    );
    renew(&crowd, &keys, &new, TAKEN).await?;
    // A key by an id that is known, and none that opens what is sealed.
    renew(&crowd, &keys, &key("new", 9), KEPT).await?;
    renew(&crowd, &keys, &old, KEPT).await?;
    renew(&crowd, &keys, &new, TAKEN).await?;

    let database = crowd.system.database.as_ref().context("no database")?;
    let role = format!("second_{}", std::process::id());
    database.sql(&format!("create role {role} superuser login"))?;
    let (_, place) = first.split_once('@').context("no user")?;
    let second = format!("postgres://{role}@{place}");
    renew(
        &crowd,
        &url_file,
        "postgres://nobody_at_all@127.0.0.1:1/nothing",
        KEPT,
    )
    .await?;
    renew(&crowd, &url_file, &second, TAKEN).await?;
    let enough = async || logins.load(Ordering::SeqCst) > PEOPLE || logging_in.is_finished();
    wait_for("everybody to log in", PATIENCE, enough).await?;
    over.store(true, Ordering::SeqCst);
    logging_in.await??;

    // Connections of the first user end; new ones are the second's.
    database.sql(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and application_name = 'rollcall'",
    )?;
    let run = crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await;
    // The first call after that may meet a connection that has gone.
    if run.is_err() {
        crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    }
    let connected = format!("select count(*) from pg_stat_activity where usename = '{role}'");
    ensure!(
        database.sql(&connected)?.trim() != "0",
        "nobody connects as the second"
    );
    drop(crowd);
    Ok(())
}
