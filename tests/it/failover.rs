//! PostgreSQL goes, a standby takes its place that takes no writes, and then does: each is told by logs, metrics and readiness,
//! nobody is denied by it, and all goes on by itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_testkit::{Postgres, Proxy, wait_for};
use system_tests::{Backend, Service, System};

use crate::company::{company, people_dn};
use crate::observed::metrics;

const PATIENCE: Duration = Duration::from_secs(90);
const PASSWORD: &str = "secret";
const HEALTH: &str = "[health]\nlisten = \"127.0.0.1:0\"\ninterval = \"200ms\"\n";

async fn log_in(system: &System, tenant: &str) -> Result<(), tonic::Status> {
    let request = v1::AuthenticateRequest {
        tenant: tenant.to_owned(),
        login: "ada".to_owned(),
        password: PASSWORD.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let mut client = system
        .auth()
        .await
        .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    match client.authenticate(request).await?.into_inner().outcome {
        Some(v1::authenticate_response::Outcome::Authenticated(_)) => Ok(()),
        other => Err(tonic::Status::unknown(format!("{other:?}"))),
    }
}

/// What a service says of its readiness, by its metric; `None` while nobody answers.
async fn ready(service: &Service) -> Option<bool> {
    let text = metrics(&service.health_address()?).await.ok()?;
    let line = text.lines().find(|line| line.starts_with("rollcall_ready "))?;
    Some(line.ends_with(" 1"))
}

async fn both_are(system: &System, wanted: bool) -> Result<()> {
    for service in [&system.gateway, &system.worker] {
        wait_for(&format!("readiness {wanted}"), PATIENCE, async || {
            ready(service).await == Some(wanted)
        })
        .await
        .with_context(|| service.log())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_read_only_and_replaced_is_told_and_survived() -> Result<()> {
    let (ca, slapd) = company(&[("ada", "ada@example.test", PASSWORD)]).await?;
    let first = tokio::task::spawn_blocking(Postgres::start).await??;
    let way = Proxy::start(first.address()).await?;
    let url = first
        .url("postgres")
        .replace(&first.address().to_string(), &way.address().to_string());
    let port = slapd.tls_address().port();
    let mut system = System::start_with(Backend::Given(url), &[port], HEALTH).await?;
    let tenant = system.connect("acme", &slapd, &ca, &people_dn()).await?;
    let sync = format!("{tenant}/userSyncs/staff");
    system.run(&sync, v1::SyncRunMode::Apply).await?;
    log_in(&system, &tenant).await?;
    both_are(&system, true).await?;

    // A standby keeps up, and then the first one is gone for good.
    let standby = tokio::task::spawn_blocking(move || first.standby().map(|standby| (first, standby)));
    let (mut first, standby) = standby.await??;
    wait_for("the standby to have everything", PATIENCE, async || {
        let behind = "select count(*) from pg_stat_replication where replay_lsn = pg_current_wal_lsn()";
        first
            .sql("postgres", behind)
            .is_ok_and(|count| count.trim() == "1")
    })
    .await?;
    first.stop()?;
    both_are(&system, false).await?;
    let refused = log_in(&system, &tenant)
        .await
        .err()
        .context("a login without a database")?;
    ensure!(refused.code() == tonic::Code::Unavailable, "{refused:?}");

    // Its place is taken by one that takes no writes yet.
    way.lead_to(standby.address());
    way.cut();
    for service in [&system.gateway, &system.worker] {
        wait_for("the log to tell", PATIENCE, async || {
            service.log().contains("takes no writes")
        })
        .await
        .with_context(|| service.log())?;
    }
    let refused = log_in(&system, &tenant)
        .await
        .err()
        .context("a login without a record")?;
    ensure!(refused.code() == tonic::Code::Unavailable, "{refused:?}");
    both_are(&system, false).await?;
    let told = metrics(&system.gateway.health_address().context("no health listener")?).await?;
    ensure!(
        told.lines()
            .any(|line| line.starts_with("rollcall_database_failures_total{") && !line.ends_with(" 0")),
        "no failure is counted: {told}"
    );

    standby.promote()?;
    both_are(&system, true).await?;
    wait_for("a login", PATIENCE, async || {
        log_in(&system, &tenant).await.is_ok()
    })
    .await?;
    wait_for("a run", PATIENCE, async || {
        let run = system.run(&sync, v1::SyncRunMode::Apply).await;
        run.is_ok_and(|run| run.state() == v1::SyncRunState::Succeeded)
    })
    .await?;

    // It is away when both start.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    way.lead_to(nobody);
    way.cut();
    system.gateway.kill()?;
    system.worker.kill()?;
    system.worker = Service::begin("sync-worker", &system.config("worker"))?;
    system.gateway = Service::begin("auth-gateway", &system.config("gateway"))?;
    wait_for("readiness false", PATIENCE, async || {
        let (gateway, worker) = (ready(&system.gateway).await, ready(&system.worker).await);
        gateway == Some(false) && worker == Some(false)
    })
    .await
    .with_context(|| system.gateway.log() + &system.worker.log())?;
    way.lead_to(standby.address());
    system.gateway.serves()?;
    system.worker.serves()?;
    both_are(&system, true).await?;
    Ok(log_in(&system, &tenant).await?)
}
