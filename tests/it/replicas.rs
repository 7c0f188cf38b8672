//! Several workers over one database: what is due runs once, and whoever lost a run writes nothing more.

use std::time::Duration;

use anyhow::{Context, Result};
use rollcall_proto::v1::user_sync_service_client::UserSyncServiceClient;
use rollcall_proto::v1::{self, SyncRunMode, SyncRunState};
use rollcall_testkit::wait_for;
use system_tests::{Backend, Service};

use crate::crowd::Crowd;

const PEOPLE: usize = 1_200;

/// Matrix case 64.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_schedulers_and_six_callers_at_once_make_one_run() -> Result<()> {
    let crowd = Crowd::start(Backend::Postgres, PEOPLE).await?;
    let config = crowd.system.config("worker");
    let others = [
        Service::start("sync-worker", &config)?,
        Service::start("sync-worker", &config)?,
    ];
    let database = crowd.system.database.as_ref().context("no database")?;
    let nightly = v1::UpdateUserSyncRequest {
        user_sync: Some(v1::UserSync {
            name: crowd.sync(),
            auto_sync: true,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["auto_sync".into()],
        }),
    };
    crowd.system.user_syncs().await?.update_user_sync(nightly).await?;

    // While the directory does not answer, whoever comes finds the run under way.
    crowd.slapd.pause()?;
    database.sql("update user_syncs set next_run_time = 1")?;
    let mut callers = Vec::new();
    for worker in [&crowd.system.worker, &others[0], &others[1]] {
        let mut due = UserSyncServiceClient::new(worker.channel().await?);
        let mut direct = due.clone();
        let run_due = v1::RunDueUserSyncsRequest {
            parent: "tenants/-".into(),
        };
        callers.push(tokio::spawn(async move {
            let mut results = due.run_due_user_syncs(run_due).await?.into_inner();
            while results.message().await?.is_some() {}
            Ok(())
        }));
        let run = v1::RunUserSyncRequest {
            name: crowd.sync(),
            mode: SyncRunMode::Apply.into(),
            ..Default::default()
        };
        callers.push(tokio::spawn(
            async move { direct.run_user_sync(run).await.map(drop) },
        ));
    }
    let begun = async || crowd.list_runs().await.is_ok_and(|runs| !runs.is_empty());
    wait_for("a run to begin", Duration::from_secs(20), begun).await?;
    let asked = async || {
        let next = database.sql("select next_run_time > 1 from user_syncs");
        next.is_ok_and(|next| next.trim() == "t")
    };
    wait_for("the due sync to be claimed", Duration::from_secs(20), asked).await?;
    crowd.slapd.resume()?;
    for caller in callers {
        if let Err(status) = caller.await? {
            assert!(status.message().contains("under way"), "{status:?}");
        }
    }
    let runs = crowd.list_runs().await?;
    assert_eq!(runs.len(), 1, "{runs:#?}");
    let ended = crowd.rest(&runs[0].name).await?;
    assert_eq!(ended.state(), SyncRunState::Succeeded, "{ended:?}");
    assert_eq!(crowd.events().await?, PEOPLE);
    crowd.equals_the_directory().await
}

/// Matrix case 64, at the worst moment to be frozen: within a write, with the lease's row locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_frozen_within_a_write_loses_its_run_and_writes_nothing_when_it_wakes() -> Result<()> {
    let crowd = Crowd::start(Backend::Postgres, PEOPLE).await?;
    let lock = crowd.lock_table("user_events", Duration::from_secs(4)).await?;
    let run = crowd.start_run().await?;
    crowd.reaches(&run, SyncRunState::Applying).await?;
    let database = crowd.system.database.as_ref().context("no database")?;
    let waits = async || {
        let waiting = database.sql("select count(*) from pg_locks where not granted");
        waiting.is_ok_and(|count| count.trim() != "0")
    };
    wait_for("the write to wait", Duration::from_secs(20), waits).await?;
    crowd.system.worker.pause()?;
    lock.await??;
    let other = Service::start("sync-worker", &crowd.system.config("worker"))?;

    let mut runs = v1::sync_run_service_client::SyncRunServiceClient::new(other.channel().await?);
    let mut ended = v1::SyncRun::default();
    let mut is_over = async || {
        let answer = runs
            .get_sync_run(v1::GetSyncRunRequest { name: run.clone() })
            .await;
        ended = answer.map(tonic::Response::into_inner).unwrap_or_default();
        ended.end_time.is_some()
    };
    for _ in 0..600 {
        if is_over().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ended.state(), SyncRunState::Succeeded, "{ended:?}");
    let events = crowd.events().await?;
    assert_eq!(events, PEOPLE);

    crowd.system.worker.resume()?;
    let noticed = async || {
        let log = crowd.system.worker.log();
        log.contains("the lease is lost") || log.contains("a run is cut off")
    };
    wait_for("the frozen worker to notice", Duration::from_secs(20), noticed).await?;
    assert_eq!(crowd.events().await?, events);
    let after = crowd.list_runs().await?;
    assert_eq!(after[0].counts.unwrap().applied, PEOPLE as i64);
    assert_eq!(after[0].state(), SyncRunState::Succeeded);
    crowd.equals_the_directory().await
}
