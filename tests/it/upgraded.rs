//! A release takes the place of the one before while people log in and runs go on: first the schema, then the workers, then the
//! gateways. No login is lost, what the release before works with works until its last replica is gone, and there is no way back
//! to it but a backup.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1;
use rollcall_testkit::Proxy;
use system_tests::{Backend, Release, Service};
use tokio::process::Command;

use crate::balancer::{Balancer, CALLERS, Load};
use crate::crowd::Crowd;

/// No two callers log in the same person: the release before may refuse somebody who logs in at several replicas at once.
const PEOPLE: usize = 7 * CALLERS;
/// Calls from one step of the upgrade to the next.
const CALLS: usize = 50;
/// The tables that logins and runs read with statements that are prepared.
const TABLES: [&str; 5] = ["tenants", "directories", "user_syncs", "users", "sync_runs"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_before_is_replaced_under_load_on_sqlite() -> Result<()> {
    replace_the_release_before(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_before_is_replaced_under_load_on_postgresql() -> Result<()> {
    replace_the_release_before(Backend::Postgres).await
}

async fn replace_the_release_before(backend: Backend) -> Result<()> {
    if !Release::Before.is_here()? {
        return Ok(());
    }
    let mut crowd = Crowd::start_release(Release::Before, backend, PEOPLE).await?;
    succeeds(&crowd).await?;
    let (cursor, read) = follow(&crowd, "").await?;
    ensure!(read == PEOPLE, "{read} events");
    // Both services are reached by names that stay, as in production.
    let workers = Proxy::start(crowd.system.worker.address().parse()?).await?;
    let (worker_config, gateway_config) = (crowd.system.config("worker"), crowd.system.config("gateway"));
    let text = std::fs::read_to_string(&gateway_config)?;
    let (shared, _) = text.split_once("[worker]").context("no worker")?;
    let of_gateway = format!(
        "{shared}[worker]\nendpoint = \"http://{}\"\n[drain]\ndelay = \"1s\"\n",
        workers.address()
    );
    std::fs::write(&gateway_config, of_gateway)?;

    let balancer = Balancer::default();
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let gateway = Service::start_release(Release::Before, "auth-gateway", &gateway_config)?;
        balancer.add(&gateway).await?;
        gateways.push(gateway);
    }
    crowd.system.gateway.stop()?;
    let load = Load::start(&balancer, crowd.login_of(PEOPLE));
    load.goes_on(CALLS).await?;

    let refused = said_by(Release::This, "auth-gateway", &gateway_config, &[]).await?;
    ensure!(refused.contains("needs a migration"), "{refused}");
    said_by(Release::This, "sync-worker", &worker_config, &["migrate"]).await?;
    load.goes_on(CALLS).await?;
    // Whatever this release's migrations do: some release will add columns.
    for table in TABLES {
        crowd.sql(&format!(
            "ALTER TABLE {table} ADD COLUMN of_a_later_release BIGINT NOT NULL DEFAULT 7"
        ))?;
        load.goes_on(CALLS).await?;
    }
    // The release before goes on: logins that have a user renewed, and runs.
    crowd.rename_all("the second").await?;
    load.goes_on(CALLS).await?;
    succeeds(&crowd).await?;
    crowd.rename_all("the third").await?;

    let worker = Service::start("sync-worker", &worker_config)?;
    workers.lead_to(worker.address().parse()?);
    let mut before = std::mem::replace(&mut crowd.system.worker, worker);
    ensure!(before.stop()?, "{}", before.log());
    load.goes_on(CALLS).await?;
    succeeds(&crowd).await?;
    for gateway in &mut gateways {
        crowd.rename_all("renamed while both are there").await?;
        ensure!(gateway.stop()?, "{}", gateway.log());
        *gateway = Service::start("auth-gateway", &gateway_config)?;
        balancer.add(gateway).await?;
        load.goes_on(CALLS).await?;
    }
    load.end().await?;
    crowd.system.gateway = gateways.pop().context("no gateway")?;

    // What the release before wrote is all there, and a consumer that it served reads on.
    succeeds(&crowd).await?;
    crowd.equals_the_directory().await?;
    let (_, more) = follow(&crowd, &cursor).await?;
    ensure!(more >= PEOPLE, "{more} events");
    let verified = said_by(Release::This, "sync-worker", &worker_config, &["audit", "verify"]).await?;
    ensure!(verified.contains("position"), "{verified}");

    // There is no way back.
    for (program, config) in [("auth-gateway", &gateway_config), ("sync-worker", &worker_config)] {
        let refused = said_by(Release::Before, program, config, &[]).await?;
        ensure!(refused.contains("newer release"), "{program}: {refused}");
    }
    let refused = said_by(Release::Before, "sync-worker", &worker_config, &["migrate"]).await?;
    ensure!(refused.contains("newer release"), "{refused}");
    Ok(())
}

/// A run that ends well. Logins change users meanwhile, which the run tells of as an issue.
async fn succeeds(crowd: &Crowd) -> Result<()> {
    let run = crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    let well = [v1::SyncRunState::Succeeded, v1::SyncRunState::SucceededWithIssues];
    let changed = v1::IssueType::ChangedMeanwhile;
    ensure!(
        well.contains(&run.state()) && run.issue_counts.iter().all(|issue| issue.r#type() == changed),
        "{run:?}"
    );
    Ok(())
}

/// Reads the feed behind a cursor to its end; returns where that is, and how many events there were.
async fn follow(crowd: &Crowd, after: &str) -> Result<(String, usize)> {
    let mut client = crowd.system.users().await?;
    let (mut after, mut count) = (after.to_owned(), 0);
    loop {
        let request = v1::ListUserEventsRequest {
            parent: crowd.tenant.clone(),
            page_size: 1000,
            after: after.clone(),
            ..v1::ListUserEventsRequest::default()
        };
        let page = client.list_user_events(request).await?.into_inner();
        if page.events.is_empty() {
            return Ok((after, count));
        }
        count += page.events.len();
        after = page.next_cursor;
    }
}

/// What a program writes that is to end soon.
async fn said_by(
    release: Release,
    program: &str,
    config: &std::path::Path,
    arguments: &[&str],
) -> Result<String> {
    let mut command = Command::new(release.binary(program)?);
    command
        .arg("--config")
        .arg(config)
        .args(arguments)
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    let output = output.context(format!("{program} goes on"))??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(text(&output.stdout) + &text(&output.stderr))
}
