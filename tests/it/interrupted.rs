//! A run that breaks off in the middle of being applied, for whatever reason, is no failed run: half of its plan
//! may be written. It is carried on until it ends, or until a person cancels it.

use std::time::Duration;

use anyhow::{Context, Result};
use rollcall_proto::v1;
use rollcall_proto::v1::{HealthState, SyncRunMode, SyncRunState};
use rollcall_testkit::wait_for;
use system_tests::Backend;

use crate::crowd::{Crowd, psql};

const PEOPLE: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_cannot_be_read_is_carried_on_once_it_can() -> Result<()> {
    let crowd = Crowd::start(Backend::Postgres, PEOPLE).await?;
    let planned = crowd.system.run(&crowd.sync(), SyncRunMode::Preview).await?;
    assert_eq!(planned.state(), SyncRunState::Planned, "{planned:?}");
    sql(
        &crowd,
        "create table kept as select * from sync_plan_chunks; update sync_plan_chunks set changes = '\\x00'",
    )
    .await?;
    let apply = v1::ApplySyncRunRequest {
        name: planned.name.clone(),
    };
    crowd.system.runs().await?.apply_sync_run(apply).await?;
    let told = async || {
        let health = health(&crowd).await.unwrap_or_default();
        health.state() == HealthState::Error
            && format!("{health:?}").contains("broke off while it was applied")
    };
    wait_for("the admin is told", LIMIT, told).await?;
    assert_eq!(crowd.state(&planned.name).await?, SyncRunState::Applying);

    sql(
        &crowd,
        "update sync_plan_chunks c set changes = k.changes from kept k where c.run = k.run and c.chunk = k.chunk",
    )
    .await?;
    let ended = crowd.rest(&planned.name).await?;
    assert_eq!(ended.state(), SyncRunState::Succeeded, "{ended:?}");
    assert_eq!(crowd.system.all_users(&crowd.tenant).await?.len(), PEOPLE);
    assert_eq!(health(&crowd).await?.state(), HealthState::Ok);
    Ok(())
}

async fn health(crowd: &Crowd) -> Result<v1::UserSyncHealth> {
    let get = v1::GetUserSyncRequest { name: crowd.sync() };
    let sync = crowd.system.user_syncs().await?.get_user_sync(get).await?;
    sync.into_inner().health.context("no health")
}

async fn sql(crowd: &Crowd, sql: &'static str) -> Result<String> {
    let database = crowd.system.database.as_ref().context("no server")?;
    let url = database.url().to_owned();
    tokio::task::spawn_blocking(move || psql(&url, sql)).await?
}
